package kubernetes

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
	"k8s.io/apimachinery/pkg/types"

	"github.com/backout/backout/workflows/incident"
)

// The annotations by which the Deployment controller numbers ReplicaSets. A
// template that comes back gets a new number; the old ones stay in the list.
// Source: https://kubernetes.io/docs/reference/labels-annotations-taints/#deployment-kubernetes-io-revision
const (
	revisionAnnotation = "deployment.kubernetes.io/revision"
	formerAnnotation   = "deployment.kubernetes.io/revision-history"
	causeAnnotation    = "kubernetes.io/change-cause"
)

// revision is one template in a workload's history.
type revision struct {
	// number is its latest revision, former are those it had before, ascending.
	number int64
	former []int64
	// holder and uid are of the object that keeps the template.
	holder   string
	uid      types.UID
	template template
	digest   string
	created  time.Time // When the template was deployed first, to the second.
	// numbered is when it got its number, to the second; zero where Kubernetes keeps
	// no record of that.
	numbered    time.Time
	annotations map[string]string
	// wanted and ready count the pods that run this template now.
	wanted, ready int64
}

func (r revision) state() incident.State {
	return incident.State{Revision: strconv.FormatInt(r.number, 10), Digest: r.digest, Label: r.template.label()}
}

// name is what people call the revision.
func (r revision) name() string { return named(r.number, r.template.label()) }

func named(number int64, label string) string {
	if label == "" {
		return fmt.Sprintf("revision %d", number)
	}
	return fmt.Sprintf("revision %d (%s)", number, label)
}

// history is the templates that a cluster keeps of a workload, and when each was
// put in place.
type history struct {
	revisions   []revision // By number, ascending.
	activations []activation
}

// activation is one moment at which a template was put in place.
type activation struct {
	number   int64
	revision revision
	// at is to the second.
	at time.Time
	// bound says that at is only the earliest possible moment: Kubernetes does not
	// record when an old template came back, once it is no longer the present one.
	bound bool
	// gap says that another template, which has left the history, was in place
	// between this activation and the next.
	gap bool
}

func (h history) byDigest(digest string) (revision, bool) {
	// The latest of equals: two objects can hold one template when one was made by
	// hand.
	for _, rev := range slices.Backward(h.revisions) {
		if rev.digest == digest {
			return rev, true
		}
	}
	return revision{}, false
}

func (h history) byNumber(number int64) (revision, bool) {
	for _, rev := range h.revisions {
		if rev.number == number || slices.Contains(rev.former, number) {
			return rev, true
		}
	}
	return revision{}, false
}

// before finds the template that was in place just before a moment. It is not
// certain when the history does not say on which side of the moment a template
// came back, or one that is gone came.
func (h history) before(moment time.Time) (found activation, certain, ok bool) {
	for i, act := range h.activations {
		if !act.at.Before(moment) {
			break
		}
		found = act
		next := i + 1
		untilNext := next < len(h.activations) && h.activations[next].at.Equal(moment)
		ok = !act.gap || !untilNext
		certain = !act.gap && (!act.bound || untilNext)
	}
	return found, certain, ok
}

// replicaSetHistory reads the ReplicaSets that a Deployment owns.
func replicaSetHistory(ctx context.Context, c *cluster, object *unstructured.Unstructured) (history, error) {
	selector, err := selectorOf(object)
	if err != nil {
		return history{}, err
	}
	sets, err := c.list(ctx, replicaSets, object.GetNamespace(), selector, 0)
	if err != nil {
		return history{}, err
	}
	var revisions []revision
	for i := range sets {
		set := &sets[i]
		if !metav1.IsControlledBy(set, object) {
			continue
		}
		rev, numbered, err := replicaSetRevision(set)
		if err != nil {
			return history{}, err
		}
		if numbered {
			revisions = append(revisions, rev)
		}
	}
	return newHistory(revisions, templateChanged(object)), nil
}

// replicaSetRevision reads one ReplicaSet. It is not numbered in the instant
// between its creation and the controller's next step.
func replicaSetRevision(set *unstructured.Unstructured) (rev revision, numbered bool, err error) {
	annotations := set.GetAnnotations()
	text, ok := annotations[revisionAnnotation]
	if !ok {
		return revision{}, false, nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return revision{}, false, fmt.Errorf("read revision of ReplicaSet %q: %w", set.GetName(), err)
	}
	rev = revision{number: number, holder: set.GetName(), uid: set.GetUID(), created: set.GetCreationTimestamp().UTC(), annotations: annotations}
	for former := range strings.SplitSeq(annotations[formerAnnotation], ",") {
		if n, err := strconv.ParseInt(former, 10, 64); err == nil { // An empty list, or one cut by its length limit.
			rev.former = append(rev.former, n)
		}
	}
	slices.Sort(rev.former)
	if rev.template, err = templateOf(set); err != nil {
		return revision{}, false, err
	}
	if rev.digest, err = rev.template.digest(); err != nil {
		return revision{}, false, err
	}
	rev.wanted, _, _ = unstructured.NestedInt64(set.Object, "spec", "replicas")
	rev.ready, _, _ = unstructured.NestedInt64(set.Object, "status", "readyReplicas")
	return rev, true, nil
}

// newHistory orders the revisions and works out when each was put in place. The
// first time is when its holder was created. For the latest revision, when it is
// an old template that came back, it is changed, the last change of the
// workload's template. For any other return only a bound is known.
func newHistory(revisions []revision, changed time.Time) history {
	slices.SortFunc(revisions, func(a, b revision) int { return cmp.Compare(a.number, b.number) })
	h := history{revisions: revisions}
	for _, rev := range revisions {
		first := true
		for _, number := range append(slices.Clone(rev.former), rev.number) {
			act := activation{number: number, revision: rev, bound: !first}
			if first {
				act.at = rev.created
			}
			h.activations = append(h.activations, act)
			first = false
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

// templateChanged is when the present template was written, as far as the API
// server's record of field owners says. It is zero when there is no record.
func templateChanged(object *unstructured.Unstructured) time.Time {
	return writtenAt(object, func(fields map[string]json.RawMessage) bool {
		var spec map[string]json.RawMessage
		if json.Unmarshal(fields["f:spec"], &spec) != nil {
			return false
		}
		_, owns := spec["f:template"]
		return owns
	})
}

// writtenAt is the last time at which a writer of certain fields wrote, to the
// second: the API server keeps one time for each writer, which may have written
// other fields then. It is zero when there is no record.
// Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
func writtenAt(object *unstructured.Unstructured, owns func(fields map[string]json.RawMessage) bool) time.Time {
	var latest time.Time
	for _, entry := range object.GetManagedFields() {
		if entry.Subresource != "" || entry.Time == nil || entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) == nil && owns(fields) && entry.Time.After(latest) {
			latest = entry.Time.UTC()
		}
	}
	return latest
}
