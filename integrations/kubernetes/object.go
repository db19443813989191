package kubernetes

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// objectInverse is the name of the kind, and of the change source beside it.
const objectInverse = "kubernetes.object"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       objectInverse,
		System:     systemType,
		Layer:      "Kubernetes object",
		TargetForm: objectForm,
		Forms:      []string{"ConfigMap", "HorizontalPodAutoscaler", "Service", "NetworkPolicy", "Role", "RoleBinding", "HTTPRoute"},
		Reversible: true,
		WontRevert: []string{
			"labels, annotations and status of the object",
			"other objects that were changed together with it",
			"what read the newer state: a pod that reads it only when it starts keeps it until it is replaced",
			"what was done while the newer state was in force",
		},
		Permission: "in the object's namespace: get and patch on the object's own resource; list and create controllerrevisions.apps, which hold the captured states; for a Role or RoleBinding also every right that the captured state grants, or the verbs escalate and bind",
	}, func(c *cluster) driver.Inverse { return objects{c} })
}

// objects takes an object back to a captured state of it.
type objects struct{ cluster *cluster }

// Observe reads the present content and whether its controller has taken it up.
func (o objects) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	ref, err := parseObject(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, err := o.cluster.object(ctx, ref)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	settled, detail := takenUp(present.live)
	if _, err := present.compare(action); err != nil {
		detail = present.drifted(action)
	}
	return driver.Observation{State: present.state(), Settled: settled, Detail: detail}, nil
}

// Apply replaces the content by the captured one whose digest is that of action.To.
// The API server compares the content with the one that was observed, and writes,
// as one step. The content to leave is captured first, so that there is a way back.
func (o objects) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	ref, err := parseObject(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := o.apply(ctx, ref, action, key)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (o objects) apply(ctx context.Context, ref objectReference, action incident.Action, key string) (driver.Receipt, error) {
	present, err := o.cluster.object(ctx, ref)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := present.compare(action); done || err != nil {
		return driver.Receipt{Detail: "the captured state was there already"}, err
	}
	applied := key + "/" + action.To.Digest
	if present.live.GetAnnotations()[appliedAnnotation] == applied {
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: present.state(), Difference: "somebody changed it back after this very action was applied"}
	}
	if present.live.GetDeletionTimestamp() != nil {
		return driver.Receipt{}, fmt.Errorf("%w: the object is being deleted", driver.ErrInvalid)
	}
	wanted, ok := present.past.byDigest(action.To.Digest)
	if !ok {
		return driver.Receipt{}, fmt.Errorf("find captured state %s (%s): %w", action.To.Revision, incident.ShortDigest(action.To.Digest), driver.ErrNotFound)
	}
	if _, kept := present.past.byDigest(present.digest); !kept {
		if _, err := o.cluster.capture(ctx, present); err != nil {
			return driver.Receipt{}, err
		}
	}
	operations := append(present.content.replaceBy(wanted.content), annotate(present.live, map[string]string{appliedAnnotation: applied})...)
	if _, err := o.cluster.patch(ctx, ref.resource, ref.namespace, ref.name, operations, false); err != nil {
		return driver.Receipt{}, o.explain(ctx, present, action, err)
	}
	return driver.Receipt{Mutated: true, Detail: wanted.name() + " written"}, nil
}

// explain finds out why a patch was refused, as that of a workload. It is nil when
// the object is at "to".
func (o objects) explain(ctx context.Context, before object, action incident.Action, refusal error) error {
	if !errors.Is(refusal, errConflict) && !errors.Is(refusal, errInvalid) {
		return refusal
	}
	after, err := o.cluster.object(ctx, before.objectReference)
	if err != nil {
		return err
	}
	if done, err := after.compare(action); done || err != nil {
		return err
	}
	return meant(refusal, before.live, after.live)
}

// object is what was read of one object at one moment.
type object struct {
	objectReference
	live    *unstructured.Unstructured
	content content
	digest  string
	past    past
}

func (c *cluster) object(ctx context.Context, ref objectReference) (object, error) {
	// The captured states are read after the object: its present state is then
	// among them, unless nobody has captured it yet.
	live, err := c.get(ctx, ref.resource, ref.namespace, ref.name)
	if err != nil {
		return object{}, err
	}
	present := object{objectReference: ref, live: live, content: contentOf(live)}
	if present.digest, err = present.content.digest(); err != nil {
		return object{}, err
	}
	if present.past, err = c.past(ctx, ref); err != nil {
		return object{}, err
	}
	return present, nil
}

// state is the object's present state.
func (o object) state() incident.State {
	if kept, ok := o.past.byDigest(o.digest); ok {
		return kept.state()
	}
	return incident.State{Revision: unrecorded, Digest: o.digest, Label: versionOf(o.live)}
}

// name is what people call the object's present state.
func (o object) name() string {
	if kept, ok := o.past.byDigest(o.digest); ok {
		return kept.name()
	}
	return "a state that is not captured yet"
}

// compare is done when the object is at "to", and a *driver.DriftError when it is at
// neither.
func (o object) compare(action incident.Action) (done bool, err error) {
	switch o.digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: o.state(), Difference: o.drifted(action)}
}

// drifted says in one line what is there in place of "from".
func (o object) drifted(action incident.Action) string {
	if from, ok := o.past.byDigest(action.From.Digest); ok {
		return o.difference(from.content, o.content)
	}
	if to, ok := o.past.byDigest(action.To.Digest); ok {
		return "the expected state was not captured; against the wanted one: " + o.difference(to.content, o.content)
	}
	return "another state was written, and neither the expected nor the wanted one is captured"
}

// takenUp reports whether the controller of the object has seen its present
// generation, where it says so: in the status of the object, or of each of the
// parents of a route. What has no generation, or no controller, is taken up as it is.
// Source: https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus
func takenUp(live *unstructured.Unstructured) (settled bool, detail string) {
	generation := live.GetGeneration()
	if seen, found, _ := unstructured.NestedInt64(live.Object, "status", "observedGeneration"); found && seen < generation {
		return false, "its controller has not taken it up yet"
	}
	parents, _, _ := unstructured.NestedSlice(live.Object, "status", "parents") // Absent and malformed both say nothing.
	for _, parent := range parents {
		fields, _ := parent.(map[string]any)
		conditions, _, _ := unstructured.NestedSlice(fields, "conditions")
		for _, condition := range conditions {
			fields, _ := condition.(map[string]any)
			if seen, found, _ := unstructured.NestedInt64(fields, "observedGeneration"); found && seen < generation {
				return false, "a gateway has not taken it up yet"
			}
		}
	}
	return true, "in place"
}
