package helm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/gitops/gitopstest"
	"github.com/backout/backout/integrations/helm/helmtest"
	"github.com/backout/backout/workflows/incident"
)

// TestObjectsComeAndGo shows that what only one revision has is made or deleted, and
// that Helm goes on from there.
func TestObjectsComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(version("1.0.0", config("both", "a: one, only: first"), config("old", "a: one")))
	w.upgrade(t, version("2.0.0", config("both", "a: two, more: second"), config("new", "a: two"),
		config("kept", "a: two", "helm.sh/resource-policy: keep")))
	w.merge(t, helmtest.ConfigMaps, "both", `{"data":{"foreign":"stays"}}`)
	require.False(t, w.there(t, helmtest.ConfigMaps, "old"))

	planned := w.plan(t, "1")
	require.Contains(t, planned.WontRevert, "objects that are kept: ConfigMap kept")
	require.Contains(t, fmt.Sprint(planned.Preflight), "ConfigMap both changed, ConfigMap old added, ConfigMap new removed, ConfigMap kept removed")
	w.back(t, "1")
	require.Equal(t, "one", w.field(t, "both", "a"))
	require.Equal(t, "first", w.field(t, "both", "only"))
	require.Nil(t, w.field(t, "both", "more"), "what only the newer revision has stays")
	require.Equal(t, "stays", w.field(t, "both", "foreign"), "what no revision says is lost")
	require.True(t, w.there(t, helmtest.ConfigMaps, "old"))
	require.False(t, w.there(t, helmtest.ConfigMaps, "new"))
	require.True(t, w.there(t, helmtest.ConfigMaps, "kept"))
	require.Equal(t, []string{"1 superseded", "2 superseded", "3 deployed"}, w.statuses(t))
	all, err := w.History()
	require.NoError(t, err)
	require.Equal(t, "Backout rollback to 1 [key-1]", all[2].Info.Description)
	require.Equal(t, "1.0.0", all[2].Chart.Metadata.Version)

	w.upgrade(t, version("3.0.0", config("both", "a: three")))
	require.Equal(t, "three", w.field(t, "both", "a"))
	require.False(t, w.there(t, helmtest.ConfigMaps, "old"), "Helm does not know what Backout has made")
	w.blocked(t, "4", "has the content of revision 4 (shop-3.0.0/v3.0.0) already")
}

// TestFailedUpgrade shows that what a failed upgrade has left is taken away, and that
// the way back to it is a way to its content.
func TestFailedUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(version("1.0.0", config("a", "a: one")))
	_, err := w.Upgrade(version("2.0.0", config("a", "a: two"), config("b", "b: two"), config("z", "z: {nested: broken}")))
	require.Error(t, err)
	require.Equal(t, []string{"1 deployed", "2 failed"}, w.statuses(t))

	planned := w.plan(t, "1")
	require.True(t, planned.Reversible)
	require.Contains(t, fmt.Sprint(planned.Preflight), "failed, so that objects may not be as it says")
	w.back(t, "1")
	require.Equal(t, "one", w.field(t, "a", "a"))
	require.False(t, w.there(t, helmtest.ConfigMaps, "b"), "what the failed upgrade made stays")
	require.Equal(t, []string{"1 superseded", "2 failed", "3 deployed"}, w.statuses(t))
	require.Contains(t, fmt.Sprint(w.plan(t, "2").Preflight), "failed when it was deployed")
}

