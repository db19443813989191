package approvals_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

func defaultText(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("policies/default.yaml")
	require.NoError(t, err)
	return string(b)
}

func reach(names ...string) []incident.Reach {
	var out []incident.Reach
	for _, n := range names {
		out = append(out, incident.Reach{Name: n, Reason: "because"})
	}
	return out
}

// situation is a plan of one action with a blast radius.
func situation(r incident.BlastRadius, reversible bool, sev incident.Severity) approvals.Situation {
	return approvals.Situation{
		Plan: incident.Plan{
			Incident: "pagerduty/Q1", Service: "payments", Strategy: incident.StrategyRollback, Runbook: "release-pointer", Option: "back",
			Actions: []incident.Action{{Kind: "nats.kv", Target: incident.Target{System: "shop", Path: "releases/payments"}, Reversible: reversible}},
		},
		Rung: incident.RungReversible, Radius: r, Severity: sev, At: now,
	}
}

func TestDefaultTiers(t *testing.T) {
	t.Parallel()
	one := incident.BlastRadius{Services: reach("payments"), Dependents: reach("checkout", "storefront")}
	shared := one
	shared.SharedData = reach("orders-db")
	several := incident.BlastRadius{Services: reach("payments", "checkout")}
	severalShared := several
	severalShared.SharedData = reach("orders-db")
	global := one
	global.Global = &incident.Reach{Name: "all customers", Reason: "the flag is global"}
	oneWay := one
	oneWay.Irreversible = reach("db/orders")
	twice := incident.BlastRadius{Services: reach("payments", "payments")}
	for _, tt := range []struct {
		name       string
		radius     incident.BlastRadius
		reversible bool
		severity   incident.Severity
		want       incident.Tier
		reason     string
	}{
		{"one service", one, true, incident.Sev3, incident.TierOnCall, "It changes one service, payments, touches no shared data and can be undone."},
		{"one service named twice", twice, true, incident.Sev3, incident.TierOnCall, "one service"},
		{"shared data", shared, true, incident.Sev3, incident.TierCommander, "It touches shared data (orders-db)."},
		{"shared data at sev1", shared, true, incident.Sev1, incident.TierCommander, "shared data"},
		{"several services", several, true, incident.Sev2, incident.TierCommander, "It changes 2 services (payments, checkout)."},
		{"several services, house on fire", several, true, incident.Sev1, incident.TierOnCall, "By severity it moves from tier-2 to tier-1: at sev1"},
		{"several services and shared data, house on fire", severalShared, true, incident.Sev1, incident.TierCommander, "2 services (payments, checkout) and touches shared data"},
		{"several services, severity not known", several, true, "", incident.TierCommander, "2 services"},
		{"global", global, true, incident.Sev1, incident.TierCommanderAndOwner, "It touches everybody at once (the flag is global)."},
		{"irreversible by the plan", one, false, incident.Sev1, incident.TierCommanderAndOwner, "It can not be undone."},
		{"irreversible by an action", oneWay, true, incident.Sev4, incident.TierCommanderAndOwner, "can not be undone"},
		{"nothing at all", incident.BlastRadius{}, true, incident.Sev1, incident.TierForbidden, "names no service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tier, reason := approvals.Default().Tier(situation(tt.radius, tt.reversible, tt.severity))
			require.Equal(t, tt.want, tier)
			require.Contains(t, reason, tt.reason)
		})
	}
}

