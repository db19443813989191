package kubernetes

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// urgency says how soon a log is lost, and how likely it says what is wrong. The
// zero value is none.
type urgency int

// From the most urgent to the least.
const (
	crashed       urgency = iota + 1 // A container ended with an error.
	leaving                          // The pod of the revision in place is being deleted.
	unready                          // The pod of the revision in place is not ready.
	departing                        // The pod of another revision is being deleted, or not ready.
	restarted                        // It is well, and was not.
	well                             // It is well.
	wellElsewhere                    // It is well, and of another revision: nobody asks.
)

// containerLog is what one run of one container wrote.
type containerLog struct {
	pod, container string
	revision       string // For people; empty when it is unknown.
	// state is what the container does, for people.
	state string
	// ended asks for the last run that has ended, in place of the one that is.
	ended bool
	// run is what the run is called.
	run string

	// text is the end of it, in whole lines of UTF-8; bytes is its size as read, left
	// how much of what was read is not in it.
	text  string
	bytes int
	left  int64
	// short says that the newest lines are not in it, cut that it ends in the middle of
	// a line.
	short, cut bool
	// err is why it is not there, or where it ends before its end.
	err error
}

// foundLogs are the logs of a workload, in the order in which they are read.
type foundLogs struct {
	logs []*containerLog
	// pods counts those of each revision, by what people call it.
	pods map[string]int
	// inPlace is the present revision.
	inPlace string
	// quiet counts the pods of other revisions that are well, beyond the logs past
	// maxLogs.
	quiet, beyond int
}

// podLogs are the logs of one pod.
type podLogs struct {
	pod     *corev1.Pod
	urgency urgency
	// last is when a container ended last.
	last time.Time
	logs []*containerLog
}

// logsOf lists the logs of a workload's pods, those first that are about to be lost.
// Only containers of the given names count, all when there are none.
func logsOf(w workload, pods []corev1.Pod, names []string) foundLogs {
	found := foundLogs{pods: map[string]int{}, inPlace: w.state().Label}
	present, known := w.history.byDigest(w.digest)
	if known {
		found.inPlace = present.name()
	}
	about := map[types.UID]bool{w.object.GetUID(): true}
	for _, rev := range w.history.revisions {
		about[rev.uid] = true
	}
	var all []podLogs
	for i := range pods {
		pod := &pods[i]
		if !ownedBy(pod, about) {
			continue
		}
		rev, ok := revisionOf(w, pod)
		name := "an unknown revision"
		if ok {
			name = rev.name()
		}
		found.pods[name]++
		p := podLogs{pod: pod, urgency: urgencyOf(pod, ok && known && rev.digest != present.digest), last: lastEnd(pod)}
		if p.urgency == wellElsewhere {
			found.quiet++
			continue
		}
		p.logs = logsOfPod(pod, names)
		for _, c := range p.logs {
			c.revision, c.state = name, c.state+fateOf(pod)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b podLogs) int {
		return cmp.Or(cmp.Compare(a.urgency, b.urgency), b.last.Compare(a.last),
			b.pod.CreationTimestamp.Compare(a.pod.CreationTimestamp.Time), cmp.Compare(a.pod.Name, b.pod.Name))
	})
	for _, p := range all {
		found.logs = append(found.logs, p.logs...)
	}
	if extra := len(found.logs) - maxLogs; extra > 0 {
		found.logs, found.beyond = found.logs[:maxLogs], extra
	}
	return found
}

// revisionOf is the revision that a pod runs.
func revisionOf(w workload, pod *corev1.Pod) (revision, bool) {
	// A ReplicaSet owns its pods; a ControllerRevision is named in a label, of a
	// DaemonSet without the name of the DaemonSet before it.
	// Source: https://kubernetes.io/docs/reference/labels-annotations-taints/#controller-revision-hash
	holder := pod.Labels["controller-revision-hash"]
	for _, rev := range w.history.revisions {
		if ownedBy(pod, map[types.UID]bool{rev.uid: true}) || holder != "" && (rev.holder == holder || rev.holder == w.name+"-"+holder) {
			return rev, true
		}
	}
	return revision{}, false
}

// statuses are those of the containers of a pod, first the initial ones.
func statuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

func urgencyOf(pod *corev1.Pod, elsewhere bool) urgency {
	again := false
	for _, s := range statuses(pod) {
		if endedBadly(s) {
			return crashed
		}
		again = again || s.RestartCount > 0
	}
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	switch {
	case pod.Status.Phase == corev1.PodFailed:
		return crashed
	case elsewhere && (pod.DeletionTimestamp != nil || !ready):
		return departing
	case elsewhere:
		return wellElsewhere
	case pod.DeletionTimestamp != nil:
		return leaving
	case !ready:
		return unready
	case again:
		return restarted
	default:
		return well
	}
}

// endedBadly reports whether a container is down after a run that failed.
func endedBadly(s corev1.ContainerStatus) bool {
	switch {
	case s.State.Waiting != nil:
		return s.LastTerminationState.Terminated != nil
	case s.State.Terminated != nil:
		return s.State.Terminated.ExitCode != 0
	default:
		return false
	}
}

