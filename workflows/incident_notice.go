package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// cardPatience is how long a card may fail to show before people are told where the
// incident came from. The card is tried on meanwhile.
const cardPatience = 10 * time.Second

// maxNoticed is how many options a notice spells out. The console has all.
const maxNoticed = 3

// publish shows a view on the card. While Slack can not be reached it says so, so that
// people are told elsewhere.
func (r *incidentRun) publish(ctx workflow.Context, shown incident.View) (incident.CardRef, error) {
	var ref incident.CardRef
	done := workflow.ExecuteActivity(cardOptions(ctx), act.PublishCard, shown)
	if !awaitFor(ctx, cardPatience, done.IsReady) {
		r.unseen = true
	}
	err := done.Get(ctx, &ref)
	r.unseen = err != nil
	return ref, err
}

// keepNotices tells people at the incident's source what the card would show, each
// time that there is news while the card can not be shown.
func (r *incidentRun) keepNotices(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return r.unseen && r.noticed != r.news() && r.view().Phase != incident.PhaseCollecting }) == nil {
		r.noticed = r.news()
		r.busy++
		v := r.view()
		id := r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", "Slack can not be reached; telling people at "+string(v.Source), nil)
		in := activities.NoteInput{Key: v.Key, ID: id, Text: notice(*v), Console: true}
		if err := workflow.ExecuteActivity(tellOptions(ctx), act.NoteAtSource, in).Get(ctx, nil); err != nil {
			r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", "people could not be told at "+string(v.Source)+": "+plain(err), nil)
		}
		r.busy--
	}
}

// news is what a notice is worth sending for: another phase, other options, another
// rollback, an approval that can be objected to.
func (r *incidentRun) news() string {
	v := r.view()
	return fmt.Sprintf("%s %d %d %t", v.Phase, r.state.Offers, len(v.Rollbacks), v.Objections != nil)
}

// notice is the card in a few lines, with the commands that take the decision.
func notice(v incident.View) string {
	lines := []string{"Backout can not reach Slack, so its card does not show."}
	if last := v.LastRollback(); last != nil && v.Phase != incident.PhaseDeciding {
		line := fmt.Sprintf("Rollback of %s: %s.", last.Service, last.Status)
		if last.Recovery != nil {
			line += fmt.Sprintf(" Verdict: %s.", last.Recovery.Verdict)
		}
		lines = append(lines, line)
	}
	if w := v.Objections; w != nil {
		lines = append(lines, fmt.Sprintf("%s is approved and starts at %s unless somebody objects. To object: backout refuse %s %s --digest %s", w.OptionID, hms(w.Until), v.Key, w.OptionID, w.PlanDigest))
	} else if v.Phase == incident.PhaseDeciding {
		left := maxNoticed
		for _, o := range v.Options {
			if o.Blocked || left == 0 {
				continue
			}
			left--
			line := fmt.Sprintf("%s: %s (%s).", o.ID, o.Title, o.Tier)
			if o.StepUp {
				line += " It takes a second proof, in the console."
			} else {
				line += fmt.Sprintf(" To approve: backout approve %s %s --digest %s", v.Key, o.ID, o.Digest)
			}
			lines = append(lines, line)
		}
		if left == maxNoticed {
			lines = append(lines, "There is no option that can be chosen.")
		}
		if v.Waiting != "" {
			lines = append(lines, "Waiting for "+v.Waiting+".")
		}
	}
	return strings.Join(append(lines, "To look: backout incident show "+v.Key), "\n")
}
