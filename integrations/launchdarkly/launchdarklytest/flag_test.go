package launchdarklytest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

func connect(tb testing.TB, w *World, as drivertest.Credential) (*driver.Set, driver.Inverse) {
	tb.Helper()
	set, err := driver.Open(tb.Context(), []driver.System{w.System(w.Address(), as)})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, set.Close()) })
	inverse, err := set.Inverse("flag.launchdarkly", "flags")
	require.NoError(tb, err)
	return set, inverse
}

func action(w *World, planned driver.Planned) incident.Action {
	return incident.Action{
		Kind: "flag.launchdarkly", Target: w.Target(), From: planned.From, To: planned.To,
		MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

func plan(tb testing.TB, w *World, inverse driver.Inverse, revision string) incident.Action {
	tb.Helper()
	planned, err := inverse.Plan(tb.Context(), driver.PlanRequest{Target: w.Target(), Revision: revision})
	require.NoError(tb, err)
	require.False(tb, planned.Blocked(), "%v", planned.Preflight)
	return action(w, planned)
}

func execute(tb testing.TB, inverse driver.Inverse, a incident.Action, key string) {
	tb.Helper()
	out, err := driver.Execute(tb.Context(), inverse, a, key, driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(tb, err)
	require.Equal(tb, a.To.Digest, out.Last.State.Digest)
}

func digest(tb testing.TB, w *World, environment string) string {
	tb.Helper()
	found, err := w.Digest(environment)
	require.NoError(tb, err)
	return found
}

// TestThereAndBack goes back behind changes of every part of a configuration, and
// then undoes that. The other environment stays as it is.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		edit func(config map[string]any)
	}{
		{"turned off", func(c map[string]any) { c["on"] = false }},
		{"served by default", func(c map[string]any) { c["fallthrough"] = map[string]any{"variation": 1} }},
		{"served when off", func(c map[string]any) { c["offVariation"] = 0 }},
		{"targets", func(c map[string]any) {
			c["targets"] = []any{map[string]any{"variation": 1, "values": []any{"ada"}, "contextKind": "user"}}
			c["contextTargets"] = []any{map[string]any{"variation": 1, "values": []any{}, "contextKind": "user"}}
		}},
		{"rule added in front", func(c map[string]any) { c["rules"] = append([]any{Rule(1, "eve")}, c["rules"].([]any)...) }},
		{"rule removed", func(c map[string]any) { c["rules"] = c["rules"].([]any)[:1] }},
		{"rule changed", func(c map[string]any) {
			rule := c["rules"].([]any)[0].(map[string]any)
			delete(rule, "variation")
			rule["rollout"] = Shares(1_000, 99_000)["rollout"]
		}},
		{"everything at once", func(c map[string]any) {
			c["on"], c["offVariation"], c["trackEvents"], c["rules"] = false, 0, true, []any{}
			c["fallthrough"] = map[string]any{"variation": 1}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := Start(t)
			w.Change(func(c map[string]any) {
				c["on"], c["fallthrough"], c["rules"] = true, Shares(10_000, 90_000), []any{Rule(0, "ada"), Rule(1, "grace")}
			})
			good, other := digest(t, w, Environment), digest(t, w, Other)
			w.Change(test.edit)
			bad := digest(t, w, Environment)
			require.NotEqual(t, good, bad, "the edit changed nothing")
			_, inverse := connect(t, w, drivertest.Owner)
			a := plan(t, w, inverse, "2")
			execute(t, inverse, a, "key-1")
			require.Equal(t, good, digest(t, w, Environment), "the flag is not what it was")
			execute(t, inverse, a.Swapped(), "key-2")
			require.Equal(t, bad, digest(t, w, Environment), "the way back leads elsewhere")
			require.Equal(t, other, digest(t, w, Other), "the other environment was changed")
		})
	}
}

// TestBlocked names what is in the way.
func TestBlocked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		arrange func(w *World)
		request func(w *World) driver.PlanRequest
		says    string
	}{
		{"approval", func(w *World) { w.RequireApproval(Project, Environment) }, nil, "have to be requested and approved"},
		{"other variations", func(w *World) { w.Vary(Project, Key, "blue", "green") }, nil, "variations of " + Key + " were changed"},
		{"the configuration that is there", func(*World) {}, func(w *World) driver.PlanRequest {
			return driver.PlanRequest{Target: w.Target(), Before: time.Now().Add(time.Hour)}
		}, "already"},
		{"an environment that is missing", func(*World) {}, func(*World) driver.PlanRequest {
			return driver.PlanRequest{Target: incident.Target{System: "flags", Path: Project + "/" + Key + "/nowhere"}, Revision: "2"}
		}, "has no environment nowhere"},
		{"no revision", func(*World) {}, func(w *World) driver.PlanRequest {
			return driver.PlanRequest{Target: w.Target(), Revision: "two"}
		}, "is not a revision"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := Start(t)
			w.Change(func(c map[string]any) { c["on"] = true })
			w.Change(func(c map[string]any) { c["fallthrough"] = Shares(50_000, 50_000) })
			test.arrange(w)
			request := driver.PlanRequest{Target: w.Target(), Revision: "2"}
			if test.request != nil {
				request = test.request(w)
			}
			_, inverse := connect(t, w, drivertest.Owner)
			planned, err := inverse.Plan(t.Context(), request)
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

// TestApprovalIsFinal shows that an approval which is required only after the plan
// ends the action, and is not passed by.
func TestApprovalIsFinal(t *testing.T) {
	t.Parallel()
	w := Start(t)
	w.Change(func(c map[string]any) { c["on"] = true })
	_, inverse := connect(t, w, drivertest.Owner)
	a := plan(t, w, inverse, "1")
	w.RequireApproval(Project, Environment)
	before := digest(t, w, Environment)
	_, err := inverse.Apply(t.Context(), a, "key-1")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.ErrorContains(t, err, "405")
	require.Equal(t, before, digest(t, w, Environment))
}

// TestUndoneByHand shows that an action that was applied and then undone by somebody
// is not applied again.
func TestUndoneByHand(t *testing.T) {
	t.Parallel()
	w := Start(t)
	w.Change(func(c map[string]any) { c["on"] = true })
	_, inverse := connect(t, w, drivertest.Owner)
	a := plan(t, w, inverse, "1")
	execute(t, inverse, a, "key-1")
	w.Change(func(c map[string]any) { c["on"] = true })
	again := digest(t, w, Environment)
	_, err := inverse.Apply(t.Context(), a, "key-1")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "changed it back")
	require.Equal(t, again, digest(t, w, Environment))
}

// TestThrottlingSaysHowLong shows that the reset of the limits is heeded.
func TestThrottlingSaysHowLong(t *testing.T) {
	t.Parallel()
	w := Start(t)
	w.Change(func(c map[string]any) { c["on"] = true })
	_, inverse := connect(t, w, drivertest.Owner)
	a := plan(t, w, inverse, "1")
	w.Throttle(5 * time.Second)
	_, err := inverse.Observe(t.Context(), a)
	var wait interface{ RetryAfter() time.Duration }
	require.ErrorAs(t, err, &wait)
	require.InDelta(t, 5*time.Second, wait.RetryAfter(), float64(4*time.Second))
	require.False(t, driver.Final(err))
}

// TestChangesLeadBack shows what a runbook does: it finds the change, and asks for
// what was in force before it.
func TestChangesLeadBack(t *testing.T) {
	t.Parallel()
	// The log counts milliseconds: each change gets one of its own.
	var moment atomic.Int64
	began := time.Now().Add(-time.Minute)
	w := StartAt(t, func() time.Time { return began.Add(time.Duration(moment.Add(1)) * time.Millisecond) })
	w.Change(func(c map[string]any) { c["on"], c["fallthrough"] = true, Shares(10_000, 90_000) })
	good := digest(t, w, Environment)
	w.Change(func(c map[string]any) { c["fallthrough"] = map[string]any{"variation": 0} })
	set, inverse := connect(t, w, drivertest.Owner)
	source, err := set.Source("flag.launchdarkly", "flags")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: w.Target(), Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Len(t, changes, 3)
	require.Equal(t, incident.StateAbsent, changes[0].From)
	last := changes[2]
	require.Equal(t, ada, last.Author)
	require.Equal(t, incident.ChangeFlag, last.Kind)
	require.Contains(t, last.Summary, "default changed: variations 0 10%, 1 90% to variation 0")
	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: w.Target(), Before: last.At})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	require.Equal(t, "2", planned.To.Revision)
	execute(t, inverse, action(w, planned), "key-1")
	require.Equal(t, good, digest(t, w, Environment))
}
