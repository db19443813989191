package activities_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

func TestExecuteActionRefusesWhatNobodyApproved(t *testing.T) {
	t.Parallel()
	const denied, invalid = incident.ErrTypeDenied, incident.ErrTypeInvalid
	decided := func(field string, value any) func(*testing.T, *world, *activities.ExecuteInput) {
		return func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			rewrite(t, w, func(d map[string]any) { d[field] = value })
		}
	}
	for _, test := range []struct {
		name   string
		change func(*testing.T, *world, *activities.ExecuteInput)
		want   string
	}{
		{"no decision is named", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.DecisionIDs = nil }, denied},
		{"the decision is not in the ledger", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.entries = w.entries[1:] }, denied},
		{"denied", decided("outcome", "denied"), denied},
		{"waiting", decided("outcome", "waiting"), denied},
		{"refused", decided("outcome", "refused"), denied},
		{"no outcome", decided("outcome", ""), denied},
		{"approved by a refusal", decided("answer", "refuse"), denied},
		{"of another plan", decided("plan_digest", incident.DigestOf([]byte("x"))), denied},
		{"of nobody", decided("person", map[string]any{}), denied},
		{"by somebody without the role", decided("roles", []string{}), denied},
		{"dated in the future", decided("at", now.Add(time.Hour)), denied},
		{"judged by nothing", decided("basis", nil), denied},
		{"started another rollback", func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			rewrite(t, w, func(d map[string]any) { d["basis"].(map[string]any)["rollback"] = "rollback/pagerduty/Q1/2" })
		}, denied},
		{"lacks the second person of its tier", func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			rewrite(t, w, func(d map[string]any) { d["basis"].(map[string]any)["tier"] = incident.TierCommanderAndOwner })
		}, denied},
		{"is judged by a radius that needs another tier", func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			rewrite(t, w, func(d map[string]any) {
				d["basis"].(map[string]any)["radius"] = incident.BlastRadius{Services: []incident.Reach{{Name: "checkout"}}, Global: &incident.Reach{Name: "all"}}
			})
		}, denied},
		{"is of the author alone", func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			rewrite(t, w, func(d map[string]any) { d["basis"].(map[string]any)["authors"] = []string{"ada@example.com"} })
		}, denied},
		{"was voided by a handover", func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			rewrite(t, w, func(d map[string]any) { d["basis"].(map[string]any)["void_before"] = now.Add(time.Second) })
		}, denied},
		{"of another incident", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.entries[0].Incident = "pagerduty/Q2" }, denied},
		{"not a decision", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.entries[0].Kind = incident.EventRollback }, denied},
		{"unreadable", func(_ *testing.T, w *world, _ *activities.ExecuteInput) {
			w.entries[0].Payload = []byte(`{"outcome":1}`)
		}, denied},
		{"an hour old", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.now = now.Add(time.Hour) }, denied},
		{"no evidence was captured", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.entries = w.entries[:1] }, denied},
		{"evidence of another rollback", func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			w.entries[1] = evidence(t, incident.Manifest{Rollback: "rollback/pagerduty/Q1/2", Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)})
		}, denied},
		{"evidence from after", func(t *testing.T, w *world, _ *activities.ExecuteInput) {
			w.entries[1] = evidence(t, incident.Manifest{Rollback: rollback, Phase: incident.EvidenceAfter, Digest: incident.DigestOf(nil)})
		}, denied},
		{"plan of another incident", func(t *testing.T, _ *world, in *activities.ExecuteInput) {
			in.Plan.Incident = "pagerduty/Q2"
			in.PlanDigest = digest(t, in.Plan)
		}, denied},
		{"rollback of another incident", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Rollback = "rollback/pagerduty/Q12/1" }, denied},
		{"plan tampered with", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Plan.Service = "payments" }, invalid},
		{"action not in the plan", func(_ *testing.T, _ *world, in *activities.ExecuteInput) {
			in.Action.To = version{value: "worse"}.state(1)
		}, invalid},
		{"another target", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Action.Target.Path = "config/payments" }, invalid},
		{"more time than approved", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Action.MaxTime++ }, invalid},
		{"index below zero", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Index = -1 }, invalid},
		{"index out of range", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.Index = 1 }, invalid},
		{"one-way door the other way", func(t *testing.T, w *world, in *activities.ExecuteInput) {
			p := in.Plan
			p.Actions[0].Reversible = false
			*in = execution(t, p, 0, true)
			rewrite(t, w, func(d map[string]any) { d["plan_digest"] = in.PlanDigest })
			w.put("config/checkout", "good", now)
		}, invalid},
		{"under another intent", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.IntentID = rollback + "/a7/intent" }, invalid},
		{"under another outcome", func(_ *testing.T, _ *world, in *activities.ExecuteInput) { in.OutcomeID = rollback + "/e99" }, invalid},
		{"the intent is the record of something else", func(_ *testing.T, w *world, in *activities.ExecuteInput) {
			w.entries = append(w.entries, incident.Entry{ID: in.IntentID, Incident: key, Kind: incident.EventRollback})
		}, invalid},
		{"the outcome is the record of something else", func(_ *testing.T, w *world, in *activities.ExecuteInput) {
			w.entries = append(w.entries, incident.Entry{ID: in.OutcomeID, Incident: key, Kind: incident.EventRollback})
		}, invalid},
		{"the outcome is that of another action", func(t *testing.T, w *world, in *activities.ExecuteInput) {
			payload, err := json.Marshal(incident.ActionView{Status: incident.ActionDone})
			require.NoError(t, err)
			w.entries = append(w.entries, incident.Entry{ID: in.OutcomeID, Incident: key, Kind: incident.EventActionDone, Payload: payload})
		}, invalid},
		{"the system is not configured", func(_ *testing.T, w *world, _ *activities.ExecuteInput) { w.noSystem = true }, invalid},
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

