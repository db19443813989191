package views

import (
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Targets of the times of an incident. What took longer is an action item.
// Source: REQUIREMENTS, M: 10, 5 and 15 minutes.
const (
	decideTarget   = 10 * time.Minute
	rollbackTarget = 5 * time.Minute
	recoverTarget  = 15 * time.Minute
)

// When action items are due after the page, unless the postmortem itself is due later.
const (
	// itemsWithin is for most of them.
	// Source: https://postmortems.pagerduty.com/how_to_write/effective_postmortems/
	itemsWithin = 14 * 24 * time.Hour
	// reviewWithin is for the review of an approval past the policy: the same days as
	// its own issue has.
	reviewWithin = 5 * 24 * time.Hour
	// repairWithin is for what customers may still feel.
	repairWithin = 2 * 24 * time.Hour
)

// Classes of action items, as the field sorts them.
// Source: https://sre.google/sre-book/example-postmortem/
const (
	classPrevent  = "prevent"
	classMitigate = "mitigate"
	classProcess  = "process"
)

// Kinds of action items that are computed.
const (
	kindCause        = "cause at its source"
	kindOtherCause   = "cause not found"
	kindSource       = "missing change source"
	kindInverse      = "missing inverse"
	kindBlocked      = "blocked option"
	kindRunbook      = "stale runbook"
	kindFailed       = "failed inverse"
	kindEvidence     = "absent evidence"
	kindBlindSLI     = "blind SLI"
	kindGlass        = "break-glass review"
	kindLeft         = "not reverted"
	kindBlindSpot    = "blind spot"
	kindSlowApproval = "slow approval"
	kindSlowRollback = "slow rollback"
	kindSlowRecovery = "slow recovery"
)

// alreadyThere is the check that forbids a plan whose targets are where it would take
// them: after a rollback that is as it should be.
const alreadyThere = "not there already"

// todo is one action item computed from the run.
type todo struct {
	class, kind, text, owner string
	due                      time.Time
}

// classOf is what an item is good for.
func classOf(kind string) string {
	switch kind {
	case kindCause, kindOtherCause:
		return classPrevent
	case kindSource, kindInverse, kindBlocked, kindFailed, kindLeft, kindData, kindBlindData, kindSlowRollback, kindSlowRecovery:
		return classMitigate
	default:
		return classProcess
	}
}

// dueOf is when an item is due, counted from the page; zero when nobody knows when
// that was.
func dueOf(v incident.View, kind string) time.Time {
	if v.PagedAt.IsZero() {
		return time.Time{}
	}
	switch kind {
	case kindLeft, kindData, kindBlindData, kindCause, kindOtherCause:
		return v.PagedAt.Add(repairWithin)
	case kindGlass:
		return v.PagedAt.Add(reviewWithin)
	default:
		at := v.PagedAt.Add(itemsWithin)
		if v.Postmortem.Due.After(at) {
			return v.Postmortem.Due
		}
		return at
	}
}

// due is when the postmortem itself is due; zero when that was not said.
func due(v incident.View) time.Time { return v.Postmortem.Due }

// taken asks to mend at its source what was taken back, or to go on looking when that
// did not help: a rollback mends nothing that the next release brings again.
func taken(v incident.View, team string, add addTodo) {
	s, rb := likely(v), v.LastRollback()
	if rb == nil || rb.Recovery == nil {
		return
	}
	switch {
	case rb.Recovery.Verdict == incident.VerdictNotRecovered && !dataAlone(rb):
		add(kindOtherCause, team, "find what broke %s: taking back %s did not bring it back", service(v), Plain(rb.OptionID, maxName))
	case s != nil && mutated(rb):
		add(kindCause, team, "correct or revert the %s before it is released again", Plain(what(s.Change), maxLine))
	}
}

// slow asks about what took longer than its target.
func slow(v incident.View, team string, add addTodo) {
	if rb := v.LastRollback(); rb != nil {
		over := func(kind string, from, to time.Time, target time.Duration, format string) {
			if !from.IsZero() && to.Sub(from) > target {
				add(kind, team, format, span(to.Sub(from)), span(target))
			}
		}
		over(kindSlowApproval, v.PagedAt, v.Rollbacks[0].ApprovedAt, decideTarget, "it took %s from the page to the approval, wanted %s: see who could not be reached, or what they had to find out")
		over(kindSlowRollback, rb.ApprovedAt, rb.ActionsDoneAt, rollbackTarget, "it took %s from the approval to the last target, wanted %s: see which step took long")
		over(kindSlowRecovery, v.PagedAt, recoveredAt(v), recoverTarget, "it took %s from the page to recovery, wanted %s: see which part took long")
	}
	for _, d := range v.Decisions {
		if d.Outcome == incident.OutcomeStale && !d.ExpiresAt.IsZero() && d.Answer == incident.AnswerApprove {
			add(kindSlowApproval, team, "the approval of %s by %s counted no more before the rollback could start", Plain(d.OptionID, maxName), person(d.Person))
		}
	}
}

// lessons are the three questions, each with what the run itself shows.
func (p *paper) lessons(v incident.View) {
	well, wrong := shown(v)
	part := func(title string, facts []string, questions ...string) {
		p.line("### " + title)
		p.line("")
		for i, f := range facts {
			if i == 8 {
				p.item("… and %d more", len(facts)-i)
				break
			}
			p.item("%s", md(f))
		}
		for _, q := range questions {
			p.ask(q)
		}
		p.line("")
	}
	part("What went well", well, "What else went well, and must stay so?")
	part("What went wrong", wrong, "What else went wrong? What did we believe that turned out to be wrong?")
	part("Where we got lucky", nil, "What could have made it worse, and did not?")
}

// shown is what the run itself shows to have gone well and wrong.
func shown(v incident.View) (well, wrong []string) {
	judge := func(from, to time.Time, target time.Duration, what string) {
		switch {
		case from.IsZero() || to.IsZero() || to.Before(from):
		case to.Sub(from) <= target:
			well = append(well, what+" "+short(to.Sub(from))+", wanted "+span(target))
		default:
			wrong = append(wrong, what+" "+short(to.Sub(from))+", wanted "+span(target))
		}
	}
	if len(v.Rollbacks) > 0 {
		judge(v.PagedAt, v.Rollbacks[0].ApprovedAt, decideTarget, "the decision took")
	}
	if rb := v.LastRollback(); rb != nil {
		judge(rb.ApprovedAt, rb.ActionsDoneAt, rollbackTarget, "the rollback took")
		judge(v.PagedAt, recoveredAt(v), recoverTarget, "recovery took")
		if rb.Recovery != nil && rb.Recovery.Verdict != incident.VerdictRecovered {
			wrong = append(wrong, "after the rollback the verdict was "+Plain(string(rb.Recovery.Verdict), maxName))
		}
		if rb.Before != nil && len(rb.Before.Items) > 0 {
			missing := 0
			for _, e := range rb.Before.Items {
				if e.Missing != "" {
					missing++
				}
			}
			if missing == 0 {
				well = append(well, "all evidence was captured before the first change")
			} else {
				wrong = append(wrong, plural(missing, "piece", "pieces")+" of evidence could not be captured")
			}
		}
		if rb.Status == incident.RollbackPartial || rb.Status == incident.RollbackFailed {
			wrong = append(wrong, undone(v, *rb))
		}
	}
	for _, d := range v.Decisions {
		if d.BreakGlass && d.Outcome == incident.OutcomeApproved {
			wrong = append(wrong, person(d.Person)+" had to decide alone, past the policy")
		}
	}
	if likely(v) == nil {
		wrong = append(wrong, "no change could be blamed")
	}
	return well, wrong
}
