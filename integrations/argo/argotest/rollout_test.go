package argotest

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

// subject is a Rollout and a connection with the rights that the kind asks for.
type subject struct {
	*rollout
	set     *driver.Set
	inverse driver.Inverse
	request driver.PlanRequest
}

func begin(t *testing.T, form form) subject {
	t.Helper()
	target := form.start(t)
	system := target.Connect(target.Upstream, drivertest.Owner)
	set, err := driver.Open(t.Context(), []driver.System{system})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse("argo.rollout", system.Name)
	require.NoError(t, err)
	target.Request.Target.System = system.Name
	return subject{rollout: rolloutOf(t, form, target), set: set, inverse: inverse, request: target.Request}
}

// plan plans and requires that nothing is in the way.
func (s subject) plan(t *testing.T) incident.Action {
	t.Helper()
	planned, err := s.inverse.Plan(t.Context(), s.request)
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	return incident.Action{
		Kind: "argo.rollout", Target: s.request.Target, From: planned.From, To: planned.To,
		MaxTime: maxTime, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

// refused plans and requires that a check blocks that says a text.
func (s subject) refused(t *testing.T, says string) {
	t.Helper()
	planned, err := s.inverse.Plan(t.Context(), s.request)
	require.NoError(t, err)
	require.True(t, planned.Blocked())
	for _, check := range planned.Preflight {
		if check.Result == incident.PreflightBlocked && strings.Contains(check.Reason, says) {
			return
		}
	}
	require.Fail(t, "no such refusal", "%q in %v", says, planned.Preflight)
}

func (s subject) execute(t *testing.T, action incident.Action) {
	t.Helper()
	out, err := driver.Execute(t.Context(), s.inverse, action, "key", driver.Hooks{
		BeforeApply: func(context.Context, driver.Observation) error { return nil },
	})
	require.NoError(t, err)
	require.True(t, out.Last.Settled)
}

// change merges a patch into the Rollout, or into a part of it.
func (s subject) change(t *testing.T, patch string, part ...string) {
	t.Helper()
	_, err := s.all().Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, part...)
	require.NoError(t, err)
	require.NoError(t, s.wait(t.Context(), "the change is taken up", observed))
}

// TestMoment shows that nobody has to name a revision: before the update is the stable
// one, and the update is aborted.
func TestMoment(t *testing.T) {
	t.Parallel()
	s := begin(t, canary)
	source, err := s.set.Source("argo.rollout", s.request.Target.System)
	require.NoError(t, err)
	now := time.Now()
	found, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: s.request.Target, Since: now.Add(-time.Hour), Until: now.Add(time.Hour)})
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, "revision 2 (v2)", found[1].To)
	require.Contains(t, found[1].Summary, "image of shop: "+goodImage+" to "+newImage+"; not promoted")
	if found[0].At.Equal(found[1].At) {
		// Both were deployed within one second. A third one is deployed in another.
		second := found[1].At
		require.Eventually(t, func() bool { return time.Since(second) > time.Second }, patience, poll)
		require.NoError(t, s.deploy(t.Context(), otherImage))
		found, err = source.Changes(t.Context(), driver.ChangeQuery{Target: s.request.Target, Since: now.Add(-time.Hour), Until: now.Add(time.Hour)})
		require.NoError(t, err)
	}
	s.request.Revision, s.request.Before = "", found[len(found)-1].At
	action := s.plan(t)
	require.Equal(t, "1-by-abort", action.To.Revision)
	s.execute(t, action)
	live, err := s.read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Degraded", phase(live))
	s.refused(t, "is in force already, because the update to")
}

// TestAdditions shows that what the controller adds to a template does not come back
// with it: then it would be another one, and be rolled out as that.
func TestAdditions(t *testing.T) {
	t.Parallel()
	form := undo
	form.strategy = map[string]any{"canary": map[string]any{
		"canaryMetadata": map[string]any{"labels": map[string]any{"role": "canary"}},
		"stableMetadata": map[string]any{"labels": map[string]any{"role": "stable"}, "annotations": map[string]any{"seen": "yes"}},
		"antiAffinity":   map[string]any{"requiredDuringSchedulingIgnoredDuringExecution": map[string]any{}},
	}}
	s := begin(t, form)
	require.NoError(t, s.wait(t.Context(), "v2 is promoted", func(o *unstructured.Unstructured) bool { return phase(o) == "Healthy" }))
	s.execute(t, s.plan(t))
	live, err := s.read(t.Context())
	require.NoError(t, err)
	metadata, _, _ := unstructured.NestedMap(live.Object, "spec", "template", "metadata")
	maps.DeleteFunc(metadata, func(_ string, value any) bool { return value == nil })
	require.Equal(t, map[string]any{"labels": map[string]any{"app": name}}, metadata)
	_, found, _ := unstructured.NestedMap(live.Object, "spec", "template", "spec", "affinity")
	require.False(t, found, "the affinity came back")
	sets, err := s.client.Resource(replicaSets).Namespace(s.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, sets.Items, 2, "the template came back as a new one")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	t.Run("an abort that comes after the promotion", func(t *testing.T) {
		t.Parallel()
		s := begin(t, canary)
		action := s.plan(t)
		s.promote()
		_, err := s.inverse.Apply(t.Context(), action, "key")
		require.ErrorIs(t, err, driver.ErrInvalid)
		require.ErrorContains(t, err, "can no longer be aborted")
	})
	t.Run("an undo that comes after somebody's abort", func(t *testing.T) {
		t.Parallel()
		s := begin(t, canary)
		s.request.Revision = "1"
		action := s.plan(t)
		s.change(t, `{"status":{"abort":true}}`, "status")
		_, err := s.inverse.Apply(t.Context(), action, "key")
		var drift *driver.DriftError
		require.ErrorAs(t, err, &drift)
		require.Equal(t, "the update to revision 2 (v2) was aborted", drift.Difference)
	})
	t.Run("paused by its specification", func(t *testing.T) {
		t.Parallel()
		s := begin(t, canary)
		action := s.plan(t)
		s.change(t, `{"spec":{"paused":true}}`)
		s.refused(t, "is paused by its specification")
		_, err := s.inverse.Apply(t.Context(), action, "key")
		require.ErrorIs(t, err, driver.ErrInvalid)
	})
	t.Run("the template of another workload", func(t *testing.T) {
		t.Parallel()
		s := begin(t, canary)
		_, err := s.all().Patch(t.Context(), name, types.JSONPatchType, []byte(`[
			{"op":"remove","path":"/spec/template"},
			{"op":"add","path":"/spec/workloadRef","value":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}
		]`), metav1.PatchOptions{})
		require.NoError(t, err)
		s.refused(t, "takes its pod template from the Deployment web")
	})
}
