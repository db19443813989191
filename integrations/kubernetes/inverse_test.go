package kubernetes_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	goodImage  = "registry.example/shop:v1"
	otherImage = "registry.example/shop:v2"
	thirdImage = "registry.example/shop:v3"
	badImage   = "registry.example/shop:v2-bad"
)

// The rights that the kind's descriptor asks for.
var leastRights = []rbacv1.PolicyRule{
	{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "patch"}},
	{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list"}},
}

func TestRollbackOfARolloutThatNeverEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(goodImage)
	good := w.deployment()
	w.deploy(badImage)
	w.plane.Grant(t, w.namespace, "backout", leastRights...)
	inverse := inverseOf(t, w.plane.UserKubeconfig(t, "backout"))

	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target, Revision: "1"})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%+v", planned.Preflight)
	require.Equal(t, "2", planned.From.Revision)
	require.Equal(t, "v2-bad", planned.From.Label)
	require.Equal(t, "1", planned.To.Revision)
	require.Equal(t, "v1", planned.To.Label)
	require.True(t, planned.Reversible)
	require.Contains(t, planned.WontRevert, "contents of Secrets: shop-token")
	require.Contains(t, planned.WontRevert, "replica count: 2")
	require.Equal(t, incident.PreflightWarning, check(t, planned, "no deploy in flight").Result)
	require.Equal(t, incident.PreflightOK, check(t, planned, "permission").Result)

	action := w.action(planned)
	seen, err := inverse.Observe(t.Context(), action)
	require.NoError(t, err)
	require.Equal(t, planned.From, seen.State)
	require.False(t, seen.Settled)

	out, err := execute(t.Context(), inverse, action, "key")
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.True(t, out.Last.Settled)
	require.Equal(t, action.To.Digest, out.Last.State.Digest)
	require.Equal(t, "2 of 2 pods available", out.Last.Detail)

	after := w.deployment()
	require.Equal(t, good.Spec, after.Spec, "the rollback must restore the template and touch nothing else")
	require.Equal(t, "backout: from revision 2 (v2-bad) back to revision 1 (v1)", after.Annotations["kubernetes.io/change-cause"])
	require.Equal(t, "3", after.Annotations["deployment.kubernetes.io/revision"])
}

func TestApplyTwiceChangesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	generation := w.deployment().Generation

	first, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, first.Mutated)
	second, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.False(t, second.Mutated)
	require.Equal(t, generation+1, w.deployment().Generation)
}

// TestAwait is told of the end of a rollout, and says when it may not watch.
func TestAwait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	_, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.NoError(t, inverse.(driver.Waiter).Await(t.Context(), action))
	seen, err := inverse.Observe(t.Context(), action)
	require.NoError(t, err)
	require.True(t, seen.Settled, seen.Detail)

	w.plane.Grant(t, w.namespace, "backout", leastRights...)
	least := inverseOf(t, w.plane.UserKubeconfig(t, "backout"))
	require.ErrorIs(t, least.(driver.Waiter).Await(t.Context(), action), driver.ErrDenied)
}

func TestConcurrentAppliesChangeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	generation := w.deployment().Generation

	var mutations atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			out, err := execute(t.Context(), inverse, action, "key")
			if err != nil {
				t.Errorf("execute: %v", err)
			}
			if out.Applied {
				mutations.Add(1)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, mutations.Load())
	require.Equal(t, generation+1, w.deployment().Generation)
}

func TestLostResponseChangesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	between := newProxy(t, w.plane)
	inverse := inverseOf(t, w.plane.KubeconfigTo(t, "admin", between.url, nil))
	action := w.plan(inverse, "1")
	generation := w.deployment().Generation

	between.cut.Store(1)
	_, err := inverse.Apply(t.Context(), action, "key")
	require.Error(t, err)
	require.False(t, driver.Final(err), "a lost response can be tried again: %v", err)
	require.Equal(t, goodImage, w.image(), "the proxy must cut after the effect")

	out, err := execute(t.Context(), inverse, action, "key")
	require.NoError(t, err)
	require.True(t, out.Last.Settled)
	require.EqualValues(t, 1, between.patches.Load())
	require.Equal(t, generation+1, w.deployment().Generation)
}

