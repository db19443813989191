package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// conclude ends the incident if it is over at its source too, and no data is known to
// diverge unless somebody closed it here, and writes the
// postmortem beside the main loop: a tracker that is away holds nothing up.
func (r *incidentRun) conclude(ctx workflow.Context) {
	// An answer that is being judged may start a rollback, and then the end
	// waits for that.
	_ = r.mutex.Lock(ctx)
	defer r.mutex.Unlock()
	r.wanted.conclude = false
	if r.rolling != nil || r.wanted.rollback != nil {
		return
	}
	v := r.view()
	if r.state.SourceKind == incident.PageResolved && !r.stayOpen(ctx) {
		v.ClosedAt = workflow.Now(ctx).UTC()
		v.Waiting = ""
		r.takeBack(ctx, "the incident is over", "")
		r.tellAll(ctx)
		r.rearm()
		r.event(ctx, incident.EventPhaseChange, v.ClosedAt, "", "closed", nil)
		r.setPhase(ctx, incident.PhaseClosed)
		r.wanted.finish = true
	}
	r.state.Unwritten = true
}

// keepPostmortem writes the postmortem whenever it is wanted, beside the main
// loop. A draft that was on its way when the run went on is written again:
// there is one for each incident.
func (r *incidentRun) keepPostmortem(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return r.state.Unwritten }) == nil {
		r.writing = true
		for r.state.Unwritten {
			r.state.Unwritten = false
			r.writePostmortem(ctx)
			r.changed()
		}
		r.writing = false
	}
}

func (r *incidentRun) writePostmortem(ctx workflow.Context) {
	v := r.view()
	var ref incident.PostmortemRef
	if err := workflow.ExecuteActivity(postmortemOptions(ctx), act.WritePostmortem, activities.PostmortemInput{View: *v}).Get(ctx, &ref); err != nil {
		r.note("The postmortem could not be written: " + plain(err) + ". Write it by hand from the timeline.")
		r.event(ctx, incident.EventPostmortem, workflow.Now(ctx), "", "postmortem could not be written: "+plain(err), nil)
		return
	}
	if v.Postmortem.Number != 0 {
		return
	}
	v.Postmortem = ref
	r.followUp(ctx)
	r.event(ctx, incident.EventPostmortem, workflow.Now(ctx), "", "postmortem drafted: "+ref.URL, ref)
	note := activities.NoteInput{Key: v.Key, ID: v.Key + "/postmortem", Text: "Postmortem: " + ref.URL}
	if err := workflow.ExecuteActivity(tellOptions(ctx), act.NoteAtSource, note).Get(ctx, nil); err != nil {
		r.note("The link to the postmortem could not be noted at the source: " + plain(err))
	}
}
