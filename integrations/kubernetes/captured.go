package kubernetes

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// How a captured state is kept: in a ControllerRevision in the namespace of the
// object, whose data the API server never lets anybody change. Whoever releases can
// write one too; only the label, the number and the data are needed.
//
//	apiVersion: apps/v1
//	kind: ControllerRevision
//	metadata: {generateName: backout-, labels: {backout.dev/object: <objectHash>}}
//	revision: 7
//	data: {object: <path of the target>, version: v41, content: {data: {...}}}
//
// Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/controller-revision-v1/
const (
	// objectLabel selects the captured states of an object, by objectHash of its path.
	objectLabel = "backout.dev/object"
	// placedAnnotation lists when a captured state was put in place, as JSON. Without
	// it the state was put in place when it was captured.
	placedAnnotation = "backout.dev/placed"
	// hashDigits is the length of objectHash: hexadecimal digits that leave room in
	// a label, which has at most 63 characters.
	hashDigits = 40
	// maxPlaced is how many moments a captured state remembers; the oldest go first.
	maxPlaced = 50
)

// objectHash is the first 40 hexadecimal digits of the SHA-256 of a path, as
// "printf %s <path> | sha256sum" prints them.
func objectHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])[:hashDigits]
}

// placed is one moment at which a captured state was put in place.
type placed struct {
	Number int64 `json:"revision"`
	// At is to the second.
	At time.Time `json:"at"`
	// Bound says that At is only the earliest possible moment.
	Bound  bool   `json:"bound,omitempty"`
	Author string `json:"author,omitempty"`
}

// captured is one state that was captured of an object.
type captured struct {
	number  int64
	holder  string
	content content
	digest  string
	label   string
	placed  []placed // By number, ascending. At least one.
}

func (c captured) state() incident.State {
	return incident.State{Revision: strconv.FormatInt(c.number, 10), Digest: c.digest, Label: c.label}
}

// name is what people call the captured state.
func (c captured) name() string { return "captured " + named(c.number, c.label) }

// past is what was captured of an object.
type past struct{ states []captured } // By number, ascending.

func (p past) byDigest(digest string) (captured, bool) {
	for _, state := range slices.Backward(p.states) {
		if state.digest == digest {
			return state, true
		}
	}
	return captured{}, false
}

func (p past) byNumber(number int64) (captured, bool) {
	for _, state := range p.states {
		if state.number == number || slices.ContainsFunc(state.placed, func(at placed) bool { return at.Number == number }) {
			return state, true
		}
	}
	return captured{}, false
}

// latest is the greatest number in use.
func (p past) latest() int64 {
	if len(p.states) == 0 {
		return 0
	}
	return p.states[len(p.states)-1].number
}

// past reads what was captured of an object.
func (c *cluster) past(ctx context.Context, ref objectReference) (past, error) {
	found, err := c.list(ctx, controllerRevisions, ref.namespace, objectLabel+"="+objectHash(ref.String()), 0)
	if err != nil {
		return past{}, err
	}
	var p past
	for i := range found {
		state, ok, err := readCaptured(ref, &found[i])
		if err != nil {
			return past{}, err
		}
		if ok {
			p.states = append(p.states, state)
		}
	}
	slices.SortStableFunc(p.states, func(a, b captured) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.holder, b.holder))
	})
	return p, nil
}

// readCaptured reads one captured state. What is not of this very object is not ok.
func readCaptured(ref objectReference, kept *unstructured.Unstructured) (captured, bool, error) {
	of, _, _ := unstructured.NestedString(kept.Object, "data", "object")
	said, found, err := unstructured.NestedMap(kept.Object, "data", "content") // A deep copy.
	if of != ref.String() || !found || err != nil {
		return captured{}, false, nil //nolint:nilerr // Malformed is as good as absent: it can not be gone back to.
	}
	number, _, _ := unstructured.NestedInt64(kept.Object, "revision")
	version, _, _ := unstructured.NestedString(kept.Object, "data", "version")
	state := captured{number: number, holder: kept.GetName(), content: said, label: oneLine(version, maxLabel)}
	if state.digest, err = state.content.digest(); err != nil {
		return captured{}, false, err
	}
	// Anybody may have written the annotation; what is no list is none.
	if json.Unmarshal([]byte(kept.GetAnnotations()[placedAnnotation]), &state.placed) != nil || len(state.placed) == 0 {
		state.placed = []placed{{Number: number, At: kept.GetCreationTimestamp().UTC()}}
	}
	slices.SortStableFunc(state.placed, func(a, b placed) int { return cmp.Compare(a.Number, b.Number) })
	return state, true, nil
}

// moment is a state being put in place, as one line of the history of an object.
type moment struct {
	placed
	content content
	digest  string
	// state is zero, and kept false, for a present state that is not captured.
	state captured
	kept  bool
}

// name is what people call the state.
func (m moment) name() string {
	if !m.kept {
		return "a state that is not captured yet"
	}
	return "captured " + named(m.Number, m.state.label)
}

