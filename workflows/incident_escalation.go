package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// callPatience is how long a page to the next level may be on its way before
// people are told to make it themselves.
const callPatience = time.Minute

// call is one page to the next level: its cause is the event with that ID.
type call struct{ id, reason string }

// escalate pages the next level, once for each cause. It never waits: whatever
// the main loop or a vendor is at, somebody is paged now.
func (r *incidentRun) escalate(ctx workflow.Context, cause, reason string) {
	if slices.Contains(r.state.Escalated, cause) {
		return
	}
	r.state.Escalated = append(r.state.Escalated, cause)
	if over := len(r.state.Escalated) - maxCauses; over > 0 {
		r.state.Escalated = slices.Delete(r.state.Escalated, 0, over)
	}
	reason = truncate(reason, maxEventText)
	id := r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", "paging the next level: "+reason, nil)
	r.calls = append(r.calls, func(ctx workflow.Context) { r.call(ctx, call{id: id, reason: reason}) })
	r.changed()
}

// forget lets a cause that is over page again when it comes back.
func (r *incidentRun) forget(cause string) {
	r.state.Escalated = slices.DeleteFunc(r.state.Escalated, func(c string) bool { return c == cause })
}

// keepCalling makes the calls, each beside the others and beside everything else.
func (r *incidentRun) keepCalling(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return len(r.calls) > 0 }) == nil {
		next := r.calls[0]
		r.calls = r.calls[1:]
		r.busy++
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer func() { r.busy-- }()
			next(ctx)
		})
	}
}

func (r *incidentRun) call(ctx workflow.Context, c call) {
	done := workflow.ExecuteActivity(tellOptions(ctx), act.Escalate, activities.EscalateInput{Key: r.view().Key, ID: c.id, Reason: c.reason})
	if !awaitFor(ctx, callPatience, done.IsReady) {
		r.note("The next level could not be paged yet; page them by hand: " + c.reason)
		r.changed()
	}
	text := "paged the next level: " + c.reason
	if err := done.Get(ctx, nil); err != nil {
		text = "could not page the next level: " + plain(err)
		r.note("The next level could not be paged; page them by hand: " + c.reason + " (" + plain(err) + ")")
	}
	r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", text, nil)
	r.changed()
}
