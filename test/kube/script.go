package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// scriptAnnotation of a pod says what its containers do: a JSON object from the
	// names of containers to scripts. What it does not name does what its image says.
	scriptAnnotation = "kube.test/containers"

	// badImage in an image's name keeps the container from ever being ready.
	badImage = "bad"

	// maxRepeat bounds how often a log is written.
	maxRepeat = 1_000_000
)

// The states of a scripted container.
const (
	stateRunning  = "running"  // Running and ready.
	stateUnready  = "unready"  // Running and not ready.
	stateCrashing = "crashing" // Waiting in CrashLoopBackOff, after at least one run.
	stateWaiting  = "waiting"  // Never started.
	stateExited   = "exited"   // Ended, and not started again.
)

// What can be wrong with the logs of a scripted container.
const (
	faultAway  = "away"  // The kubelet hangs up.
	faultLost  = "lost"  // The node has no file of them any more.
	faultHang  = "hang"  // No answer comes.
	faultBreak = "break" // The connection breaks in the middle.
)

// script is what one container does.
type script struct {
	State string `json:"state"`
	// Reason is why it waits; "ContainerCreating" when empty.
	Reason   string `json:"reason"`
	Restarts int32  `json:"restarts"`
	ExitCode int32  `json:"exit_code"`
	// Log are the lines of the run that is, or was last; Previous those of the run
	// before that one has ended.
	Log      []string `json:"log"`
	Previous []string `json:"previous"`
	// Repeat writes Log so many times; 0 is once.
	Repeat int    `json:"repeat"`
	Fault  string `json:"fault"`
}

// scriptsOf reads what the containers of a pod do.
func scriptsOf(pod *corev1.Pod) (map[string]script, error) {
	scripts := map[string]script{}
	for _, container := range pod.Spec.InitContainers {
		scripts[container.Name] = script{State: stateExited, Log: []string{"initialized"}}
	}
	for _, container := range pod.Spec.Containers {
		scripts[container.Name] = script{State: stateRunning, Log: []string{"serving " + container.Image}}
		if strings.Contains(container.Image, badImage) {
			scripts[container.Name] = script{
				State: stateCrashing, Restarts: 3, ExitCode: 1,
				Log: []string{"serving " + container.Image, "panic: the image is bad"},
			}
		}
	}
	text := pod.Annotations[scriptAnnotation]
	if text == "" {
		return scripts, nil
	}
	var given map[string]script
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil {
		return scripts, fmt.Errorf("read annotation %s: %w", scriptAnnotation, err)
	}
	for name, s := range given {
		if _, ok := scripts[name]; !ok {
			return scripts, fmt.Errorf("read annotation %s: the pod has no container %q", scriptAnnotation, name)
		}
		if err := s.check(); err != nil {
			return scripts, fmt.Errorf("read annotation %s: container %q: %w", scriptAnnotation, name, err)
		}
		scripts[name] = s
	}
	return scripts, nil
}

func (s script) check() error {
	switch {
	case !slices.Contains([]string{stateRunning, stateUnready, stateCrashing, stateWaiting, stateExited}, s.State):
		return fmt.Errorf("unknown state %q", s.State)
	case !slices.Contains([]string{"", faultAway, faultLost, faultHang, faultBreak}, s.Fault):
		return fmt.Errorf("unknown fault %q", s.Fault)
	case s.Restarts < 0 || s.Repeat < 0 || s.Repeat > maxRepeat:
		return errors.New("a number is out of bounds")
	case s.State == stateCrashing && s.Restarts == 0:
		return errors.New("what crashes was started again")
	}
	return nil
}

// status is what a kubelet reports of a container that does this. Its runs are told
// apart by the number of restarts.
func (s script) status(pod *corev1.Pod, name, image string, now metav1.Time) corev1.ContainerStatus {
	run := func(number int32) string { return fmt.Sprintf("containerd://%s-%s-%d", pod.UID, name, number) }
	ended := func(number int32) *corev1.ContainerStateTerminated {
		reason := "Error"
		if s.ExitCode == 0 {
			reason = "Completed"
		}
		return &corev1.ContainerStateTerminated{ExitCode: s.ExitCode, Reason: reason, StartedAt: now, FinishedAt: now, ContainerID: run(number)}
	}
	status := corev1.ContainerStatus{Name: name, Image: image, RestartCount: s.Restarts}
	started := false
	status.Started = &started
	if s.Restarts > 0 {
		status.LastTerminationState.Terminated = ended(s.Restarts - 1)
	}
	switch s.State {
	case stateRunning, stateUnready:
		started, status.Ready = true, s.State == stateRunning
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
		status.ContainerID = run(s.Restarts)
	case stateCrashing:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 40s restarting failed container=" + name}
	case stateExited:
		status.State.Terminated = ended(s.Restarts)
		status.Ready = s.ExitCode == 0
	default:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: s.Reason}
		if s.Reason == "" {
			status.State.Waiting.Reason = "ContainerCreating"
		}
	}
	return status
}

// podStatus is what a kubelet reports of a pod whose containers do this.
func podStatus(pod *corev1.Pod, scripts map[string]script, address string, now metav1.Time) corev1.PodStatus {
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &now, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}},
	}
	initialized, ready := corev1.ConditionTrue, corev1.ConditionTrue
	for _, container := range pod.Spec.InitContainers {
		reported := scripts[container.Name].status(pod, container.Name, container.Image, now)
		if !reported.Ready {
			initialized = corev1.ConditionFalse
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, reported)
	}
	for _, container := range pod.Spec.Containers {
		does := scripts[container.Name]
		if initialized == corev1.ConditionFalse {
			does = script{State: stateWaiting, Reason: "PodInitializing"}
		}
		reported := does.status(pod, container.Name, container.Image, now)
		if !reported.Ready || does.State == stateExited {
			ready = corev1.ConditionFalse
		}
		if reported.State.Waiting != nil && reported.LastTerminationState.Terminated == nil {
			status.Phase = corev1.PodPending
		}
		status.ContainerStatuses = append(status.ContainerStatuses, reported)
	}
	for _, condition := range []struct {
		kind  corev1.PodConditionType
		value corev1.ConditionStatus
	}{
		{corev1.PodScheduled, corev1.ConditionTrue},
		{corev1.PodInitialized, initialized},
		{corev1.ContainersReady, ready},
		{corev1.PodReady, ready},
	} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{
			Type: condition.kind, Status: condition.value, LastTransitionTime: now,
		})
	}
	return status
}
