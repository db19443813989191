package approvals_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

// kim and the account that Unicode case folding takes for Kim's.
var (
	kim       = incident.Person{ID: "kim@example.com", Name: "Kim", Email: "kim@example.com", GitHubLogin: "kim"}
	lookAlike = incident.Person{ID: "\u212aim@example.com", Name: "Mallory", Email: "\u212aim@example.com", GitHubLogin: "mallory"}
)

func approvalOf(p incident.Person, after time.Duration, roles ...incident.Role) approvals.Vote {
	return approvals.Vote{Person: p, Roles: roles, Answer: incident.AnswerApprove, At: lookedAt.Add(after), PlanDigest: lookedDigest}
}

var (
	lookedAt     = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	lookedDigest = incident.DigestOf([]byte("plan"))
)

// An account that looks like another's is another person: it neither takes the
// place of that person's approval nor is held to what they did.
func TestLookAlikeIsAnotherPerson(t *testing.T) {
	t.Parallel()
	ask := func(requester incident.Person, votes ...approvals.Vote) approvals.Result {
		return approvals.Default().Evaluate(approvals.Request{
			Tier: incident.TierCommanderAndOwner, PlanDigest: lookedDigest, Requester: requester, Votes: votes, Now: lookedAt.Add(time.Minute),
		})
	}
	commander, owner := incident.RoleCommander, incident.RoleOwner
	for _, tt := range []struct {
		name  string
		other incident.Person
		want  incident.Outcome
	}{
		{"the very same", kim, incident.OutcomeWaiting},
		{"the same in capitals", incident.Person{ID: "KIM@example.com", Email: "KIM@EXAMPLE.com"}, incident.OutcomeWaiting},
		{"one account in common", incident.Person{ID: "k2", GitHubLogin: "Kim"}, incident.OutcomeWaiting},
		{"Kelvin sign", lookAlike, incident.OutcomeApproved},
		{"full width", incident.Person{ID: "\uff4bim@example.com"}, incident.OutcomeApproved},
		{"dotted I", incident.Person{ID: "k\u0130m@example.com"}, incident.OutcomeApproved},
		{"somebody else", incident.Person{ID: "bob@example.com"}, incident.OutcomeApproved},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ask(incident.Person{}, approvalOf(kim, 0, commander, owner), approvalOf(tt.other, time.Second, commander, owner))
			require.Equal(t, tt.want, got.Outcome, got.Sentence)
		})
	}
	got := ask(lookAlike, approvalOf(kim, 0, commander), approvalOf(incident.Person{ID: "bob@example.com"}, 0, owner))
	require.Equal(t, incident.OutcomeApproved, got.Outcome, "Kim asked for nothing: %s", got.Sentence)
	got = ask(kim, approvalOf(kim, 0, commander), approvalOf(incident.Person{ID: "bob@example.com"}, 0, owner))
	require.Equal(t, incident.OutcomeWaiting, got.Outcome, got.Sentence)
}

// Whoever a commit could be of is taken to have written it, look-alike or not: the
// spelling is the author's own choice.
func TestLookAlikeOfAnAuthorIsTheAuthor(t *testing.T) {
	t.Parallel()
	for _, author := range []string{"kim@example.com", "KIM@EXAMPLE.COM", "\u212aim@example.com", "\u212aim", "Mallory <\u212aIM@example.com>"} {
		got := approvals.Default().Evaluate(approvals.Request{
			Tier: incident.TierOnCall, PlanDigest: lookedDigest, ChangeAuthors: []string{author},
			Votes: []approvals.Vote{approvalOf(kim, 0, incident.RoleOnCall)}, Now: lookedAt.Add(time.Minute),
		})
		require.Equal(t, incident.OutcomeWaiting, got.Outcome, author)
		require.Contains(t, got.Sentence, "Kim wrote the change", author)
	}
}
