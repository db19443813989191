package flagger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const exists = "revision exists"

// Plan finds the wanted revision of the target and says what Flagger will make of it.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	blocked := func(format string, args ...any) (driver.Planned, error) {
		checks.Block("canary exists", format, args...)
		return driver.Planned{Preflight: checks}, nil
	}
	c, err := readCanary(ctx, i.cluster, ref)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return blocked("The Canary %s in namespace %s does not exist.", ref.name, ref.namespace)
	case errors.Is(err, driver.ErrDenied):
		return blocked("Backout may not read the Canary %s in namespace %s.", ref.name, ref.namespace)
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case c.unfit() != "":
		return blocked("%s", c.unfit())
	}
	p, err := i.pair(ctx, c)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return blocked("Of the canary %s, the Deployment %s or its primary does not exist.", ref.name, oneLine(c.Spec.TargetRef.Name))
	case errors.Is(err, driver.ErrDenied):
		return blocked("Backout may not read the Deployments of the canary %s and their history in namespace %s.", ref.name, ref.namespace)
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	checks.Pass("canary exists", "The canary %s is at %s.", ref.name, c.phase())
	number := req.Revision
	if number == "" {
		wanted, ok := p.before(&checks, req.Before)
		if !ok {
			return driver.Planned{Preflight: checks}, nil
		}
		number = strconv.FormatInt(wanted.number, 10)
	}
	planned, err := i.cluster.Workloads().Plan(ctx, driver.PlanRequest{Target: c.target(req.Target.System), Revision: number})
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	checks = append(checks, planned.Preflight...)
	if planned.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	took := c.judge(&checks, p, planned.To)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	planned.Preflight = checks
	planned.ExpectedTime += took
	planned.WontRevert = append([]string{
		"the Canary itself: its analysis, skipAnalysis and suspend",
		"the source that the target is deployed from, such as Git, which deploys the newer version again when it is applied",
	}, planned.WontRevert...)
	return planned, nil
}

// pair is both Deployments of a canary.
type pair struct {
	target, primary deployment
	// serves is the revision of the target that the primary runs; known says that it is
	// still in the history of the target.
	serves past
	known  bool
}

func (i inverse) pair(ctx context.Context, c canary) (pair, error) {
	target, err := readDeployment(ctx, i.cluster, c.namespace, c.Spec.TargetRef.Name)
	if err != nil {
		return pair{}, err
	}
	primary, err := readDeployment(ctx, i.cluster, c.namespace, c.primaryName())
	if err != nil {
		return pair{}, err
	}
	p := pair{target: target, primary: primary}
	p.serves, p.known = target.source(primary.object)
	return p, nil
}

// before finds the revision of the target that served just before a moment.
func (p pair) before(f *driver.Findings, before time.Time) (wanted past, ok bool) {
	moment := before.UTC().Format(time.RFC3339)
	served, ok := p.primary.before(before)
	if !ok {
		f.Block(exists, "The history of the primary %s does not reach back before %s.", p.primary.object.GetName(), moment)
		return past{}, false
	}
	wanted, ok = p.target.source(served.set)
	if !ok {
		f.Block(exists, "What the primary served before %s is not in the history of %s, which keeps %d revisions.", moment, p.target.object.GetName(), len(p.target.past))
		return past{}, false
	}
	f.Pass(exists, "The primary served %s before %s.", wanted.name(), moment)
	return wanted, true
}

// judge says what Flagger will make of the return of a version, and how much longer
// than the rollout of the target it takes.
func (c canary) judge(f *driver.Findings, p pair, to incident.State) time.Duration {
	const serves = "serves at once"
	// The number alone is not enough: the same template can have had several.
	back := p.known && p.serves.digest == to.Digest
	if c.inFlight() {
		f.Warn("no analysis in flight", "Flagger is in the middle of an analysis of %s, which is in flight: %s.", c.name, c.phase())
	} else {
		f.Pass("no analysis in flight", "Flagger analyses nothing for %s: %s.", c.name, c.phase())
	}
	how, analysed := c.analysed()
	switch {
	case back && c.Spec.Suspend:
		f.Warn(serves, "The primary runs %s, and Flagger is suspended: the pods of the target are replaced, and keep the share of the traffic that they have.", p.serves.name())
		return 0
	case back:
		f.Pass(serves, "The primary runs %s, so that Flagger begins no analysis of it.", p.serves.name())
		return 0
	case c.Spec.Suspend:
		f.Block(serves, "Flagger is suspended for %s, so that the primary would not take on revision %s.", c.name, to.Revision)
		return 0
	case !analysed:
		f.Pass(serves, "Flagger promotes revision %s without an analysis, as the canary %s says (skipAnalysis).", to.Revision, c.name)
		return 2 * how.every() // It looks twice: once to see the change, once to promote it.
	}
	took := time.Duration(how.checks()+2) * how.every()
	f.Warn(serves, "The primary keeps what it runs until Flagger has analysed revision %s, which takes %s if all %d checks succeed.", to.Revision, took, how.checks())
	if gates := how.gates(); gates > 0 {
		f.Warn("promotes by itself", "The analysis has %d webhooks that can hold it until somebody confirms.", gates)
	}
	return took
}
