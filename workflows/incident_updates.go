package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// setHandlers makes the incident answer. Validators check form only: a
// rejected update leaves no trace, so whatever deserves one is accepted and
// its refusal recorded.
func (r *incidentRun) setHandlers(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, incident.QueryView, func() (incident.View, error) { return *r.view(), nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdatePage, r.page, workflow.UpdateHandlerOptions{
		Validator: func(p incident.Page) error { return p.Validate() },
	}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdateDecide, r.decide, workflow.UpdateHandlerOptions{
		Validator: func(q incident.DecideRequest) error { return q.Validate() },
	}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdateCommand, r.command, workflow.UpdateHandlerOptions{
		Validator: func(q incident.CommandRequest) error { return q.Validate() },
	})
}

// page takes one event of the source. The same event twice is one event, and
// an older event never undoes a newer one.
func (r *incidentRun) page(ctx workflow.Context, p incident.Page) (incident.Result, error) {
	id := "page:" + p.EventID
	if res, ok := r.state.Results[id]; ok {
		res.Outcome = incident.OutcomeDuplicate
		return res, nil
	}
	v := r.view()
	first := v.OpenedAt.IsZero()
	if first || p.OpenedAt.Before(v.OpenedAt) && !p.OpenedAt.IsZero() {
		v.OpenedAt = p.OpenedAt.UTC()
		if v.OpenedAt.IsZero() {
			v.OpenedAt = p.OccurredAt.UTC()
		}
	}
	// A reconciliation repeats what is known; only news are worth a line.
	news := p.Kind != incident.PageReconciled || first
	r.takeFacts(p, first)
	r.takeStatus(p)
	res := incident.Result{Outcome: incident.OutcomeAccepted, Reason: "page taken", Revision: v.Revision}
	if news {
		actor := ""
		if p.Reporter.Via != "" {
			actor = p.Reporter.String()
		}
		res.EventID = r.event(ctx, incident.EventPage, p.OccurredAt, actor, activities.PageText(p), p)
		r.changed()
	}
	if first {
		r.index(ctx)
		r.wanted.collect = true
	}
	return r.keep(id, res), nil
}

// takeFacts keeps what the newest event says about the incident.
func (r *incidentRun) takeFacts(p incident.Page, first bool) {
	v := r.view()
	if !first && p.OccurredAt.Before(r.state.SourceAt) {
		return
	}
	if p.Title != "" {
		v.Title = truncate(p.Title, incident.MaxTitle)
	}
	v.Severity, v.Source = p.Severity, p.Source
	if p.URL != "" {
		v.SourceURL = p.URL
	}
	if p.ServiceID != "" {
		r.state.ServiceID = p.ServiceID
	}
	if p.Service != "" {
		v.Service = p.Service
	}
	if p.Channel != "" && v.Card.Channel == "" {
		v.Card.Channel = p.Channel
	}
}

// takeStatus follows the incident at its source: resolved there, and it can
// end here; opened again, and it goes on.
func (r *incidentRun) takeStatus(p incident.Page) {
	if p.OccurredAt.Before(r.state.SourceAt) || p.Kind == incident.PageNoted {
		return
	}
	was := r.state.SourceKind
	r.state.SourceAt = p.OccurredAt
	switch p.Kind {
	case incident.PageResolved:
		r.state.SourceKind = p.Kind
		if was != incident.PageResolved && r.rolling == nil && r.wanted.rollback == nil {
			r.wanted.conclude = true
		}
	case incident.PageTriggered, incident.PageReopened, incident.PageReconciled:
		r.state.SourceKind = p.Kind
		if was == incident.PageResolved || (r.view().Phase == incident.PhaseRecovered && p.Kind == incident.PageReopened) {
			r.wanted.conclude, r.wanted.finish = false, false
			r.wanted.collect = true
		}
	case incident.PageAcknowledged, incident.PagePriority, incident.PageService, incident.PageNoted:
	}
}

// keep remembers the result of an update, so that its repetition gets the
// same.
func (r *incidentRun) keep(id string, res incident.Result) incident.Result {
	res.Revision = r.view().Revision
	if len(r.state.Results) < maxResults {
		r.state.Results[id] = res
	}
	return res
}

