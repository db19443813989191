package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// redoPrefix begins the name of the option that undoes a rollback.
const redoPrefix = "redo-"

// IsRedo reports whether an option undoes an earlier rollback.
func IsRedo(o incident.Option) bool { return strings.HasPrefix(o.Plan.Option, redoPrefix) }

// redo is the inverse of a finished rollback: its changed targets, newest
// first, back to where they came from. Planned anew, so that its states are
// those of now. It touches what the rollback touched, and so needs no less
// authority.
func (a *Activities) redo(ctx context.Context, in CollectInput) (incident.Option, error) {
	rb, err := a.runbook(in.Redo.Runbook, "")
	if err != nil {
		return incident.Option{}, err
	}
	concrete, err := rb.For(in.Redo.Service)
	if err != nil {
		return incident.Option{}, err
	}
	undone, ok := optionOf(concrete, in.Redo.Option)
	if !ok {
		return incident.Option{}, fmt.Errorf("find option %q: %w: runbook %q has no such option any more", in.Redo.Option, driver.ErrInvalid, in.Redo.Runbook)
	}
	spec := runbooks.OptionSpec{
		Name: redoPrefix + in.Redo.Option, Title: "Undo the rollback: back to where it was", Strategy: redoStrategy(undone.Strategy),
		Rung: incident.RungControlled, Risk: "Brings back the state that was rolled back.",
		SharedData: slices.Clone(undone.SharedData), Global: undone.Global, ExpectedTime: undone.ExpectedTime,
	}
	// What the suspect added to the blast radius is in no runbook.
	for _, o := range in.Previous {
		if o.ID != in.Redo.OptionID || o.Plan.Option != in.Redo.Option {
			continue
		}
		for _, store := range o.Radius.SharedData {
			if !slices.Contains(spec.SharedData, store.Name) {
				spec.SharedData = append(spec.SharedData, store.Name)
			}
		}
		if o.Radius.Global != nil && spec.Global == "" {
			spec.Global = o.Radius.Global.Reason
		}
	}
	for _, av := range slices.Backward(in.Redo.Actions) {
		// What was taken back again is where it came from already.
		if !av.Applied || av.Status == incident.ActionSkipped {
			continue
		}
		if !av.Action.Reversible {
			return incident.Option{}, fmt.Errorf("%s is a one-way door", av.Action.Target)
		}
		spec.Actions = append(spec.Actions, runbooks.ActionSpec{
			Kind: av.Action.Kind, Target: av.Action.Target, Service: serviceOf(undone, av.Action),
			Revision: av.Action.From.Revision, MaxTime: av.Action.MaxTime, OnFailure: av.Action.OnFailure,
		})
	}
	option, err := a.plan(ctx, in.Key, serviceBook{service: in.Redo.Service, book: concrete}, spec, nil, in.Now)
	if err != nil {
		return incident.Option{}, err
	}
	return option, sameStates(option.Plan, in.Redo.Actions)
}

// optionOf is the option of a runbook that a rollback was made from, which may
// itself have been the undoing of another.
func optionOf(rb runbooks.Runbook, name string) (runbooks.OptionSpec, bool) {
	for {
		if i := slices.IndexFunc(rb.Options, func(o runbooks.OptionSpec) bool { return o.Name == name }); i >= 0 {
			return rb.Options[i], true
		}
		var again bool
		if name, again = strings.CutPrefix(name, redoPrefix); !again {
			return runbooks.OptionSpec{}, false
		}
	}
}

// redoStrategy keeps the strategies whose blast radius has the shared data of
// every service in it.
func redoStrategy(undone incident.Strategy) incident.Strategy {
	switch undone {
	case incident.StrategyRestore, incident.StrategyCompensate:
		return undone
	case incident.StrategyRollback, incident.StrategyFlagOff, incident.StrategyRollForward:
		return incident.StrategyRollForward
	default:
		return incident.StrategyRollForward
	}
}

// serviceOf is whose target an action works on, as the runbook says it.
func serviceOf(o runbooks.OptionSpec, action incident.Action) string {
	for _, a := range o.Actions {
		if a.Kind == action.Kind && a.Target == action.Target {
			return a.Service
		}
	}
	return ""
}

// sameStates makes sure that a redo leads to the very states that were rolled
// back, whatever their revisions hold by now.
func sameStates(p incident.Plan, undone []incident.ActionView) error {
	for _, a := range p.Actions {
		if !slices.ContainsFunc(undone, func(was incident.ActionView) bool {
			return was.Action.Target == a.Target && was.Action.From.Digest == a.To.Digest
		}) {
			return fmt.Errorf("plan %s: %w: revision %s is not what it was", a.Target, driver.ErrInvalid, a.To.Revision)
		}
	}
	return nil
}
