package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// approved puts an approval of the plan into the ledger and asks for its first
// action.
func approved(t *testing.T, w *world) activities.ExecuteInput {
	t.Helper()
	p := plan(t)
	in := activities.ExecuteInput{
		Incident: key, Rollback: rollback, Index: 0, Action: p.Actions[0], Plan: p, PlanDigest: digest(t, p),
		IntentID: rollback + "/e3", OutcomeID: rollback + "/e4", DecisionIDs: []string{key + "/e2"},
	}
	w.entries = append(w.entries, decision(t, key+"/e2", incident.Decision{
		PlanDigest: in.PlanDigest, Answer: incident.AnswerApprove, Outcome: incident.OutcomeApproved, Person: ada,
	}))
	return in
}

func decision(t *testing.T, id string, d incident.Decision) incident.Entry {
	t.Helper()
	payload, err := json.Marshal(d)
	require.NoError(t, err)
	return incident.Entry{ID: id, Incident: key, Kind: incident.EventDecision, At: now, Text: "approved", Payload: payload}
}

func TestExecuteActionWritesTheIntentBeforeAndTheOutcomeAfter(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	view, err := w.activities(t).ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, []string{"get", "get", "get", "observe", "append intent", "apply", "observe", "append action outcome"}, w.calls)
	require.Equal(t, incident.ActionDone, view.Status)
	require.True(t, view.Applied)
	require.Equal(t, now, view.MutatedAt)
	require.Equal(t, now, view.FinishedAt)
	require.Equal(t, "good (seen)", view.Observed)
	require.Equal(t, 1, w.targets["config/checkout"].mutations)
	require.Contains(t, string(w.entries[1].Payload), in.Action.Key(rollback, 0))
	require.Equal(t, "about to take main/config/checkout from bad (revision 2) to good (revision 1)", w.entries[1].Text)
	require.Equal(t, "main/config/checkout is at good (revision 1)", w.entries[2].Text)
}

func TestExecuteActionLeavesATargetAtToAlone(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	w.put("config/checkout", "good", now)
	view, err := w.activities(t).ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, incident.ActionDone, view.Status)
	require.False(t, view.Applied, "somebody else put it there")
	require.Zero(t, view.MutatedAt)
	require.Equal(t, []incident.EventKind{incident.EventDecision, incident.EventActionDone}, w.kinds())
	require.Equal(t, "main/config/checkout was at good (revision 1) already", w.entries[1].Text)
}

func TestExecuteActionTakesBackAReversibleAction(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	w.put("config/checkout", "good", now)
	in.Action = in.Action.Swapped()
	view, err := w.activities(t).ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	require.True(t, view.Applied)
	require.Equal(t, "bad", w.targets["config/checkout"].present().Label)
}

