package views

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// maxItems is how many action items one postmortem lists; more of them would
// not be done anyway.
const maxItems = 40

func (p *paper) actions(v incident.View) {
	if len(v.Rollbacks) == 0 {
		p.item("none")
		return
	}
	for i, rb := range v.Rollbacks {
		if i == 10 {
			p.item("… and %d more rollbacks", len(v.Rollbacks)-i)
			break
		}
		p.item("%s: %s", CodeSpan(rb.ID, 200), md(join(sentence(undone(v, rb)), sentence(rb.Reason))))
		for j, a := range rb.Actions {
			if j == 50 {
				p.line("  - … and " + counted(rb.Actions[j:]))
				break
			}
			p.line("  - " + Markdown(actionLine(a), 2*maxLine))
		}
	}
}

// evidence is what supports the rest: manifests of evidence, rules and plans by their
// digests.
func (p *paper) evidence(v incident.View) {
	some := false
	for i, rb := range v.Rollbacks {
		if i == 10 {
			break
		}
		for _, m := range []*incident.Manifest{rb.Before, rb.After} {
			if m == nil {
				continue
			}
			some = true
			p.item("%s, %s the rollback: manifest %s, %d items", CodeSpan(rb.ID, 200), mdName(string(m.Phase)), CodeSpan(m.Digest, 80), len(m.Items))
			for j, e := range m.Items {
				if j == 50 {
					p.line(fmt.Sprintf("  - … and %d more items", len(m.Items)-j))
					break
				}
				if e.Missing != "" {
					p.line("  - **missing** " + md(e.Name) + ": " + md(e.Missing))
					continue
				}
				p.line(fmt.Sprintf("  - %s %s, %d bytes, %d redactions", md(e.Name), CodeSpan(e.Digest, 80), e.Size, e.Redactions))
			}
		}
	}
	if !some {
		p.item("no evidence was captured")
	}
	var rules []string
	for _, o := range executed(v) {
		if len(v.Rollbacks) > 0 && o.Plan.Runbook != "" {
			rules = append(rules, fmt.Sprintf("runbook %s %s", mdName(o.Plan.Runbook), CodeSpan(o.Plan.RunbookDigest, 80)), "plan of "+mdName(o.ID)+" "+CodeSpan(o.Digest, 80))
		}
	}
	for _, d := range v.Decisions {
		if d.PolicyDigest != "" {
			rules = append(rules, "policy "+CodeSpan(d.PolicyDigest, 80))
		}
	}
	slices.Sort(rules)
	for i, r := range slices.Compact(rules) {
		if i == maxLines {
			break
		}
		p.item("%s", r)
	}
	p.ask("Dashboards, logs, recordings, tickets:")
}

func (p *paper) slis(v incident.View) {
	rb := v.LastRollback()
	if rb == nil || rb.Recovery == nil || len(rb.Recovery.SLIs)+len(rb.Recovery.Data) == 0 {
		p.item("nothing was measured")
		return
	}
	if len(rb.Recovery.SLIs) == 0 {
		p.item("no SLI was measured")
	} else {
		p.measured(*rb)
	}
	p.data(rb.Recovery.Data)
	p.line("")
	p.item("%s. %s", md(verdictWords(rb.Recovery.Verdict)), md(rb.Recovery.Reason))
	p.chart(*rb)
}

// measured is the table of the SLIs.
func (p *paper) measured(rb incident.RollbackView) {
	p.head("SLI", "wanted", "before the change", "during", "after", "verdict")
	for i, s := range rb.Recovery.SLIs {
		if i == 30 {
			break
		}
		p.cells(mdName(s.Name), mdName(orElse(objective(s.Objective, s.Unit), "not stated")), mdName(number(s.Baseline, s.Unit)),
			mdName(number(s.During, s.Unit)), mdName(number(s.After, s.Unit)), mdName(string(s.Verdict)))
	}
	if n := len(rb.Recovery.SLIs) - 30; n > 0 {
		p.line(fmt.Sprintf("\n… and %d more SLIs", n))
	}
}

func (p *paper) wontRevert(v incident.View) {
	list := leftBehind(v)
	if len(list) == 0 {
		p.item("nothing is known to be left")
	}
	for i, s := range list {
		if i == 30 {
			p.item("… and %d more", len(list)-i)
			break
		}
		p.item("%s", md(s))
	}
}

