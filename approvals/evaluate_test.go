package approvals_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

var (
	now  = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	plan = incident.DigestOf([]byte("plan"))

	ada   = incident.Person{ID: "ada@example.com", Name: "Ada", GitHubLogin: "ada-l"}
	bob   = incident.Person{ID: "bob@example.com", Name: "Bob"}
	sam   = incident.Person{ID: "sam@example.com", Name: "Sam", Email: "sam@example.com", GitHubLogin: "sammy"}
	roles = []incident.Role{incident.RoleOnCall, incident.RoleCommander, incident.RoleOwner}
)

func approve(p incident.Person, roles ...incident.Role) approvals.Vote {
	return approvals.Vote{Person: p, Roles: roles, Answer: incident.AnswerApprove, At: now.Add(-time.Minute), PlanDigest: plan}
}

func refuse(p incident.Person, roles ...incident.Role) approvals.Vote {
	v := approve(p, roles...)
	v.Answer, v.Reason = incident.AnswerRefuse, "too risky"
	return v
}

func glass(p incident.Person, reason string, roles ...incident.Role) approvals.Vote {
	v := approve(p, roles...)
	v.BreakGlass, v.Reason = true, reason
	return v
}

func edited(v approvals.Vote, edit func(*approvals.Vote)) approvals.Vote {
	edit(&v)
	return v
}

func request(tier incident.Tier, votes ...approvals.Vote) approvals.Request {
	return approvals.Request{
		Tier: tier, PlanDigest: plan, Services: []string{"payments"}, Requester: incident.Person{ID: "requester@example.com"},
		ChangeAuthors: []string{"sammy"}, Votes: votes, Now: now,
	}
}

func TestEvaluateSentences(t *testing.T) {
	t.Parallel()
	const (
		onCall, commander, owner = incident.RoleOnCall, incident.RoleCommander, incident.RoleOwner
		t1, t2, t3               = incident.TierOnCall, incident.TierCommander, incident.TierCommanderAndOwner
	)
	for _, tt := range []struct {
		name     string
		request  approvals.Request
		outcome  incident.Outcome
		sentence string
	}{
		{"nobody yet", request(t3), incident.OutcomeWaiting, "waiting for the incident commander and an owner of payments"},
		{"tier 1", request(t1, approve(ada, onCall)), incident.OutcomeApproved, "on-call approved (Ada)"},
		{"tier 2", request(t2, approve(ada, commander)), incident.OutcomeApproved, "incident commander approved (Ada)"},
		{"half of tier 3, and the author", request(t3, approve(ada, commander), approve(sam, onCall)), incident.OutcomeWaiting, "incident commander approved (Ada); waiting for an owner of payments; Sam can not count, Sam is not incident commander or service owner"},
		{"the author alone", request(t2, approve(sam, commander)), incident.OutcomeWaiting, "waiting for the incident commander; Sam can not count, Sam wrote the change"},
		{"the author beside another", request(t3, approve(ada, commander), approve(sam, owner)), incident.OutcomeApproved, "incident commander approved (Ada); service owner approved (Sam)"},
		{"one person with both roles", request(t3, approve(ada, commander, owner)), incident.OutcomeWaiting, "incident commander approved (Ada); waiting for an owner of payments"},
		{"roles that must be shared out", request(t3, approve(ada, commander, owner), approve(bob, commander)), incident.OutcomeApproved, "incident commander approved (Bob); service owner approved (Ada)"},
		{"refusal wins over a full quorum", request(t3, approve(ada, commander), approve(bob, owner), refuse(sam, owner)), incident.OutcomeRefused, "service owner refused (Sam)"},
		{"refusal wins over break-glass", request(t2, glass(ada, "fire", onCall), refuse(bob, commander)), incident.OutcomeRefused, "incident commander refused (Bob)"},
		{"refusal without a reason", request(t2, approve(ada, commander), edited(refuse(bob, commander), func(v *approvals.Vote) { v.Reason = " " })), incident.OutcomeApproved, "incident commander approved (Ada)"},
		{"refusal without authority", request(t2, approve(ada, commander), refuse(bob)), incident.OutcomeApproved, "incident commander approved (Ada)"},
		{"the incident commander may always refuse", request(t1, approve(ada, onCall), refuse(bob, commander)), incident.OutcomeRefused, "incident commander refused (Bob)"},
		{"break-glass", request(t3, glass(sam, "all orders fail", onCall)), incident.OutcomeApproved, "on-call broke the glass (Sam); to be reviewed"},
		{"break-glass without a reason", request(t3, glass(ada, " ", onCall)), incident.OutcomeWaiting, "waiting for the incident commander and an owner of payments; Ada can not break the glass without a reason"},
		{"break-glass by somebody not on call", request(t3, glass(ada, "fire", owner)), incident.OutcomeWaiting, "waiting for the incident commander and an owner of payments; Ada can not break the glass, Ada is not on-call"},
		{"expired", request(t2, edited(approve(ada, commander), func(v *approvals.Vote) { v.At = now.Add(-16 * time.Minute) })), incident.OutcomeWaiting, "waiting for the incident commander; Ada can not count, the approval expired after 15 min"},
		{"expired, then given again", request(t2, edited(approve(ada, commander), func(v *approvals.Vote) { v.At = now.Add(-16 * time.Minute) }), approve(ada, commander)), incident.OutcomeApproved, "incident commander approved (Ada)"},
		{"another version of the plan", request(t2, edited(approve(ada, commander), func(v *approvals.Vote) { v.PlanDigest = incident.DigestOf(nil) })), incident.OutcomeWaiting, "waiting for the incident commander; Ada can not count, Ada answered another version of the plan"},
		{"a refusal does not expire", request(t2, edited(refuse(ada, commander), func(v *approvals.Vote) { v.At = now.Add(-time.Hour) }), approve(bob, commander)), incident.OutcomeRefused, "incident commander refused (Ada)"},
		{"dated in the future", request(t2, edited(approve(ada, commander), func(v *approvals.Vote) { v.At = now.Add(time.Hour) })), incident.OutcomeWaiting, "waiting for the incident commander; Ada can not count, the answer is not dated in the past"},
		{"nobody in particular", request(t2, approve(incident.Person{Name: "Ada"}, commander)), incident.OutcomeWaiting, "waiting for the incident commander; somebody who is not exactly one known person can not count"},
		{"neither yes nor no", request(t2, edited(approve(ada, commander), func(v *approvals.Vote) { v.Answer = "" })), incident.OutcomeWaiting, "waiting for the incident commander; Ada can not count, the answer is neither approve nor refuse"},
		{"the role is not held", request(t2, approve(ada, onCall)), incident.OutcomeWaiting, "waiting for the incident commander; Ada can not count, Ada is not incident commander"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := approvals.Default().Evaluate(tt.request)
			require.Equal(t, tt.sentence, got.Sentence)
			require.Equal(t, tt.outcome, got.Outcome)
			require.Equal(t, approvals.Default().Digest(), got.PolicyDigest)
			require.Len(t, got.Votes, len(tt.request.Votes))
			for _, v := range got.Votes {
				require.NotEmpty(t, v.Outcome)
				require.NotEmpty(t, v.Sentence)
			}
			require.Equal(t, got.Outcome == incident.OutcomeApproved, len(got.Approvers) > 0)
			require.Equal(t, got.Outcome == incident.OutcomeWaiting, got.Waiting != "")
		})
	}
}

