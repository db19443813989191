package gitops_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/gitops/gitopstest"
	"github.com/backout/backout/workflows/incident"
)

// TestHold shows what a hold says of itself, and that nothing is left of it.
func TestHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "kustomization", map[string]any{"interval": "5m", "path": "./shop"})
	w.merge(t, `{"metadata":{"annotations":{"team":"payments"}}}`)
	before := w.read(t)
	began := time.Now().UTC().Truncate(time.Second)
	action := w.hold(t, "held/4h")
	require.Equal(t, "reconciling", action.From.Revision)
	require.Equal(t, "held/4h", action.To.Revision)

	live := w.read(t)
	require.Equal(t, map[string]any{"interval": "5m", "path": "./shop", "suspend": true}, live.Object["spec"])
	said := live.GetAnnotations()
	require.Equal(t, "payments", said["team"])
	require.Equal(t, "backout key", said["backout.dev/held-by"])
	require.Contains(t, said["backout.dev/hold-reason"], "until its revert is in Git")
	since, err := time.Parse(time.RFC3339, said["backout.dev/hold-since"])
	require.NoError(t, err)
	require.WithinRange(t, since, began, time.Now())
	expires, err := time.Parse(time.RFC3339, said["backout.dev/hold-expires"])
	require.NoError(t, err)
	require.Equal(t, since.Add(4*time.Hour), expires)
	require.Contains(t, w.observe(t, action).Detail, "is held by backout key since "+said["backout.dev/hold-since"]+" until "+said["backout.dev/hold-expires"])
	require.Contains(t, fmt.Sprint(w.plan(t, "held/1h").Preflight), "is held by Backout already")

	// A new plan of the way back leads to the same state as the swapped action.
	back := w.plan(t, "reconciling")
	require.Equal(t, action.From.Digest, back.To.Digest)
	require.Equal(t, "held/4h0m0s", back.From.Revision)
	require.Contains(t, fmt.Sprint(back.Preflight), "does not see whether the revert is merged")
	require.NoError(t, w.execute(t, action.Swapped(), "other"))
	after := w.read(t)
	require.Equal(t, before.Object["spec"], after.Object["spec"])
	require.Equal(t, before.GetAnnotations(), after.GetAnnotations())
}

// TestOverdue shows that a hold that has expired is told wherever the target is looked
// at, and that it stays in place.
func TestOverdue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "helmrelease", map[string]any{"interval": "5m"})
	require.Empty(t, w.changes(t))
	action := w.hold(t, "held")
	require.Len(t, w.changes(t), 1)
	require.NotContains(t, w.observe(t, action).Detail, "OVERDUE")
	w.age(t)

	seen := w.observe(t, action)
	require.Contains(t, seen.Detail, "OVERDUE: nobody has resumed it")
	require.Equal(t, action.To.Digest, seen.State.Digest, "an expired hold is another state")
	planned := w.plan(t, "reconciling")
	require.Equal(t, incident.PreflightWarning, planned.Preflight[0].Result)
	require.Contains(t, planned.Preflight[0].Reason, "OVERDUE")
	found := w.changes(t)
	require.Len(t, found, 2)
	require.Contains(t, found[1].Summary, "the hold expired and nobody resumed it")
	require.Equal(t, "backout key", found[1].Author)
	require.Equal(t, true, w.read(t).Object["spec"].(map[string]any)["suspend"])

	planned, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target(), Before: found[0].At})
	require.NoError(t, err)
	require.Equal(t, action.From.Digest, planned.To.Digest, "the state before the hold is another")
	planned, err = w.inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target(), Before: found[1].At})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(planned.Preflight), "was held before")
	require.NoError(t, w.execute(t, action.Swapped(), "other"))
}

