package workflows

import (
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// Bounds of what a follow-up takes from the configuration of the worker.
const (
	// firstReminder is how long before its due date people are reminded first.
	firstReminder = 24 * time.Hour
	// minReminderEvery keeps reminders from becoming noise, maxReminders the history
	// of a postmortem that nobody ever closes short.
	minReminderEvery = 12 * time.Hour
	maxReminders     = 20
)

// PostmortemFollowUp reminds people of a postmortem that is not finished: shortly
// before it is due and once a period after that, in the thread of the incident's card
// and under the issue, until somebody closes the issue or there were enough reminders.
// It is a workflow of its own, because it outlives the incident.
func PostmortemFollowUp(ctx workflow.Context, in incident.FollowUpInput) error {
	if !incident.ValidKey(in.Key) || in.Postmortem.Due.IsZero() {
		return temporal.NewNonRetryableApplicationError("the postmortem has no incident or no due date", incident.ErrTypeInvalid, nil)
	}
	next := in.Postmortem.Due.Add(-firstReminder)
	// Until somebody could be asked.
	every, limit := 2*minReminderEvery, maxReminders
	for n := 1; ; n++ {
		if d := next.Sub(workflow.Now(ctx)); d > 0 {
			if err := workflow.Sleep(ctx, d); err != nil {
				return err
			}
		}
		var stands activities.FollowUpState
		err := workflow.ExecuteActivity(postmortemOptions(ctx), act.LookAtPostmortem, in).Get(ctx, &stands)
		switch {
		case err != nil && !away(err):
			// It is not there any more, or nobody can be asked about it.
			return followed(ctx, in, 0, "the postmortem is not followed any more: "+plain(err))
		case err != nil:
			workflow.GetLogger(ctx).Error("Postmortem could not be looked at.", "incident_id", in.Key, "error", err)
		case !stands.State.Open:
			return followed(ctx, in, 0, "the postmortem is closed")
		default:
			every, limit = max(stands.Every, minReminderEvery), min(max(stands.Limit, 1), maxReminders)
			if err := remindOfPostmortem(ctx, in, n, stands.State, n >= limit); err != nil {
				return err
			}
		}
		if n >= limit {
			return nil
		}
		next = next.Add(every)
		for !next.After(workflow.Now(ctx)) {
			next = next.Add(every) // Reminders that could not be said are not made up for.
		}
	}
}

// remindOfPostmortem says once more that a postmortem waits for people. That nobody
// could be told is recorded, and holds nothing up.
func remindOfPostmortem(ctx workflow.Context, in incident.FollowUpInput, n int, s incident.PostmortemState, last bool) error {
	due := in.Postmortem.Due.UTC().Format(time.DateOnly)
	text := "The postmortem is due on " + due + "."
	if workflow.Now(ctx).After(in.Postmortem.Due) {
		text = "The postmortem was due on " + due + " and is open still."
	}
	switch s.Items {
	case 0:
		text += " All its action items are ticked: close the issue when it is agreed."
	case 1:
		text += " 1 of its action items is open."
	default:
		text += fmt.Sprintf(" %d of its action items are open.", s.Items)
	}
	if last {
		text += " This is the last reminder."
	}
	if err := followed(ctx, in, n, text); err != nil {
		return err
	}
	id := incident.PostmortemReminderID(in.Prefix, n)
	var failed []error
	said := workflow.ExecuteActivity(tellOptions(ctx), act.RemarkOnPostmortem, activities.RemarkInput{Key: in.Key, ID: id, Text: text})
	if !in.Card.IsZero() {
		failed = append(failed, workflow.ExecuteActivity(tellOptions(ctx), act.Say, activities.SayInput{Card: in.Card, ID: id, Text: text + " " + in.Postmortem.URL}).Get(ctx, nil))
	}
	failed = append(failed, said.Get(ctx, nil))
	if err := errors.Join(failed...); err != nil {
		workflow.GetLogger(ctx).Error("Reminder of a postmortem could not be said.", "incident_id", in.Key, "error", err)
	}
	return nil
}

// followed records what became of a postmortem.
func followed(ctx workflow.Context, in incident.FollowUpInput, n int, text string) error {
	kind := incident.EventReminder
	if n == 0 {
		kind = incident.EventPostmortem
	}
	e := entry(incident.PostmortemReminderID(in.Prefix, n), in.Key, kind, workflow.Now(ctx), "", truncate(text, maxEventText), nil)
	return workflow.ExecuteActivity(recordOptions(ctx, 0), act.Record, activities.RecordInput{Entries: []incident.Entry{e}}).Get(ctx, nil)
}

// followUp starts to follow the incident's postmortem, if it has a due date. One that
// is followed already goes on being followed.
func (r *incidentRun) followUp(ctx workflow.Context) {
	v := r.view()
	if v.Postmortem.Due.IsZero() {
		return
	}
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            incident.FollowUpID(v.Key),
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	}), incident.WorkflowFollowUp, incident.FollowUpInput{Key: v.Key, Prefix: r.prefix(), Card: v.Card, Postmortem: v.Postmortem})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if err != nil && !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		r.note("Nobody will be reminded of the postmortem: " + plain(err) + ".")
	}
}