func TestExecuteActionRefusesWhatNobodyApproved(t *testing.T) {
	t.Parallel()
	approves := func(d incident.Decision) func(*testing.T, *world, *activities.ExecuteInput) {
		return func(t *testing.T, w *world, in *activities.ExecuteInput) {
			if d.PlanDigest == "" {
				d.PlanDigest = in.PlanDigest
			}
			w.entries[0] = decision(t, key+"/e2", d)
		}
	}
	for _, test := range []struct {
		name   string
		change func(*testing.T, *world, *activities.ExecuteInput)
		want   string
	}{
		{"no decision is named", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.DecisionIDs = nil }, incident.ErrTypeDenied},
		{"the decision is not in the ledger", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.entries = nil }, incident.ErrTypeDenied},
		{"denied", approves(incident.Decision{Answer: incident.AnswerApprove, Outcome: incident.OutcomeDenied}), incident.ErrTypeDenied},
		{"waiting", approves(incident.Decision{Answer: incident.AnswerApprove, Outcome: incident.OutcomeWaiting}), incident.ErrTypeDenied},
		{"refused", approves(incident.Decision{Answer: incident.AnswerRefuse, Outcome: incident.OutcomeRefused}), incident.ErrTypeDenied},
		{"no outcome", approves(incident.Decision{Answer: incident.AnswerApprove}), incident.ErrTypeDenied},
		{"approved by a refusal", approves(incident.Decision{Answer: incident.AnswerRefuse, Outcome: incident.OutcomeApproved}), incident.ErrTypeDenied},
		{"of another plan", approves(incident.Decision{Answer: incident.AnswerApprove, Outcome: incident.OutcomeApproved, PlanDigest: incident.DigestOf([]byte("x"))}), incident.ErrTypeDenied},
		{"of another incident", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.entries[0].Incident = "pagerduty/Q2" }, incident.ErrTypeDenied},
		{"not a decision", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.entries[0].Kind = incident.EventRollback }, incident.ErrTypeDenied},
		{"unreadable", func(_ *testing.T, w *world, _ *activities.ExecuteInput) {
			w.entries[0].Payload = []byte(`{"outcome":1}`)
		}, incident.ErrTypeDenied},
		{"plan of another incident", func(t *testing.T, w *world, in *activities.ExecuteInput) {
			in.Plan.Incident = "pagerduty/Q2"
			in.PlanDigest = digest(t, in.Plan)
			approves(incident.Decision{Answer: incident.AnswerApprove, Outcome: incident.OutcomeApproved})(t, w, in)
		}, incident.ErrTypeDenied},
		{"plan tampered with", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Plan.Service = "payments" }, incident.ErrTypeInvalid},
		{"action not in the plan", func(_ *testing.T, _ *world, in *activities.ExecuteInput) {
			in.Action.To = version{value: "worse"}.state(1)
		}, incident.ErrTypeInvalid},
		{"another target", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Action.Target.Path = "config/payments" }, incident.ErrTypeInvalid},
		{"more time than approved", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Action.MaxTime++ }, incident.ErrTypeInvalid},
		{"index below zero", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Index = -1 }, incident.ErrTypeInvalid},
		{"index out of range", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Index = 1 }, incident.ErrTypeInvalid},
		{"one-way door the other way", func(t *testing.T, w *world, in *activities.ExecuteInput) {
			in.Plan.Actions[0].Reversible = false
			in.Action = in.Plan.Actions[0].Swapped()
			in.PlanDigest = digest(t, in.Plan)
			approves(incident.Decision{Answer: incident.AnswerApprove, Outcome: incident.OutcomeApproved})(t, w, in)
			w.put("config/checkout", "good", now)
		}, incident.ErrTypeInvalid},
		{"the intent is the record of something else", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.IntentID = key + "/e2" }, incident.ErrTypeInvalid},
		{"the outcome is the record of something else", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.OutcomeID = key + "/e2" }, incident.ErrTypeInvalid},
		{"the outcome is that of another action", func(t *testing.T, w *world, in *activities.ExecuteInput) {
			payload, err := json.Marshal(incident.ActionView{Status: incident.ActionDone})
			require.NoError(t, err)
			w.entries = append(w.entries, incident.Entry{ID: in.OutcomeID, Incident: key, Kind: incident.EventActionDone, Payload: payload})
		}, incident.ErrTypeInvalid},
		{"the system is not configured", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.noSystem = true }, incident.ErrTypeInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			in := approved(t, w)
			test.change(t, w, &in)
			view, err := w.activities(t).ExecuteAction(t.Context(), in)
			requireError(t, err, test.want, true)
			require.NotEqual(t, incident.ActionDone, view.Status)
			require.Zero(t, w.targets["config/checkout"].mutations)
			require.NotContains(t, w.calls, "apply")
			require.NotContains(t, w.kinds(), incident.EventIntent)
		})
	}
}

func TestExecuteActionDoesNothingWithoutTheLedger(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fails string
	}{
		{"it can not be read", "get"},
		{"it can not be written", "append"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				in := approved(t, w)
				w.fail = func(call string) error {
					if strings.HasPrefix(call, test.fails) {
						return errors.New("disk full")
					}
					return nil
				}
				_, err := w.activities(t).ExecuteAction(t.Context(), in)
				requireError(t, err, incident.ErrTypeLedger, false)
				require.NotContains(t, w.calls, "apply")

				w.fail = nil
				view, err := w.activities(t).ExecuteAction(t.Context(), in)
				require.NoError(t, err)
				require.True(t, view.Applied)
			})
		})
	}
}

func TestExecuteActionReportsAnOutcomeThatCouldNotBeWritten(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	w.fail = func(call string) error {
		if call == "append action outcome" {
			return errors.New("disk full")
		}
		return nil
	}
	view, err := w.activities(t).ExecuteAction(t.Context(), in)
	requireError(t, err, incident.ErrTypeLedger, false)
	require.True(t, view.Applied)
	w.fail = nil
	view, err = w.activities(t).ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	require.True(t, view.Applied)
	require.Equal(t, now, view.MutatedAt)
	require.Equal(t, 1, w.targets["config/checkout"].mutations)
}