// moments is the history of the object in order: what was captured and, when the
// present state is not the latest of that, the present state.
func (o object) moments(author string) []moment {
	var all []moment
	for _, state := range o.past.states {
		for _, at := range state.placed {
			all = append(all, moment{placed: at, content: state.content, digest: state.digest, state: state, kept: true})
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Compare(a.Number, b.Number) })
	for i := range all {
		all[i].Author = oneLine(all[i].Author, maxLabel)
		if i > 0 && all[i].At.Before(all[i-1].At) {
			all[i].At = all[i-1].At
		}
	}
	if len(all) > 0 && all[len(all)-1].digest == o.digest {
		return all
	}
	now := moment{placed: placed{Number: o.past.latest() + 1, At: o.written(), Author: author}, content: o.content, digest: o.digest}
	now.state, now.kept = o.past.byDigest(o.digest)
	if len(all) > 0 && !now.At.After(all[len(all)-1].At) {
		// Who only removes fields leaves no time behind.
		now.At, now.Bound = all[len(all)-1].At.Add(time.Second), true
	}
	return append(all, now)
}

// before finds the state that was in place just before a moment. It is not certain
// when nobody knows on which side of the moment it was put in place.
func (o object) before(when time.Time) (found moment, certain, ok bool) {
	for _, m := range o.moments("") {
		if !m.At.Before(when) {
			break
		}
		found, certain, ok = m, !m.Bound, true
	}
	return found, certain, ok
}

// written is when the present content was written, as far as the API server's record
// of field owners says, and otherwise when the object was created.
func (o object) written() time.Time {
	at := writtenAt(o.live, func(fields map[string]json.RawMessage) bool {
		for key := range fields {
			if key != "f:metadata" && key != "f:status" {
				return true
			}
		}
		return false
	})
	if at.IsZero() {
		return o.live.GetCreationTimestamp().UTC()
	}
	return at
}

// capture keeps the present state of an object, if the latest captured one is
// another. It is safe to be called again, and by several at once. It reports whether
// it wrote anything.
func (c *cluster) capture(ctx context.Context, o object) (wrote bool, err error) {
	all := o.moments(o.live.GetAnnotations()[c.settings.AuthorAnnotation])
	now := all[len(all)-1]
	if slices.ContainsFunc(now.state.placed, func(at placed) bool { return at.Number == now.Number }) {
		return false, nil
	}
	if now.Bound { // Whoever looks now knows it better than the record.
		now.At, now.Bound = c.now().UTC().Truncate(time.Second), false
	}
	if now.kept {
		return c.renumber(ctx, o, now)
	}
	moments, err := json.Marshal([]placed{now.placed})
	if err != nil {
		return false, fmt.Errorf("encode captured state: %w", err)
	}
	path := o.String()
	kept := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": controllerRevisions.GroupVersion().String(), "kind": "ControllerRevision",
		"metadata": map[string]any{
			"name": "backout-" + objectHash(path+"\x00"+o.digest), "labels": map[string]any{objectLabel: objectHash(path)},
			"annotations": map[string]any{placedAnnotation: string(moments)},
		},
		"revision": now.Number,
		"data":     map[string]any{"object": path, "version": versionOf(o.live), "content": map[string]any(o.content)},
	}}
	_, err = c.client.Resource(controllerRevisions).Namespace(o.namespace).Create(ctx, kept, metav1.CreateOptions{FieldManager: "backout"})
	switch {
	case apierrors.IsAlreadyExists(err):
		return false, c.heldBySomebody(ctx, o)
	case err != nil:
		return false, fmt.Errorf("capture %s: %w", path, refusedCapture(classify(err)))
	}
	return true, nil
}

// heldBySomebody is nil when another writer captured the same state meanwhile.
func (c *cluster) heldBySomebody(ctx context.Context, o object) error {
	p, err := c.past(ctx, o.objectReference)
	if err != nil {
		return err
	}
	if _, ok := p.byDigest(o.digest); !ok {
		return fmt.Errorf("capture %s: %w: an object of another content has its name", o.objectReference, driver.ErrInvalid)
	}
	return nil
}

// renumber notes that a captured state came back. That is a note about the past and
// no part of a rollback: when another writer was faster, or the credential may only
// add states, it is left out.
func (c *cluster) renumber(ctx context.Context, o object, now moment) (wrote bool, err error) {
	moments := append(slices.Clone(now.state.placed), now.placed)
	moments = moments[max(0, len(moments)-maxPlaced):]
	text, err := json.Marshal(moments)
	if err != nil {
		return false, fmt.Errorf("encode captured state: %w", err)
	}
	held, err := c.get(ctx, controllerRevisions, o.namespace, now.state.holder)
	if errors.Is(err, driver.ErrDenied) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	operations := append([]operation{
		{Op: "test", Path: "/revision", Value: now.state.number},
		{Op: "replace", Path: "/revision", Value: now.Number},
	}, annotate(held, map[string]string{placedAnnotation: string(text)})...)
	_, err = c.patch(ctx, controllerRevisions, o.namespace, now.state.holder, operations, false)
	switch {
	case errors.Is(err, driver.ErrDenied), errors.Is(err, errInvalid), errors.Is(err, errConflict):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, nil
}

// refusedCapture makes a state that the API server does not accept final.
func refusedCapture(err error) error {
	if errors.Is(err, errInvalid) {
		return fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return err
}
