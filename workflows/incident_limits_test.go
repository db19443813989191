package workflows_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

func command(w *world, at time.Duration, id string, v incident.Verb) *incident.Result {
	return update(w, at, incident.UpdateCommand, id, incident.CommandRequest{
		CommandID: id, Verb: v, Actor: incident.Actor{Via: incident.ViaCLI, Login: "ada"},
	})
}

// goesOn runs until the history has grown long, and returns what is carried
// over.
func (w *world) goesOn(t *testing.T) *incident.IncidentState {
	t.Helper()
	w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key})
	require.True(t, w.env.IsWorkflowCompleted())
	var next *workflow.ContinueAsNewError
	require.ErrorAs(t, w.env.GetWorkflowError(), &next)
	require.Equal(t, incident.WorkflowIncident, next.WorkflowType.Name)
	var in incident.IncidentInput
	require.NoError(t, defaultConverter.FromPayloads(next.Input, &in))
	require.Equal(t, key, in.Key)
	require.NotNil(t, in.State)
	return in.State
}

func (w *world) suggest(at time.Duration) {
	w.env.RegisterDelayedCallback(func() { w.env.SetContinueAsNewSuggested(true) }, at)
}

func TestTheDeadlineOfADecisionOutlivesAContinueAsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	w.suggest(4 * time.Minute)
	update(w, 5*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageNoted, time.Minute))
	state := w.goesOn(t)
	require.False(t, state.DecideBy.IsZero())
	require.Empty(t, w.escalate)

	next := newWorld(t)
	next.env.SetStartTime(state.DecideBy.Add(-3 * time.Minute))
	update(next, time.Hour, incident.UpdatePage, "p3", page("p3", incident.PageResolved, time.Hour))
	var paged []string
	next.env.RegisterDelayedCallback(func() { paged = slices.Clone(next.escalate) }, 4*time.Minute)
	next.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: state})
	require.NoError(t, next.env.GetWorkflowError())
	require.Equal(t, []string{"nobody decided on a rollback in time"}, paged)
	require.Len(t, next.escalate, 1)
}

func TestWhatIsNotInTheLedgerOutlivesAContinueAsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record = func(entries []incident.Entry) error {
		if slices.ContainsFunc(entries, func(e incident.Entry) bool { return e.Kind == incident.EventOptions }) {
			return temporal.NewNonRetryableApplicationError("another record is there", incident.ErrTypeInvalid, nil)
		}
		return nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	w.suggest(time.Minute)
	update(w, 2*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageNoted, time.Minute))
	state := w.goesOn(t)
	require.True(t, state.Unrecorded)
	require.Len(t, w.escalate, 1)
	require.Contains(t, w.escalate[0], "the ledger refuses a record")
	require.Contains(t, strings.Join(state.View.Notes, " "), "Handle it by hand")

	next := newWorld(t)
	got := update(next, time.Second, incident.UpdateDecide, "d1", decide("UADA", "d1", state.View.Options[0]))
	update(next, time.Hour, incident.UpdatePage, "p3", page("p3", incident.PageResolved, time.Hour))
	next.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: state})
	require.NoError(t, next.env.GetWorkflowError())
	require.Equal(t, incident.OutcomeDenied, got.Outcome)
	require.Contains(t, got.Reason, "by hand")
	require.Empty(t, next.executed)
}

// TestNothingIsLostAtAContinueAsNew lets each kind of message arrive while the
// run that would end waits for a command to be answered.
func TestNothingIsLostAtAContinueAsNew(t *testing.T) {
	t.Parallel()
	o := option(t, "o1")
	for _, tt := range []struct {
		name string
		send func(*world)
		done func(*world) bool
	}{
		{"a decision", func(w *world) { update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o)) }, func(w *world) bool { return w.count("ExecuteAction") == 1 }},
		{"a call for help", func(w *world) { command(w, time.Minute, "c1", incident.VerbEscalate) }, func(w *world) bool { return w.count("Escalate") == 1 }},
		{"a refresh", func(w *world) { command(w, time.Minute, "c1", incident.VerbRefresh) }, func(w *world) bool { return w.count("CollectOptions") == 2 }},
		{"a resolution", func(w *world) {
			update(w, time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Minute))
		}, func(w *world) bool { return w.count("WritePostmortem") == 1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.takes["Authorize"], w.takes["Decide"] = 5*time.Second, 5*time.Second
			w.authorize = func(in activities.AuthorizeInput) (activities.AuthorizeResult, error) {
				if in.Request.CommandID == "first" {
					return activities.AuthorizeResult{Outcome: incident.OutcomeDenied, Reason: "no"}, nil
				}
				return activities.AuthorizeResult{Outcome: incident.OutcomeAccepted, Person: ada}, nil
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			command(w, time.Minute-2*time.Millisecond, "first", incident.VerbRefresh)
			w.suggest(time.Minute - time.Millisecond)
			tt.send(w)
			w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key})
			require.True(t, w.env.IsWorkflowCompleted())
			if !tt.done(w) {
				// The next run does it.
				var more *workflow.ContinueAsNewError
				require.ErrorAs(t, w.env.GetWorkflowError(), &more)
				var in incident.IncidentInput
				require.NoError(t, defaultConverter.FromPayloads(more.Input, &in))
				w = newWorld(t)
				w.env.SetStartTime(opened.Add(2 * time.Minute))
				w.suggest(24 * time.Hour)
				w.env.ExecuteWorkflow(incident.WorkflowIncident, in)
				require.True(t, tt.done(w))
			}
		})
	}
}

