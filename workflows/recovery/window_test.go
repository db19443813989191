package recovery_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

func TestWindows(t *testing.T) {
	t.Parallel()
	spec := specOf(shapes()[0].sli)
	for _, tt := range []struct {
		name  string
		times recovery.Times
		want  recovery.Queries
	}{
		{
			name: "everything known", times: times(),
			want: recovery.Queries{
				Baseline: recovery.Range{From: changed.Add(-11 * time.Minute), Until: changed.Add(-time.Minute), Step: step},
				During:   recovery.Range{From: onset, Until: done, Step: step},
				After:    recovery.Range{From: judged.Add(-long), Until: judged, Step: step},
				Counted:  recovery.Range{From: done.Add(warmup), Until: judged, Step: step},
				Ready:    true,
			},
		},
		{
			name: "no change known", times: recovery.Times{OnsetAt: onset, ActionsDoneAt: done, Now: done},
			want: recovery.Queries{
				Baseline: recovery.Range{From: onset.Add(-11 * time.Minute), Until: onset.Add(-time.Minute), Step: step},
				During:   recovery.Range{From: onset, Until: done, Step: step},
			},
		},
		{
			name: "the harm began before the suspected change", times: recovery.Times{ChangedAt: onset, OnsetAt: changed},
			want: recovery.Queries{
				Baseline: recovery.Range{From: changed.Add(-11 * time.Minute), Until: changed.Add(-time.Minute), Step: step},
			},
		},
		{
			name: "long incident", times: recovery.Times{ChangedAt: changed, OnsetAt: onset, ActionsDoneAt: onset.Add(time.Hour), Now: onset.Add(time.Hour + warmup + short)},
			want: recovery.Queries{
				Baseline: recovery.Range{From: changed.Add(-11 * time.Minute), Until: changed.Add(-time.Minute), Step: step},
				During:   recovery.Range{From: onset.Add(50 * time.Minute), Until: onset.Add(time.Hour), Step: step},
				After:    recovery.Range{From: onset.Add(time.Hour + warmup), Until: onset.Add(time.Hour + warmup + short), Step: step},
				Counted:  recovery.Range{From: onset.Add(time.Hour + warmup), Until: onset.Add(time.Hour + warmup + short), Step: step},
			},
		},
		{name: "nothing known", want: recovery.Queries{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, recovery.Windows(spec, tt.times))
		})
	}
	require.Equal(t, 0, recovery.Range{}.Points())
	require.Equal(t, 61, recovery.Windows(spec, times()).After.Points())
}

func TestCheck(t *testing.T) {
	t.Parallel()
	require.NoError(t, recovery.Check(specOf(shapes()[0].sli)))
	for _, tt := range []struct {
		name string
		edit func(s *incident.RecoverySpec)
		want string
	}{
		{name: "no SLI", edit: func(s *incident.RecoverySpec) { s.SLIs = nil }, want: "no SLI"},
		{name: "no step", edit: func(s *incident.RecoverySpec) { s.Step = 0 }, want: "step must be above zero"},
		{name: "short below step", edit: func(s *incident.RecoverySpec) { s.Short = time.Second }, want: "short window 1s must be at least one step"},
		{name: "long below short", edit: func(s *incident.RecoverySpec) { s.Long = time.Second }, want: "long window 1s must be at least the short"},
		{name: "no baseline", edit: func(s *incident.RecoverySpec) { s.BaselineLength = 0 }, want: "baseline length 0s"},
		{name: "negative warm-up", edit: func(s *incident.RecoverySpec) { s.Warmup = -1 }, want: "must not be negative"},
		{name: "negative gap", edit: func(s *incident.RecoverySpec) { s.BaselineGap = -1 }, want: "must not be negative"},
		{name: "negative hold", edit: func(s *incident.RecoverySpec) { s.Hold = -1 }, want: "must not be negative"},
		{name: "deadline too early", edit: func(s *incident.RecoverySpec) { s.Deadline = 7 * time.Minute }, want: "deadline 7m0s must be after"},
		{name: "too many samples", edit: func(s *incident.RecoverySpec) { s.BaselineLength = 48 * time.Hour }, want: "more than 11000 samples"},
		{name: "no name", edit: func(s *incident.RecoverySpec) { s.SLIs[0].Name = "" }, want: "empty or used twice"},
		{name: "name twice", edit: func(s *incident.RecoverySpec) { s.SLIs = append(s.SLIs, s.SLIs[0]) }, want: "empty or used twice"},
		{name: "no query", edit: func(s *incident.RecoverySpec) { s.SLIs[0].Query = "" }, want: "query is empty"},
		{name: "comparison", edit: func(s *incident.RecoverySpec) { s.SLIs[0].Objective.Comparison = "<=" }, want: `unknown comparison "<="`},
		{name: "bound", edit: func(s *incident.RecoverySpec) { s.SLIs[0].Objective.Bound = math.Inf(1) }, want: "not a finite number"},
		{name: "tolerance", edit: func(s *incident.RecoverySpec) { s.SLIs[0].Tolerance = -0.1 }, want: "tolerance -0.1"},
		{name: "traffic share", edit: func(s *incident.RecoverySpec) { s.SLIs[0].MinTraffic = 1.1 }, want: "between 0 and 1"},
		{name: "floor without traffic", edit: func(s *incident.RecoverySpec) { s.SLIs[0].Traffic = "" }, want: "needs a traffic query"},
		{name: "no points", edit: func(s *incident.RecoverySpec) { s.SLIs[0].MinPoints = 0 }, want: "min_points must be above zero"},
		{name: "more points than fit", edit: func(s *incident.RecoverySpec) { s.SLIs[0].MinPoints = 13 }, want: "the shortest window holds 12"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			spec := specOf(shapes()[0].sli)
			tt.edit(&spec)
			require.ErrorContains(t, recovery.Check(spec), tt.want)
		})
	}
}

