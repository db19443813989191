package exec

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse and of the change source beside it.
const kind = "exec"

// targetForm shows how a target's path is spelled.
const targetForm = "<what the program calls it>"

// pathPattern is what a path may look like. No segment is empty, "." or "..", so
// that a program that takes it for a file stays where it is.
var pathPattern = regexp.MustCompile(`^[A-Za-z0-9_@:=+~-][A-Za-z0-9._@:=+~-]*(/[A-Za-z0-9_@:=+~-][A-Za-z0-9._@:=+~-]*)*$`)

// maxPath bounds a path, in bytes.
const maxPath = 512

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "anything else",
		TargetForm: targetForm,
		Reversible: true,
		OneWay:     "a target of which the program says so",
		WontRevert: wontRevert,
		Permission: "execute <program> as the user of Backout, with the variables of environment and environment_files and no other; what the program itself needs is in its own documentation",
	}, func(p *program) driver.Inverse { return inverse{p} })
}

// wontRevert lists what stays as it is whatever the program does. A program adds
// its own.
var wontRevert = []string{"whatever the program does not count as the state of its target"}

// inverse takes whatever a program knows back to a state.
type inverse struct{ program *program }

func checkTarget(target incident.Target) error {
	if len(target.Path) > maxPath || !pathPattern.MatchString(target.Path) {
		return fmt.Errorf("parse target %q: %w: want %s", line(target.String()), driver.ErrInvalid, targetForm)
	}
	return nil
}

// final makes a broken protocol end the action: a program that can not be
// understood will not be understood later.
func final(err error) error {
	if errors.Is(err, errProtocol) {
		return fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return err
}

// Plan asks the program, and holds it to its own observation.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	if err := checkTarget(req.Target); err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	q := question{Verb: verbPlan, Path: req.Target.Path, Plan: &planOf{Revision: req.Revision, Before: req.Before.UTC()}}
	a, err := i.program.ask(ctx, q)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("target exists", "The program does not know %s: %s", req.Target.Path, sentence(a.Error.Reason))
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "The program may not read %s: %s", req.Target.Path, sentence(a.Error.Reason))
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, final(err))
	}
	for _, c := range a.Plan.Checks {
		checks = append(checks, incident.Preflight{Name: line(c.Name), Result: c.Result, Reason: sentence(c.Reason)})
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	p := *a.Plan
	p.From, p.To = clean(p.From), clean(p.To)
	switch {
	case p.From.Digest == "" || p.To.Digest == "":
		err = violation("the plan is not blocked and lacks a state")
	case p.From.Digest == p.To.Digest:
		err = violation("the plan is not blocked and leads nowhere")
	default:
		err = i.agrees(ctx, req.Target, p)
	}
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, final(err))
	}
	return driver.Planned{
		From:         p.From,
		To:           p.To,
		Reversible:   p.Reversible,
		ExpectedTime: time.Duration(p.ExpectedSeconds * float64(time.Second)),
		WontRevert:   append(lines(p.WontRevert), wontRevert...),
		Preflight:    checks,
	}, nil
}

// errContradiction means that a program plans from another state than the one
// that it observes right afterwards. The target may have moved meanwhile.
var errContradiction = errors.New("the program observes another state than the one that it plans from")

// agrees holds a plan against an observation.
func (i inverse) agrees(ctx context.Context, target incident.Target, p planned) error {
	seen, err := i.observe(ctx, target, p.From, p.To)
	if err != nil {
		return err
	}
	if seen.State.Digest != p.From.Digest {
		return errContradiction
	}
	return nil
}

// lines are texts from outside as they can be shown, without empty ones.
func lines(texts []string) []string {
	out := make([]string, 0, len(texts)+len(wontRevert))
	for _, text := range texts {
		out = append(out, line(text))
	}
	return slices.DeleteFunc(out, func(text string) bool { return text == "" })
}

// Observe asks the program.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	if err := checkTarget(action.Target); err != nil {
		return driver.Observation{}, err
	}
	seen, err := i.observe(ctx, action.Target, action.From, action.To)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, final(err))
	}
	return seen, nil
}

func (i inverse) observe(ctx context.Context, target incident.Target, from, to incident.State) (driver.Observation, error) {
	a, err := i.program.ask(ctx, question{Verb: verbObserve, Path: target.Path, Action: &actionOf{From: from, To: to}})
	if err != nil {
		return driver.Observation{}, err
	}
	o := a.Observation
	return driver.Observation{State: clean(o.State), Settled: o.Settled, Detail: line(o.Detail)}, nil
}

// Apply asks the program. A broken protocol is not final here: the effect may be
// there, and only another observation tells.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	if err := checkTarget(action.Target); err != nil {
		return driver.Receipt{}, err
	}
	q := question{Verb: verbApply, Path: action.Target.Path, Action: &actionOf{From: action.From, To: action.To, Key: key}}
	a, err := i.program.ask(ctx, q)
	var done driver.Receipt
	if err == nil {
		done, err = a.Receipt.hold(action)
	}
	if err != nil {
		return driver.Receipt{}, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return done, nil
}

// hold checks a receipt against the action that it is for.
func (r *receipt) hold(action incident.Action) (driver.Receipt, error) {
	state := clean(r.State)
	atTo, atFrom := state.Digest == action.To.Digest, state.Digest == action.From.Digest
	switch r.Result {
	case resultApplied, resultAlready:
		if !atTo {
			return driver.Receipt{}, violation("the receipt says that the target is at \"to\" and names another state")
		}
		return driver.Receipt{Mutated: r.Result == resultApplied, Detail: line(r.Detail)}, nil
	case resultDrift:
		if atTo || atFrom && strings.TrimSpace(r.Detail) == "" {
			return driver.Receipt{}, violation("the receipt says that the target has drifted and names no difference")
		}
		difference := line(r.Detail)
		if difference == "" {
			difference = "the program does not say what is there"
		}
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: state, Difference: difference}
	default:
		return driver.Receipt{}, violation("the receipt has an unknown result")
	}
}
