package activities_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

func TestReplan(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*testing.T, *world, *activities.Activities)
		says   string
	}{
		{"nothing moved", nil, ""},
		{"the target moved", func(_ *testing.T, w *world, _ *activities.Activities) { w.put("config/checkout", "third", now) }, "main/config/checkout was at bad (revision 2) and is at third (revision 3)"},
		{"the revision holds another state", func(_ *testing.T, w *world, _ *activities.Activities) {
			w.targets["config/checkout"].versions[0].value = "rewritten"
		}, "would go to rewritten (revision 1) instead of good"},
		{"it can not be undone any more", func(_ *testing.T, w *world, _ *activities.Activities) { w.targets["config/checkout"].oneWay = true }, "whether main/config/checkout can be undone is another matter now"},
		{"a check forbids it now", func(_ *testing.T, w *world, _ *activities.Activities) {
			w.preflight = []incident.Preflight{{Name: "deploy", Result: incident.PreflightBlocked, Reason: "A deploy is in flight."}}
		}, "A deploy is in flight."},
		{"the target is gone", func(_ *testing.T, w *world, _ *activities.Activities) { delete(w.targets, "config/checkout") }, "does not exist"},
		{"the runbook has changed", func(t *testing.T, _ *world, a *activities.Activities) {
			a.Runbooks = []*runbooks.Runbook{runbook(t, strings.Replace(book, "expected_time: 10s", "expected_time: 11s", 1))}
		}, "runbook config has changed"},
		{"the runbook is gone", func(_ *testing.T, _ *world, a *activities.Activities) { a.Runbooks = nil }, "not loaded any more"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a := w.activities(t)
			if test.change != nil {
				test.change(t, w, a)
			}
			p := plan(t)
			got, err := a.Replan(t.Context(), activities.ReplanInput{Plan: p, Digest: digest(t, p)})
			require.NoError(t, err)
			require.Equal(t, test.says == "", got.Digest == digest(t, p))
			require.Contains(t, strings.Join(got.Differences, "; "), test.says)
			require.Equal(t, test.says == "", len(got.Differences) == 0)
			require.NotContains(t, w.calls, "apply")
		})
	}
}

func TestReplanThatCanNotReadTheWorld(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.fail = func(string) error { return errors.New("away") }
	p := plan(t)
	_, err := w.activities(t).Replan(t.Context(), activities.ReplanInput{Plan: p, Digest: digest(t, p)})
	requireError(t, err, "", false)
	w.noSystem = true
	_, err = w.activities(t).Replan(t.Context(), activities.ReplanInput{Plan: p, Digest: digest(t, p)})
	requireError(t, err, incident.ErrTypeInvalid, true)
}

func flat(value float64) func(string, time.Time, time.Time, time.Duration) ([]incident.Series, error) {
	return func(query string, from, until time.Time, step time.Duration) ([]incident.Series, error) {
		v := value
		if strings.HasPrefix(query, "traffic") {
			v = 100
		}
		var s incident.Series
		for at := from; !at.After(until); at = at.Add(step) {
			s.Points = append(s.Points, incident.Point{At: at, Value: v})
		}
		return []incident.Series{s}, nil
	}
}

// TestMeasureRecovery is each way in which a Prometheus can fail to say that a
// service is well: only one answer is recovered.
func TestMeasureRecovery(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*world)
		want   incident.Verdict
	}{
		{"well", func(*world) {}, incident.VerdictRecovered},
		{"bad", func(w *world) { w.series = flat(0.5) }, incident.VerdictNotRecovered},
		{"NaN", func(w *world) { w.series = flat(math.NaN()) }, incident.VerdictUnknown},
		{"away", func(w *world) { w.fail = func(string) error { return errors.New("connection refused") } }, incident.VerdictUnknown},
		{"empty", func(w *world) {
			w.series = func(string, time.Time, time.Time, time.Duration) ([]incident.Series, error) { return nil, nil }
		}, incident.VerdictUnknown},
		{"stale", func(w *world) {
			fresh := flat(0.001)
			w.series = func(q string, from, until time.Time, step time.Duration) ([]incident.Series, error) {
				return fresh(q, from, earlier(until, now.Add(8*time.Minute)), step)
			}
		}, incident.VerdictUnknown},
		{"no such system", func(w *world) { w.noSystem = true }, incident.VerdictUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.series = flat(0.001)
			w.now = now.Add(10 * time.Minute)
			test.change(w)
			got, err := w.activities(t).MeasureRecovery(t.Context(), activities.MeasureInput{
				Plan: plan(t), OnsetAt: onset, ChangedAt: onset.Add(-2 * time.Minute), StartedAt: now, ActionsDoneAt: now,
			})
			require.NoError(t, err)
			require.Equal(t, test.want, got.Verdict, got.Reason)
		})
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func TestRecoveryPlan(t *testing.T) {
	t.Parallel()
	a := newWorld().activities(t)
	got, err := a.RecoveryPlan(t.Context(), plan(t))
	require.NoError(t, err)
	require.Equal(t, activities.RecoveryPlan{Warmup: 30 * time.Second, Every: 15 * time.Second, Long: 5 * time.Minute, Hold: 2 * time.Minute, Deadline: 15 * time.Minute}, got)
	p := plan(t)
	p.RunbookDigest = incident.DigestOf([]byte("older"))
	_, err = a.RecoveryPlan(t.Context(), p)
	requireError(t, err, incident.ErrTypeInvalid, true)
}