// TestHoldOfSomebodyElse shows that what others have suspended is only taken over by a
// plan that says so, is suspended still after that, and is never resumed.
func TestHoldOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "kustomization", map[string]any{"interval": "5m", "suspend": true})
	planned := w.plan(t, "reconciling")
	require.True(t, planned.Blocked())
	require.Contains(t, fmt.Sprint(planned.Preflight), "is not held by Backout, so that there is nothing to put back")

	planned = w.plan(t, "held")
	require.Contains(t, fmt.Sprint(planned.Preflight), "Somebody suspended Kustomization")
	action := w.action(t, planned)
	require.Equal(t, "suspended", action.From.Revision)
	require.NoError(t, w.execute(t, action, "key"))
	require.Contains(t, fmt.Sprint(w.plan(t, "reconciling").Preflight), "was not reconciling before Backout held it, but suspended")
	require.NoError(t, w.execute(t, w.action(t, w.plan(t, "suspended")), "other"))
	require.Equal(t, true, w.read(t).Object["spec"].(map[string]any)["suspend"])
	require.Empty(t, w.read(t).GetAnnotations())
}

// TestResumedByHand shows that whoever resumes a target past Backout has the last word,
// and that the target can be held again for another reason.
func TestResumedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "kustomization", map[string]any{"interval": "5m", "suspend": false})
	action := w.hold(t, "held")
	w.merge(t, `{"spec":{"suspend":false}}`)
	var drift *driver.DriftError
	require.ErrorAs(t, w.execute(t, action, "key"), &drift)
	require.Contains(t, drift.Difference, "somebody resumed it after this very action was applied")
	require.Equal(t, false, w.read(t).Object["spec"].(map[string]any)["suspend"])

	again := w.action(t, w.plan(t, "held"))
	require.NoError(t, w.execute(t, again, "another"))
	require.Equal(t, "backout another", w.read(t).GetAnnotations()["backout.dev/held-by"])
	require.NoError(t, w.execute(t, again.Swapped(), "third"))
	require.Empty(t, w.read(t).GetAnnotations())
}

// TestApplication shows that Argo CD's own settings come back as they were.
func TestApplication(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		policy  map[string]any
		from    string
		holding any
	}{
		{"all set", map[string]any{"automated": map[string]any{"prune": true, "selfHeal": true, "enabled": true}, "syncOptions": []any{"Validate=false"}}, "reconciling", map[string]any{"syncOptions": []any{"Validate=false"}}},
		{"nothing set", map[string]any{"automated": map[string]any{}}, "reconciling", map[string]any{}},
		{"switched off", map[string]any{"automated": map[string]any{"enabled": false, "prune": true}}, "suspended", map[string]any{}},
		{"by hand only", map[string]any{"syncOptions": []any{"Validate=false"}}, "suspended", map[string]any{"syncOptions": []any{"Validate=false"}}},
		{"no policy", nil, "suspended", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec := map[string]any{"project": "default"}
			if test.policy != nil {
				spec["syncPolicy"] = test.policy
			}
			w := newWorld(t, "application", spec)
			before := w.read(t).Object["spec"]
			action := w.hold(t, "held")
			require.Equal(t, test.from, action.From.Revision)
			require.Equal(t, test.holding, w.read(t).Object["spec"].(map[string]any)["syncPolicy"])
			require.NoError(t, w.execute(t, action.Swapped(), "other"))
			require.Equal(t, before, w.read(t).Object["spec"])
			require.Empty(t, w.read(t).GetAnnotations())
		})
	}
}

// TestSkipped shows that an Application that Argo CD skips is not one that it syncs.
func TestSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "application", map[string]any{"syncPolicy": map[string]any{"automated": map[string]any{}}})
	action := w.action(t, w.plan(t, "held"))
	w.merge(t, `{"metadata":{"annotations":{"argocd.argoproj.io/skip-reconcile":"true"}}}`)
	var drift *driver.DriftError
	require.ErrorAs(t, w.execute(t, action, "key"), &drift)
	require.Contains(t, drift.Difference, "is suspended by somebody else")
}

