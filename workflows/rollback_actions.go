package workflows

import (
	"errors"
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// execute runs the actions in order, and does what each says when it fails.
func (r *rollback) execute(ctx workflow.Context) {
	failed, stop := false, false
	for i := range r.view.Actions {
		av := &r.view.Actions[i]
		if !stop && r.stop {
			stop = true
			r.view.Status, r.view.Reason = incident.RollbackCancelled, "cancelled before "+av.Action.Target.String()
			r.record(ctx, incident.EventRollback, r.view.Reason, nil)
		}
		if stop {
			av.Status = incident.ActionSkipped
			continue
		}
		r.executeOne(ctx, i)
		if av.Status == incident.ActionDone {
			continue
		}
		if !failed {
			r.view.Reason = fmt.Sprintf("%s: %s", av.Action.Target, av.Reason)
		}
		failed = true
		switch av.Action.OnFailure {
		case incident.OnFailureContinue:
		case incident.OnFailureCompensate:
			stop = true
			r.compensate(ctx, i)
		case incident.OnFailureStop, incident.OnFailureEscalate:
			stop = true
		default:
			stop = true
		}
	}
	r.view.ActionsDoneAt = workflow.Now(ctx)
	switch {
	case r.view.Status == incident.RollbackCancelled:
	case !failed:
		r.view.Status = incident.RollbackDone
	case slices.ContainsFunc(r.view.Actions, touched):
		r.view.Status = incident.RollbackPartial
	case !slices.ContainsFunc(r.view.Actions, func(a incident.ActionView) bool { return a.Status == incident.ActionFailed }):
		// The world moved, or the approval ran out, in the last moment.
		r.view.Status = incident.RollbackVoid
		r.view.Reason += "; nothing was touched"
	default:
		r.view.Status = incident.RollbackFailed
	}
}

func (r *rollback) executeOne(ctx workflow.Context, i int) {
	av := &r.view.Actions[i]
	av.Status = incident.ActionRunning
	r.step(ctx, fmt.Sprintf("%s to %s", av.Action.Target, label(av.Action.To)))
	*av = r.carryOut(ctx, i, *av, false)
	if av.Applied && r.view.FirstMutationAt.IsZero() {
		r.view.FirstMutationAt = av.MutatedAt
	}
	r.report(ctx)
}

// carryOut has an action done, or taken back, and says what became of it.
func (r *rollback) carryOut(ctx workflow.Context, i int, av incident.ActionView, back bool) incident.ActionView {
	in := activities.ExecuteInput{
		Incident: r.in.Incident, Rollback: r.in.ID, Index: i, Action: av.Action, Plan: r.in.Option.Plan, PlanDigest: r.in.Option.Digest,
		IntentID: incident.IntentID(r.in.ID, i, back), OutcomeID: incident.OutcomeID(r.in.ID, i, back), DecisionIDs: r.in.DecisionIDs,
	}
	got := av
	if err := workflow.ExecuteActivity(executeOptions(ctx, av.Action), act.ExecuteAction, in).Get(ctx, &got); err != nil {
		got = failedAction(av, err)
	}
	if !got.MutatedAt.IsZero() {
		r.note(in.IntentID, incident.EventIntent, got.MutatedAt, activities.IntentText(got.Action))
	}
	if !got.FinishedAt.IsZero() {
		r.note(in.OutcomeID, incident.EventActionDone, got.FinishedAt, activities.OutcomeText(got))
		return got
	}
	// Nobody could write the outcome beside the effect.
	got.FinishedAt = workflow.Now(ctx)
	r.record(ctx, incident.EventRollback, activities.OutcomeText(got), nil)
	return got
}

// failedAction is what is known of an action whose activity failed. It has a
// moment only if the activity recorded the outcome.
func failedAction(av incident.ActionView, err error) incident.ActionView {
	av.Status, av.Reason = incident.ActionFailed, truncate(plain(err), maxEventText)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		return av
	}
	var known incident.ActionView
	if app.HasDetails() && app.Details(&known) == nil {
		av.Observed, av.Applied, av.MutatedAt, av.FinishedAt = known.Observed, known.Applied, known.MutatedAt, known.FinishedAt
	}
	if known.Status == incident.ActionRefused || (app.Type() == incident.ErrTypeDrift && av.MutatedAt.IsZero()) {
		av.Status = incident.ActionRefused
	}
	return av
}

// compensate takes back, newest first, the reversible actions done so far.
func (r *rollback) compensate(ctx workflow.Context, failed int) {
	for i := failed - 1; i >= 0; i-- {
		av := &r.view.Actions[i]
		if av.Status != incident.ActionDone || !av.Applied || !av.Action.Reversible {
			continue
		}
		r.step(ctx, fmt.Sprintf("taking %s back to %s", av.Action.Target, label(av.Action.From)))
		back := r.carryOut(ctx, i, incident.ActionView{Action: av.Action.Swapped()}, true)
		av.Observed = back.Observed
		if back.Status != incident.ActionDone {
			av.Reason = "could not be taken back: " + back.Reason
			r.view.Reason += fmt.Sprintf("; %s could not be taken back: %s", av.Action.Target, back.Reason)
			continue
		}
		av.Status = incident.ActionSkipped
		av.Reason = "taken back, because a later action failed"
	}
}
