package workflows_test

import (
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

// TestARollbackIsAskedToStop asks at each stage, by signal and in Temporal: what
// has begun is finished and recorded, the lock is released, nothing more begins.
func TestARollbackIsAskedToStop(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		slow     string
		at       time.Duration
		executed int
		reason   string
	}{
		{"while evidence is captured", "CaptureEvidence", time.Minute, 0, "cancelled before shop/a"},
		{"during the first action", "ExecuteAction", time.Minute, 1, "cancelled before shop/b"},
		{"during the watch", "", 90 * time.Second, 2, "the watch over recovery was stopped"},
		{"during the warm-up", "", 5 * time.Second, 2, "the watch over recovery was stopped"},
	} {
		for _, how := range []string{"signal", "Temporal"} {
			t.Run(tt.name+" by "+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				if tt.slow != "" {
					w.takes[tt.slow] = 2 * time.Minute
				}
				w.measure = func(_ int, at time.Time) incident.RecoveryResult {
					return verdict(incident.VerdictNotRecovered, at)
				}
				w.env.RegisterDelayedCallback(func() {
					if how == "signal" {
						w.env.SignalWorkflow(incident.SignalCancel, nil)
					} else {
						w.env.CancelWorkflow()
					}
				}, tt.at)
				v := runRollback(t, w, rollbackInput(option(t, "o1", action("a"), action("b"))))
				require.Equal(t, incident.RollbackCancelled, v.Status)
				require.Contains(t, v.Reason, tt.reason)
				require.Len(t, w.executed, tt.executed)
				require.False(t, v.FinishedAt.IsZero())
				if tt.executed > 0 {
					require.Equal(t, incident.VerdictUnknown, v.Recovery.Verdict, "nobody looked to the end")
					require.NotNil(t, v.After)
				}
				require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool {
					return e.Kind == incident.EventVerdict || e.Kind == incident.EventRollback
				}))
			})
		}
	}
}

// TestTheLockIsFreeAfterARollback runs a second one of the same target.
func TestTheLockIsFreeAfterARollback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var views []incident.RollbackView
	w.env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		for n := range 2 {
			in := rollbackInput(option(t, "o1"))
			in.ID = incident.RollbackID(key, n+1)
			var v incident.RollbackView
			if err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: in.ID}), incident.WorkflowRollback, in).Get(ctx, &v); err != nil {
				return err
			}
			views = append(views, v)
		}
		return nil
	}, workflow.RegisterOptions{Name: "Two"})
	w.env.ExecuteWorkflow("Two")
	require.NoError(t, w.env.GetWorkflowError())
	for _, v := range views {
		require.Equal(t, incident.RollbackDone, v.Status, v.Reason)
	}
}

func TestARollbackOfAnotherIncidentTouchesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*incident.RollbackInput)
	}{
		{"the plan is another incident's", func(in *incident.RollbackInput) { in.Incident = "pagerduty/Q2" }},
		{"the ID is another incident's", func(in *incident.RollbackInput) { in.ID = "rollback/pagerduty/Q2/1" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			in := rollbackInput(option(t, "o1"))
			tt.change(&in)
			v := runRollback(t, w, in)
			require.Equal(t, incident.RollbackVoid, v.Status)
			require.Contains(t, v.Reason, "nothing was touched")
			require.Empty(t, w.executed)
		})
	}
}

func TestARollbackWaitsForTheLedgerAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	back := w.ledgerAway()
	w.env.RegisterDelayedCallback(func() {
		require.Empty(t, w.executed)
		require.Len(t, w.escalate, 1)
		back()
	}, 2*time.Minute)
	v := runRollback(t, w, rollbackInput(option(t, "o1")))
	require.Equal(t, incident.RollbackDone, v.Status)
	require.Contains(t, w.escalate[0], "does not go on, because the ledger can not be written")
}

