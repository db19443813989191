package chart

import (
	"errors"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// Bounds of a picture.
const (
	// Width is that of a picture, in pixels: a phone shows it at a third.
	Width = 1200
	// MaxPanels is how many SLIs one picture has; more are counted.
	MaxPanels = 4
	// maxMarks bounds the marks of a picture.
	maxMarks = 8
	// maxWindows bounds the stretches of time that are apart.
	maxWindows = 3
	// maxPoints bounds the samples of a series: beyond it there are several for each
	// pixel.
	maxPoints = 5000
	// maxReason is the longest sentence that is looked at, in runes.
	maxReason = 400
)

// Sizes of a picture, in pixels.
const (
	margin    = 28
	axisRoom  = 140
	titleText = 44
	smallText = 28
	flagRow   = 40
	flagText  = 29
	stripRow  = 38
	axisRow   = 44
	// oneHeight is the height of a picture with one panel, as many flags as fit in two
	// rows, and one line of reason. Further panels add to it.
	oneHeight   = 675
	panelHeight = 290
)

type vgColor = color.NRGBA

// ErrInvalid means that there is nothing to draw.
var ErrInvalid = errors.New("not a chart")

// Draw is a chart as PNG, Width pixels wide and at least 675 high. It fails with an
// error that wraps ErrInvalid for a chart without SLIs or without a stretch of time,
// and for an unknown theme.
func Draw(in incident.Chart, theme Theme) ([]byte, error) {
	colors, known := theme.palette()
	if err := check(in); err != nil || !known {
		return nil, fmt.Errorf("draw chart of %q: %w", in.Incident, errors.Join(err, unknownTheme(known)))
	}
	p := &picture{palette: colors, in: in}
	if err := p.draw(); err != nil {
		return nil, err
	}
	return p.encode()
}

// draw puts everything on its place.
func (p *picture) draw() error {
	if err := p.layOut(); err != nil {
		return err
	}
	p.title()
	for i := range p.panels {
		p.panels[i].canvas = p.canvas
		for _, f := range p.flags {
			p.panels[i].marks = append(p.panels[i].marks, f.x)
		}
		p.panels[i].draw()
	}
	p.strip()
	p.times()
	p.breaks()
	p.marks()
	for i := range p.panels {
		p.panels[i].words()
		p.panels[i].head()
	}
	return nil
}

func unknownTheme(known bool) error {
	if known {
		return nil
	}
	return fmt.Errorf("unknown theme: %w", ErrInvalid)
}

func check(in incident.Chart) error {
	switch {
	case len(in.Panels) == 0:
		return fmt.Errorf("it has no SLI: %w", ErrInvalid)
	case len(in.Windows) == 0 || len(in.Windows) > maxWindows:
		return fmt.Errorf("it has %d stretches of time and not 1 to %d: %w", len(in.Windows), maxWindows, ErrInvalid)
	case in.Step <= 0:
		return fmt.Errorf("its samples are %s apart: %w", in.Step, ErrInvalid)
	}
	for i, w := range in.Windows {
		if w.IsZero() || (i > 0 && w.From.Before(in.Windows[i-1].Until)) {
			return fmt.Errorf("stretch %d of time is empty or not after the one before: %w", i+1, ErrInvalid)
		}
	}
	for _, panel := range in.Panels {
		switch panel.Objective.Comparison {
		case incident.Below, incident.Above:
		default:
			return fmt.Errorf("SLI %q has no objective: %w", panel.Name, ErrInvalid)
		}
		if !finite(panel.Objective.Bound) {
			return fmt.Errorf("the objective of SLI %q is not finite: %w", panel.Name, ErrInvalid)
		}
		for _, s := range panel.Series {
			if len(s.Points) > maxPoints {
				return fmt.Errorf("SLI %q has %d samples, more than %d: %w", panel.Name, len(s.Points), maxPoints, ErrInvalid)
			}
		}
	}
	return nil
}

// picture is one chart that is being drawn.
type picture struct {
	*canvas
	palette
	in     incident.Chart
	axis   timeAxis
	flags  []flag
	panels []panel
	reason []string
	// flagsAt is the top of the flags, stripAt of the strip below the panels.
	flagsAt, stripAt float64
}

// layOut decides where everything is, and so how high the picture is.
func (p *picture) layOut() error {
	var err error
	// Text is measured on a picture that is thrown away.
	if p.canvas, err = newCanvas(1, 1, p.paper); err != nil {
		return err
	}
	p.axis = newTimeAxis(p.in.Windows, axisRoom, Width-margin)
	p.reason = p.wrap(views.Plain(p.in.Reason, maxReason), Width-2*margin-24, smallText, regular, 2)
	p.hoistFlags()
	rows := hoist(p.flags, margin, Width-margin)
	y := margin + titleText + float64(len(p.reason))*(smallText+8) + 12
	p.flagsAt = y
	y += float64(rows)*flagRow + 4

	shown := p.in.Panels[:min(len(p.in.Panels), MaxPanels)]
	bottom := float64(stripRow + axisRow + 8)
	if len(p.in.Panels) > len(shown) {
		bottom += smallText + 8
	}
	each := float64(panelHeight)
	if len(shown) == 1 {
		each = max(each, oneHeight-bottom-y)
	}
	for _, in := range shown {
		p.panels = append(p.panels, panel{
			palette: p.palette, axis: p.axis, in: in, step: p.in.Step,
			before: p.in.Before, during: p.in.During, after: p.in.After, y0: y, y1: y + each - 6,
		})
		y += each
	}
	p.stripAt = y + 4
	p.canvas, err = newCanvas(Width, max(y+bottom, oneHeight), p.paper)
	return err
}

// verdictWords is a verdict as a title.
func verdictWords(v incident.Verdict) string {
	switch v {
	case incident.VerdictRecovered:
		return "Recovered"
	case incident.VerdictNotRecovered:
		return "Not recovered"
	case incident.VerdictUnknown:
		return "Recovery unknown"
	default:
		return "Recovery unknown"
	}
}

// sign is the colour of a verdict.
func (p palette) sign(v incident.Verdict) color.NRGBA {
	switch v {
	case incident.VerdictRecovered:
		return p.good
	case incident.VerdictNotRecovered:
		return p.bad
	case incident.VerdictUnknown:
		return p.unsure
	default:
		return p.unsure
	}
}

func (p *picture) title() {
	ink := p.sign(p.in.Verdict)
	height := titleText + float64(len(p.reason))*(smallText+8)
	p.box(margin, margin, margin+10, margin+height, ink)
	x, y := float64(margin+26), margin+titleText*0.82
	word := verdictWords(p.in.Verdict)
	p.text(word, x, y, titleText, bold, ink, 0)
	x += p.textWidth(word, titleText, bold) + 22
	about := views.Plain(p.in.Service, 100)
	if key := views.Plain(p.in.Incident, 160); key != "" {
		about = strings.TrimPrefix(about+", "+key, ", ")
	}
	p.text(p.fit(about, Width-margin-x, smallText+3, regular), x, y, smallText+3, regular, p.muted, 0)
	for _, line := range p.reason {
		y += smallText + 8
		p.text(line, margin+26, y+4, smallText, regular, p.ink, 0)
	}
}

// hoistFlags makes the labels of the marks that are shown, in order of time.
func (p *picture) hoistFlags() {
	marks := slices.Clone(p.in.Marks)
	slices.SortStableFunc(marks, func(a, b incident.ChartMark) int { return a.At.Compare(b.At) })
	for _, m := range marks {
		x, shown := p.axis.x(m.At)
		if !shown || len(p.flags) == maxMarks {
			continue
		}
		text, ink := p.markWords(m)
		if text == "" {
			continue
		}
		text += " " + p.axis.clock(m.At)
		p.flags = append(p.flags, flag{x: x, text: text, width: p.textWidth(text, flagText, bold) + 10, ink: ink})
	}
}

// markWords is the word of a mark and its colour; none for a kind that is not known.
func (p *picture) markWords(m incident.ChartMark) (string, color.NRGBA) {
	switch m.Kind {
	case incident.MarkChange:
		return "change", p.bad
	case incident.MarkPage:
		return "page", p.ink
	case incident.MarkApproval:
		return "approval", p.ink
	case incident.MarkRollback:
		return "rollback", p.line
	case incident.MarkVerdict:
		if p.in.Verdict == incident.VerdictRecovered {
			return "recovered", p.good
		}
		return "verdict", p.sign(p.in.Verdict)
	default:
		return "", p.ink
	}
}

func (p *picture) marks() {
	for _, f := range p.flags {
		top := p.flagsAt + float64(f.row)*flagRow
		for i, panel := range p.panels {
			y0, y1 := panel.y0, panel.y1
			if i == 0 {
				p.stroke(f.ink, 3, nil, dot{f.x, top + 6}, dot{f.x, panel.y0})
			}
			p.stroke(faint(f.ink), 2, nil, dot{f.x, y0}, dot{f.x, panel.top()})
			p.stroke(f.ink, 2.5, []vg.Length{3, 4}, dot{f.x, panel.top()}, dot{f.x, y1})
		}
		if f.left {
			p.text(f.text, f.x-9, top+flagText, flagText, bold, f.ink, 1)
		} else {
			p.text(f.text, f.x+9, top+flagText, flagText, bold, f.ink, 0)
		}
	}
}

// strip names the tinted stretches of time.
func (p *picture) strip() {
	for _, s := range []struct {
		word string
		span incident.Span
		fill color.NRGBA
	}{{"before", p.in.Before, p.before}, {"during", p.in.During, p.during}, {"after", p.in.After, p.after}} {
		for _, x := range p.axis.stretches(s.span) {
			fill := s.fill
			fill.A = min(fill.A, 0xff/2) * 2
			p.box(x[0], p.stripAt, x[1], p.stripAt+stripRow-8, fill)
			if p.textWidth(s.word, 24, bold)+8 <= x[1]-x[0] {
				p.text(s.word, (x[0]+x[1])/2, p.stripAt+23, 24, bold, p.ink, 0.5)
			}
		}
	}
}

// times labels the axis, with the day at its left.
func (p *picture) times() {
	y := p.stripAt + stripRow + 26
	right := float64(-1)
	for _, part := range p.axis.parts {
		for _, t := range part.ticks(150) {
			half := p.textWidth(t.label, tickText, regular) / 2
			x := min(t.x, Width-margin/2-half)
			if x-half < right+14 || x-half < axisRoom-40 {
				continue
			}
			for _, panel := range p.panels {
				p.stroke(p.muted, 2, nil, dot{t.x, panel.y1}, dot{t.x, panel.y1 + 5})
			}
			p.text(t.label, x, y, tickText, regular, p.muted, 0.5)
			right = x + half
		}
	}
	last := p.in.Windows[len(p.in.Windows)-1].Until.UTC()
	p.text(last.Format("2 Jan"), margin/2, y-30, 22, regular, p.muted, 0)
	p.text("UTC", margin/2, y, 22, regular, p.muted, 0)
	if n := len(p.in.Panels) - len(p.panels); n > 0 {
		p.text(fmt.Sprintf("and %d more SLIs, which are not shown", n), axisRoom, y+smallText+10, smallText, regular, p.muted, 0)
	}
}

// breaks show where time was left out.
func (p *picture) breaks() {
	for i := range len(p.axis.parts) - 1 {
		x := p.axis.parts[i].x1 + breakWidth/2
		for _, panel := range p.panels {
			for _, dx := range []float64{-6, 6} {
				p.stroke(p.muted, 3, nil, dot{x + dx - 6, panel.y1 + 12}, dot{x + dx + 6, panel.y1 - 12})
			}
		}
	}
}

// veil is paper through which what is behind can be seen.
func veil(c color.NRGBA) color.NRGBA {
	c.A = 205
	return c
}

func faint(c color.NRGBA) color.NRGBA {
	c.A = 70
	return c
}