func TestSwappedActionRestores(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.release(otherImage)
	before := w.deployment()
	inverse := w.inverse()
	action := w.plan(inverse, "1")

	_, err := execute(t.Context(), inverse, action, "there")
	require.NoError(t, err)
	require.Equal(t, goodImage, w.image())
	out, err := execute(t.Context(), inverse, action.Swapped(), "back")
	require.NoError(t, err)
	require.Equal(t, action.From.Digest, out.Last.State.Digest)
	require.Equal(t, before.Spec, w.deployment().Spec)
}

func TestDriftIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	w.deploy(thirdImage)
	generation := w.deployment().Generation

	_, err := inverse.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Equal(t, "3", drift.Observed.Revision)
	require.Equal(t, "image of shop: "+otherImage+" to "+thirdImage, drift.Difference)
	require.Equal(t, generation, w.deployment().Generation)
}

func TestScalingIsNoDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	w.update(func(d *appsv1.Deployment) { *d.Spec.Replicas = 3 })

	_, err := execute(t.Context(), inverse, action, "key")
	require.NoError(t, err)
	require.Equal(t, goodImage, w.image())
	require.EqualValues(t, 3, *w.deployment().Spec.Replicas)
}

func TestActionIsNotAppliedAgainAfterSomebodyChangedItBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	_, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	w.deploy(otherImage)

	_, err = inverse.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Equal(t, otherImage, w.image())

	receipt, err := inverse.Apply(t.Context(), action, "key of another rollback")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
}

func TestRevisionThatLeftTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.release(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	w.update(func(d *appsv1.Deployment) { *d.Spec.RevisionHistoryLimit = 0 })
	require.Eventually(t, func() bool {
		sets, err := w.admin.AppsV1().ReplicaSets(w.namespace).List(t.Context(), metav1.ListOptions{})
		return err == nil && len(sets.Items) == 1
	}, patience, 10*time.Millisecond)

	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target, Revision: "1"})
	require.NoError(t, err)
	require.True(t, planned.Blocked())
	require.Zero(t, planned.To)
	require.Equal(t, "Revision 1 is not in the history of shop, which keeps 1 revisions.", check(t, planned, "revision exists").Reason)

	_, err = inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrNotFound)
	require.Equal(t, otherImage, w.image())
}

func TestPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	action := w.plan(w.inverse(), "1")
	request := driver.PlanRequest{Target: w.target, Revision: "1"}

	blind := inverseOf(t, w.plane.UserKubeconfig(t, "backout"))
	planned, err := blind.Plan(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, incident.PreflightBlocked, check(t, planned, "permission").Result)
	_, err = blind.Observe(t.Context(), action)
	require.ErrorIs(t, err, driver.ErrDenied)

	w.plane.Grant(t, w.namespace, "reader",
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list"}})
	reader := inverseOf(t, w.plane.UserKubeconfig(t, "reader"))
	planned, err = reader.Plan(t.Context(), request)
	require.NoError(t, err)
	require.Equal(t, incident.PreflightBlocked, check(t, planned, "permission").Result)
	_, err = reader.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.Equal(t, otherImage, w.image())
}

func TestPausedDeploymentIsBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	w.update(func(d *appsv1.Deployment) { d.Spec.Paused = true })

	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: w.target, Revision: "1"})
	require.NoError(t, err)
	require.Equal(t, incident.PreflightBlocked, check(t, planned, "rolls out by itself").Result)
	_, err = inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.Equal(t, otherImage, w.image())
}

