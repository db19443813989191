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

func rollbackInput(o incident.Option) incident.RollbackInput {
	return incident.RollbackInput{
		ID: incident.RollbackID("pagerduty/Q1", 1), Incident: "pagerduty/Q1", Option: o, DecisionIDs: []string{"pagerduty/Q1/e4"},
	}
}

func runRollback(t *testing.T, w *world, in incident.RollbackInput) incident.RollbackView {
	t.Helper()
	w.env.ExecuteWorkflow(incident.WorkflowRollback, in)
	require.True(t, w.env.IsWorkflowCompleted())
	require.NoError(t, w.env.GetWorkflowError())
	var v incident.RollbackView
	require.NoError(t, w.env.GetWorkflowResult(&v))
	return v
}

func TestRollbackCapturesEvidenceAndReplansBeforeTheFirstMutation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := runRollback(t, w, rollbackInput(option(t, "o1")))
	require.Equal(t, incident.RollbackDone, v.Status)
	require.Equal(t, incident.VerdictRecovered, v.Recovery.Verdict)
	order := slices.DeleteFunc(slices.Clone(w.calls), func(c string) bool { return c == "Record" })
	// The two reads run beside each other; the effect waits for both.
	require.Len(t, order, 4)
	require.ElementsMatch(t, []string{"CaptureEvidence before", "Replan"}, order[:2])
	require.Equal(t, []string{"ExecuteAction", "CaptureEvidence after"}, order[2:])
	require.False(t, v.FirstMutationAt.IsZero())
	require.NotEmpty(t, v.Before.Digest)
	require.NotEmpty(t, v.After.Digest)
}

func TestRollbackTouchesNothing(t *testing.T) {
	t.Parallel()
	refuse := temporal.NewNonRetryableApplicationError("ledger is gone", incident.ErrTypeInvalid, nil)
	for _, tt := range []struct {
		name   string
		spoil  func(*world, *incident.RollbackInput)
		status incident.RollbackStatus
		reason string
	}{
		{"when the plan is not the one approved", func(_ *world, in *incident.RollbackInput) {
			in.Option.Plan.Actions[0].To.Revision = "9"
		}, incident.RollbackVoid, "not the plan approved"},
		{"when evidence can not be recorded", func(w *world, _ *incident.RollbackInput) {
			w.evidence = func(activities.EvidenceInput) (incident.Manifest, error) { return incident.Manifest{}, refuse }
		}, incident.RollbackFailed, "nothing was touched"},
		{"when the world moved", func(w *world, _ *incident.RollbackInput) {
			w.replan = func(activities.ReplanInput) (activities.ReplanResult, error) {
				return activities.ReplanResult{Digest: incident.DigestOf([]byte("other")), Differences: []string{"releases/checkout is at v43"}}, nil
			}
		}, incident.RollbackVoid, "releases/checkout is at v43"},
		{"when the plan can not be checked", func(w *world, _ *incident.RollbackInput) {
			w.replan = func(activities.ReplanInput) (activities.ReplanResult, error) {
				return activities.ReplanResult{}, refuse
			}
		}, incident.RollbackVoid, "could not be checked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			in := rollbackInput(option(t, "o1"))
			tt.spoil(w, &in)
			v := runRollback(t, w, in)
			require.Equal(t, tt.status, v.Status)
			require.Contains(t, v.Reason, tt.reason)
			require.Empty(t, w.executed)
			require.Nil(t, v.Recovery)
		})
	}
}

func TestRollbackIsRefusedWhileAnotherHoldsTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := rollbackInput(option(t, "o1")), rollbackInput(option(t, "o2"))
	second.ID = incident.RollbackID("pagerduty/Q1", 2)
	var views []incident.RollbackView
	w.env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		start := func(in incident.RollbackInput) workflow.ChildWorkflowFuture {
			return workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: in.ID}), incident.WorkflowRollback, in)
		}
		a := start(first)
		if err := workflow.Sleep(ctx, 5*time.Second); err != nil {
			return err
		}
		b := start(second)
		for _, f := range []workflow.ChildWorkflowFuture{b, a} {
			var v incident.RollbackView
			if err := f.Get(ctx, &v); err != nil {
				return err
			}
			views = append(views, v)
		}
		return nil
	}, workflow.RegisterOptions{Name: "Two"})
	w.env.ExecuteWorkflow("Two")
	require.NoError(t, w.env.GetWorkflowError())
	require.Equal(t, incident.RollbackLocked, views[0].Status)
	require.Contains(t, views[0].Reason, "another rollback holds shop/releases/checkout")
	require.Equal(t, incident.RollbackDone, views[1].Status)
	require.Len(t, w.executed, 1)
}

