package argo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// What a way back is expected to take, for want of a measure: an abort scales up what
// is there, an undo replaces pods batch by batch.
const (
	expectedAbort = 20 * time.Second
	expectedUndo  = time.Minute
)

// choice is a wanted state, and by which way it is reached.
type choice struct {
	revision revision
	abort    bool
}

func (c choice) state() incident.State {
	if c.abort {
		return byAbort(c.revision)
	}
	return bySpecification(c.revision)
}

// Plan resolves the wanted state against the Rollout's history.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	r, err := read(ctx, i.cluster, ref)
	var checks driver.Findings
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("rollout exists", "The Rollout %s in namespace %s does not exist.", ref.name, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the Rollout %s and its history in namespace %s.", ref.name, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case r.Spec.WorkloadRef != nil:
		checks.Block("has its own template", "The Rollout %s takes its pod template from the %s %s, which is what has to go back.", ref.name, oneLine(r.Spec.WorkloadRef.Kind), oneLine(r.Spec.WorkloadRef.Name))
		return driver.Planned{Preflight: checks}, nil
	case !r.recorded:
		checks.Block("state is known", "The controller of Argo Rollouts does not say yet which revision the present specification of %s is.", ref.name)
		return driver.Planned{Preflight: checks}, nil
	}
	checks.Pass("rollout exists", "The specification of the Rollout %s says %s.", ref.name, r.present.name())
	underWay(&checks, r)
	wanted, ok := i.resolve(&checks, r, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	resume := r.aborted() && !wanted.abort && wanted.revision.digest == r.present.digest
	healthy(&checks, r, wanted)
	if !wanted.abort && !resume {
		promoted(&checks, r, wanted.revision)
	}
	i.permitted(ctx, &checks, ref, wanted.abort || resume)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	present, err := r.state()
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	planned := driver.Planned{
		From: present,
		To:   wanted.state(),
		// Only the update that was aborted can be brought back to being aborted.
		Reversible:   !r.aborted() || resume,
		ExpectedTime: expectedUndo,
		WontRevert:   i.wontRevert(r, wanted),
		Preflight:    checks,
	}
	if wanted.abort {
		planned.ExpectedTime = expectedAbort
	}
	return planned, nil
}

// underWay does not keep anybody from going back half way through an update, which is
// when it helps most.
func underWay(f *driver.Findings, r rollout) {
	const name = "no deploy in flight"
	switch settled, detail := r.progress(false); {
	case r.Spec.Paused:
		f.Block("rolls out by itself", "The Rollout %s is paused by its specification, so that nothing would be rolled out.", r.name)
	case r.aborted():
		f.Pass(name, "The update to %s is aborted, and %s is in force.", r.present.name(), r.stable.name())
	case r.inFlight():
		f.Warn(name, "An update from %s to %s is in flight: %s.", r.stable.name(), r.present.name(), detail)
	case !settled:
		f.Warn(name, "The rollout of %s is in flight: %s.", r.present.name(), detail)
	default:
		f.Pass(name, "The rollout of %s is complete: %s.", r.present.name(), detail)
	}
}

// resolve finds the wanted state and checks that going there changes something.
func (i inverse) resolve(f *driver.Findings, r rollout, req driver.PlanRequest) (wanted choice, ok bool) {
	if req.Revision != "" {
		wanted, ok = byRevision(f, r, req.Revision)
	} else {
		wanted, ok = byMoment(f, r, req.Before)
	}
	if !ok {
		return choice{}, false
	}
	present, err := r.state()
	if err != nil {
		f.Block("state is known", "The controller of Argo Rollouts does not say yet which revision the present specification of %s is.", r.name)
		return choice{}, false
	}
	const name = "not there already"
	switch {
	case r.aborted() && wanted.revision.digest == r.stable.digest:
		f.Block(name, "In %s, %s is in force already, because the update to %s was aborted.", r.name, wanted.revision.name(), r.present.name())
		return choice{}, false
	case wanted.state().Digest == present.Digest:
		f.Block(name, "In %s, %s is in force already.", r.name, wanted.revision.name())
		return choice{}, false
	case wanted.abort:
		f.Pass(name, "The update to %s is aborted, which differs from %s: %s.", r.present.name(), wanted.revision.name(), i.cluster.TemplateDifference(r.present.set, wanted.revision.set))
	case wanted.revision.digest == r.present.digest:
		f.Pass(name, "The update to %s, which was aborted, is tried again.", r.present.name())
	default:
		f.Pass(name, "%s differs: %s.", capital(wanted.revision.name()), i.cluster.TemplateDifference(r.present.set, wanted.revision.set))
	}
	return wanted, true
}

const exists = "revision exists"

// byRevision finds what a revision such as "3" or "3-by-abort" says.
func byRevision(f *driver.Findings, r rollout, text string) (wanted choice, ok bool) {
	digits, abort := strings.CutSuffix(text, abortedSuffix)
	number, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || number <= 0 {
		f.Block(exists, "%q is not a revision: revisions of a Rollout are whole numbers, with %q behind them for an abort.", oneLine(text), abortedSuffix)
		return choice{}, false
	}
	back, ok := r.history.byNumber(number)
	if !ok {
		f.Block(exists, "Revision %d is not in the history of %s, which keeps %d revisions.", number, r.name, len(r.history.revisions))
		return choice{}, false
	}
	f.Pass(exists, "The history of %s keeps %s.", r.name, named(number, back.label))
	if !abort {
		return choice{revision: back}, true
	}
	const name = "can still be aborted"
	switch {
	case !r.inFlight():
		f.Block(name, "It is too late to abort: no update of %s is in flight, and %s takes all traffic.", r.name, r.present.name())
		return choice{}, false
	case back.digest != r.stable.digest:
		f.Block(name, "An abort leads back to %s, and not to %s.", r.stable.name(), back.name())
		return choice{}, false
	}
	f.Pass(name, "The update to %s is not promoted.", r.present.name())
	return choice{revision: back, abort: true}, true
}

