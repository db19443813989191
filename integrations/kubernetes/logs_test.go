package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/backout/backout/integrations/driver"
)

// poll is the time between two looks at what has not come about yet.
const poll = 10 * time.Millisecond

// logRights are the least that the collector needs.
var logRights = []rbacv1.PolicyRule{
	{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}},
	{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list"}},
	{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
	{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
}

// scripted is one container of a pod on the test control plane, see test/kube.
type scripted struct {
	State    string   `json:"state"`
	Reason   string   `json:"reason,omitempty"`
	Restarts int      `json:"restarts,omitempty"`
	ExitCode int      `json:"exit_code,omitempty"`
	Log      []string `json:"log,omitempty"`
	Previous []string `json:"previous,omitempty"`
	Repeat   int      `json:"repeat,omitempty"`
	Fault    string   `json:"fault,omitempty"`
}

// pods are those of the Deployment with an image, once there are n that have an
// address and none is being deleted.
func (w *world) pods(image string, n int) []string {
	w.t.Helper()
	var names []string
	require.Eventually(w.t, func() bool {
		names = nil
		all, err := w.admin.CoreV1().Pods(w.namespace).List(w.t.Context(), metav1.ListOptions{})
		require.NoError(w.t, err)
		for _, pod := range all.Items {
			if pod.Spec.Containers[0].Image != image {
				continue
			}
			if pod.Status.PodIP == "" || pod.DeletionTimestamp != nil {
				return false
			}
			names = append(names, pod.Name)
		}
		return len(names) == n
	}, patience, poll, "there are not %d pods of %s", n, image)
	return names
}

// script says what the containers of a pod do from now on, and returns when that is
// reported.
func (w *world) script(pod string, containers map[string]scripted) {
	w.t.Helper()
	text, err := json.Marshal(containers)
	require.NoError(w.t, err)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{"kube.test/containers": string(text)}}})
	require.NoError(w.t, err)
	_, err = w.admin.CoreV1().Pods(w.namespace).Patch(w.t.Context(), pod, types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(w.t, err)
	require.Eventually(w.t, func() bool {
		live, err := w.admin.CoreV1().Pods(w.namespace).Get(w.t.Context(), pod, metav1.GetOptions{})
		require.NoError(w.t, err)
		for _, s := range append(live.Status.InitContainerStatuses, live.Status.ContainerStatuses...) {
			does, ok := containers[s.Name]
			if ok && (int(s.RestartCount) != does.Restarts || s.State.Waiting != nil != (does.State == "waiting" || does.State == "crashing")) {
				return false
			}
		}
		return true
	}, patience, poll, "the script of %s is not followed", pod)
}

func (w *world) logs(user string, params map[string]string) (string, error) {
	w.t.Helper()
	collector, err := connect(w.t, w.plane.UserKubeconfig(w.t, user)).Collector("kubernetes.logs", system)
	require.NoError(w.t, err)
	evidence, err := collector.Collect(w.t.Context(), driver.CollectRequest{Target: w.target, Params: params})
	if err != nil {
		return "", err
	}
	require.Len(w.t, evidence, 1)
	require.Equal(w.t, "kubernetes.logs "+w.target.Path, evidence[0].Name)
	require.Equal(w.t, "text/plain; charset=utf-8", evidence[0].MediaType)
	return string(evidence[0].Content), nil
}

// rows are those of the table of a document, in order, in single spaces.
func rows(document string) []string {
	_, table, _ := strings.Cut(document, "\nNO ")
	table, _, _ = strings.Cut(table, "\n\n")
	all := strings.Split(strings.TrimSpace(table), "\n")[1:]
	for i, row := range all {
		all[i] = strings.Join(strings.Fields(row), " ")
	}
	return all
}

func TestLogsOfTheDyingComeFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(goodImage)
	w.update(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(4)) })
	w.pods(goodImage, 4)
	// Old pods stay while new ones are not ready.
	w.update(func(d *appsv1.Deployment) {
		spec := &d.Spec.Template.Spec
		spec.Containers[0].Image = otherImage
		spec.InitContainers = []corev1.Container{{Name: "migrate", Image: "migrate:v1"}}
		d.Spec.Template.Annotations = map[string]string{"kube.test/containers": `{"shop": {"state": "unready"}}`}
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(4)), MaxUnavailable: new(intstr.FromInt32(0))}
	})
	pods := w.pods(otherImage, 4)
	well, restarted, waiting, crashing := pods[0], pods[1], pods[2], pods[3]
	migrated := scripted{State: "exited", Log: []string{"schema is at 12"}}
	w.script(waiting, map[string]scripted{"migrate": migrated, "shop": {State: "waiting", Reason: "ImagePullBackOff"}})
	w.script(crashing, map[string]scripted{"migrate": migrated, "shop": {State: "crashing", Restarts: 2, ExitCode: 2, Log: []string{"starting", "panic: no such column", "=== 9 other shop, last run"}}})
	w.script(restarted, map[string]scripted{"migrate": migrated, "shop": {State: "running", Restarts: 1, ExitCode: 137, Log: []string{"again"}, Previous: []string{"out of memory"}}})
	w.script(well, map[string]scripted{"migrate": migrated, "shop": {State: "running", Log: []string{"fine"}}})
	w.pods(goodImage, 2)
	w.plane.Grant(t, w.namespace, "backout", logRights...)

	text, err := w.logs("backout", nil)
	require.NoError(t, err)
	table := rows(text)
	for i, want := range []string{
		crashing + ` shop last 3 \d+ waiting: CrashLoopBackOff, ended with exit code 2 at \S+, restarts: 2`,
		crashing + ` migrate current 1 \d+ init container, ended with exit code 0 at \S+`,
		waiting + ` shop current 0 0 waiting: ImagePullBackOff MISSING: there is none: container "shop" in pod "` + waiting + `" is waiting to start: trying and failing to pull image`,
		waiting + ` migrate current 1 \d+ init container, .*`,
		restarted + ` shop before 1 \d+ ended with exit code 137 at \S+`,
		restarted + ` shop current 1 \d+ running, ready, restarts: 1`,
		restarted + ` migrate current 1 \d+ init container, .*`,
		well + ` shop current 1 \d+ running, ready`,
		well + ` migrate current 1 \d+ init container, .*`,
	} {
		require.Less(t, i, len(table), text)
		require.Regexp(t, fmt.Sprintf("^%d %s$", i+1, want), table[i])
	}
	require.Len(t, table, 9, text)
	for _, line := range []string{"panic: no such column", "out of memory", "again", "fine", "schema is at 12"} {
		require.Regexp(t, `(?m)^  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z `+line+`$`, text)
	}
	require.NotContains(t, text, "\n=== 9 other", "a log can not pass itself off as a heading")
	require.Contains(t, text, "In place: revision 2 (v2).")
	require.Contains(t, text, "\n=== 1 "+crashing+" shop, last run, revision 2 (v2): waiting: CrashLoopBackOff")
	require.Contains(t, text, "Pods of revision 1 (v1): 2.")
	require.Contains(t, text, "Not asked: 2 pods of other revisions that are ready.")

	text, err = w.logs("backout", map[string]string{"lines": "1", "containers": "shop"})
	require.NoError(t, err)
	require.NotContains(t, text, "migrate")
	require.NotContains(t, text, "panic: no such column")
	require.Contains(t, text, "=== 9 other shop, last run")
}

func TestLogsThatCanNotBeHadAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(goodImage)
	w.update(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(4)) })
	pods := w.pods(goodImage, 4)
	lost, hanging, broken, good := pods[0], pods[1], pods[2], pods[3]
	w.script(lost, map[string]scripted{"shop": {State: "unready", Restarts: 1, Fault: "lost"}})
	w.script(hanging, map[string]scripted{"shop": {State: "crashing", Restarts: 1, Fault: "hang"}})
	w.script(broken, map[string]scripted{"shop": {State: "running", Log: []string{"here"}, Repeat: 100, Fault: "break"}})
	w.script(good, map[string]scripted{"shop": {State: "crashing", Restarts: 1, Log: []string{"fine"}}})
	// One pod of the next revision, whose kubelet hangs up.
	w.update(func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image = badImage
		d.Spec.Template.Annotations = map[string]string{"kube.test/containers": `{"shop": {"state": "crashing", "restarts": 1, "exit_code": 1, "fault": "away"}}`}
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0))}
	})
	away := w.pods(badImage, 1)[0]
	w.plane.Grant(t, w.namespace, "backout", logRights...)

	text, err := w.logs("backout", nil)
	require.NoError(t, err)
	for _, want := range []string{
		away + ` shop last 0 0 waiting: CrashLoopBackOff, .* MISSING: .*containerLogs.*`,
		hanging + ` shop last 0 0 .* MISSING: it did not come in time`,
		lost + ` shop before 0 0 .* MISSING: the node has lost it`,
		lost + ` shop current 0 0 .* MISSING: the node has lost it`,
		good + ` shop last 1 \d+ waiting: CrashLoopBackOff, ended with exit code 0 at \S+, restarts: 1`,
	} {
		require.Regexp(t, `(?m)^\d+ `+want+`$`, strings.Join(rows(text), "\n"))
	}
	require.Len(t, rows(text), 5, "what is well in another revision is not asked")

	// Once they are back in place they are asked, too.
	w.script(hanging, map[string]scripted{"shop": {State: "running"}})
	w.update(func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Image, d.Spec.Template.Annotations = goodImage, nil
	})
	require.Eventually(t, func() bool {
		text, err = w.logs("backout", nil)
		require.NoError(t, err)
		return strings.Contains(text, "In place: revision 3 (v1).")
	}, patience, poll)
	require.Regexp(t, `(?m)^\d+ `+broken+` shop current \d+ \d+ running, ready NOT WHOLE: it ends in the middle of a line$`, strings.Join(rows(text), "\n"))
	require.Regexp(t, `(?m)^  \S+ here$`, text)
	require.Regexp(t, `(?m)^  \S+ fine$`, text)
}

func TestLogsEndWithTheNewestLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(goodImage)
	pods := w.pods(goodImage, 2)
	w.script(pods[0], map[string]scripted{"shop": {State: "crashing", Restarts: 1, Log: []string{"tick", "tock"}, Repeat: 100_000}})
	// 500 of these lines are more than a kubelet may send.
	long := []string{strings.Repeat("x", 20_000), strings.Repeat("y", 20_000), "\xff\x00the end"}
	w.script(pods[1], map[string]scripted{"shop": {State: "unready", Log: long, Repeat: 1000}})
	text, err := w.logs("admin", map[string]string{"lines": "5000"})
	require.NoError(t, err)
	sections := regexp.MustCompile(`(?m)^=== \d `).Split(text, -1)
	require.Len(t, sections, 3)
	// The script's clock is a millisecond a line.
	require.Regexp(t, `(?m)^  \S+ tock\n\n\z`, sections[1])
	require.Regexp(t, `=== left out before this: \d+ bytes\n  \d{4}-`, sections[1])
	require.Regexp(t, `(?m)^  \S+ \x{FFFD}.?the end\n\z`, sections[2])
	for _, section := range sections[1:] {
		require.Less(t, len(section), 80<<10)
		require.Greater(t, len(section), 20<<10)
	}
}

func TestLogsOfOtherForms(t *testing.T) {
	t.Parallel()
	s := newStateful(t, nil)
	s.awaitRolledOut()
	text, err := s.logs("admin", nil)
	require.NoError(t, err)
	require.Contains(t, text, "Pods of revision 1 (v1): 2.")
	require.Regexp(t, `(?m)^  \S+ serving `+goodImage+`$`, text)
}

func TestLogsWithoutAnyAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(goodImage)
	for _, pod := range w.pods(goodImage, 2) {
		w.script(pod, map[string]scripted{"shop": {State: "waiting"}})
	}
	text, err := w.logs("admin", nil)
	require.NoError(t, err, "no container has run: that is an answer")
	require.Equal(t, 2, strings.Count(text, "is waiting to start: ContainerCreating"), text)

	w.update(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })
	w.pods(goodImage, 0)
	require.Eventually(t, func() bool {
		text, err = w.logs("admin", nil)
		require.NoError(t, err)
		return strings.Contains(text, "There are no pods.")
	}, patience, poll)
}

func TestLogsNeedARight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.release(goodImage)
	w.pods(goodImage, 2)
	w.plane.Grant(t, w.namespace, "backout", logRights[:2]...)
	_, err := w.logs("backout", nil)
	require.ErrorIs(t, err, driver.ErrDenied)
	require.ErrorContains(t, err, "list pods")
	w.plane.Grant(t, w.namespace, "backout", logRights[2])
	_, err = w.logs("backout", nil)
	require.ErrorIs(t, err, driver.ErrDenied, "not one log could be read")
	require.ErrorContains(t, err, "pods/log")

	for _, params := range []map[string]string{{"lines": "0"}, {"lines": "5001"}, {"lines": "all"}, {"containers": "shop,,"}, {"tail": "5"}} {
		_, err = w.logs("admin", params)
		require.ErrorIs(t, err, driver.ErrInvalid, "%v", params)
	}
	w.target.Path = "deployment/" + w.namespace + "/none"
	_, err = w.logs("admin", nil)
	require.ErrorIs(t, err, driver.ErrNotFound)
}
