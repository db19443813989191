package workflows_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

var dueAt = time.Date(2026, 3, 6, 17, 0, 0, 0, time.UTC)

func follow(t *testing.T, w *world, in incident.FollowUpInput) error {
	t.Helper()
	w.env.ExecuteWorkflow(incident.WorkflowFollowUp, in)
	require.True(t, w.env.IsWorkflowCompleted())
	return w.env.GetWorkflowError()
}

func followed() incident.FollowUpInput {
	return incident.FollowUpInput{
		Key: key, Prefix: key, Card: incident.CardRef{Channel: "C1", TS: "1.1"},
		Postmortem: incident.PostmortemRef{Number: 7, URL: "https://git.example.com/7", Due: dueAt},
	}
}

func open(items int) activities.FollowUpState {
	return activities.FollowUpState{State: incident.PostmortemState{Open: true, Items: items}, Every: 72 * time.Hour, Limit: 3}
}

// An open postmortem is reminded of once a period, at the thread and under the issue,
// and not for ever.
func TestPostmortemIsRemindedOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var at []time.Time
	w.stands = func(n int) (activities.FollowUpState, error) {
		at = append(at, w.env.Now().UTC())
		return open(3 - n), nil
	}
	require.NoError(t, follow(t, w, followed()))
	require.Equal(t, []time.Time{dueAt.Add(-24 * time.Hour), dueAt.Add(48 * time.Hour), dueAt.Add(120 * time.Hour)}, at)
	require.Equal(t, []string{
		"The postmortem is due on 2026-03-06. 2 of its action items are open.",
		"The postmortem was due on 2026-03-06 and is open still. 1 of its action items is open.",
		"The postmortem was due on 2026-03-06 and is open still. All its action items are ticked: close the issue when it is agreed. This is the last reminder.",
	}, entriesOf(w, incident.EventReminder))
	require.Len(t, w.remarks, 3)
	require.Len(t, w.said, 3)
	require.Equal(t, "pagerduty/Q1/postmortem/e1", w.remarks[0].ID)
	require.Equal(t, w.remarks[0].ID, w.said[0].ID)
	require.Contains(t, w.said[0].Text, "https://git.example.com/7")
}

func TestPostmortemThatIsFinishedIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		stands func(n int) (activities.FollowUpState, error)
		// reminders is how many came before the end, end what is recorded of it.
		reminders int
		end       []string
	}{
		{"closed before it is due", func(int) (activities.FollowUpState, error) { return activities.FollowUpState{}, nil }, 0, []string{"the postmortem is closed"}},
		{"closed after a reminder", func(n int) (activities.FollowUpState, error) {
			if n == 1 {
				return open(1), nil
			}
			return activities.FollowUpState{}, nil
		}, 1, []string{"the postmortem is closed"}},
		{"deleted", func(int) (activities.FollowUpState, error) {
			return activities.FollowUpState{}, temporal.NewNonRetryableApplicationError("it is not there", incident.ErrTypeNotFound, nil)
		}, 0, []string{"the postmortem is not followed any more: it is not there"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.stands = tt.stands
			require.NoError(t, follow(t, w, followed()))
			require.Len(t, w.remarks, tt.reminders)
			require.Len(t, w.said, tt.reminders)
			require.Equal(t, tt.end, entriesOf(w, incident.EventPostmortem))
		})
	}
}

// A tracker that is away for days is asked again.
func TestPostmortemIsFollowedAfterAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stands = func(int) (activities.FollowUpState, error) {
		if w.env.Now().Before(dueAt.Add(72 * time.Hour)) {
			return activities.FollowUpState{}, errors.New("away")
		}
		return open(1), nil
	}
	require.NoError(t, follow(t, w, followed()))
	require.NotEmpty(t, entriesOf(w, incident.EventReminder))
	require.Empty(t, entriesOf(w, incident.EventPostmortem))
}

// Nobody who could be told holds up a reminder, and neither does one that comes late.
func TestReminderThatCanNotBeSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stands = func(int) (activities.FollowUpState, error) { return open(2), nil }
	w.say = func(activities.SayInput) error {
		return temporal.NewNonRetryableApplicationError("archived", incident.ErrTypeDenied, nil)
	}
	w.remark = func(activities.RemarkInput) error {
		return temporal.NewNonRetryableApplicationError("locked", incident.ErrTypeDenied, nil)
	}
	in := followed()
	in.Postmortem.Due = opened.Add(-30 * 24 * time.Hour)
	require.NoError(t, follow(t, w, in))
	require.Len(t, entriesOf(w, incident.EventReminder), 3, "what could not be said is recorded")
	require.Len(t, w.said, 3)

	w = newWorld(t)
	require.Error(t, follow(t, w, incident.FollowUpInput{Key: key}), "nothing is due")
	w = newWorld(t)
	require.Error(t, follow(t, w, incident.FollowUpInput{Key: "x", Postmortem: in.Postmortem}))
}

// The incident starts to follow its postmortem, and does not wait for it.
func TestIncidentHasItsPostmortemFollowed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		due  time.Time
		want int
	}{{"with a due date", dueAt, 1}, {"without one", time.Time{}, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := begun(t)
			w.ref = &incident.PostmortemRef{Number: 7, URL: "https://git.example.com/7", Due: tt.due}
			w.stands = func(int) (activities.FollowUpState, error) { return activities.FollowUpState{}, nil }
			started := 0
			w.env.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, args converter.EncodedValues) {
				var in incident.FollowUpInput
				if info.WorkflowType.Name == incident.WorkflowFollowUp && args.Get(&in) == nil {
					started++
					require.Equal(t, "postmortem/pagerduty/Q1", info.WorkflowExecution.ID)
					require.Equal(t, tt.due, in.Postmortem.Due)
				}
			})
			v := w.run(t)
			require.Equal(t, tt.want, started)
			require.Equal(t, tt.due, v.Postmortem.Due)
			require.WithinDuration(t, opened.Add(time.Hour), v.ClosedAt, time.Minute, "the incident ends without it")
		})
	}
}