// TestAStormOfPagesGoesOnInANewRun sends pages faster than cards can be shown
// or the ledger be written: the run must not grow until Temporal refuses a
// click.
func TestAStormOfPagesGoesOnInANewRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["Show"], w.takes["PublishCard"], w.takes["Record"] = 10*time.Second, 10*time.Second, 10*time.Second
	const interval = 200 * time.Millisecond
	for i := range 700 {
		id := fmt.Sprintf("p%d", i)
		update(w, time.Duration(i)*interval, incident.UpdatePage, id, page(id, incident.PageNoted, time.Duration(i)*interval))
	}
	state := w.goesOn(t)
	taken := len(state.Results)
	require.GreaterOrEqual(t, taken, 500)
	require.Less(t, taken, 600)
	require.NotEmpty(t, state.Pending, "what the ledger may lack goes with it")
	recorded := map[string]bool{}
	for _, e := range slices.Concat(w.written(), state.Pending) {
		recorded[e.ID] = true
	}
	require.Len(t, recorded, state.Events+state.Offers+taken, "every event is recorded or carried")

	next := newWorld(t)
	next.env.SetStartTime(opened.Add(5 * time.Minute))
	update(next, time.Minute, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
	next.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: state})
	require.NoError(t, next.env.GetWorkflowError())
	for _, e := range state.Pending {
		require.True(t, slices.ContainsFunc(next.entries, func(have incident.Entry) bool { return have.ID == e.ID }))
	}
	require.NotEmpty(t, next.cards, "the card is shown again")
}

// TestAPostmortemOnItsWayIsWrittenByTheNextRun closes an incident whose tracker
// is away while its history grows long.
func TestAPostmortemOnItsWayIsWrittenByTheNextRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["WritePostmortem"] = time.Hour
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	resolved(w, time.Minute)
	w.suggest(2 * time.Minute)
	update(w, 3*time.Minute, incident.UpdatePage, "n", page("n", incident.PageNoted, time.Minute))
	state := w.goesOn(t)
	require.Equal(t, incident.PhaseClosed, state.View.Phase)
	require.True(t, state.Unwritten)

	next := newWorld(t)
	next.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: state})
	require.True(t, next.env.IsWorkflowCompleted())
	require.NoError(t, next.env.GetWorkflowError())
	require.Equal(t, 7, next.view(t).Postmortem.Number)
	require.False(t, slices.ContainsFunc(next.entries, func(e incident.Entry) bool { return e.Text == "closed" }), "it is closed once")
}

// count is how often an activity was called. Some may still be running when a
// run has gone on.
func (w *world) count(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if c == name {
			n++
		}
	}
	return n
}

// written are the entries that the ledger has.
func (w *world) written() []incident.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.entries)
}

// TestAnIncidentThatWasOpenBeforeHasIDsOfItsOwn is what keeps a rollback from
// being taken for done because an earlier one was.
func TestAnIncidentThatWasOpenBeforeHasIDsOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		page   incident.Page
		tagged bool
	}{
		{"new", page("p1", incident.PageTriggered, 0), false},
		{"reopened", page("p1", incident.PageReopened, 0), true},
		{"open for days", func() incident.Page {
			p := page("p1", incident.PageReconciled, 0)
			p.OpenedAt = opened.Add(-72 * time.Hour)
			return p
		}(), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env.SetStartTime(opened)
			update(w, 0, incident.UpdatePage, "p1", tt.page)
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			update(w, time.Hour, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
			v := w.run(t)
			require.Len(t, v.Rollbacks, 1)
			require.Equal(t, !tt.tagged, v.Rollbacks[0].ID == "rollback/pagerduty/Q1/1", v.Rollbacks[0].ID)
			require.Equal(t, v.Rollbacks[0].ID, w.decided[0].Rollback)
			require.True(t, incident.RollbackOf(v.Rollbacks[0].ID, key))
			for _, e := range w.entries {
				require.Equal(t, tt.tagged, strings.Contains(e.ID, "/Q1/r"), e.ID)
			}
		})
	}
}

func TestWhoIsNotAnIncidentIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: "pagerduty/../etc"})
	require.True(t, w.env.IsWorkflowCompleted())
	var app *temporal.ApplicationError
	require.ErrorAs(t, w.env.GetWorkflowError(), &app)
	require.Equal(t, incident.ErrTypeInvalid, app.Type())
}

