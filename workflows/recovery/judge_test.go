package recovery_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

var (
	nan = math.NaN()
	inf = math.Inf(1)

	changed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	onset   = changed.Add(time.Minute)
	done    = onset.Add(5 * time.Minute)
	// judged is when the long window has just filled.
	judged = done.Add(warmup + long)
)

const (
	warmup = 30 * time.Second
	short  = time.Minute
	long   = 5 * time.Minute
	step   = 5 * time.Second
)

// shape is a kind of SLI: what healthy and bad look like.
type shape struct {
	name          string
	sli           incident.SLI
	healthy, sick float64
}

func shapes() []shape {
	base := incident.SLI{Query: "q", Traffic: "t", MinTraffic: 0.5, MinPoints: 5, Tolerance: 0.2}
	errors, latency, success := base, base, base
	errors.Name, errors.Unit, errors.Objective = "error ratio", "", incident.Objective{Comparison: incident.Below, Bound: 0.01}
	latency.Name, latency.Unit, latency.Objective = "latency p99", "s", incident.Objective{Comparison: incident.Below, Bound: 0.5}
	success.Name, success.Unit, success.Objective = "orders", "orders/s", incident.Objective{Comparison: incident.Above, Bound: 10}
	return []shape{
		{name: "error ratio", sli: errors, healthy: 0.001, sick: 0.2},
		{name: "error ratio of zero", sli: errors, healthy: 0, sick: 0.2},
		{name: "latency", sli: latency, healthy: 0.2, sick: 2},
		{name: "orders", sli: success, healthy: 40, sick: 1},
	}
}

func specOf(slis ...incident.SLI) incident.RecoverySpec {
	return incident.RecoverySpec{
		SLIs: slis, Warmup: warmup, Short: short, Long: long, Step: step,
		BaselineLength: 10 * time.Minute, BaselineGap: time.Minute, Hold: 2 * time.Minute, Deadline: 30 * time.Minute,
	}
}

func times() recovery.Times {
	return recovery.Times{ChangedAt: changed, OnsetAt: onset, ActionsDoneAt: done, Now: judged}
}

// series is one series over a range, its values given by index.
func series(r recovery.Range, value func(i int) float64) []incident.Series {
	s := incident.Series{Labels: map[string]string{"service": "checkout"}}
	for i, at := 0, r.From; !at.After(r.Until); i, at = i+1, at.Add(r.Step) {
		s.Points = append(s.Points, incident.Point{At: at, Value: value(i)})
	}
	return []incident.Series{s}
}

// wavy varies a level by two per cent, as real signals do.
func wavy(level float64) func(int) float64 {
	return func(i int) float64 { return level * (1 + 0.02*math.Sin(float64(i))) }
}

func flat(level float64) func(int) float64 { return func(int) float64 { return level } }

// healthyInput is an incident that was rolled back and is well.
func healthyInput(spec incident.RecoverySpec, t recovery.Times, shapes ...shape) recovery.Input {
	q := recovery.Windows(spec, t)
	in := recovery.Input{Times: t}
	for _, s := range shapes {
		in.SLIs = append(in.SLIs, recovery.Measurement{
			Name: s.sli.Name,
			Signal: recovery.Answer{
				Baseline: series(q.Baseline, wavy(s.healthy)), During: series(q.During, wavy(s.sick)), After: series(q.After, wavy(s.healthy)),
			},
			Traffic: recovery.Answer{
				Baseline: series(q.Baseline, wavy(100)), During: series(q.During, wavy(90)), After: series(q.After, wavy(95)),
			},
		})
	}
	return in
}

func TestRecovered(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			spec := specOf(s.sli)
			r := recovery.Judge(spec, healthyInput(spec, times(), s))
			require.Equal(t, incident.VerdictRecovered, r.Verdict, r.Reason)
			require.Equal(t, judged, r.At)
			require.Len(t, r.SLIs, 1)
			require.InDelta(t, s.healthy, *r.SLIs[0].Baseline, 0.05*s.healthy)
			require.InDelta(t, s.sick, *r.SLIs[0].During, 0.05*s.sick)
			require.InDelta(t, s.healthy, *r.SLIs[0].After, 0.05*s.healthy)
			require.Equal(t, "q", r.SLIs[0].Query)
		})
	}
}

