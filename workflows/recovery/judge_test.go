package recovery_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

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
	require.Equal(t, incident.VerdictNotRecovered, r.Verdict, r.Reason)
	require.Contains(t, r.Reason, "is 0.4 s, and it was 0.2 s before the change; 0.22 s is the most that agrees (p = ")

	in.SLIs[0].Signal.After = nil
	r = recovery.Judge(spec, in)
	require.Equal(t, "latency p99: There is no data in the short window.", r.Reason)
	require.Nil(t, r.SLIs[0].After)
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
	require.Equal(t, incident.VerdictNotRecovered, r.Verdict, r.Reason)
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

func ExampleJudge() {
	spec := specOf(shapes()[0].sli)
	r := recovery.Judge(spec, recovery.Input{Times: times()})
	fmt.Println(r.Verdict)
	fmt.Println(r.Reason)
	// Output:
	// unknown
	// error ratio: There are 0 measurements of it, and exactly 1 is needed.
}