// TestExecuteActionAsksThePresentPolicy is a policy that was made stricter, and
// a runbook that was changed, between the approval and the effect.
func TestExecuteActionAsksThePresentPolicy(t *testing.T) {
	t.Parallel()
	strict, err := approvals.ParsePolicy(approvals.File{Name: "policy.yaml", Content: []byte(strictPolicy)})
	require.NoError(t, err)
	for _, test := range []struct {
		name   string
		change func(*testing.T, *activities.Activities)
		says   string
	}{
		{"policy", func(_ *testing.T, a *activities.Activities) { a.Policy = strict }, "waiting for an owner of checkout"},
		{"runbook", func(t *testing.T, a *activities.Activities) {
			a.Runbooks = []*runbooks.Runbook{runbook(t, strings.Replace(book, "expected_time: 10s", "expected_time: 11s", 1))}
		}, "has changed"},
		{"runbook withdrawn", func(_ *testing.T, a *activities.Activities) { a.Runbooks = nil }, "not loaded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			in := approved(t, w)
			a := w.activities(t)
			test.change(t, a)
			view, err := a.ExecuteAction(t.Context(), in)
			app := failure(t, err, incident.ErrTypeDenied, true)
			require.Contains(t, app.Message(), test.says)
			require.Equal(t, incident.ActionRefused, view.Status)
			require.Zero(t, w.targets["config/checkout"].mutations)
			require.NotContains(t, w.calls, "observe")
			require.Equal(t, incident.EventActionDone, w.entries[len(w.entries)-1].Kind, "the refusal is recorded")
		})
	}
}

// strictPolicy asks for two people where the default asks for one.
const strictPolicy = `apiVersion: backout.dev/v1
kind: Policy
metadata: {name: strict}
tiers:
  - {tier: tier-1, when: [always], approvals: [{roles: [service_owner]}, {roles: [on_call]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 10m}
`

// twoActions is the plan with a second action, approved and with evidence.
func twoActions(t *testing.T, w *world) incident.Plan {
	t.Helper()
	w.put("flags/checkout", "off", onset.Add(-48*time.Hour))
	w.put("flags/checkout", "on", onset.Add(-24*time.Hour))
	p := plan(t)
	second := p.Actions[0]
	second.Target.Path, second.From, second.To = "flags/checkout", version{value: "on"}.state(2), version{value: "off"}.state(1)
	p.Actions = append(p.Actions, second)
	w.onCall["PCHECK"] = []incident.Person{ada}
	in := ask(t, incident.TierOnCall, "ada", "2")
	in.Option.Plan, in.Option.Digest, in.Request.PlanDigest, in.Rollback = p, digest(t, p), digest(t, p), rollback
	got, err := click(t, w.activities(t), in)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeApproved, got.Decision.Outcome, got.Decision.Sentence)
	w.entries = append(w.entries, evidence(t, incident.Manifest{Rollback: rollback, Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)}))
	return p
}

// TestExecuteActionFinishesWhatHasBegun is an approval that expires halfway
// through a rollback: the rest is carried out, and taken back, for as long as
// the plan may take, and not for longer.
func TestExecuteActionFinishesWhatHasBegun(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		begun bool
		later time.Duration
		back  bool
		done  bool
	}{
		{"within its time", true, 3 * time.Minute, false, true},
		{"taken back within its time", true, 3 * time.Minute, true, true},
		{"long after", true, 2 * time.Hour, false, false},
		{"never begun", false, 3 * time.Minute, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			p := twoActions(t, w)
			a := w.activities(t)
			w.now = now.Add(14 * time.Minute)
			if test.begun {
				_, err := a.ExecuteAction(t.Context(), execution(t, p, 0, false))
				require.NoError(t, err)
			}
			w.now = w.now.Add(test.later)
			in := execution(t, p, 1, false)
			if test.back {
				in = execution(t, p, 0, true)
			}
			_, err := a.ExecuteAction(t.Context(), in)
			if test.done {
				require.NoError(t, err)
				return
			}
			app := failure(t, err, incident.ErrTypeDenied, true)
			require.Contains(t, app.Message(), "expired after 15 min")
			require.Zero(t, w.targets["flags/checkout"].mutations)
		})
	}
}

// TestExecuteActionDoesNotApplyAfterALongOutage is a process that died between
// its intent and its effect, and came back a day later.
func TestExecuteActionDoesNotApplyAfterALongOutage(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := approved(t, w)
	ctx, kill := context.WithCancel(t.Context())
	w.kill, w.killAt = kill, 8
	a := w.activities(t)
	_, err := a.ExecuteAction(ctx, in)
	require.Error(t, err)
	require.Equal(t, "apply", w.calls[len(w.calls)-1])
	w.restart()
	w.now = w.now.Add(24 * time.Hour)
	view, err := a.ExecuteAction(t.Context(), in)
	requireError(t, err, incident.ErrTypeDenied, true)
	require.Zero(t, w.targets["config/checkout"].mutations)
	require.False(t, view.Applied)
}
