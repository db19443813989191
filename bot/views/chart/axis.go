package chart

import (
	"time"

	"github.com/backout/backout/workflows/incident"
)

// breakWidth is the room between two stretches of time, in pixels.
const breakWidth = 34

// leadShare is the share of the width that a stretch has which is shown apart from
// the last: enough to see what was usual.
const leadShare = 0.22

// timeAxis places moments on the picture.
type timeAxis struct {
	parts []part
}

// part is one stretch of time and where it is.
type part struct {
	span   incident.Span
	x0, x1 float64
}

func newTimeAxis(windows []incident.Span, x0, x1 float64) timeAxis {
	var t timeAxis
	for i, w := range windows {
		if i < len(windows)-1 {
			end := x0 + leadShare*(x1-x0)
			t.parts = append(t.parts, part{span: w, x0: x0, x1: end})
			x0 = end + breakWidth
			continue
		}
		t.parts = append(t.parts, part{span: w, x0: x0, x1: x1})
	}
	return t
}

// x is where a moment is, and whether it is shown.
func (t timeAxis) x(at time.Time) (float64, bool) {
	for _, p := range t.parts {
		if p.span.Contains(at) {
			return p.x(at), true
		}
	}
	return 0, false
}

func (p part) x(at time.Time) float64 {
	return p.x0 + (p.x1-p.x0)*float64(at.Sub(p.span.From))/float64(p.span.Until.Sub(p.span.From))
}

// clip is the part of a span that is in a stretch.
func (p part) clip(s incident.Span) incident.Span {
	if s.From.Before(p.span.From) {
		s.From = p.span.From
	}
	if s.Until.After(p.span.Until) {
		s.Until = p.span.Until
	}
	return s
}

// stretches are where a span is, as pairs of x.
func (t timeAxis) stretches(s incident.Span) [][2]float64 {
	var out [][2]float64
	for _, p := range t.parts {
		if c := p.clip(s); !c.IsZero() {
			out = append(out, [2]float64{p.x(c.From), p.x(c.Until)})
		}
	}
	return out
}

// steps of labels of time, each of which begins with the hour or day.
var timeSteps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

type timeTick struct {
	x     float64
	label string
}

// ticks are the labels of a stretch, at least apart pixels from each other.
func (p part) ticks(apart float64) []timeTick {
	length := p.span.Until.Sub(p.span.From)
	most := max((p.x1-p.x0)/apart, 1)
	step := timeSteps[len(timeSteps)-1]
	for _, s := range timeSteps {
		if float64(length)/float64(s) <= most {
			step = s
			break
		}
	}
	for float64(length)/float64(step) > most {
		step *= 2
	}
	layout := "15:04"
	switch {
	case step < time.Minute:
		layout = time.TimeOnly
	case step >= 24*time.Hour:
		layout = "2 Jan"
	}
	var out []timeTick
	for at := p.span.From.UTC().Truncate(step); !at.After(p.span.Until); at = at.Add(step) {
		if !at.Before(p.span.From) {
			out = append(out, timeTick{x: p.x(at), label: at.Format(layout)})
		}
	}
	return out
}

// clock is a moment for people: to the second where the picture shows minutes.
func (t timeAxis) clock(at time.Time) string {
	last := t.parts[len(t.parts)-1].span
	if last.Until.Sub(last.From) <= 40*time.Minute {
		return at.UTC().Format(time.TimeOnly)
	}
	return at.UTC().Format("15:04")
}
