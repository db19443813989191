package activities_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// patient is the default policy with a window for objections, and a reminder, in
// tier-2.
const patient = `apiVersion: backout.dev/v1
kind: Policy
metadata: {name: patient}
tiers:
  - {tier: tier-3, when: [global, irreversible], approvals: [{roles: [incident_commander]}, {roles: [service_owner]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 15m}
  - {tier: tier-2, when: [several_services, shared_data], approvals: [{roles: [incident_commander]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 15m, remind_after: 5m, objection_window: 2m}
  - {tier: tier-1, when: [always], approvals: [{roles: [on_call, incident_commander]}], requester_may_approve: true, author_may_be_sole_approver: false, expires_after: 15m}
break_glass: {roles: [on_call], tiers: [tier-1, tier-2, tier-3]}
`

func patientPolicy(t *testing.T) *approvals.Policy {
	t.Helper()
	p, err := approvals.ParsePolicy(approvals.File{Name: "policy.yaml", Content: []byte(patient)})
	require.NoError(t, err)
	return p
}

// windowed is a plan of tier-2 that the commander has approved, with evidence, and how
// to execute it.
func windowed(t *testing.T, w *world) (*activities.Activities, incident.Decision, activities.ExecuteInput) {
	t.Helper()
	a := w.activities(t)
	a.Policy = patientPolicy(t)
	in := ask(t, incident.TierCommander, "ada", "2")
	in.Rollback, in.Commander = rollback, &ada
	got, err := click(t, a, in)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeApproved, got.Decision.Outcome, got.Decision.Sentence)
	w.entries = append(w.entries, evidence(t, incident.Manifest{Rollback: rollback, Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)}))
	return a, got.Decision, execution(t, in.Option.Plan, 0, false)
}

func TestAnApprovalSaysUntilWhenPeopleCanObject(t *testing.T) {
	t.Parallel()
	w := newWorld()
	_, d, _ := windowed(t, w)
	require.Equal(t, now.Add(2*time.Minute), d.ObjectionsUntil)
	require.Equal(t, now.Add(15*time.Minute), d.ExpiresAt)
	require.Contains(t, d.Sentence, "it starts at "+d.ObjectionsUntil.Format(time.TimeOnly)+" UTC unless somebody objects")
	entry := w.kind(incident.EventDecision)[0]
	require.Contains(t, string(entry.Payload), `"objections_until":"`+d.ObjectionsUntil.Format(time.RFC3339)+`"`, "it is on record")
}

// TestAnApprovalThatWasHeldBackLeavesTheWholeWindow has somebody keep a signed
// approval until its window would be over.
func TestAnApprovalThatWasHeldBackLeavesTheWholeWindow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	a.Policy = patientPolicy(t)
	in := ask(t, incident.TierCommander, "ada", "2")
	in.Rollback, in.Commander = rollback, &ada
	commands(t, w, ada)
	var err error
	in.Request, err = signer(t, botKey).Decision(in.Key, in.Request)
	require.NoError(t, err)
	w.now = now.Add(4 * time.Minute)
	in.Now = w.now
	got, err := a.Decide(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeApproved, got.Decision.Outcome, got.Decision.Sentence)
	require.Equal(t, now.Add(6*time.Minute), got.Decision.ObjectionsUntil)
	require.Equal(t, now.Add(15*time.Minute), got.Decision.ExpiresAt, "it expires by when it was given")

	w.entries = append(w.entries, evidence(t, incident.Manifest{Rollback: rollback, Phase: incident.EvidenceBefore, Digest: incident.DigestOf(nil)}))
	_, err = a.ExecuteAction(t.Context(), execution(t, in.Option.Plan, 0, false))
	require.Contains(t, failure(t, err, incident.ErrTypeDenied, true).Message(), "people can object until")
	require.Zero(t, w.targets["config/checkout"].mutations)
}

// refusal has somebody in command refuse the plan at a moment.
func refusal(t *testing.T, a *activities.Activities, id string, at time.Time, change func(*activities.DecideInput)) incident.Decision {
	t.Helper()
	in := ask(t, incident.TierCommander, "ada", id)
	in.Now, in.Rollback, in.Commander = at, rollback, &ada
	in.Request.Answer, in.Request.Reason = incident.AnswerRefuse, "orders are being exported"
	if change != nil {
		change(&in)
	}
	got, err := click(t, a, in)
	require.NoError(t, err)
	return got.Decision
}

