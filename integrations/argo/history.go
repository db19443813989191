package argo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// What the controller of Argo Rollouts writes on the ReplicaSets of a Rollout.
// Source: https://github.com/argoproj/argo-rollouts/blob/v1.10.1/utils/annotations/annotations.go
const (
	// hashLabel tells the ReplicaSets of a Rollout apart. It is in their templates too.
	hashLabel          = "rollouts-pod-template-hash"
	revisionAnnotation = "rollout.argoproj.io/revision"
	formerAnnotation   = "rollout.argoproj.io/revision-history"
	// metadataAnnotation lists, as JSON, the labels and annotations that the controller
	// has put into the template for as long as the ReplicaSet is the canary, or the
	// stable one.
	metadataAnnotation = "rollout.argoproj.io/ephemeral-metadata"
)

// revision is one template in a Rollout's history.
type revision struct {
	// number is its latest revision, former are those it had before, ascending.
	number int64
	former []int64
	// hash is the controller's name for it.
	hash string
	// set is the ReplicaSet that holds it, with what the controller added to the
	// template taken out.
	set           *unstructured.Unstructured
	digest, label string
	created       time.Time // When the template was deployed first, to the second.
	// wanted, there and available count its pods.
	wanted, there, available int64
}

// name is what people call the revision.
func (r revision) name() string { return named(r.number, r.label) }

func named(number int64, label string) string {
	if label == "" {
		return fmt.Sprintf("revision %d", number)
	}
	return fmt.Sprintf("revision %d (%s)", number, label)
}

// history is the templates that the cluster keeps of a Rollout, and when each was put
// into the specification.
type history struct {
	revisions   []revision // By number, ascending.
	activations []activation
}

// activation is one moment at which a template was put into the specification.
type activation struct {
	number   int64
	revision revision
	// at is to the second.
	at time.Time
	// bound says that at is only the earliest possible moment: nobody records when an
	// old template came back, once it is no longer the present one.
	bound bool
}

func (h history) find(is func(revision) bool) (revision, bool) {
	for _, rev := range slices.Backward(h.revisions) {
		if is(rev) {
			return rev, true
		}
	}
	return revision{}, false
}

func (h history) byDigest(digest string) (revision, bool) {
	return h.find(func(r revision) bool { return r.digest == digest })
}

func (h history) byHash(hash string) (revision, bool) {
	return h.find(func(r revision) bool { return hash != "" && r.hash == hash })
}

func (h history) byNumber(number int64) (revision, bool) {
	return h.find(func(r revision) bool { return r.number == number || slices.Contains(r.former, number) })
}

// before finds the template that was in the specification just before a moment. It is
// not certain when the history does not say on which side of the moment it came back.
func (h history) before(moment time.Time) (found activation, certain, ok bool) {
	for i, act := range h.activations {
		if !act.at.Before(moment) {
			break
		}
		next := i + 1
		found, ok = act, true
		certain = !act.bound || next < len(h.activations) && h.activations[next].at.Equal(moment)
	}
	return found, certain, ok
}

// readHistory reads the ReplicaSets that a Rollout owns.
func readHistory(ctx context.Context, c cluster, object *unstructured.Unstructured) (history, error) {
	selector, err := selectorOf(object)
	if err != nil {
		return history{}, err
	}
	sets, err := list(ctx, c, object.GetNamespace(), selector)
	if err != nil {
		return history{}, err
	}
	var revisions []revision
	for i := range sets {
		if !metav1.IsControlledBy(&sets[i], object) {
			continue
		}
		rev, numbered, err := readRevision(c, &sets[i])
		if err != nil {
			return history{}, err
		}
		if numbered {
			revisions = append(revisions, rev)
		}
	}
	return newHistory(revisions, c.TemplateChanged(object)), nil
}

// readRevision reads one ReplicaSet. It is not numbered in the instant between its
// creation and the controller's next step.
func readRevision(c cluster, set *unstructured.Unstructured) (rev revision, numbered bool, err error) {
	annotations := set.GetAnnotations()
	text, ok := annotations[revisionAnnotation]
	if !ok {
		return revision{}, false, nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return revision{}, false, fmt.Errorf("read revision of ReplicaSet %q: %w", set.GetName(), err)
	}
	rev = revision{number: number, hash: set.GetLabels()[hashLabel], created: set.GetCreationTimestamp().UTC()}
	for former := range strings.SplitSeq(annotations[formerAnnotation], ",") {
		// The controller notes the present number too, whenever another annotation changes.
		if n, err := strconv.ParseInt(former, 10, 64); err == nil && n < number && !slices.Contains(rev.former, n) {
			rev.former = append(rev.former, n)
		}
	}
	slices.Sort(rev.former)
	rev.wanted, _, _ = unstructured.NestedInt64(set.Object, "spec", "replicas")
	rev.there, _, _ = unstructured.NestedInt64(set.Object, "status", "replicas")
	rev.available, _, _ = unstructured.NestedInt64(set.Object, "status", "availableReplicas")
	if rev.set, err = withoutAdditions(set); err != nil {
		return revision{}, false, err
	}
	if rev.digest, rev.label, err = c.Template(rev.set); err != nil {
		return revision{}, false, fmt.Errorf("read ReplicaSet %q: %w", set.GetName(), err)
	}
	return rev, true, nil
}