func TestEvaluateRequesterAndHandover(t *testing.T) {
	t.Parallel()
	r := request(incident.TierCommander, approve(ada, incident.RoleCommander))
	r.Requester = incident.Person{ID: "someone", GitHubLogin: "ADA-L"}
	got := approvals.Default().Evaluate(r)
	require.Equal(t, incident.OutcomeWaiting, got.Outcome, "the same human under another ID")
	require.Equal(t, approvals.VoteResult{Outcome: incident.OutcomeDenied, Sentence: "Ada can not count, Ada asked for it"}, got.Votes[0])

	r.Tier, r.Votes = incident.TierOnCall, []approvals.Vote{approve(ada, incident.RoleOnCall)}
	require.Equal(t, incident.OutcomeApproved, approvals.Default().Evaluate(r).Outcome, "tier 1 is pre-authorized")

	r = request(incident.TierCommander, approve(ada, incident.RoleCommander))
	r.VoidBefore = now.Add(-30 * time.Second)
	got = approvals.Default().Evaluate(r)
	require.Equal(t, incident.OutcomeWaiting, got.Outcome)
	require.Equal(t, incident.OutcomeStale, got.Votes[0].Outcome)
	require.Contains(t, got.Sentence, "handover of command")
}

func TestEvaluateAuthorIsFoundHoweverSpelled(t *testing.T) {
	t.Parallel()
	for _, spelled := range []string{"sammy", "@Sammy", "sam@example.com", "SAM@example.com", "sam", "Sam", "Sam Smith <sam@example.com>", "123+sammy@users.noreply.github.com", "sammy@users.noreply.github.com"} {
		r := request(incident.TierCommander, approve(sam, incident.RoleCommander))
		r.ChangeAuthors = []string{"somebody", spelled}
		require.Equal(t, incident.OutcomeWaiting, approvals.Default().Evaluate(r).Outcome, spelled)
	}
	for _, spelled := range []string{"", "<>", "samuel", "ada", "sam@elsewhere.com", "@"} {
		r := request(incident.TierCommander, approve(sam, incident.RoleCommander))
		r.ChangeAuthors = []string{spelled}
		require.Equal(t, incident.OutcomeApproved, approvals.Default().Evaluate(r).Outcome, spelled)
	}
}

func TestEvaluateDeniesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, tier := range []incident.Tier{incident.TierUnknown, incident.TierForbidden, 99, -1} {
		got := approvals.Default().Evaluate(request(tier, approve(ada, roles...), approve(bob, roles...), glass(sam, "fire", roles...)))
		require.Equal(t, incident.OutcomeDenied, got.Outcome, tier)
		require.Equal(t, approvals.StatusDenied, got.Tree.Status)
		require.Empty(t, got.Approvers)
	}
	noDigest := request(incident.TierOnCall, edited(approve(ada, roles...), func(v *approvals.Vote) { v.PlanDigest = "" }))
	noDigest.PlanDigest = ""
	require.Equal(t, incident.OutcomeDenied, approvals.Default().Evaluate(noDigest).Outcome)
	noTime := request(incident.TierOnCall, approve(ada, roles...))
	noTime.Now = time.Time{}
	require.Equal(t, incident.OutcomeDenied, approvals.Default().Evaluate(noTime).Outcome)
}

func TestEvaluateTree(t *testing.T) {
	t.Parallel()
	got := approvals.Default().Evaluate(request(incident.TierCommanderAndOwner, approve(sam), approve(ada, incident.RoleCommander)))
	require.Equal(t, approvals.Node{
		Status:   approvals.StatusPending,
		Sentence: "incident commander approved (Ada); waiting for an owner of payments; Sam can not count, Sam is not incident commander or service owner",
		Children: []approvals.Node{
			{Status: approvals.StatusSatisfied, Sentence: "incident commander approved (Ada)"},
			{Status: approvals.StatusPending, Sentence: "waiting for an owner of payments"},
		},
		Dismissed: []approvals.Dismissal{{Vote: 0, Person: "Sam", Reason: "Sam can not count, Sam is not incident commander or service owner"}},
	}, got.Tree)
	require.Equal(t, approvals.VoteResult{Outcome: incident.OutcomeDenied, Sentence: got.Tree.Dismissed[0].Reason}, got.Votes[0])
	require.True(t, got.Votes[1].Counts)
	require.Equal(t, incident.OutcomeWaiting, got.Votes[1].Outcome)
}

// TestMatrix tries every single vote there is: role, tier, who, and how old,
// and holds the result against what the policy's own rules say.
func TestMatrix(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, rule := range approvals.Default().Rules() {
		for bits := range 8 {
			var held []incident.Role
			for i, role := range roles {
				if bits&(1<<i) != 0 {
					held = append(held, role)
				}
			}
			for _, who := range []string{"bystander", "requester", "author", "requester and author"} {
				for _, age := range []string{"fresh", "expired", "other digest", "voided"} {
					for _, answer := range []string{"approve", "refuse", "break-glass"} {
						tried++
						r := request(rule.Tier)
						v := approve(ada, held...)
						r.ChangeAuthors = nil
						if who == "requester" || who == "requester and author" {
							r.Requester = ada
						}
						if who == "author" || who == "requester and author" {
							r.ChangeAuthors = []string{"ada-l"}
						}
						switch age {
						case "expired":
							v.At = now.Add(-approvals.Default().Expiry(rule.Tier) - time.Second)
						case "other digest":
							v.PlanDigest = incident.DigestOf([]byte("other"))
						case "voided":
							r.VoidBefore = now
						}
						switch answer {
						case "refuse":
							v.Answer, v.Reason = incident.AnswerRefuse, "no"
						case "break-glass":
							v.BreakGlass, v.Reason = true, "fire"
						}
						r.Votes = []approvals.Vote{v}
						got := approvals.Default().Evaluate(r)

						name := fmt.Sprintf("%s %v %s %s %s", rule.Tier, held, who, age, answer)
						require.Equal(t, expected(rule, held, who, age, answer), got.Outcome, name)
						require.Equal(t, answer == "break-glass" && got.Outcome == incident.OutcomeApproved, got.BreakGlass, name)
					}
				}
			}
		}
	}
	require.Equal(t, 3*8*4*4*3, tried)
}