func TestEditedHistoryIsNotTrusted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	sets, err := w.admin.AppsV1().ReplicaSets(w.namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, set := range sets.Items {
		if set.Annotations["deployment.kubernetes.io/revision"] == "1" {
			patch := []byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + thirdImage + `"}]`)
			_, err := w.admin.AppsV1().ReplicaSets(w.namespace).Patch(t.Context(), set.Name, types.JSONPatchType, patch, metav1.PatchOptions{})
			require.NoError(t, err)
		}
	}
	_, err = inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrNotFound, "a kept template with another digest is not the one that was approved")
	require.Equal(t, otherImage, w.image())
}

func TestAdmissionPolicyThatRefusesIsFinal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(goodImage)
	w.deploy(otherImage)
	inverse := w.inverse()
	action := w.plan(inverse, "1")
	w.forbidUpdates()

	_, err := inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.ErrorContains(t, err, "change freeze")
	require.Equal(t, otherImage, w.image())
}

func TestPlanBlocksWhatCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(goodImage)
	created := w.deployment().CreationTimestamp.Time
	absent := w.target
	absent.Path = "deployment/" + w.namespace + "/absent"
	tests := []struct {
		name    string
		request driver.PlanRequest
		check   string
		reason  string
	}{
		{
			name: "missing", request: driver.PlanRequest{Target: absent, Revision: "1"},
			check: "workload exists", reason: "The Deployment absent in namespace " + w.namespace + " does not exist.",
		},
		{
			name: "there already", request: driver.PlanRequest{Target: w.target, Revision: "1"},
			check: "not there already", reason: "shop runs revision 1 (v1) already.",
		},
		{
			name: "no such revision", request: driver.PlanRequest{Target: w.target, Revision: "7"},
			check: "revision exists", reason: "Revision 7 is not in the history of shop, which keeps 1 revisions.",
		},
		{
			name: "no revision at all", request: driver.PlanRequest{Target: w.target, Revision: "previous"},
			check: "revision exists", reason: `"previous" is not a revision: revisions of a Deployment are whole numbers.`,
		},
		{
			name: "before the first", request: driver.PlanRequest{Target: w.target, Before: created},
			check: "revision exists", reason: "The history of shop does not reach back before " + created.UTC().Format(time.RFC3339) + ".",
		},
	}
	inverse := w.inverse()
	for _, test := range tests {
		planned, err := inverse.Plan(t.Context(), test.request)
		require.NoError(t, err, test.name)
		require.True(t, planned.Blocked(), test.name)
		require.Zero(t, planned.From, test.name)
		require.Equal(t, incident.Preflight{Name: test.check, Result: incident.PreflightBlocked, Reason: test.reason}, check(t, planned, test.check), test.name)
	}
}

func TestErrorsHoldNoCredential(t *testing.T) {
	t.Parallel()
	plane := newWorld(t).plane
	const secret = "very-secret-token"
	action := incident.Action{Kind: kind, Target: incident.Target{System: system, Path: "deployment/default/shop"}}
	for name, server := range map[string]string{
		"wrong token": plane.Server,
		"nobody home": "https://user:" + secret + "@127.0.0.1:1",
	} {
		path := plane.KubeconfigTo(t, "admin", server, plane.Config(t, "admin").CAData)
		cfg, err := clientcmd.LoadFromFile(path)
		require.NoError(t, err)
		for _, user := range cfg.AuthInfos {
			user.Token = secret
		}
		require.NoError(t, clientcmd.WriteToFile(*cfg, path))
		_, err = inverseOf(t, path).Observe(t.Context(), action)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), secret, name)
		require.Equal(t, name == "wrong token", driver.Final(err), "%s: %v", name, err)
		require.False(t, apierrors.IsNotFound(err), name)
	}
}

// check returns the last preflight check of a name.
func check(t *testing.T, planned driver.Planned, name string) incident.Preflight {
	t.Helper()
	var found incident.Preflight
	for _, c := range planned.Preflight {
		if c.Name == name {
			found = c
		}
	}
	require.NotEmpty(t, found.Name, "no check %q in %+v", name, planned.Preflight)
	return found
}
