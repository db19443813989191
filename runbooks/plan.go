package runbooks

import (
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Planned is what a driver answered to a step.
type Planned struct {
	From, To     incident.State
	Reversible   bool
	ExpectedTime time.Duration
	WontRevert   []string
	Preflight    []incident.Preflight
	// Blocked is the driver's own judgement of its checks.
	Blocked bool
}

// PlanInput is everything that a plan is made from.
type PlanInput struct {
	// Incident is the incident's key.
	Incident  string
	Service   string
	Catalogue *Catalogue
	// Runbook has its placeholders replaced by Runbook.For, and Option is one
	// of its options.
	Runbook Runbook
	Option  OptionSpec
	// Planned answers the steps of Steps, in their order.
	Planned []Planned
	// Suspect is the change that the option undoes; nil if it stands alone.
	Suspect *incident.Suspect
}

// BuildPlan makes an option out of a runbook's option and what the drivers
// answered: plan, digest, radius and preflight. ID, Tier, TierReason and
// Recommended are left for AssignIDs, the policy and Order.
//
// A target that is already in the wanted state is left out of the plan. An
// option with nothing left to do, or with a check that forbids it, comes back
// blocked. It is an error when the answers do not fit the option, when the
// option does not undo the suspect, or when the plan is unfit to be executed.
func BuildPlan(in PlanInput) (incident.Option, error) {
	o := in.Option
	if len(in.Planned) != len(o.Actions) {
		return incident.Option{}, fmt.Errorf("build plan of option %q: %d answers for %d actions", o.Name, len(in.Planned), len(o.Actions))
	}
	switch {
	case len(o.Undoes) > 0 && in.Suspect == nil:
		return incident.Option{}, fmt.Errorf("build plan of option %q: it undoes a change, and none is suspected", o.Name)
	case in.Suspect != nil && !o.UndoesChange(in.Suspect.Change):
		return incident.Option{}, fmt.Errorf("build plan of option %q: it does not undo change %q of %s", o.Name, in.Suspect.Change.ID, in.Suspect.Change.Source)
	}
	out := incident.Option{
		Title: o.Title, Rung: o.Rung, Suspect: in.Suspect, ExpectedTime: expectedTime(o, in.Planned), Risk: o.Risk,
		WontRevert: slices.Clone(o.WontRevert),
		Plan: incident.Plan{
			Version: incident.PlanVersion, Incident: in.Incident, Service: in.Service, Strategy: o.Strategy,
			Runbook: in.Runbook.Metadata.Name, RunbookDigest: in.Runbook.Digest, Option: o.Name, Actions: []incident.Action{},
		},
	}
	for i, a := range o.Actions {
		addAction(&out, a, o.Rung, in.Planned[i], len(o.Actions) > 1)
	}
	if !out.Blocked && len(out.Plan.Actions) == 0 {
		out.Blocked = true
		out.Preflight = append(out.Preflight, incident.Preflight{
			Name: "something to undo", Result: incident.PreflightBlocked, Reason: "Every target is already in the wanted state.",
		})
	}
	if !out.Blocked {
		if err := out.Plan.Validate(); err != nil {
			return incident.Option{}, fmt.Errorf("build plan of option %q: %w", o.Name, err)
		}
	}
	digest, err := out.Plan.Digest()
	if err != nil {
		return incident.Option{}, fmt.Errorf("build plan of option %q: %w", o.Name, err)
	}
	out.Digest = digest
	out.Radius = Radius(out.Plan, in.Catalogue, o)
	if in.Suspect != nil && in.Suspect.Change.Kind == incident.ChangeMigration {
		addSharedData(&out.Radius, in.Catalogue, "undoing a migration changes it")
	}
	return out, nil
}

// addAction adds one planned action to the option, or why it has none.
func addAction(out *incident.Option, a ActionSpec, rung incident.Rung, p Planned, several bool) {
	for _, c := range p.Preflight {
		if several {
			c.Name += " (" + a.Target.String() + ")"
		}
		out.Preflight = append(out.Preflight, c)
	}
	for _, w := range p.WontRevert {
		if !slices.Contains(out.WontRevert, w) {
			out.WontRevert = append(out.WontRevert, w)
		}
	}
	switch {
	case p.Blocked || blocks(p.Preflight):
		out.Blocked = true
		if len(p.Preflight) == 0 {
			out.Preflight = append(out.Preflight, incident.Preflight{
				Name: "preflight", Result: incident.PreflightBlocked, Reason: "Nothing was checked on " + a.Target.String() + ".",
			})
		}
		return
	case p.From.Digest != "" && p.From.Digest == p.To.Digest:
		out.Preflight = append(out.Preflight, incident.Preflight{
			Name: "already there", Result: incident.PreflightOK, Reason: a.Target.String() + " is already in the wanted state and is left alone.",
		})
		return
	}
	out.Plan.Actions = append(out.Plan.Actions, incident.Action{
		Kind: a.Kind, Target: a.Target, From: p.From, To: p.To, MaxTime: a.MaxTime, OnFailure: a.OnFailure,
		Reversible: p.Reversible && rung != incident.RungIrreversible,
	})
}

// blocks reports whether a check forbids the action. No check at all, or an
// invalid result, blocks too.
func blocks(checks []incident.Preflight) bool {
	for _, c := range checks {
		switch c.Result {
		case incident.PreflightOK, incident.PreflightWarning, incident.PreflightUnknown:
		case incident.PreflightBlocked:
			return true
		default:
			return true
		}
	}
	return len(checks) == 0
}

// expectedTime is what the drivers know, or else what the runbook says.
func expectedTime(o OptionSpec, planned []Planned) time.Duration {
	var sum time.Duration
	for _, p := range planned {
		if p.ExpectedTime <= 0 {
			return o.ExpectedTime
		}
		sum += p.ExpectedTime
	}
	return sum
}
