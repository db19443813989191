package gitops

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector beside
// it.
const kind = "gitops.hold"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "Git and CI/CD",
		TargetForm: targetForm,
		Forms:      []string{"Application", "Kustomization", "HelmRelease"},
		Reversible: true,
		WontRevert: []string{
			"what is in Git: it is applied as soon as the target is resumed, so the revert has to be merged before",
			"what was applied before the target was held, and what an application that was running then still applies",
			"other targets that apply the same objects",
			"syncs that somebody starts by hand",
		},
		Permission: "in the target's namespace: get and patch on applications.argoproj.io, kustomizations.kustomize.toolkit.fluxcd.io or helmreleases.helm.toolkit.fluxcd.io; get on applicationsets.argoproj.io where Applications are made by those",
	}, func(c cluster) driver.Inverse { return inverse{client: dial(c), now: time.Now} })
}

// inverse holds a target, or resumes one that Backout holds.
type inverse struct {
	client *client
	now    func() time.Time
}

// Observe reads whether the target is held. It has settled when nothing of Git is
// being applied any more.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	p, err := i.client.present(ctx, ref)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	now := i.now()
	seen := driver.Observation{State: p.state(), Settled: true, Detail: p.noun + " " + p.says(now)}
	if _, err := p.compare(action, now); err != nil {
		seen.Detail = p.drifted(action, now)
	}
	if running := p.running(p.live); running != "" && !p.reconciles(p.setting) {
		seen.Settled = false
		seen.Detail += "; " + running
	}
	return seen, nil
}

// Apply switches the target and writes or takes away the annotations of the hold, in
// one step and only if both are as they were observed.
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
	c := i.client
	p, err := c.present(ctx, ref)
	if err != nil {
		return driver.Receipt{}, err
	}
	now := i.now()
	if done, err := p.compare(action, now); done || err != nil {
		return driver.Receipt{Detail: p.noun + " " + p.says(now)}, err
	}
	if p.stale != nil && p.stale.by == owner(key) {
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: p.state(), Difference: "somebody resumed it after this very action was applied"}
	}
	operations, detail, err := p.operations(action.To, key, now)
	if err != nil {
		return driver.Receipt{}, err
	}
	if err := c.patch(ctx, ref, operations, false); err != nil {
		return driver.Receipt{}, c.explain(ctx, p, action, now, err)
	}
	return driver.Receipt{Mutated: true, Detail: detail}, nil
}

// present reads a target.
func (c *client) present(ctx context.Context, ref reference) (present, error) {
	live, err := c.get(ctx, ref)
	if err != nil {
		return present{}, err
	}
	return ref.read(live)
}

// operations are what takes the target to a state, and what that is for people.
func (p present) operations(to incident.State, key string, now time.Time) (operations []operation, detail string, err error) {
	if !isHeld(to.Revision) {
		if p.hold == nil || p.hold.broken {
			return nil, "", fmt.Errorf("find what %s said before: %w: no hold of Backout's says it", p.reference, driver.ErrNotFound)
		}
		before, err := digest(p.hold.before, false)
		if err != nil {
			return nil, "", err
		}
		if before != to.Digest {
			return nil, "", fmt.Errorf("find what %s said before: %w: the hold keeps another state", p.reference, driver.ErrNotFound)
		}
		return append(p.switchTo(p.hold.before), p.release()...), "resumed as it was configured", nil
	}
	length, err := lengthOf(to.Revision)
	if err != nil {
		return nil, "", err
	}
	annotations, err := p.written(key, length, now)
	if err != nil {
		return nil, "", err
	}
	return append(p.switchTo(p.holding()), p.annotate(annotations)...), "held until " + annotations[expiresAnnotation], nil
}

// isHeld reports whether a revision is that of a hold.
func isHeld(revision string) bool {
	name, _, _ := strings.Cut(revision, "/")
	return name == held
}

// explain finds out why a patch was refused: somebody else changed the target, which
// drift or success tell, or the API server does not accept it. It is nil when the
// target is at "to".
func (c *client) explain(ctx context.Context, before present, action incident.Action, now time.Time, refusal error) error {
	if !apierrors.IsInvalid(refusal) && !apierrors.IsConflict(refusal) {
		return fmt.Errorf("patch %s: %w", before.reference, c.Classify(refusal))
	}
	after, err := c.present(ctx, before.reference)
	if err != nil {
		return err
	}
	if done, err := after.compare(action, now); done || err != nil {
		return err
	}
	if apierrors.IsConflict(refusal) || after.live.GetResourceVersion() != before.live.GetResourceVersion() {
		return fmt.Errorf("patch %s: somebody else wrote it: %w", before.reference, c.Classify(refusal))
	}
	return fmt.Errorf("patch %s: %w: %w", before.reference, driver.ErrInvalid, c.Classify(refusal))
}

// compare is done when the target is at "to", and a *driver.DriftError when it is at
// neither.
func (p present) compare(action incident.Action, now time.Time) (done bool, err error) {
	switch p.digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: p.state(), Difference: p.drifted(action, now)}
}

// drifted says in one line what the target is instead.
func (p present) drifted(action incident.Action, now time.Time) string {
	said := p.noun + " " + p.says(now)
	if name, _, _ := strings.Cut(action.From.Revision, "/"); name == p.named(p.setting, p.hold != nil) {
		said += fmt.Sprintf(", with another %s than before", strings.Join(p.path, "."))
	}
	return said
}
