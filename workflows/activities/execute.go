package activities

import (
	"cmp"
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

// outcomeDeadline is how long writing an outcome may take once the action is
// over: StartToClose leaves 10 s beyond the action's maximum time.
const outcomeDeadline = 5 * time.Second

// lastLook is the least time that an attempt has to find out where the target
// is, even if the action's maximum time went by while no worker was alive.
const lastLook = 5 * time.Second

// ending is an outcome as the ledger keeps it.
type ending struct {
	incident.ActionView
	// Key is the action's idempotency key.
	Key string `json:"key"`
	// ErrorType is the type of the application error that it ended with; empty
	// when the action is done.
	ErrorType string `json:"error_type,omitempty"`
}

// answer is the same for the attempt that made the outcome and for a retry
// that finds it in the ledger.
func (e ending) answer() (incident.ActionView, error) {
	if e.Status == incident.ActionDone {
		return e.ActionView, nil
	}
	return e.ActionView, temporal.NewApplicationErrorWithOptions(e.Reason, cmp.Or(e.ErrorType, incident.ErrTypeInvalid), temporal.ApplicationErrorOptions{
		NonRetryable: true, Details: []any{e.ActionView},
	})
}

// witness remembers whether an effect was sent of which it is not known that
// it did not land.
type witness struct {
	driver.Inverse
	sent bool
}

// Observe observes. A target at "from" has not been changed.
func (w *witness) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	seen, err := w.Inverse.Observe(ctx, action)
	if err == nil && seen.State.Digest == action.From.Digest {
		w.sent = false
	}
	return seen, err
}

// Await waits, if the inverse can.
func (w *witness) Await(ctx context.Context, action incident.Action) error {
	if waiter, ok := w.Inverse.(driver.Waiter); ok {
		return waiter.Await(ctx, action)
	}
	return errors.ErrUnsupported
}

// Apply applies. Only a final error and a plain answer say that there was no
// effect; any other error may be a lost answer.
func (w *witness) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	receipt, err := w.Inverse.Apply(ctx, action, key)
	w.sent = receipt.Mutated || (err != nil && !driver.Final(err))
	return receipt, err
}

// ExecuteAction takes one target from "from" to "to". The intent is in the
// ledger before the effect and the outcome after it. It believes nothing that
// it is told: without the ledger, without evidence, and without decisions in
// the ledger that satisfy the present policy for this very plan and rollback at
// this moment, nothing is touched.
//
// Killed at any point and run again, it observes first: a target at "to" is
// left alone, and counts as changed by this rollback if the intent had been
// announced. All attempts after the announcement share the action's maximum
// time.
func (a *Activities) ExecuteAction(ctx context.Context, in ExecuteInput) (incident.ActionView, error) {
	defer beat(ctx)()
	view := incident.ActionView{Action: in.Action, Status: incident.ActionRunning}
	if end, done, err := a.outcome(ctx, in); err != nil {
		return view, asActivityError(err, view)
	} else if done {
		return end.answer()
	}
	if err := genuine(in); err != nil {
		a.refused(ctx, in.Incident, "execute "+in.OutcomeID+" of plan "+in.PlanDigest, err)
		return view, asActivityError(err, view)
	}
	auth, err := a.authority(ctx, in)
	if err != nil {
		if _, final := classify(err); final {
			a.refused(ctx, in.Incident, "execute "+in.OutcomeID+" of plan "+in.PlanDigest, err)
		}
		return view, asActivityError(err, view)
	}
	announced, wasAnnounced, err := a.announced(ctx, in)
	if err != nil {
		return view, asActivityError(err, view)
	}
	if err := auth.check(a.Now()); err != nil && !wasAnnounced {
		if tooEarly(err) {
			return view, asActivityError(err, view)
		}
		view.Status, view.Reason, view.FinishedAt = incident.ActionRefused, said(err), a.Now().UTC()
		return a.conclude(ctx, in, view, err)
	}
	inv, err := a.Systems.Inverse(in.Action.Kind, in.Action.Target.System)
	if err != nil {
		view.MutatedAt = announced.At // It may have been changed before the system was lost.
		return view, asActivityError(err, view)
	}

	action, intentAt := in.Action, announced.At
	if wasAnnounced {
		action.MaxTime = min(action.MaxTime, max(lastLook, action.MaxTime-a.Now().Sub(announced.At)))
	}
	seen := &witness{Inverse: inv, sent: wasAnnounced}
	hooks := driver.Hooks{BeforeApply: func(ctx context.Context, _ driver.Observation) error {
		if err := auth.check(a.Now()); err != nil {
			return err
		}
		rec, err := a.write(ctx, a.intent(in))
		if err == nil {
			intentAt = rec.At
		}
		return err
	}}
	out, err := driver.Execute(ctx, seen, action, in.Action.Key(in.Rollback, in.Index), hooks)
	view.Observed = observed(out.Last)
	view.Applied = out.Applied || (seen.sent && out.Last.State.Digest == in.Action.To.Digest)
	if view.Applied || seen.sent {
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
		view.Status, view.Reason = incident.ActionFailed, said(err)
		var drift *driver.DriftError
		if errors.As(err, &drift) && view.MutatedAt.IsZero() {
			view.Status = incident.ActionRefused
		}
	}
	view.FinishedAt = a.Now().UTC()
	return a.conclude(ctx, in, view, err)
}

