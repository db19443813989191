package views

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backout/backout/workflows/incident"
)

// Limits of GitHub issues, in characters.
// Source: https://docs.github.com/en/rest/issues/issues
const (
	maxIssueTitle = 256
	maxIssueBody  = 65536
)

// Postmortem is the draft of an incident's GitHub issue: computed from what was
// recorded, with prompts where only people know. It fits into an issue whatever
// the view holds: each section has its share of the issue, and lines that do
// not fit are left out from its middle, and counted.
func Postmortem(v incident.View) (title, markdown string) {
	title = Plain(fmt.Sprintf("Postmortem: %s %s: %s", severity(v.Severity), service(v), Plain(v.Title, maxLine)), maxIssueTitle)
	// A title is no Markdown, but names and references in it still link.
	title = cut(strings.NewReplacer("@", "@\u2060", "#", "#\u2060").Replace(title), maxIssueTitle)

	var b strings.Builder
	b.WriteString("<!-- backout: " + commentSafe(v.Key) + " -->\n")
	b.WriteString("_Drafted by Backout from what it recorded. Times are UTC. Correct what is wrong, and answer the questions._\n")
	for _, s := range sections {
		p := &paper{}
		s.write(p, v)
		b.WriteString("\n## " + s.title + "\n\n")
		b.WriteString(fit(p.String(), s.share))
	}
	return title, b.String()
}

// sections are the parts of a postmortem in their order, each with its share
// of maxIssueBody in characters.
var sections = []struct {
	title string
	share int
	write func(*paper, incident.View)
}{
	{"Summary", 4000, (*paper).summary},
	{"Impact", 2500, (*paper).impact},
	{"Times", 1500, (*paper).times},
	{"Timeline", 14000, (*paper).timeline},
	{"Detection", 1000, (*paper).detection},
	{"Decision", 4000, (*paper).decision},
	{"Options chosen and refused", 6000, (*paper).options},
	{"Approvals", 5000, (*paper).approvals},
	{"Actions taken", 6000, (*paper).actions},
	{"Evidence", 5000, (*paper).evidence},
	{"Before and after", 4000, (*paper).slis},
	{"What was not reverted", 2500, (*paper).wontRevert},
	{"Contributing factors", 1000, (*paper).factors},
	{"Lessons", 1000, (*paper).lessons},
	{"Action items", 6000, (*paper).items},
}

// fit leaves whole lines out of the middle until the text has at most limit
// runes, and says how many.
func fit(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	const note = 60 // room for the line that counts
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	head, tail, room := 0, len(lines), limit-note
	for head < tail {
		n := utf8.RuneCountInString(lines[head])
		if n > room {
			break
		}
		room -= n
		head++
		if head == tail {
			break
		}
		if n = utf8.RuneCountInString(lines[tail-1]); n > room {
			break
		}
		room -= n
		tail--
	}
	out := strings.Join(lines[:head], "") + fmt.Sprintf("- … %d lines are left out here; the ledger has everything\n", tail-head) + strings.Join(lines[tail:], "")
	return strings.TrimSuffix(out, "\n") + "\n"
}

// commentSafe is a key that can stand in an HTML comment.
func commentSafe(key string) string {
	if !incident.ValidKey(key) || strings.Contains(key, "--") {
		return "-"
	}
	return key
}

type paper struct{ strings.Builder }

func (p *paper) line(s string)                { p.WriteString(s + "\n") }
func (p *paper) item(format string, a ...any) { p.line("- " + fmt.Sprintf(format, a...)) }
func (p *paper) cells(columns ...string)      { p.line("| " + strings.Join(columns, " | ") + " |") }
func (p *paper) link(label, address string)   { p.item("%s: %s", label, mdLink(address)) }
func md(s string) string                      { return Markdown(s, maxLine) }
func mdName(s string) string                  { return Markdown(s, maxName) }
func stamp(t time.Time) string                { return t.UTC().Format("2006-01-02 15:04:05") }
func orUnknown(s string) string               { return orElse(s, "unknown") }
func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func mdLink(address string) string {
	if a := Link(address); a != "" {
		return "<" + a + ">"
	}
	return "none"
}

func (p *paper) summary(v incident.View) {
	p.line(fmt.Sprintf("%s on **%s**: %s", severity(v.Severity), md(service(v)), Markdown(v.Title, incident.MaxTitle)))
	p.line("")
	p.item("incident: %s", CodeSpan(v.Key, 150))
	p.item("state: %s", md(headline(v)))
	if s := likely(v); s != nil {
		p.item("probable cause: %s", md(change(s.Change)))
	} else {
		p.item("probable cause: none named. %s", md(v.Ranking.Reason))
	}
	if rb := v.LastRollback(); rb != nil {
		p.item("%s", md(rollbackHeadline(*rb)))
		if rb.Recovery != nil {
			p.item("%s. %s", md(verdictWords(rb.Recovery.Verdict)), md(rb.Recovery.Reason))
		}
	} else {
		p.item("no rollback was executed")
	}
	p.link("page", v.SourceURL)
	p.link("card", v.Card.URL)
	p.link("console", v.ConsoleURL)
}

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
	p.item("services: %s", md(orUnknown(listed(distinct(services), 20))))
	p.item("dependents: %s", md(orElse(listed(distinct(dependents), 20), "none known")))
	p.item("shared data: %s", md(orElse(listed(distinct(data), 20), "none known")))
	for _, o := range executed(v) {
		for _, m := range measurements(o.Radius) {
			p.item("%s of %s: %s", md(strings.ToLower(m.Name)), md(o.ID), md(strings.Join(m.Items, "; ")))
		}
	}
	p.item("_Who was hurt, how many, for how long, and how do we know?_")
}

