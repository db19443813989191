package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

const (
	// maxLateLooks bounds how often a follow-up looks at messages, so that somebody
	// who edits one all night does not write the issue all night.
	maxLateLooks = 200
	// settling is how long a follow-up gathers changes before it writes the issue, so
	// that somebody who pins ten messages writes it once.
	settling = 5 * time.Second
	// handOver is how long an incident that ends tries to hand itself over.
	handOver = time.Minute
)

// handedOn hands the incident that is over to the workflow that follows its postmortem,
// which messages that are pinned from then on go to. It reports whether that is done:
// not if something turned up meanwhile. Where nobody takes over, the incident ends all
// the same.
func (r *incidentRun) handedOn(ctx workflow.Context) bool {
	v := r.view()
	if v.Phase != incident.PhaseClosed || v.Postmortem.Number == 0 || v.Postmortem.Due.IsZero() {
		return true
	}
	revision := v.Revision
	sent := workflow.SignalExternalWorkflow(ctx, incident.FollowUpID(v.Key), "", incident.SignalOver, *v)
	if !awaitFor(ctx, handOver, sent.IsReady) {
		workflow.GetLogger(ctx).Error("Nobody took over the postmortem in time.", "incident_id", v.Key)
	} else if err := sent.Get(ctx, nil); err != nil {
		// It is closed already, or was never followed.
		workflow.GetLogger(ctx).Info("The postmortem is not followed.", "incident_id", v.Key, "error", err)
	}
	return revision == v.Revision && !r.work() && r.atRest() && workflow.AllHandlersFinished(ctx)
}

func (r *followRun) setHandlers(ctx workflow.Context) error {
	// Before the incident is over, no more is known than which one it is.
	if err := workflow.SetQueryHandler(ctx, incident.QueryView, func() (incident.View, error) {
		if r.state.View.Key != "" {
			return r.state.View, nil
		}
		return incident.View{Key: r.in.Key, Card: r.in.Card, Postmortem: r.in.Postmortem}, nil
	}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, incident.UpdatePin, r.pin, workflow.UpdateHandlerOptions{
		Validator: func(q incident.PinRequest) error { return q.Validate() },
	})
}

// listen takes the incident when it is over. One that was opened again and is over
// again comes again.
func (r *followRun) listen(ctx workflow.Context) {
	for {
		var v incident.View
		if !workflow.GetSignalChannel(ctx, incident.SignalOver).Receive(ctx, &v) {
			return
		}
		r.take(v)
	}
}

// hear takes what was sent and not read yet, before a new run takes over.
func (r *followRun) hear(ctx workflow.Context) {
	for {
		var v incident.View
		if !workflow.GetSignalChannel(ctx, incident.SignalOver).ReceiveAsync(&v) {
			return
		}
		r.take(v)
	}
}

// take ignores what is not the view of this incident at its end.
func (r *followRun) take(v incident.View) {
	if v.Key == r.in.Key && v.Phase == incident.PhaseClosed {
		v.Postmortem = r.in.Postmortem
		r.state.View, r.in.Card = v, v.Card
	}
}

// pin looks again at a message, as the incident did while it was open, until the issue
// is closed.
func (r *followRun) pin(ctx workflow.Context, q incident.PinRequest) (incident.Result, error) {
	no := func(o incident.Outcome, why string) (incident.Result, error) {
		return incident.Result{Outcome: o, Reason: why, Revision: r.state.View.Revision}, nil
	}
	if err := r.looking.Lock(ctx); err != nil {
		return incident.Result{}, err
	}
	defer r.looking.Unlock()
	switch {
	case r.over:
		return no(incident.OutcomeStale, "nobody follows this postmortem any more; write it into the issue by hand")
	case r.state.View.Key == "":
		return no(incident.OutcomeStale, "the incident is not over yet; pin it again")
	}
	got, refused := lookAtPin(ctx, r.state.View, &r.state.PinLooks, maxLateLooks, q)
	if refused != nil {
		return no(refused.Outcome, refused.Reason)
	}
	c := changePins(r.state.View.Pins, q, got, incident.LatePinID(r.in.Prefix, q.EventID))
	if c.text == "" {
		return no(c.result.Outcome, c.result.Reason)
	}
	// A tracker that is away is no reason to lose what people say: the issue is
	// written when it is back.
	if stands, err := r.glance(ctx); err == nil && !stands.State.Open || err != nil && !away(err) {
		return no(incident.OutcomeDenied, "the postmortem is closed or gone; open its issue again, or write it there by hand")
	}
	id := incident.LatePinID(r.in.Prefix, q.EventID)
	e := entry(id, r.in.Key, incident.EventPin, workflow.Now(ctx), got.Pin.By, truncate(c.text, maxEventText), got.Pin)
	if err := workflow.ExecuteActivity(recordOptions(ctx, 0), act.Record, activities.RecordInput{Entries: []incident.Entry{e}}).Get(ctx, nil); err != nil {
		return no(incident.OutcomeDenied, "it could not be recorded: "+plain(err))
	}
	r.state.View.Pins = c.pins
	r.line(incident.Event{ID: id, Kind: incident.EventPin, At: e.At, Actor: e.Actor, Text: e.Text})
	c.result.EventID, c.result.Revision = id, r.state.View.Revision
	if kept, some := keepPinImages(ctx, r.in.Key, id, r.state.View.Pins, q); some {
		r.state.View.Pins = kept
		r.changed()
	}
	return c.result, nil
}

// glance is a look at how the issue stands for which somebody waits.
func (r *followRun) glance(ctx workflow.Context) (s activities.FollowUpState, err error) {
	err = workflow.ExecuteActivity(decideOptions(ctx), act.LookAtPostmortem, r.in).Get(ctx, &s)
	return s, err
}

// line adds a line to the timeline, the last of which it is.
func (r *followRun) line(e incident.Event) {
	v := &r.state.View
	v.Timeline = append(slices.Clone(v.Timeline), e)
	if over := len(v.Timeline) - maxTimeline; over > 0 {
		v.Timeline = slices.Delete(v.Timeline, 1, 1+over)
	}
	r.changed()
}

func (r *followRun) changed() {
	r.state.View.Revision++
	r.state.Unwritten = true
}

// keepDraft brings the issue up to date whenever that is wanted, beside the main loop.
func (r *followRun) keepDraft(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return r.state.Unwritten }) == nil {
		r.writing = true
		if workflow.Sleep(ctx, settling) != nil {
			return
		}
		r.state.Unwritten = false
		if err := workflow.ExecuteActivity(postmortemOptions(ctx), act.WritePostmortem, activities.PostmortemInput{View: r.state.View}).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Error("Postmortem could not be brought up to date.", "incident_id", r.in.Key, "error", err)
		}
		r.writing = false
	}
}
