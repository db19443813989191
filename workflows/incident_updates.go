package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// maxURL is the longest address that is kept of a page, in bytes.
const maxURL = 2000

// longOpen is how long an incident must have been open at its source before its
// first page here for it to be possible that it was open here before, and that
// Temporal has forgotten: retention is longer.
const longOpen = 12 * time.Hour

// setHandlers makes the incident answer. Validators check form only: a
// rejected update leaves no trace, so whatever deserves one is accepted and
// its refusal recorded.
func (r *incidentRun) setHandlers(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, incident.QueryView, func() (incident.View, error) { return *r.view(), nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdatePage, r.page, workflow.UpdateHandlerOptions{
		Validator: r.fit,
	}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdateDecide, r.decide, workflow.UpdateHandlerOptions{
		Validator: func(q incident.DecideRequest) error { return q.Validate() },
	}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdatePin, r.pin, workflow.UpdateHandlerOptions{
		Validator: func(q incident.PinRequest) error { return q.Validate() },
	}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdateCommand, r.command, workflow.UpdateHandlerOptions{
		Validator: func(q incident.CommandRequest) error { return q.Validate() },
	})
}

// fit refuses a page that is malformed or about another incident.
func (r *incidentRun) fit(p incident.Page) error {
	if incident.Key(p.Source, p.IncidentID) != r.view().Key {
		return fmt.Errorf("validate page: it is about another incident")
	}
	return p.Validate()
}

// pageResult is the ID of the result of a page.
func pageResult(p incident.Page) string { return "page:" + p.EventID }

// page takes one event of the source. The same event twice is one event, and
// an older event never undoes a newer one.
func (r *incidentRun) page(ctx workflow.Context, p incident.Page) (incident.Result, error) {
	r.updates++
	id := pageResult(p)
	if res, ok := r.state.Results[id]; ok {
		if id != r.opening {
			res.Outcome = incident.OutcomeDuplicate
		}
		r.opening = ""
		return res, nil
	}
	if p.Title = truncate(p.Title, incident.MaxTitle); len(p.URL) > maxURL {
		p.URL = ""
	}
	v := r.view()
	first := v.OpenedAt.IsZero()
	if first {
		r.tagIDs(ctx, p)
	}
	if first || p.OpenedAt.Before(v.OpenedAt) && !p.OpenedAt.IsZero() {
		v.OpenedAt = p.OpenedAt.UTC()
		if v.OpenedAt.IsZero() {
			v.OpenedAt = p.OccurredAt.UTC()
		}
	}
	// A reconciliation repeats what is known, also that it is over; only news
	// are worth a line.
	known := p.Kind == incident.PageReconciled || p.Kind == incident.PageResolved && r.state.SourceKind == incident.PageResolved
	news := first || !known
	moved := r.takeFacts(p, first)
	r.takeStatus(p)
	switch {
	case moved:
		r.takeBack(ctx, movedWhy, approveAgain)
	case r.state.SourceKind == incident.PageResolved:
		r.takeBack(ctx, "the incident was resolved at its source", "")
	}
	res := incident.Result{Outcome: incident.OutcomeAccepted, Reason: "page taken", Revision: v.Revision}
	if news || moved {
		actor := ""
		if p.Reporter.Via != "" {
			actor = p.Reporter.String()
		}
		res.EventID = r.eventAs(incident.PageEventID(r.prefix(), p.EventID), incident.EventPage, p.OccurredAt, actor, activities.PageText(p), p)
		r.changed()
	}
	r.index(ctx)
	if first || moved && r.undecided() && r.state.SourceKind != incident.PageResolved {
		r.wanted.collect = true
	}
	return r.keep(id, res), nil
}

// tagIDs tells the events and rollbacks of this run of the incident from those
// of an earlier one, which the ledger has under the same key: an outcome that
// was recorded then is not the outcome of a rollback now.
func (r *incidentRun) tagIDs(ctx workflow.Context, p incident.Page) {
	if p.Kind != incident.PageReopened && workflow.Now(ctx).Sub(p.OpenedAt) < longOpen {
		return
	}
	tag := workflow.GetInfo(ctx).FirstRunID
	if tag == "" {
		tag = workflow.GetInfo(ctx).WorkflowExecution.RunID
	}
	tag = strings.ReplaceAll(tag, "-", "")
	r.state.Prefix = r.view().Key + "/r" + tag[:min(len(tag), 12)]
}

// undecided reports whether people are looking at options, or wait for some.
func (r *incidentRun) undecided() bool {
	switch r.view().Phase {
	case incident.PhaseDeciding, incident.PhaseStuck:
		return r.rolling == nil && r.wanted.rollback == nil
	case incident.PhaseCollecting, incident.PhaseRollingBack, incident.PhaseValidating, incident.PhaseRecovered, incident.PhaseClosed:
		return false
	default:
		return false
	}
}

// takeFacts keeps what the newest event says about the incident. It reports
// whether that changes what can be offered: another service, or another
// severity.
func (r *incidentRun) takeFacts(p incident.Page, first bool) (moved bool) {
	v := r.view()
	if !first && p.OccurredAt.Before(r.state.SourceAt) {
		return false
	}
	if p.Title != "" {
		v.Title = p.Title
	}
	moved = v.Severity != p.Severity
	v.Severity, v.Source = p.Severity, p.Source
	if p.URL != "" {
		v.SourceURL = p.URL
	}
	if p.ServiceID != "" && p.ServiceID != r.state.ServiceID {
		// The name is that of the service before: the catalogue names this one.
		if r.state.ServiceID != "" {
			v.Service, v.Team = "", ""
		}
		r.state.ServiceID, moved = p.ServiceID, true
	}
	if p.Service != "" {
		moved = moved || v.Service != p.Service
		v.Service = p.Service
	}
	if p.Channel != "" && v.Card.Channel == "" {
		v.Card.Channel = p.Channel
	}
	return moved && !first
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
		r.state.ByHand = false
		if was == incident.PageResolved || (r.view().Phase == incident.PhaseRecovered && p.Kind == incident.PageReopened) {
			r.wanted.conclude, r.wanted.finish = false, false
			r.view().ClosedAt = time.Time{}
			if r.rolling == nil && r.wanted.rollback == nil {
				r.rearm()
				r.wanted.collect = true
			}
		}
	case incident.PageAcknowledged, incident.PagePriority, incident.PageService, incident.PageNoted:
	}
}

// keep remembers the result of an update, so that its repetition gets the
// same. Answers and commands are always remembered; pages, which may come in
// any number, up to a bound, and their repetition changes nothing anyway.
func (r *incidentRun) keep(id string, res incident.Result) incident.Result {
	res.Revision = r.view().Revision
	if len(r.state.Results) < maxResults || !strings.HasPrefix(id, "page:") {
		r.state.Results[id] = res
	}
	return res
}

func truncate(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
