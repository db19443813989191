package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// ErrTypeOverrun means that an action did not finish in its maximum time.
const ErrTypeOverrun = "Overrun"

// ExecuteAction takes one target from "from" to "to". The intent is in the
// ledger before the effect and the outcome after it; without the ledger, and
// without a recorded decision on this very plan, nothing is touched.
//
// Killed at any point and run again, it observes first: a target at "to" is
// left alone, and counts as changed by this rollback if the intent had been
// announced.
func (a *Activities) ExecuteAction(ctx context.Context, in ExecuteInput) (incident.ActionView, error) {
	view := incident.ActionView{Action: in.Action, Status: incident.ActionRunning}
	if e, done, err := a.Ledger.Get(ctx, in.OutcomeID); err != nil {
		return view, asActivityError(fmt.Errorf("%w: read %q: %w", errLedger, in.OutcomeID, err), view)
	} else if done && json.Unmarshal(e.Payload, &view) == nil {
		return finished(view)
	}
	if err := a.authorized(ctx, in); err != nil {
		return view, asActivityError(err, view)
	}
	inv, err := a.Systems.Inverse(in.Action.Kind, in.Action.Target.System)
	if err != nil {
		return view, asActivityError(err, view)
	}
	announced, wasAnnounced, err := a.Ledger.Get(ctx, in.IntentID)
	if err != nil {
		return view, asActivityError(fmt.Errorf("%w: read %q: %w", errLedger, in.IntentID, err), view)
	}

	defer beat(ctx)()
	intentAt := announced.At
	hooks := driver.Hooks{BeforeApply: func(ctx context.Context, _ driver.Observation) error {
		rec, err := a.write(ctx, a.intent(in))
		if err == nil {
			intentAt = rec.At
		}
		return err
	}}
	out, err := driver.Execute(ctx, inv, in.Action, in.Action.Key(in.Rollback, in.Index), hooks)
	view.Observed = observed(out.Last)
	atTo := out.Last.State.Digest == in.Action.To.Digest
	view.Applied = out.Applied || (wasAnnounced && atTo)
	if view.Applied {
		view.MutatedAt = intentAt
	}
	switch {
	case err == nil:
		view.Status = incident.ActionDone
	case ctx.Err() != nil, errors.Is(err, errLedger):
		// The worker is stopping or the ledger is away: this is no outcome,
		// and the next attempt observes first.
		return view, asActivityError(err, view)
	default:
		view.Status, view.Reason = incident.ActionFailed, err.Error()
		var drift *driver.DriftError
		if errors.As(err, &drift) && !view.Applied {
			view.Status = incident.ActionRefused
		}
	}
	view.FinishedAt = a.Now().UTC()
	if werr := a.recordOutcome(ctx, in, view); werr != nil {
		return view, asActivityError(werr, view)
	}
	if err != nil && errors.Is(err, context.DeadlineExceeded) {
		return view, temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeOverrun, temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{view}})
	}
	return view, asActivityError(err, view)
}

// finished answers a retry whose outcome had been recorded before the worker
// died.
func finished(view incident.ActionView) (incident.ActionView, error) {
	if view.Status == incident.ActionDone {
		return view, nil
	}
	return view, temporal.NewApplicationErrorWithOptions(view.Reason, incident.ErrTypeInvalid, temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{view}})
}

// authorized checks, beside whatever the workflow believes, that the action is
// part of the plan, that the plan is the one approved, and that the ledger has
// a decision on it. A rollback started past the incident finds none.
func (a *Activities) authorized(ctx context.Context, in ExecuteInput) error {
	digest, err := in.Plan.Digest()
	if err != nil {
		return err
	}
	if digest != in.PlanDigest {
		return fmt.Errorf("check plan: %w: it has digest %s, approved was %s", driver.ErrInvalid, incident.ShortDigest(digest), incident.ShortDigest(in.PlanDigest))
	}
	if in.Index < 0 || in.Index >= len(in.Plan.Actions) || (in.Plan.Actions[in.Index] != in.Action && in.Plan.Actions[in.Index].Swapped() != in.Action) {
		return fmt.Errorf("check plan: %w: action %d is not part of it", driver.ErrInvalid, in.Index)
	}
	for _, id := range in.DecisionIDs {
		e, ok, err := a.Ledger.Get(ctx, id)
		if err != nil {
			return fmt.Errorf("%w: read %q: %w", errLedger, id, err)
		}
		var d incident.Decision
		if !ok || e.Kind != incident.EventDecision || e.Incident != in.Incident || json.Unmarshal(e.Payload, &d) != nil {
			continue
		}
		if d.PlanDigest == in.PlanDigest && d.Outcome == incident.OutcomeApproved && in.Plan.Incident == in.Incident {
			return nil
		}
	}
	return fmt.Errorf("check approval: %w: the ledger has no decision that approves plan %s", driver.ErrDenied, incident.ShortDigest(in.PlanDigest))
}

func (a *Activities) intent(in ExecuteInput) incident.Entry {
	payload, _ := json.Marshal(struct {
		Rollback   string          `json:"rollback"`
		PlanDigest string          `json:"plan_digest"`
		Key        string          `json:"key"`
		Action     incident.Action `json:"action"`
	}{in.Rollback, in.PlanDigest, in.Action.Key(in.Rollback, in.Index), in.Action})
	return incident.Entry{ID: in.IntentID, Incident: in.Incident, Kind: incident.EventIntent, At: a.Now().UTC(), Text: IntentText(in.Action), Payload: payload}
}

// recordOutcome writes what became of the action even when the activity's time
// is over.
func (a *Activities) recordOutcome(ctx context.Context, in ExecuteInput, view incident.ActionView) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	payload, err := json.Marshal(view)
	if err != nil {
		return err
	}
	_, err = a.write(ctx, incident.Entry{ID: in.OutcomeID, Incident: in.Incident, Kind: incident.EventActionDone, At: view.FinishedAt, Text: OutcomeText(view), Payload: payload})
	return err
}

func observed(o driver.Observation) string {
	s := o.State.Label
	if s == "" && o.State.Revision != "" {
		s = "revision " + o.State.Revision
	}
	if o.Detail != "" {
		s += " (" + o.Detail + ")"
	}
	return s
}