// fateOf is what befalls a pod as a whole, as an addition to the state of a container.
func fateOf(pod *corev1.Pod) string {
	fate := ""
	if pod.Status.Phase == corev1.PodFailed {
		fate = ", pod failed"
		if pod.Status.Reason != "" {
			fate += " (" + oneLine(pod.Status.Reason, maxAnswer) + ")"
		}
	}
	if pod.DeletionTimestamp != nil {
		fate += ", pod being deleted"
	}
	return fate
}

func lastEnd(pod *corev1.Pod) time.Time {
	var last time.Time
	for _, s := range statuses(pod) {
		for _, ended := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
			if ended != nil && ended.FinishedAt.After(last) {
				last = ended.FinishedAt.Time
			}
		}
	}
	return last
}

// logsOfPod lists the logs of the containers of a pod, those that are down first and
// those that have done their part last.
func logsOfPod(pod *corev1.Pod, names []string) []*containerLog {
	reported := map[string]corev1.ContainerStatus{}
	for _, s := range statuses(pod) {
		reported[s.Name] = s
	}
	type ranked struct {
		rank int
		logs []*containerLog
	}
	var all []ranked
	for i, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if len(names) > 0 && !slices.Contains(names, c.Name) {
			continue
		}
		s, ok := reported[c.Name]
		initial := ""
		if i < len(pod.Spec.InitContainers) {
			initial = "init container, "
		}
		if !ok {
			none := &containerLog{pod: pod.Name, container: c.Name, run: "current", state: initial + "not reported yet"}
			if pod.Spec.NodeName == "" {
				none.err = fmt.Errorf("%w: %s", errNoLog, unscheduled(pod))
			}
			all = append(all, ranked{1, []*containerLog{none}})
			continue
		}
		rank := 2
		switch {
		case endedBadly(s):
			rank = 0
		case !s.Ready && s.State.Terminated == nil:
			rank = 1
		case s.State.Terminated != nil:
			rank = 3
		}
		all = append(all, ranked{rank, logsOfContainer(pod.Name, initial, s)})
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	var ordered []*containerLog
	for _, r := range all {
		ordered = append(ordered, r.logs...)
	}
	return ordered
}

// logsOfContainer lists the runs of a container that a kubelet keeps the logs of: the
// latest, and the one before it. What waits to be started again has no later run than
// the one that ended.
func logsOfContainer(pod, initial string, s corev1.ContainerStatus) []*containerLog {
	state := initial + stateOf(s)
	current := &containerLog{pod: pod, container: s.Name, run: "current", state: state}
	before := &containerLog{pod: pod, container: s.Name, run: "before", ended: true, state: initial + endOf(s.LastTerminationState.Terminated)}
	switch last := s.LastTerminationState.Terminated; {
	case last == nil && s.RestartCount == 0, last == nil && s.State.Waiting != nil:
		return []*containerLog{current}
	case s.State.Waiting != nil:
		before.run, before.state = "last", state
		return []*containerLog{before}
	default:
		return []*containerLog{before, current}
	}
}

func unscheduled(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status != corev1.ConditionTrue && c.Message != "" {
			return "the pod has no node: " + oneLine(c.Message, maxAnswer)
		}
	}
	return "the pod has no node"
}

// stateOf says what a container does.
func stateOf(s corev1.ContainerStatus) string {
	var parts []string
	switch {
	case s.State.Running != nil && s.Ready:
		parts = append(parts, "running, ready")
	case s.State.Running != nil:
		parts = append(parts, "running, not ready")
	case s.State.Terminated != nil:
		parts = append(parts, endOf(s.State.Terminated))
	case s.State.Waiting != nil:
		parts = append(parts, "waiting: "+oneLine(s.State.Waiting.Reason, maxAnswer))
		if last := s.LastTerminationState.Terminated; last != nil {
			parts = append(parts, endOf(last))
		}
	default:
		parts = append(parts, "in no known state")
	}
	if s.RestartCount > 0 {
		parts = append(parts, fmt.Sprintf("restarts: %d", s.RestartCount))
	}
	return strings.Join(parts, ", ")
}

// endOf says how a run ended.
func endOf(t *corev1.ContainerStateTerminated) string {
	if t == nil {
		return "ended, nobody knows how"
	}
	text := fmt.Sprintf("ended with exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		text += " (" + oneLine(t.Reason, maxAnswer) + ")"
	}
	if !t.FinishedAt.IsZero() {
		text += " at " + t.FinishedAt.UTC().Format(time.RFC3339)
	}
	return text
}

// missing says why a log is not there, on one line; empty when it is.
func (c *containerLog) missing() string {
	switch {
	case c.err == nil:
		return ""
	case errors.Is(c.err, errNoLog) || c.bytes == 0:
		return c.err.Error()
	default:
		return "broke off: " + c.err.Error()
	}
}
