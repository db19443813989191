package helm_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/helm/helmtest"
	"github.com/backout/backout/workflows/incident"
)

// world is a release and a connection with all rights to it.
type world struct {
	*helmtest.World
	set     *driver.Set
	inverse driver.Inverse
	objects dynamic.Interface
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: helmtest.NewWorld(t)}
	set, err := driver.Open(t.Context(), []driver.System{{
		Name: "cluster", Type: "kubernetes", Decode: drivertest.Settings(map[string]string{"kubeconfig": w.Plane.Kubeconfig}),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	w.set = set
	w.inverse, err = set.Inverse("helm.release", "cluster")
	require.NoError(t, err)
	w.objects, err = dynamic.NewForConfig(w.Plane.Config(t, "admin"))
	require.NoError(t, err)
	return w
}

func (w *world) target() incident.Target {
	return incident.Target{System: "cluster", Path: w.Namespace + "/" + helmtest.Name}
}

// upgrade upgrades the release to templates of a version.
func (w *world) upgrade(t *testing.T, v helmtest.Version) {
	t.Helper()
	_, err := w.Upgrade(v)
	require.NoError(t, err)
}

func (w *world) plan(t *testing.T, revision string) driver.Planned {
	t.Helper()
	planned, err := w.inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target(), Revision: revision})
	require.NoError(t, err)
	return planned
}

// blocked requires a plan that is blocked for a reason.
func (w *world) blocked(t *testing.T, revision, reason string) {
	t.Helper()
	planned := w.plan(t, revision)
	require.True(t, planned.Blocked(), "the plan is offered: %v", planned.Preflight)
	require.Contains(t, fmt.Sprint(planned.Preflight), reason)
	require.Zero(t, planned.From)
}

func (w *world) action(t *testing.T, planned driver.Planned) incident.Action {
	t.Helper()
	require.False(t, planned.Blocked(), "the plan is blocked: %v", planned.Preflight)
	return incident.Action{
		Kind: "helm.release", Target: w.target(), From: planned.From, To: planned.To,
		MaxTime: 30 * time.Second, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

func (w *world) execute(t *testing.T, action incident.Action, key string) (driver.Outcome, error) {
	t.Helper()
	return driver.Execute(t.Context(), w.inverse, action, key, driver.Hooks{
		BeforeApply: func(context.Context, driver.Observation) error { return nil },
	})
}

// back takes the release to a revision and requires that to end well.
func (w *world) back(t *testing.T, revision string) {
	t.Helper()
	_, err := w.execute(t, w.action(t, w.plan(t, revision)), "key-"+revision)
	require.NoError(t, err)
}

// statuses are those of all revisions, by Helm's own history.
func (w *world) statuses(t *testing.T) []string {
	t.Helper()
	all, err := w.History()
	require.NoError(t, err)
	var found []string
	for _, r := range all {
		found = append(found, fmt.Sprintf("%d %s", r.Version, r.Info.Status))
	}
	return found
}

// there reports whether an object is there.
func (w *world) there(t *testing.T, resource schema.GroupVersionResource, name string) bool {
	t.Helper()
	live, err := w.objects.Resource(resource).Namespace(w.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	return err == nil && live.GetDeletionTimestamp() == nil
}

// field reads a key of a ConfigMap.
func (w *world) field(t *testing.T, name, key string) any {
	t.Helper()
	live, err := w.objects.Resource(helmtest.ConfigMaps).Namespace(w.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	values, _ := live.Object["data"].(map[string]any)
	return values[key]
}

// merge writes into an object past Helm.
func (w *world) merge(t *testing.T, resource schema.GroupVersionResource, name, content string) {
	t.Helper()
	_, err := w.objects.Resource(resource).Namespace(w.Namespace).Patch(t.Context(), name, types.MergePatchType, []byte(content), metav1.PatchOptions{})
	require.NoError(t, err)
}

// config is the template of a ConfigMap; each line of data is "key: value".
func config(name, data string, annotations ...string) string {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
	if len(annotations) > 0 {
		text += "  annotations:\n"
		for _, a := range annotations {
			text += "    " + a + "\n"
		}
	}
	return text + "data: {" + data + "}\n"
}

// version is a chart of some templates, each a file of its own.
func version(number string, templates ...string) helmtest.Version {
	v := helmtest.Version{Chart: number, Templates: map[string]string{}}
	for i, text := range templates {
		v.Templates[fmt.Sprintf("%d.yaml", i)] = text
	}
	return v
}

// rewrite gives a revision another manifest, as one that was made for an older cluster
// has.
func (w *world) rewrite(t *testing.T, number int, manifest string) {
	t.Helper()
	rev, err := w.Records().Get(helmtest.Name, number)
	require.NoError(t, err)
	rev.Manifest = manifest
	require.NoError(t, w.Records().Update(rev))
}

// rewriteJob records a second revision whose Job differs from the first. Helm itself
// could not deploy it.
func (w *world) rewriteJob(t *testing.T, job func(image string) string) {
	t.Helper()
	first, err := w.Records().Get(helmtest.Name, 1)
	require.NoError(t, err)
	second := *first
	second.Version = 2
	require.NoError(t, w.Records().Create(&second))
	w.rewrite(t, 1, job("v0"))
}

// begun records a rollback of Backout's that was cut before it wrote an object.
func (w *world) begun(t *testing.T, to int) {
	t.Helper()
	old, err := w.Records().Get(helmtest.Name, to)
	require.NoError(t, err)
	last, err := w.Records().Last(helmtest.Name)
	require.NoError(t, err)
	next := *old
	info := *old.Info
	info.Status, info.Description = release.StatusPendingRollback, fmt.Sprintf("Backout rollback to %d [key]", to)
	next.Info, next.Version, next.Labels = &info, last.Version+1, nil
	require.NoError(t, w.Records().Create(&next))
}
