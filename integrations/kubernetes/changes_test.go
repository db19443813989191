package kubernetes_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// TestHistory deploys v1, v2, v1 again, and a bad v2, each in a second of its own,
// and looks at that from both sides: as changes, and as moments to go back to.
func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	w.release(goodImage)
	w.releaseLater(otherImage)
	w.releaseLater(goodImage)
	returned := time.Now()

	source, err := connect(t, w.plane.Kubeconfig).Source(kind, system)
	require.NoError(t, err)
	query := driver.ChangeQuery{Service: "shop", Target: w.target, Since: began, Until: time.Now()}
	found, err := source.Changes(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, found, 3)
	require.WithinDuration(t, returned, found[2].At, 5*time.Second)
	require.True(t, found[1].At.Before(found[2].At), "a template that came back did so when it was written")

	w.clock(found[2].At.Add(time.Second))
	w.update(func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = badImage
		d.Annotations["example.com/author"] = "ada"
		d.Annotations["kubernetes.io/change-cause"] = "faster checkout"
	})
	w.deploy(badImage)
	query.Until = time.Now()
	found, err = source.Changes(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, found, 4)
	bad := found[3]
	at := bad.At
	require.WithinRange(t, at, returned.Truncate(time.Second), time.Now())
	bad.At = time.Time{}
	require.Equal(t, incident.Change{
		ID: "deployment/" + w.namespace + "/shop@4", Source: kind, Kind: incident.ChangeDeploy, Service: "shop", Target: w.target,
		Author: "ada", From: "revision 3 (v1)", To: "revision 4 (v2-bad)",
		Summary: "image of shop: " + goodImage + " to " + badImage + "; faster checkout",
	}, bad)
	require.Equal(t, "revision 1 (v1)", found[1].From)
	require.Equal(t, "revision 2 (v2)", found[1].To)
	require.Contains(t, found[2].Summary, "came back at a time that was not recorded")

	inverse := w.inverse()
	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target, Before: at})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%+v", planned.Preflight)
	require.Equal(t, "3", planned.To.Revision, "the revision before the bad change is the one that came back")
	require.Equal(t, incident.PreflightOK, check(t, planned, "revision exists").Result)

	byFormer, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target, Revision: "1"})
	require.NoError(t, err)
	require.Equal(t, planned.To, byFormer.To, "a former number names the same template")

	query.Since = at
	found, err = source.Changes(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, found, 1)
	query.Until = began.Add(-time.Hour)
	query.Since = began.Add(-2 * time.Hour)
	found, err = source.Changes(t.Context(), query)
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestChangesOfWhatCannotBeReadAreAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	source, err := connect(t, w.plane.UserKubeconfig(t, "backout")).Source(kind, system)
	require.NoError(t, err)
	_, err = source.Changes(t.Context(), driver.ChangeQuery{Target: w.target, Until: time.Now()})
	require.ErrorIs(t, err, driver.ErrDenied)
}

func TestDescribeTakesNoValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(badImage)
	collector, err := connect(t, w.plane.Kubeconfig).Collector("kubernetes.describe", system)
	require.NoError(t, err)

	var text string
	require.Eventually(t, func() bool {
		evidence, err := collector.Collect(t.Context(), driver.CollectRequest{Target: w.target})
		require.NoError(t, err)
		require.Len(t, evidence, 1)
		require.Equal(t, "application/json", evidence[0].MediaType)
		text = string(evidence[0].Content)
		return strings.Contains(text, "CrashLoopBackOff") && strings.Contains(text, "ScalingReplicaSet") && strings.Contains(text, "SuccessfulCreate")
	}, patience, 20*time.Millisecond)
	for _, want := range []string{`"PASSWORD"`, `"TOKEN"`, `"shop-token"`, badImage, `"revision": "1"`} {
		require.Contains(t, text, want)
	}
	for _, secret := range []string{"hunter2", "sesame"} {
		require.NotContains(t, text, secret)
	}

	_, err = collector.Collect(t.Context(), driver.CollectRequest{Target: w.target, Params: map[string]string{"lines": "10"}})
	require.ErrorIs(t, err, driver.ErrInvalid)
}

func TestDescribeSaysWhatItMayNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.plane.Grant(t, w.namespace, "backout", leastRights...)
	collector, err := connect(t, w.plane.UserKubeconfig(t, "backout")).Collector("kubernetes.describe", system)
	require.NoError(t, err)
	evidence, err := collector.Collect(t.Context(), driver.CollectRequest{Target: w.target})
	require.NoError(t, err)
	text := string(evidence[0].Content)
	require.Contains(t, text, `"missing"`)
	require.Contains(t, text, "list pods in namespace")
	require.Contains(t, text, "list events in namespace")
}