func TestReasonsHaveNumbersAndUnits(t *testing.T) {
	t.Parallel()
	s := shapes()[2]
	s.sli.Tolerance = 0.1
	spec := specOf(s.sli)
	in := healthyInput(spec, times(), s)
	q := recovery.Windows(spec, in.Times)
	in.SLIs[0].Signal.Baseline, in.SLIs[0].Signal.After = series(q.Baseline, flat(0.2)), series(q.After, flat(0.2))
	r := recovery.Judge(spec, in)
	require.Equal(t, "latency p99: The median is 0.2 s over 1m0s and 0.2 s over 5m0s, wanted < 0.5 s; before the change it was 0.2 s.", r.Reason)
	require.Equal(t, "< 0.5", r.SLIs[0].Objective)

	in.SLIs[0].Signal.After = series(q.After, flat(2))
	r = recovery.Judge(spec, in)
	require.Equal(t, "latency p99: The median over the short window of 1m0s is 2 s, wanted < 0.5 s; 100 % of the samples violate it.", r.Reason)

	in.SLIs[0].Signal.After = series(q.After, flat(0.4))
	r = recovery.Judge(spec, in)
	require.Equal(t, incident.VerdictNotRecovered, r.Verdict)
	require.Contains(t, r.Reason, "is 0.4 s, and it was 0.2 s before the change; 0.22 s is the most that agrees (p = ")

	in.SLIs[0].Signal.After = nil
	r = recovery.Judge(spec, in)
	require.Equal(t, "latency p99: There is no data in the short window.", r.Reason)
	require.Nil(t, r.SLIs[0].After)
}

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