// newHistory orders the revisions and works out when each was put in place. The first
// time is when its ReplicaSet was created. For the latest revision, when it is an old
// template that came back, it is changed, the last change of the template. For any
// other return only a bound is known.
func newHistory(revisions []revision, changed time.Time) history {
	slices.SortFunc(revisions, func(a, b revision) int { return cmp.Compare(a.number, b.number) })
	h := history{revisions: revisions}
	for _, rev := range revisions {
		for i, number := range append(slices.Clone(rev.former), rev.number) {
			act := activation{number: number, revision: rev, bound: i > 0}
			if !act.bound {
				act.at = rev.created
			}
			h.activations = append(h.activations, act)
		}
	}
	slices.SortFunc(h.activations, func(a, b activation) int { return cmp.Compare(a.number, b.number) })
	for i := range h.activations {
		act := &h.activations[i]
		if act.bound && i == len(h.activations)-1 && !changed.IsZero() {
			act.at, act.bound = changed, false
		}
		if i > 0 && act.at.Before(h.activations[i-1].at) {
			act.at = h.activations[i-1].at
		}
	}
	return h
}

// withoutAdditions is a copy of a ReplicaSet whose template is as it was in the
// specification, but for the defaults.
func withoutAdditions(set *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	bare := set.DeepCopy()
	unstructured.RemoveNestedField(bare.Object, "spec", "template", "metadata", "labels", hashLabel)
	var added struct{ Labels, Annotations map[string]string }
	if text, ok := set.GetAnnotations()[metadataAnnotation]; ok {
		if err := json.Unmarshal([]byte(text), &added); err != nil {
			return nil, fmt.Errorf("read what was added to the template of ReplicaSet %q: it is no JSON", set.GetName())
		}
	}
	for part, names := range map[string]map[string]string{"labels": added.Labels, "annotations": added.Annotations} {
		for name := range names {
			unstructured.RemoveNestedField(bare.Object, "spec", "template", "metadata", part, name)
		}
		if left, found, _ := unstructured.NestedMap(bare.Object, "spec", "template", "metadata", part); found && len(left) == 0 {
			unstructured.RemoveNestedField(bare.Object, "spec", "template", "metadata", part)
		}
	}
	if err := withoutAntiAffinity(bare); err != nil {
		return nil, fmt.Errorf("read affinity of ReplicaSet %q: %w", set.GetName(), err)
	}
	return bare, nil
}

// withoutAntiAffinity takes out the rule that keeps the pods of two revisions apart,
// and what is empty then.
// Source: https://argo-rollouts.readthedocs.io/en/stable/features/anti-affinity/anti-affinity/
func withoutAntiAffinity(set *unstructured.Unstructured) error {
	at := []string{"spec", "template", "spec", "affinity", "podAntiAffinity"}
	taken := false
	for _, list := range []string{"requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"} {
		path := append(slices.Clone(at), list)
		rules, _, err := unstructured.NestedSlice(set.Object, path...)
		if err != nil {
			return err
		}
		kept := slices.DeleteFunc(slices.Clone(rules), keepsRevisionsApart)
		switch {
		case len(kept) == len(rules):
			continue
		case len(kept) == 0:
			unstructured.RemoveNestedField(set.Object, path...)
		default:
			if err := unstructured.SetNestedSlice(set.Object, kept, path...); err != nil {
				return err
			}
		}
		taken = true
	}
	for path := at; taken && len(path) > 3; path = path[:len(path)-1] {
		if left, found, _ := unstructured.NestedMap(set.Object, path...); found && len(left) == 0 {
			unstructured.RemoveNestedField(set.Object, path...)
		}
	}
	return nil
}

// keepsRevisionsApart reports whether a rule selects by the revisions of a Rollout,
// which nobody but the controller can.
func keepsRevisionsApart(rule any) bool {
	fields, _ := rule.(map[string]any)
	term := fields
	if weighted, ok := fields["podAffinityTerm"].(map[string]any); ok {
		term = weighted
	}
	expressions, _, _ := unstructured.NestedSlice(term, "labelSelector", "matchExpressions")
	return slices.ContainsFunc(expressions, func(expression any) bool {
		fields, _ := expression.(map[string]any)
		return fields["key"] == hashLabel
	})
}

// selectorOf is the label selector of a Rollout, as list requests want it.
func selectorOf(object *unstructured.Unstructured) (string, error) {
	fields, found, err := unstructured.NestedMap(object.Object, "spec", "selector")
	if err != nil || !found {
		return "", fmt.Errorf("read selector of Rollout %q: it has none", object.GetName())
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &selector); err != nil {
		return "", fmt.Errorf("read selector of Rollout %q: %w", object.GetName(), err)
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", fmt.Errorf("read selector of Rollout %q: %w", object.GetName(), err)
	}
	return parsed.String(), nil
}