// A spec at the edge of what Check allows can be met wherever the grid of the
// query begins.
func TestCheckedSpecCanRecover(t *testing.T) {
	t.Parallel()
	s := shapes()[2]
	for _, st := range []time.Duration{time.Second, 3 * time.Second, 7 * time.Second, 11 * time.Second, 30 * time.Second, 59 * time.Second} {
		for _, late := range []time.Duration{0, 400 * time.Microsecond, time.Millisecond, 1234567 * time.Microsecond} {
			s.sli.MinPoints = int(short / st)
			spec := specOf(s.sli)
			spec.Step = st
			at := times()
			at.Now = at.Now.Add(late)
			r := recovery.Judge(spec, healthyInput(spec, at, s))
			require.Equal(t, incident.VerdictRecovered, r.Verdict, "step %s, %s late: %s", st, late, r.Reason)
		}
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	const (
		good = incident.VerdictRecovered
		bad  = incident.VerdictNotRecovered
		dark = incident.VerdictUnknown
	)
	type look struct {
		after   time.Duration
		verdict incident.Verdict
		want    recovery.HoldState
	}
	spec := specOf(shapes()[0].sli) // holds for 2 minutes
	for _, tt := range []struct {
		name     string
		looks    []look
		relapses int
	}{
		{name: "lasts", looks: []look{
			{0, bad, recovery.HoldWaiting},
			{time.Minute, good, recovery.HoldRunning},
			{2 * time.Minute, good, recovery.HoldRunning},
			{3 * time.Minute, good, recovery.HoldDone},
		}},
		{name: "relapse begins again", relapses: 1, looks: []look{
			{0, good, recovery.HoldRunning},
			{time.Minute, bad, recovery.HoldRelapsed},
			{2 * time.Minute, bad, recovery.HoldWaiting},
			{3 * time.Minute, good, recovery.HoldRunning},
			{4 * time.Minute, good, recovery.HoldRunning},
			{5 * time.Minute, good, recovery.HoldDone},
		}},
		{name: "unknown begins again, and is no relapse", looks: []look{
			{0, good, recovery.HoldRunning},
			{time.Minute, dark, recovery.HoldWaiting},
			{2 * time.Minute, good, recovery.HoldRunning},
			{3 * time.Minute, good, recovery.HoldRunning},
			{4 * time.Minute, good, recovery.HoldDone},
		}},
		{name: "no verdict begins again", looks: []look{
			{0, good, recovery.HoldRunning},
			{time.Minute, "", recovery.HoldWaiting},
			{2 * time.Minute, good, recovery.HoldRunning},
		}},
		{name: "nobody looked for longer than the long window", looks: []look{
			{0, good, recovery.HoldRunning},
			{long + time.Second, good, recovery.HoldRunning},
			{long + time.Second + 2*time.Minute, good, recovery.HoldDone},
		}},
		{name: "time goes backwards", looks: []look{
			{time.Hour, good, recovery.HoldRunning},
			{0, good, recovery.HoldRunning},
			{time.Minute, good, recovery.HoldRunning},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var h recovery.Hold
			for i, l := range tt.looks {
				var got recovery.HoldState
				h, got = h.Next(spec, incident.RecoveryResult{Verdict: l.verdict, At: judged.Add(l.after)})
				require.Equal(t, l.want, got, "look %d", i+1)
			}
			require.Equal(t, tt.relapses, h.Relapses)
		})
	}
	t.Run("no hold", func(t *testing.T) {
		t.Parallel()
		spec := spec
		spec.Hold = 0
		_, got := recovery.Hold{}.Next(spec, incident.RecoveryResult{Verdict: good, At: judged})
		require.Equal(t, recovery.HoldDone, got)
	})
	require.False(t, recovery.Overdue(spec, done, done.Add(spec.Deadline-1)))
	require.True(t, recovery.Overdue(spec, done, done.Add(spec.Deadline)))
}