// decide takes one person's answer to one plan.
func (r *incidentRun) decide(ctx workflow.Context, q incident.DecideRequest) (incident.Result, error) {
	if err := r.mutex.Lock(ctx); err != nil {
		return incident.Result{}, err
	}
	defer r.mutex.Unlock()
	id := "decide:" + q.DecisionID
	if res, ok := r.state.Results[id]; ok {
		return res, nil
	}
	v := r.view()
	opt, known := v.Option(q.OptionID)
	if res, moot := r.moot(q, opt, known); moot {
		res.EventID = r.event(ctx, incident.EventDecision, workflow.Now(ctx), q.Actor.String(),
			fmt.Sprintf("%s of %s did nothing: %s", q.Answer, q.OptionID, res.Reason), q)
		return r.keep(id, res), nil
	}
	in := activities.DecideInput{
		EventID: r.nextEvent(), Key: v.Key, Request: q, Option: opt, Service: v.Service, ServiceID: r.state.ServiceID,
		Severity: v.Severity, Commander: v.Commander, Prior: v.Decisions, Now: workflow.Now(ctx).UTC(),
	}
	var got activities.DecideResult
	if err := workflow.ExecuteActivity(decideOptions(ctx), act.Decide, in).Get(ctx, &got); err != nil {
		res := incident.Result{Outcome: incident.OutcomeDenied, Reason: "who you are and what you may decide could not be checked: " + plain(err)}
		res.EventID = r.event(ctx, incident.EventDecision, workflow.Now(ctx), q.Actor.String(), res.Reason, q)
		return r.keep(id, res), nil
	}
	d := got.Decision
	v.Decisions = append(v.Decisions, d)
	v.Waiting = got.Waiting
	r.line(incident.Event{ID: d.EventID, Kind: incident.EventDecision, At: d.At, Actor: d.Person.Name, Text: d.Sentence})
	r.changed()
	switch d.Outcome {
	case incident.OutcomeApproved:
		r.start(ctx, opt, got.Approvers)
	case incident.OutcomeRefused:
		r.refuse(opt)
	case incident.OutcomeWaiting, incident.OutcomeDenied, incident.OutcomeStale, incident.OutcomeLate,
		incident.OutcomeUnidentified, incident.OutcomeAccepted, incident.OutcomeDuplicate:
	}
	return r.keep(id, incident.Result{Outcome: d.Outcome, Reason: d.Sentence, EventID: d.EventID}), nil
}

// moot says why an answer can not count whoever gives it.
func (r *incidentRun) moot(q incident.DecideRequest, opt incident.Option, known bool) (incident.Result, bool) {
	v := r.view()
	switch {
	case r.rolling != nil || r.wanted.rollback != nil:
		by := r.decidedBy()
		return incident.Result{Outcome: incident.OutcomeLate, Reason: "it had been decided already; nothing was done", By: by}, true
	case v.Phase == incident.PhaseRecovered || v.Phase == incident.PhaseClosed:
		return incident.Result{Outcome: incident.OutcomeLate, Reason: "the incident is over; nothing was done", By: r.decidedBy()}, true
	case !known || opt.Digest != q.PlanDigest:
		return incident.Result{Outcome: incident.OutcomeStale, Reason: "the plan has changed since that card; look at the new one; nothing was done"}, true
	case opt.Blocked:
		return incident.Result{Outcome: incident.OutcomeDenied, Reason: "the preflight forbids that option; nothing was done"}, true
	}
	return incident.Result{}, false
}

func (r *incidentRun) decidedBy() string {
	for i := len(r.view().Decisions) - 1; i >= 0; i-- {
		if d := r.view().Decisions[i]; d.Outcome == incident.OutcomeApproved {
			return d.Person.Name
		}
	}
	return ""
}

