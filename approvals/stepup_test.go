package approvals_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

// steppedUp is the default policy with a step-up in tier-3, a reminder and an
// objection window in tier-2.
func steppedUp(t testing.TB) *approvals.Policy {
	t.Helper()
	text := strings.Replace(defaultText(t), "    expires_after: 15m", "    expires_after: 15m\n    step_up: true", 1)
	text = strings.Replace(text, "    expires_after: 15m\n\n  - tier: tier-1", "    expires_after: 15m\n    remind_after: 5m\n    objection_window: 2m\n\n  - tier: tier-1", 1)
	return parsed(t, text)
}

func proven(v approvals.Vote) approvals.Vote {
	v.SteppedUp = true
	return v
}

func TestStepUp(t *testing.T) {
	t.Parallel()
	const (
		onCall, commander, owner = incident.RoleOnCall, incident.RoleCommander, incident.RoleOwner
		t2, t3                   = incident.TierCommander, incident.TierCommanderAndOwner
		waitsForBoth             = "waiting for the incident commander and an owner of payments, with a second proof in the console"
	)
	for _, tt := range []struct {
		name     string
		request  approvals.Request
		outcome  incident.Outcome
		sentence string
	}{
		{"nobody yet", request(t3), incident.OutcomeWaiting, waitsForBoth},
		{"without a second proof", request(t3, approve(bob, commander)), incident.OutcomeWaiting, waitsForBoth + "; Bob can not count, Bob approved without a second proof; use the console"},
		{"half with one", request(t3, proven(approve(ada, commander)), approve(bob, owner)), incident.OutcomeWaiting, "incident commander approved (Ada); waiting for an owner of payments, with a second proof in the console; Bob can not count, Bob approved without a second proof; use the console"},
		{"all with one", request(t3, proven(approve(ada, commander)), proven(approve(bob, owner))), incident.OutcomeApproved, "incident commander approved (Ada); service owner approved (Bob)"},
		{"given again in the console", request(t3, proven(approve(ada, commander)), approve(bob, owner), proven(approve(bob, owner))), incident.OutcomeApproved, "incident commander approved (Ada); service owner approved (Bob)"},
		{"given again without", request(t3, proven(approve(ada, commander)), proven(approve(bob, owner)), approve(bob, owner)), incident.OutcomeApproved, "incident commander approved (Ada); service owner approved (Bob)"},
		{"a second proof is no role", request(t3, proven(approve(ada)), proven(approve(bob, owner))), incident.OutcomeWaiting, "service owner approved (Bob); waiting for the incident commander, with a second proof in the console; Ada can not count, Ada is not incident commander or service owner"},
		{"break-glass without one", request(t3, glass(ada, "fire", onCall)), incident.OutcomeWaiting, waitsForBoth + "; Ada can not count, Ada approved without a second proof; use the console"},
		{"break-glass with one", request(t3, proven(glass(ada, "fire", onCall))), incident.OutcomeApproved, "on-call broke the glass (Ada); to be reviewed"},
		{"a refusal needs none", request(t3, proven(approve(ada, commander)), proven(approve(bob, owner)), refuse(ada, commander)), incident.OutcomeRefused, "incident commander refused (Ada)"},
		{"a tier that asks for none", request(t2, approve(ada, commander)), incident.OutcomeApproved, "incident commander approved (Ada)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := steppedUp(t).Evaluate(tt.request)
			require.Equal(t, tt.sentence, got.Sentence)
			require.Equal(t, tt.outcome, got.Outcome)
		})
	}
}

func TestClocksOfATier(t *testing.T) {
	t.Parallel()
	p, plain := steppedUp(t), approvals.Default()
	require.True(t, p.StepUp(incident.TierCommanderAndOwner))
	require.False(t, p.StepUp(incident.TierCommander))
	require.True(t, p.StepUp(incident.TierForbidden), "a tier that nobody knows")
	require.Equal(t, 5*time.Minute, p.RemindAfter(incident.TierCommander))
	require.Zero(t, p.RemindAfter(incident.TierOnCall))
	require.Equal(t, 2*time.Minute, p.ObjectionWindow(incident.TierCommander))
	require.Zero(t, plain.ObjectionWindow(incident.TierCommander))

	got := p.Evaluate(request(incident.TierCommander, approve(ada, incident.RoleCommander)))
	require.Equal(t, incident.OutcomeApproved, got.Outcome)
	require.Equal(t, now.Add(time.Minute), got.ObjectionsUntil, "it was approved a minute ago")
	require.Equal(t, now.Add(14*time.Minute), got.ExpiresAt)
	got = p.Evaluate(request(incident.TierCommander, glass(ada, "fire", incident.RoleOnCall)))
	require.True(t, got.BreakGlass)
	require.Zero(t, got.ObjectionsUntil, "a fire does not wait")
	got = p.Evaluate(request(incident.TierCommander, approve(ada, incident.RoleCommander), glass(bob, "fire", incident.RoleOnCall)))
	require.True(t, got.BreakGlass, "nor does it where the plan waits for objections")
	require.Zero(t, got.ObjectionsUntil)
	require.Equal(t, []incident.Person{bob}, got.Approvers)
	got = plain.Evaluate(request(incident.TierCommander, approve(ada, incident.RoleCommander), glass(bob, "fire", incident.RoleOnCall)))
	require.False(t, got.BreakGlass, "a plan that waits for nothing needs no broken glass")
	got = p.Evaluate(request(incident.TierCommander, approve(ada, incident.RoleCommander), refuse(bob, incident.RoleCommander)))
	require.Equal(t, incident.OutcomeRefused, got.Outcome, "an objection wins")
	require.Zero(t, got.ObjectionsUntil)
	require.Zero(t, p.Evaluate(request(incident.TierCommander)).ObjectionsUntil)
	require.Zero(t, plain.Evaluate(request(incident.TierCommander, approve(ada, incident.RoleCommander))).ObjectionsUntil)

	tiers := p.Tiers()
	require.Equal(t, []string{"incident commander", "expires after 15 min", "reminder after 5 min", "waits 2 min for objections"}, tiers[1].Needs)
	require.Equal(t, []string{"global", "irreversible"}, tiers[0].When)
	require.Contains(t, tiers[0].Needs, "with a second proof")
}
