package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// TestForgedReportsChangeNothing is somebody who can send signals to the
// incident. What a rollback did, and how it ended, is what its result says.
func TestForgedReportsChangeNothing(t *testing.T) {
	t.Parallel()
	o := option(t, "o1")
	honest := incident.RollbackView{ID: "rollback/pagerduty/Q1/1", OptionID: "o1", PlanDigest: o.Digest, Actions: []incident.ActionView{{Action: o.Plan.Actions[0], Status: incident.ActionDone}}}
	for _, tt := range []struct {
		name  string
		at    time.Duration
		forge func(*incident.RollbackView)
		taken bool
	}{
		{"that it is over and well", 2 * time.Minute, func(r *incident.RollbackView) {
			r.Status, r.FinishedAt = incident.RollbackDone, opened
			r.Recovery = &incident.RecoveryResult{Verdict: incident.VerdictRecovered}
		}, true},
		{"another plan", 2 * time.Minute, func(r *incident.RollbackView) { r.PlanDigest = incident.DigestOf(nil) }, false},
		{"another target", 2 * time.Minute, func(r *incident.RollbackView) { r.Actions[0].Action.Target.Path = "releases/payments" }, false},
		{"another rollback", 2 * time.Minute, func(r *incident.RollbackView) { r.ID = "rollback/pagerduty/Q1/2" }, false},
		{"before there is one", 30 * time.Second, func(*incident.RollbackView) {}, false},
		{"after it has ended", 50 * time.Minute, func(r *incident.RollbackView) { r.Step = "forged" }, false},
		{"a line of the timeline", 2 * time.Minute, func(r *incident.RollbackView) {
			r.Events = []incident.Event{{ID: "pagerduty/Q1/e999", Kind: incident.EventDecision, At: opened, Text: "forged"}}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.takes["ExecuteAction"] = 5 * time.Minute
			w.measure = func(_ int, at time.Time) incident.RecoveryResult {
				return verdict(incident.VerdictNotRecovered, at)
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
			forged := honest
			forged.Actions = slices.Clone(honest.Actions)
			tt.forge(&forged)
			var before, after incident.View
			w.env.RegisterDelayedCallback(func() {
				before = w.view(t)
				w.env.SignalWorkflow(incident.SignalRollback, forged)
			}, tt.at)
			w.env.RegisterDelayedCallback(func() { after = w.view(t) }, tt.at+time.Second)
			resolved(w, time.Hour)
			v := w.run(t)
			if !tt.taken {
				require.Equal(t, before.Rollbacks, after.Rollbacks)
			}
			require.NotContains(t, after.Phase, incident.PhaseRecovered)
			require.False(t, slices.ContainsFunc(v.Timeline, func(e incident.Event) bool { return e.Text == "forged" }))
			require.Equal(t, incident.VerdictNotRecovered, v.Rollbacks[0].Recovery.Verdict)
			require.Equal(t, "releases/checkout", v.Rollbacks[0].Actions[0].Action.Target.Path)
			require.True(t, v.Rollbacks[0].FinishedAt.After(opened.Add(5*time.Minute)), "%s", v.Rollbacks[0].FinishedAt)
			require.Contains(t, w.escalate[0], "did not bring the service back")
		})
	}
}

// TestACarriedOutPlanIsNotApprovedAgain presses the button of a plan once more that was
// carried out in vain, before the options are worked out anew.
func TestACarriedOutPlanIsNotApprovedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := option(t, "o1")
	w.measure = func(_ int, at time.Time) incident.RecoveryResult { return verdict(incident.VerdictNotRecovered, at) }
	offers := 0
	w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
		if offers++; offers > 1 {
			return activities.CollectResult{}, temporal.NewNonRetryableApplicationError("the systems are away", incident.ErrTypeInvalid, nil)
		}
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{o}, DecideWithin: 10 * time.Minute}, nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
	again := update(w, 50*time.Minute, incident.UpdateDecide, "d2", decide("UADA", "d2", o))
	resolved(w, 2*time.Hour)
	v := w.run(t)
	require.Equal(t, incident.OutcomeLate, again.Outcome)
	require.Contains(t, again.Reason, "that plan has been carried out")
	require.Len(t, v.Rollbacks, 1)
	require.Equal(t, incident.RollbackDone, v.Rollbacks[0].Status)
}

func TestARollbackThatSaysNothingPagesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.OnWorkflow(incident.WorkflowRollback, mock.Anything, mock.Anything).After(3*time.Hour).Return(incident.RollbackView{}, temporal.NewNonRetryableApplicationError("it broke", "Broken", nil))
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	resolved(w, 4*time.Hour)
	v := w.run(t)
	require.Contains(t, w.escalate[0], "rollback/pagerduty/Q1/1 has said nothing for 16m0s")
	require.Contains(t, w.escalate[1], "the rollback itself failed, so look at each target: it broke")
	require.Equal(t, incident.RollbackFailed, v.Rollbacks[0].Status)
	require.False(t, v.Rollbacks[0].FinishedAt.IsZero())
}

// TestResolvedDuringARollback is people who resolve the incident at its source
// while it is being rolled back: it ends with the rollback, whatever its
// verdict, and never says that it recovered when it did not.
func TestResolvedDuringARollback(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		verdict incident.Verdict
		noted   bool
	}{{"recovered", incident.VerdictRecovered, false}, {"unknown", incident.VerdictUnknown, true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.takes["ExecuteAction"] = 5 * time.Minute
			w.measure = func(_ int, at time.Time) incident.RecoveryResult { return verdict(tt.verdict, at) }
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			resolved(w, 2*time.Minute)
			v := w.run(t)
			require.Equal(t, incident.PhaseClosed, v.Phase)
			require.Equal(t, tt.verdict, v.Rollbacks[0].Recovery.Verdict)
			require.Equal(t, tt.noted, strings.Contains(strings.Join(v.Notes, " "), "Look at each target"))
			require.Equal(t, !tt.noted, slices.ContainsFunc(v.Timeline, func(e incident.Event) bool { return e.Text == "recovered" }))
			require.Equal(t, 7, v.Postmortem.Number)
		})
	}
}

// TestAnApprovalWinsOverAResolutionOfTheSameMoment is a click that is being
// judged while the source says that it is over.
func TestAnApprovalWinsOverAResolutionOfTheSameMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["Decide"] = 10 * time.Second
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	got := update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	resolved(w, time.Minute+5*time.Second)
	v := w.run(t)
	require.Equal(t, incident.OutcomeApproved, got.Outcome)
	require.Len(t, w.executed, 1, "what was answered with yes is done")
	require.Equal(t, incident.PhaseClosed, v.Phase)
}

func TestAResolutionIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["ExecuteAction"] = 5 * time.Minute
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	resolved(w, 2*time.Minute)
	update(w, 3*time.Minute, incident.UpdatePage, "reconcile-Q1", page("reconcile-Q1", incident.PageResolved, 2*time.Minute))
	v := w.run(t)
	lines := 0
	for _, e := range v.Timeline {
		if e.Kind == incident.EventPage {
			lines++
		}
	}
	require.Equal(t, 2, lines)
}

func TestAReopenedIncidentIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["WritePostmortem"] = 10 * time.Minute
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	resolved(w, time.Minute)
	update(w, 2*time.Minute, incident.UpdatePage, "p3", page("p3", incident.PageReopened, 2*time.Minute))
	var open incident.View
	w.env.RegisterDelayedCallback(func() { open = w.view(t) }, 3*time.Minute)
	update(w, time.Hour, incident.UpdatePage, "p4", page("p4", incident.PageResolved, time.Hour))
	v := w.run(t)
	require.Equal(t, incident.PhaseDeciding, open.Phase)
	require.True(t, open.ClosedAt.IsZero())
	require.Equal(t, opened.Add(time.Hour), v.ClosedAt)
	require.Equal(t, []string{"nobody decided on a rollback in time"}, w.escalate)
}

