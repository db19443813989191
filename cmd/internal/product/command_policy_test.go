package product

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/bot"
	"github.com/backout/backout/workflows/incident"
)

const shopPolicy = `apiVersion: backout.dev/v1
kind: Policy
metadata: {name: own}
facts:
  - {name: wide, cel: radius.traffic_share > 0.5, means: touches most of the traffic}
tiers:
  - {tier: tier-2, when: [wide], approvals: [{roles: [incident_commander]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 15m, step_up: true}
  - {tier: tier-1, when: [always], approvals: [{roles: [on_call]}], requester_may_approve: true, author_may_be_sole_approver: false, expires_after: 15m}
`

const shopCases = `apiVersion: backout.dev/v1
kind: PolicyCases
cases:
  - {name: little traffic, radius: {services: [payments], traffic_share: 0.1}, want: {tier: tier-1}}
  - {name: traffic not known, radius: {services: [payments]}, want: {tier: tier-2, outcome: waiting}}
`

// run runs a command of the CLI.
func run(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = Main(t.Context(), "backout", args, env, &out, &errs, nil)
	return status, out.String(), errs.String()
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	good := write(t, "policy.yaml", shopPolicy)
	status, out, _ := run(t, nil, "policy", "check", good)
	require.Equal(t, ExitOK, status)
	require.Regexp(t, `(?m)^policy sha256:[0-9a-f]{64}$`, out)
	require.Contains(t, out, "tier-2  wide    incident commander; expires after 15 min; with a second proof\n")

	status, out, _ = run(t, nil, "policy", "check")
	require.Equal(t, ExitOK, status, "without a configuration it is the default policy")
	require.Contains(t, out, "policy "+approvals.Default().Digest())

	bad := write(t, "policy.yaml", strings.Replace(shopPolicy, "> 0.5", "> 'x'", 1))
	config := write(t, "backout.yaml", "policy: "+bad+"\n")
	for _, args := range [][]string{{"policy", "check", bad}, {"policy", "check", "-c", config}, {"policy", "test", "--policy", bad, "cases.yaml"}} {
		status, out, errs := run(t, nil, args...)
		require.Equal(t, ExitUsage, status, args)
		require.Empty(t, out)
		require.Contains(t, errs, bad+":5:44: facts[0].cel: found no matching overload")
	}
	status, _, errs := run(t, nil, "policy", "check", filepath.Join(t.TempDir(), "none.yaml"))
	require.Equal(t, ExitUsage, status)
	require.Contains(t, errs, "none.yaml")
}

func TestPolicyCheckReadsTheCatalogueToo(t *testing.T) {
	t.Parallel()
	catalogue := write(t, "catalog-info.yaml", `apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: payments
  annotations: {backout.dev/tier: revenue, backout.dev/metrics: prom, backout.dev/traffic-share: "sum(rate("}
spec: {type: service, lifecycle: production, owner: shop}
`)
	status, _, errs := run(t, nil, "policy", "check", "-c", write(t, "backout.yaml", "catalogue: ["+catalogue+"]\n"))
	require.Equal(t, ExitUsage, status)
	require.Contains(t, errs, `check query for traffic_share of component "payments"`)
}

func TestPolicyTest(t *testing.T) {
	t.Parallel()
	policy, cases := write(t, "policy.yaml", shopPolicy), write(t, "cases.yaml", shopCases)
	status, out, _ := run(t, nil, "policy", "test", "--policy", policy, cases)
	require.Equal(t, ExitOK, status, out)
	require.Contains(t, out, "ok  little traffic     tier-1  waiting  waiting for the on-call of payments\n")
	require.Contains(t, out, "2 cases, 0 differ\n")

	wrong := write(t, "cases.yaml", strings.Replace(shopCases, "want: {tier: tier-1}", "want: {tier: tier-2}", 1))
	status, out, errs := run(t, nil, "policy", "test", "--policy", policy, wrong)
	require.Equal(t, ExitFailed, status)
	require.Contains(t, out, "DIFFERS  little traffic")
	require.Contains(t, out, wrong+`:4:5: little traffic: tier is "tier-1", want "tier-2"`)
	require.Contains(t, errs, "1 of 2 cases came out in another way")

	broken := write(t, "cases.yaml", strings.Replace(shopCases, "radius:", "raduis:", 1))
	status, _, errs = run(t, nil, "policy", "test", "--policy", policy, broken)
	require.Equal(t, ExitUsage, status)
	require.Contains(t, errs, broken+`:4:`)
	status, _, _ = run(t, nil, "policy", "test")
	require.Equal(t, ExitUsage, status)
}