func TestUpdatesThatAreRejected(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		name string
		send func(*world) *incident.Result
	}{
		{"a page of another incident", func(w *world) *incident.Result {
			p := page("p2", incident.PageNoted, 0)
			p.IncidentID = "Q2"
			return update(w, time.Minute, incident.UpdatePage, "p2", p)
		}},
		{"a service whose name no list takes", func(w *world) *incident.Result {
			p := page("p2", incident.PageNoted, 0)
			p.Service = long
			return update(w, time.Minute, incident.UpdatePage, "p2", p)
		}},
		{"a reporter who is nobody", func(w *world) *incident.Result {
			p := page("p2", incident.PageNoted, 0)
			p.Reporter = incident.Actor{Via: "rumour", Login: "eve"}
			return update(w, time.Minute, incident.UpdatePage, "p2", p)
		}},
		{"a login without end", func(w *world) *incident.Result {
			q := decide("UADA", "d1", option(t, "o1"))
			q.Actor = incident.Actor{Via: incident.ViaCLI, Login: long}
			return update(w, time.Minute, incident.UpdateDecide, "d1", q)
		}},
		{"an option without end", func(w *world) *incident.Result {
			q := decide("UADA", "d1", option(t, "o1"))
			q.OptionID = long
			return update(w, time.Minute, incident.UpdateDecide, "d1", q)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			got := tt.send(w)
			update(w, 2*time.Minute, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
			v := w.run(t)
			require.Contains(t, got.Reason, "rejected: ")
			require.NotContains(t, w.calls, "Decide")
			require.NotContains(t, v.Service, "x")
		})
	}
}

func TestDecisionsAreRememberedHoweverManyPagesCome(t *testing.T) {
	t.Parallel()
	state := incident.IncidentState{View: incident.View{Key: key, Phase: incident.PhaseDeciding, OpenedAt: opened, Options: []incident.Option{option(t, "o1")}}, Results: map[string]incident.Result{}}
	for i := range 2000 {
		state.Results[fmt.Sprintf("page:x%d", i)] = incident.Result{Outcome: incident.OutcomeAccepted}
	}
	w := newWorld(t)
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		return decided(in, incident.OutcomeWaiting), nil
	}
	first := update(w, time.Second, incident.UpdateDecide, "u1", decide("UADA", "d1", option(t, "o1")))
	again := update(w, time.Minute, incident.UpdateDecide, "u2", decide("UADA", "d1", option(t, "o1")))
	update(w, time.Hour, incident.UpdatePage, "end", page("end", incident.PageResolved, time.Hour))
	w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: &state})
	require.NoError(t, w.env.GetWorkflowError())
	require.Equal(t, first.EventID, again.EventID)
	require.Len(t, w.decided, 1)
}

func TestDecisionsAreBounded(t *testing.T) {
	t.Parallel()
	state := incident.IncidentState{View: incident.View{Key: key, Phase: incident.PhaseDeciding, OpenedAt: opened, Options: []incident.Option{option(t, "o1")}}, Results: map[string]incident.Result{}}
	for i := range 200 {
		d := incident.Decision{ID: fmt.Sprintf("old%d", i), Outcome: incident.OutcomeDenied}
		if i == 0 {
			d.Outcome = incident.OutcomeWaiting
		}
		state.View.Decisions = append(state.View.Decisions, d)
	}
	w := newWorld(t)
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		return decided(in, incident.OutcomeDenied), nil
	}
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	resolved(w, time.Hour)
	w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key, State: &state})
	require.NoError(t, w.env.GetWorkflowError())
	v := w.view(t)
	require.Len(t, v.Decisions, 200)
	require.Equal(t, "old0", v.Decisions[0].ID, "what counts does not give way to what does not")
	require.Equal(t, "old2", v.Decisions[1].ID)
	require.Equal(t, "d1", v.Decisions[199].ID)
}

func TestALedgerThatIsAwayIsWaitedForAndSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	back := w.ledgerAway()
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, 20*time.Second, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	var during incident.View
	w.env.RegisterDelayedCallback(func() { during = w.view(t); require.Empty(t, w.executed) }, 3*time.Minute)
	w.env.RegisterDelayedCallback(back, 3*time.Minute+time.Second)
	update(w, time.Hour, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	v := w.run(t)
	require.Equal(t, incident.OutcomeApproved, got.Outcome)
	require.Contains(t, strings.Join(during.Notes, " "), "The ledger can not be written")
	require.Len(t, w.escalate, 1)
	require.Contains(t, w.escalate[0], "the ledger can not be written")
	require.Len(t, w.executed, 1, "it goes on when the ledger is back")
	require.NotContains(t, strings.Join(v.Notes, " "), "can not be written")
}

func TestCancellingBeforeARollbackBegins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["Record"] = 40 * time.Second
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, 20*time.Second, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	got := command(w, 30*time.Second, "c1", incident.VerbCancel)
	update(w, 5*time.Minute, incident.UpdatePage, "p2", page("p2", incident.PageResolved, time.Hour))
	v := w.run(t)
	require.Equal(t, incident.OutcomeAccepted, got.Outcome, got.Reason)
	require.Empty(t, w.executed)
	require.Equal(t, incident.RollbackCancelled, v.Rollbacks[0].Status)
}