// TestExecuteActionSurvivesAKillAtEveryCall kills the process before and after
// the effect of every call of every port, and starts it again.
func TestExecuteActionSurvivesAKillAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after the effect %t", after), func(t *testing.T) {
			t.Parallel()
			const callsOfOneRun = 8
			for n := 1; ; n++ {
				w := newWorld()
				in := approved(t, w)
				ctx, kill := context.WithCancel(t.Context())
				w.kill, w.killAt, w.afterEffect = kill, n, after
				a := w.activities(t)
				_, err := a.ExecuteAction(ctx, in)
				kill()
				if !w.dead {
					require.NoError(t, err)
					require.Equal(t, callsOfOneRun+1, n, "every call was the last one once")
					return
				}
				require.Error(t, err, "call %d", n)
				w.restart()
				w.now = w.now.Add(time.Minute)
				view, err := a.ExecuteAction(t.Context(), in)
				require.NoError(t, err, "call %d", n)
				require.Equal(t, 1, w.targets["config/checkout"].mutations, "call %d", n)
				require.Equal(t, []incident.EventKind{incident.EventDecision, incident.EventIntent, incident.EventActionDone}, w.kinds(), "call %d", n)
				require.True(t, view.Applied, "call %d", n)
				require.Equal(t, w.entries[1].At, view.MutatedAt, "call %d", n)
				require.Equal(t, incident.ActionDone, view.Status, "call %d", n)
				again, err := a.ExecuteAction(t.Context(), in)
				require.NoError(t, err)
				require.Equal(t, view, again, "call %d", n)
			}
		})
	}
}

func TestExecuteActionCountsAnEffectWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		in := approved(t, w)
		w.targets["config/checkout"].lose = errors.New("connection reset")
		view, err := w.activities(t).ExecuteAction(t.Context(), in)
		require.NoError(t, err)
		require.Equal(t, incident.ActionDone, view.Status)
		require.True(t, view.Applied, "this very rollback changed it, so that compensation must take it back")
		require.Equal(t, now, view.MutatedAt)
		require.Equal(t, 1, w.targets["config/checkout"].mutations)
	})
}

func TestExecuteActionDoesNotHideAnEffectThatMayHaveLanded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		in := approved(t, w)
		applied := false
		w.targets["config/checkout"].lose = errors.New("connection reset")
		w.fail = func(call string) error {
			if applied = applied || call == "apply"; applied && call == "observe" {
				return errors.New("the system is away")
			}
			return nil
		}
		view, err := w.activities(t).ExecuteAction(t.Context(), in)
		requireError(t, err, activities.ErrTypeOverrun, true)
		require.False(t, view.Applied, "nobody saw it at to")
		require.Equal(t, now, view.MutatedAt, "and yet it may have been changed")
		require.Equal(t, incident.ActionFailed, view.Status)
	})
}

func TestExecuteActionFailures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*world)
		want   string
		status incident.ActionStatus
		reason string
		sent   bool
		landed bool
	}{
		{"drift", func(w *world) { w.put("config/checkout", "third", now) }, incident.ErrTypeDrift, incident.ActionRefused, "expected revision 2", false, false},
		{"denied", func(w *world) {
			w.targets["config/checkout"].refuse = fmt.Errorf("apply: %w", driver.ErrDenied)
		}, incident.ErrTypeDenied, incident.ActionFailed, "permission denied", false, false},
		{"revision gone", func(w *world) {
			w.targets["config/checkout"].refuse = fmt.Errorf("apply: %w", driver.ErrNotFound)
		}, incident.ErrTypeNotFound, incident.ActionFailed, "not found", false, false},
		{"drift at the last moment", func(w *world) {
			w.targets["config/checkout"].refuse = &driver.DriftError{Difference: "just now"}
		}, incident.ErrTypeDrift, incident.ActionRefused, "just now", false, false},
		{"overrun", func(w *world) { w.targets["config/checkout"].unsettled = true }, activities.ErrTypeOverrun, incident.ActionFailed, "within 2m0s", true, true},
		{"never applied in time", func(w *world) {
			w.targets["config/checkout"].refuse = errors.New("busy")
		}, activities.ErrTypeOverrun, incident.ActionFailed, "busy", true, false},
		{"secret in the error", func(w *world) {
			w.targets["config/checkout"].refuse = fmt.Errorf("apply with password=hunter2hunter2: %w", driver.ErrDenied)
		}, incident.ErrTypeDenied, incident.ActionFailed, "[redacted", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				in := approved(t, w)
				test.change(w)
				a := w.activities(t)
				view, err := a.ExecuteAction(t.Context(), in)
				app := requireError(t, err, test.want, true)
				require.Equal(t, test.status, view.Status)
				require.Contains(t, view.Reason, test.reason)
				require.NotContains(t, view.Reason+app.Error(), "hunter2")
				require.Equal(t, test.sent, !view.MutatedAt.IsZero(), "an effect may have been sent")
				require.Equal(t, test.landed, view.Applied)
				require.Equal(t, now, view.FinishedAt)
				var detail incident.ActionView
				require.NoError(t, app.Details(&detail))
				require.Equal(t, view, detail)
				require.Equal(t, incident.EventActionDone, w.entries[len(w.entries)-1].Kind)

				calls, mutations := len(w.calls), w.targets["config/checkout"].mutations
				again, err := a.ExecuteAction(t.Context(), in)
				require.Equal(t, app.Error(), requireError(t, err, test.want, true).Error(), "a retry says the same")
				require.Equal(t, view, again)
				require.Equal(t, []string{"get"}, w.calls[calls:], "and does not touch the target")
				require.Equal(t, mutations, w.targets["config/checkout"].mutations)
			})
		})
	}
}