func TestALedgerThatRefusesTheLockKeepsARollbackFromTouchingAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record = func([]incident.Entry) error {
		return temporal.NewNonRetryableApplicationError("another record is there", incident.ErrTypeInvalid, nil)
	}
	v := runRollback(t, w, rollbackInput(option(t, "o1")))
	require.Equal(t, incident.RollbackFailed, v.Status)
	require.Contains(t, v.Reason, "the ledger refused a record, so nothing was touched")
	require.Empty(t, w.executed)
}

// TestAnOutcomeThatItsActionCouldNotRecordIsRecorded is a ledger that was away
// after the effect for longer than the action was tried.
func TestAnOutcomeThatItsActionCouldNotRecordIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.execute = func(in activities.ExecuteInput) (incident.ActionView, error) {
		known := incident.ActionView{Action: in.Action, Status: incident.ActionRunning, Applied: true, MutatedAt: opened, Observed: "v41"}
		return incident.ActionView{}, temporal.NewNonRetryableApplicationError("ledger unavailable", incident.ErrTypeLedger, nil, known)
	}
	v := runRollback(t, w, rollbackInput(option(t, "o1")))
	require.Equal(t, incident.RollbackPartial, v.Status)
	require.True(t, v.Actions[0].Applied)
	require.NotNil(t, v.Recovery, "what may have been changed is judged")
	require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool {
		return strings.Contains(e.Text, "shop/releases/checkout failed: ledger unavailable")
	}))
	for _, e := range v.Events {
		require.NotEqual(t, incident.OutcomeID(v.ID, 0, false), e.ID, "no line without its record")
	}
}

// TestARefusalInTheLastMomentVoidsTheApproval is a target that moved after the
// plan was checked, and an approval that ran out: people are asked again.
func TestARefusalInTheLastMomentVoidsTheApproval(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want incident.RollbackStatus
	}{
		{"drift", errDrift, incident.RollbackVoid},
		{"the approval ran out", temporal.NewNonRetryableApplicationError("the approval expired", incident.ErrTypeDenied, nil, incident.ActionView{Status: incident.ActionRefused, FinishedAt: opened}), incident.RollbackVoid},
		{"the credential may not", temporal.NewNonRetryableApplicationError("permission denied", incident.ErrTypeDenied, nil, incident.ActionView{Status: incident.ActionFailed, FinishedAt: opened}), incident.RollbackFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.execute = func(activities.ExecuteInput) (incident.ActionView, error) { return incident.ActionView{}, tt.err }
			v := runRollback(t, w, rollbackInput(option(t, "o1", action("a"), action("b"))))
			require.Equal(t, tt.want, v.Status)
			require.Equal(t, tt.want == incident.RollbackVoid, strings.Contains(v.Reason, "nothing was touched"))
			require.Nil(t, v.Recovery)
			require.Len(t, w.executed, 1)
		})
	}
}

func TestWhatCouldNotBeTakenBackIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.execute = func(in activities.ExecuteInput) (incident.ActionView, error) {
		if in.Index == 1 || in.Action == action("a").Swapped() {
			return incident.ActionView{}, errDrift
		}
		return done(in.Action, w.env.Now()), nil
	}
	b := action("b")
	b.OnFailure = incident.OnFailureCompensate
	v := runRollback(t, w, rollbackInput(option(t, "o1", action("a"), b)))
	require.Equal(t, incident.RollbackPartial, v.Status)
	require.Equal(t, incident.ActionDone, v.Actions[0].Status, "it is where the plan put it")
	require.Contains(t, v.Actions[0].Reason, "could not be taken back: it is at v43")
	require.Contains(t, v.Reason, "shop/a could not be taken back")
}

func TestEachActionHasItsOwnRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ids []string
	w.execute = func(in activities.ExecuteInput) (incident.ActionView, error) {
		ids = append(ids, in.IntentID, in.OutcomeID)
		if in.Index == 1 {
			return incident.ActionView{}, errDrift
		}
		return done(in.Action, w.env.Now()), nil
	}
	b := action("b")
	b.OnFailure = incident.OnFailureCompensate
	v := runRollback(t, w, rollbackInput(option(t, "o1", action("a"), b)))
	const id = "rollback/pagerduty/Q1/1/"
	require.Equal(t, []string{id + "a0/intent", id + "a0/outcome", id + "a1/intent", id + "a1/outcome", id + "a0/back/intent", id + "a0/back/outcome"}, ids)
	var lines []string
	for _, e := range v.Events {
		lines = append(lines, e.ID)
	}
	require.Contains(t, lines, id+"a0/back/outcome", "taking back is in the timeline")
}

