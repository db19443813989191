package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// reviewWithin is how soon an approval past the policy is to be reviewed: three
// working days, with a weekend between them.
const reviewWithin = 5 * 24 * time.Hour

// glassBroken makes an approval past the policy loud: people are paged at once, and
// an issue asks for its review.
func (r *incidentRun) glassBroken(ctx workflow.Context, d incident.Decision) {
	who := d.Person.Name
	if who == "" {
		who = d.Person.ID
	}
	r.escalate(ctx, "break-glass "+d.EventID, "BREAK-GLASS: "+who+" approved "+d.OptionID+" alone, past the policy; look at it now: "+d.Reason)
	if r.state.ReviewDue.IsZero() {
		r.state.ReviewDue = workflow.Now(ctx).UTC().Add(reviewWithin)
	}
	r.state.Unreviewed = true
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