// TestWhatStandsInTheWay shows what a plan finds beside the conditions of the law
// suite.
func TestWhatStandsInTheWay(t *testing.T) {
	t.Parallel()
	job := func(image string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n" +
			"      containers: [{name: once, image: \"registry.example/once:" + image + "\", args: [\"--password=canary-in-a-job\"]}]\n"
	}
	hook := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: hook\n  annotations: {helm.sh/hook: pre-rollback}\ndata: {}\n"
	for _, test := range []struct {
		name    string
		arrange func(t *testing.T, w *world)
		warns   string
		says    string
	}{
		{"object of somebody else", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", config("a", "a: one"), config("other", "a: one")))
			w.upgrade(t, version("2.0.0", config("a", "a: two")))
			made := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "other"}}}
			_, err := w.objects.Resource(helmtest.ConfigMaps).Namespace(w.Namespace).Create(t.Context(), made, metav1.CreateOptions{})
			require.NoError(t, err)
		}, "", "does not belong to the release: read ConfigMap other"},
		{"API that is gone", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", config("a", "a: one")))
			w.upgrade(t, version("2.0.0", config("a", "a: two")))
			w.rewrite(t, 1, "apiVersion: policy/v1beta1\nkind: PodSecurityPolicy\nmetadata: {name: gone}\n")
		}, "", "no longer serves what revision 1 (shop-1.0.0/v1.0.0) is made of: not served: PodSecurityPolicy of policy/v1beta1"},
		{"manifest that can not be read", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", config("a", "a: one")))
			w.upgrade(t, version("2.0.0", config("a", "a: two")))
			w.rewrite(t, 1, "password: canary-in-yaml: [\n")
		}, "", "not YAML"},
		{"field that can not be changed", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", job("v1")))
			w.rewriteJob(t, job)
		}, "", "does not accept the patch of Job once"},
		{"uninstalled", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", config("a", "a: one")))
			w.upgrade(t, version("2.0.0", config("a", "a: two")))
			w.Uninstall()
		}, "", "The release shop was uninstalled"},
		{"hooks for rollbacks", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", config("a", "a: one"), hook))
			w.upgrade(t, version("2.0.0", config("a", "a: two")))
		}, "which Backout does not run: ConfigMap hook", ""},
		{"Argo CD", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", config("a", "a: one")))
			w.upgrade(t, version("2.0.0", config("a", "a: two", "argocd.argoproj.io/tracking-id: \"shop-app:/ConfigMap:x/a\"")))
		}, "Argo CD keeps objects of the release as its Application shop-app says", ""},
		{"Flux that can not be seen", func(t *testing.T, w *world) {
			t.Helper()
			w.Install(version("1.0.0", config("a", "a: one")))
			w.upgrade(t, version("2.0.0", config("a", "a: two")))
			w.merge(t, helmtest.ConfigMaps, "a", `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/name":"absent","helm.toolkit.fluxcd.io/namespace":"flux-system"}}}`)
		}, "Flux keeps the release as its HelmRelease flux-system/absent says", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			test.arrange(t, w)
			planned := w.plan(t, "1")
			wanted, reason := incident.PreflightBlocked, test.says
			if test.warns != "" {
				wanted, reason = incident.PreflightWarning, test.warns
			}
			require.Equal(t, test.warns == "", planned.Blocked(), "%v", planned.Preflight)
			found := false
			for _, check := range planned.Preflight {
				require.NotContains(t, check.Reason, "canary")
				require.Regexp(t, `^[^\n]+\.$`, check.Reason)
				found = found || check.Result == wanted && strings.Contains(check.Reason, reason)
			}
			require.True(t, found, "no %s check says %q: %v", wanted, reason, planned.Preflight)
		})
	}
}

// TestFluxThatIsHeld shows that a plan sees whether Flux would undo the rollback.
func TestFluxThatIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gitopstest.Define(t, w.Plane)
	w.Install(version("1.0.0", config("a", "a: one")))
	w.upgrade(t, version("2.0.0", config("a", "a: two")))
	w.merge(t, helmtest.ConfigMaps, "a", fmt.Sprintf(`{"metadata":{"labels":{"helm.toolkit.fluxcd.io/name":"shop","helm.toolkit.fluxcd.io/namespace":%q}}}`, w.Namespace))
	keeps := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": map[string]any{"name": "shop"}, "spec": map[string]any{"interval": "5m"},
	}}
	_, err := w.objects.Resource(gitopstest.HelmReleases).Namespace(w.Namespace).Create(t.Context(), keeps, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(w.plan(t, "1").Preflight), "which is not suspended, and puts that back")
	w.merge(t, gitopstest.HelmReleases, "shop", `{"spec":{"suspend":true}}`)
	require.Contains(t, fmt.Sprint(w.plan(t, "1").Preflight), "of Flux is suspended, so that the release stays as it is put")
	w.merge(t, gitopstest.HelmReleases, "shop", `{"metadata":{"annotations":{"backout.dev/hold-expires":"2026-01-01T00:00:00Z"}}}`)
	require.Contains(t, fmt.Sprint(w.plan(t, "1").Preflight), "by a hold of Backout's that expired at 2026-01-01T00:00:00Z")
}

