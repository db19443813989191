package views

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// maxLines is how many lines of one kind a section of a postmortem has.
const maxLines = 50

func (p *paper) impact(v incident.View) {
	var services, dependents, data []string
	for _, o := range executed(v) {
		for _, r := range o.Radius.Services {
			services = append(services, r.Name)
		}
		for _, r := range o.Radius.Dependents {
			dependents = append(dependents, r.Name)
		}
		for _, r := range o.Radius.SharedData {
			data = append(data, r.Name)
		}
	}
	if v.Service != "" {
		services = append([]string{v.Service}, services...)
	}
	p.item("duration: %s", lasted(v))
	if rb := v.LastRollback(); rb != nil && rb.Recovery != nil {
		for i, s := range rb.Recovery.SLIs {
			if i == 10 {
				break
			}
			p.item("%s: %s during the incident, %s before it, wanted %s", mdName(s.Name), mdName(number(s.During, s.Unit)),
				mdName(number(s.Baseline, s.Unit)), mdName(orElse(objective(s.Objective, s.Unit), "not stated")))
		}
	}
	p.item("services: %s", md(orUnknown(listed(distinct(services), 20))))
	p.item("dependents: %s", md(orElse(listed(distinct(dependents), 20), "none known")))
	p.item("shared data: %s", md(orElse(listed(distinct(data), 20), "none known")))
	for _, o := range executed(v) {
		for _, m := range measurements(o.Radius) {
			p.item("%s of %s: %s", md(strings.ToLower(m.Name)), md(o.ID), md(strings.Join(m.Items, "; ")))
		}
	}
	p.ask("How many customers were hurt, what did they see, and how do we know?")
	p.ask("Requests failed, orders or data lost, money, support requests, error budget spent:")
}

// offered is every option that people answered or still can, each plan once.
func offered(v incident.View) []incident.Option {
	var out []incident.Option
	for _, o := range slices.Concat(v.Decided, v.Options) {
		if !slices.ContainsFunc(out, func(have incident.Option) bool { return have.Digest == o.Digest && have.ID == o.ID }) {
			out = append(out, o)
		}
	}
	return out
}

// executed is the options that rollbacks were started for, as far as they are known;
// every option when there were no rollbacks. Options that were worked out anew have
// other digests under the same IDs.
func executed(v incident.View) []incident.Option {
	if len(v.Rollbacks) == 0 {
		return v.Options
	}
	var out []incident.Option
	for _, o := range offered(v) {
		if slices.ContainsFunc(v.Rollbacks, func(rb incident.RollbackView) bool {
			return rb.OptionID == o.ID && rb.PlanDigest == o.Digest
		}) {
			out = append(out, o)
		}
	}
	return out
}

func distinct(list []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range list {
		if s = Plain(s, maxName); s != "" && !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// happened tells the run in a few sentences, each of which the timeline proves.
func (p *paper) happened(v incident.View) {
	var said []string
	say := func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) }
	if !v.PagedAt.IsZero() {
		say("On %s at %s %s paged about %s.", day(v.PagedAt), clock(v.PagedAt), source(v.Source), strings.TrimSuffix(md(about(v)), "."))
	}
	if s := likely(v); s != nil {
		say("Backout looked at %s and named the %s. %s", plural(len(v.Ranking.Suspects), "change", "changes"), md(what(s.Change)), md(sentence(s.Reason)))
	} else {
		say("Backout looked at %s and blamed none. %s", plural(len(v.Ranking.Suspects), "change", "changes"), md(sentence(v.Ranking.Reason)))
	}
	if !v.OptionsAt.IsZero() {
		first := ""
		if len(offered(v)) > 1 {
			first = "the first "
		}
		say("%s worked out, %s%s after the page.", plural(len(offered(v)), "way out was", "ways out were"), first, took(v.PagedAt, v.OptionsAt))
	}
	for i, rb := range v.Rollbacks {
		if i == 5 {
			say("%d more rollbacks followed.", len(v.Rollbacks)-i)
			break
		}
		if names := approvers(v, rb); names != "" {
			say("%s approved %s %s after the page%s.", md(names), mdName(rb.OptionID), took(v.PagedAt, rb.ApprovedAt), past(v, rb))
		}
		say("%s", md(sentence(undone(v, rb))))
		if !rb.ActionsDoneAt.IsZero() {
			say("The last target was in place %s after the approval.", took(rb.ApprovedAt, rb.ActionsDoneAt))
		}
		if rb.Recovery != nil {
			say("%s. %s", md(verdictWords(rb.Recovery.Verdict)), md(sentence(rb.Recovery.Reason)))
		}
	}
	if len(v.Rollbacks) == 0 {
		say("Nothing was rolled back.")
	}
	if !v.ClosedAt.IsZero() {
		say("The incident was closed at %s UTC.", dated(v, v.ClosedAt))
	}
	p.line(strings.Join(said, " "))
	p.line("")
	p.ask("What did people see, think and try that no machine recorded?")
}