// TestATrackerThatIsAwayDoesNotKeepAnIncidentOpen is a resolution while the
// first draft of the postmortem is still on its way.
func TestATrackerThatIsAwayDoesNotKeepAnIncidentOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.takes["WritePostmortem"] = time.Hour
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	resolved(w, 10*time.Minute)
	var closed incident.View
	w.env.RegisterDelayedCallback(func() { closed = w.view(t) }, 11*time.Minute)
	w.run(t)
	require.Equal(t, incident.PhaseClosed, closed.Phase)
	require.Equal(t, 2, w.count("WritePostmortem"), "and the draft is brought up to the end")
}

// TestCancellingInTemporal ends an incident without losing anything, and lets a
// rollback stop before its next action only.
func TestCancellingInTemporal(t *testing.T) {
	t.Parallel()
	t.Run("while people decide", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
		w.env.RegisterDelayedCallback(w.env.CancelWorkflow, time.Minute)
		w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key})
		require.True(t, w.env.IsWorkflowCompleted())
		require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()))
		last := w.cards[len(w.cards)-1]
		require.Contains(t, strings.Join(last.Notes, " "), "Handle it by hand")
		require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool { return e.Text == "the workflow was cancelled in Temporal" }))
	})
	t.Run("while a rollback runs", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		two := option(t, "o1", action("a"), action("b"))
		w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
			return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{two}, DecideWithin: time.Hour}, nil
		}
		w.takes["ExecuteAction"] = 2 * time.Minute
		update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
		update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", two))
		w.env.RegisterDelayedCallback(w.env.CancelWorkflow, 2*time.Minute)
		w.env.ExecuteWorkflow(incident.WorkflowIncident, incident.IncidentInput{Key: key})
		require.True(t, w.env.IsWorkflowCompleted())
		require.True(t, temporal.IsCanceledError(w.env.GetWorkflowError()))
		require.Len(t, w.executed, 1)
		last := w.cards[len(w.cards)-1].Rollbacks[0]
		require.Equal(t, incident.RollbackCancelled, last.Status)
		require.Equal(t, incident.ActionDone, last.Actions[0].Status)
		require.Equal(t, incident.ActionSkipped, last.Actions[1].Status)
	})
}

func TestTheEarliestDateOfTheChangeCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	change := func(id, source string, at time.Duration) incident.Suspect {
		return incident.Suspect{Change: incident.Change{
			ID: id, Source: source, Kind: incident.ChangeDeploy, Service: "checkout", To: "v42", At: opened.Add(at),
			Target: incident.Target{System: "shop", Path: "releases/checkout"},
		}}
	}
	late, early := change("2", "nats.kv", -time.Minute), change("d9", "github.deployments", -3*time.Minute)
	o := option(t, "o1")
	o.Suspect = &late
	w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Suspects: []incident.Suspect{late, early}}, Options: []incident.Option{o}, DecideWithin: time.Hour}, nil
	}
	var changed time.Time
	w.env.SetOnChildWorkflowStartedListener(rollbackStarted(t, &changed))
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", o))
	resolved(w, time.Hour)
	w.run(t)
	require.Equal(t, opened.Add(-3*time.Minute), changed)
}

func TestAPartialRollbackThatRecoveredIsStillSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	two := option(t, "o1", action("a"), action("b"))
	w.collect = func(activities.CollectInput) (activities.CollectResult, error) {
		return activities.CollectResult{Service: "checkout", Ranking: incident.Ranking{Likely: -1}, Options: []incident.Option{two}, DecideWithin: 24 * time.Hour}, nil
	}
	w.execute = func(in activities.ExecuteInput) (incident.ActionView, error) {
		if in.Index == 1 {
			return incident.ActionView{}, errDrift
		}
		return done(in.Action, w.env.Now()), nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	update(w, time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", two))
	redo := command(w, 30*time.Minute, "c1", incident.VerbRedo)
	resolved(w, time.Hour)
	w.run(t)
	require.Len(t, w.escalate, 1)
	require.Contains(t, w.escalate[0], "the service recovered, and the rollback is not whole: shop/b: it is at v43")
	require.Equal(t, incident.OutcomeAccepted, redo.Outcome, redo.Reason)
}
