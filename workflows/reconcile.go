package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// Reconcile asks a source which incidents are open, and hands each to its
// Incident workflow as a webhook would have. It runs on a schedule, because a
// dropped webhook is never sent again and three of them turn the subscription
// off.
func Reconcile(ctx workflow.Context, source incident.Source) (activities.ReconcileResult, error) {
	var pages []incident.Page
	if err := workflow.ExecuteActivity(collectOptions(ctx), act.OpenIncidents, source).Get(ctx, &pages); err != nil {
		return activities.ReconcileResult{}, err
	}
	res := activities.ReconcileResult{Open: len(pages)}
	for _, p := range pages {
		if err := workflow.ExecuteActivity(decideOptions(ctx), act.DeliverPage, p).Get(ctx, nil); err != nil {
			res.Failed = append(res.Failed, p.IncidentID)
			workflow.GetLogger(ctx).Error("Open incident could not be delivered.", "incident_id", p.IncidentID, "error", err)
			continue
		}
		res.Delivered++
	}
	return res, nil
}