// TestExecuteActionNeverSaysUntouchedAfterAnAnnouncement is a drift found by
// the attempt after one that died: the effect may have landed in between.
func TestExecuteActionNeverSaysUntouchedAfterAnAnnouncement(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	ctx, kill := context.WithCancel(t.Context())
	w.kill, w.killAt, w.afterEffect = kill, 6, true
	a := w.activities(t)
	_, err := a.ExecuteAction(ctx, in)
	require.Error(t, err)
	require.Equal(t, "apply", w.calls[len(w.calls)-1])
	w.restart()
	w.put("config/checkout", "third", now)
	view, err := a.ExecuteAction(t.Context(), in)
	requireError(t, err, incident.ErrTypeDrift, true)
	require.Equal(t, incident.ActionFailed, view.Status)
	require.Equal(t, now, view.MutatedAt)
}

// TestExecuteActionBoundsAllItsAttempts is a target that never settles and a
// process that died: the time that passed counts.
func TestExecuteActionBoundsAllItsAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		in := approved(t, w)
		w.targets["config/checkout"].unsettled = true
		a := w.activities(t)
		a.Now = func() time.Time { return time.Now().UTC() }
		began := time.Now()
		ctx, kill := context.WithTimeout(t.Context(), 100*time.Second)
		defer kill()
		_, err := a.ExecuteAction(ctx, in)
		requireError(t, err, "", false)
		_, err = a.ExecuteAction(t.Context(), in)
		requireError(t, err, activities.ErrTypeOverrun, true)
		require.Equal(t, in.Action.MaxTime, time.Since(began))
	})
}

// TestExecuteActionLooksOnceMoreAfterALongOutage is a process that died after
// its effect and came back when the time was over.
func TestExecuteActionLooksOnceMoreAfterALongOutage(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	ctx, kill := context.WithCancel(t.Context())
	w.kill, w.killAt, w.afterEffect = kill, 6, true
	a := w.activities(t)
	_, err := a.ExecuteAction(ctx, in)
	require.Error(t, err)
	w.restart()
	w.now = w.now.Add(24 * time.Hour)
	view, err := a.ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, incident.ActionDone, view.Status)
	require.True(t, view.Applied)
}

// TestExecuteActionAnswersWithTheOutcomeOfAFasterAttempt is a worker that was
// taken for dead and finishes beside its replacement.
func TestExecuteActionAnswersWithTheOutcomeOfAFasterAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	a, faster := w.activities(t), w
	_, err := faster.activities(t).ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	outcome := faster.entries[len(faster.entries)-1]
	w.targets["config/checkout"].versions = w.targets["config/checkout"].versions[:2]
	w.now = w.now.Add(time.Second)
	w.fail = func(call string) error {
		if call == "append action outcome" {
			w.entries = append(w.entries, outcome)
		}
		return nil
	}
	view, err := a.ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, now, view.FinishedAt, "the outcome that stands in the ledger")
}

func TestExecuteActionAsAnActivity(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	a := w.activities(t)
	env.RegisterActivity(a)
	beats := make(chan struct{})
	env.SetOnActivityHeartbeatListener(func(*activity.Info, converter.EncodedValues) {
		select {
		case <-beats:
		default:
			close(beats)
		}
	})
	w.targets["config/checkout"].refuse = fmt.Errorf("apply: %w", driver.ErrDenied)
	w.fail = func(call string) error {
		if call == "apply" {
			<-beats // The action is alive for as long as its system thinks.
		}
		return nil
	}
	_, err := env.ExecuteActivity(a.ExecuteAction, in)
	app := requireError(t, err, incident.ErrTypeDenied, true)
	var view incident.ActionView
	require.NoError(t, app.Details(&view))
	require.Equal(t, incident.ActionFailed, view.Status)
	require.Equal(t, in.Action, view.Action)

	w = newWorld()
	in = approved(t, w)
	in.DecisionIDs = nil
	env = suite.NewTestActivityEnvironment()
	a = w.activities(t)
	env.RegisterActivity(a)
	_, err = env.ExecuteActivity(a.ExecuteAction, in)
	requireError(t, err, incident.ErrTypeDenied, true)
	require.False(t, temporal.IsCanceledError(err))
}
