package chart

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// How much worse one thing is than another for a label in a plot: to hide a sample, to
// lie over the line of a mark, to touch another label.
const (
	costSample = 1
	costMark   = 1000
	costLabel  = 1_000_000
)

// Room that a label in a plot keeps, in pixels: to the edges of the plot, and to other
// labels and to the lines of marks.
const (
	edgeRoom  = 12
	labelRoom = 8
)

// spot is where a label may stand: the left end of its baseline.
type spot struct{ x, y float64 }

// words say what lines do not: what is wanted, where there is no data, and what was
// cut. They are written over the lines of marks, and not upon each other.
func (p *panel) words() {
	all := p.values(incident.Span{})
	if len(all) == 0 {
		text := "no data"
		if p.in.Failed != "" {
			text = "no answer: " + views.Plain(p.in.Failed, 200)
		}
		p.boundText()
		text = p.fit(text, p.right()-p.left()-60, headText, bold)
		width := p.textWidth(text, headText, bold)
		centre := (p.left() + p.right() - width) / 2
		var spots []spot
		for _, y := range []float64{p.y1 - 40, (p.top() + p.y1) / 2, p.top() + 40} {
			spots = append(spots, spot{centre, y})
			for dx := 20.0; centre-dx > p.left()+edgeRoom; dx += 20 {
				spots = append(spots, spot{centre - dx, y}, spot{centre + dx, y})
			}
		}
		p.best(text, headText, p.bad, p.paper, spots)
		return
	}
	middle := (p.top() + p.y1) / 2
	if p.scale.cut {
		lowest := slices.Min(all)
		for _, v := range p.in.Series[0].Points {
			if x, shown := p.axis.x(v.At); shown && v.Value == lowest {
				text := "down to " + p.scale.value(lowest)
				width := p.textWidth(text, tickText, bold)
				first, last := p.left()+edgeRoom, p.right()-edgeRoom-width
				near := min(max(x-width/2, first), max(last, first))
				p.best(text, tickText, p.ink, veil(p.paper), []spot{
					{near, p.y1 - 14}, {min(x+labelRoom, max(last, first)), p.y1 - 14}, {max(x-labelRoom-width, first), p.y1 - 14},
				})
				break
			}
		}
	}
	for _, g := range p.gaps() {
		if g[1]-g[0] < shortGap {
			continue
		}
		const text = "no data"
		width := p.textWidth(text, tickText, bold)
		spots := []spot{{(g[0] + g[1] - width) / 2, middle}}
		for x := g[0] + labelRoom; x+width+labelRoom <= g[1]; x += 10 {
			spots = append(spots, spot{x, middle})
		}
		p.best(text, tickText, p.muted, veil(p.paper), spots)
	}
	p.boundText()
}

// boundText says what is wanted, beside the line where it is least in the way.
func (p *panel) boundText() {
	bound := p.in.Objective.Bound
	text := fmt.Sprintf("wanted %s %s", p.in.Objective.Comparison, p.scale.value(bound))
	width := p.textWidth(text, tickText, bold)
	line := p.y(bound)
	var spots []spot
	for _, y := range []float64{line - 10, line + 30} {
		if y-tickText < p.top() || y+6 > p.y1 {
			continue
		}
		for x := p.left() + edgeRoom; x+width+edgeRoom <= p.right(); x += 20 {
			spots = append(spots, spot{x, y})
		}
	}
	p.best(text, tickText, p.palette.bound, veil(p.paper), spots)
}

// best writes a label where it is least in the way, at the first of several such
// places; nowhere when there is none, or none without another text.
func (p *panel) best(text string, size float64, ink, paper vgColor, spots []spot) {
	if len(spots) == 0 {
		return
	}
	costs := make(map[spot]int, len(spots))
	for _, s := range spots {
		costs[s] = p.cost(p.boxOf(text, s.x, s.y, size, bold, 0))
	}
	s := slices.MinFunc(spots, func(a, b spot) int { return cmp.Compare(costs[a], costs[b]) })
	if costs[s] < costLabel {
		p.label(text, s.x, s.y, size, bold, ink, paper, 0)
	}
}

// cost is how much a label in a rectangle is in the way.
func (p *panel) cost(box textBox) int {
	box.x0, box.x1 = box.x0-labelRoom, box.x1+labelRoom
	cost := 0
	for _, other := range p.texts {
		if box.touches(other) {
			cost += costLabel
		}
	}
	for _, x := range p.marks {
		if box.x0 < x && x < box.x1 {
			cost += costMark
		}
	}
	return cost + costSample*min(p.covered(box), costMark-1)
}

// covered counts the samples of the first series that a rectangle would hide.
func (p *panel) covered(box textBox) int {
	n := 0
	if len(p.in.Series) == 0 {
		return n
	}
	for _, v := range p.in.Series[0].Points {
		x, shown := p.axis.x(v.At)
		if !shown || !finite(v.Value) || x < box.x0 || x > box.x1 {
			continue
		}
		if y := p.y(v.Value); y >= box.y0 && y <= box.y1 {
			n++
		}
	}
	return n
}