func TestRollbackShowsEachTargetsTrueState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.execute = func(in activities.ExecuteInput) (incident.ActionView, error) {
		if in.Action.Target.Path == "releases/payments" {
			return incident.ActionView{}, errDrift
		}
		return done(in.Action, w.env.Now()), nil
	}
	v := runRollback(t, w, rollbackInput(option(t, "o1", action("releases/checkout"), action("releases/payments"), action("releases/storefront"))))
	require.Equal(t, incident.RollbackPartial, v.Status)
	require.Equal(t, incident.ActionDone, v.Actions[0].Status)
	require.Equal(t, incident.ActionRefused, v.Actions[1].Status)
	require.Equal(t, "it is at v43", v.Actions[1].Reason)
	require.Equal(t, incident.ActionSkipped, v.Actions[2].Status)
	require.NotNil(t, v.Recovery, "a partial rollback is judged too")
}

func TestRollbackOnFailure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		do       incident.OnFailure
		statuses []incident.ActionStatus
		executed int
	}{
		{"stop", incident.OnFailureStop, []incident.ActionStatus{incident.ActionDone, incident.ActionRefused, incident.ActionSkipped}, 2},
		{"escalate", incident.OnFailureEscalate, []incident.ActionStatus{incident.ActionDone, incident.ActionRefused, incident.ActionSkipped}, 2},
		{"continue", incident.OnFailureContinue, []incident.ActionStatus{incident.ActionDone, incident.ActionRefused, incident.ActionDone}, 3},
		{"compensate", incident.OnFailureCompensate, []incident.ActionStatus{incident.ActionSkipped, incident.ActionRefused, incident.ActionSkipped}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.execute = func(in activities.ExecuteInput) (incident.ActionView, error) {
				if in.Action.Target.Path == "b" {
					return incident.ActionView{}, errDrift
				}
				return done(in.Action, w.env.Now()), nil
			}
			b := action("b")
			b.OnFailure = tt.do
			v := runRollback(t, w, rollbackInput(option(t, "o1", action("a"), b, action("c"))))
			var got []incident.ActionStatus
			for _, a := range v.Actions {
				got = append(got, a.Status)
			}
			require.Equal(t, tt.statuses, got)
			require.Len(t, w.executed, tt.executed)
			if tt.do == incident.OnFailureCompensate {
				require.Equal(t, action("a").Swapped(), w.executed[2])
			}
		})
	}
}

func TestRollbackStopsBeforeTheNextActionWhenCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.execute = func(in activities.ExecuteInput) (incident.ActionView, error) {
		w.env.SignalWorkflow(incident.SignalCancel, nil)
		return done(in.Action, w.env.Now()), nil
	}
	v := runRollback(t, w, rollbackInput(option(t, "o1", action("a"), action("b"))))
	require.Equal(t, incident.RollbackCancelled, v.Status)
	require.Equal(t, incident.ActionDone, v.Actions[0].Status)
	require.Equal(t, incident.ActionSkipped, v.Actions[1].Status)
	require.Len(t, w.executed, 1)
}

func TestRollbackVerdict(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		measure func(n int, at time.Time) incident.RecoveryResult
		want    incident.Verdict
		looks   int
	}{
		{"recovered counts only after the hold", func(_ int, at time.Time) incident.RecoveryResult {
			return verdict(incident.VerdictRecovered, at)
		}, incident.VerdictRecovered, 7},
		{"a relapse begins the hold again", func(n int, at time.Time) incident.RecoveryResult {
			if n == 5 {
				return verdict(incident.VerdictNotRecovered, at)
			}
			return verdict(incident.VerdictRecovered, at)
		}, incident.VerdictRecovered, 12},
		{"unknown never closes", func(_ int, at time.Time) incident.RecoveryResult {
			return verdict(incident.VerdictUnknown, at)
		}, incident.VerdictUnknown, 59},
		{"not recovered at the deadline", func(_ int, at time.Time) incident.RecoveryResult {
			return verdict(incident.VerdictNotRecovered, at)
		}, incident.VerdictNotRecovered, 59},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.measure = tt.measure
			v := runRollback(t, w, rollbackInput(option(t, "o1")))
			require.Equal(t, tt.want, v.Recovery.Verdict)
			require.Equal(t, tt.looks, w.measured)
			require.True(t, slices.ContainsFunc(w.entries, func(e incident.Entry) bool {
				return e.Kind == incident.EventVerdict && strings.Contains(e.Text, string(tt.want))
			}), "the verdict is in the ledger")
		})
	}
}