// leftBehind is what the executed options said they would not revert.
func leftBehind(v incident.View) []string {
	if len(v.Rollbacks) == 0 {
		return nil
	}
	var list []string
	for _, o := range executed(v) {
		for _, s := range o.WontRevert {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	return list
}

func (p *paper) items(v incident.View) {
	list := todos(v)
	for i, t := range list {
		if i == maxItems {
			p.item("… and %d more", len(list)-i)
			break
		}
		due := day(t.due)
		if due != "" {
			due = ". Due: " + due
		}
		p.line(fmt.Sprintf("- [ ] **%s** (%s): %s. Owner: %s%s", t.class, t.kind, strings.TrimSuffix(md(t.text), "."), md(t.owner), due))
	}
	p.line("- [ ] **prevent**: _what keeps the cause from coming back?_ Owner: _one person_. Due: _a date_")
	p.line("- [ ] **mitigate**: _what makes the next one smaller or shorter?_ Owner: _one person_. Due: _a date_")
	p.line("- [ ] **process**: _what should people do differently?_ Owner: _one person_. Due: _a date_")
}

// todos is what the run itself shows to be missing.
func todos(v incident.View) []todo {
	team := Plain(v.Team, maxName)
	if team == "" {
		team = "owner of " + service(v)
	}
	var list []todo
	add := func(kind, owner, format string, args ...any) {
		t := todo{kind: kind, class: classOf(kind), text: fmt.Sprintf(format, args...), owner: owner, due: dueOf(v, kind)}
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	taken(v, team, add)
	missingInverses(v, team, add)
	slow(v, team, add)
	for _, o := range offered(v) {
		for _, f := range o.Preflight {
			if f.Result == incident.PreflightBlocked && f.Name != alreadyThere {
				add(kindBlocked, team, "make %s possible: %s: %s", o.ID, Plain(f.Name, maxName), Plain(f.Reason, maxLine))
			}
		}
	}
	for _, rb := range v.Rollbacks {
		aboutRollback(rb, team, add)
	}
	for _, d := range v.Decisions {
		if d.BreakGlass && d.Outcome == incident.OutcomeApproved {
			add(kindGlass, "owner of "+service(v)+" and an incident commander, not "+person(d.Person),
				"review that %s approved %s alone (plan %s); the timeline links to the issue for it", person(d.Person), Plain(d.OptionID, maxName), incident.ShortDigest(d.PlanDigest))
		}
	}
	dataLeft(v, team, add)
	if left := leftBehind(v); len(left) > 0 {
		add(kindLeft, team, "see what the rollback left behind, and repair it: %s", Plain(listed(left, 10), maxLine))
	}
	for _, n := range v.Notes {
		if strings.HasPrefix(n, incident.NoteDiverging) {
			continue // The data that is to be repaired has an item of its own.
		}
		add(kindBlindSpot, "operator of Backout", "look into: %s", Plain(n, maxLine))
	}
	return list
}

type addTodo func(kind, owner, format string, args ...any)

func missingInverses(v incident.View, team string, add addTodo) {
	culprit := likely(v)
	switch {
	case culprit == nil && len(v.Ranking.Suspects) == 0:
		add(kindSource, team, "no change of %s was seen; connect the system where it changed", service(v))
	case culprit == nil:
		add(kindSource, team, "the ranking named no culprit; find the change and the source that should have shown it")
	}
	if len(offered(v)) == 0 {
		add(kindInverse, team, "no option could be offered for %s; write a runbook with an inverse", service(v))
		return
	}
	if culprit == nil {
		return
	}
	for _, o := range offered(v) {
		if o.Suspect != nil && o.Suspect.Change.ID == culprit.Change.ID && o.Suspect.Change.Source == culprit.Change.Source {
			return
		}
	}
	add(kindInverse, team, "no option undoes the probable cause: %s", change(culprit.Change))
}

func aboutRollback(rb incident.RollbackView, team string, add addTodo) {
	runbook := "the runbook"
	if name := Plain(rb.Runbook, maxName); name != "" {
		runbook = "runbook " + name
	}
	if rb.Status == incident.RollbackVoid {
		add(kindRunbook, team, "%s: the plan had moved when it was to be executed: %s", runbook, Plain(rb.Reason, maxLine))
	}
	for _, a := range rb.Actions {
		switch a.Status {
		case incident.ActionRefused:
			add(kindRunbook, team, "%s: %s had drifted: %s", runbook, target(a.Action.Target), Plain(a.Reason, maxLine))
		case incident.ActionFailed:
			add(kindFailed, team, "%s: %s on %s failed: %s", runbook, Plain(a.Action.Kind, maxName), target(a.Action.Target), Plain(a.Reason, maxLine))
		case incident.ActionPending, incident.ActionRunning, incident.ActionDone, incident.ActionSkipped:
		default:
		}
	}
	for _, m := range []*incident.Manifest{rb.Before, rb.After} {
		if m == nil {
			continue
		}
		for _, e := range m.Items {
			if e.Missing != "" {
				add(kindEvidence, team, "%s could not be captured: %s", Plain(e.Name, maxName), Plain(e.Missing, maxLine))
			}
		}
	}
	if rb.Before == nil && mutated(&rb) {
		add(kindEvidence, team, "%s captured nothing before the rollback", runbook)
	}
	if rb.Recovery != nil {
		for _, s := range rb.Recovery.SLIs {
			if s.Verdict == incident.VerdictUnknown {
				add(kindBlindSLI, team, "%s could not be judged: %s", Plain(s.Name, maxName), Plain(s.Reason, maxLine))
			}
		}
	}
}