func TestPolicySchemaAndInputs(t *testing.T) {
	t.Parallel()
	status, out, _ := run(t, nil, "policy", "schema")
	require.Equal(t, ExitOK, status)
	require.True(t, json.Valid([]byte(out)))
	status, out, _ = run(t, nil, "policy", "inputs")
	require.Equal(t, ExitOK, status)
	require.Contains(t, out, "radius.traffic_share")
}

func TestPolicyExplain(t *testing.T) {
	t.Parallel()
	plan := incident.Plan{Incident: "manual/1", Service: "payments", Actions: []incident.Action{{Kind: "nats.kv", Reversible: true}}}
	digest := incident.DigestOf([]byte("plan"))
	at := time.Now().UTC().Add(-time.Minute)
	vote := func(id, option string, role incident.Role) incident.Decision {
		return incident.Decision{
			ID: id, OptionID: option, PlanDigest: digest, Answer: incident.AnswerApprove, Person: incident.Person{ID: id, Name: id},
			Roles: []incident.Role{role}, Outcome: incident.OutcomeWaiting, At: at, PolicyDigest: approvals.Default().Digest(),
		}
	}
	view := incident.View{
		Key: "manual/1", Severity: incident.Sev2, Phase: incident.PhaseDeciding,
		Options: []incident.Option{
			{
				ID: "o1", Title: "back\x1b[31m", Plan: plan, Digest: digest, Tier: incident.TierOnCall, TierReason: "It changes one service.",
				Radius: incident.BlastRadius{Services: []incident.Reach{{Name: "payments"}}},
			},
			{
				ID: "o2", Plan: plan, Digest: digest, Tier: incident.TierOnCall, TierReason: "It changes one service.", Authors: []string{"Sam"}, Blocked: true,
				Radius: incident.BlastRadius{Services: []incident.Reach{{Name: "payments"}}, TrafficShare: &incident.Measured{Value: new(0.1)}},
			},
		},
		Decisions: []incident.Decision{vote("Ada", "o1", incident.RoleCommander), vote("Sam", "o2", incident.RoleOnCall)},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call bot.ViewCall
		if r.URL.Path != "/api/v1/view" || r.Header.Get("Authorization") != "Bearer secret" || json.NewDecoder(r.Body).Decode(&call) != nil || call.Key != "manual/1" {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(bot.Problem{Error: "there is no such incident"})
			return
		}
		_ = json.NewEncoder(w).Encode(view)
	}))
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("secret"), 0o600))
	env := []string{"BACKOUT_URL=" + server.URL, "BACKOUT_TOKEN_FILE=" + token}
	policy := write(t, "policy.yaml", shopPolicy)

	status, out, errs := run(t, env, "policy", "explain", "--policy", policy, "manual/1")
	require.Equal(t, ExitOK, status, errs)
	require.NotContains(t, out, "\x1b")
	for _, want := range []string{
		"note: decision \"Ada\" was judged by another policy",
		"  tier      tier-1: It changes one service.\n  now       tier-2: It changes one service, payments, touches no shared data and can be undone. Whether it touches most of the traffic is not known, which counts as yes.\n  not known wide\n",
		"  outcome   waiting: waiting for the incident commander, with a second proof in the console; Ada can not count, Ada approved without a second proof; use the console\n",
		"  no        Ada can not count",
		"  blocked   the preflight forbids it",
		"  outcome   waiting: waiting for the on-call of payments; Sam can not count, Sam wrote the change\n  pending   waiting for the on-call of payments\n  no        Sam can not count, Sam wrote the change\n",
	} {
		require.Contains(t, out, want)
	}
	status, _, errs = run(t, env, "policy", "explain", "manual/2")
	require.Equal(t, ExitFailed, status)
	require.Contains(t, errs, "there is no such incident")
}
