package argo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the kind, and of the change source beside it.
const kind = "argo.rollout"

// appliedAnnotation marks the undo that Backout did last to a Rollout: the idempotency
// key, a slash and the digest that was reached. An abort leaves no mark: it is a write
// of the status, and the API server lets that change nothing else.
const appliedAnnotation = "backout.dev/applied"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "progressive delivery",
		TargetForm: targetForm,
		Forms:      []string{"BlueGreen", "Canary", "Undo"},
		Reversible: true,
		OneWay:     "a Rollout whose update was aborted, unless it goes on with that update",
		WontRevert: []string{
			"after an abort, the specification of the Rollout, which keeps the new revision",
			"the source that the Rollout is deployed from, such as Git",
			"contents of ConfigMaps and Secrets",
			"the strategy, the replica count and autoscaling limits",
			"Services, routes and other objects that were deployed together",
			"databases and their migrations",
			"what the version wrote or sent while it ran",
		},
		Permission: "in the Rollout's namespace: get and patch rollouts.argoproj.io, patch rollouts.argoproj.io/status to abort, list replicasets.apps",
	}, func(c cluster) driver.Inverse { return inverse{c} })
}

// inverse takes a Rollout back.
type inverse struct{ cluster cluster }

// Observe reads what is in force and how far that has come.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	r, seen, err := i.look(ctx, ref)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	settled, detail := r.progress(resumes(r, action))
	if _, err := i.compare(r, seen, action); err != nil {
		detail = i.drifted(r, action)
	}
	return driver.Observation{State: seen, Settled: settled, Detail: detail}, nil
}

// look reads a Rollout and the state that it is in.
func (i inverse) look(ctx context.Context, ref reference) (rollout, incident.State, error) {
	r, err := read(ctx, i.cluster, ref)
	if err != nil {
		return rollout{}, incident.State{}, err
	}
	if r.Spec.WorkloadRef != nil {
		return rollout{}, incident.State{}, fmt.Errorf("%w: Rollout %q takes its template from another workload", driver.ErrInvalid, ref.name)
	}
	seen, err := r.state()
	return r, seen, err
}

// resumes reports whether an action goes from an abort back to the update that was
// aborted. An undo leaves its mark, so that it is not taken for one.
func resumes(r rollout, action incident.Action) bool {
	return strings.HasSuffix(action.From.Revision, abortedSuffix) &&
		!strings.HasSuffix(r.object.GetAnnotations()[appliedAnnotation], "/"+action.To.Digest)
}

// Apply aborts an update, retries one that was aborted, or writes a template of the
// history into the specification, whichever leads from action.From to action.To.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, ref, action, key)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, ref reference, action incident.Action, key string) (driver.Receipt, error) {
	r, seen, err := i.look(ctx, ref)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := i.compare(r, seen, action); done || err != nil {
		return driver.Receipt{Detail: "it was there already"}, err
	}
	if r.Spec.Paused {
		return driver.Receipt{}, fmt.Errorf("%w: the Rollout is paused by its specification, so that nothing would be rolled out", driver.ErrInvalid)
	}
	resource, operations, detail, err := r.way(seen, action, key)
	if err != nil {
		return driver.Receipt{}, err
	}
	if err := patch(ctx, i.cluster, resource, ref, operations); err != nil {
		return driver.Receipt{}, i.explain(ctx, r, action, err)
	}
	return driver.Receipt{Mutated: true, Detail: detail}, nil
}

