package unleashtest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/test/unleash"
	"github.com/backout/backout/workflows/incident"
)

// maxChunks bounds how many points of one call are tried.
const maxChunks = 64

// connect opens the kind on a connection of its own.
func connect(tb testing.TB, f *Flag, address string) (*driver.Set, driver.Inverse) {
	tb.Helper()
	set, err := driver.Open(tb.Context(), []driver.System{f.System(address, drivertest.Owner)})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = set.Close() }) // A proxy may have cut it.
	inverse, err := set.Inverse("flag.unleash", "flags")
	require.NoError(tb, err)
	return set, inverse
}

// plan plans to go back to a revision and requires that nothing is in the way.
func plan(tb testing.TB, inverse driver.Inverse, f *Flag, revision string) incident.Action {
	tb.Helper()
	planned, err := inverse.Plan(tb.Context(), driver.PlanRequest{Target: f.Target(), Revision: revision})
	require.NoError(tb, err)
	require.False(tb, planned.Blocked(), "%v", planned.Preflight)
	require.Contains(tb, planned.WontRevert, "the flag "+f.Name+" in "+unleash.Other)
	return incident.Action{
		Kind: "flag.unleash", Target: f.Target(), From: planned.From, To: planned.To,
		MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

func execute(tb testing.TB, inverse driver.Inverse, action incident.Action, key string) {
	tb.Helper()
	out, err := driver.Execute(tb.Context(), inverse, action, key, driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(tb, err)
	require.Equal(tb, action.To.Digest, out.Last.State.Digest)
}

func digest(tb testing.TB, f *Flag) string {
	tb.Helper()
	found, err := f.Digest(tb.Context())
	require.NoError(tb, err)
	return found
}

// standard is a strategy that all users get.
func standard() map[string]any {
	return map[string]any{"name": "default", "parameters": map[string]any{}, "constraints": []any{}}
}

// edit is what somebody did to a flag with two strategies that is on.
type edit struct {
	name string
	do   func(tb testing.TB, f *Flag, first, second string)
}

func edits() []edit {
	remove := func(tb testing.TB, f *Flag, id string) {
		tb.Helper()
		require.NoError(tb, f.Do(tb.Context(), http.MethodDelete, "/strategies/"+id, nil, nil))
	}
	share := func(tb testing.TB, f *Flag, id string, n int) {
		tb.Helper()
		require.NoError(tb, f.Share(tb.Context(), id, n))
	}
	return []edit{
		{"turned off", func(tb testing.TB, f *Flag, _, _ string) { tb.Helper(); f.Turn(tb, "off") }},
		{"strategy added", func(tb testing.TB, f *Flag, _, _ string) { tb.Helper(); f.Add(tb, standard()) }},
		{"strategy removed", func(tb testing.TB, f *Flag, first, _ string) { tb.Helper(); remove(tb, f, first) }},
		{"all strategies removed", func(tb testing.TB, f *Flag, first, second string) {
			tb.Helper()
			remove(tb, f, first)
			remove(tb, f, second) // The server turns the flag off with the last one.
		}},
		{"strategies sorted", func(tb testing.TB, f *Flag, first, second string) {
			tb.Helper()
			require.NoError(tb, f.Do(tb.Context(), http.MethodPost, "/strategies/set-sort-order", []any{
				map[string]any{"id": second, "sortOrder": 0}, map[string]any{"id": first, "sortOrder": 1},
			}, nil))
		}},
		{"everything at once", func(tb testing.TB, f *Flag, first, second string) {
			tb.Helper()
			f.Turn(tb, "off")
			share(tb, f, first, 100)
			remove(tb, f, second)
			f.Add(tb, standard())
			f.Turn(tb, "on")
		}},
	}
}

// twoStrategies makes a flag that is on, with two strategies, one of which belongs to
// a segment.
func twoStrategies(tb testing.TB) (f *Flag, first, second string) {
	tb.Helper()
	f = NewFlag(tb)
	var segment struct {
		ID int64 `json:"id"`
	}
	require.NoError(tb, f.Server.Call(tb.Context(), http.MethodPost, "/api/admin/segments", map[string]any{
		"name": "segment-" + f.Name, "constraints": []any{map[string]any{"contextName": "userId", "operator": "IN", "values": []any{"1"}}},
	}, &segment))
	first = f.Add(tb, Strategy(10, "ada"))
	grouped := Strategy(20, "grace")
	grouped["segments"], grouped["title"] = []any{segment.ID}, "Early birds"
	second = f.Add(tb, grouped)
	f.Turn(tb, "on")
	return f, first, second
}

// TestThereAndBack goes back behind each edit, and then undoes that.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	for _, test := range edits() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, first, second := twoStrategies(t)
			good, revision := digest(t, f), f.Last(t)
			test.do(t, f, first, second)
			bad := digest(t, f)
			require.NotEqual(t, good, bad, "the edit changed nothing")
			_, inverse := connect(t, f, f.Server.Address())
			action := plan(t, inverse, f, revision)
			execute(t, inverse, action, "key-1")
			require.Equal(t, good, digest(t, f), "the flag is not what it was")
			execute(t, inverse, action.Swapped(), "key-2")
			require.Equal(t, bad, digest(t, f), "the way back leads elsewhere")
		})
	}
}

