package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// refusedCheck names the check that keeps a refused option from being chosen.
const refusedCheck = "refused"

// decide takes one person's answer to one plan.
func (r *incidentRun) decide(ctx workflow.Context, q incident.DecideRequest) (incident.Result, error) {
	r.updates++
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := r.mutex.Lock(ctx); err != nil {
		return incident.Result{}, err
	}
	defer r.mutex.Unlock()
	id := "decide:" + q.DecisionID
	if res, ok := r.state.Results[id]; ok {
		return res, nil
	}
	if res, ok := r.spent(id); ok {
		return res, nil
	}
	v := r.view()
	opt, known := v.Option(q.OptionID)
	if res, moot := r.moot(q, opt, known); moot {
		if class, single := r.idle(ctx, res.Outcome, res.Reason); !single {
			return r.spend(id, class, res), nil
		}
		res.EventID = r.event(ctx, incident.EventDecision, workflow.Now(ctx), q.Actor.String(),
			fmt.Sprintf("%s of %s did nothing: %s", q.Answer, q.OptionID, res.Reason), q)
		return r.keep(id, res), nil
	}
	in := activities.DecideInput{
		EventID: incident.DecisionEventID(v.Key, q.DecisionID), Key: v.Key, Request: q, Option: opt, Service: v.Service, ServiceID: r.state.ServiceID,
		Severity: v.Severity, Commander: v.Commander, Prior: v.Decisions, VoidBefore: r.state.VoidBefore,
		Rollback: r.nextRollback(), Now: workflow.Now(ctx).UTC(),
	}
	if activities.IsRedo(opt) {
		in.Requester = r.state.RedoBy
	}
	got, err := judge(ctx, in)
	if err != nil {
		res := incident.Result{Outcome: incident.OutcomeDenied, Reason: unchecked + ": " + plain(err)}
		if class, single := r.idle(ctx, res.Outcome, unchecked); !single {
			return r.spend(id, class, res), nil
		}
		res.EventID = r.event(ctx, incident.EventDecision, workflow.Now(ctx), q.Actor.String(), res.Reason, q)
		return r.keep(id, res), nil
	}
	d := got.Decision
	if !counts(d.Outcome) {
		if _, single := r.idle(ctx, d.Outcome, ""); !single {
			return incident.Result{Outcome: d.Outcome, Reason: d.Sentence, EventID: d.EventID, Revision: v.Revision}, nil
		}
	}
	switch d.Outcome {
	case incident.OutcomeWaiting:
		v.Waiting = got.Waiting
	case incident.OutcomeRefused:
		v.Waiting = ""
	case incident.OutcomeApproved, incident.OutcomeDenied, incident.OutcomeStale, incident.OutcomeLate,
		incident.OutcomeUnidentified, incident.OutcomeAccepted, incident.OutcomeDuplicate:
		// Somebody who may not decide this takes nothing from those who did.
	}
	r.line(incident.Event{ID: d.EventID, Kind: incident.EventDecision, At: d.At, Actor: d.Person.Name, Text: truncate(d.Sentence, maxEventText)})
	if d.Outcome == incident.OutcomeApproved && r.cancelled {
		d.Outcome, d.Sentence = incident.OutcomeLate, "the incident was cancelled meanwhile; nothing was done"
	}
	r.remember(d)
	r.changed()
	switch d.Outcome {
	case incident.OutcomeApproved:
		if d.BreakGlass {
			r.glassBroken(ctx, d, opt)
		}
		r.approved(ctx, in, got)
	case incident.OutcomeRefused:
		r.reminded()
		r.refuse(opt, d.Person.Name)
		if w := v.Objections; w != nil && w.PlanDigest == opt.Digest {
			r.takeBack(ctx, named(d.Person)+" objected", "choose another option")
		}
	case incident.OutcomeWaiting, incident.OutcomeDenied, incident.OutcomeStale, incident.OutcomeLate,
		incident.OutcomeUnidentified, incident.OutcomeAccepted, incident.OutcomeDuplicate:
	}
	return r.keep(id, incident.Result{Outcome: d.Outcome, Reason: d.Sentence, StartsAt: d.ObjectionsUntil, EventID: d.EventID}), nil
}

// judge asks what an answer amounts to: in the workflow task itself, which
// spares a person two turns through the queue, and in an activity of its own
// where that does not work at once. Both write the same ledger entry.
func judge(ctx workflow.Context, in activities.DecideInput) (activities.DecideResult, error) {
	var got activities.DecideResult
	if err := workflow.ExecuteLocalActivity(decideAtOnce(ctx), act.Decide, in).Get(ctx, &got); err == nil {
		return got, nil
	}
	got = activities.DecideResult{}
	err := workflow.ExecuteActivity(decideOptions(ctx), act.Decide, in).Get(ctx, &got)
	return got, err
}

