package views

import (
	"fmt"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Review is the issue in which approvals past the policy are reviewed: one for an
// incident, due at a time, with every such approval in it. It is within GitHub's
// limits whatever the view holds.
func Review(v incident.View, due time.Time) (title, markdown string) {
	title = Plain(fmt.Sprintf("Break-glass review by %s: %s: %s", due.UTC().Format(time.DateOnly), service(v), Plain(v.Title, maxLine)), maxIssueTitle)
	title = cut(strings.NewReplacer("@", "@"+joiner, "#", "#"+joiner).Replace(title), maxIssueTitle)
	p := &paper{}
	p.line("_A plan was approved past the policy. Nothing else was skipped: evidence, lock and ledger are there._")
	p.line("")
	p.item("due: **%s**", due.UTC().Format(time.DateOnly))
	p.item("incident: %s", CodeSpan(v.Key, 150))
	p.link("page", v.SourceURL)
	p.link("card", v.Card.URL)
	p.line("")
	p.line("## Approvals")
	p.line("")
	for _, d := range v.Decisions {
		if d.BreakGlass && d.Outcome == incident.OutcomeApproved {
			p.item("%s %s", Markdown(decision(d), 2*maxLine), CodeSpan(d.EventID, 200))
		}
	}
	p.line("")
	p.line("## Questions")
	p.line("")
	for _, q := range []string{
		"Was it right to decide alone, with what was known then?", "Who should have been asked, and why could they not be reached in time?",
		"What has to change in policy, schedule or runbook so that nobody has to do it again?",
	} {
		p.line("- [ ] _" + q + "_")
	}
	p.line("- [ ] _Reviewed by the owner of the service and an incident commander, neither of them the approver._")
	return title, fit(p.String(), maxIssueBody)
}
