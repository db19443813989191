package recovery_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// TestNoDataIsNeverRecovered is the whole matrix: each thing that can be wrong
// with data, in each window of signal and of traffic, for each kind of SLI.
func TestNoDataIsNeverRecovered(t *testing.T) {
	t.Parallel()
	type damage struct {
		name string
		// hurt returns what is left of a good answer over r.
		hurt func(good []incident.Series, r recovery.Range) []incident.Series
		// signalOnly damage means nothing in traffic, trafficOnly nothing in a
		// signal.
		trafficOnly bool
	}
	keep := func(want func(i int, p incident.Point, r recovery.Range) bool) func([]incident.Series, recovery.Range) []incident.Series {
		return func(good []incident.Series, r recovery.Range) []incident.Series {
			out := incident.Series{Labels: good[0].Labels}
			for i, p := range good[0].Points {
				if want(i, p, r) {
					out.Points = append(out.Points, p)
				}
			}
			return []incident.Series{out}
		}
	}
	all := func(v float64) func([]incident.Series, recovery.Range) []incident.Series {
		return func(_ []incident.Series, r recovery.Range) []incident.Series { return series(r, flat(v)) }
	}
	damages := []damage{
		{name: "empty", hurt: func([]incident.Series, recovery.Range) []incident.Series { return nil }},
		{name: "no points", hurt: keep(func(int, incident.Point, recovery.Range) bool { return false })},
		{name: "NaN", hurt: all(nan)},
		{name: "infinite", hurt: all(inf)},
		{name: "minus infinite", hurt: all(math.Inf(-1))},
		{name: "one infinite", hurt: func(good []incident.Series, r recovery.Range) []incident.Series {
			return series(r, func(i int) float64 {
				if i == r.Points()-2 {
					return inf
				}
				return good[0].Points[i].Value
			})
		}},
		{name: "mostly NaN", hurt: func(good []incident.Series, r recovery.Range) []incident.Series {
			return series(r, func(i int) float64 {
				if i%3 != 0 {
					return nan
				}
				return good[0].Points[i].Value
			})
		}},
		{name: "NaN at the end", hurt: func(good []incident.Series, r recovery.Range) []incident.Series {
			return series(r, func(i int) float64 {
				if i > r.Points()-6 {
					return nan
				}
				return good[0].Points[i].Value
			})
		}},
		{name: "stale", hurt: keep(func(_ int, p incident.Point, r recovery.Range) bool { return p.At.Before(r.Until.Add(-4 * step)) })},
		{name: "lag of one short window", hurt: keep(func(_ int, p incident.Point, r recovery.Range) bool { return p.At.Before(r.Until.Add(-short)) })},
		{name: "reset leaves a gap", hurt: keep(func(_ int, p incident.Point, r recovery.Range) bool {
			return p.At.Before(r.Until.Add(-50*time.Second)) || p.At.After(r.Until.Add(-20*time.Second))
		})},
		{name: "begins late", hurt: keep(func(_ int, p incident.Point, r recovery.Range) bool {
			return p.At.After(r.Until.Add(-40 * time.Second))
		})},
		{name: "one point", hurt: keep(func(i int, _ incident.Point, r recovery.Range) bool { return i == r.Points()-1 })},
		{name: "few points", hurt: keep(func(i int, _ incident.Point, _ recovery.Range) bool { return i%4 == 0 })},
		{name: "several series", hurt: func(good []incident.Series, _ recovery.Range) []incident.Series {
			return append([]incident.Series{{Labels: map[string]string{"pod": "b"}, Points: good[0].Points}}, good...)
		}},
		{name: "second series empty", hurt: func(good []incident.Series, _ recovery.Range) []incident.Series {
			return append([]incident.Series{{Labels: map[string]string{"pod": "b"}}}, good...)
		}},
		{name: "out of order", hurt: func(good []incident.Series, _ recovery.Range) []incident.Series {
			p := append([]incident.Point(nil), good[0].Points...)
			p[3], p[4] = p[4], p[3]
			return []incident.Series{{Points: p}}
		}},
		{name: "moment twice", hurt: func(good []incident.Series, _ recovery.Range) []incident.Series {
			p := append([]incident.Point(nil), good[0].Points...)
			p[4].At = p[3].At
			return []incident.Series{{Points: p}}
		}},
		{name: "of another time", hurt: func(good []incident.Series, r recovery.Range) []incident.Series {
			return series(recovery.Range{From: r.From.Add(-24 * time.Hour), Until: r.Until.Add(-24 * time.Hour), Step: r.Step}, func(i int) float64 { return good[0].Points[i].Value })
		}},
		{name: "of the future", hurt: func(good []incident.Series, r recovery.Range) []incident.Series {
			return series(recovery.Range{From: r.From.Add(24 * time.Hour), Until: r.Until.Add(24 * time.Hour), Step: r.Step}, func(i int) float64 { return good[0].Points[i].Value })
		}},
		{name: "zero traffic", hurt: all(0), trafficOnly: true},
		{name: "negative traffic", hurt: all(-1), trafficOnly: true},
	}
	windows := []struct {
		name  string
		field func(a *recovery.Answer) *[]incident.Series
		query func(q recovery.Queries) recovery.Range
	}{
		{name: "baseline", field: func(a *recovery.Answer) *[]incident.Series { return &a.Baseline }, query: func(q recovery.Queries) recovery.Range { return q.Baseline }},
		{name: "after", field: func(a *recovery.Answer) *[]incident.Series { return &a.After }, query: func(q recovery.Queries) recovery.Range { return q.After }},
	}
	for _, s := range shapes() {
		spec := specOf(s.sli)
		q := recovery.Windows(spec, times())
		for _, d := range damages {
			for _, w := range windows {
				for _, what := range []string{"signal", "traffic"} {
					if what == "signal" && d.trafficOnly {
						continue
					}
					if w.name == "baseline" && d.name == "reset leaves a gap" {
						continue // A short gap in ten minutes of baseline is no harm.
					}
					in := healthyInput(spec, times(), s)
					a := &in.SLIs[0].Signal
					if what == "traffic" {
						a = &in.SLIs[0].Traffic
					}
					f := w.field(a)
					*f = d.hurt(*f, w.query(q))
					r := recovery.Judge(spec, in)
					require.Equal(t, incident.VerdictUnknown, r.Verdict, "%s, %s of %s %s: %s", s.name, d.name, what, w.name, r.Reason)
					require.Equal(t, incident.VerdictUnknown, r.SLIs[0].Verdict)
					require.NotEmpty(t, r.SLIs[0].Reason)
				}
			}
		}
	}
}