// TestALongWatchKeepsItsHistoryShort is a runbook that watches for ten hours
// every two seconds.
func TestALongWatchKeepsItsHistoryShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watch = &activities.RecoveryPlan{Warmup: time.Minute, Every: 2 * time.Second, Long: 5 * time.Minute, Hold: 5 * time.Minute, Deadline: 10 * time.Hour}
	w.measure = func(_ int, at time.Time) incident.RecoveryResult { return verdict(incident.VerdictUnknown, at) }
	reports := 0
	w.env.SetStartTime(opened)
	w.env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		in := rollbackInput(option(t, "o1"))
		workflow.Go(ctx, func(ctx workflow.Context) {
			for ch := workflow.GetSignalChannel(ctx, incident.SignalRollback); ch.Receive(ctx, nil); {
				reports++
			}
		})
		return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: in.ID}), incident.WorkflowRollback, in).Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "Parent"})
	w.env.ExecuteWorkflow("Parent")
	require.NoError(t, w.env.GetWorkflowError())
	require.Less(t, w.measured, 1600)
	require.Greater(t, w.measured, 1000)
	require.Less(t, reports, 120)
	require.Greater(t, reports, 60)
}

// TestALookThatWasMissedBreaksTheHold is a worker that was away for longer than
// the long window: nobody saw that the service stayed well.
func TestALookThatWasMissedBreaksTheHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.measure = func(n int, at time.Time) incident.RecoveryResult {
		if n == 4 {
			w.takes["MeasureRecovery"] = 3 * time.Minute
		} else {
			w.takes["MeasureRecovery"] = 0
		}
		return verdict(incident.VerdictRecovered, at)
	}
	v := runRollback(t, w, rollbackInput(option(t, "o1")))
	require.Equal(t, incident.VerdictRecovered, v.Recovery.Verdict)
	require.Greater(t, w.measured, 7, "the hold began again")
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	listed := page("r1", incident.PageReconciled, 0)
	over := page("r2", incident.PageResolved, time.Hour)
	over.IncidentID = "Q2"
	still := page("r3", incident.PageReconciled, time.Hour)
	still.IncidentID = "Q3"
	run := func(t *testing.T, w *world) activities.ReconcileResult {
		t.Helper()
		w.env.ExecuteWorkflow(incident.WorkflowReconcile, incident.SourcePagerDuty)
		require.NoError(t, w.env.GetWorkflowError())
		var res activities.ReconcileResult
		require.NoError(t, w.env.GetWorkflowResult(&res))
		return res
	}
	t.Run("what is open here and not listed is asked about", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.open, w.held = []incident.Page{listed}, []string{"Q1", "Q2", "Q3", "Q4"}
		w.ask = func(in activities.AskInput) (incident.Page, error) {
			switch in.ID {
			case "Q2":
				return over, nil
			case "Q3":
				return still, nil
			default:
				return incident.Page{}, temporal.NewNonRetryableApplicationError("gone", incident.ErrTypeNotFound, nil)
			}
		}
		res := run(t, w)
		require.Equal(t, []string{"Q2", "Q3", "Q4"}, w.asked)
		require.Equal(t, []incident.Page{listed, over, still}, w.sent, "one that is gone is never taken for one that is over")
		require.Equal(t, activities.ReconcileResult{Open: 1, Delivered: 1, Closed: 1, Failed: []string{"Q4"}}, res)
	})
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		for i := range 80 {
			w.held = append(w.held, "H"+strings.Repeat("x", i))
		}
		w.ask = func(in activities.AskInput) (incident.Page, error) {
			p := over
			p.IncidentID = in.ID
			return p, nil
		}
		require.Equal(t, 50, run(t, w).Closed)
	})
}
