package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// maxAsked bounds how many incidents one run asks about that are open here and
// not there; the next run asks about more.
const maxAsked = 50

// Reconcile asks a source which incidents are open, and hands each to its
// Incident workflow as a webhook would have. What is open here and not in that
// list is asked about one by one, and ends if it is over there. It runs on a
// schedule, because a dropped webhook is never sent again and three of them
// turn the subscription off.
//
// An incident is never ended because it is missing in a list: only its own
// answer says that it is over.
func Reconcile(ctx workflow.Context, source incident.Source) (activities.ReconcileResult, error) {
	// What is held is listed first, so that an incident that opens meanwhile is
	// in the other list.
	var held []string
	if err := workflow.ExecuteActivity(collectOptions(ctx), act.HeldIncidents, source).Get(ctx, &held); err != nil {
		workflow.GetLogger(ctx).Error("Incidents held open could not be listed.", "source", string(source), "error", err)
	}
	var pages []incident.Page
	if err := workflow.ExecuteActivity(collectOptions(ctx), act.OpenIncidents, source).Get(ctx, &pages); err != nil {
		return activities.ReconcileResult{}, err
	}
	res := activities.ReconcileResult{Open: len(pages)}
	deliver := func(p incident.Page) bool {
		if err := workflow.ExecuteActivity(decideOptions(ctx), act.DeliverPage, p).Get(ctx, nil); err != nil {
			res.Failed = append(res.Failed, p.IncidentID)
			workflow.GetLogger(ctx).Error("Incident could not be delivered.", "incident_id", p.IncidentID, "error", err)
			return false
		}
		return true
	}
	for _, p := range pages {
		held = slices.DeleteFunc(held, func(id string) bool { return id == p.IncidentID })
		if deliver(p) {
			res.Delivered++
		}
	}
	for _, id := range held[:min(len(held), maxAsked)] {
		var p incident.Page
		if err := workflow.ExecuteActivity(decideOptions(ctx), act.AskIncident, activities.AskInput{Source: source, ID: id}).Get(ctx, &p); err != nil {
			res.Failed = append(res.Failed, id)
			workflow.GetLogger(ctx).Error("Incident could not be asked about.", "incident_id", id, "error", err)
			continue
		}
		if deliver(p) && p.Kind == incident.PageResolved {
			res.Closed++
		}
	}
	return res, nil
}
