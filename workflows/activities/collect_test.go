package activities_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

var configured = incident.Target{System: "main", Path: "config/checkout"}

func collectInput() activities.CollectInput {
	return activities.CollectInput{Key: key, Service: "checkout", ServiceID: "PCHECK", Severity: incident.Sev2, OnsetAt: onset, Now: now}
}

// broken is a world in which the configuration of checkout is the culprit.
func broken() *world {
	w := newWorld()
	w.changes["kv config/checkout"] = []incident.Change{{ID: "2", Target: configured, At: onset.Add(-2 * time.Minute), Author: "ben@example.com", From: "good", To: "bad"}}
	w.put("flags/checkout", "off", onset.Add(-48*time.Hour))
	w.put("flags/checkout", "on", onset.Add(-24*time.Hour))
	return w
}

func optionNamed(t *testing.T, got activities.CollectResult, name string) incident.Option {
	t.Helper()
	i := slices.IndexFunc(got.Options, func(o incident.Option) bool { return o.Plan.Option == name })
	require.GreaterOrEqual(t, i, 0, "no option %q among %d; notes: %v", name, len(got.Options), got.Notes)
	return got.Options[i]
}

func TestCollectOptions(t *testing.T) {
	t.Parallel()
	w := broken()
	got, err := w.activities(t).CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	require.Empty(t, got.Notes)
	require.False(t, got.Incomplete)
	require.Equal(t, "checkout", got.Service)
	require.Equal(t, 10*time.Minute, got.DecideWithin)
	require.Equal(t, 0, got.Ranking.Likely, got.Ranking.Reason)
	require.Len(t, got.Options, 2)

	back := optionNamed(t, got, "config-back")
	require.False(t, back.Blocked)
	require.True(t, back.Recommended)
	require.Equal(t, incident.TierOnCall, back.Tier, back.TierReason)
	require.Equal(t, []string{"ben@example.com"}, back.Authors)
	require.Equal(t, plan(t), back.Plan)
	require.Equal(t, digest(t, plan(t)), back.Digest)

	off := optionNamed(t, got, "flag-off")
	require.False(t, off.Blocked)
	require.Equal(t, incident.TierCommander, off.Tier, "it writes shared data")
	require.Nil(t, off.Suspect)
	require.True(t, back.BreakGlass, "the default policy allows it in every tier")
	require.True(t, off.BreakGlass)
	for _, call := range w.calls {
		require.False(t, strings.HasPrefix(call, "apply") || strings.HasPrefix(call, "append"), "collecting changes nothing: %s", call)
	}
	require.Equal(t, "2 options, 2 of them open. "+got.Ranking.Reason, activities.OptionsText(got))
}

func TestCollectOptionsFindsTheServiceByThePagersIdentifier(t *testing.T) {
	t.Parallel()
	in := collectInput()
	in.Service = ""
	got, err := broken().activities(t).CollectOptions(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, "checkout", got.Service)
	require.Len(t, got.Options, 2)
}

func TestCollectOptionsOfAnUnknownService(t *testing.T) {
	t.Parallel()
	w := broken()
	in := collectInput()
	in.Service, in.ServiceID = "ghost", "PGHOST"
	got, err := w.activities(t).CollectOptions(t.Context(), in)
	require.NoError(t, err)
	require.Empty(t, got.Options)
	require.Len(t, got.Notes, 1)
	require.Contains(t, got.Notes[0], `"ghost"`)
	require.Equal(t, -1, got.Ranking.Likely)
	require.Empty(t, w.calls)
}

func TestCollectOptionsWithoutARunbook(t *testing.T) {
	t.Parallel()
	a := broken().activities(t)
	a.Runbooks = nil
	got, err := a.CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	require.Empty(t, got.Options)
	require.Equal(t, []string{"No runbook matches checkout."}, got.Notes)
}

