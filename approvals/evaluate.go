package approvals

import (
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Vote is one recorded answer of one person to one plan digest.
type Vote struct {
	Person incident.Person
	// Roles are those the person held at the moment of the vote.
	Roles      []incident.Role
	Answer     incident.Answer
	At         time.Time
	PlanDigest string
	// Reason is required for a refusal and for break-glass.
	Reason     string
	BreakGlass bool
	// SteppedUp says that the person gave a second proof while they saw this very
	// plan.
	SteppedUp bool
}

// Request is everything that an evaluation looks at.
type Request struct {
	Tier       incident.Tier
	PlanDigest string
	// Services name the services of the plan, for the sentences.
	Services []string
	// Requester asked for the plan; zero when Backout itself offered it.
	Requester incident.Person
	// ChangeAuthors made the change that the plan undoes, as its source spells
	// them: login, e-mail or ID.
	ChangeAuthors []string
	// Votes are in the order in which they were recorded.
	Votes []Vote
	// VoidBefore voids approvals that were given earlier, such as before a
	// handover of command; zero voids none.
	VoidBefore time.Time
	Now        time.Time
}

// Status is how a node of the result stands. The zero value is invalid.
type Status string

// The statuses.
const (
	StatusSatisfied Status = "satisfied"
	StatusPending   Status = "pending"
	StatusDenied    Status = "denied"
	StatusRefused   Status = "refused"
)

// Node is one requirement of the policy and how it stands.
type Node struct {
	Status Status `json:"status"`
	// Sentence is for people.
	Sentence  string      `json:"sentence"`
	Children  []Node      `json:"children,omitempty"`
	Dismissed []Dismissal `json:"dismissed,omitempty"`
}

// Dismissal is a vote that does not count, and why.
type Dismissal struct {
	// Vote is the index in Request.Votes.
	Vote   int    `json:"vote"`
	Person string `json:"person"`
	// Reason is one clause, such as "Sam wrote the change".
	Reason string `json:"reason"`
}

// VoteResult is what became of one vote, for the person who cast it.
type VoteResult struct {
	Counts   bool             `json:"counts"`
	Outcome  incident.Outcome `json:"outcome"`
	Sentence string           `json:"sentence"`
}

// Result is what the policy makes of the votes.
type Result struct {
	// Outcome is approved, waiting, refused or denied.
	Outcome incident.Outcome `json:"outcome"`
	// Sentence says all of it in one line for people.
	Sentence string `json:"sentence"`
	// Waiting is what is still needed; empty unless Outcome is waiting.
	Waiting string `json:"waiting,omitempty"`
	Tree    Node   `json:"tree"`
	// Votes has one result for each vote of the request, in their order.
	Votes []VoteResult `json:"votes,omitempty"`
	// Approvers are the people whose votes fill the quorum.
	Approvers []incident.Person `json:"approvers,omitempty"`
	// BreakGlass says that it was satisfied by break-glass, to be reviewed.
	BreakGlass bool `json:"break_glass,omitempty"`
	// ObjectionsUntil is until when an approved rollback has to wait for
	// objections; zero for not at all.
	ObjectionsUntil time.Time `json:"objections_until,omitzero"`
	// ExpiresAt is when the first approval that fills the quorum expires; zero
	// unless a rollback has to wait for objections.
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	PolicyDigest string    `json:"policy_digest"`
}

// clockSkew is how far into the future a vote may be dated by another host.
const clockSkew = time.Minute

// ballot is a vote on its way through the evaluation.
type ballot struct {
	Vote
	index  int
	author bool
}

// evaluation is one run of Evaluate.
type evaluation struct {
	policy  *Policy
	request Request
	rule    rule
	result  Result
	// approving are the ballots that may fill the quorum, glass those that ask
	// for break-glass, refusing those that refuse.
	approving, glass, refusing []ballot
}

// Evaluate applies the policy to the votes. It is a pure function of its
// arguments. A refusal by somebody with authority wins; then a full quorum of
// distinct people; then break-glass; otherwise it waits, and says for whom.
func (p *Policy) Evaluate(r Request) Result {
	e := &evaluation{policy: p, request: r, result: Result{PolicyDigest: p.digest, Votes: make([]VoteResult, len(r.Votes))}}
	rule, ok := p.rule(r.Tier)
	switch {
	case !ok:
		return e.deny("no rule of the policy lets anybody approve a plan of tier " + r.Tier.String())
	case !incident.ValidDigest(r.PlanDigest):
		return e.deny("the plan has no digest that could be approved")
	case r.Now.IsZero():
		return e.deny("the time is not known, so no approval can be told from an expired one")
	}
	e.rule = rule
	for i, v := range r.Votes {
		e.sort(ballot{Vote: v, index: i, author: wrote(r.ChangeAuthors, v.Person)})
	}
	return e.conclude()
}

func (e *evaluation) deny(reason string) Result {
	e.result.Outcome, e.result.Sentence = incident.OutcomeDenied, reason
	e.result.Tree = Node{Status: StatusDenied, Sentence: reason}
	for i := range e.result.Votes {
		e.result.Votes[i] = VoteResult{Outcome: incident.OutcomeDenied, Sentence: reason}
	}
	return e.result
}

// dismiss records why a vote does not count.
func (e *evaluation) dismiss(b ballot, outcome incident.Outcome, reason string) {
	e.result.Tree.Dismissed = append(e.result.Tree.Dismissed, Dismissal{Vote: b.index, Person: callName(b.Person), Reason: reason})
	e.result.Votes[b.index] = VoteResult{Outcome: outcome, Sentence: reason}
}

// sort puts a vote where it belongs, or dismisses it.
func (e *evaluation) sort(b ballot) {
	who := callName(b.Person)
	switch {
	case b.Person.ID == "":
		e.dismiss(b, incident.OutcomeUnidentified, "somebody who is not exactly one known person can not count")
	case b.PlanDigest != e.request.PlanDigest:
		e.dismiss(b, incident.OutcomeStale, who+" can not count, "+who+" answered another version of the plan")
	case b.At.IsZero() || b.At.After(e.request.Now.Add(clockSkew)):
		e.dismiss(b, incident.OutcomeDenied, who+" can not count, the answer is not dated in the past")
	case b.Answer == incident.AnswerRefuse:
		if !overlap(b.Roles, e.refusers()) {
			e.dismiss(b, incident.OutcomeDenied, who+" can not refuse, "+who+" is not "+orRoles(e.refusers()))
			return
		}
		if strings.TrimSpace(b.Reason) == "" {
			e.dismiss(b, incident.OutcomeDenied, who+" can not refuse without a reason")
			return
		}
		e.refusing = append(e.refusing, b)
	case b.Answer != incident.AnswerApprove:
		e.dismiss(b, incident.OutcomeDenied, who+" can not count, the answer is neither approve nor refuse")
	case e.request.Now.Sub(b.At) > e.rule.ExpiresAfter:
		e.dismiss(b, incident.OutcomeStale, who+" can not count, the approval expired after "+minutes(e.rule.ExpiresAfter))
	case b.At.Before(e.request.VoidBefore):
		e.dismiss(b, incident.OutcomeStale, who+" can not count, the approval was voided by a handover of command")
	case b.BreakGlass:
		e.sortGlass(b, who)
	case !overlap(b.Roles, e.roles()):
		e.dismiss(b, incident.OutcomeDenied, who+" can not count, "+who+" is not "+orRoles(e.roles()))
	case !e.rule.RequesterMayApprove && samePerson(b.Person, e.request.Requester):
		e.dismiss(b, incident.OutcomeDenied, who+" can not count, "+who+" asked for it")
	case b.author && !e.rule.AuthorMayBeSole && len(e.rule.Quorum) == 1:
		e.dismiss(b, incident.OutcomeDenied, who+" can not count, "+who+" wrote the change")
	case e.rule.StepUp && !b.SteppedUp:
		e.dismiss(b, incident.OutcomeDenied, noSecondProof(who))
	default:
		e.replace(b)
	}
}

// noSecondProof is why an answer does not count in a tier that asks for a step-up.
func noSecondProof(who string) string {
	return who + " can not count, " + who + " approved without a second proof; use the console"
}

func (e *evaluation) sortGlass(b ballot, who string) {
	g := e.policy.breakGlass
	switch {
	case g == nil || !slices.Contains(g.Tiers, e.rule.Tier):
		e.dismiss(b, incident.OutcomeDenied, "the policy has no break-glass for "+e.rule.Tier.String())
	case !overlap(b.Roles, g.Roles):
		e.dismiss(b, incident.OutcomeDenied, who+" can not break the glass, "+who+" is not "+orRoles(g.Roles))
	case strings.TrimSpace(b.Reason) == "":
		e.dismiss(b, incident.OutcomeDenied, who+" can not break the glass without a reason")
	case e.rule.StepUp && !b.SteppedUp:
		e.dismiss(b, incident.OutcomeDenied, noSecondProof(who))
	default:
		e.glass = append(e.glass, b)
	}
}

// replace takes an approval in place of an earlier one of the same person.
func (e *evaluation) replace(b ballot) {
	kept := e.approving[:0:0]
	for _, old := range e.approving {
		if samePerson(old.Person, b.Person) {
			e.dismiss(old, incident.OutcomeDuplicate, callName(b.Person)+" counts once, by the latest approval")
			continue
		}
		kept = append(kept, old)
	}
	e.approving = append(kept, b)
}

// roles are those that the quorum names.
func (e *evaluation) roles() []incident.Role {
	var out []incident.Role
	for _, s := range e.rule.Quorum {
		for _, r := range s.Roles {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// refusers are the roles that may refuse: those that may approve, and always
// the incident commander.
func (e *evaluation) refusers() []incident.Role {
	roles := e.roles()
	if !slices.Contains(roles, incident.RoleCommander) {
		roles = append(roles, incident.RoleCommander)
	}
	return roles
}
