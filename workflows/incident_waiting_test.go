package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// awaited is an option of which people are reminded.
func awaited(t *testing.T, id string, after time.Duration, of string) incident.Option {
	t.Helper()
	o := option(t, id)
	o.Reminder = &incident.Reminder{After: after, Of: of}
	return o
}

// reminders are what the ledger has of reminders.
func (w *world) reminders() []string {
	var out []string
	for _, e := range w.written() {
		if e.Kind == incident.EventReminder {
			out = append(out, e.Text)
		}
	}
	return out
}

func TestPeopleAreRemindedOnceOfEachPlan(t *testing.T) {
	t.Parallel()
	const said = "A decision is still missing: o1 waits for the on-call of checkout; o2 waits for the incident commander."
	w := newWorld(t)
	w.offers(awaited(t, "o1", 2*time.Minute, "the on-call of checkout"), awaited(t, "o2", 2*time.Minute, "the incident commander"), option(t, "o3"))
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	before, after := w.seen(t, 2*time.Minute-time.Second), w.seen(t, 2*time.Minute+time.Second)
	command(w, 4*time.Minute, "c1", incident.VerbRefresh)
	resolved(w, time.Hour)
	w.run(t)
	require.Empty(t, before.Notes)
	require.Contains(t, after.Notes, said)
	require.Equal(t, []string{"reminded people. " + said}, w.reminders())
	require.Len(t, w.said, 1)
	require.Equal(t, said, w.said[0].Text)
	require.Equal(t, incident.CardRef{Channel: "C1", TS: "1.1"}, w.said[0].Card)
	require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.ID == w.said[0].ID && e.Kind == incident.EventReminder }))
	require.Equal(t, []string{"nobody decided on a rollback in time"}, w.escalate, "the next level is paged as ever")
}

func TestAReminderNamesWhoIsMissingFromAQuorum(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = half(15 * time.Minute)
	first := awaited(t, "o1", 2*time.Minute, "the incident commander and an owner of checkout")
	w.offers(first, awaited(t, "o2", 2*time.Minute, "the on-call of checkout"))
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	after := w.seen(t, 3*time.Minute+time.Second)
	resolved(w, 10*time.Minute)
	w.run(t)
	require.Equal(t, []string{"reminded people. A decision is still missing: o1 waits for an owner of checkout."}, w.reminders())
	require.Contains(t, strings.Join(after.Notes, "\n"), "o1 waits for an owner of checkout.")
}

func TestNobodyIsRemindedOfWhatIsDecided(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		send func(t *testing.T, w *world, o incident.Option)
	}{
		{"approved", func(_ *testing.T, w *world, o incident.Option) {
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
		}},
		{"waits for objections", func(_ *testing.T, w *world, o incident.Option) {
			w.decide = windowed
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
		}},
		{"refused", func(_ *testing.T, w *world, o incident.Option) {
			w.decide = windowed
			update(w, time.Minute, incident.UpdateDecide, "d1", object("UADA", "d1", o))
		}},
		{"resolved", func(_ *testing.T, w *world, _ incident.Option) { resolved(w, time.Minute) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := awaited(t, "o1", 2*time.Minute, "the on-call of checkout")
			w.offers(o)
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			tt.send(t, w, o)
			resolved(w, time.Hour)
			w.run(t)
			require.Empty(t, w.reminders())
			require.Empty(t, w.said)
		})
	}
}

func TestAReminderIsTakenFromTheCardWhenItWasHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := awaited(t, "o1", 2*time.Minute, "the on-call of checkout")
	w.offers(o)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, 3*time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
	resolved(w, time.Hour)
	v := w.run(t)
	require.Len(t, w.reminders(), 1)
	require.NotContains(t, strings.Join(v.Notes, "\n"), "still missing")
}

func TestAReminderThatCanNotBeSaidIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say = func(activities.SayInput) error {
		return temporal.NewNonRetryableApplicationError("the channel is archived", incident.ErrTypeInvalid, errors.New("archived"))
	}
	w.offers(awaited(t, "o1", 2*time.Minute, "the on-call of checkout"))
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	resolved(w, time.Hour)
	w.run(t)
	require.Contains(t, w.reminders(), "the reminder could not be said in the thread of the card: the channel is archived")
}

// TestAReminderOutlivesAContinueAsNew goes on in a new run before, and after, people
// were reminded.
func TestAReminderOutlivesAContinueAsNew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		at    time.Duration
		again int
	}{{"before", time.Minute, 1}, {"after", 3 * time.Minute, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.offers(awaited(t, "o1", 2*time.Minute, "the on-call of checkout"))
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			w.suggest(tt.at - time.Second)
			update(w, tt.at, incident.UpdatePage, "p2", page("p2", incident.PageNoted, time.Minute))
			state := w.goesOn(t)
			require.Len(t, w.reminders(), 1-tt.again)

			next := newWorld(t)
			next.env.SetStartTime(opened.Add(tt.at))
			update(next, time.Hour, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
			next.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: state})
			require.NoError(t, next.env.GetWorkflowError())
			require.Len(t, next.reminders(), tt.again)
		})
	}
}

// half answers with approvals that wait for an owner and expire after a time.
func half(after time.Duration) func(activities.DecideInput) (activities.DecideResult, error) {
	return func(in activities.DecideInput) (activities.DecideResult, error) {
		got := decided(in, incident.OutcomeWaiting)
		got.Approvers, got.Waiting, got.Decision.ExpiresAt = nil, "an owner of checkout", in.Now.Add(after)
		return got, nil
	}
}

func TestAnApprovalThatExpiresBeforeTheOthersIsRecordedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = half(15 * time.Minute)
	first, _ := two(t, w)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	second := update(w, 10*time.Minute, incident.UpdateDecide, "d2", decide("UBOB", "d2", first))
	before, between, after := w.seen(t, 16*time.Minute-time.Second), w.seen(t, 16*time.Minute+time.Second), w.seen(t, 26*time.Minute)
	resolved(w, time.Hour)
	w.run(t)
	require.Equal(t, incident.OutcomeWaiting, before.Decisions[0].Outcome)
	require.Equal(t, incident.OutcomeStale, between.Decisions[0].Outcome)
	require.Contains(t, between.Notes, "Ada's approval of o1 expired at 03:16:00 UTC; approve again.")
	require.Equal(t, "an owner of checkout, and for somebody in place of Ada", between.Waiting)
	require.Equal(t, incident.OutcomeWaiting, between.Decisions[1].Outcome)
	require.Equal(t, []string{"Ada's approval of o1 expired at 03:16:00 UTC while it waited for an owner of checkout"}, w.texts(incident.ExpiryEventID(got.EventID)))
	require.Len(t, w.texts(incident.ExpiryEventID(second.EventID)), 1)
	require.Empty(t, after.Waiting)
}

func TestAnApprovalThatDoesNotWaitAnyMoreDoesNotExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		if in.Request.DecisionID == "d1" {
			return half(15 * time.Minute)(in)
		}
		return decided(in, incident.OutcomeApproved), nil
	}
	first, _ := two(t, w)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", first))
	update(w, 2*time.Minute, incident.UpdateDecide, "d2", decide("UBOB", "d2", first))
	resolved(w, 10*time.Minute)
	v := w.run(t)
	require.Len(t, v.Rollbacks, 1)
	require.Empty(t, w.texts("/expired"))
}