// TestKilledHalfWay cuts the connection at every point of a rollback of several
// steps, and lets another connection end it.
func TestKilledHalfWay(t *testing.T) {
	t.Parallel()
	edit := func(tb testing.TB, f *Flag) {
		tb.Helper()
		f.Turn(tb, "off")
		f.Add(tb, standard())
	}
	for name, cut := range map[string]func(*drivertest.Proxy, int){"request": (*drivertest.Proxy).LoseRequest, "response": (*drivertest.Proxy).LoseResponse} {
		t.Run("lost "+name, func(t *testing.T) {
			t.Parallel()
			half := 0
			for nth := 1; ; nth++ {
				require.Less(t, nth, maxChunks)
				f, _, _ := twoStrategies(t)
				good, revision := digest(t, f), f.Last(t)
				edit(t, f)
				bad := digest(t, f)
				proxy := drivertest.NewProxy(t, newFront(t, f.Server.Address()).address())
				_, inverse := connect(t, f, proxy.Address())
				action := plan(t, inverse, f, revision)
				cut(proxy, nth)
				_, err := inverse.Apply(t.Context(), action, "key-1")
				if !proxy.Disarm() {
					require.NoError(t, err)
					break
				}
				require.False(t, driver.Final(err), "a cut at chunk %d is taken for final: %v", nth, err)
				if now := digest(t, f); now != good && now != bad {
					half++
				}
				_, fresh := connect(t, f, f.Server.Address())
				execute(t, fresh, action, "key-1")
				require.Equal(t, good, digest(t, f), "a cut at chunk %d and a retry lead elsewhere", nth)
			}
			require.Positive(t, half, "no cut left the flag half way: nothing was tried")
		})
	}
}

// TestNewerChangeStands lets somebody change another part of the flag at each point
// of steps that no request can condition.
func TestNewerChangeStands(t *testing.T) {
	t.Parallel()
	for _, test := range edits()[:3] {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			refusals, takenBack := 0, 0
			for nth := 1; ; nth++ {
				require.Less(t, nth, maxChunks)
				f, first, second := twoStrategies(t)
				revision := f.Last(t)
				test.do(t, f, first, second)
				proxy := drivertest.NewProxy(t, newFront(t, f.Server.Address()).address())
				_, inverse := connect(t, f, proxy.Address())
				action := plan(t, inverse, f, revision)
				var newer string
				var interference error
				proxy.Pause(nth, func() {
					// Not the test's goroutine: it must not be failed here.
					if interference = f.Share(t.Context(), second, 77); interference == nil {
						newer, interference = f.Digest(t.Context())
					}
				})
				receipt, err := inverse.Apply(t.Context(), action, "key-1")
				if !proxy.Disarm() {
					require.NoError(t, err)
					break
				}
				require.NoError(t, interference)
				if err == nil {
					continue // The change came behind the last look.
				}
				refusals++
				var drift *driver.DriftError
				require.ErrorAs(t, err, &drift, "chunk %d", nth)
				if strings.Contains(drift.Difference, "was taken back") {
					require.True(t, receipt.Mutated, "the refusal hides that something was written")
					takenBack++
				}
				require.Equal(t, newer, digest(t, f), "a change that came at chunk %d does not stand: %v", nth, err)
			}
			require.Positive(t, refusals, "no change came before the effect: nothing was tried")
			require.Positive(t, takenBack, "no change came into the window: nothing was tried")
		})
	}
}

// TestBlocked names what is in the way.
func TestBlocked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		arrange func(tb testing.TB, f *Flag, front *front) driver.PlanRequest
		says    string
	}{
		{"change requests", func(tb testing.TB, f *Flag, front *front) driver.PlanRequest {
			tb.Helper()
			front.answers = map[string]string{"/api/admin/projects/default/change-requests/config": `[{"environment":"development","changeRequestEnabled":false},{"environment":"production","type":"production","changeRequestEnabled":true,"requiredApprovals":2}]`}
			return driver.PlanRequest{Target: f.Target(), Revision: f.Last(tb)}
		}, "have to be requested and approved"},
		{"a segment that is gone", func(tb testing.TB, f *Flag, _ *front) driver.PlanRequest {
			tb.Helper()
			revision := f.Last(tb)
			var strategies []struct {
				ID       string  `json:"id"`
				Segments []int64 `json:"segments"`
			}
			require.NoError(tb, f.Do(tb.Context(), http.MethodGet, "/strategies", nil, &strategies))
			for _, s := range strategies {
				if len(s.Segments) > 0 {
					require.NoError(tb, f.Do(tb.Context(), http.MethodDelete, "/strategies/"+s.ID, nil, nil))
					require.NoError(tb, f.Server.Call(tb.Context(), http.MethodDelete, fmt.Sprintf("/api/admin/segments/%d", s.Segments[0]), nil, nil))
				}
			}
			return driver.PlanRequest{Target: f.Target(), Revision: revision}
		}, "does not exist any more"},
		{"an environment that is missing", func(tb testing.TB, f *Flag, _ *front) driver.PlanRequest {
			tb.Helper()
			target := f.Target()
			target.Path = unleash.Project + "/" + f.Name + "/nowhere"
			return driver.PlanRequest{Target: target, Revision: f.Last(tb)}
		}, "has no environment nowhere"},
		{"an archived flag", func(tb testing.TB, f *Flag, _ *front) driver.PlanRequest {
			tb.Helper()
			revision := f.Last(tb)
			require.NoError(tb, f.Server.Call(tb.Context(), http.MethodDelete, "/api/admin/projects/"+unleash.Project+"/features/"+f.Name, nil, nil))
			return driver.PlanRequest{Target: f.Target(), Revision: revision}
		}, "or is archived"},
		{"the state that is there", func(tb testing.TB, f *Flag, _ *front) driver.PlanRequest {
			tb.Helper()
			return driver.PlanRequest{Target: f.Target(), Before: time.Now().Add(time.Hour)}
		}, "already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, _, _ := twoStrategies(t)
			front := newFront(t, f.Server.Address())
			request := test.arrange(t, f, front)
			requireBlocked(t, f, front, request, test.says)
		})
	}
}