// byMoment finds what was in force just before a moment. Where that is the stable
// revision of an update that is in flight, the update is aborted.
func byMoment(f *driver.Findings, r rollout, before time.Time) (wanted choice, ok bool) {
	moment := before.UTC().Format(time.RFC3339)
	act, certain, found := r.history.before(before)
	if !found {
		f.Block(exists, "The history of %s does not reach back before %s.", r.name, moment)
		return choice{}, false
	}
	back := act.revision
	// What came after the stable revision was never promoted, or it would be the stable
	// one.
	if r.inFlight() && act.number > r.stable.number && back.digest != r.present.digest {
		back, certain = r.stable, true
	}
	if certain {
		f.Pass(exists, "%s was in place before %s.", capital(back.name()), moment)
	} else {
		f.Unknown(exists, "Nobody recorded when %s came back, so that it may not have been in place at %s.", back.name(), moment)
	}
	return choice{revision: back, abort: r.inFlight() && back.digest == r.stable.digest}, true
}

// healthy says whether the wanted revision was ever in force and healthy. The
// controller remembers that of the stable one alone.
func healthy(f *driver.Findings, r rollout, wanted choice) {
	const name = "was healthy"
	back := wanted.revision
	switch {
	case r.promoted && back.digest == r.stable.digest && back.available > 0:
		f.Pass(name, "%s is the stable one: %d of its pods are available now.", capital(back.name()), back.available)
	case back.available > 0:
		f.Pass(name, "%d pods of %s are available now.", back.available, back.name())
	case back.wanted > 0:
		f.Warn(name, "%s wants %d pods now and none of them is available.", capital(back.name()), back.wanted)
	default:
		f.Unknown(name, "Argo Rollouts keeps no record of whether %s was promoted, and healthy, when it ran.", back.name())
	}
}

// promoted says what stands between an undo and the whole of the traffic: going back
// is an update too.
func promoted(f *driver.Findings, r rollout, back revision) {
	const name = "goes back at once"
	waits := 0
	for _, s := range r.steps() {
		if s.waits {
			waits++
		}
	}
	blueGreen := r.Spec.Strategy.BlueGreen
	switch {
	case r.promoted && back.digest == r.stable.digest:
		f.Pass(name, "%s is the stable one, so that its return skips all steps.", capital(back.name()))
	case r.withinWindow(back):
		f.Pass(name, "%s is within the rollback window, so that its return skips all steps.", capital(back.name()))
	case blueGreen != nil && blueGreen.AutoPromotion != nil && !*blueGreen.AutoPromotion:
		f.Warn(name, "%s takes no traffic until somebody promotes it, unless its pods are still there: it is outside the rollback window.", capital(back.name()))
	case len(r.steps()) > 0:
		f.Warn(name, "%s is outside the rollback window and returns through all %d canary steps, of which %d wait until somebody promotes it.", capital(back.name()), len(r.steps()), waits)
	default:
		f.Pass(name, "The strategy of %s has no steps that %s would return through.", r.name, back.name())
	}
}

// withinWindow reports whether the controller fast-tracks the return of a revision, as
// it counts itself.
// Source: https://argo-rollouts.readthedocs.io/en/stable/features/rollback/
func (r rollout) withinWindow(back revision) bool {
	if r.Spec.RollbackWindow == nil || !r.promoted || !back.created.Before(r.stable.created) {
		return false
	}
	between := int64(0)
	for _, rev := range r.history.revisions {
		if back.created.Before(rev.created) && rev.created.Before(r.stable.created) {
			between++
		}
	}
	return between < r.Spec.RollbackWindow.Revisions
}

// permitted asks for the right that the way needs: that to the status, or that to the
// Rollout.
func (i inverse) permitted(ctx context.Context, checks *driver.Findings, ref reference, status bool) {
	const name = "permission"
	resource := rollouts
	if status {
		resource = rolloutStatus
	}
	switch allowed, err := i.cluster.Allowed(ctx, "patch", resource, ref.namespace, ref.name); {
	case err != nil:
		checks.Unknown(name, "The API server did not say whether Backout may patch %s of %s.", resource.Resource, ref.name)
	case !allowed:
		checks.Block(name, "Backout may not patch %s in namespace %s.", resource.Resource, ref.namespace)
	default:
		checks.Pass(name, "Backout may patch %s of %s.", resource.Resource, ref.name)
	}
}

// wontRevert lists what stays as it is, as concretely as it can be read.
func (i inverse) wontRevert(r rollout, wanted choice) []string {
	var stays []string
	if wanted.abort {
		stays = append(stays, "the specification of the Rollout, which keeps "+r.present.name()+": whoever retries or promotes it begins the update again")
	} else {
		stays = append(stays, "the source that the Rollout is deployed from, such as Git, which deploys "+r.present.name()+" again when it is applied")
	}
	configMaps, secrets := i.cluster.TemplateReferences(wanted.revision.set)
	if len(configMaps) > 0 {
		stays = append(stays, "contents of ConfigMaps: "+strings.Join(configMaps, ", "))
	}
	if len(secrets) > 0 {
		stays = append(stays, "contents of Secrets: "+strings.Join(secrets, ", "))
	}
	return append(stays,
		fmt.Sprintf("the strategy, and the replica count: %d", r.replicas()),
		"Services, routes and other objects that were deployed together",
		"databases and their migrations",
		"what the version wrote or sent while it ran",
	)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
