package gitops_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/gitops/gitopstest"
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
)

// world is one target, and a connection with all rights to it.
type world struct {
	client    dynamic.Interface
	namespace string
	of        schema.GroupVersionResource
	path      string
	set       *driver.Set
	inverse   driver.Inverse
}

// kinds are the kinds of the resources, by the first part of a target's path.
var kinds = map[string]struct {
	kind string
	of   schema.GroupVersionResource
}{
	"application":   {"Application", gitopstest.Applications},
	"kustomization": {"Kustomization", gitopstest.Kustomizations},
	"helmrelease":   {"HelmRelease", gitopstest.HelmReleases},
}

// newWorld makes a target with a specification.
func newWorld(t *testing.T, form string, spec map[string]any) *world {
	t.Helper()
	plane := controlplane.Require(t)
	w := &world{client: gitopstest.Define(t, plane), namespace: plane.Namespace(t), of: kinds[form].of}
	w.path = form + "/" + w.namespace + "/shop"
	w.create(t, w.of, kinds[form].kind, "shop", spec)
	set, err := driver.Open(t.Context(), []driver.System{{
		Name: "cluster", Type: "kubernetes", Decode: drivertest.Settings(map[string]string{"kubeconfig": plane.Kubeconfig}),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	w.set = set
	w.inverse, err = set.Inverse("gitops.hold", "cluster")
	require.NoError(t, err)
	return w
}

func (w *world) create(t *testing.T, of schema.GroupVersionResource, kind, name string, spec map[string]any) *unstructured.Unstructured {
	t.Helper()
	made, err := w.client.Resource(of).Namespace(w.namespace).Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": of.GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return made
}

// merge writes into the target, as people with kubectl do, or into a subresource.
func (w *world) merge(t *testing.T, content string, subresources ...string) {
	t.Helper()
	_, err := w.client.Resource(w.of).Namespace(w.namespace).Patch(t.Context(), "shop", types.MergePatchType, []byte(content), metav1.PatchOptions{}, subresources...)
	require.NoError(t, err)
}

func (w *world) read(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	live, err := w.client.Resource(w.of).Namespace(w.namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	require.NoError(t, err)
	return live
}

func (w *world) target() incident.Target {
	return incident.Target{System: "cluster", Path: w.path}
}

func (w *world) plan(t *testing.T, revision string) driver.Planned {
	t.Helper()
	planned, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target(), Revision: revision})
	require.NoError(t, err)
	return planned
}

func (w *world) action(t *testing.T, planned driver.Planned) incident.Action {
	t.Helper()
	require.False(t, planned.Blocked(), "the plan is blocked: %v", planned.Preflight)
	return incident.Action{
		Kind: "gitops.hold", Target: w.target(), From: planned.From, To: planned.To,
		MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

func (w *world) execute(t *testing.T, action incident.Action, key string) error {
	t.Helper()
	_, err := driver.Execute(t.Context(), w.inverse, action, key, driver.Hooks{
		BeforeApply: func(context.Context, driver.Observation) error { return nil },
	})
	return err
}

// hold holds the target and returns the action.
func (w *world) hold(t *testing.T, revision string) incident.Action {
	t.Helper()
	action := w.action(t, w.plan(t, revision))
	require.NoError(t, w.execute(t, action, "key"))
	return action
}

func (w *world) observe(t *testing.T, action incident.Action) driver.Observation {
	t.Helper()
	seen, err := w.inverse.Observe(t.Context(), action)
	require.NoError(t, err)
	return seen
}

func (w *world) changes(t *testing.T) []incident.Change {
	t.Helper()
	source, err := w.set.Source("gitops.hold", "cluster")
	require.NoError(t, err)
	found, err := source.Changes(t.Context(), driver.ChangeQuery{
		Service: "shop", Target: w.target(), Since: time.Now().Add(-100 * time.Hour), Until: time.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	return found
}

// age makes the hold one that began and expired long ago.
func (w *world) age(t *testing.T) {
	t.Helper()
	w.merge(t, fmt.Sprintf(`{"metadata":{"annotations":{"backout.dev/hold-since":%q,"backout.dev/hold-expires":%q}}}`,
		time.Now().Add(-50*time.Hour).UTC().Format(time.RFC3339), time.Now().Add(-26*time.Hour).UTC().Format(time.RFC3339)))
}