// requireBlocked requires that a plan is refused, and how.
func requireBlocked(tb testing.TB, f *Flag, front *front, request driver.PlanRequest, says string) {
	tb.Helper()
	_, inverse := connect(tb, f, front.address())
	planned, err := inverse.Plan(tb.Context(), request)
	require.NoError(tb, err)
	require.True(tb, planned.Blocked(), "%v", planned.Preflight)
	said := ""
	for _, check := range planned.Preflight {
		if check.Result == incident.PreflightBlocked {
			said += check.Reason + "\n"
		}
	}
	require.Contains(tb, said, says)
}

// TestImport is not parallel: an import hides the past of every flag of the
// environment, those of the other tests too.
func TestImport(t *testing.T) {
	f, _, _ := twoStrategies(t)
	revision := f.Last(t)
	require.NoError(t, f.Server.CallAs(t.Context(), f.Server.Administrator(t), http.MethodPost, "/api/admin/features-batch/import", map[string]any{
		"project": unleash.Project, "environment": unleash.Environment, "data": map[string]any{
			"features":            []any{map[string]any{"name": f.Name, "type": "release"}},
			"featureStrategies":   []any{map[string]any{"name": "default", "featureName": f.Name, "parameters": map[string]any{}, "constraints": []any{}, "segments": []any{}}},
			"featureEnvironments": []any{map[string]any{"enabled": true, "featureName": f.Name, "environment": unleash.Environment, "name": f.Name, "variants": []any{}}},
			"contextFields":       []any{}, "featureTags": []any{}, "segments": []any{}, "tagTypes": []any{},
		},
	}, nil))
	requireBlocked(t, f, newFront(t, f.Server.Address()), driver.PlanRequest{Target: f.Target(), Revision: revision}, "the log says nothing about the present state")
}

// TestSharedToken shows that a token which others may use is told.
func TestSharedToken(t *testing.T) {
	t.Parallel()
	f, first, _ := twoStrategies(t)
	revision := f.Last(t)
	require.NoError(t, f.Share(t.Context(), first, 100))
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(f.Server.AdminToken()), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "flags", Type: "unleash", Decode: drivertest.Settings(map[string]string{
		"url": "http://" + f.Server.Address(), "token_file": file,
	})}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse("flag.unleash", "flags")
	require.NoError(t, err)
	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: f.Target(), Revision: revision})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	warned := slices.ContainsFunc(planned.Preflight, func(c incident.Preflight) bool {
		return c.Result == incident.PreflightWarning && strings.Contains(c.Reason, "is an admin token")
	})
	require.True(t, warned, "%v", planned.Preflight)
}

// TestBeforeFindsTheState goes back to what was in force before a moment, which is
// what a runbook asks for.
func TestBeforeFindsTheState(t *testing.T) {
	t.Parallel()
	f, first, _ := twoStrategies(t)
	good := digest(t, f)
	set, inverse := connect(t, f, f.Server.Address())
	require.NoError(t, f.Share(t.Context(), first, 100))
	source, err := set.Source("flag.unleash", "flags")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: f.Target(), Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Len(t, changes, 5, "created, two strategies, turned on, changed")
	require.Equal(t, incident.StateAbsent, changes[0].From)
	last := changes[len(changes)-1]
	require.Contains(t, last.Summary, "rollout 10% to 100%")
	require.Equal(t, incident.ChangeFlag, last.Kind)
	require.Equal(t, "admin", last.Author)
	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: f.Target(), Before: last.At})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	execute(t, inverse, incident.Action{
		Kind: "flag.unleash", Target: f.Target(), From: planned.From, To: planned.To, MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: true,
	}, "key-1")
	require.Equal(t, good, digest(t, f))
}