// TestApplicationSet shows whether the hold of a generated Application would last.
func TestApplicationSet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		spec   map[string]any
		result incident.PreflightResult
		says   string
	}{
		{"keeps all", map[string]any{}, incident.PreflightBlocked, "takes the hold away at once"},
		{"ignores the policy", map[string]any{"ignoreApplicationDifferences": []any{map[string]any{"jsonPointers": []any{"/spec/syncPolicy"}}}}, incident.PreflightOK, "leaves the sync policy"},
		{"ignores that of another", map[string]any{"ignoreApplicationDifferences": []any{map[string]any{"name": "other", "jsonPointers": []any{"/spec/syncPolicy"}}}}, incident.PreflightBlocked, "takes the hold away at once"},
		{"ignores something else", map[string]any{"ignoreApplicationDifferences": []any{map[string]any{"jsonPointers": []any{"/spec/source"}}}}, incident.PreflightBlocked, "takes the hold away at once"},
		{"only makes", map[string]any{"syncPolicy": map[string]any{"applicationsSync": "create-only"}}, incident.PreflightOK, "leaves the sync policy"},
		{"is gone", nil, incident.PreflightUnknown, "Backout could not read it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "application", map[string]any{"syncPolicy": map[string]any{"automated": map[string]any{}}})
			uid := "00000000-0000-0000-0000-000000000001"
			if test.spec != nil {
				uid = string(w.create(t, gitopstest.ApplicationSets, "ApplicationSet", "all", test.spec).GetUID())
			}
			w.merge(t, fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"argoproj.io/v1alpha1","kind":"ApplicationSet","name":"all","uid":%q,"controller":true}]}}`, uid))
			w.finds(t, w.plan(t, "held"), test.result, test.says)
		})
	}
}

// finds requires a check of a plan.
func (w *world) finds(t *testing.T, planned driver.Planned, result incident.PreflightResult, says string) {
	t.Helper()
	for _, check := range planned.Preflight {
		require.Regexp(t, `^[^\n]+\.$`, check.Reason)
		if check.Result == result && strings.Contains(check.Reason, says) {
			require.Equal(t, result == incident.PreflightBlocked, planned.Blocked())
			return
		}
	}
	require.Failf(t, "missing check", "no %s check says %q: %v", result, says, planned.Preflight)
}

// TestPlan shows what else a plan finds.
func TestPlan(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		arrange  func(t *testing.T, w *world)
		revision string
		result   incident.PreflightResult
		says     string
	}{
		{"too long", nil, "held/2000h", incident.PreflightBlocked, "can not hold that long"},
		{"too short", nil, "held/1s", incident.PreflightBlocked, "can not hold that long"},
		{"no time", nil, "held/tomorrow", incident.PreflightBlocked, "can not hold that long"},
		{"no state", nil, "previous", incident.PreflightBlocked, "is not a state"},
		{"there already", nil, "reconciling", incident.PreflightBlocked, "is reconciling already"},
		{"kept by Flux", func(t *testing.T, w *world) {
			t.Helper()
			w.merge(t, `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"cluster-shop"}}}`)
		}, "held", incident.PreflightWarning, "as its Kustomization cluster-shop says"},
		{"kept by Argo CD", func(t *testing.T, w *world) {
			t.Helper()
			w.merge(t, `{"metadata":{"annotations":{"argocd.argoproj.io/tracking-id":"root:a/b:c/d"}}}`)
		}, "held", incident.PreflightWarning, "as its Application root says"},
		{"being deleted", func(t *testing.T, w *world) {
			t.Helper()
			w.merge(t, `{"metadata":{"finalizers":["example.com/wait"]}}`)
			require.NoError(t, w.client.Resource(w.of).Namespace(w.namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}))
		}, "held", incident.PreflightBlocked, "is being deleted"},
		{"broken hold", func(t *testing.T, w *world) {
			t.Helper()
			w.hold(t, "held")
			w.merge(t, `{"metadata":{"annotations":{"backout.dev/hold-before":"{"}}}`)
		}, "reconciling", incident.PreflightBlocked, "are broken, so that nothing says how it was configured"},
		{"half a hold", func(t *testing.T, w *world) {
			t.Helper()
			w.hold(t, "held")
			w.merge(t, `{"metadata":{"annotations":{"backout.dev/hold-expires":null}}}`)
		}, "reconciling", incident.PreflightBlocked, "are broken, so that nothing says how it was configured"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "kustomization", map[string]any{"interval": "5m"})
			if test.arrange != nil {
				test.arrange(t, w)
			}
			w.finds(t, w.plan(t, test.revision), test.result, test.says)
		})
	}
}

// TestBeforeWithoutHistory shows that nobody guesses what a target was.
func TestBeforeWithoutHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "helmrelease", map[string]any{"interval": "5m"})
	planned, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target(), Before: time.Now()})
	require.NoError(t, err)
	w.finds(t, planned, incident.PreflightBlocked, "Neither Argo CD nor Flux records when it was switched")
}

// TestSettles shows that a hold has settled only when nothing is being applied any
// more.
func TestSettles(t *testing.T) {
	t.Parallel()
	flux := func(reason string) string {
		return `{"status":{"conditions":[{"type":"Reconciling","status":"True","reason":"` + reason + `"}]}}`
	}
	for _, test := range []struct {
		name, form, running string
		status              []string
		settled             bool
	}{
		{"sync that runs", "application", `{"status":{"operationState":{"phase":"Running"}}}`, nil, false},
		{"sync that is asked for", "application", `{"operation":{"sync":{"revision":"abc"}}}`, nil, false},
		{"sync that is over", "application", `{"status":{"operationState":{"phase":"Succeeded"}}}`, nil, true},
		{"Flux that runs", "kustomization", flux("Progressing"), []string{"status"}, false},
		{"Flux that waits for its next try", "kustomization", flux("ProgressingWithRetry"), []string{"status"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.form, map[string]any{})
			action := w.hold(t, "held")
			w.merge(t, test.running, test.status...)
			seen := w.observe(t, action)
			require.Equal(t, action.To.Digest, seen.State.Digest)
			require.Equal(t, test.settled, seen.Settled, "%s", seen.Detail)
		})
	}
}

// TestEvidence shows what is captured of a target, and what is not.
func TestEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "kustomization", map[string]any{"interval": "5m", "postBuild": map[string]any{"substitute": map[string]any{"password": "canary-in-a-spec"}}})
	w.merge(t, `{"status":{"lastAppliedRevision":"main@sha1:abc","conditions":[{"type":"Ready","status":"False","reason":"BuildFailed","message":"canary-in-a-message"}]}}`, "status")
	w.hold(t, "held")
	collector, err := w.set.Collector("gitops.hold", "cluster")
	require.NoError(t, err)
	found, err := collector.Collect(t.Context(), driver.CollectRequest{Target: w.target()})
	require.NoError(t, err)
	require.Len(t, found, 1)
	text := string(found[0].Content)
	require.Contains(t, text, `"applied_revision": "main@sha1:abc"`)
	require.Contains(t, text, `"reason": "BuildFailed"`)
	require.Contains(t, text, `"by": "backout key"`)
	require.NotContains(t, text, "canary")
	_, err = collector.Collect(t.Context(), driver.CollectRequest{Target: w.target(), Params: map[string]string{"x": "y"}})
	require.ErrorIs(t, err, driver.ErrInvalid)
}

// TestFalseTargets shows which paths are refused before anything is asked.
func TestFalseTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "kustomization", map[string]any{})
	for _, path := range []string{"", "shop", "kustomization/shop", "kustomization//a", "kustomization/shop/", "kustomization/Shop/a", "deployment/shop/a", "kustomization/shop/a/b", "kustomization/shop/.."} {
		_, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "cluster", Path: path}, Revision: "held"})
		require.ErrorIs(t, err, driver.ErrInvalid, "%q", path)
	}
}