// moot says why an answer can not count whoever gives it.
func (r *incidentRun) moot(q incident.DecideRequest, opt incident.Option, known bool) (incident.Result, bool) {
	v := r.view()
	switch {
	case r.rolling != nil || r.wanted.rollback != nil:
		return incident.Result{Outcome: incident.OutcomeLate, Reason: "it had been decided already; nothing was done", By: r.decidedBy()}, true
	case v.Phase == incident.PhaseRecovered || v.Phase == incident.PhaseClosed || r.cancelled:
		return incident.Result{Outcome: incident.OutcomeLate, Reason: "the incident is over; nothing was done", By: r.decidedBy()}, true
	case r.state.Unrecorded:
		return incident.Result{Outcome: incident.OutcomeDenied, Reason: "the ledger refused a record of this incident, so nothing is executed for it any more; handle it by hand"}, true
	case r.state.CarriedOut != "" && q.PlanDigest == r.state.CarriedOut:
		return incident.Result{Outcome: incident.OutcomeLate, Reason: "that plan has been carried out; look at what is offered now; nothing was done", By: r.decidedBy()}, true
	case !known || opt.Digest != q.PlanDigest:
		return incident.Result{Outcome: incident.OutcomeStale, Reason: "the plan has changed since that card; look at the new one; nothing was done"}, true
	case opt.Blocked:
		return incident.Result{Outcome: incident.OutcomeDenied, Reason: blockedBecause(opt)}, true
	case v.Objections != nil && q.Answer == incident.AnswerApprove && !q.BreakGlass:
		return r.waitsForObjections(opt), true
	}
	return incident.Result{}, false
}

// waitsForObjections says to whoever approves another time that it is not needed, and
// to whoever approves something else what they can do.
func (r *incidentRun) waitsForObjections(opt incident.Option) incident.Result {
	w := r.view().Objections
	reason := w.OptionID + " waits for objections, and starts at " + hms(w.Until) + " unless somebody objects"
	if opt.Digest != w.PlanDigest {
		reason += "; to choose " + opt.ID + ", object to " + w.OptionID + " first"
	}
	return incident.Result{Outcome: incident.OutcomeLate, Reason: reason + "; nothing was done", By: everybody(w.Approvers)}
}

func blockedBecause(o incident.Option) string {
	for _, c := range o.Preflight {
		if c.Name == refusedCheck && c.Result == incident.PreflightBlocked {
			return "that option was refused; choose another one; nothing was done"
		}
	}
	return "the preflight forbids that option; nothing was done"
}

func (r *incidentRun) decidedBy() string {
	for i := len(r.view().Decisions) - 1; i >= 0; i-- {
		if d := r.view().Decisions[i]; d.Outcome == incident.OutcomeApproved {
			return d.Person.Name
		}
	}
	return ""
}

// remember keeps a decision. When there are too many, those that never counted
// give way first; the ledger keeps them all.
func (r *incidentRun) remember(d incident.Decision) {
	v := r.view()
	v.Decisions = append(v.Decisions, d)
	if len(v.Decisions) <= maxDecisions {
		return
	}
	oldest := max(0, slices.IndexFunc(v.Decisions, func(d incident.Decision) bool { return !counts(d.Outcome) }))
	v.Decisions = slices.Delete(v.Decisions, oldest, oldest+1)
}

// nextRollback is the ID of the rollback that an approval would start.
func (r *incidentRun) nextRollback() string {
	return incident.RollbackID(r.prefix(), len(r.view().Rollbacks)+1)
}

// start hands an approved plan to the main loop.
func (r *incidentRun) start(ctx workflow.Context, opt incident.Option, approvers []incident.Person) {
	v := r.view()
	now := workflow.Now(ctx).UTC()
	in := incident.RollbackInput{
		ID: r.nextRollback(), Incident: v.Key, Option: opt,
		ApprovedAt: now, Approvers: approvers, OnsetAt: v.OpenedAt,
	}
	for _, d := range v.Decisions {
		if d.PlanDigest == opt.Digest && (d.Outcome == incident.OutcomeApproved || d.Outcome == incident.OutcomeWaiting) {
			in.DecisionIDs = append(in.DecisionIDs, d.EventID)
		}
	}
	if opt.Suspect != nil {
		// One change may be dated by several sources; the earliest counts.
		in.ChangedAt = runbooks.ChangedAt(v.Ranking, *opt.Suspect)
	}
	view := incident.RollbackView{ID: in.ID, OptionID: opt.ID, PlanDigest: opt.Digest, Service: opt.Plan.Service, Runbook: opt.Plan.Runbook, Option: opt.Plan.Option, Status: incident.RollbackRunning, ApprovedAt: now, Step: "starting"}
	for _, a := range opt.Plan.Actions {
		view.Actions = append(view.Actions, incident.ActionView{Action: a, Status: incident.ActionPending})
	}
	v.Rollbacks = append(v.Rollbacks, view)
	v.Waiting = ""
	r.wanted.rollback = &in
}

// refuse takes a refused option off the table and points to the next one.
func (r *incidentRun) refuse(refused incident.Option, by string) {
	if by == "" {
		by = "a responder"
	}
	next := refused.Recommended
	for i := range r.view().Options {
		o := &r.view().Options[i]
		if o.ID == refused.ID {
			o.Recommended, o.Blocked = false, true
			o.Preflight = append(slices.Clone(o.Preflight), incident.Preflight{Name: refusedCheck, Result: incident.PreflightBlocked, Reason: "Refused by " + by + "."})
			continue
		}
		if next && !o.Blocked && !o.OneWay() {
			o.Recommended, next = true, false
		}
	}
}

// voidPending takes the force from answers that wait for more, because the
// command has changed hands.
func (r *incidentRun) voidPending() {
	for i := range r.view().Decisions {
		if d := &r.view().Decisions[i]; d.Outcome == incident.OutcomeWaiting {
			d.Outcome = incident.OutcomeStale
			d.Sentence += " (void: the command changed hands)"
		}
	}
	r.view().Waiting = ""
}
