package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// watchTime is how long one watch lasts: less than requestTimeout, which would end it
// in the middle of an event.
const watchTime = requestTimeout - 5*time.Second

// watchRetry is how long a recorder waits before it watches again what it could not
// watch.
const watchRetry = 5 * time.Second

func init() {
	driver.RegisterRecorder(objectInverse, systemType, func(c *cluster) driver.Recorder { return recorder{c} })
}

// recorder keeps the history of objects that Kubernetes itself does not keep: it
// captures each state that an object takes on, as "kubernetes.object" finds it.
//
// Besides what reading needs, its credential needs watch on the object's resource,
// and create, get, patch and delete on controllerrevisions.apps.
type recorder struct{ cluster *cluster }

// Record captures the present state of the object that a target names, if the
// latest captured state is another, and returns it.
func (r recorder) Record(ctx context.Context, target incident.Target) (incident.State, error) {
	ref, err := parseObject(target)
	if err != nil {
		return incident.State{}, err
	}
	state, err := r.record(ctx, ref)
	if err != nil {
		return incident.State{}, fmt.Errorf("record %s: %w", target, err)
	}
	return state, nil
}

func (r recorder) record(ctx context.Context, ref objectReference) (incident.State, error) {
	present, err := r.cluster.object(ctx, ref)
	if err != nil {
		return incident.State{}, err
	}
	wrote, err := r.cluster.capture(ctx, present)
	if err != nil {
		return incident.State{}, err
	}
	if wrote {
		if present.past, err = r.cluster.past(ctx, ref); err != nil {
			return incident.State{}, err
		}
		if err := r.forget(ctx, present); err != nil {
			return incident.State{}, err
		}
	}
	return present.state(), nil
}

// Check asks for each right that is needed, and looks for the present state among
// those that were captured.
func (r recorder) Check(ctx context.Context, target incident.Target) error {
	ref, err := parseObject(target)
	if err != nil {
		return err
	}
	if err := r.check(ctx, ref); err != nil {
		return fmt.Errorf("check what is recorded of %s: %w", target, err)
	}
	return nil
}

func (r recorder) check(ctx context.Context, ref objectReference) error {
	if allowed, err := r.cluster.allowed(ctx, "watch", ref.resource, ref.namespace, ref.name); err != nil {
		return err
	} else if !allowed {
		return fmt.Errorf("%w: watch %s in namespace %s", driver.ErrDenied, ref.resource.Resource, ref.namespace)
	}
	for _, verb := range []string{"create", "get", "patch", "delete"} {
		if allowed, err := r.cluster.allowed(ctx, verb, controllerRevisions, ref.namespace, ""); err != nil {
			return err
		} else if !allowed {
			return fmt.Errorf("%w: %s %s in namespace %s", driver.ErrDenied, verb, controllerRevisions.Resource, ref.namespace)
		}
	}
	present, err := r.cluster.object(ctx, ref)
	if err != nil {
		return err
	}
	if _, kept := present.past.byDigest(present.digest); !kept {
		return errNotCaptured
	}
	return nil
}

// errNotCaptured means that nobody keeps the states of an object, or has not yet
// come to it.
var errNotCaptured = errors.New("its present state is not captured, as it is while a worker runs")

// forget deletes the oldest captured states beyond those that are kept. Whoever else
// deleted one was only faster.
func (r recorder) forget(ctx context.Context, o object) error {
	extra := len(o.past.states) - r.cluster.settings.KeepStates
	for _, state := range o.past.states[:max(0, extra)] {
		if state.digest == o.digest {
			continue
		}
		err := r.cluster.client.Resource(controllerRevisions).Namespace(o.namespace).Delete(ctx, state.holder, metav1.DeleteOptions{})
		if err == nil || errors.Is(classify(err), driver.ErrNotFound) {
			continue
		}
		return fmt.Errorf("forget %s: %w", state.name(), classify(err))
	}
	return nil
}

// Watch captures the present state of an object, and then every state that it takes
// on, until the context ends, whose error it returns. An object that is missing is
// waited for; one that can not be named, or that the credential may not watch or
// capture, ends it with an error.
func (r recorder) Watch(ctx context.Context, target incident.Target) error {
	ref, err := parseObject(target)
	if err != nil {
		return err
	}
	for {
		began := r.cluster.now()
		err := r.follow(ctx, ref)
		if ctx.Err() != nil {
			return fmt.Errorf("watch %s: %w", target, ctx.Err())
		}
		if errors.Is(err, driver.ErrDenied) || errors.Is(err, driver.ErrInvalid) {
			return fmt.Errorf("watch %s: %w", target, err)
		}
		if err == nil && r.cluster.now().Sub(began) > watchRetry {
			continue // The API server ends every watch after a while.
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchRetry):
		}
	}
}

// follow captures one state for each event of one watch, which begins with the
// present state.
func (r recorder) follow(ctx context.Context, ref objectReference) error {
	events, err := r.cluster.client.Resource(ref.resource).Namespace(ref.namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + ref.name, TimeoutSeconds: new(int64(watchTime / time.Second)),
	})
	if err != nil {
		return classify(err)
	}
	defer events.Stop()
	for range events.ResultChan() {
		// The event may be of a state that has passed already; what is captured is
		// what is there. Deletion is no state, and what comes after it is an event too.
		if _, err := r.record(ctx, ref); err != nil && !errors.Is(err, driver.ErrNotFound) {
			return err
		}
	}
	return nil
}