func TestCollectOptionsCostsAFailingPartAlone(t *testing.T) {
	t.Parallel()
	away := errors.New("no answer; password=hunter2hunter2")
	for _, test := range []struct {
		name  string
		fails string
		check func(*testing.T, activities.CollectResult)
	}{
		{"source of a suspect", "changes kv config/checkout", func(t *testing.T, got activities.CollectResult) {
			require.Len(t, got.Notes, 1)
			require.Contains(t, got.Notes[0], "Changes of main/config/checkout could not be read from kv")
			require.Equal(t, -1, got.Ranking.Likely)
			require.Len(t, got.Options, 1)
			require.False(t, optionNamed(t, got, "flag-off").Blocked)
		}},
		{"another source", "changes deployments repo/payments", func(t *testing.T, got activities.CollectResult) {
			require.Len(t, got.Notes, 1)
			require.False(t, optionNamed(t, got, "config-back").Blocked)
		}},
		{"driver of one option", "plan config/checkout", func(t *testing.T, got activities.CollectResult) {
			require.Empty(t, got.Notes)
			back := optionNamed(t, got, "config-back")
			require.True(t, back.Blocked)
			require.False(t, back.Recommended)
			require.Contains(t, back.Preflight[0].Reason, "The state of main/config/checkout could not be read: no answer")
			require.False(t, optionNamed(t, got, "flag-off").Blocked)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := broken()
			w.fail = func(call string) error {
				if call == test.fails {
					return away
				}
				return nil
			}
			got, err := w.activities(t).CollectOptions(t.Context(), collectInput())
			require.NoError(t, err)
			test.check(t, got)
			require.True(t, got.Incomplete)
			require.NotContains(t, fmt.Sprintf("%+v", got), "hunter2", "no secret of an error is shown")
		})
	}
}

func TestCollectOptionsWithASystemThatIsNotConfigured(t *testing.T) {
	t.Parallel()
	w := broken()
	w.noSystem = true
	got, err := w.activities(t).CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	require.Len(t, got.Notes, 4, "each source of checkout and payments is named")
	require.True(t, optionNamed(t, got, "flag-off").Blocked)
}

func TestCollectOptionsSaysWhichOptionItCouldNotMake(t *testing.T) {
	t.Parallel()
	w := broken()
	a := w.activities(t)
	a.Runbooks = []*runbooks.Runbook{runbook(t, strings.Replace(book, `path: "config/{service}"}, max_time: 2m`, `path: "config/{service}"}`, 1))}
	got, err := a.CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	require.Len(t, got.Options, 1, "the other one is there")
	require.Len(t, got.Notes, 1)
	require.Contains(t, got.Notes[0], "config-back")
	require.Contains(t, got.Notes[0], "max_time")
}

func TestCollectOptionsOfDependenciesNeedASuspect(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, s := range []string{"checkout", "payments"} {
		w.put("flags/"+s, "off", onset.Add(-48*time.Hour))
		w.put("flags/"+s, "on", onset.Add(-24*time.Hour))
	}
	w.put("config/payments", "good", onset.Add(-time.Hour))
	w.put("config/payments", "bad", onset.Add(-time.Minute))
	w.changes["kv config/payments"] = []incident.Change{{ID: "p2", Target: incident.Target{System: "main", Path: "config/payments"}, At: onset.Add(-time.Minute)}}
	got, err := w.activities(t).CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	var offered []string
	for _, o := range got.Options {
		offered = append(offered, o.Plan.Service+" "+o.Plan.Option)
	}
	require.ElementsMatch(t, []string{"payments config-back", "checkout flag-off"}, offered)
}

// TestCollectOptionsGoesBackBeforeTheWholeChange is one deployment that two
// sources date differently: the state wanted is the one before both.
func TestCollectOptionsGoesBackBeforeTheWholeChange(t *testing.T) {
	t.Parallel()
	w := newWorld()
	at := onset.Add(-2 * time.Minute)
	w.targets["config/checkout"] = nil
	delete(w.targets, "config/checkout")
	w.put("config/checkout", "checkout:v41", onset.Add(-time.Hour))
	w.put("config/checkout", "checkout:v42", at)
	// The key's own source notices it a minute late.
	w.changes["kv config/checkout"] = []incident.Change{{ID: "2", Target: configured, At: at.Add(time.Minute), To: "checkout:v42", Author: "ben@example.com"}}
	w.changes["deployments repo/checkout"] = []incident.Change{{ID: "d9", At: at, To: "v42", Author: "carlahub"}}
	got, err := w.activities(t).CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	back := optionNamed(t, got, "config-back")
	require.False(t, back.Blocked, "%v", back.Preflight)
	require.Equal(t, "checkout:v41", back.Plan.Actions[0].To.Label)
	require.Equal(t, []string{"ben@example.com", "carlahub"}, back.Authors, "both authors are kept from being the sole approver")
}

