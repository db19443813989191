package whatif_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/approvals/whatif"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func policy(t *testing.T, name string) *approvals.Policy {
	t.Helper()
	p, err := approvals.ParsePolicy(approvals.File{Name: name, Content: []byte(read(t, name))})
	require.NoError(t, err)
	return p
}

// TestCases tries the written tables: one for the default policy, and one for a
// policy that uses everything there is.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, cases string
		policy      *approvals.Policy
		count       int
	}{
		{"default", "testdata/default-cases.yaml", approvals.Default(), 18},
		{"shop", "testdata/shop-cases.yaml", policy(t, "testdata/shop-policy.yaml"), 14},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cases, err := whatif.Parse(approvals.File{Name: tt.cases, Content: []byte(read(t, tt.cases))})
			require.NoError(t, err)
			require.Len(t, cases, tt.count)
			for _, r := range whatif.Run(tt.policy, cases) {
				require.Empty(t, r.Differences, "%s: %s", r.Case.At, r.Case.Name)
			}
		})
	}
}

func TestDifferencesAreNamed(t *testing.T) {
	t.Parallel()
	cases, err := whatif.Parse(approvals.File{Name: "c.yaml", Content: []byte(`apiVersion: backout.dev/v1
kind: PolicyCases
cases:
  - name: wrong in every way
    radius: {services: [payments]}
    want: {tier: tier-3, outcome: approved, reason: can not be undone, sentence: approved (Ada)}
`)})
	require.NoError(t, err)
	got := whatif.Run(approvals.Default(), cases)
	require.Equal(t, []string{
		`tier is "tier-1", want "tier-3"`,
		`outcome is "waiting", want "approved"`,
		`reason is "It changes one service, payments, touches no shared data and can be undone.", want "can not be undone"`,
		`sentence is "waiting for the on-call of payments or the incident commander", want "approved (Ada)"`,
	}, got[0].Differences)
	require.Equal(t, "c.yaml:4:5", got[0].Case.At.String())
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	text := read(t, "testdata/shop-cases.yaml")
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key", "radius:", "raduis:", `unknown key "raduis"`},
		{"version", "backout.dev/v1", "backout.dev/v2", "apiVersion"},
		{"kind", "kind: PolicyCases", "kind: Policy", "kind"},
		{"severity", "severity: sev2", "severity: P2", `unknown value "P2"`},
		{"tier", "tier: tier-1", "tier: tier-0", `unknown value "tier-0"`},
		{"outcome", "outcome: approved", "outcome: fine", `unknown value "fine"`},
		{"role", "roles: [on_call]", "roles: [oncall]", `unknown value "oncall"`},
		{"answer", "answer: approve", "answer: maybe", `unknown value "maybe"`},
		{"rung", "rung: reversible", "rung: safe", `unknown value "safe"`},
		{"strategy", "strategy: flag_off", "strategy: pray", `unknown value "pray"`},
		{"share", "traffic_share: 0.5", "traffic_share: 50", "must be 0 to 1"},
		{"below zero", "slo_burn: 20", "slo_burn: -1", "zero or more"},
		{"time", "2026-11-20T03:00:00Z", "tonight", "is not a time"},
		{"expects nothing", "want: {tier: tier-1, outcome: approved", "want: {} #", "it expects nothing"},
		{"said twice", "actions: [", "reversible: true, actions: [", "the actions say so already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, text, tt.old)
			_, err := whatif.Parse(approvals.File{Name: "c.yaml", Content: []byte(strings.Replace(text, tt.old, tt.new, 1))})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "c.yaml:")
		})
	}
	_, err := whatif.Parse(approvals.File{Name: "c.yaml", Content: []byte("apiVersion: backout.dev/v1\nkind: PolicyCases\ncases: []\n")})
	require.ErrorContains(t, err, "it is empty")
	twice := "apiVersion: backout.dev/v1\nkind: PolicyCases\ncases:\n" + strings.Repeat("  - {name: a, radius: {services: [x]}, want: {tier: tier-1}}\n", 2)
	_, err = whatif.Parse(approvals.File{Name: "c.yaml", Content: []byte(twice)})
	require.ErrorContains(t, err, `"a" stands there twice`)
}
