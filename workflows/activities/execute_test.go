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

// approved has the plan approved and evidence captured, and asks for its first
// action.
func approved(t *testing.T, w *world) activities.ExecuteInput {
	t.Helper()
	p := plan(t)
	w.onCall["PCHECK"] = []incident.Person{ada}
	ask := ask(t, incident.TierOnCall, "ada", "2")
	ask.Rollback = rollback
	got, err := click(t, w.activities(t), ask)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeApproved, got.Decision.Outcome, got.Decision.Sentence)
	w.entries = append(w.entries, evidence(t, incident.Manifest{Rollback: rollback, Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)}))
	w.calls = nil
	return execution(t, p, 0, false)
}

// execution asks for one action of a plan.
func execution(t *testing.T, p incident.Plan, index int, back bool) activities.ExecuteInput {
	t.Helper()
	in := activities.ExecuteInput{
		Incident: key, Rollback: rollback, Index: index, Action: p.Actions[index], Plan: p, PlanDigest: digest(t, p),
		IntentID: incident.IntentID(rollback, index, back), OutcomeID: incident.OutcomeID(rollback, index, back), DecisionIDs: []string{incident.DecisionEventID(key, "d2")},
	}
	if back {
		in.Action = in.Action.Swapped()
	}
	return in
}

func evidence(t *testing.T, m incident.Manifest) incident.Entry {
	t.Helper()
	payload, err := json.Marshal(m)
	require.NoError(t, err)
	return incident.Entry{ID: incident.EvidenceID(rollback, incident.EvidenceBefore), Incident: key, Kind: incident.EventEvidence, At: now, Text: "evidence", Payload: payload}
}

// rewrite changes fields of the recorded decision.
func rewrite(t *testing.T, w *world, change func(map[string]any)) {
	t.Helper()
	var fields map[string]any
	require.NoError(t, json.Unmarshal(w.entries[0].Payload, &fields))
	change(fields)
	var err error
	w.entries[0].Payload, err = json.Marshal(fields)
	require.NoError(t, err)
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
	require.Equal(t, []string{"get", "get", "get", "get", "get", "observe", "append intent", "apply", "observe", "append action outcome"}, w.calls)
	require.Equal(t, incident.ActionDone, view.Status)
	require.True(t, view.Applied)
	require.Equal(t, now, view.MutatedAt)
	require.Equal(t, now, view.FinishedAt)
	require.Equal(t, "good (seen)", view.Observed)
	require.Equal(t, 1, w.targets["config/checkout"].mutations)
	require.Contains(t, string(w.entries[2].Payload), in.Action.Key(rollback, 0))
	require.Equal(t, "about to take main/config/checkout from bad (revision 2) to good (revision 1)", w.entries[2].Text)
	require.Equal(t, "main/config/checkout is at good (revision 1)", w.entries[3].Text)
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
	require.Equal(t, []incident.EventKind{incident.EventDecision, incident.EventEvidence, incident.EventActionDone}, w.kinds())
	require.Equal(t, "main/config/checkout was at good (revision 1) already", w.entries[2].Text)
}

func TestExecuteActionTakesBackAReversibleAction(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	w.put("config/checkout", "good", now)
	in = execution(t, in.Plan, 0, true)
	view, err := w.activities(t).ExecuteAction(t.Context(), in)
	require.NoError(t, err)
	require.True(t, view.Applied)
	require.Equal(t, "bad", w.targets["config/checkout"].present().Label)
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
			const callsOfOneRun = 10
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
				require.Equal(t, []incident.EventKind{incident.EventDecision, incident.EventEvidence, incident.EventIntent, incident.EventActionDone}, w.kinds(), "call %d", n)
				require.True(t, view.Applied, "call %d", n)
				require.Equal(t, w.entries[2].At, view.MutatedAt, "call %d", n)
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
				app := failure(t, err, test.want, true)
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
				require.Equal(t, app.Error(), failure(t, err, test.want, true).Error(), "a retry says the same")
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
	w.kill, w.killAt, w.afterEffect = kill, 8, true
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
		began := time.Now()
		a.Now = func() time.Time { return now.Add(time.Since(began)) }
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
	w.kill, w.killAt, w.afterEffect = kill, 8, true
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
	app := failure(t, err, incident.ErrTypeDenied, true)
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
