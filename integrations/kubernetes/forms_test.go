package kubernetes_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// stateful is one StatefulSet in a namespace of its own.
type stateful struct{ *world }

func newStateful(t *testing.T, change func(*appsv1.StatefulSet)) *stateful {
	t.Helper()
	w := newWorld(t)
	w.target.Path = "statefulset/" + w.namespace + "/shop"
	s := &stateful{world: w}
	template := shop(goodImage).Spec.Template
	template.Spec.Volumes = []corev1.Volume{{Name: "logs", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}}}
	made := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(2)), ServiceName: "shop", Template: template,
			Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
		},
	}
	if change != nil {
		change(made)
	}
	_, err := w.admin.AppsV1().StatefulSets(w.namespace).Create(t.Context(), made, metav1.CreateOptions{})
	require.NoError(t, err)
	s.awaitSeen()
	return s
}

func (s *stateful) read() *appsv1.StatefulSet {
	s.t.Helper()
	live, err := s.admin.AppsV1().StatefulSets(s.namespace).Get(s.t.Context(), "shop", metav1.GetOptions{})
	require.NoError(s.t, err)
	return live
}

// awaitSeen returns when the controller has recorded the present template.
func (s *stateful) awaitSeen() {
	s.t.Helper()
	require.Eventually(s.t, func() bool { live := s.read(); return live.Status.ObservedGeneration >= live.Generation }, patience, 10*time.Millisecond)
}

// awaitRolledOut returns when every pod runs the present template and is ready.
func (s *stateful) awaitRolledOut() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		live := s.read()
		return live.Status.ObservedGeneration >= live.Generation && live.Status.CurrentRevision == live.Status.UpdateRevision &&
			live.Status.ReadyReplicas == *live.Spec.Replicas
	}, patience, 10*time.Millisecond)
}

func (s *stateful) setImage(image string) {
	s.t.Helper()
	patch := []byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + image + `"}]`)
	_, err := s.admin.AppsV1().StatefulSets(s.namespace).Patch(s.t.Context(), "shop", types.JSONPatchType, patch, metav1.PatchOptions{})
	require.NoError(s.t, err)
	s.awaitSeen()
}

// TestStatefulSetHistory deploys v1, v2, v1 again and v3, each in a second of its own.
// Kubernetes gives the revision that comes back a number more and forgets the first.
func TestStatefulSetHistory(t *testing.T) {
	t.Parallel()
	s := newStateful(t, nil)
	s.plane.Grant(t, s.namespace, "backout",
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"statefulsets"}, Verbs: []string{"get", "patch"}},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"list"}})
	kubeconfig := s.plane.UserKubeconfig(t, "backout")
	inverse := inverseOf(t, kubeconfig)
	for _, image := range []string{otherImage, goodImage, thirdImage} {
		s.clock(time.Now().Truncate(time.Second).Add(time.Second))
		s.setImage(image)
	}
	source, err := connect(t, kubeconfig).Source(kind, system)
	require.NoError(t, err)
	found, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: s.target, Since: time.Now().Add(-time.Hour), Until: time.Now()})
	require.NoError(t, err)
	require.Len(t, found, 4)
	for i, want := range []string{"revision 1 (v1)", "revision 2 (v2)", "revision 3 (v1)", "revision 4 (v3)"} {
		require.Equal(t, want, found[i].To)
	}
	require.Equal(t, incident.StateAbsent, found[0].From)

	planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: s.target, Before: found[3].At})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%+v", planned.Preflight)
	require.Equal(t, "3", planned.To.Revision)
	require.Equal(t, "v1", planned.To.Label)
	require.Contains(t, planned.WontRevert, "files on the nodes: logs")
	earlier, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: s.target, Before: found[2].At})
	require.NoError(t, err)
	require.Equal(t, "v2", earlier.To.Label)

	out, err := execute(t.Context(), inverse, s.action(planned), "key")
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.True(t, out.Last.Settled)
	live := s.read()
	require.Equal(t, goodImage, live.Spec.Template.Spec.Containers[0].Image)
	require.NotContains(t, live.Spec.Template.Annotations, "$patch")
	require.Contains(t, live.Annotations["kubernetes.io/change-cause"], "backout:")
}

