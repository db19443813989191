package kubernetes

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// rollout is how far a workload has taken on its template.
type rollout struct {
	// settled says that every wanted pod runs the template and is available, and
	// none of another template is left.
	settled bool
	// held says why a change of the template would not be rolled out, such as "is
	// paused"; it is empty when it would.
	held string
	// detail is one line for people.
	detail string
}

// onDelete is why nothing happens by itself under the update strategy of that name.
const onDelete = "replaces pods only when somebody deletes them (update strategy OnDelete)"

// deploymentRollout judges as "kubectl rollout status" does.
func deploymentRollout(object *unstructured.Unstructured) (rollout, error) {
	var d appsv1.Deployment
	if err := decode(object, &d); err != nil {
		return rollout{}, err
	}
	wanted := orOne(d.Spec.Replicas)
	status := d.Status
	var r rollout
	if d.Spec.Paused {
		r.held = "is paused"
	}
	switch {
	case status.ObservedGeneration < d.Generation:
		r.detail = "the rollout has not begun"
	case status.UpdatedReplicas < wanted:
		r.detail = fmt.Sprintf("%d of %d pods updated", status.UpdatedReplicas, wanted)
	case status.Replicas > status.UpdatedReplicas:
		r.detail = fmt.Sprintf("%d old pods are still to go", status.Replicas-status.UpdatedReplicas)
	case status.AvailableReplicas < status.UpdatedReplicas:
		r.detail = fmt.Sprintf("%d of %d pods available", status.AvailableReplicas, wanted)
	default:
		r.settled = true
		r.detail = fmt.Sprintf("%d of %d pods available", status.AvailableReplicas, wanted)
	}
	if r.settled {
		return r, nil
	}
	if d.Spec.Paused {
		r.detail += ", and the Deployment is paused"
	}
	if stalled := deadlineExceeded(status.Conditions); stalled && status.ObservedGeneration >= d.Generation {
		r.detail += ", and the rollout has exceeded its progress deadline"
	}
	return r, nil
}

// deadlineExceeded reports whether the controller has given the rollout up.
// Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment
func deadlineExceeded(conditions []appsv1.DeploymentCondition) bool {
	for _, condition := range conditions {
		if condition.Type == appsv1.DeploymentProgressing {
			return condition.Status == corev1.ConditionFalse && condition.Reason == "ProgressDeadlineExceeded"
		}
	}
	return false
}

// statefulSetRollout judges as "kubectl rollout status" does: pods below the
// partition keep what they run.
func statefulSetRollout(object *unstructured.Unstructured) (rollout, error) {
	var s appsv1.StatefulSet
	if err := decode(object, &s); err != nil {
		return rollout{}, err
	}
	wanted, partition := orOne(s.Spec.Replicas), int32(0)
	if rolling := s.Spec.UpdateStrategy.RollingUpdate; rolling != nil && rolling.Partition != nil {
		partition = min(*rolling.Partition, wanted)
	}
	updating := wanted - partition
	status := s.Status
	var r rollout
	switch {
	case s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		r.held = onDelete
	case wanted > 0 && updating == 0:
		r.held = fmt.Sprintf("keeps all of its %d pods as they are (partition %d)", wanted, partition)
	}
	switch {
	case status.ObservedGeneration < s.Generation:
		r.detail = "the rollout has not begun"
	case status.UpdatedReplicas < updating:
		r.detail = fmt.Sprintf("%d of %d pods updated", status.UpdatedReplicas, updating)
		if s.Spec.PodManagementPolicy != appsv1.ParallelPodManagement && status.ReadyReplicas < wanted {
			// Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
			r.detail += ", and a StatefulSet waits for a pod that is not ready before it replaces any: one that stays so has to be deleted by hand"
		}
	case status.Replicas > wanted:
		r.detail = fmt.Sprintf("%d pods are still to go", status.Replicas-wanted)
	case status.AvailableReplicas < wanted:
		r.detail = fmt.Sprintf("%d of %d pods available", status.AvailableReplicas, wanted)
	default:
		r.settled = true
		r.detail = fmt.Sprintf("%d of %d pods available", status.AvailableReplicas, wanted)
	}
	if partition > 0 {
		r.detail += fmt.Sprintf(", and the first %d keep what they run (partition)", partition)
	}
	return r, nil
}

// daemonSetRollout judges as "kubectl rollout status" does.
func daemonSetRollout(object *unstructured.Unstructured) (rollout, error) {
	var d appsv1.DaemonSet
	if err := decode(object, &d); err != nil {
		return rollout{}, err
	}
	status := d.Status
	var r rollout
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		r.held = onDelete
	}
	switch {
	case status.ObservedGeneration < d.Generation:
		r.detail = "the rollout has not begun"
	case status.UpdatedNumberScheduled < status.DesiredNumberScheduled:
		r.detail = fmt.Sprintf("%d of %d pods updated", status.UpdatedNumberScheduled, status.DesiredNumberScheduled)
	case status.NumberAvailable < status.DesiredNumberScheduled:
		r.detail = fmt.Sprintf("%d of %d pods available", status.NumberAvailable, status.DesiredNumberScheduled)
	default:
		r.settled = true
		r.detail = fmt.Sprintf("%d of %d pods available", status.NumberAvailable, status.DesiredNumberScheduled)
	}
	return r, nil
}

// orOne is a replica count, which is 1 when it is not given.
func orOne(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}