func TestUnknown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(spec *incident.RecoverySpec, in *recovery.Input)
		want string
	}{
		{name: "no SLI", want: "there is no SLI", edit: func(spec *incident.RecoverySpec, _ *recovery.Input) { spec.SLIs = nil }},
		{name: "unknown comparison", want: "unknown comparison", edit: func(spec *incident.RecoverySpec, _ *recovery.Input) { spec.SLIs[0].Objective.Comparison = "" }},
		{name: "bound is NaN", want: "is not a finite number", edit: func(spec *incident.RecoverySpec, _ *recovery.Input) { spec.SLIs[0].Objective.Bound = nan }},
		{name: "tolerance is NaN", want: "tolerance", edit: func(spec *incident.RecoverySpec, _ *recovery.Input) { spec.SLIs[0].Tolerance = nan }},
		{name: "no step", want: "step", edit: func(spec *incident.RecoverySpec, _ *recovery.Input) { spec.Step = 0 }},
		{name: "not measured", want: "0 measurements", edit: func(_ *incident.RecoverySpec, in *recovery.Input) { in.SLIs = nil }},
		{name: "measured twice", want: "2 measurements", edit: func(_ *incident.RecoverySpec, in *recovery.Input) { in.SLIs = append(in.SLIs, in.SLIs[0]) }},
		{name: "probe down", want: "The query got no answer: it cannot be reached.", edit: func(_ *incident.RecoverySpec, in *recovery.Input) {
			in.SLIs[0].Signal.Failed = "it cannot be reached."
		}},
		{name: "traffic probe down", want: "The traffic query got no answer: it cannot be reached.", edit: func(_ *incident.RecoverySpec, in *recovery.Input) {
			in.SLIs[0].Traffic.Failed = "it cannot be reached"
		}},
		{name: "rollback not finished", want: "not known when the rollback finished", edit: func(_ *incident.RecoverySpec, in *recovery.Input) { in.Times.ActionsDoneAt = time.Time{} }},
		{name: "no clock", want: "not known when the rollback finished", edit: func(_ *incident.RecoverySpec, in *recovery.Input) { in.Times.Now = time.Time{} }},
		{name: "in warm-up", want: "Samples count from 30s after the rollback, and 10s have passed.", edit: func(_ *incident.RecoverySpec, in *recovery.Input) { in.Times.Now = done.Add(10 * time.Second) }},
		{name: "before the rollback", want: "and 0s have passed", edit: func(_ *incident.RecoverySpec, in *recovery.Input) { in.Times.Now = done.Add(-time.Hour) }},
		{name: "short window not full", want: "Only 20s of the short window of 1m0s have passed", edit: func(_ *incident.RecoverySpec, in *recovery.Input) { in.Times.Now = done.Add(warmup + 20*time.Second) }},
		{name: "no change and no onset", want: "not known when the harm began", edit: func(_ *incident.RecoverySpec, in *recovery.Input) {
			in.Times.ChangedAt, in.Times.OnsetAt = time.Time{}, time.Time{}
		}},
		{name: "no change, no onset and no traffic", want: "no healthy window", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			spec.SLIs[0].Traffic, spec.SLIs[0].MinTraffic = "", 0
			in.Times.ChangedAt, in.Times.OnsetAt = time.Time{}, time.Time{}
		}},
		{name: "baseline violates the objective", want: "The baseline was not healthy itself: 100 % of its samples are not < 0.5 s", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			in.SLIs[0].Signal.Baseline = series(recovery.Windows(*spec, in.Times).Baseline, flat(0.5))
		}},
		{name: "baseline sometimes violates the objective", want: "The baseline was not healthy itself: 21 %", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			in.SLIs[0].Signal.Baseline = series(recovery.Windows(*spec, in.Times).Baseline, func(i int) float64 {
				if i%5 == 0 {
					return 3
				}
				return 0.2
			})
		}},
		{name: "quiet service", want: "Traffic is 40 events/s in the short window of traffic, and the least that counts is 50", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			q := recovery.Windows(*spec, in.Times)
			in.SLIs[0].Traffic.Baseline = series(q.Baseline, flat(100))
			in.SLIs[0].Traffic.After = series(q.After, flat(40))
		}},
		{name: "service died just now", want: "in the short window of traffic", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			q := recovery.Windows(*spec, in.Times)
			in.SLIs[0].Traffic.After = series(q.After, func(i int) float64 {
				if i > q.After.Points()-4 {
					return 0
				}
				return 100
			})
		}},
		{name: "dead service without a floor", want: "Traffic is 0 events/s", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			spec.SLIs[0].MinTraffic = 0
			in.SLIs[0].Traffic.After = series(recovery.Windows(*spec, in.Times).After, flat(0))
		}},
		{name: "no traffic before", want: "Traffic before the change was 0 events/s", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			in.SLIs[0].Traffic.Baseline = series(recovery.Windows(*spec, in.Times).Baseline, flat(0))
		}},
		{name: "neither met nor violated", want: "which is neither met nor violated", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			in.SLIs[0].Signal.After = series(recovery.Windows(*spec, in.Times).After, func(i int) float64 {
				if i%4 == 0 {
					return 0.6
				}
				return 0.2
			})
		}},
		{name: "on the bound", want: "violate it", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			in.SLIs[0].Signal.After = series(recovery.Windows(*spec, in.Times).After, flat(0.5))
		}},
		{name: "worse, but within the noise of the baseline", want: "but it may be noise", edit: func(spec *incident.RecoverySpec, in *recovery.Input) {
			q := recovery.Windows(*spec, in.Times)
			in.SLIs[0].Signal.Baseline = series(q.Baseline, func(i int) float64 { return []float64{0.1, 0.2, 0.45}[i%3] })
			in.SLIs[0].Signal.After = series(q.After, func(i int) float64 { return []float64{0.1, 0.25, 0.25}[i%3] })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := shapes()[2]
			spec := specOf(s.sli)
			in := healthyInput(spec, times(), s)
			tt.edit(&spec, &in)
			r := recovery.Judge(spec, in)
			want := incident.VerdictUnknown
			if tt.name == "on the bound" {
				want = incident.VerdictNotRecovered
			}
			require.Equal(t, want, r.Verdict, r.Reason)
			require.Contains(t, r.Reason, tt.want)
		})
	}
}