// TestSeverityNeverLowersTheTierWithoutFire: the tier at a milder severity is
// never below the tier at a worse one.
func TestSeverityNeverLowersTheTierWithoutFire(t *testing.T) {
	t.Parallel()
	severities := []incident.Severity{incident.Sev1, incident.Sev2, incident.Sev3, incident.Sev4, "unknown"}
	for bits := range 16 {
		r := incident.BlastRadius{Services: reach("a")}
		if bits&1 != 0 {
			r.Services = reach("a", "b")
		}
		if bits&2 != 0 {
			r.SharedData = reach("db")
		}
		if bits&4 != 0 {
			r.Global = &incident.Reach{Name: "all"}
		}
		last := incident.TierUnknown
		for _, s := range severities {
			tier, reason := approvals.Default().Tier(situation(r, bits&8 == 0, s))
			require.GreaterOrEqual(t, tier, last)
			require.NotEmpty(t, reason)
			last = tier
		}
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	t.Parallel()
	text := defaultText(t)
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key", "    requester_may_approve: true", "    requester_may_approve: true\n    requester: yes", `unknown key "requester"`},
		{"version", "backout.dev/v1", "backout.dev/v9", "apiVersion"},
		{"kind", "kind: Policy", "kind: Runbook", "kind"},
		{"unknown tier", "- tier: tier-3", "- tier: tier-9", "tiers[0].tier"},
		{"forbidden as a tier", "- tier: tier-3", "- tier: forbidden", "tiers[0].tier"},
		{"unknown fact", "[global, irreversible]", "[global, one_way]", `tiers[0].when[1]: unknown value "one_way"`},
		{"unknown role", "roles: [service_owner]", "roles: [owner]", `unknown value "owner"`},
		{"no role", "roles: [service_owner]", "roles: []", "it is empty"},
		{"nobody decides", "approvals:\n      - roles: [on_call, incident_commander]", "approvals: []", "somebody must decide"},
		{"count of none", "roles: [service_owner]", "roles: [service_owner]\n        count: 0", "count"},
		{"no expiry", "    expires_after: 15m\n\n  - tier: tier-2", "\n  - tier: tier-2", `"expires_after" is missing`},
		{"expiry of hours", "expires_after: 15m", "expires_after: 2h", "at most 1h0m0s"},
		{"expiry of nothing", "expires_after: 15m", "expires_after: 0s", "above zero"},
		{"no last tier", "when: [always]", "when: [several_services]", "every plan has a tier"},
		{"always first", "when: [global, irreversible]", "when: [always]", "only the last tier"},
		{"wrong order", "- tier: tier-3", "- tier: tier-1", "the highest first"},
		{"relaxed without fire", "severities: [sev1]", "severities: [sev3]", "sev3 is no fire"},
		{"unknown severity", "severities: [sev1]", "severities: [P1]", `unknown value "P1"`},
		{"move to the same tier", "to: tier-1", "to: tier-2", "the same tier"},
		{"move without reason", "reason: at sev1", "because: at sev1", `"reason" is missing`},
		{"separation left open", "    requester_may_approve: true\n", "", `"requester_may_approve" is missing`},
		{"break-glass for nobody", "roles: [on_call]\n  tiers", "roles: []\n  tiers", "break_glass.roles"},
		{"break-glass of a tier that is not there", "tiers: [tier-1, tier-2, tier-3]", "tiers: [tier-7]", "break_glass.tiers[0]"},
		{"reminder after the end", "expires_after: 15m", "expires_after: 15m\n    remind_after: 15m", "tiers[0].remind_after: 15m0s must be above zero and below expires_after"},
		{"reminder at once", "expires_after: 15m", "expires_after: 15m\n    remind_after: 0s", "tiers[0].remind_after"},
		{"objections of a tier that does not wait", "expires_after: 15m", "expires_after: 15m\n    objection_window: 2m", "only tier-2 can wait for objections"},
		{"objections for no time", "expires_after: 15m", "expires_after: 15m\n    objection_window: 0s", "tiers[0].objection_window: 0s must be above zero"},
		{"objections for longer than an approval", "author_may_be_sole_approver: false\n    expires_after: 15m\n\n  - tier: tier-1", "author_may_be_sole_approver: false\n    expires_after: 15m\n    objection_window: 15m\n\n  - tier: tier-1", "tiers[1].objection_window: 15m0s must be below expires_after"},
		{"step-up that is no choice", "expires_after: 15m", "expires_after: 15m\n    step_up: sometimes", "want true or false"},
		{"a fact of every policy defined again", "tiers:\n", "facts:\n  - {name: global, cel: 'true', means: is everywhere}\ntiers:\n", "is a fact of every policy"},
		{"a fact with a strange name", "tiers:\n", "facts:\n  - {name: Wide, cel: 'true', means: is wide}\ntiers:\n", "facts[0].name"},
		{"a fact twice", "tiers:\n", "facts:\n  - {name: wide, cel: 'true', means: is wide}\n  - {name: wide, cel: 'true', means: is wide}\ntiers:\n", "facts[1].name: \"wide\" stands there twice"},
		{"a fact without words", "tiers:\n", "facts:\n  - {name: wide, cel: 'true', means: ' . '}\ntiers:\n", "facts[0].means: it is empty"},
		{"a fact with too many words", "tiers:\n", "facts:\n  - {name: wide, cel: 'true', means: " + strings.Repeat("x", 201) + "}\ntiers:\n", "more than 200 characters"},
		{"a fact that nobody defined", "[global, irreversible]", "[global, wide]", `unknown value "wide", known are several_services, shared_data, global, irreversible`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, text, tt.old)
			_, err := approvals.ParsePolicy(approvals.File{Name: "p.yaml", Content: []byte(strings.Replace(text, tt.old, tt.new, 1))})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "p.yaml:")
		})
	}
}

func TestPolicyDigestIsOfContent(t *testing.T) {
	t.Parallel()
	text := defaultText(t)
	same, err := approvals.ParsePolicy(approvals.File{Name: "x", Content: []byte("# more\n" + text)})
	require.NoError(t, err)
	require.Equal(t, approvals.Default().Digest(), same.Digest())
	other, err := approvals.ParsePolicy(approvals.File{Name: "x", Content: []byte(strings.Replace(text, "expires_after: 15m", "expires_after: 10m", 1))})
	require.NoError(t, err)
	require.NotEqual(t, same.Digest(), other.Digest())
	require.Equal(t, "default", same.Name())
	// A digest that moves without need makes decisions on record look as if
	// another policy had judged them.
	require.Equal(t, "sha256:28d210b172e545dc9cb9978ab8e6f0f9011c3dd894164bd5957d1ade7f2ccbdc", same.Digest())
	require.Equal(t, 15*time.Minute, same.Expiry(incident.TierCommander))
	require.Equal(t, 10*time.Minute, other.Expiry(incident.TierCommanderAndOwner))
	require.Zero(t, same.Expiry(incident.TierForbidden))
}

func TestPolicyCanForbid(t *testing.T) {
	t.Parallel()
	text := strings.Replace(defaultText(t), "severity:\n", "severity:\n  - {severities: [sev4], from: tier-3, to: forbidden, reason: nobody is harmed enough}\n", 1)
	p, err := approvals.ParsePolicy(approvals.File{Name: "x", Content: []byte(text)})
	require.NoError(t, err)
	tier, reason := p.Tier(situation(incident.BlastRadius{Services: reach("a")}, false, incident.Sev4))
	require.Equal(t, incident.TierForbidden, tier)
	require.Contains(t, reason, "nobody is harmed enough")
	tier, _ = p.Tier(situation(incident.BlastRadius{Services: reach("a")}, false, incident.Sev3))
	require.Equal(t, incident.TierCommanderAndOwner, tier)
}