func TestCollectOptionsKeepsIDs(t *testing.T) {
	t.Parallel()
	w := broken()
	a := w.activities(t)
	first, err := a.CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	in := collectInput()
	in.Previous = slices.Clone(first.Options)
	slices.Reverse(in.Previous)
	in.Previous[0].ID, in.Previous[1].ID = "o7", "o3"
	again, err := a.CollectOptions(t.Context(), in)
	require.NoError(t, err)
	for _, was := range in.Previous {
		require.Equal(t, was.ID, optionNamed(t, again, was.Plan.Option).ID)
	}

	w.changes = map[string][]incident.Change{}
	w.put("config/payments", "good", onset.Add(-time.Hour))
	w.put("config/payments", "bad", onset.Add(-time.Minute))
	w.changes["kv config/payments"] = []incident.Change{{ID: "p2", Target: incident.Target{System: "main", Path: "config/payments"}, At: onset.Add(-time.Minute)}}
	other, err := a.CollectOptions(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, "o8", optionNamed(t, other, "config-back").ID, "another option never takes an ID that was shown")
}

// TestCollectOptionsIsInOneOrder lets the sources and drivers answer in 50
// different orders.
func TestCollectOptionsIsInOneOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var want *activities.CollectResult
		orders := map[string]bool{}
		for seed := range uint64(50) {
			w := broken()
			for i, s := range []string{"checkout", "payments"} {
				for n := range 4 {
					w.changes["deployments repo/"+s] = append(w.changes["deployments repo/"+s],
						incident.Change{ID: fmt.Sprint("d", n%2), At: onset.Add(-time.Hour), Summary: fmt.Sprint(i, n)})
				}
			}
			w.put("config/payments", "good", onset.Add(-time.Hour))
			w.put("config/payments", "bad", onset.Add(-2*time.Minute))
			w.changes["kv config/payments"] = []incident.Change{{ID: "2", Target: incident.Target{System: "main", Path: "config/payments"}, At: onset.Add(-2 * time.Minute)}}
			chance := rand.New(rand.NewPCG(seed, seed))
			answers := 0
			w.fail = func(call string) error {
				// What is asked of a source or driver is answered some time later.
				wait := time.Duration(chance.IntN(1000)) * time.Millisecond
				w.mu.Unlock()
				<-time.After(wait)
				w.mu.Lock()
				answers++
				orders[fmt.Sprint(answers, call)] = true
				if call == "changes deployments repo/payments" {
					return errors.New("no answer")
				}
				return nil
			}
			got, err := w.activities(t).CollectOptions(t.Context(), collectInput())
			require.NoError(t, err)
			if want == nil {
				want = &got
				require.Greater(t, len(got.Options), 2)
			}
			require.Equal(t, *want, got, "seed %d", seed)
		}
		require.Greater(t, len(orders), 10, "the orders of the answers differed")
	})
}

// finished is the rollback of broken's configuration, as it ended.
func finished(t *testing.T, w *world) *incident.RollbackView {
	t.Helper()
	p := plan(t)
	w.put("config/checkout", "good", now)
	return &incident.RollbackView{
		ID: rollback, OptionID: "o1", Service: "checkout", Runbook: "config", Option: "config-back", Status: incident.RollbackDone,
		Actions: []incident.ActionView{{Action: p.Actions[0], Status: incident.ActionDone, Applied: true, MutatedAt: now}},
	}
}

