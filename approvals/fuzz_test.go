package approvals_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

// FuzzParsePolicy: whatever the bytes, a policy is refused with its file's name,
// or it gives every plan a tier that somebody can judge.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(defaultText(f)))
	f.Add([]byte(withConditions(fact("high", "radius.traffic_share > 0.2"), "deny:\n  - {cel: slo_burn < 1, reason: it does not burn}\n", "")))
	f.Add([]byte("facts:\n  - {name: a, cel: |\n"))
	f.Add([]byte(withConditions("facts:\n  - {name: high, cel: 'plan.actions.exists(a, a.path.matches(\"(a+)+$\"))', means: x}\n", "", "")))
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := approvals.ParsePolicy(approvals.File{Name: "fuzz.yaml", Content: content})
		if err != nil {
			require.ErrorContains(t, err, "fuzz.yaml:")
			return
		}
		require.True(t, incident.ValidDigest(p.Digest()))
		again, err := approvals.ParsePolicy(approvals.File{Name: "fuzz.yaml", Content: content})
		require.NoError(t, err)
		require.Equal(t, p.Digest(), again.Digest())
		for _, s := range []approvals.Situation{everything(), {Radius: incident.BlastRadius{Services: reach("a")}}} {
			j := p.Judge(s)
			require.GreaterOrEqual(t, j.Tier, incident.TierOnCall)
			require.LessOrEqual(t, j.Tier, incident.TierForbidden)
			require.NotEmpty(t, j.Reason)
		}
		require.Equal(t, incident.TierForbidden, p.Judge(approvals.Situation{}).Tier)
	})
}

// cast turns bytes into votes: three for each.
func cast(b []byte) []approvals.Vote {
	people := []incident.Person{ada, bob, sam, {ID: "ADA@example.com", Name: "Ada again"}, {ID: "requester@example.com"}, {}}
	var out []approvals.Vote
	for ; len(b) >= 3; b = b[3:] {
		v := approvals.Vote{
			Person: people[int(b[0])%len(people)], Answer: incident.AnswerApprove, At: now.Add(-time.Duration(b[1]%24) * time.Minute),
			PlanDigest: plan, BreakGlass: b[2]&1 != 0, SteppedUp: b[2]&2 != 0,
		}
		for i, role := range roles {
			if b[2]&(4<<i) != 0 {
				v.Roles = append(v.Roles, role)
			}
		}
		if b[2]&32 != 0 {
			v.Answer = incident.AnswerRefuse
		}
		if b[2]&64 != 0 {
			v.Reason = "because"
		}
		if b[2]&128 != 0 && b[0]&128 != 0 {
			v.PlanDigest = incident.DigestOf([]byte("other"))
		}
		out = append(out, v)
	}
	return out
}

// FuzzEvaluate holds the result against what must be true of every result.
func FuzzEvaluate(f *testing.F) {
	f.Add(uint8(0), uint8(0), []byte{0, 1, 8 | 2, 1, 1, 16 | 2})
	f.Add(uint8(1), uint8(30), []byte{0, 1, 8, 1, 1, 8 | 32 | 64})
	f.Add(uint8(2), uint8(0), []byte{2, 1, 4, 3, 1, 4, 0, 1, 4 | 1 | 64})
	f.Add(uint8(1), uint8(0), []byte{4, 1, 8, 5, 1, 8})
	policies := []*approvals.Policy{approvals.Default(), steppedUp(f)}
	f.Fuzz(func(t *testing.T, tier, void uint8, b []byte) {
		for _, p := range policies {
			r := request(incident.Tier(tier%5), cast(b)...)
			if void > 0 {
				r.VoidBefore = now.Add(-time.Duration(void%24) * time.Minute)
			}
			checkResult(t, p, r)
		}
	})
}

func checkResult(t *testing.T, p *approvals.Policy, r approvals.Request) {
	t.Helper()
	got := p.Evaluate(r)
	require.Len(t, got.Votes, len(r.Votes))
	require.NotEmpty(t, got.Sentence)
	i := slices.IndexFunc(p.Rules(), func(rule approvals.Rule) bool { return rule.Tier == r.Tier })
	if i < 0 {
		require.Equal(t, incident.OutcomeDenied, got.Outcome)
		return
	}
	rule := p.Rules()[i]
	named := slices.Concat(rule.Quorum...)
	refusers := append(slices.Clone(named), incident.RoleCommander)
	has := func(v approvals.Vote, wanted []incident.Role) bool {
		return slices.ContainsFunc(v.Roles, func(h incident.Role) bool { return slices.Contains(wanted, h) })
	}
	of := func(v approvals.Vote) bool { return v.Person.ID != "" && v.PlanDigest == r.PlanDigest }

	// A refusal with authority and a reason wins over everything.
	refused := slices.ContainsFunc(r.Votes, func(v approvals.Vote) bool {
		return of(v) && v.Answer == incident.AnswerRefuse && v.Reason != "" && has(v, refusers)
	})
	require.Equal(t, refused, got.Outcome == incident.OutcomeRefused)

	if got.Outcome == incident.OutcomeApproved {
		// Each approver gave a fresh answer that may count, and nobody is there twice.
		for j, who := range got.Approvers {
			require.True(t, slices.ContainsFunc(r.Votes, func(v approvals.Vote) bool {
				return v.Person == who && of(v) && v.Answer == incident.AnswerApprove && v.BreakGlass == got.BreakGlass &&
					!v.At.Before(r.VoidBefore) && r.Now.Sub(v.At) <= p.Expiry(r.Tier) && (v.SteppedUp || !p.StepUp(r.Tier)) &&
					(has(v, named) || got.BreakGlass && has(v, []incident.Role{incident.RoleOnCall}) && v.Reason != "")
			}), "%s %+v", who.ID, r.Votes)
			for _, other := range got.Approvers[:j] {
				require.NotEqual(t, strings.ToLower(who.ID), strings.ToLower(other.ID))
			}
			if !got.BreakGlass && !rule.RequesterMayApprove {
				require.NotEqual(t, r.Requester.ID, who.ID)
			}
		}
		if got.BreakGlass {
			require.Len(t, got.Approvers, 1)
		} else {
			require.Len(t, got.Approvers, len(rule.Quorum))
			require.True(t, slices.ContainsFunc(got.Approvers, func(a incident.Person) bool { return a.GitHubLogin != "sammy" }), "the author alone")
		}
	}

	// Somebody without a role changes nothing, whatever they say.
	for _, v := range []approvals.Vote{approve(incident.Person{ID: "eve@example.com"}), refuse(incident.Person{ID: "eve@example.com"}), glass(incident.Person{ID: "eve@example.com"}, "fire"), proven(approve(incident.Person{ID: "eve@example.com"}))} {
		more := r
		more.Votes = append(slices.Clone(r.Votes), v)
		with := p.Evaluate(more)
		require.Equal(t, got.Outcome, with.Outcome)
		require.Equal(t, got.Approvers, with.Approvers)
		require.Equal(t, got.Waiting, with.Waiting)
		require.False(t, with.Votes[len(r.Votes)].Counts)
	}
}
