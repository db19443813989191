package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot/vg"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// Sizes of a panel, in pixels.
const (
	headHeight = 50
	headText   = 31
	tickText   = 27
	// tickRoom is the height that one label of a value needs.
	tickRoom = 50
	// shortGap is the widest pause that needs no words.
	shortGap = 130
)

// maxSeries bounds the series that are drawn of a query, which should yield one.
const maxSeries = 6

// maxName is the longest name of an SLI that is measured for its place, in runes.
const maxName = 60

// panel draws one SLI.
type panel struct {
	*canvas
	palette
	axis timeAxis
	in   incident.ChartPanel
	step time.Duration
	// before and after are when values are usual.
	before, during, after incident.Span
	// y0 is the top and y1 the bottom of the panel; the plot begins at top.
	y0, y1 float64
	scale  scale
	// marks are where lines of marks go down.
	marks []float64
}

func (p *panel) top() float64 { return p.y0 + headHeight }

func (p *panel) y(v float64) float64 {
	return p.y1 - (p.y1-p.top())*min(max(p.scale.share(v), 0), 1)
}

func (p *panel) left() float64  { return p.axis.parts[0].x0 }
func (p *panel) right() float64 { return p.axis.parts[len(p.axis.parts)-1].x1 }

func (p *panel) draw() {
	all := p.values(incident.Span{})
	usual := p.values(p.before)
	matters := usual
	if len(matters) == 0 {
		matters = p.values(p.after)
	}
	p.scale = scaleFor(p.in, all, quantiles(matters, 0.05, 0.95))
	p.tints()
	p.gridLines()
	p.usualBand(usual)
	p.bound()
	for i, s := range p.in.Series[:min(len(p.in.Series), maxSeries)] {
		ink, width := p.line, 4.0
		if i > 0 {
			ink, width = p.others, 2.5
		}
		p.series(s, ink, width)
	}
}

// values are the finite samples of the first series in a span; of all series and
// times for none.
func (p *panel) values(in incident.Span) []float64 {
	var out []float64
	for i, s := range p.in.Series[:min(len(p.in.Series), maxSeries)] {
		for _, v := range s.Points {
			if _, shown := p.axis.x(v.At); !shown || !finite(v.Value) {
				continue
			}
			if in == (incident.Span{}) || (i == 0 && in.Contains(v.At)) {
				out = append(out, v.Value)
			}
		}
	}
	return out
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// quantiles of values by nearest rank; none of none.
func quantiles(values []float64, shares ...float64) []float64 {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	out := make([]float64, len(shares))
	for i, share := range shares {
		out[i] = sorted[int(math.Round(share*float64(len(sorted)-1)))]
	}
	return out
}

func (p *panel) tints() {
	for _, t := range []struct {
		span incident.Span
		fill vgColor
	}{{p.before, p.palette.before}, {p.during, p.palette.during}, {p.after, p.palette.after}} {
		for _, x := range p.axis.stretches(t.span) {
			p.box(x[0], p.top(), x[1], p.y1, t.fill)
		}
	}
}

func (p *panel) gridLines() {
	for _, t := range p.scale.ticks(max(int((p.y1-p.top())/tickRoom), 2)) {
		y := p.y1 - t.share*(p.y1-p.top())
		for _, part := range p.axis.parts {
			p.stroke(p.grid, 1.5, nil, dot{part.x0, y}, dot{part.x1, y})
		}
		p.text(t.label, p.left()-12, y+0.36*tickText, tickText, regular, p.muted, 1)
	}
	for _, part := range p.axis.parts {
		p.stroke(p.muted, 1.5, nil, dot{part.x0, p.y1}, dot{part.x1, p.y1})
	}
}

// usualBand shows where nearly all values were before the change.
func (p *panel) usualBand(usual []float64) {
	q := quantiles(usual, 0.05, 0.95)
	if q == nil {
		return
	}
	low, high := p.y(q[0]), p.y(q[1])
	// A band that would be a hair is drawn as one that can be seen.
	if low-high < 5 {
		low, high = min(low+2.5, p.y1), high-2.5
	}
	for _, part := range p.axis.parts {
		p.box(part.x0, high, part.x1, low, p.usual)
	}
}

func (p *panel) bound() {
	y := p.y(p.in.Objective.Bound)
	for _, part := range p.axis.parts {
		p.stroke(p.palette.bound, 3, []vg.Length{14, 9}, dot{part.x0, y}, dot{part.x1, y})
	}
}

// series draws one line, broken where samples are missing or not finite.
func (p *panel) series(s incident.Series, ink vgColor, width float64) {
	for _, part := range p.axis.parts {
		var run []dot
		var last time.Time
		flush := func() {
			switch {
			case len(run) == 1:
				p.box(run[0].x-width, run[0].y-width, run[0].x+width, run[0].y+width, ink)
			case len(run) > 1:
				p.stroke(ink, width, nil, run...)
			}
			run = nil
		}
		for _, v := range s.Points {
			if !part.span.Contains(v.At) {
				continue
			}
			if !finite(v.Value) || (len(run) > 0 && v.At.Sub(last) > p.step+p.step/2) {
				flush()
			}
			if !finite(v.Value) {
				continue
			}
			run, last = append(run, dot{part.x(v.At), p.y(v.Value)}), v.At
		}
		flush()
	}
}

// gaps are the stretches of x without a sample of the first series.
func (p *panel) gaps() [][2]float64 {
	var out [][2]float64
	for _, part := range p.axis.parts {
		last := part.x0
		for _, v := range p.in.Series[0].Points {
			if finite(v.Value) && part.span.Contains(v.At) {
				x := part.x(v.At)
				out = append(out, [2]float64{last, x})
				last = x
			}
		}
		out = append(out, [2]float64{last, part.x1})
	}
	return out
}

// head names the SLI, and says how it was before, during and after. It stands before
// the lines of marks.
func (p *panel) head() {
	y := p.y0 + 32
	x := p.left()
	if r := p.in.Result; r != nil {
		x += 24
		defer p.box(p.left(), y-21, p.left()+12, y+3, p.sign(r.Verdict))
	}
	var numbers string
	if r := p.in.Result; r != nil {
		for _, n := range []struct {
			word  string
			value *float64
		}{{"before", r.Baseline}, {"during", r.During}, {"after", r.After}} {
			if n.value != nil && finite(*n.value) {
				numbers += "   " + n.word + " " + p.scale.value(*n.value)
			}
		}
	}
	if n := len(p.in.Series); n > 1 {
		numbers = fmt.Sprintf("   %d series, 1 is needed", n)
	}
	room := p.right() - x
	width := p.textWidth(numbers, tickText+1, regular)
	if width > 0.72*room {
		numbers = p.fit(numbers, 0.72*room, tickText+1, regular)
		width = p.textWidth(numbers, tickText+1, regular)
	}
	name := views.Plain(p.in.Name, maxName)
	if p.scale.suffix == "" && p.in.Unit != "" {
		name += " (" + views.Plain(p.in.Unit, 30) + ")"
	}
	if p.scale.log {
		name += ", log scale"
	}
	p.label(p.fit(name, room-width, headText, bold), x, y, headText, bold, p.ink, p.paper, 0)
	if numbers = strings.TrimSpace(numbers); numbers != "" {
		p.label(numbers, p.right(), y, tickText+1, regular, p.ink, p.paper, 1)
	}
}
