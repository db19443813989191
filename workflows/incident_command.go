package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// What commands that did nothing are counted by, once they are many.
const (
	uncheckedCommand = "who you are could not be checked, so nothing was done; try again"
	idleCommand      = "commands that could not be obeyed"
)

// command takes a command other than a decision.
func (r *incidentRun) command(ctx workflow.Context, q incident.CommandRequest) (incident.Result, error) {
	r.updates++
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := r.mutex.Lock(ctx); err != nil {
		return incident.Result{}, err
	}
	defer r.mutex.Unlock()
	id := "command:" + q.CommandID
	if res, ok := r.state.Results[id]; ok {
		res.Outcome = incident.OutcomeDuplicate
		return res, nil
	}
	if res, ok := r.spent(id); ok {
		return res, nil
	}
	v := r.view()
	in := activities.AuthorizeInput{
		EventID: incident.CommandEventID(v.Key, q.CommandID), Key: v.Key, Request: q, Service: v.Service, ServiceID: r.state.ServiceID, Commander: v.Commander, Now: workflow.Now(ctx).UTC(),
	}
	var who activities.AuthorizeResult
	if err := workflow.ExecuteActivity(decideOptions(ctx), act.Authorize, in).Get(ctx, &who); err != nil {
		res := incident.Result{Outcome: incident.OutcomeDenied, Reason: uncheckedCommand + ": " + plain(err)}
		if class, single := r.idle(ctx, res.Outcome, uncheckedCommand); !single {
			return r.spend(id, class, res), nil
		}
		res.EventID = r.event(ctx, incident.EventCommand, workflow.Now(ctx), q.Actor.String(), res.Reason, q)
		return r.keep(id, res), nil
	}
	res := incident.Result{Outcome: who.Outcome, Reason: who.Reason}
	if who.Outcome == incident.OutcomeAccepted {
		res = r.obey(ctx, q, who, in.EventID)
	}
	res.EventID = in.EventID
	if !counts(res.Outcome) {
		// The ledger has each under its own ID; that it did nothing is known here.
		if class, single := r.idle(ctx, res.Outcome, idleCommand); !single {
			return r.spend(id, class, res), nil
		}
	}
	r.line(incident.Event{ID: in.EventID, Kind: incident.EventCommand, At: in.Now, Actor: who.Person.Name, Text: string(q.Verb) + ": " + truncate(res.Reason, maxEventText)})
	r.changed()
	return r.keep(id, res), nil
}

func yes(what string) incident.Result {
	return incident.Result{Outcome: incident.OutcomeAccepted, Reason: what}
}

func no(why string) incident.Result {
	return incident.Result{Outcome: incident.OutcomeDenied, Reason: why}
}

// obey carries out an allowed command.
func (r *incidentRun) obey(ctx workflow.Context, q incident.CommandRequest, who activities.AuthorizeResult, eventID string) incident.Result {
	v, by := r.view(), who.Person
	running := r.rolling != nil || r.wanted.rollback != nil
	if v.Phase == incident.PhaseClosed || r.cancelled {
		return no("the incident is closed; nothing was done")
	}
	switch q.Verb {
	case incident.VerbTakeCommand:
		if v.Commander != nil && v.Commander.ID == by.ID {
			return yes("you are the incident commander already")
		}
		return r.setCommander(ctx, by)
	case incident.VerbHandOver:
		switch {
		case who.Target.ID == "":
			return no("it is not known whom you named; nothing was done")
		case v.Commander != nil && v.Commander.ID == who.Target.ID:
			return yes("they are the incident commander already")
		}
		return r.setCommander(ctx, who.Target)
	case incident.VerbRefresh:
		if running {
			return no("a rollback is running; the options are worked out again when it ends")
		}
		r.wanted.collect = true
		return yes("the options are being worked out again")
	case incident.VerbCancel:
		return r.cancel(ctx, by)
	case incident.VerbRedo:
		last := v.LastRollback()
		switch {
		case running:
			return no("a rollback is running; cancel it first")
		case last == nil || !slices.ContainsFunc(last.Actions, func(a incident.ActionView) bool { return a.Applied && a.Status != incident.ActionSkipped }):
			return no("the last rollback changed nothing that could be undone")
		}
		r.wanted.redo, r.state.RedoBy = true, &by
		return yes("undoing the rollback is being worked out as an option; it needs an approval of its own")
	case incident.VerbEscalate:
		r.escalate(ctx, "asked "+eventID, "asked for by "+by.Name)
		return yes("the next level is being paged")
	case incident.VerbClose:
		if running {
			return no("a rollback is running; cancel it first")
		}
		r.takeBack(ctx, named(by)+" closed the incident", "")
		r.state.SourceKind, r.state.SourceAt = incident.PageResolved, workflow.Now(ctx).UTC()
		r.state.ByHand = true
		r.wanted.conclude = true
		return yes("the incident is being closed")
	default:
		return no("unknown command")
	}
}

// setCommander gives the command to a person, and makes void what was approved
// under another.
func (r *incidentRun) setCommander(ctx workflow.Context, p incident.Person) incident.Result {
	r.view().Commander = &p
	r.state.VoidBefore = workflow.Now(ctx).UTC()
	r.takeBack(ctx, "the command changed hands", approveAgain)
	r.voidPending()
	return yes(p.Name + " is the incident commander")
}

// cancel stops a rollback: one that has not begun at once, one that runs
// before its next action, and one that watches over recovery right there.
func (r *incidentRun) cancel(ctx workflow.Context, by incident.Person) incident.Result {
	switch {
	case r.rolling != nil:
		if err := r.rolling.SignalChildWorkflow(ctx, incident.SignalCancel, nil).Get(ctx, nil); err != nil {
			return no("the rollback could not be reached: " + plain(err))
		}
		if r.view().Phase == incident.PhaseValidating {
			return yes("all actions are done; the watch over recovery stops, and undoing the rollback can be asked for")
		}
		return yes("the rollback stops before its next action")
	case r.wanted.rollback != nil:
		r.unstarted(ctx, incident.RollbackCancelled, "cancelled before it began; nothing was touched")
		r.setPhase(ctx, incident.PhaseCollecting)
		r.wanted.collect = true
		return yes("the rollback was cancelled before it began; nothing was touched")
	case r.view().Objections != nil:
		r.takeBack(ctx, named(by)+" cancelled it", approveAgain)
		return yes("the approval was taken back before the rollback began; nothing was touched")
	default:
		return no("no rollback is running")
	}
}
