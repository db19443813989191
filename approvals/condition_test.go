package approvals_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

// withConditions is a policy of three tiers with facts, denials and moves of a
// test's own, as YAML.
func withConditions(facts, deny, moves string) string {
	tier := func(name, when, roles string) string {
		return fmt.Sprintf("  - {tier: %s, when: [%s], approvals: [{roles: [%s]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 15m}\n", name, when, roles)
	}
	text := "apiVersion: backout.dev/v1\nkind: Policy\nmetadata: {name: own}\n" + facts + deny + "tiers:\n"
	high := "irreversible"
	if strings.Contains(facts, "name: high") {
		high += ", high"
	}
	mid := "shared_data"
	if strings.Contains(facts, "name: mid") {
		mid += ", mid"
	}
	return text + tier("tier-3", high, "service_owner") + tier("tier-2", mid, "incident_commander") + tier("tier-1", "always", "on_call") + moves
}

func parsed(t testing.TB, text string) *approvals.Policy {
	t.Helper()
	p, err := approvals.ParsePolicy(approvals.File{Name: "p.yaml", Content: []byte(text)})
	require.NoError(t, err, text)
	return p
}

func fact(name, expression string) string {
	return fmt.Sprintf("facts:\n  - name: %s\n    cel: |\n      %s\n    means: is what the test says\n", name, expression)
}

// everything is a situation of which all is known.
func everything() approvals.Situation {
	s := situation(incident.BlastRadius{
		Services: reach("payments"), Dependents: reach("checkout", "storefront"),
		TrafficShare: &incident.Measured{Value: new(0.3)}, Customers: &incident.Measured{Value: new(1200.5)},
		Replicas: &incident.Measured{Value: new(4.0)}, Regions: &incident.Measured{Value: new(2.0)},
	}, true, incident.Sev2)
	s.SLOBurn = &incident.Measured{Value: new(14.4)}
	return s
}

func TestConditionsAskAboutTheirInput(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, expression string
		want             bool
	}{
		{"service", `plan.service == "payments"`, true},
		{"strategy", `plan.strategy in ["restore", "compensate"]`, false},
		{"runbook and option", `plan.runbook == "release-pointer" && plan.option == "back"`, true},
		{"rung", `plan.rung >= 4`, false},
		{"kind of an action", `plan.actions.exists(a, a.kind == "nats.kv" && a.reversible)`, true},
		{"system and path", `plan.actions.all(a, a.system == "shop" && a.path.startsWith("releases/"))`, true},
		{"a pattern in quotes", `plan.actions.exists(a, a.path.matches("^flags/"))`, false},
		{"services", `size(radius.services) == 1 && "payments" in radius.services`, true},
		{"dependents", `size(radius.dependents) >= 2`, true},
		{"shared data and irreversible", `size(radius.shared_data) + size(radius.irreversible) > 0`, false},
		{"global", `radius.global`, false},
		{"share of traffic", `radius.traffic_share > 0.25`, true},
		{"share of traffic against a whole number", `radius.traffic_share > 1`, false},
		{"customers, rounded up", `radius.customers == 1201`, true},
		{"replicas and regions", `radius.replicas > 3 && radius.regions > 1`, true},
		{"severity", `severity in ["sev1", "sev2"]`, true},
		{"burn", `slo_burn > 14`, true},
		{"time", `time.getHours() >= 9 && time < timestamp("2027-01-01T00:00:00Z")`, true},
		{"source", `incident.source == "pagerduty"`, true},
		{"several lines", "plan.service == \"payments\" &&\n      radius.global == false", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := parsed(t, withConditions(fact("high", tt.expression), "", ""))
			j := p.Judge(everything())
			require.Empty(t, j.Unknown)
			if tt.want {
				require.Equal(t, incident.TierCommanderAndOwner, j.Tier)
				require.Equal(t, []approvals.Fact{"high"}, j.Facts)
				require.Equal(t, "It is what the test says.", j.Reason)
			} else {
				require.Equal(t, incident.TierOnCall, j.Tier)
			}
		})
	}
}

