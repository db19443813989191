package openfeaturetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func connect(tb testing.TB) (*driver.Set, driver.Inverse) {
	tb.Helper()
	set, err := driver.Open(tb.Context(), []driver.System{System(tb)})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, set.Close()) })
	inverse, err := set.Inverse("flag.openfeature", "cluster")
	require.NoError(tb, err)
	return set, inverse
}

func plan(tb testing.TB, inverse driver.Inverse, request driver.PlanRequest) incident.Action {
	tb.Helper()
	planned, err := inverse.Plan(tb.Context(), request)
	require.NoError(tb, err)
	require.False(tb, planned.Blocked(), "%v", planned.Preflight)
	return incident.Action{
		Kind: "flag.openfeature", Target: request.Target, From: planned.From, To: planned.To,
		MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

func execute(tb testing.TB, inverse driver.Inverse, action incident.Action, key string) {
	tb.Helper()
	out, err := driver.Execute(tb.Context(), inverse, action, key, driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(tb, err)
	require.Equal(tb, action.To.Digest, out.Last.State.Digest)
}

func flagOf(tb testing.TB, w *World, flag string) map[string]any {
	tb.Helper()
	said, err := w.Read(tb.Context(), flag)
	require.NoError(tb, err)
	return said
}

// TestNeighboursStay shows that a flag goes back while others of its object change.
func TestNeighboursStay(t *testing.T) {
	t.Parallel()
	w := Start(t, "none of your business")
	w.Record(t, Flag)
	good := flagOf(t, w, Flag)
	require.NoError(t, w.Write(t.Context(), Flag, map[string]any{"state": "DISABLED"}))
	w.Record(t, Flag)
	_, inverse := connect(t)
	action := plan(t, inverse, driver.PlanRequest{Target: w.Target(Flag), Revision: "1"})
	require.NoError(t, w.Write(t.Context(), Neighbour, map[string]any{"state": "DISABLED"}))
	execute(t, inverse, action, "key-1")
	require.Equal(t, good, flagOf(t, w, Flag))
	require.Equal(t, "DISABLED", flagOf(t, w, Neighbour)["state"], "the other flag was changed")
}

// TestAddedAndRemoved shows that a flag that was not there, or is not there any more,
// is a state like any other.
func TestAddedAndRemoved(t *testing.T) {
	t.Parallel()
	const added = "new/with~signs"
	w := Start(t, "none of your business")
	w.Record(t, added)
	require.NoError(t, w.Write(t.Context(), added, map[string]any{"state": "ENABLED", "variants": map[string]any{"on": true}, "defaultVariant": "on"}))
	w.Record(t, added)
	there := flagOf(t, w, added)
	_, inverse := connect(t)
	action := plan(t, inverse, driver.PlanRequest{Target: w.Target(added), Revision: "1"})
	require.Equal(t, "absent", action.To.Label)
	execute(t, inverse, action, "key-1")
	require.Nil(t, flagOf(t, w, added))
	require.NotNil(t, flagOf(t, w, Neighbour))
	execute(t, inverse, action.Swapped(), "key-2")
	require.Equal(t, there, flagOf(t, w, added))
}

// TestBeforeFindsTheState goes back to what was in force before a change that the
// source has found, and captures what it leaves although nobody did before.
func TestBeforeFindsTheState(t *testing.T) {
	t.Parallel()
	w := Start(t, "none of your business")
	w.Record(t, Flag)
	good := flagOf(t, w, Flag)
	// The API server records whole seconds.
	require.Eventually(t, func() bool { return time.Now().Nanosecond() < int(100*time.Millisecond) && w.Age(t) >= time.Second }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, w.Write(t.Context(), Flag, map[string]any{"defaultVariant": "on"}))
	set, inverse := connect(t)
	source, err := set.Source("flag.openfeature", "cluster")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: w.Target(Flag), Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Len(t, changes, 2)
	last := changes[1]
	require.Equal(t, incident.ChangeFlag, last.Kind)
	require.Contains(t, last.Summary, "defaultVariant changed: off to on")
	action := plan(t, inverse, driver.PlanRequest{Target: w.Target(Flag), Before: last.At})
	require.Equal(t, "unrecorded", action.From.Revision)
	bad := flagOf(t, w, Flag)
	execute(t, inverse, action, "key-1")
	require.Equal(t, good, flagOf(t, w, Flag))
	execute(t, inverse, action.Swapped(), "key-2")
	require.Equal(t, bad, flagOf(t, w, Flag), "what was left was not captured")
}

// TestBlocked names what is in the way.
func TestBlocked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		arrange func(tb testing.TB, w *World) driver.PlanRequest
		says    string
	}{
		{"the state that is there", func(_ testing.TB, w *World) driver.PlanRequest {
			return driver.PlanRequest{Target: w.Target(Flag), Revision: "1"}
		}, "already"},
		{"nothing captured before", func(_ testing.TB, w *World) driver.PlanRequest {
			return driver.PlanRequest{Target: w.Target(Flag), Before: time.Now().Add(-time.Hour)}
		}, "No state of shop was captured before"},
		{"a revision of another kind", func(_ testing.TB, w *World) driver.PlanRequest {
			return driver.PlanRequest{Target: w.Target(Flag), Revision: "v1"}
		}, "is not a revision"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := Start(t, "none of your business")
			w.Record(t, Flag)
			_, inverse := connect(t)
			planned, err := inverse.Plan(t.Context(), test.arrange(t, w))
			require.NoError(t, err)
			require.True(t, planned.Blocked(), "%v", planned.Preflight)
			said := ""
			for _, check := range planned.Preflight {
				if check.Result == incident.PreflightBlocked {
					said += check.Reason + "\n"
				}
			}
			require.Contains(t, said, test.says)
		})
	}
}

// TestTargets shows how a flag is spelled.
func TestTargets(t *testing.T) {
	t.Parallel()
	_, inverse := connect(t)
	for _, path := range []string{"shop/flags", "shop//flag", "Shop/flags/a", "../flags/a", "shop/flags/", "shop/flags/a b", "shop/flags/a\nb"} {
		_, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "cluster", Path: path}, Revision: "1"})
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}