// TestNothingExecutesThatSomebodyCanStillObjectTo goes past the incident, which alone
// waits: whoever can start a rollback asks for its action directly.
func TestNothingExecutesThatSomebodyCanStillObjectTo(t *testing.T) {
	t.Parallel()
	const denied = incident.ErrTypeDenied
	for _, test := range []struct {
		name  string
		after time.Duration
		// between happens after the approval.
		between func(t *testing.T, w *world, a *activities.Activities, d incident.Decision)
		refused string
		kind    string
	}{
		{"at once", 0, nil, "people can object until", denied},
		{"in the middle", time.Minute, nil, "people can object until", denied},
		{"early by what clocks differ", 2*time.Minute - 3*time.Second, nil, "people can object until", ""},
		{"afterwards", 2 * time.Minute, nil, "", ""},
		{"expired", 16 * time.Minute, nil, "expired after 15 min", denied},
		{"refused meanwhile", 3 * time.Minute, func(t *testing.T, _ *world, a *activities.Activities, _ incident.Decision) {
			require.Equal(t, incident.OutcomeRefused, refusal(t, a, "9", now.Add(time.Minute), nil).Outcome)
		}, "incident commander refused (Ada)", denied},
		{"refused by somebody without a say", 3 * time.Minute, func(t *testing.T, _ *world, a *activities.Activities, _ incident.Decision) {
			d := refusal(t, a, "9", now.Add(time.Minute), func(in *activities.DecideInput) { in.Request.Actor = cli("dora") })
			require.Equal(t, incident.OutcomeDenied, d.Outcome)
		}, "", ""},
		{"another plan refused", 3 * time.Minute, func(t *testing.T, _ *world, a *activities.Activities, _ incident.Decision) {
			refusal(t, a, "9", now.Add(time.Minute), func(in *activities.DecideInput) {
				in.Option.Plan.Option = "flag-off"
				in.Option.Digest = digest(t, in.Option.Plan)
				in.Request.PlanDigest = in.Option.Digest
			})
		}, "", ""},
		{"a refusal that nobody signed", 3 * time.Minute, func(t *testing.T, w *world, a *activities.Activities, _ incident.Decision) {
			refusal(t, a, "9", now.Add(time.Minute), nil)
			w.entries[len(w.entries)-1].ID = incident.DecisionEventID(key, "forged")
		}, "", ""},
		{"the command changed hands", 3 * time.Minute, func(t *testing.T, w *world, _ *activities.Activities, _ incident.Decision) {
			w.entries = append(w.entries, command(t, signer(t, botKey), ben, "took-over", now.Add(time.Minute)))
		}, "voided by a handover of command", denied},
		{"taken back", 3 * time.Minute, func(_ *testing.T, w *world, _ *activities.Activities, d incident.Decision) {
			w.entries = append(w.entries, incident.Entry{ID: incident.VoidEventID(d.EventID), Incident: key, Kind: incident.EventDecision, At: now, Text: "the incident was resolved"})
		}, "the approval was taken back: the incident was resolved", denied},
		{"the decisions can not be read", 3 * time.Minute, func(_ *testing.T, w *world, _ *activities.Activities, _ incident.Decision) {
			w.fail = func(call string) error {
				if call == "list "+string(incident.EventDecision) {
					return errConflict
				}
				return nil
			}
		}, "read the decisions", incident.ErrTypeLedger},
		{"the commands can not be read", 3 * time.Minute, func(_ *testing.T, w *world, _ *activities.Activities, _ incident.Decision) {
			w.fail = func(call string) error {
				if call == "list "+string(incident.EventCommand) {
					return errConflict
				}
				return nil
			}
		}, "read the commands", incident.ErrTypeLedger},
		{"the window was taken from the policy meanwhile", time.Minute, func(_ *testing.T, _ *world, a *activities.Activities, _ incident.Decision) {
			a.Policy = approvals.Default()
		}, "people can object until", denied},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a, d, run := windowed(t, w)
			if test.between != nil {
				test.between(t, w, a, d)
			}
			w.now = now.Add(test.after)
			_, err := a.ExecuteAction(t.Context(), run)
			if test.refused == "" {
				require.NoError(t, err)
				require.Equal(t, 1, w.targets["config/checkout"].mutations)
				return
			}
			require.Contains(t, failure(t, err, test.kind, test.kind == denied).Message(), test.refused)
			require.Zero(t, w.targets["config/checkout"].mutations)
			require.NotContains(t, w.kinds(), incident.EventIntent)
			require.Equal(t, test.kind == denied, slices.Contains(w.kinds(), incident.EventActionDone), "what is final is on record")
		})
	}
}