func TestConditionsAreRefusedWhereTheyStand(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, yaml, want string }{
		{"type error", "'plan.service > 3'", "p.yaml:6:24: facts[0].cel: found no matching overload"},
		{"type error in a block", "|\n      plan.rung > 1 &&\n        severity == 1", "p.yaml:8:18: facts[0].cel: found no matching overload"},
		{"unknown field", "'radius.trafic_share > 0.2'", "undefined field 'trafic_share'"},
		{"unknown name", "'title == \"x\"'", "p.yaml:6:11: facts[0].cel: undeclared reference to 'title'"},
		{"text from outside", "'plan.summary == \"x\"'", "undefined field 'summary'"},
		{"no condition", "'plan.service'", "want true or false, it gives string"},
		{"syntax", "'severity == '", "p.yaml:6:"},
		{"empty", "'  '", "it is empty"},
		{"asking what is known", "'has(radius.traffic_share)'", "what is not known always means more authority"},
		{"a way round the types", "'dyn(plan).title == \"x\"'", "dyn() is not there"},
		{"text from outside as a pattern", "'plan.service.matches(plan.option)'", "matches() wants a pattern in quotes"},
		{"a bad pattern", "'plan.service.matches(\"(\")'", "invalid"},
		{"an object", "'backout.Action{kind: \"x\"}.kind == \"x\"'", "objects and maps can not be made here"},
		{"too expensive", "'radius.services.exists(a, radius.services.exists(b, radius.services.exists(c, a + b == c)))'", "more than 100000: ask less of lists inside of lists"},
		{"too long", "'severity == \"" + strings.Repeat("x", 2000) + "\"'", "p.yaml:6:"},
		{"too deep", "'" + strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200) + "'", "p.yaml:6:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := withConditions("facts:\n  - name: high\n    cel: "+tt.yaml+"\n    means: is what the test says\n", "", "")
			_, err := approvals.ParsePolicy(approvals.File{Name: "p.yaml", Content: []byte(text)})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "p.yaml:")
		})
	}
	many := "deny:\n" + strings.Repeat("  - {cel: 'false', reason: never}\n", approvals.MaxConditions+1)
	_, err := approvals.ParsePolicy(approvals.File{Name: "p.yaml", Content: []byte(withConditions("", many, ""))})
	require.ErrorContains(t, err, "more than 32 conditions")
	parsed(t, withConditions("", "deny:\n"+strings.Repeat("  - {cel: 'false', reason: never}\n", approvals.MaxConditions), ""))
}