// TestEditedPastHelm shows that a plan tells of what others have changed, and only of
// what is different indeed.
func TestEditedPastHelm(t *testing.T) {
	t.Parallel()
	limit := func(image string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: " + image + "}\n---\napiVersion: v1\nkind: LimitRange\nmetadata: {name: l}\n" +
			"spec: {limits: [{type: Container, default: {cpu: 1000m}}]}\n---\n" + config("a", "a: "+image)
	}
	w := newWorld(t)
	w.Install(version("1.0.0", limit("one")))
	w.upgrade(t, version("2.0.0", limit("two")))
	require.Contains(t, fmt.Sprint(w.plan(t, "1").Preflight), "The objects are as the present revision wrote them.")
	w.merge(t, helmtest.ConfigMaps, "a", `{"data":{"a":"edited"}}`)
	require.Contains(t, fmt.Sprint(w.plan(t, "1").Preflight), "Somebody changed past Helm what the rollback overwrites: ConfigMap a.")
}

// TestBefore shows which revision was in place at a moment.
func TestBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(version("1.0.0", config("a", "a: one")))
	w.upgrade(t, version("2.0.0", config("a", "a: two")))
	_, err := w.Upgrade(version("3.0.0", config("a", "a: three"), config("z", "z: {nested: broken}")))
	require.Error(t, err)
	w.upgrade(t, version("4.0.0", config("a", "a: four")))
	all, err := w.History()
	require.NoError(t, err)
	for _, test := range []struct {
		name   string
		before time.Time
		to     string
		says   string
	}{
		{"before the last", all[3].Info.LastDeployed.Time, "2", "was the last that did not fail before"},
		{"before the second", all[1].Info.LastDeployed.Time, "1", "was in place before"},
		{"before all", all[0].Info.LastDeployed.Time, "", "keeps 4 revisions from 1 on, has none that was deployed before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			planned, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target(), Before: test.before})
			require.NoError(t, err)
			require.Equal(t, test.to, planned.To.Revision)
			require.Contains(t, fmt.Sprint(planned.Preflight), test.says)
		})
	}
}

// TestUpgradeInFlight shows that nothing is touched while Helm is at work, and that
// the engine waits for it.
func TestUpgradeInFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(version("1.0.0", config("a", "a: one")))
	w.upgrade(t, version("2.0.0", config("a", "a: two")))
	action := w.action(t, w.plan(t, "1"))
	w.Begin(release.StatusPendingUpgrade)
	receipt, err := w.inverse.Apply(t.Context(), action, "key")
	require.ErrorContains(t, err, "wait for revision 3 (shop-2.0.0/v2.0.0): it is in status pending-upgrade")
	require.False(t, driver.Final(err), "an upgrade ends")
	require.False(t, receipt.Mutated)
	require.Equal(t, "two", w.field(t, "a", "a"))
	require.Equal(t, []string{"1 superseded", "2 deployed", "3 pending-upgrade"}, w.statuses(t))
}

// TestRefusedHalfWay shows that a rollback that can not go on says so in Helm's
// history, and is not taken for done.
func TestRefusedHalfWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(version("1.0.0", config("a", "a: one"), config("b", "b: one")))
	w.upgrade(t, version("2.0.0", config("a", "a: two"), config("b", "b: two")))
	action := w.action(t, w.plan(t, "1"))
	// An immutable ConfigMap can not be written any more.
	w.merge(t, helmtest.ConfigMaps, "b", `{"immutable":true}`)
	out, err := w.execute(t, action, "key")
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.True(t, out.Applied, "what was done is not told")
	require.Equal(t, []string{"1 superseded", "2 deployed", "3 failed"}, w.statuses(t))
	_, err = w.execute(t, action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "revision 3 (shop-1.0.0/v1.0.0) has the wanted content and failed")
	w.blocked(t, "1", "does not accept the patch of ConfigMap b")
}

