package kubernetes

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// workloadInverse is the name of the kind, and of the change source beside it.
const workloadInverse = "kubernetes.workload"

// appliedAnnotation marks what Backout did last to a workload: the idempotency
// key, a slash and the digest that was reached.
const appliedAnnotation = "backout.dev/applied"

// maxCause is the longest change cause that is written, in characters, so that
// "kubectl rollout history" stays a table.
const maxCause = 200

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       workloadInverse,
		System:     systemType,
		Layer:      "Kubernetes workload",
		TargetForm: targetForm,
		Forms:      []string{"Deployment", "StatefulSet", "DaemonSet"},
		Reversible: true,
		WontRevert: []string{
			"contents of ConfigMaps and Secrets",
			"data in volumes, such as those that a StatefulSet keeps for its pods",
			"replica counts and autoscaling limits",
			"Services, routes and other objects that were deployed together",
			"databases and their migrations",
			"what the version wrote or sent while it ran",
		},
		Permission: "in the workload's namespace: get and patch deployments.apps, statefulsets.apps or daemonsets.apps; list replicasets.apps for Deployments and controllerrevisions.apps for the others; watch of the workload and list horizontalpodautoscalers.autoscaling are optional",
	}, func(c *cluster) driver.Inverse { return inverse{c} })
}

// inverse takes a workload back to a template of its own history.
type inverse struct{ cluster *cluster }

// Observe reads the present template and how far it is rolled out.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	w, err := i.cluster.workload(ctx, ref)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	detail := w.rollout.detail
	if _, err := compare(w, action); err != nil {
		detail = drifted(w, action)
	}
	return driver.Observation{State: w.state(), Settled: w.rollout.settled, Detail: detail}, nil
}

// Await watches the workload until its rollout is complete, for as long as one request
// may take.
func (i inverse) Await(ctx context.Context, action incident.Action) error {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return err
	}
	changes, err := i.cluster.client.Resource(ref.kind.resource).Namespace(ref.namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + ref.name})
	if err != nil {
		return fmt.Errorf("watch %s: %w", action.Target, classify(err))
	}
	defer changes.Stop()
	for change := range changes.ResultChan() {
		object, ok := change.Object.(*unstructured.Unstructured)
		if !ok {
			break // An error of the API server, or the object is gone.
		}
		if progress, err := ref.kind.rollout(object); err == nil && progress.settled {
			return nil
		}
	}
	return fmt.Errorf("watch %s: it ended before the rollout did", action.Target)
}

// Apply replaces the pod template by the one in the history whose digest is that
// of action.To. The API server compares the template with the one that was
// observed, and writes, as one step.
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
	w, err := i.cluster.workload(ctx, ref)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := compare(w, action); done || err != nil {
		return driver.Receipt{Detail: "the template was there already"}, err
	}
	applied := key + "/" + action.To.Digest
	if w.object.GetAnnotations()[appliedAnnotation] == applied {
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: w.state(), Difference: "somebody changed it back after this very action was applied"}
	}
	if w.rollout.held != "" {
		return driver.Receipt{}, fmt.Errorf("%w: the %s %s, so that nothing would be rolled out", driver.ErrInvalid, ref.kind.noun, w.rollout.held)
	}
	wanted, ok := w.history.byDigest(action.To.Digest)
	if !ok {
		return driver.Receipt{}, fmt.Errorf("find revision %s (%s) in the history: %w", action.To.Revision, incident.ShortDigest(action.To.Digest), driver.ErrNotFound)
	}
	observed := w.object.Object["spec"].(map[string]any)["template"] // templateOf has read it.
	operations := append([]operation{
		{Op: "test", Path: "/spec/template", Value: observed},
		{Op: "replace", Path: "/spec/template", Value: wanted.template},
	}, annotate(w.object, map[string]string{appliedAnnotation: applied, causeAnnotation: cause(action)})...)
	if _, err := i.cluster.patch(ctx, ref.kind.resource, ref.namespace, ref.name, operations, false); err != nil {
		return driver.Receipt{}, i.explain(ctx, w, action, err)
	}
	return driver.Receipt{Mutated: true, Detail: "pod template of " + wanted.name() + " written"}, nil
}

// explain finds out why a patch was refused: somebody else changed the workload,
// which drift or success tell; or the object is busy, which passes; or the API
// server, mostly by an admission policy, does not accept the template, which does
// not. It is nil when the workload is at "to".
func (i inverse) explain(ctx context.Context, before workload, action incident.Action, refusal error) error {
	if !errors.Is(refusal, errConflict) && !errors.Is(refusal, errInvalid) {
		return refusal
	}
	after, err := i.cluster.workload(ctx, before.reference)
	if err != nil {
		return err
	}
	if done, err := compare(after, action); done || err != nil {
		return err
	}
	return meant(refusal, before.object, after.object)
}

// compare is done when the workload is at "to", and a *driver.DriftError when it
// is at neither.
func compare(w workload, action incident.Action) (done bool, err error) {
	switch w.digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: w.state(), Difference: drifted(w, action)}
}

// drifted says in one line what is there in place of "from".
func drifted(w workload, action incident.Action) string {
	if from, ok := w.history.byDigest(action.From.Digest); ok {
		return difference(from.template, w.template)
	}
	return "another template was deployed, and the expected one has left the history"
}

// cause is the line that "kubectl rollout history" shows for the revision.
func cause(action incident.Action) string {
	line := []rune(fmt.Sprintf("backout: from revision %s (%s) back to revision %s (%s)", action.From.Revision, action.From.Label, action.To.Revision, action.To.Label))
	return string(line[:min(len(line), maxCause)])
}