func TestWhatIsNotKnownNeedsMoreAuthority(t *testing.T) {
	t.Parallel()
	lower := "severity:\n  - {severities: [sev1, sev2], from: tier-2, to: tier-1, cel: slo_burn > 10.0, reason: it burns fast}\n"
	raise := "severity:\n  - {severities: [sev2], from: tier-1, to: tier-3, unless: [mid], cel: slo_burn > 10.0, reason: it burns fast}\n"
	deny := "deny:\n  - {cel: 'radius.traffic_share > 0.9', reason: nearly everybody would notice}\n"
	share := func(s *approvals.Situation) { s.Radius.TrafficShare = &incident.Measured{Reason: "no data"} }
	for _, tt := range []struct {
		name, policy string
		forget       func(*approvals.Situation)
		want         incident.Tier
		reason       string
	}{
		{"a fact that holds", withConditions(fact("mid", "radius.traffic_share > 0.2"), "", ""), nil, incident.TierCommander, "It is what the test says."},
		{"a fact that is not known", withConditions(fact("high", "radius.traffic_share > 0.9"), "", ""), share, incident.TierCommanderAndOwner, "Whether it is what the test says is not known, which counts as yes."},
		{"its negation", withConditions(fact("high", "!(radius.traffic_share > 0.1)"), "", ""), share, incident.TierCommanderAndOwner, "not known"},
		{"a share above one", withConditions(fact("high", "radius.traffic_share > 0.9"), "", ""), func(s *approvals.Situation) { s.Radius.TrafficShare.Value = new(1.2) }, incident.TierCommanderAndOwner, "not known"},
		{"no number", withConditions(fact("high", "radius.customers > 10000"), "", ""), func(s *approvals.Situation) { s.Radius.Customers.Value = new(math.NaN()) }, incident.TierCommanderAndOwner, "not known"},
		{"below zero", withConditions(fact("high", "slo_burn > 100"), "", ""), func(s *approvals.Situation) { s.SLOBurn.Value = new(-1.0) }, incident.TierCommanderAndOwner, "not known"},
		{"what does not depend on it", withConditions(fact("high", "plan.service == 'other' && radius.traffic_share > 0.9"), "", ""), share, incident.TierOnCall, "one service"},
		{"a time that is not known", withConditions(fact("high", "time.getHours() == 1"), "", ""), func(s *approvals.Situation) { s.At = time.Time{} }, incident.TierCommanderAndOwner, "not known"},
		{"a rung that is not known", withConditions(fact("high", "plan.rung == 5"), "", ""), func(s *approvals.Situation) { s.Rung = 0 }, incident.TierCommanderAndOwner, "not known"},
		{"a severity that is not known", withConditions(fact("high", "severity == 'sev4'"), "", ""), func(s *approvals.Situation) { s.Severity = "P1" }, incident.TierCommanderAndOwner, "not known"},
		{"a source that is not known", withConditions(fact("high", "incident.source == 'drill'"), "", ""), func(s *approvals.Situation) { s.Plan.Incident = "" }, incident.TierCommanderAndOwner, "not known"},
		{"an error of the evaluation", withConditions(fact("high", "size(radius.services) / size(radius.shared_data) > 1"), "", ""), nil, incident.TierCommanderAndOwner, "not known"},
		{"a lowering that holds", withConditions(fact("mid", "true"), "", lower), nil, incident.TierOnCall, "By severity it moves from tier-2 to tier-1: it burns fast."},
		{"a lowering for a burn that is not known", withConditions(fact("mid", "true"), "", lower), func(s *approvals.Situation) { s.SLOBurn = nil }, incident.TierCommander, "It is what the test says."},
		{"a lowering for a slow burn", withConditions(fact("mid", "true"), "", lower), func(s *approvals.Situation) { s.SLOBurn.Value = new(3.0) }, incident.TierCommander, ""},
		{"a lowering for a severity that is not known", withConditions(fact("mid", "true"), "", lower), func(s *approvals.Situation) { s.Severity = "" }, incident.TierCommander, ""},
		{"a raise for a burn that is not known", withConditions(fact("mid", "false"), "", raise), func(s *approvals.Situation) { s.SLOBurn = nil }, incident.TierCommanderAndOwner, "Whether that is so is not known"},
		{"a raise that an exception may prevent", withConditions(fact("mid", "radius.traffic_share > 0.9"), "", raise), share, incident.TierCommanderAndOwner, "not known"},
		{"a raise for a severity that is not known", withConditions(fact("mid", "false"), "", raise), func(s *approvals.Situation) { s.Severity = "" }, incident.TierCommanderAndOwner, ""},
		{"a denial", withConditions("", strings.Replace(deny, "0.9", "0.2", 1), ""), nil, incident.TierForbidden, "The policy forbids it: nearly everybody would notice."},
		{"a denial that does not hold", withConditions("", deny, ""), nil, incident.TierOnCall, "one service"},
		{"a denial that is not known", withConditions("", deny, ""), share, incident.TierForbidden, "not known whether this is for it: nearly everybody would notice."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := everything()
			if tt.forget != nil {
				tt.forget(&s)
			}
			tier, reason := parsed(t, tt.policy).Tier(s)
			require.Equal(t, tt.want, tier, reason)
			require.Contains(t, reason, tt.reason)
		})
	}
}

// TestCostIsBoundedWhereTheEstimateIsWrong: a plan larger than any that the
// estimate goes by ends the evaluation, and so needs more authority.
func TestCostIsBoundedWhereTheEstimateIsWrong(t *testing.T) {
	t.Parallel()
	p := parsed(t, withConditions(fact("high", "plan.actions.exists(a, a.path.contains('nowhere'))"), "", ""))
	s := everything()
	require.Equal(t, incident.TierOnCall, p.Judge(s).Tier)
	s.Plan.Actions = slices.Repeat(s.Plan.Actions, 50_000)
	j := p.Judge(s)
	require.Equal(t, incident.TierCommanderAndOwner, j.Tier)
	require.Equal(t, []approvals.Fact{"high"}, j.Unknown)
}

