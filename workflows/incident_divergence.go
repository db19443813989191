package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/incident"
)

// stayOpen keeps an incident that was resolved at its source from ending by that alone,
// because an alert clears when the service is well, whatever its data is. It reports
// whether it does. Somebody who closes the incident here ends it.
func (r *incidentRun) stayOpen(ctx workflow.Context) bool {
	last := r.view().Counted()
	if last == nil || r.state.ByHand {
		return false
	}
	left := last.Diverging()
	if len(left) == 0 {
		return false
	}
	text := fmt.Sprintf("it was resolved at its source, and stays open here because data still diverges (%s: %d, at most %d wanted)", left[0].Name, *left[0].After, left[0].AtMost)
	if more := len(left) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", text, nil)
	r.note(incident.NoteDiverging + left[0].Name + ". Repair it, then close the incident by hand.")
	r.changed()
	return true
}

// stuckReason is what the next level is told of a rollback after which the incident goes
// on.
func stuckReason(end incident.RollbackView, why string) string {
	switch {
	case end.Recovery != nil && end.Recovery.Verdict == incident.VerdictRecovered:
		return "the service recovered, and the rollback is not whole: " + why
	case end.Recovery != nil && end.Status == incident.RollbackDone && end.Recovery.DataAlone():
		return "the service is well again, and its data still has to be looked at: " + why
	default:
		return "the rollback did not bring the service back: " + why
	}
}