func TestNotRecovered(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		for _, tt := range []struct {
			name  string
			now   time.Time
			after func(i, n int) float64
		}{
			{name: "still sick", now: judged, after: func(int, int) float64 { return s.sick }},
			{name: "still sick before the long window is full", now: done.Add(warmup + short), after: func(int, int) float64 { return s.sick }},
			{name: "relapsed in the short window", now: judged, after: func(i, n int) float64 {
				if i > n-9 {
					return s.sick
				}
				return s.healthy
			}},
			{name: "sick for most of the long window", now: judged, after: func(i, n int) float64 {
				if i < n*3/4 {
					return s.sick
				}
				return s.healthy
			}},
			{name: "meets the objective, but is clearly worse than before", now: judged, after: func(i, _ int) float64 {
				worse := map[string]float64{"error ratio": 0.004, "error ratio of zero": 0.004, "latency": 0.4, "orders": 20}[s.name]
				return wavy(worse)(i)
			}},
		} {
			t.Run(s.name+" "+tt.name, func(t *testing.T) {
				t.Parallel()
				spec := specOf(s.sli)
				at := times()
				at.Now = tt.now
				in := healthyInput(spec, at, s)
				q := recovery.Windows(spec, at)
				in.SLIs[0].Signal.After = series(q.After, func(i int) float64 { return tt.after(i, q.After.Points()) })
				r := recovery.Judge(spec, in)
				require.Equal(t, incident.VerdictNotRecovered, r.Verdict, r.Reason)
			})
		}
	}
}

func TestBetterThanBaselineAgrees(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		spec := specOf(s.sli)
		in := healthyInput(spec, times(), s)
		better := s.healthy / 2
		if s.sli.Objective.Comparison == incident.Above {
			better = s.healthy * 2
		}
		in.SLIs[0].Signal.After = series(recovery.Windows(spec, in.Times).After, wavy(better))
		r := recovery.Judge(spec, in)
		require.Equal(t, incident.VerdictRecovered, r.Verdict, r.Reason)
	}
}

func TestWorstSLIDecides(t *testing.T) {
	t.Parallel()
	s := shapes()
	spec := specOf(s[0].sli, s[2].sli, s[3].sli)
	q := recovery.Windows(spec, times())
	in := healthyInput(spec, times(), s[0], s[2], s[3])
	r := recovery.Judge(spec, in)
	require.Equal(t, incident.VerdictRecovered, r.Verdict, r.Reason)
	require.Equal(t, "All 3 SLIs meet their objectives and agree with their baselines.", r.Reason)

	in.SLIs[1].Signal.After = nil
	r = recovery.Judge(spec, in)
	require.Equal(t, incident.VerdictUnknown, r.Verdict)
	require.Contains(t, r.Reason, "latency p99: ")

	in.SLIs[2].Signal.After = series(q.After, flat(1))
	r = recovery.Judge(spec, in)
	require.Equal(t, incident.VerdictNotRecovered, r.Verdict)
	require.Contains(t, r.Reason, "orders: ")
	require.Equal(t, []incident.Verdict{incident.VerdictRecovered, incident.VerdictUnknown, incident.VerdictNotRecovered},
		[]incident.Verdict{r.SLIs[0].Verdict, r.SLIs[1].Verdict, r.SLIs[2].Verdict})
}

// Nothing from before the end of the warm-up can decide, in either direction.
func TestOnlySamplesAfterWarmupCount(t *testing.T) {
	t.Parallel()
	s := shapes()[0]
	spec := specOf(s.sli)
	in := healthyInput(spec, times(), s)
	r := recovery.Range{From: done, Until: judged, Step: step}
	in.SLIs[0].Signal.After = series(r, func(i int) float64 {
		if time.Duration(i)*step < warmup {
			return s.sick
		}
		return s.healthy
	})
	got := recovery.Judge(spec, in)
	require.Equal(t, incident.VerdictRecovered, got.Verdict, got.Reason)

	in.Times.Now = judged.Add(-step)
	got = recovery.Judge(spec, in)
	require.Equal(t, incident.VerdictUnknown, got.Verdict, got.Reason)
	require.Contains(t, got.Reason, "Only 4m55s of the long window of 5m0s have passed")
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

func ExampleJudge() {
	spec := specOf(shapes()[0].sli)
	r := recovery.Judge(spec, recovery.Input{Times: times()})
	fmt.Println(r.Verdict)
	fmt.Println(r.Reason)
	// Output:
	// unknown
	// error ratio: There are 0 measurements of it, and exactly 1 is needed.
}
