package flagger

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the kind, and of the change source beside it.
const kind = "flagger.canary"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "progressive delivery",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: []string{
			"the Canary itself: its analysis, skipAnalysis and suspend",
			"the source that the target is deployed from, such as Git",
			"contents of ConfigMaps and Secrets, and the copies that Flagger made of them for the primary",
			"replica counts and autoscaling limits",
			"routes and Services, which Flagger writes",
			"databases and their migrations",
			"what the version wrote or sent while it ran",
		},
		Permission: "in the canary's namespace: get canaries.flagger.app; get and patch deployments.apps; list replicasets.apps; list horizontalpodautoscalers.autoscaling is optional",
	}, func(c cluster) driver.Inverse { return inverse{c} })
}

// inverse takes the target of a canary back.
type inverse struct{ cluster cluster }

// find reads the Canary of an action, and makes of the action what the inverse of its
// target wants.
func (i inverse) find(ctx context.Context, action incident.Action) (canary, incident.Action, error) {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return canary{}, incident.Action{}, err
	}
	c, err := readCanary(ctx, i.cluster, ref)
	if err != nil {
		return canary{}, incident.Action{}, err
	}
	if why := c.unfit(); why != "" {
		return canary{}, incident.Action{}, fmt.Errorf("%w: %s", driver.ErrInvalid, why)
	}
	action.Target = c.target(action.Target.System)
	return c, action, nil
}

// Observe reads the template of the target, and whether both Deployments run it.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	c, inner, err := i.find(ctx, action)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	seen, err := i.cluster.Workloads().Observe(ctx, inner)
	if err != nil {
		return driver.Observation{}, outward(err, action)
	}
	if seen.State.Digest != action.To.Digest && seen.State.Digest != action.From.Digest {
		return seen, nil // It says what is there instead.
	}
	settled, detail, err := i.serving(ctx, c)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	if forward(action) {
		// The way back from a rollback leads to where an analysis begins.
		settled = true
	}
	seen.Settled = seen.Settled && settled
	seen.Detail = "target: " + seen.Detail + "; " + detail + "; Flagger: " + c.phase()
	return seen, nil
}

// serving reports whether the primary runs what the target does.
func (i inverse) serving(ctx context.Context, c canary) (settled bool, detail string, err error) {
	primary, err := readObject(ctx, i.cluster, c.namespace, c.primaryName())
	if err != nil {
		return false, "", err
	}
	target, err := readObject(ctx, i.cluster, c.namespace, c.Spec.TargetRef.Name)
	if err != nil {
		return false, "", err
	}
	settled, detail, err = i.cluster.Rollout(primary)
	if err != nil {
		return false, "", fmt.Errorf("read rollout of %q: %w", c.primaryName(), err)
	}
	if !promotes(target, primary) {
		return false, "the primary serves another version", nil
	}
	return settled, "primary: " + detail, nil
}

// forward reports whether an action leads to a newer revision than it comes from, which
// a rollback never does: the present revision always has the greatest number.
func forward(action incident.Action) bool {
	from, errFrom := strconv.ParseInt(action.From.Revision, 10, 64)
	to, errTo := strconv.ParseInt(action.To.Revision, 10, 64)
	return errFrom == nil && errTo == nil && to > from
}

// Apply replaces the pod template of the target.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	_, inner, err := i.find(ctx, action)
	if err != nil {
		return driver.Receipt{}, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	receipt, err := i.cluster.Workloads().Apply(ctx, inner, key)
	return receipt, outward(err, action)
}

// outward makes an error of the target's inverse one of this kind's: a refusal names
// the canary.
func outward(err error, action incident.Action) error {
	if drift, ok := errors.AsType[*driver.DriftError](err); ok {
		return &driver.DriftError{Action: action, Observed: drift.Observed, Difference: drift.Difference}
	}
	return err
}