func TestStatefulSetThatReplacesNothingIsBlocked(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		strategy appsv1.StatefulSetUpdateStrategy
		says     string
	}{
		"on delete": {appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}, "OnDelete"},
		"partition": {appsv1.StatefulSetUpdateStrategy{
			Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(2))},
		}, "partition 2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStateful(t, func(made *appsv1.StatefulSet) { made.Spec.UpdateStrategy = test.strategy })
			s.setImage(otherImage)
			inverse := s.inverse()
			planned, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: s.target, Revision: "1"})
			require.NoError(t, err)
			require.True(t, planned.Blocked())
			found := check(t, planned, "rolls out by itself")
			require.Equal(t, incident.PreflightBlocked, found.Result)
			require.Contains(t, found.Reason, test.says)
		})
	}
}

// TestStuckStatefulSetSaysWhatToDo rolls back a version that never becomes ready: by
// Kubernetes' own rules the pod that hangs has to be deleted, which no patch does.
// Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
func TestStuckStatefulSetSaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := newStateful(t, nil)
	s.awaitRolledOut()
	s.setImage(badImage)
	require.Eventually(t, func() bool {
		pod, err := s.admin.CoreV1().Pods(s.namespace).Get(t.Context(), "shop-1", metav1.GetOptions{})
		return err == nil && pod.Spec.Containers[0].Image == badImage && len(pod.Status.ContainerStatuses) > 0
	}, patience, 10*time.Millisecond)
	inverse := s.inverse()
	action := s.plan(inverse, "1")
	_, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	s.awaitSeen()
	const says = "has to be deleted by hand"
	var seen driver.Observation
	require.Eventually(t, func() bool {
		var err error
		seen, err = inverse.Observe(t.Context(), action)
		return err == nil && seen.State.Digest == action.To.Digest
	}, patience, 10*time.Millisecond)
	require.False(t, seen.Settled)
	require.Contains(t, seen.Detail, says)

	require.NoError(t, s.admin.CoreV1().Pods(s.namespace).Delete(t.Context(), "shop-1", metav1.DeleteOptions{}))
	out, err := execute(t.Context(), inverse, action, "key")
	require.NoError(t, err)
	require.False(t, out.Applied, "it was written already")
	require.True(t, out.Last.Settled)
}

func TestDaemonSetRollsBackWhatNeverBecomesReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.target.Path = "daemonset/" + w.namespace + "/shop"
	template := shop(goodImage).Spec.Template
	// No controller takes the taint off with which every Node begins.
	template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	api := w.admin.AppsV1().DaemonSets(w.namespace)
	_, err := api.Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec:       appsv1.DaemonSetSpec{Template: template, Selector: &metav1.LabelSelector{MatchLabels: template.Labels}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	settled := func(image string) {
		t.Helper()
		require.Eventually(t, func() bool {
			live, err := api.Get(t.Context(), "shop", metav1.GetOptions{})
			return err == nil && live.Status.DesiredNumberScheduled == 1 && live.Status.ObservedGeneration >= live.Generation && live.Spec.Template.Spec.Containers[0].Image == image
		}, patience, 10*time.Millisecond)
	}
	settled(goodImage)
	patch := []byte(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + badImage + `"}]`)
	_, err = api.Patch(t.Context(), "shop", types.JSONPatchType, patch, metav1.PatchOptions{})
	require.NoError(t, err)
	settled(badImage)
	inverse := w.inverse()
	out, err := execute(t.Context(), inverse, w.plan(inverse, "1"), "key")
	require.NoError(t, err)
	require.True(t, out.Last.Settled)
	require.Equal(t, "1 of 1 pods available", out.Last.Detail)
}