// took is how long something took, in tenths of a second where that matters.
func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return "an unrecorded time"
	}
	if d := to.Sub(from); d >= 50*time.Millisecond {
		return short(d)
	}
	return "less than 0.1 s"
}

// source is who reported an incident, for people.
func source(s incident.Source) string {
	switch s {
	case incident.SourcePagerDuty:
		return "PagerDuty"
	case incident.SourceAlertmanager:
		return "Alertmanager"
	case incident.SourceSlack:
		return "a person in Slack"
	case incident.SourceCLI:
		return "a person at the command line"
	default:
		return "somebody"
	}
}

// approvers are the people whose answers started a rollback.
func approvers(v incident.View, rb incident.RollbackView) string {
	var names []string
	for _, d := range v.Decisions {
		if d.PlanDigest == rb.PlanDigest && d.Answer == incident.AnswerApprove && (d.Outcome == incident.OutcomeApproved || d.Outcome == incident.OutcomeWaiting) {
			names = append(names, person(d.Person))
		}
	}
	return listed(distinct(names), 5)
}

// past says that a rollback was approved past the policy.
func past(v incident.View, rb incident.RollbackView) string {
	if slices.ContainsFunc(v.Decisions, func(d incident.Decision) bool {
		return d.BreakGlass && d.PlanDigest == rb.PlanDigest && d.Outcome == incident.OutcomeApproved
	}) {
		return ", alone and past the policy"
	}
	return ""
}

func (p *paper) trigger(v incident.View) {
	s := likely(v)
	if s == nil {
		p.item("not known. %s", md(v.Ranking.Reason))
		p.ask("What set it off, and which record of it was missing?")
		return
	}
	p.item("%s", md(change(s.Change)))
	if link := labelled("the change at its source", s.Change.URL); link != "" {
		p.item("%s", link)
	}
	p.item("why this one: %s", md(orElse(s.Reason, "no reason was recorded")))
	if rb := v.LastRollback(); rb != nil && rb.Recovery != nil {
		switch {
		case dataAlone(rb):
			p.item("taking it back brought the service back, which fits; what it left in data is another matter")
		case rb.Recovery.Verdict == incident.VerdictRecovered:
			p.item("taking it back brought the service back, which fits")
		case rb.Recovery.Verdict == incident.VerdictNotRecovered:
			p.item("**taking back %s did not bring the service back**: look for another trigger", mdName(rb.OptionID))
		case rb.Recovery.Verdict == incident.VerdictUnknown:
			p.item("whether taking it back helped could not be measured")
		}
	}
	p.ask("Was it the trigger? If not, what was?")
}

func (p *paper) factors(incident.View) {
	for _, q := range []string{
		"What made this change look safe when it was made?",
		"Which check, review or test could have seen it, and why did it not?",
		"What made the harm larger or longer than it had to be?",
		"Where were people, tools or documents in each other's way?",
	} {
		p.ask(q)
	}
}

func (p *paper) decision(v incident.View) {
	if v.Commander != nil {
		p.item("incident commander: %s", md(person(*v.Commander)))
	} else {
		p.item("nobody took command")
	}
	p.item("%s", md(orElse(v.Ranking.Reason, "the ranking gave no reason")))
	for i, s := range v.Ranking.Suspects {
		if i == 10 {
			p.line(fmt.Sprintf("  %d. … and %d more changes", i+1, len(v.Ranking.Suspects)-i))
			break
		}
		if i == 0 {
			p.item("changes that were looked at, the likeliest first:")
		}
		p.line(fmt.Sprintf("  %d. %s. %s%s", i+1, md(change(s.Change)), md(sentence(s.Reason)), own(v, s.Change)))
	}
}

