package kubernetes

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
)

// podOf is a pod with one container in each state, ready or not.
func podOf(ready bool, states ...corev1.ContainerStatus) *corev1.Pod {
	pod := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: states}}
	if ready {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return pod
}

var (
	runs    = corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	waits   = corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}
	failed  = corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}
	done    = corev1.ContainerStatus{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}
	crashes = corev1.ContainerStatus{RestartCount: 2, State: waits.State, LastTerminationState: failed.State}
	again   = corev1.ContainerStatus{RestartCount: 1, State: runs.State, LastTerminationState: failed.State}
)

func TestUrgency(t *testing.T) {
	t.Parallel()
	deleted := func(pod *corev1.Pod) *corev1.Pod {
		pod.DeletionTimestamp = &metav1.Time{}
		return pod
	}
	evicted := podOf(false)
	evicted.Status.Phase, evicted.Status.Reason = corev1.PodFailed, "Evicted"
	for _, test := range []struct {
		name      string
		pod       *corev1.Pod
		elsewhere bool
		want      urgency
	}{
		{name: "crashing", pod: podOf(false, runs, crashes), want: crashed},
		{name: "crashing elsewhere", pod: podOf(false, crashes), elsewhere: true, want: crashed},
		{name: "failed once", pod: podOf(false, failed), want: crashed},
		{name: "evicted", pod: evicted, want: crashed},
		{name: "being deleted", pod: deleted(podOf(true, runs)), want: leaving},
		{name: "being deleted elsewhere", pod: deleted(podOf(true, runs)), elsewhere: true, want: departing},
		{name: "being created", pod: podOf(false, waits), want: unready},
		{name: "not ready", pod: podOf(false, runs), want: unready},
		{name: "not ready elsewhere", pod: podOf(false, runs), elsewhere: true, want: departing},
		{name: "restarted", pod: podOf(true, again), want: restarted},
		{name: "well", pod: podOf(true, done, runs), want: well},
		{name: "well elsewhere", pod: podOf(true, again), elsewhere: true, want: wellElsewhere},
		{name: "nothing known", pod: &corev1.Pod{}, want: unready},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, urgencyOf(test.pod, test.elsewhere))
		})
	}
}

func TestRunsOfAContainer(t *testing.T) {
	t.Parallel()
	forgotten := again
	forgotten.LastTerminationState = corev1.ContainerState{}
	failedAgain := failed
	failedAgain.RestartCount, failedAgain.LastTerminationState = 1, failed.State
	for _, test := range []struct {
		name   string
		status corev1.ContainerStatus
		want   string
	}{
		{name: "first run", status: runs, want: "current"},
		{name: "never ran", status: waits, want: "current"},
		{name: "waits after a run", status: crashes, want: "last"},
		{name: "runs again", status: again, want: "before current"},
		{name: "runs again, and the node knows no more", status: forgotten, want: "before current"},
		{name: "ended", status: failed, want: "current"},
		{name: "ended again", status: failedAgain, want: "before current"},
		{name: "nothing known", status: corev1.ContainerStatus{}, want: "current"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, c := range logsOfContainer("pod", "", test.status) {
				got = append(got, c.run)
				require.Equal(t, c.run != "current", c.ended)
				require.NotEmpty(t, c.state)
			}
			require.Equal(t, test.want, strings.Join(got, " "))
		})
	}
}

func TestAPodWithoutANodeIsNotAsked(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "shop"}}}}
	require.ErrorContains(t, logsOfPod(pod, nil)[0].err, "the pod has no node")
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes have\nmemory"}}
	require.ErrorContains(t, logsOfPod(pod, nil)[0].err, "the pod has no node: 0/3 nodes have memory")
	require.ErrorIs(t, logsOfPod(pod, nil)[0].err, errNoLog)
	pod.Spec.NodeName = "node"
	require.NoError(t, logsOfPod(pod, nil)[0].err)
	require.Empty(t, logsOfPod(pod, []string{"proxy"}))
}

func TestTheEndOfALogIsKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		writes []string
		want   string
		left   int
		cut    bool
	}{
		{name: "all of a short one", writes: []string{"one\n", "two\n"}, want: "one\ntwo\n"},
		{name: "whole lines of a long one", writes: []string{"0123456789\n", "abcdefgh\n"}, want: "abcdefgh\n", left: 11},
		{name: "in one piece", writes: []string{"0123456789\nabcdefgh\n"}, want: "abcdefgh\n", left: 11},
		{name: "in many", writes: strings.SplitAfter(strings.Repeat("0123456789\n", 9)+"abcdefgh\n", ""), want: "abcdefgh\n", left: 99},
		{name: "of one long line", writes: []string{"0123456789abcdefghij\n"}, want: "bcdefghij\n", left: 11},
		{name: "without an end", writes: []string{"one\n", "tw"}, want: "one\ntw", cut: true},
		{name: "other encodings", writes: []string{"\xff\x00x\n"}, want: "\uFFFD\uFFFDx\n"},
		{name: "nothing", writes: nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			end := &ending{keep: 10}
			for _, text := range test.writes {
				_, err := io.WriteString(end, text)
				require.NoError(t, err)
				require.LessOrEqual(t, len(end.kept), 20)
			}
			var c containerLog
			c.take(end)
			require.Equal(t, test.want, c.text)
			require.EqualValues(t, test.left, c.left)
			require.Equal(t, test.cut, c.cut)
			require.NoError(t, c.err)
		})
	}
}

func TestWhatANodeHasLostIsNoLog(t *testing.T) {
	t.Parallel()
	var c containerLog
	end := &ending{keep: 100}
	_, err := io.WriteString(end, "unable to retrieve container logs for containerd://1")
	require.NoError(t, err)
	c.take(end)
	require.ErrorContains(t, c.err, "the node has lost it")
	require.Empty(t, c.text)

	var said containerLog
	end = &ending{keep: 100}
	_, err = io.WriteString(end, "2026-03-01T03:14:00.000000000Z unable to retrieve container logs for fun\n")
	require.NoError(t, err)
	said.take(end)
	require.NoError(t, said.err)
	require.NotEmpty(t, said.text)
}

func TestWhyALogWasNotRead(t *testing.T) {
	t.Parallel()
	pods := schema.GroupResource{Resource: "pods"}
	for _, test := range []struct {
		name string
		err  error
		is   error
		says string
	}{
		{name: "never ran", err: apierrors.NewBadRequest(`container "a" is waiting to start: ContainerCreating`), is: errNoLog, says: "ContainerCreating"},
		{name: "the pod is gone", err: apierrors.NewNotFound(pods, "a"), is: errNoLog},
		{name: "forbidden", err: apierrors.NewForbidden(pods, "a", nil), is: driver.ErrDenied},
		{name: "no time", err: &url.Error{Op: "Get", URL: "https://u:p@host", Err: context.DeadlineExceeded}, is: errLate},
		{name: "no time for the body", err: &url.Error{Op: "Get", URL: "https://u:p@host", Err: http.ErrHandlerTimeout}, says: "timeout"},
		{name: "broken", err: io.ErrUnexpectedEOF, says: "the connection broke"},
		{name: "kubelet away", err: apierrors.NewInternalError(errors.New("dial tcp: connection refused")), says: "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := unread(test.err)
			if test.is != nil {
				require.ErrorIs(t, got, test.is)
			} else {
				require.NotErrorIs(t, got, errNoLog)
			}
			require.Contains(t, got.Error(), test.says)
			require.NotContains(t, got.Error(), "u:p")
		})
	}
}

func TestNothingReadIsAnErrorOnlyWhereThereIsSomething(t *testing.T) {
	t.Parallel()
	none := &containerLog{err: errNoLog}
	late := &containerLog{err: errLate}
	part := &containerLog{err: errLate, bytes: 5}
	read := &containerLog{}
	require.NoError(t, nothingRead(nil))
	require.NoError(t, nothingRead([]*containerLog{none}))
	require.NoError(t, nothingRead([]*containerLog{late, read}))
	require.NoError(t, nothingRead([]*containerLog{late, part}))
	require.ErrorIs(t, nothingRead([]*containerLog{none, late}), errLate)
}

func TestADocumentHasABound(t *testing.T) {
	t.Parallel()
	var pods []corev1.Pod
	for i := range 100 {
		pod := podOf(false, again)
		pod.Name, pod.Status.ContainerStatuses[0].Name = "shop", "shop"
		pod.Spec.Containers = []corev1.Container{{Name: "shop"}}
		pod.CreationTimestamp = metav1.NewTime(time.Unix(int64(i), 0))
		pod.OwnerReferences = []metav1.OwnerReference{{UID: "owner", Controller: new(true)}}
		pods = append(pods, *pod)
	}
	w := workload{object: &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"uid": "owner"}}}, template: template{}}
	found := logsOf(w, pods, nil)
	require.Len(t, found.logs, maxLogs)
	require.Equal(t, 200-maxLogs, found.beyond)
	require.Contains(t, string(found.document(reference{}, time.Unix(0, 0).UTC(), logRequest{lines: 1})), "LEFT OUT: 140 logs beyond the first 60.")
}
