package flagger

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// deployment is one of the two Deployments of a canary, with what the cluster keeps of
// its past.
type deployment struct {
	object *unstructured.Unstructured
	past   []past // By number, ascending.
}

// past is one template that a Deployment has had.
type past struct {
	number        int64
	digest, label string
	set           *unstructured.Unstructured
	created       time.Time // When the template was deployed first, to the second.
}

// name is what people call it.
func (p past) name() string {
	if p.label == "" {
		return fmt.Sprintf("revision %d", p.number)
	}
	return fmt.Sprintf("revision %d (%s)", p.number, p.label)
}

func readObject(ctx context.Context, c cluster, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := c.Objects().Resource(deployments).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Deployment %q in namespace %q: %w", name, namespace, c.Classify(err))
	}
	return object, nil
}

// readDeployment reads a Deployment and the ReplicaSets that it owns.
func readDeployment(ctx context.Context, c cluster, namespace, name string) (deployment, error) {
	object, err := readObject(ctx, c, namespace, name)
	if err != nil {
		return deployment{}, err
	}
	selector, err := selectorOf(object)
	if err != nil {
		return deployment{}, err
	}
	d := deployment{object: object}
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		page, err := c.Objects().Resource(replicaSets).Namespace(namespace).List(ctx, options)
		if err != nil {
			return deployment{}, fmt.Errorf("list replicasets in namespace %q: %w", namespace, c.Classify(err))
		}
		for i := range page.Items {
			set := &page.Items[i]
			// It is not numbered in the instant between its creation and the controller's
			// next step.
			number, err := strconv.ParseInt(set.GetAnnotations()[revisionAnnotation], 10, 64)
			if err != nil || !metav1.IsControlledBy(set, object) {
				continue
			}
			p := past{number: number, set: set, created: set.GetCreationTimestamp().UTC()}
			if p.digest, p.label, err = c.Template(set); err != nil {
				return deployment{}, fmt.Errorf("read ReplicaSet %q: %w", set.GetName(), err)
			}
			d.past = append(d.past, p)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			break
		}
	}
	slices.SortFunc(d.past, func(a, b past) int { return cmp.Compare(a.number, b.number) })
	return d, nil
}

// before finds what the Deployment ran just before a moment. Of the primary, every
// promotion makes a template of its own, so that none comes back.
func (d deployment) before(moment time.Time) (found past, ok bool) {
	for _, p := range d.past {
		if p.created.Before(moment) {
			found, ok = p, true
		}
	}
	return found, ok
}

// source finds the template of the target that Flagger made a template of the primary
// from, the latest of them.
func (d deployment) source(primary *unstructured.Unstructured) (past, bool) {
	for _, p := range slices.Backward(d.past) {
		if promotes(p.set, primary) {
			return p, true
		}
	}
	return past{}, false
}

// promotes reports whether Flagger makes the template of the primary from that of the
// target: the same, but for an identity of its own, annotations that it leaves out, and
// names of configuration and labels with the primary's suffix.
// Source: https://github.com/fluxcd/flagger/blob/v1.36.1/pkg/canary/deployment_controller.go
func promotes(target, primary *unstructured.Unstructured) bool {
	from, to := likeness(target), likeness(primary)
	return from != nil && to != nil && alike(from, to, false)
}

// likeness is a copy of a pod template without what is never the same.
func likeness(object *unstructured.Unstructured) map[string]any {
	template, found, err := unstructured.NestedMap(object.Object, "spec", "template") // A deep copy.
	if err != nil || !found {
		return nil
	}
	for _, part := range []string{"labels", "annotations"} {
		names, _, _ := unstructured.NestedMap(template, "metadata", part)
		for name := range names {
			if name == "flagger-id" || name == "pod-template-hash" || strings.Contains(name, "toolkit.fluxcd.io") {
				unstructured.RemoveNestedField(template, "metadata", part, name)
			}
		}
	}
	return tidy(template)
}

// tidy drops the labels and annotations that are empty after that, and fields that are
// null.
func tidy(template map[string]any) map[string]any {
	metadata, _ := template["metadata"].(map[string]any)
	for name, value := range metadata {
		if fields, ok := value.(map[string]any); value == nil || ok && len(fields) == 0 {
			delete(metadata, name)
		}
	}
	return template
}

// alike compares a value of the target with the one of the primary at the same place.
// With renamed it is a name there that Flagger may have put its suffix behind.
func alike(target, primary any, renamed bool) bool {
	switch from := target.(type) {
	case map[string]any:
		to, ok := primary.(map[string]any)
		if !ok || len(from) != len(to) {
			return false
		}
		for key, value := range from {
			_, nested := value.(map[string]any)
			names := key == "name" || key == "secretName" || key == "values" || nested && (key == "labels" || key == "matchLabels")
			if other, there := to[key]; !there || !alike(value, other, names || renamed && !nested) {
				return false
			}
		}
		return true
	case []any:
		to, ok := primary.([]any)
		return ok && slices.EqualFunc(from, to, func(a, b any) bool { return alike(a, b, renamed) })
	case string:
		return primary == from || renamed && primary == from+primarySuffix
	default:
		return reflect.DeepEqual(target, primary)
	}
}

// selectorOf is the label selector of a Deployment, as list requests want it.
func selectorOf(object *unstructured.Unstructured) (string, error) {
	fields, found, err := unstructured.NestedMap(object.Object, "spec", "selector")
	if err != nil || !found {
		return "", fmt.Errorf("read selector of Deployment %q: it has none", object.GetName())
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &selector); err != nil {
		return "", fmt.Errorf("read selector of Deployment %q: %w", object.GetName(), err)
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", fmt.Errorf("read selector of Deployment %q: %w", object.GetName(), err)
	}
	return parsed.String(), nil
}