// FuzzNeverRecoveredBlind feeds the judge any series. Whatever it makes of
// them, it is recovered only if an independent look finds enough good samples.
func FuzzNeverRecoveredBlind(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 250, 251, 252, 253}, uint8(61), uint8(0), uint8(0))
	f.Add([]byte{10}, uint8(61), uint8(0), uint8(1))
	f.Add([]byte{255}, uint8(61), uint8(0), uint8(2))
	f.Add([]byte{10}, uint8(2), uint8(58), uint8(3))
	f.Fuzz(func(t *testing.T, pattern []byte, count, skip, shapeIndex uint8) {
		s := shapes()[int(shapeIndex)%len(shapes())]
		spec := specOf(s.sli)
		in := healthyInput(spec, times(), s)
		q := recovery.Windows(spec, in.Times)
		after := incident.Series{}
		var good, last int
		for i := range int(count) {
			v := nan
			if len(pattern) > 0 {
				switch b := pattern[i%len(pattern)]; {
				case b == 255:
				case b == 254:
					v = inf
				case b >= 128:
					v = s.sick
				default:
					v = s.healthy * (1 + float64(b)/10000)
				}
			}
			at := q.After.From.Add(time.Duration(i+int(skip)) * step)
			after.Points = append(after.Points, incident.Point{At: at, Value: v})
			if !at.After(q.After.Until) && v < inf && v != s.sick {
				good, last = good+1, i+int(skip)
			}
		}
		in.SLIs[0].Signal.After = []incident.Series{after}
		r := recovery.Judge(spec, in)
		if r.Verdict != incident.VerdictRecovered {
			return
		}
		require.GreaterOrEqual(t, good, q.After.Points()*7/10, "enough good samples")
		require.GreaterOrEqual(t, last, q.After.Points()-4, "a good sample at the end")
	})
}