// expected is the requirement in other words than the implementation's.
func expected(rule approvals.Rule, held []incident.Role, who, age, answer string) incident.Outcome {
	named := slices.Concat(rule.Quorum...)
	has := func(wanted []incident.Role) bool {
		return slices.ContainsFunc(wanted, func(r incident.Role) bool { return slices.Contains(held, r) })
	}
	isRequester := who == "requester" || who == "requester and author"
	isAuthor := who == "author" || who == "requester and author"
	switch {
	case age == "other digest":
		return incident.OutcomeWaiting
	case answer == "refuse":
		if has(append(named, incident.RoleCommander)) {
			return incident.OutcomeRefused
		}
		return incident.OutcomeWaiting
	case age != "fresh":
		return incident.OutcomeWaiting
	case answer == "break-glass":
		if slices.Contains(held, incident.RoleOnCall) {
			return incident.OutcomeApproved
		}
		return incident.OutcomeWaiting
	case len(rule.Quorum) > 1 || !has(named):
		return incident.OutcomeWaiting
	case isRequester && !rule.RequesterMayApprove, isAuthor && !rule.AuthorMayBeSole:
		return incident.OutcomeWaiting
	default:
		return incident.OutcomeApproved
	}
}

// TestNoSequenceSatisfiesWithoutDistinctRoles throws random votes at every
// tier and checks an approval by brute force over who could have filled what.
func TestNoSequenceSatisfiesWithoutDistinctRoles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	people := []incident.Person{ada, bob, sam, {ID: "ADA@example.com", Name: "Ada again"}, {ID: "x", GitHubLogin: "sammy"}, {}}
	human := []int{0, 1, 2, 0, 2, -1}
	approved := 0
	for range 8000 {
		rules := approvals.Default().Rules()
		rule := rules[r.IntN(len(rules))]
		req := request(rule.Tier)
		if r.IntN(2) == 0 {
			req.Requester = people[r.IntN(3)]
		}
		heldBy := map[int][]incident.Role{}
		refused := false
		for range r.IntN(6) {
			i := r.IntN(len(people))
			var held []incident.Role
			for _, role := range roles {
				if r.IntN(3) == 0 {
					held = append(held, role)
				}
			}
			v := approve(people[i], held...)
			usable := human[i] >= 0
			switch r.IntN(8) {
			case 0:
				v.At, usable = now.Add(-time.Hour), false
			case 1:
				v.PlanDigest, usable = incident.DigestOf([]byte("x")), false
			case 2:
				v.Answer, v.Reason = incident.AnswerRefuse, "no"
				named := append(slices.Concat(rule.Quorum...), incident.RoleCommander)
				refused = refused || usable && slices.ContainsFunc(held, func(h incident.Role) bool { return slices.Contains(named, h) })
				usable = false
			}
			if usable {
				heldBy[human[i]] = append(heldBy[human[i]], held...)
			}
			req.Votes = append(req.Votes, v)
		}
		got := approvals.Default().Evaluate(req)
		if refused {
			require.Equal(t, incident.OutcomeRefused, got.Outcome)
		}
		if got.Outcome != incident.OutcomeApproved {
			continue
		}
		approved++
		require.Len(t, got.Approvers, len(rule.Quorum))
		if !rule.RequesterMayApprove {
			for i := range 3 {
				if people[i].ID == req.Requester.ID {
					delete(heldBy, i)
				}
			}
		}
		require.True(t, fillable(rule.Quorum, heldBy, nil), "%v %+v", rule.Tier, req.Votes)
		require.False(t, len(rule.Quorum) == 1 && got.Approvers[0].GitHubLogin == "sammy", "the author is not the sole approver")
	}
	require.Greater(t, approved, 200)
}

// fillable reports whether different humans, not all of them the author (2),
// can fill the quorum.
func fillable(quorum [][]incident.Role, heldBy map[int][]incident.Role, used []int) bool {
	if len(quorum) == 0 {
		return slices.ContainsFunc(used, func(h int) bool { return h != 2 })
	}
	for h, held := range heldBy {
		if slices.Contains(used, h) || !slices.ContainsFunc(held, func(r incident.Role) bool { return slices.Contains(quorum[0], r) }) {
			continue
		}
		if fillable(quorum[1:], heldBy, append(slices.Clone(used), h)) {
			return true
		}
	}
	return false
}

func TestTwoAuthorsAreNotEnough(t *testing.T) {
	t.Parallel()
	r := request(incident.TierCommanderAndOwner, approve(ada, incident.RoleCommander), approve(sam, incident.RoleOwner))
	r.ChangeAuthors = []string{"sammy", "ada-l"}
	got := approvals.Default().Evaluate(r)
	require.Equal(t, incident.OutcomeWaiting, got.Outcome)
	require.Equal(t, "somebody who did not write the change", got.Waiting)
	r.Votes = append(r.Votes, approve(bob, incident.RoleOwner))
	got = approvals.Default().Evaluate(r)
	require.Equal(t, incident.OutcomeApproved, got.Outcome)
	require.Equal(t, []incident.Person{ada, bob}, got.Approvers)
	require.Equal(t, "Sam is not needed, service owner had approved already", got.Votes[1].Sentence)
}
