package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// controllerRevisionHistory reads the ControllerRevisions that a StatefulSet or a
// DaemonSet owns.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/
func controllerRevisionHistory(ctx context.Context, c *cluster, object *unstructured.Unstructured) (history, error) {
	selector, err := selectorOf(object)
	if err != nil {
		return history{}, err
	}
	found, err := c.list(ctx, controllerRevisions, object.GetNamespace(), selector, 0)
	if err != nil {
		return history{}, err
	}
	var revisions []revision
	for i := range found {
		if !metav1.IsControlledBy(&found[i], object) {
			continue
		}
		rev, err := controllerRevision(&found[i])
		if err != nil {
			return history{}, err
		}
		revisions = append(revisions, rev)
	}
	return newNumberedHistory(revisions), nil
}

// controllerRevision reads one ControllerRevision: a patch that replaces the pod
// template.
func controllerRevision(object *unstructured.Unstructured) (revision, error) {
	number, found, err := unstructured.NestedInt64(object.Object, "revision")
	if err != nil || !found {
		return revision{}, fmt.Errorf("read ControllerRevision %q: it has no number", object.GetName())
	}
	patch, found, err := unstructured.NestedMap(object.Object, "data") // A deep copy.
	if err != nil || !found {
		return revision{}, fmt.Errorf("read ControllerRevision %q: it holds no object", object.GetName())
	}
	kept, err := templateOf(&unstructured.Unstructured{Object: patch})
	if err != nil {
		return revision{}, fmt.Errorf("read ControllerRevision %q: %w", object.GetName(), err)
	}
	// The directive of the patch is no part of the template.
	delete(kept, "$patch")
	digest, err := kept.digest()
	if err != nil {
		return revision{}, err
	}
	return revision{
		number: number, holder: object.GetName(), uid: object.GetUID(), template: kept, digest: digest,
		created: object.GetCreationTimestamp().UTC(), annotations: object.GetAnnotations(),
		numbered: writtenAt(object, func(fields map[string]json.RawMessage) bool {
			_, owns := fields["f:revision"]
			return owns
		}),
	}, nil
}

// newNumberedHistory orders revisions whose only record of having come back is a new
// number in place of the old one. When that was given is recorded, and when the
// template came first; the number that it had then is found again when it is the
// only one that can be missing at that place. Where it is not, there is a gap.
func newNumberedHistory(revisions []revision) history {
	slices.SortFunc(revisions, func(a, b revision) int { return cmp.Compare(a.number, b.number) })
	var firsts []*revision // Of those that came back, by the time they came first.
	for i := range revisions {
		if rev := &revisions[i]; rev.numbered.After(rev.created) {
			firsts = append(firsts, rev)
		}
	}
	slices.SortStableFunc(firsts, func(a, b *revision) int { return a.created.Compare(b.created) })

	type numbered struct {
		number int64
		rev    *revision
		at     time.Time
		gap    bool
	}
	var all []numbered
	last, since := int64(0), time.Time{}
	for i := range revisions {
		rev := &revisions[i]
		at := rev.created
		if rev.numbered.After(at) {
			at = rev.numbered
		}
		missing := int(rev.number - last - 1)
		var fit []*revision
		for len(firsts) > 0 && len(fit) < missing && !firsts[0].created.After(at) {
			if !firsts[0].created.Before(since) {
				fit = append(fit, firsts[0])
			}
			firsts = firsts[1:]
		}
		switch {
		case missing > 0 && len(fit) == missing:
			for k, first := range fit {
				number := last + 1 + int64(k)
				first.former = append(first.former, number)
				all = append(all, numbered{number: number, rev: first, at: first.created})
			}
		case missing > 0 && len(all) > 0:
			all[len(all)-1].gap = true
		}
		all = append(all, numbered{number: rev.number, rev: rev, at: at})
		last, since = rev.number, at
	}
	h := history{revisions: revisions}
	for i, n := range all {
		if i > 0 && n.at.Before(h.activations[i-1].at) {
			n.at = h.activations[i-1].at
		}
		h.activations = append(h.activations, activation{number: n.number, revision: *n.rev, at: n.at, gap: n.gap})
	}
	return h
}