func (p *paper) options(v incident.View) {
	list := offered(v)
	if len(list) == 0 {
		p.item("no option could be offered")
		return
	}
	for i, o := range list {
		if i == 20 {
			p.item("… and %d more options", len(list)-i)
			break
		}
		p.item("%s **%s** (%s, %s%s): %s", CodeSpan(o.ID, 20), md(o.Title), o.Tier, reversibility(o), again(v, o), fate(v, o))
		for _, a := range o.Plan.Actions[:min(len(o.Plan.Actions), maxTargetsShown)] {
			p.line("  - " + md(move(a)))
		}
		if o.Risk != "" {
			p.line("  - risk: " + md(o.Risk))
		}
		for _, f := range preflights(o) {
			p.line("  - " + md(f))
		}
	}
}

func reversibility(o incident.Option) string {
	if o.OneWay() {
		return "one-way door"
	}
	return "reversible"
}

// fate is what became of an option.
func fate(v incident.View, o incident.Option) string {
	for _, rb := range v.Rollbacks {
		if rb.OptionID == o.ID && rb.PlanDigest == o.Digest {
			return "chosen" + past(v, rb) + ", plan " + incident.ShortDigest(rb.PlanDigest)
		}
	}
	for _, d := range v.Decisions {
		if d.PlanDigest == o.Digest && d.Outcome == incident.OutcomeRefused {
			return "refused by " + md(person(d.Person)) + ": " + md(orElse(d.Reason, "no reason recorded")) + " " + event(v, d.EventID)
		}
	}
	if o.Blocked {
		return "blocked by a check"
	}
	return "not chosen"
}

func (p *paper) approvals(v incident.View) {
	if len(v.Decisions) == 0 {
		p.item("nobody decided anything")
		return
	}
	for i, d := range v.Decisions {
		if i == maxLines {
			p.item("… and %d more decisions", len(v.Decisions)-i)
			break
		}
		said := strings.TrimPrefix(decision(d), hms(d.At))
		p.item("%s %s", Markdown(dated(v, d.At)+said, 2*maxLine), event(v, d.EventID))
	}
}

func (p *paper) responders(v incident.View) {
	var order []string
	part := map[string][]string{}
	add := func(name, did string) {
		if name = Plain(name, maxName); name == "" {
			return
		}
		if _, known := part[name]; !known {
			order = append(order, name)
		}
		if did = Plain(did, maxName); did != "" && !slices.Contains(part[name], did) {
			part[name] = append(part[name], did)
		}
	}
	if v.Commander != nil {
		add(person(*v.Commander), "incident commander")
	}
	for _, d := range v.Decisions {
		for _, role := range d.Roles {
			add(person(d.Person), strings.ReplaceAll(string(role), "_", " "))
		}
		add(person(d.Person), "answered "+d.OptionID)
	}
	for _, pin := range v.Pins {
		add(pin.Author, "wrote what is pinned")
	}
	if len(order) == 0 {
		p.item("nobody is recorded")
	}
	for i, name := range order {
		if i == 30 {
			p.item("… and %d more people", len(order)-i)
			break
		}
		p.item("%s: %s", mdName(name), md(strings.Join(part[name], ", ")))
	}
	p.ask("Who else helped?")
}

// happening is one line of the timeline.
type happening struct {
	at              time.Time
	text, who, link string
}

// timeline is every recorded event with a link to its record, and the messages that
// people pinned where they were written.
func (p *paper) timeline(v incident.View) {
	var all []happening
	for _, e := range v.Timeline {
		if e.Kind == incident.EventPin {
			continue // The message itself stands where it was written.
		}
		text := recordText(v, e)
		if link := labelled("↗", e.URL); link != "" {
			text += " " + link
		}
		all = append(all, happening{e.At, text, mdName(e.Actor), event(v, e.ID)})
	}
	for _, pin := range v.Pins {
		all = append(all, happening{pin.At, pinned(v, pin), mdName(pin.Author), event(v, pin.EventID)})
	}
	if len(all) == 0 {
		p.item("nothing was recorded")
		return
	}
	slices.SortStableFunc(all, func(a, b happening) int { return a.at.Compare(b.at) })
	p.line("All on " + day(all[0].at) + " unless a date is given.")
	p.line("")
	p.head("time", "what", "who", "record")
	for _, h := range all {
		at := hms(h.at)
		if day(h.at) != day(all[0].at) {
			at = stamp(h.at)
		}
		p.cells(at, h.text, h.who, h.link)
	}
}

// lasted is how long the harm lasted, as far as that is known.
func lasted(v incident.View) string {
	from, until := onset(v), recoveredAt(v)
	switch {
	case from.IsZero():
		return "not known"
	case !until.IsZero():
		return between(from, until)
	case !v.ClosedAt.IsZero():
		return "at most " + between(from, v.ClosedAt)
	default:
		return "not over yet"
	}
}
