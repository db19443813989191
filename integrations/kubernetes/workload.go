package kubernetes

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// reference names one workload of a cluster.
type reference struct {
	kind            workloadKind
	namespace, name string
}

// String is how the workload is spelled in a target's path.
func (r reference) String() string { return r.kind.name + "/" + r.namespace + "/" + r.name }

// workloadKind is one kind of workload that keeps a history of its templates.
type workloadKind struct {
	// name is the first part of a target's path; noun is the word for people.
	name, noun string
	resource   schema.GroupVersionResource
	// history reads the templates that the cluster keeps of the workload.
	history func(ctx context.Context, c *cluster, object *unstructured.Unstructured) (history, error)
	// rollout reads how far the workload has taken on its present template.
	rollout func(object *unstructured.Unstructured) (rollout, error)
}

// workloadKinds are the kinds that a target can name.
var workloadKinds = []workloadKind{
	{name: "deployment", noun: "Deployment", resource: deployments, history: replicaSetHistory, rollout: deploymentRollout},
	{name: "statefulset", noun: "StatefulSet", resource: statefulSets, history: controllerRevisionHistory, rollout: statefulSetRollout},
	{name: "daemonset", noun: "DaemonSet", resource: daemonSets, history: controllerRevisionHistory, rollout: daemonSetRollout},
}

// targetForm shows how a target's path is spelled.
const targetForm = "deployment|statefulset|daemonset/<namespace>/<name>"

// parseTarget reads "<kind>/<namespace>/<name>".
func parseTarget(target incident.Target) (reference, error) {
	parts := strings.Split(target.Path, "/")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return reference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	for _, kind := range workloadKinds {
		if kind.name == parts[0] {
			return reference{kind: kind, namespace: parts[1], name: parts[2]}, nil
		}
	}
	return reference{}, fmt.Errorf("parse target %q: %w: unknown kind of workload %q, want %s", target, driver.ErrInvalid, parts[0], targetForm)
}

// workload is what was read of one workload at one moment.
type workload struct {
	reference
	object   *unstructured.Unstructured
	template template
	digest   string
	history  history
	rollout  rollout
}

func (c *cluster) workload(ctx context.Context, ref reference) (workload, error) {
	// The history is read after the object: what the object shows is then in it,
	// unless its controller has not got that far.
	object, err := c.get(ctx, ref.kind.resource, ref.namespace, ref.name)
	if err != nil {
		return workload{}, err
	}
	return c.withHistory(ctx, ref, object)
}

// withHistory reads the history of a workload that was read before.
func (c *cluster) withHistory(ctx context.Context, ref reference, object *unstructured.Unstructured) (workload, error) {
	past, err := ref.kind.history(ctx, c, object)
	if err != nil {
		return workload{}, err
	}
	present, err := templateOf(object)
	if err != nil {
		return workload{}, err
	}
	digest, err := present.digest()
	if err != nil {
		return workload{}, err
	}
	progress, err := ref.kind.rollout(object)
	if err != nil {
		return workload{}, err
	}
	return workload{reference: ref, object: object, template: present, digest: digest, history: past, rollout: progress}, nil
}

// unrecorded is the revision of a template that the workload's controller has not
// put into the history yet.
const unrecorded = "unrecorded"

// state is the workload's present state.
func (w workload) state() incident.State {
	if rev, ok := w.history.byDigest(w.digest); ok {
		return rev.state()
	}
	return incident.State{Revision: unrecorded, Digest: w.digest, Label: w.template.label()}
}

// selectorOf is the label selector of a workload, as list requests want it.
func selectorOf(object *unstructured.Unstructured) (string, error) {
	fields, found, err := unstructured.NestedMap(object.Object, "spec", "selector")
	if err != nil || !found {
		return "", fmt.Errorf("read selector of %s %q: it has none", object.GetKind(), object.GetName())
	}
	var selector metav1.LabelSelector
	if err := decode(&unstructured.Unstructured{Object: fields}, &selector); err != nil {
		return "", err
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", fmt.Errorf("read selector of %s %q: %w", object.GetKind(), object.GetName(), err)
	}
	return parsed.String(), nil
}
