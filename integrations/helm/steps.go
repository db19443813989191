package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/backout/backout/integrations/driver"
)

// maxAttempts is how often a step is tried while somebody else writes the same object.
// Controllers write the status of an object a few times a second at most.
const maxAttempts = 20

// errForeign means that an object is there and belongs to somebody else.
var errForeign = errors.New("belongs to somebody else")

// verb is what is done to one object.
type verb int

// What can be done to an object. Nothing is done to one that is as it should be.
const (
	nothing verb = iota + 1
	create
	patch
	remove
)

// step takes one object from what it is to what it should be.
type step struct {
	endpoint
	verb verb
	// former is the object as the revision to leave has it; nil when it has none.
	former *unstructured.Unstructured
	// wanted says that the revision to reach has the object.
	wanted bool
	// live is what was read; nil when there is none.
	live *unstructured.Unstructured
	// body is the patch, without a precondition.
	body      []byte
	patchType types.PatchType
}

// steps reads all objects of the present revision and of the wanted one, and works
// out what to do to each: first what the wanted one has, then what only the present
// one has.
func (c *clients) steps(ctx context.Context, ref reference, p present, wanted revision) ([]step, error) {
	all, err := objects(wanted.Release)
	if err != nil {
		return nil, err
	}
	points, err := c.mapped(ctx, all)
	if err != nil {
		return nil, err
	}
	formers, err := c.formers(ctx, p)
	if err != nil {
		return nil, err
	}
	var steps []step
	is := map[identity]bool{}
	for _, e := range points {
		is[e.identity()] = true
		s := step{endpoint: e, wanted: true}
		for _, former := range formers {
			if former.identity() == e.identity() {
				s.former = former.content
				break
			}
		}
		if s, err = c.worked(ctx, ref, s); err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	for _, e := range formers {
		if is[e.identity()] {
			continue
		}
		is[e.identity()] = true
		s, err := c.worked(ctx, ref, step{endpoint: e, former: e.content})
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// formers are the objects that the present revision has, and, where that failed, those
// of the revisions before it back to the last that did not: nobody knows how many of
// them a failed one has taken away.
func (c *clients) formers(ctx context.Context, p present) ([]endpoint, error) {
	var points []endpoint
	for _, rev := range slices.Backward(p.past) {
		if rev.Version > p.Version {
			continue
		}
		all, err := objects(rev.Release)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			// Another version of its API will do, and what is served in none is not there.
			mapped, err := c.mappedAnyhow(ctx, o)
			if err != nil {
				return nil, err
			}
			points = append(points, mapped...)
		}
		if rev.Info.Status != release.StatusFailed && !rev.pending() {
			break
		}
	}
	return points, nil
}

func (c *clients) mappedAnyhow(ctx context.Context, o object) ([]endpoint, error) {
	mapped, err := c.mapped(ctx, []object{o})
	if errors.Is(err, errUnserved) {
		o.kind.Version = ""
		if mapped, err = c.mapped(ctx, []object{o}); errors.Is(err, errUnserved) {
			return nil, nil
		}
	}
	return mapped, err
}

// read reads an object.
func (c *clients) read(ctx context.Context, e endpoint) (*unstructured.Unstructured, error) {
	live, err := e.client.Get(ctx, e.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", e, c.Classify(err))
	}
	return live, nil
}

// worked reads the object and works out what to do to it.
func (c *clients) worked(ctx context.Context, ref reference, s step) (step, error) {
	live, err := c.read(ctx, s.endpoint)
	if errors.Is(err, driver.ErrNotFound) {
		live = nil
	} else if err != nil {
		return step{}, err
	}
	s.live, s.body = live, nil
	switch {
	case !s.wanted && (live == nil || keeps(ref, live)):
		s.verb = nothing
		return s, nil
	case !s.wanted:
		s.verb = remove
		return s, nil
	case live == nil:
		s.verb = create
		return s, nil
	case s.former == nil && !belongs(ref, live):
		return step{}, fmt.Errorf("read %s: %w: %w", s.endpoint, driver.ErrInvalid, errForeign)
	}
	s.verb = patch
	s.body, s.patchType, err = merged(s.former, s.marked(ref, s.content), live)
	if err != nil {
		return step{}, fmt.Errorf("compare %s: %w: its revisions can not be merged", s.endpoint, driver.ErrInvalid)
	}
	if string(s.body) == "{}" {
		s.verb = nothing
	}
	return s, nil
}

// belongs reports whether an object says that it is of the release.
func belongs(ref reference, live *unstructured.Unstructured) bool {
	said := live.GetAnnotations()
	return said[nameAnnotation] == ref.name && said[namespaceAnnotation] == ref.namespace
}

// keeps reports whether an object outlives the release: its chart says so, or it has
// become another's.
func keeps(ref reference, live *unstructured.Unstructured) bool {
	said := live.GetAnnotations()
	return said[policyAnnotation] == policyKeep || said[nameAnnotation] != "" && !belongs(ref, live)
}

// marked is the object of a manifest with what Helm writes on every object of a
// release.
func (e endpoint) marked(ref reference, content *unstructured.Unstructured) *unstructured.Unstructured {
	wanted := content.DeepCopy()
	labels := wanted.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[managedByLabel] = managedByHelm
	wanted.SetLabels(labels)
	annotations := wanted.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[nameAnnotation], annotations[namespaceAnnotation] = ref.name, ref.namespace
	wanted.SetAnnotations(annotations)
	wanted.SetNamespace(e.namespace)
	return wanted
}

// merged is the patch that makes an object what is wanted: it takes out what only the
// former revision has, and leaves what neither says. It merges lists of the kinds that
// Kubernetes itself has by their keys, as Helm and "kubectl apply" do.
func merged(former, wanted, live *unstructured.Unstructured) ([]byte, types.PatchType, error) {
	var texts [3][]byte
	for i, content := range []*unstructured.Unstructured{former, wanted, live} {
		if content == nil {
			texts[i] = []byte("{}")
			continue
		}
		text, err := json.Marshal(content.Object)
		if err != nil {
			return nil, "", err
		}
		texts[i] = text
	}
	typed, err := scheme.Scheme.New(wanted.GroupVersionKind())
	if err != nil {
		body, err := jsonmergepatch.CreateThreeWayJSONMergePatch(texts[0], texts[1], texts[2])
		return body, types.MergePatchType, err
	}
	keys, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return nil, "", err
	}
	body, err := strategicpatch.CreateThreeWayMergePatch(texts[0], texts[1], texts[2], keys, true)
	return body, types.StrategicMergePatchType, err
}

// carryOut does a step. Whenever somebody else wrote the object since it was read, it
// is read again, and written only if there is no later revision than that of this
// rollback: one that comes after that look writes the object later.
func (c *clients) carryOut(ctx context.Context, ref reference, mine revision, s step) error {
	for range maxAttempts {
		err := s.send(ctx, ref, false)
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return c.rejected(s, err)
		}
		if s, err = c.worked(ctx, ref, s); err != nil {
			return err
		}
		if err := c.leads(ctx, ref, mine); err != nil {
			return err
		}
	}
	return fmt.Errorf("write %s: others write it all the time", s.endpoint)
}

