package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// reviewWithin is how soon an approval past the policy is to be reviewed: three
// working days, with a weekend between them.
const reviewWithin = 5 * 24 * time.Hour

// glassBroken makes an approval past the policy loud: the next level, security and the
// owners of what is touched are paged at once, and an issue asks for its review. The
// rollback waits for none of them.
func (r *incidentRun) glassBroken(ctx workflow.Context, d incident.Decision, opt incident.Option) {
	who := d.Person.Name
	if who == "" {
		who = d.Person.ID
	}
	r.escalate(ctx, "break-glass "+d.EventID, "BREAK-GLASS: "+who+" approved "+d.OptionID+" alone, past the policy; look at it now: "+d.Reason)
	r.calls = append(r.calls, func(ctx workflow.Context) { r.alert(ctx, who, d, opt) })
	if r.state.ReviewDue.IsZero() {
		r.state.ReviewDue = workflow.Now(ctx).UTC().Add(reviewWithin)
	}
	r.state.Unreviewed = true
}

// alert pages security and the owners of the services that a plan changes, each beside
// the others. Whoever could not be paged is named on the card and in the ledger.
func (r *incidentRun) alert(ctx workflow.Context, who string, d incident.Decision, opt incident.Option) {
	v := r.view()
	asked := activities.OverseersInput{Key: v.Key, Option: opt, Service: v.Service, ServiceID: r.state.ServiceID}
	var found activities.Overseers
	if err := workflow.ExecuteActivity(decideOptions(ctx), act.FindOverseers, asked).Get(ctx, &found); err != nil {
		r.unpaged(ctx, "who is to be paged is not known: "+plain(err))
		return
	}
	for _, why := range found.Missing {
		r.unpaged(ctx, why)
	}
	page := activities.PageOverseerInput{
		ID:    d.EventID,
		Title: "BREAK-GLASS: " + who + " approved a rollback of " + opt.Plan.Service + " alone, past the policy",
		Text: truncate(d.Reason, incident.MaxReason) + "\n\nLook at it now.\n" +
			"Incident: " + v.Key + " " + truncate(v.Title, incident.MaxTitle) + "\n" +
			"Option: " + opt.ID + " " + truncate(opt.Title, incident.MaxTitle) + "\n" +
			"Plan: " + opt.Digest + "\n" + v.SourceURL,
	}
	paging := workflow.NewWaitGroup(ctx)
	for _, o := range found.Page {
		in := page
		in.Overseer = o
		r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", "paging "+o.Name+": "+in.Title, nil)
		paging.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer paging.Done()
			r.pageOverseer(ctx, in)
		})
	}
	paging.Wait(ctx)
}

func (r *incidentRun) pageOverseer(ctx workflow.Context, in activities.PageOverseerInput) {
	done := workflow.ExecuteActivity(tellOptions(ctx), act.PageOverseer, in)
	var late string
	if !awaitFor(ctx, callPatience, done.IsReady) {
		late = r.unpaged(ctx, in.Overseer.Name+" could not be paged yet")
	}
	if err := done.Get(ctx, nil); err != nil {
		r.unpaged(ctx, in.Overseer.Name+" could not be paged: "+plain(err))
		return
	}
	r.view().Notes = slices.DeleteFunc(r.view().Notes, func(n string) bool { return late != "" && n == late })
	r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", "paged "+in.Overseer.Name+": "+in.Title, nil)
	r.changed()
}

// unpaged says that somebody who must know of an approval past the policy was not
// paged. It returns the note.
func (r *incidentRun) unpaged(ctx workflow.Context, why string) (note string) {
	note = truncate("BREAK-GLASS: "+why+". Tell them by hand.", maxEventText)
	r.note(note)
	r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", "break-glass: "+why, nil)
	r.changed()
	return note
}

// keepReview writes the issue of the review whenever it is wanted, beside the main
// loop, as keepPostmortem writes the postmortem.
func (r *incidentRun) keepReview(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return r.state.Unreviewed }) == nil {
		r.reviewing, r.state.Unreviewed = true, false
		var ref incident.PostmortemRef
		in := activities.ReviewInput{View: *r.view(), Due: r.state.ReviewDue}
		text := "break-glass review due " + in.Due.Format(time.DateOnly) + ": "
		if err := workflow.ExecuteActivity(postmortemOptions(ctx), act.OpenReview, in).Get(ctx, &ref); err != nil {
			text = "the issue of the break-glass review could not be written: " + plain(err)
			r.note("The issue of the break-glass review could not be written: " + plain(err) + ". Write it by hand.")
		} else {
			text += ref.URL
		}
		r.event(ctx, incident.EventPostmortem, workflow.Now(ctx), "", text, nil)
		r.changed()
		r.reviewing = false
	}
}
