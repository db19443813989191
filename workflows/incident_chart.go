package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// maxUndrawn bounds the charts that wait to be drawn; the oldest give way.
const maxUndrawn = 5

// wantChart asks for the chart of a rollback that was judged.
func (r *incidentRun) wantChart(in incident.RollbackInput, end incident.RollbackView) {
	if end.Recovery == nil || end.ActionsDoneAt.IsZero() {
		return
	}
	r.state.Undrawn = append(r.state.Undrawn, incident.UndrawnChart{
		Rollback: end.ID, Plan: in.Option.Plan, OnsetAt: in.OnsetAt, ChangedAt: in.ChangedAt,
	})
	if over := len(r.state.Undrawn) - maxUndrawn; over > 0 {
		r.state.Undrawn = slices.Delete(r.state.Undrawn, 0, over)
	}
}

// keepCharts draws and shows charts beside the main loop: nothing waits for a chart,
// and one that can not be had is said and no more. A chart that was on its way when
// the run went on is asked for again, and is there already.
func (r *incidentRun) keepCharts(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return len(r.state.Undrawn) > 0 }) == nil {
		u := r.state.Undrawn[0]
		if ref, drawn := r.drawChart(ctx, u); drawn {
			r.shareChart(ctx, u.Rollback, ref)
		}
		r.state.Undrawn = slices.DeleteFunc(r.state.Undrawn, func(have incident.UndrawnChart) bool { return have.Rollback == u.Rollback })
		r.changed()
	}
}

// charted is a rollback by its ID, or nil.
func (r *incidentRun) charted(id string) *incident.RollbackView {
	v := r.view()
	i := slices.IndexFunc(v.Rollbacks, func(rb incident.RollbackView) bool { return rb.ID == id })
	if i < 0 {
		return nil
	}
	return &v.Rollbacks[i]
}

func (r *incidentRun) drawChart(ctx workflow.Context, u incident.UndrawnChart) (ref incident.ChartRef, drawn bool) {
	rb := r.charted(u.Rollback)
	if rb == nil || rb.Recovery == nil {
		return ref, false
	}
	in := activities.ChartInput{
		EventID: incident.ChartID(u.Rollback), Incident: r.view().Key, Rollback: u.Rollback, Plan: u.Plan, Recovery: *rb.Recovery,
		OnsetAt: u.OnsetAt, ChangedAt: u.ChangedAt, PagedAt: r.view().PagedAt,
		ApprovedAt: rb.ApprovedAt, MutatedAt: rb.FirstMutationAt, ActionsDoneAt: rb.ActionsDoneAt,
	}
	if err := workflow.ExecuteActivity(chartOptions(ctx), act.DrawRecovery, in).Get(ctx, &ref); err != nil {
		r.unshown(ctx, "the chart could not be drawn: "+plain(err))
		return ref, false
	}
	if rb = r.charted(u.Rollback); rb == nil {
		return ref, false
	}
	rb.Chart = &ref
	r.line(incident.Event{ID: in.EventID, Kind: incident.EventEvidence, At: workflow.Now(ctx).UTC(), Text: activities.ChartText(ref)})
	if r.view().Postmortem.Number != 0 || r.writing {
		r.state.Unwritten = true
	}
	r.changed()
	return ref, true
}

func (r *incidentRun) shareChart(ctx workflow.Context, rollback string, chart incident.ChartRef) {
	v := r.view()
	rb := r.charted(rollback)
	if rb == nil || v.Card.IsZero() {
		return
	}
	in := activities.ShareChartInput{
		EventID: incident.SharedChartID(rollback), Incident: v.Key, Rollback: rollback, Card: v.Card, Chart: chart,
		Title: truncate("Before, during and after "+rollback, maxEventText),
		Text:  truncate("Before, during and after the rollback. Verdict: "+string(rb.Recovery.Verdict)+". "+rb.Recovery.Reason, maxEventText),
	}
	var ref incident.PictureRef
	if err := workflow.ExecuteActivity(shareOptions(ctx), act.ShareChart, in).Get(ctx, &ref); err != nil {
		r.unshown(ctx, "the chart could not be shown in the thread: "+plain(err))
		return
	}
	if rb = r.charted(rollback); rb != nil && rb.Chart != nil {
		rb.Chart.SlackFile, rb.Chart.SlackURL = ref.File, ref.URL
	}
	if v.Postmortem.Number != 0 || r.writing {
		r.state.Unwritten = true // It leads there.
	}
	r.line(incident.Event{ID: in.EventID, Kind: incident.EventVerdict, At: workflow.Now(ctx).UTC(), Text: activities.SharedText(ref), URL: ref.URL})
}

// unshown says that people do not get a chart.
func (r *incidentRun) unshown(ctx workflow.Context, why string) {
	r.note("Without a picture: " + why + ". The numbers are on the card.")
	r.event(ctx, incident.EventVerdict, workflow.Now(ctx), "", why, nil)
	r.changed()
}