// TestKnowingNeverNeedsMoreThanNotKnowing forgets parts of random situations,
// for policies made of random conditions: the tier never falls by that.
func TestKnowingNeverNeedsMoreThanNotKnowing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	atoms := []string{
		"radius.traffic_share > 0.5", "radius.customers < 100", "radius.replicas == 3", "slo_burn > 10.0", "severity == 'sev1'", "plan.rung > 3",
		"radius.global", "time.getHours() < 12", "incident.source == 'pagerduty'", "size(radius.dependents) > 1", "true",
	}
	var expression func(depth int) string
	expression = func(depth int) string {
		if depth == 0 || r.IntN(3) == 0 {
			return atoms[r.IntN(len(atoms))]
		}
		a, b := expression(depth-1), expression(depth-1)
		return []string{"(" + a + " && " + b + ")", "(" + a + " || " + b + ")", "!(" + a + ")", "(" + a + " ? " + b + " : " + atoms[r.IntN(len(atoms))] + ")"}[r.IntN(4)]
	}
	raised := 0
	for range 150 {
		facts := "facts:\n"
		for _, name := range []string{"high", "mid", "other"} {
			facts += fmt.Sprintf("  - {name: %s, cel: %q, means: is so}\n", name, expression(2))
		}
		deny := ""
		if r.IntN(3) == 0 {
			deny = fmt.Sprintf("deny:\n  - {cel: %q, reason: never}\n", expression(2)+" && slo_burn > 20.0")
		}
		moves := "severity:\n"
		for range 1 + r.IntN(3) {
			tiers := []string{"tier-1", "tier-2", "tier-3"}
			from := r.IntN(3)
			to := (from + 1 + r.IntN(2)) % 3
			moves += fmt.Sprintf("  - {severities: [sev1, sev2], from: %s, to: %s, unless: [other], cel: %q, reason: so}\n", tiers[from], tiers[to], expression(1))
		}
		p := parsed(t, withConditions(facts, deny, moves))
		for range 20 {
			s := everything()
			s.Radius.TrafficShare.Value, s.Radius.Customers.Value = new(r.Float64()), new(float64(r.IntN(200)))
			s.Radius.Replicas.Value, s.SLOBurn.Value = new(float64(2+r.IntN(3))), new(float64(r.IntN(30)))
			s.Severity, s.Rung = []incident.Severity{incident.Sev1, incident.Sev2, incident.Sev3}[r.IntN(3)], incident.Rung(1+r.IntN(5))
			before := p.Judge(s).Tier
			for _, forget := range []func(){
				func() { s.Radius.TrafficShare = nil }, func() { s.Radius.Customers = nil }, func() { s.Radius.Replicas = nil },
				func() { s.SLOBurn = nil }, func() { s.Severity = "" }, func() { s.Rung = 0 }, func() { s.At = time.Time{} },
			} {
				if r.IntN(3) > 0 {
					forget()
				}
			}
			after := p.Judge(s).Tier
			require.GreaterOrEqual(t, after, before, "%s%s%s", facts, deny, moves)
			if after > before {
				raised++
			}
		}
	}
	require.Greater(t, raised, 100)
}

func TestPolicyAsksForMeasurements(t *testing.T) {
	t.Parallel()
	p := parsed(t, withConditions(fact("mid", "radius.traffic_share > 0.5"), "deny:\n  - {cel: 'radius.regions > 3', reason: never}\n",
		"severity:\n  - {severities: [sev1], from: tier-2, to: tier-1, cel: slo_burn > 2, reason: it burns}\n"))
	require.True(t, p.Asks(incident.LiveTrafficShare))
	require.True(t, p.Asks(incident.LiveRegions))
	require.True(t, p.Asks(incident.LiveSLOBurn))
	require.False(t, p.Asks(incident.LiveCustomers))
	for _, f := range incident.LiveFacts() {
		require.False(t, approvals.Default().Asks(f))
	}
}

func TestDigestCoversConditions(t *testing.T) {
	t.Parallel()
	digests := map[string]bool{}
	for _, text := range []string{
		withConditions("", "", ""),
		withConditions(fact("mid", "true"), "", ""),
		withConditions(fact("mid", "false"), "", ""),
		withConditions("", "deny:\n  - {cel: 'false', reason: never}\n", ""),
		withConditions("", "deny:\n  - {cel: 'false', reason: ever}\n", ""),
		withConditions("", "", "severity:\n  - {severities: [sev1], from: tier-2, to: tier-1, reason: x}\n"),
		withConditions("", "", "severity:\n  - {severities: [sev1], from: tier-2, to: tier-1, cel: 'true', reason: x}\n"),
		strings.Replace(withConditions("", "", ""), "expires_after: 15m", "expires_after: 15m, step_up: true", 1),
		strings.Replace(withConditions("", "", ""), "expires_after: 15m", "expires_after: 15m, remind_after: 5m", 1),
	} {
		digests[parsed(t, text).Digest()] = true
	}
	require.Len(t, digests, 9)
}

func TestInputsAreDocumented(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, in := range approvals.Inputs() {
		require.NotEmpty(t, in.Meaning, in.Name)
		require.NotContains(t, seen, in.Name)
		seen[in.Name] = in.Type
	}
	require.Equal(t, "double", seen["radius.traffic_share"])
	require.Equal(t, "list(string)", seen["radius.services"])
	require.Equal(t, "string", seen["plan.actions[].path"])
	require.Equal(t, "timestamp", seen["time"])
	for _, forbidden := range []string{"title", "summary", "label", "name", "author"} {
		for name := range seen {
			require.NotContains(t, name, forbidden, "text from outside")
		}
	}
}