func TestAnActionThatCameEarlyByWhatClocksDifferIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, d, run := windowed(t, w)
	w.now = d.ObjectionsUntil.Add(-3 * time.Second)
	_, err := a.ExecuteAction(t.Context(), run)
	require.Equal(t, 3*time.Second, failure(t, err, "", false).NextRetryDelay())
	w.now = d.ObjectionsUntil
	_, err = a.ExecuteAction(t.Context(), run)
	require.NoError(t, err)
}

// TestBrokenGlassDoesNotWaitForObjections has the on-call break the glass of a plan
// that waits.
func TestBrokenGlassDoesNotWaitForObjections(t *testing.T) {
	t.Parallel()
	for _, signedLate := range []bool{false, true} {
		w := newWorld()
		a, d, run := windowed(t, w)
		w.onCall["PCHECK"] = []incident.Person{carla}
		in := ask(t, incident.TierCommander, "carla", "9")
		in.Now, in.Rollback, in.Commander, in.Prior = now.Add(30*time.Second), rollback, &ada, []incident.Decision{d}
		in.Request.BreakGlass, in.Request.Reason = true, "money is being lost"
		got, err := click(t, a, in)
		require.NoError(t, err)
		require.Equal(t, incident.OutcomeApproved, got.Decision.Outcome, got.Decision.Sentence)
		require.Zero(t, got.Decision.ObjectionsUntil)
		run.DecisionIDs = append(run.DecisionIDs, in.EventID)
		if signedLate {
			slices.Reverse(run.DecisionIDs)
		}
		w.now = now.Add(time.Minute)
		_, err = a.ExecuteAction(t.Context(), run)
		require.NoError(t, err)
		require.Equal(t, 1, w.targets["config/checkout"].mutations)
	}
}

func TestAnApprovalThatWaitsForOthersSaysUntilWhen(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := ask(t, incident.TierCommanderAndOwner, "ada", "2")
	in.Commander = &ada
	got, err := click(t, w.activities(t), in)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeWaiting, got.Decision.Outcome)
	require.Equal(t, now.Add(15*time.Minute), got.Decision.ExpiresAt)
	require.Zero(t, got.Decision.ObjectionsUntil)
}

// TestOptionsSayWhenPeopleAreReminded has options of a tier with a reminder, and of one
// without.
func TestOptionsSayWhenPeopleAreReminded(t *testing.T) {
	t.Parallel()
	a := broken().activities(t)
	a.Policy = patientPolicy(t)
	got, err := a.CollectOptions(t.Context(), collectInput())
	require.NoError(t, err)
	require.Nil(t, optionNamed(t, got, "config-back").Reminder, "tier-1 has none")
	require.Equal(t, &incident.Reminder{After: 5 * time.Minute, Of: "the incident commander"}, optionNamed(t, got, "flag-off").Reminder)
}

func TestSay(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	in := activities.SayInput{Card: incident.CardRef{Channel: "C1", TS: "1.1"}, ID: key + "/e9", Text: "A decision is still missing."}
	require.NoError(t, a.Say(t.Context(), in))
	require.Equal(t, []string{"say C1 1.1 pagerduty/Q1/e9 A decision is still missing."}, w.calls)
	w.fail = func(string) error { return fmt.Errorf("say: %w", driver.ErrInvalid) }
	requireError(t, a.Say(t.Context(), in), incident.ErrTypeInvalid, true)
}