// TestCutAndTakenBack shows that a rollback that was cut half way can be completed, or
// taken back, and leads nowhere else.
func TestCutAndTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(version("0.9.0", config("a", "a: zero")))
	w.upgrade(t, version("1.0.0", config("a", "a: one")))
	w.upgrade(t, version("2.0.0", config("a", "a: two")))
	action := w.action(t, w.plan(t, "2"))
	w.begun(t, 2)

	seen, err := w.inverse.Observe(t.Context(), action)
	require.NoError(t, err)
	require.Equal(t, action.From.Digest, seen.State.Digest, "what is not finished counts as done")
	require.False(t, seen.Settled)
	require.Contains(t, seen.Detail, "begun as revision 4")
	require.Contains(t, fmt.Sprint(w.plan(t, "2").Preflight), "and is completed")
	w.blocked(t, "1", "is neither where it was going nor where it came from")

	back := w.plan(t, "3")
	require.Contains(t, fmt.Sprint(back.Preflight), "and is taken back")
	_, err = w.execute(t, w.action(t, back), "other")
	require.NoError(t, err)
	require.Equal(t, "two", w.field(t, "a", "a"))
	require.Equal(t, []string{"1 superseded", "2 superseded", "3 superseded", "4 superseded", "5 deployed"}, w.statuses(t))
}

// TestWaitsForPods shows that a rollback has settled when the pods run it, and not
// before.
func TestWaitsForPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(helmtest.Shop("1.0.0-bad", "-", 1)) // Its pods never become ready.
	w.upgrade(t, helmtest.Shop("2.0.0", "-", 1))
	action := w.action(t, w.plan(t, "1"))
	action.MaxTime = 2 * time.Second
	out, err := w.execute(t, action, "key")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, out.Applied)
	require.Equal(t, action.To.Digest, out.Last.State.Digest)
	require.False(t, out.Last.Settled)
	require.Contains(t, out.Last.Detail, "Deployment shop: ")
	swapped := action.Swapped()
	swapped.MaxTime = 30 * time.Second
	out, err = w.execute(t, swapped, "other")
	require.NoError(t, err)
	require.True(t, out.Last.Settled)
}

// TestChangedBack shows that an action is not applied a second time to what somebody
// has changed back.
func TestChangedBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(version("1.0.0", config("a", "a: one")))
	w.upgrade(t, version("2.0.0", config("a", "a: two")))
	action := w.action(t, w.plan(t, "1"))
	_, err := w.execute(t, action, "key")
	require.NoError(t, err)
	w.upgrade(t, version("2.0.0", config("a", "a: two")))
	_, err = w.execute(t, action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "somebody changed it back")
	_, err = w.execute(t, action, "another key")
	require.NoError(t, err)
}

// TestChanges shows what Helm's history tells.
func TestChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Install(helmtest.Shop("1.0.0", "canary-in-values", 1))
	w.upgrade(t, helmtest.Shop("2.0.0", "canary-in-values", 1))
	_, err := w.Upgrade(version("3.0.0", config("z", "z: {nested: canary-in-an-error}")))
	require.Error(t, err)
	w.back(t, "1")
	source, err := w.set.Source("helm.release", "cluster")
	require.NoError(t, err)
	query := driver.ChangeQuery{Service: "shop", Target: w.target(), Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}
	found, err := source.Changes(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, found, 4)
	require.Equal(t, incident.StateAbsent, found[0].From)
	require.Equal(t, "revision 1 (shop-1.0.0/v1.0.0)", found[1].From)
	require.Equal(t, "revision 2 (shop-2.0.0/v2.0.0)", found[1].To)
	require.Equal(t, incident.ChangeDeploy, found[1].Kind)
	require.Contains(t, found[1].Summary, "image of shop: registry.example/shop:v1.0.0 to registry.example/shop:v2.0.0")
	require.Contains(t, found[2].Summary, "status failed")
	require.Contains(t, found[3].Summary, "Backout rollback to 1")
	text, err := json.Marshal(found)
	require.NoError(t, err)
	require.NotContains(t, string(text), "canary")

	query.Until = found[1].At.Add(-time.Nanosecond)
	found, err = source.Changes(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, found, 1)
	query.Target.Path = "absent/" + helmtest.Name
	_, err = source.Changes(t.Context(), query)
	require.ErrorIs(t, err, driver.ErrNotFound)
}

// TestFalseTargets shows which paths are refused before anything is asked.
func TestFalseTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"", "shop", "shop/", "/shop", "shop/a/b", "Shop/a", "shop/a,owner!=helm", "shop/" + string(make([]byte, 60))} {
		_, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "cluster", Path: path}, Revision: "1"})
		require.ErrorIs(t, err, driver.ErrInvalid, "%q", path)
	}
	_, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target()})
	require.ErrorIs(t, err, driver.ErrInvalid)
}