func TestCollectOptionsOffersToUndoARollback(t *testing.T) {
	t.Parallel()
	w := broken()
	in := collectInput()
	in.Redo = finished(t, w)
	a := w.activities(t)
	got, err := a.CollectOptions(t.Context(), in)
	require.NoError(t, err)
	require.Empty(t, got.Notes)
	redo := optionNamed(t, got, "redo-config-back")
	require.False(t, redo.Blocked)
	require.False(t, redo.Recommended)
	require.Equal(t, "good", redo.Plan.Actions[0].From.Label)
	require.Equal(t, plan(t).Actions[0].From, redo.Plan.Actions[0].To)
	require.Equal(t, incident.TierOnCall, redo.Tier)
	require.NoError(t, redo.Plan.Validate())

	// And the undoing can be undone.
	w.put("config/checkout", "bad", now)
	in.Redo = &incident.RollbackView{
		Service: "checkout", Runbook: "config", Option: "redo-config-back",
		Actions: []incident.ActionView{{Action: redo.Plan.Actions[0], Status: incident.ActionDone, Applied: true}},
	}
	got, err = a.CollectOptions(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, "good", optionNamed(t, got, "redo-redo-config-back").Plan.Actions[0].To.Label)
}

func TestCollectOptionsRefusesToUndoARollback(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*world, *incident.RollbackView)
		want   string
	}{
		{"one-way door", func(_ *world, r *incident.RollbackView) { r.Actions[0].Action.Reversible = false }, "one-way door"},
		{"runbook is gone", func(_ *world, r *incident.RollbackView) { r.Runbook = "ghost" }, "not loaded"},
		{"option is gone from the runbook", func(_ *world, r *incident.RollbackView) { r.Option = "ghost" }, `option "ghost"`},
		{"the revision is another state now", func(w *world, _ *incident.RollbackView) { w.targets["config/checkout"].versions[1].value = "rewritten" }, "is not what it was"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := broken()
			in := collectInput()
			in.Redo = finished(t, w)
			test.change(w, in.Redo)
			got, err := w.activities(t).CollectOptions(t.Context(), in)
			require.NoError(t, err)
			require.Len(t, got.Notes, 1)
			require.Contains(t, got.Notes[0], "Undoing the rollback can not be offered")
			require.Contains(t, got.Notes[0], test.want)
			for _, o := range got.Options {
				require.NotContains(t, o.Plan.Option, "redo")
			}
		})
	}
}

// TestUndoingARollbackNeedsNoLessAuthority is a rollback of another tier than
// the first, each time for another reason.
func TestUndoingARollbackNeedsNoLessAuthority(t *testing.T) {
	t.Parallel()
	const action = `path: "config/{service}"}, max_time: 2m, on_failure: stop}`
	for _, test := range []struct {
		name   string
		book   string
		change func(*activities.CollectInput)
		want   incident.Tier
	}{
		{"shared data", strings.Replace(book, "    undoes: [kv]", "    undoes: [kv]\n    shared_data: [orders-db]", 1), nil, incident.TierCommander},
		{"everybody", strings.Replace(book, "    undoes: [kv]", "    undoes: [kv]\n    global: everybody has it", 1), nil, incident.TierCommanderAndOwner},
		{"target of another service", strings.Replace(book, action, strings.Replace(action, "max_time", "service: storefront, max_time", 1), 1), nil, incident.TierCommander},
		{"restore", strings.Replace(book, "strategy: rollback", "strategy: restore", 1), nil, incident.TierCommander},
		{"compensation", strings.Replace(book, "strategy: rollback", "strategy: compensate", 1), nil, incident.TierCommander},
		{"shared data of the migration it undid", book, func(in *activities.CollectInput) {
			o := incident.Option{ID: "o1", Plan: plan(t), Radius: incident.BlastRadius{SharedData: []incident.Reach{{Name: "orders-db", Reason: "undoing a migration changes it"}}}}
			in.Previous = []incident.Option{o}
		}, incident.TierCommander},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := broken()
			a := w.activities(t)
			a.Runbooks = []*runbooks.Runbook{runbook(t, test.book)}
			in := collectInput()
			in.Redo = finished(t, w)
			if test.change != nil {
				test.change(&in)
			}
			got, err := a.CollectOptions(t.Context(), in)
			require.NoError(t, err)
			redo := optionNamed(t, got, "redo-config-back")
			require.Equal(t, test.want, redo.Tier, redo.TierReason)
		})
	}
}
