package activities

import (
	"context"
	"fmt"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Replan makes the approved plan again from the world as it is now, with the
// same absolute revisions, and returns the digest it would have. It changes
// nothing.
func (a *Activities) Replan(ctx context.Context, in ReplanInput) (ReplanResult, error) {
	defer beat(ctx)()
	now := in.Plan
	now.Actions = nil
	var out ReplanResult
	differs := func(format string, args ...any) {
		out.Differences = append(out.Differences, fmt.Sprintf(format, args...))
	}
	if rb, err := a.runbook(in.Plan.Runbook, ""); err != nil {
		now.RunbookDigest = ""
		differs("runbook %s is not loaded any more", in.Plan.Runbook)
	} else if now.RunbookDigest = rb.Digest; rb.Digest != in.Plan.RunbookDigest {
		differs("runbook %s has changed", in.Plan.Runbook)
	}
	for _, was := range in.Plan.Actions {
		is, err := a.replanAction(ctx, was, differs)
		if err != nil {
			return out, asActivityError(err)
		}
		now.Actions = append(now.Actions, is)
	}
	digest, err := now.Digest()
	if err != nil {
		return out, asActivityError(err)
	}
	out.Digest = digest
	if digest != in.Digest && len(out.Differences) == 0 {
		differs("the plan would have digest %s", incident.ShortDigest(digest))
	}
	return out, nil
}

func (a *Activities) replanAction(ctx context.Context, was incident.Action, differs func(string, ...any)) (incident.Action, error) {
	inv, err := a.Systems.Inverse(was.Kind, was.Target.System)
	if err != nil {
		return was, err
	}
	p, err := inv.Plan(ctx, driver.PlanRequest{Target: was.Target, Revision: was.To.Revision})
	if err != nil {
		return was, fmt.Errorf("plan %s again: %w", was.Target, err)
	}
	is := was
	is.From, is.To, is.Reversible = p.From, p.To, p.Reversible
	if p.Blocked() {
		for _, c := range p.Preflight {
			if c.Result == incident.PreflightBlocked {
				differs("%s: %s", was.Target, c.Reason)
			}
		}
		// A blocked plan is another plan, even if its states are the same.
		is.From, is.To = incident.State{}, incident.State{}
		return is, nil
	}
	if is.From != was.From {
		differs("%s was at %s and is at %s", was.Target, stateText(was.From), stateText(is.From))
	}
	if is.Reversible != was.Reversible {
		differs("whether %s can be undone is another matter now", was.Target)
	}
	if is.To != was.To {
		differs("%s would go to %s instead of %s", was.Target, stateText(is.To), stateText(was.To))
	}
	return is, nil
}
