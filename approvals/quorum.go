package approvals

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// fill assigns approving ballots to the slots of the quorum, as many as
// possible, each person once, preferring people who did not write the change.
// The result holds for each slot an index into e.approving, or -1.
func (e *evaluation) fill() []int {
	order := make([]int, 0, len(e.approving))
	for _, author := range []bool{false, true} {
		for i, b := range e.approving {
			if b.author == author {
				order = append(order, i)
			}
		}
	}
	slots := make([]int, len(e.rule.Quorum))
	for i := range slots {
		slots[i] = -1
	}
	// Augmenting paths: a person who got a slot keeps one, so that going first
	// is being preferred.
	var place func(person int, tried []bool) bool
	place = func(person int, tried []bool) bool {
		for s, want := range e.rule.Quorum {
			if tried[s] || !overlap(e.approving[person].Roles, want.Roles) {
				continue
			}
			tried[s] = true
			if slots[s] < 0 || place(slots[s], tried) {
				slots[s] = person
				return true
			}
		}
		return false
	}
	for _, person := range order {
		place(person, make([]bool, len(slots)))
	}
	return slots
}

// conclude works out the result from the sorted ballots.
func (e *evaluation) conclude() Result {
	slots := e.fill()
	full, independent := true, e.rule.AuthorMayBeSole
	tree := &e.result.Tree
	var said, waiting []string
	var counted []ballot
	for s, want := range e.rule.Quorum {
		if slots[s] < 0 {
			full = false
			need := e.need(want)
			waiting = append(waiting, need)
			tree.Children = append(tree.Children, Node{Status: StatusPending, Sentence: "waiting for " + need})
			continue
		}
		b := e.approving[slots[s]]
		independent = independent || !b.author
		counted = append(counted, b)
		line := fmt.Sprintf("%s approved (%s)", roleName(heldRole(b, want)), callName(b.Person))
		said = append(said, line)
		tree.Children = append(tree.Children, Node{Status: StatusSatisfied, Sentence: line})
	}
	if full && !independent {
		full = false
		need := "somebody who did not write the change"
		waiting = append(waiting, need)
		tree.Children = append(tree.Children, Node{Status: StatusPending, Sentence: "waiting for " + need})
	}
	for i, b := range e.approving {
		if !slices.Contains(slots, i) {
			e.dismiss(b, incident.OutcomeWaiting, callName(b.Person)+" is not needed, "+orRoles(b.Roles)+" had approved already")
		}
	}
	if e.rule.StepUp && len(waiting) > 0 {
		waiting[len(waiting)-1] += ", with a second proof in the console"
	}
	if len(waiting) > 0 {
		said = append(said, "waiting for "+strings.Join(waiting, " and "))
	}
	switch {
	case len(e.refusing) > 0:
		b := e.refusing[0]
		line := fmt.Sprintf("%s refused (%s)", roleName(firstRole(b.Roles, e.refusers())), callName(b.Person))
		tree.Children = append([]Node{{Status: StatusRefused, Sentence: line}}, tree.Children...)
		e.finish(incident.OutcomeRefused, StatusRefused, []string{line}, counted)
	case full && (len(e.glass) == 0 || e.rule.ObjectionWindow <= 0):
		// A plan that would wait for objections does not where somebody broke the
		// glass.
		e.approve(counted)
		e.objections(counted)
		e.finish(incident.OutcomeApproved, StatusSatisfied, said, counted)
	case len(e.glass) > 0:
		b := e.glass[0]
		line := fmt.Sprintf("%s broke the glass (%s); to be reviewed", roleName(firstRole(b.Roles, e.policy.breakGlass.Roles)), callName(b.Person))
		tree.Children = append([]Node{{Status: StatusSatisfied, Sentence: line}}, tree.Children...)
		e.result.BreakGlass = true
		e.approve([]ballot{b})
		e.finish(incident.OutcomeApproved, StatusSatisfied, []string{line}, counted)
	default:
		e.result.Waiting = strings.Join(waiting, " and ")
		e.finish(incident.OutcomeWaiting, StatusPending, said, counted)
	}
	return e.result
}

// objections lets a rollback wait from its last approval on, where the policy
// says so. Break-glass does not wait.
func (e *evaluation) objections(by []ballot) {
	if e.rule.ObjectionWindow <= 0 {
		return
	}
	for _, b := range by {
		if until := b.At.Add(e.rule.ObjectionWindow); until.After(e.result.ObjectionsUntil) {
			e.result.ObjectionsUntil = until
		}
		if at := b.At.Add(e.rule.ExpiresAfter); e.result.ExpiresAt.IsZero() || at.Before(e.result.ExpiresAt) {
			e.result.ExpiresAt = at
		}
	}
}

func (e *evaluation) approve(by []ballot) {
	for _, b := range by {
		e.result.Approvers = append(e.result.Approvers, b.Person)
	}
}

// finish sets the outcome, the sentences and the results of the votes that
// count.
func (e *evaluation) finish(outcome incident.Outcome, status Status, said []string, counted []ballot) {
	e.result.Outcome = outcome
	for _, d := range e.result.Tree.Dismissed {
		if outcome == incident.OutcomeWaiting && !slices.Contains(said, d.Reason) {
			said = append(said, d.Reason)
		}
	}
	e.result.Sentence = strings.Join(said, "; ")
	e.result.Tree.Status, e.result.Tree.Sentence = status, e.result.Sentence
	for _, b := range slices.Concat(counted, e.glass, e.refusing) {
		e.result.Votes[b.index] = VoteResult{Counts: true, Outcome: outcome, Sentence: e.result.Sentence}
	}
	slices.SortStableFunc(e.result.Tree.Dismissed, func(a, b Dismissal) int { return a.Vote - b.Vote })
}

// need names who can fill a slot, for people.
func (e *evaluation) need(s slot) string {
	services := strings.Join(e.request.Services, " or ")
	if services == "" {
		services = "the service"
	}
	names := make([]string, 0, len(s.Roles))
	for _, r := range s.Roles {
		switch r {
		case incident.RoleOnCall:
			names = append(names, "the on-call of "+services)
		case incident.RoleCommander:
			names = append(names, "the incident commander")
		case incident.RoleOwner:
			names = append(names, "an owner of "+services)
		default:
			names = append(names, "nobody")
		}
	}
	return strings.Join(names, " or ")
}

func heldRole(b ballot, s slot) incident.Role { return firstRole(b.Roles, s.Roles) }

func firstRole(held, wanted []incident.Role) incident.Role {
	for _, r := range wanted {
		if slices.Contains(held, r) {
			return r
		}
	}
	return ""
}

func roleName(r incident.Role) string {
	switch r {
	case incident.RoleOnCall:
		return "on-call"
	case incident.RoleCommander:
		return "incident commander"
	case incident.RoleOwner:
		return "service owner"
	default:
		return "nobody"
	}
}

func orRoles(roles []incident.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = roleName(r)
	}
	return strings.Join(names, " or ")
}

func minutes(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()))
}