// way is the write that leads from what is observed to the state wanted.
func (r rollout) way(seen incident.State, action incident.Action, key string) (resource schema.GroupVersionResource, operations []operation, detail string, err error) {
	wanted := action.To.Digest
	operations = r.tests()
	switch {
	case strings.HasSuffix(action.To.Revision, abortedSuffix):
		if !r.inFlight() || byAbort(r.stable).Digest != wanted {
			return resource, nil, "", fmt.Errorf("%w: the update is promoted meanwhile, so that it can no longer be aborted", driver.ErrInvalid)
		}
		operations = append(operations, operation{Op: "add", Path: "/status/abort", Value: true})
		return rolloutStatus, operations, "the update to " + r.present.name() + " aborted", nil
	case r.aborted() && r.present.digest == wanted:
		operations = append(operations, operation{Op: "replace", Path: "/status/abort", Value: false})
		return rolloutStatus, operations, "the update to " + r.present.name() + " retried", nil
	}
	back, ok := r.history.byDigest(wanted)
	if !ok {
		return resource, nil, "", fmt.Errorf("find revision %s (%s) in the history: %w", action.To.Revision, incident.ShortDigest(wanted), driver.ErrNotFound)
	}
	applied := key + "/" + wanted
	if r.object.GetAnnotations()[appliedAnnotation] == applied {
		return resource, nil, "", &driver.DriftError{Action: action, Observed: seen, Difference: "somebody changed it back after this very action was applied"}
	}
	template, _, _ := unstructured.NestedFieldNoCopy(back.set.Object, "spec", "template") // It was read before.
	operations = append(operations, operation{Op: "replace", Path: "/spec/template", Value: template})
	operations = append(operations, annotate(r.object, map[string]string{appliedAnnotation: applied})...)
	return rollouts, operations, "pod template of " + back.name() + " written", nil
}

// tests hold for as long as the Rollout is in the state that was observed: its
// template, which update of what it is, and whether that is aborted.
func (r rollout) tests() []operation {
	var all []operation
	for _, path := range [][]string{{"spec", "template"}, {"status", "currentPodHash"}, {"status", "stableRS"}, {"status", "abort"}} {
		value, _, _ := unstructured.NestedFieldNoCopy(r.object.Object, path...) // What is absent is tested for as null.
		all = append(all, operation{Op: "test", Path: "/" + strings.Join(path, "/"), Value: value})
	}
	return all
}

// annotate returns the operations that set annotations, without touching those that
// are there.
func annotate(object *unstructured.Unstructured, wanted map[string]string) []operation {
	if object.GetAnnotations() == nil {
		return []operation{
			{Op: "test", Path: "/metadata/annotations", Value: nil},
			{Op: "add", Path: "/metadata/annotations", Value: wanted},
		}
	}
	var operations []operation
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		// Source: https://www.rfc-editor.org/rfc/rfc6901#section-3
		pointer := strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		operations = append(operations, operation{Op: "add", Path: "/metadata/annotations/" + pointer, Value: wanted[name]})
	}
	return operations
}

// explain finds out why a patch was refused: somebody else changed the Rollout, which
// drift or success tell; or the controller moved it on, which passes; or the API
// server, mostly by an admission policy, does not accept it, which does not.
func (i inverse) explain(ctx context.Context, before rollout, action incident.Action, refusal error) error {
	refused := i.cluster.Classify(refusal)
	if !apierrors.IsConflict(refusal) && !apierrors.IsInvalid(refusal) {
		return fmt.Errorf("patch Rollout %q: %w", before.name, refused)
	}
	after, seen, err := i.look(ctx, before.reference)
	if err != nil {
		return err
	}
	if done, err := i.compare(after, seen, action); done || err != nil {
		return err
	}
	if apierrors.IsInvalid(refusal) && after.object.GetResourceVersion() == before.object.GetResourceVersion() {
		return fmt.Errorf("patch Rollout %q: %w: %w", before.name, driver.ErrInvalid, refused)
	}
	return fmt.Errorf("patch Rollout %q: it was busy: %w", before.name, refused)
}

// compare is done when the Rollout is at "to", and a *driver.DriftError when it is at
// neither.
func (i inverse) compare(r rollout, seen incident.State, action incident.Action) (done bool, err error) {
	switch seen.Digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: seen, Difference: i.drifted(r, action)}
}

// drifted says in one line what is there in place of "from".
func (i inverse) drifted(r rollout, action incident.Action) string {
	expected, found := r.history.find(func(rev revision) bool {
		return rev.digest == action.From.Digest || byAbort(rev).Digest == action.From.Digest
	})
	switch {
	case !found:
		return "another template was deployed, and the expected one has left the history"
	case r.aborted():
		return "the update to " + r.present.name() + " was aborted"
	case expected.digest == r.present.digest:
		return "the update is no longer aborted"
	}
	return i.cluster.TemplateDifference(expected.set, r.present.set)
}