// rejected is why the API server does not carry a step out.
func (c *clients) rejected(s step, err error) error {
	if apierrors.IsInvalid(err) {
		return fmt.Errorf("write %s: %w: %w", s.endpoint, driver.ErrInvalid, c.Classify(err))
	}
	return fmt.Errorf("write %s: %w", s.endpoint, c.Classify(err))
}

// refused makes final what a later try finds as well.
func refused(err error) error {
	if errors.Is(err, errUnserved) {
		return fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return err
}

// send asks the API server for a step, on the object that was read. On trial it does
// all but keep the result, of whatever the object is by then.
func (s step) send(ctx context.Context, ref reference, trial bool) error {
	var dryRun []string
	if trial {
		dryRun = []string{metav1.DryRunAll}
	}
	var err error
	switch s.verb {
	case nothing:
	case create:
		_, err = s.client.Create(ctx, s.marked(ref, s.content), metav1.CreateOptions{FieldManager: fieldManager, DryRun: dryRun})
	case patch:
		body := s.body
		if !trial {
			if body, err = only(body, s.live.GetResourceVersion()); err != nil {
				return err
			}
		}
		_, err = s.client.Patch(ctx, s.name, s.patchType, body, metav1.PatchOptions{FieldManager: fieldManager, DryRun: dryRun})
	case remove:
		background := metav1.DeletePropagationBackground
		uid, version := s.live.GetUID(), s.live.GetResourceVersion()
		err = s.client.Delete(ctx, s.name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}, PropagationPolicy: &background, DryRun: dryRun,
		})
	default:
		err = fmt.Errorf("write %s: %w: unknown verb %d", s.endpoint, driver.ErrInvalid, s.verb)
	}
	return err
}

// only makes a patch hold for one version of the object alone.
func only(body []byte, version string) ([]byte, error) {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // So that no number changes on its way.
	if err := decoder.Decode(&fields); err != nil {
		return nil, fmt.Errorf("read patch: %w", err)
	}
	if err := unstructured.SetNestedField(fields, version, "metadata", "resourceVersion"); err != nil {
		return nil, fmt.Errorf("read patch: %w", err)
	}
	return json.Marshal(fields)
}

// String is the verb for people.
func (v verb) String() string {
	switch v {
	case nothing:
		return "leave"
	case create:
		return "create"
	case patch:
		return "patch"
	case remove:
		return "delete"
	default:
		return "do something unknown to"
	}
}
