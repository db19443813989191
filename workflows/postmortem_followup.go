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
// Once the incident is over, messages that people pin come to it, and it brings the
// issue up to date. It is a workflow of its own, because it outlives the incident.
func PostmortemFollowUp(ctx workflow.Context, in incident.FollowUpInput) error {
	if !incident.ValidKey(in.Key) || in.Postmortem.Due.IsZero() {
		return temporal.NewNonRetryableApplicationError("the postmortem has no incident or no due date", incident.ErrTypeInvalid, nil)
	}
	r := newFollowRun(ctx, in)
	if err := r.setHandlers(ctx); err != nil {
		return err
	}
	workflow.Go(ctx, r.listen)
	workflow.Go(ctx, r.keepDraft)
	return r.run(ctx)
}

// followRun is the state of one run of the workflow. What outlives a continue-as-new is
// in state.
type followRun struct {
	in    incident.FollowUpInput
	state incident.FollowUpState
	// looking keeps looks at pinned messages in order.
	looking workflow.Mutex
	// writing says that the issue is being brought up to date, over that nobody
	// follows it any more.
	writing, over bool
}

func newFollowRun(ctx workflow.Context, in incident.FollowUpInput) *followRun {
	r := &followRun{in: in, looking: workflow.NewMutex(ctx)}
	if in.State != nil {
		r.state, r.in.State = *in.State, nil
		return r
	}
	r.state = incident.FollowUpState{
		Next: in.Postmortem.Due.Add(-firstReminder),
		// Until somebody could be asked.
		Every: 2 * minReminderEvery, Limit: maxReminders,
	}
	return r
}

// run is the main loop: it reminds when it is time to.
func (r *followRun) run(ctx workflow.Context) error {
	for !r.over {
		long := func() bool { return workflow.GetInfo(ctx).GetContinueAsNewSuggested() && !r.writing }
		awaitFor(ctx, r.state.Next.Sub(workflow.Now(ctx)), long)
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.state.Next.After(workflow.Now(ctx)) {
			if long() && r.settle(ctx, func() bool { return !r.writing }) {
				r.hear(ctx)
				r.in.State = &r.state
				return workflow.NewContinueAsNewError(ctx, incident.WorkflowFollowUp, r.in)
			}
			continue
		}
		if err := r.look(ctx); err != nil {
			return err
		}
	}
	// What people pinned before that is written still.
	r.settle(ctx, func() bool { return !r.writing && !r.state.Unwritten })
	return ctx.Err()
}

// settle waits until everybody was answered and the run may end, and reports whether
// it may.
func (r *followRun) settle(ctx workflow.Context, rest func() bool) bool {
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) && rest() }) == nil
}

// look sees how the postmortem stands, and reminds people of it or ends.
func (r *followRun) look(ctx workflow.Context) error {
	r.state.Reminders++
	stands, err := r.stands(ctx)
	switch {
	case err != nil && !away(err):
		// It is not there any more, or nobody can be asked about it.
		r.over = true
		return followed(ctx, r.in, 0, "the postmortem is not followed any more: "+plain(err))
	case err != nil:
		workflow.GetLogger(ctx).Error("Postmortem could not be looked at.", "incident_id", r.in.Key, "error", err)
	case !stands.State.Open:
		r.over = true
		return followed(ctx, r.in, 0, "the postmortem is closed")
	default:
		r.state.Every, r.state.Limit = max(stands.Every, minReminderEvery), min(max(stands.Limit, 1), maxReminders)
		if err := remindOfPostmortem(ctx, r.in, r.state.Reminders, stands.State, r.state.Reminders >= r.state.Limit); err != nil {
			return err
		}
	}
	r.over = r.state.Reminders >= r.state.Limit
	r.state.Next = r.state.Next.Add(r.state.Every)
	for !r.state.Next.After(workflow.Now(ctx)) {
		r.state.Next = r.state.Next.Add(r.state.Every) // Reminders that could not be said are not made up for.
	}
	return nil
}

func (r *followRun) stands(ctx workflow.Context) (s activities.FollowUpState, err error) {
	err = workflow.ExecuteActivity(postmortemOptions(ctx), act.LookAtPostmortem, r.in).Get(ctx, &s)
	return s, err
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
	said := workflow.ExecuteActivity(tellOptions(ctx), act.RemarkOnPostmortem, activities.RemarkInput{Key: in.Key, ID: id, Text: text, Postmortem: in.Postmortem})
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