// start hands an approved plan to the main loop.
func (r *incidentRun) start(ctx workflow.Context, opt incident.Option, approvers []incident.Person) {
	v := r.view()
	now := workflow.Now(ctx).UTC()
	in := incident.RollbackInput{
		ID: incident.RollbackID(v.Key, len(v.Rollbacks)+1), Incident: v.Key, Option: opt,
		ApprovedAt: now, Approvers: approvers, OnsetAt: v.OpenedAt,
	}
	for _, d := range v.Decisions {
		if d.PlanDigest == opt.Digest && (d.Outcome == incident.OutcomeApproved || d.Outcome == incident.OutcomeWaiting) {
			in.DecisionIDs = append(in.DecisionIDs, d.EventID)
		}
	}
	if opt.Suspect != nil {
		in.ChangedAt = opt.Suspect.Change.At
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
func (r *incidentRun) refuse(refused incident.Option) {
	next := true
	for i := range r.view().Options {
		o := &r.view().Options[i]
		if o.ID == refused.ID {
			o.Recommended, o.Blocked = false, true
			o.Preflight = append(o.Preflight, incident.Preflight{Name: "refused", Result: incident.PreflightBlocked, Reason: "A responder refused this option."})
			continue
		}
		if refused.Recommended && next && !o.Blocked && !o.OneWay() {
			o.Recommended, next = true, false
		}
	}
}

// command takes a command other than a decision.
func (r *incidentRun) command(ctx workflow.Context, q incident.CommandRequest) (incident.Result, error) {
	if err := r.mutex.Lock(ctx); err != nil {
		return incident.Result{}, err
	}
	defer r.mutex.Unlock()
	id := "command:" + q.CommandID
	if res, ok := r.state.Results[id]; ok {
		res.Outcome = incident.OutcomeDuplicate
		return res, nil
	}
	v := r.view()
	in := activities.AuthorizeInput{
		EventID: r.nextEvent(), Key: v.Key, Request: q, Service: v.Service, ServiceID: r.state.ServiceID, Commander: v.Commander, Now: workflow.Now(ctx).UTC(),
	}
	var who activities.AuthorizeResult
	if err := workflow.ExecuteActivity(decideOptions(ctx), act.Authorize, in).Get(ctx, &who); err != nil {
		res := incident.Result{Outcome: incident.OutcomeDenied, Reason: "who you are could not be checked: " + plain(err)}
		res.EventID = r.event(ctx, incident.EventCommand, workflow.Now(ctx), q.Actor.String(), res.Reason, q)
		return r.keep(id, res), nil
	}
	res := incident.Result{Outcome: who.Outcome, Reason: who.Reason, EventID: in.EventID}
	if who.Outcome == incident.OutcomeAccepted {
		res = r.obey(ctx, q, who)
		res.EventID = in.EventID
	}
	r.line(incident.Event{ID: in.EventID, Kind: incident.EventCommand, At: in.Now, Actor: who.Person.Name, Text: string(q.Verb) + ": " + res.Reason})
	r.changed()
	return r.keep(id, res), nil
}

func (r *incidentRun) obey(ctx workflow.Context, q incident.CommandRequest, who activities.AuthorizeResult) incident.Result {
	v := r.view()
	no := func(why string) incident.Result {
		return incident.Result{Outcome: incident.OutcomeDenied, Reason: why}
	}
	yes := func(what string) incident.Result {
		return incident.Result{Outcome: incident.OutcomeAccepted, Reason: what}
	}
	switch q.Verb {
	case incident.VerbTakeCommand:
		p := who.Person
		if v.Commander != nil && v.Commander.ID == p.ID {
			return yes("you are the incident commander already")
		}
		v.Commander = &p
		r.voidPending()
		return yes(p.Name + " is the incident commander")
	case incident.VerbRefresh:
		if r.rolling != nil || r.wanted.rollback != nil {
			return no("a rollback is running; the options are worked out again when it ends")
		}
		r.wanted.collect = true
		return yes("the options are being worked out again")
	case incident.VerbCancel:
		if r.rolling == nil {
			return no("no rollback is running")
		}
		if err := r.rolling.SignalChildWorkflow(ctx, incident.SignalCancel, nil).Get(ctx, nil); err != nil {
			return no("the rollback could not be reached: " + plain(err))
		}
		return yes("the rollback stops before its next action")
	case incident.VerbRedo:
		last := v.LastRollback()
		switch {
		case r.rolling != nil || r.wanted.rollback != nil:
			return no("a rollback is running")
		case last == nil || (last.Status != incident.RollbackDone && last.Status != incident.RollbackPartial):
			return no("there is no finished rollback to undo")
		}
		r.wanted.redo = true
		return yes("undoing the rollback is being worked out as an option; it needs an approval of its own")
	case incident.VerbEscalate:
		r.wanted.escalate = "asked for by " + who.Person.Name
		return yes("the next level is being paged")
	case incident.VerbClose:
		if r.rolling != nil || r.wanted.rollback != nil {
			return no("a rollback is running; cancel it first")
		}
		r.state.SourceKind, r.state.SourceAt = incident.PageResolved, workflow.Now(ctx).UTC()
		r.wanted.conclude = true
		return yes("the incident is being closed")
	default:
		return no("unknown command")
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

func truncate(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