// executed is the options that rollbacks were started for, as far as they are
// still offered; every option when there were no rollbacks. Options that were
// worked out anew have other digests under the same IDs.
func executed(v incident.View) []incident.Option {
	var out []incident.Option
	for _, rb := range v.Rollbacks {
		if o, ok := v.Option(rb.OptionID); ok && o.Digest == rb.PlanDigest {
			out = append(out, o)
		}
	}
	if len(v.Rollbacks) == 0 {
		return v.Options
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

func (p *paper) times(v incident.View) {
	p.cells("measure", "took", "from", "to")
	p.cells("---", "---", "---", "---")
	row := func(name string, from, to time.Time) {
		show := func(t time.Time) string {
			if t.IsZero() {
				return "not recorded"
			}
			return stamp(t)
		}
		p.cells(name, between(from, to), show(from), show(to))
	}
	onset := v.OpenedAt
	if s := likely(v); s != nil && !s.Change.At.IsZero() && s.Change.At.Before(onset) {
		onset = s.Change.At
	}
	row("time to detect", onset, v.PagedAt)
	row("page to options", v.PagedAt, v.OptionsAt)
	var rb incident.RollbackView
	if last := v.LastRollback(); last != nil {
		rb = *last
	}
	row("time to decide", v.PagedAt, rb.ApprovedAt)
	row("approval to first change", rb.ApprovedAt, rb.FirstMutationAt)
	row("time to roll back", rb.ApprovedAt, rb.ActionsDoneAt)
	row("time to recover", v.PagedAt, recoveredAt(v))
}

// recoveredAt is when the verdict was recovered, zero if it never was.
func recoveredAt(v incident.View) time.Time {
	if rb := v.LastRollback(); rb != nil && rb.Recovery != nil && rb.Recovery.Verdict == incident.VerdictRecovered {
		return rb.Recovery.At
	}
	return time.Time{}
}

func (p *paper) timeline(v incident.View) {
	if len(v.Timeline) == 0 {
		p.item("nothing was recorded")
		return
	}
	for _, e := range v.Timeline {
		text := md(e.Text)
		if e.Actor != "" {
			text += " (" + mdName(e.Actor) + ")"
		}
		if Link(e.URL) != "" {
			text += " " + mdLink(e.URL)
		}
		p.item("%s %s %s", stamp(e.At), text, CodeSpan(e.ID, 200))
	}
}

func (p *paper) detection(v incident.View) {
	p.item("reported by %s, opened %s, paged %s", mdName(string(v.Source)), stampOr(v.OpenedAt), stampOr(v.PagedAt))
	p.item("_Could a check before the release, a canary or another alert have found it sooner?_")
}

func stampOr(t time.Time) string {
	if t.IsZero() {
		return "at an unrecorded time"
	}
	return stamp(t)
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
			p.item("… and %d more changes", len(v.Ranking.Suspects)-i)
			break
		}
		p.item("suspect %d: %s. %s", i+1, md(change(s.Change)), md(s.Reason))
	}
}

func (p *paper) options(v incident.View) {
	if len(v.Options) == 0 {
		p.item("no option could be offered")
		return
	}
	for i, o := range v.Options {
		if i == 20 {
			p.item("… and %d more options", len(v.Options)-i)
			break
		}
		p.item("%s **%s** (%s, %s): %s", CodeSpan(o.ID, 20), md(o.Title), o.Tier, reversibility(o), fate(v, o))
		for _, a := range o.Plan.Actions[:min(len(o.Plan.Actions), maxTargetsShown)] {
			p.line("  - " + md(move(a)))
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
			return "chosen, plan " + incident.ShortDigest(rb.PlanDigest)
		}
	}
	for _, d := range v.Decisions {
		if d.PlanDigest == o.Digest && d.Outcome == incident.OutcomeRefused {
			return "refused by " + md(person(d.Person)) + ": " + md(orElse(d.Reason, "no reason recorded"))
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
		if i == 50 {
			p.item("… and %d more decisions", len(v.Decisions)-i)
			break
		}
		p.item("%s %s", Markdown(decision(d), 2*maxLine), CodeSpan(d.EventID, 200))
	}
}