// conclude writes what became of the action, even when the activity's time is
// over. An outcome that another attempt wrote meanwhile stands.
func (a *Activities) conclude(ctx context.Context, in ExecuteInput, view incident.ActionView, because error) (incident.ActionView, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outcomeDeadline)
	defer cancel()
	end := ending{ActionView: view, Key: in.Action.Key(in.Rollback, in.Index)}
	if because != nil {
		end.ErrorType, _ = classify(because)
		if !driver.Final(because) && errors.Is(because, context.DeadlineExceeded) {
			end.ErrorType = ErrTypeOverrun
		}
	}
	payload, err := json.Marshal(end)
	if err != nil {
		return view, asActivityError(err, view)
	}
	_, err = a.write(ctx, incident.Entry{ID: in.OutcomeID, Incident: in.Incident, Kind: incident.EventActionDone, At: view.FinishedAt, Text: OutcomeText(view), Payload: payload})
	if err != nil {
		if there, done, rerr := a.outcome(ctx, in); rerr == nil && done {
			return there.answer()
		}
		// Only an outcome that is in the ledger has a moment.
		view.FinishedAt = time.Time{}
		return view, asActivityError(err, view)
	}
	return end.answer()
}

// outcome is what an earlier attempt at this very action recorded.
func (a *Activities) outcome(ctx context.Context, in ExecuteInput) (ending, bool, error) {
	var end ending
	_, done, err := a.recorded(ctx, in.OutcomeID, in.Incident, incident.EventActionDone, &end)
	if err == nil && done && end.Key != in.Action.Key(in.Rollback, in.Index) {
		err = fmt.Errorf("read %q: %w: it is the outcome of another action", in.OutcomeID, driver.ErrInvalid)
	}
	return end, done, err
}

// announced is the intent that an earlier attempt at this very action recorded.
func (a *Activities) announced(ctx context.Context, in ExecuteInput) (incident.Entry, bool, error) {
	var was announcement
	e, there, err := a.recorded(ctx, in.IntentID, in.Incident, incident.EventIntent, &was)
	if err == nil && there && was.Key != in.Action.Key(in.Rollback, in.Index) {
		err = fmt.Errorf("read %q: %w: it is the intent of another action", in.IntentID, driver.ErrInvalid)
	}
	return e, there, err
}

// announcement is an intent as the ledger keeps it.
type announcement struct {
	Rollback   string          `json:"rollback"`
	PlanDigest string          `json:"plan_digest"`
	Key        string          `json:"key"`
	Action     incident.Action `json:"action"`
}

func (a *Activities) intent(in ExecuteInput) incident.Entry {
	payload, _ := json.Marshal(announcement{in.Rollback, in.PlanDigest, in.Action.Key(in.Rollback, in.Index), in.Action})
	return incident.Entry{ID: in.IntentID, Incident: in.Incident, Kind: incident.EventIntent, At: a.Now().UTC(), Text: IntentText(in.Action), Payload: payload}
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
