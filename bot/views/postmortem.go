package views

import (
	"fmt"
	"regexp"
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

// Postmortem is the draft of an incident's GitHub issue: the union of the template
// of Google's SRE book and of PagerDuty's, computed from what was recorded, with
// prompts where only people know. It fits into an issue whatever the view holds:
// each section has its share of the issue, and lines that do not fit are left out
// from its middle, and counted.
//
// Each section begins with a heading of the second level, and nothing else does: the
// tracker keeps the sections apart by them.
// Source: https://sre.google/sre-book/example-postmortem/ and
// https://postmortems.pagerduty.com/resources/post_mortem_template/
func Postmortem(v incident.View) (title, markdown string) {
	title = Plain(fmt.Sprintf("Postmortem: %s %s", severity(v.Severity), about(v)), maxIssueTitle)
	// A title is no Markdown, but names and references in it still link.
	title = cut(strings.NewReplacer("@", "@"+joiner, "#", "#"+joiner).Replace(title), maxIssueTitle)

	var b strings.Builder
	b.WriteString("<!-- backout: " + commentSafe(v.Key) + " -->\n")
	b.WriteString("_Drafted by Backout from what it recorded; times are UTC. A section that you edit is yours: Backout goes on with the others, and says in a comment what it would write there. Lines in italics are questions for people._\n")
	for _, s := range sections {
		p := &paper{}
		s.write(p, v)
		b.WriteString("\n## " + s.title + "\n\n")
		b.WriteString(fit(p.String(), s.share))
	}
	return title, b.String()
}

// sections are the parts of a postmortem in their order, each with its share
// of maxIssueBody in characters. Together they leave room for headings and for the
// tracker's markers.
var sections = []struct {
	title string
	share int
	write func(*paper, incident.View)
}{
	{"Status", 2500, (*paper).status},
	{"Summary", 2000, (*paper).summary},
	{"Impact", 2500, (*paper).impact},
	{"What happened", 2500, (*paper).happened},
	{"Trigger", 1500, (*paper).trigger},
	{"Root causes and contributing factors", 1000, (*paper).factors},
	{"Detection", 1000, (*paper).detection},
	{"Decision", 2500, (*paper).decision},
	{"Options chosen and refused", 5000, (*paper).options},
	{"Approvals", 3500, (*paper).approvals},
	{"Resolution", 4500, (*paper).actions},
	{"Before and after", 4000, (*paper).slis},
	{"Times", 1500, (*paper).times},
	{"Responders", 1500, (*paper).responders},
	{"Timeline", 10000, (*paper).timeline},
	{"What was not reverted", 1500, (*paper).wontRevert},
	{"Action items", 5500, (*paper).items},
	{"Lessons learned", 1800, (*paper).lessons},
	{"Supporting information", 4000, (*paper).evidence},
	{"Internal message", 1200, (*paper).internal},
	{"Public summary", 1200, (*paper).public},
}

// fit leaves whole lines out of the middle until the text has at most limit
// runes, and says how many.
func fit(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	const note = 70 // room for the line that counts
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
	left := fmt.Sprintf("… %d lines are left out here; the ledger has everything", tail-head)
	if head > 0 && strings.HasPrefix(lines[head-1], "| ") {
		left = "| " + left + " |\n" // The table goes on behind it.
	} else {
		left = "- " + left + "\n"
	}
	out := strings.Join(lines[:head], "") + left + strings.Join(lines[tail:], "")
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
func (p *paper) ask(question string)          { p.line("- _" + question + "_") }
func (p *paper) cells(columns ...string)      { p.line("| " + strings.Join(columns, " | ") + " |") }
func (p *paper) link(label, address string)   { p.item("%s: %s", label, mdLink(address)) }
func (p *paper) head(columns ...string) {
	p.cells(columns...)
	p.line("|" + strings.Repeat(" --- |", len(columns)))
}

func md(s string) string        { return Markdown(s, maxLine) }
func mdName(s string) string    { return Markdown(s, maxName) }
func stamp(t time.Time) string  { return t.UTC().Format("2006-01-02 15:04:05") }
func orUnknown(s string) string { return orElse(s, "unknown") }
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

// labelled is a link with a label of Backout's own; empty when the address is none.
func labelled(label, address string) string {
	if a := Link(address); a != "" {
		return "[" + label + "](" + a + ")"
	}
	return ""
}

// EventAnchor is the fragment of an event's line on the incident's page in the
// console; empty for an ID that could not be one.
func EventAnchor(id string) string {
	if !eventID.MatchString(id) {
		return ""
	}
	return "event-" + id
}

// eventID is what the ID of a recorded event looks like.
var eventID = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,300}$`)

// event is a recorded event: a link to its line in the console, or its ID where there
// is no console.
func event(v incident.View, id string) string {
	anchor := EventAnchor(id)
	if anchor == "" || Link(v.ConsoleURL) == "" {
		return CodeSpan(id, 200)
	}
	label := strings.TrimPrefix(strings.TrimPrefix(id, "rollback/"), v.Key+"/")
	return labelled(CodeSpan(label, 200), v.ConsoleURL+"#"+anchor)
}

func (p *paper) status(v incident.View) {
	p.head("", "")
	row := func(name, value string) { p.cells(name, value) }
	row("Postmortem", "**draft** by Backout, for people to finish")
	row("Status", md(ending(v)))
	row("Severity", severity(v.Severity))
	row("Service", md(service(v)))
	row("Owner", mdName(owner(v))+" _(name one person)_")
	row("Due", orElse(day(due(v)), "_not set_"))
	row("Review meeting", "_when, and who comes?_")
	row("Incident", CodeSpan(v.Key, 150))
	var links []string
	for _, l := range [][2]string{{"page", v.SourceURL}, {"card", v.Card.URL}, {"console", v.ConsoleURL}} {
		if link := labelled(l[0], l[1]); link != "" {
			links = append(links, link)
		}
	}
	row("Links", orElse(strings.Join(links, " · "), "none"))
}

// owner is who has to see to the postmortem.
func owner(v incident.View) string {
	switch {
	case v.Team != "":
		return Plain(v.Team, maxName)
	case v.Commander != nil:
		return person(*v.Commander)
	default:
		return "owner of " + service(v)
	}
}

// day is a date, empty for none.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

func (p *paper) summary(v incident.View) {
	p.line(fmt.Sprintf("**%s %s**", severity(v.Severity), md(about(v))))
	p.line("")
	if s := likely(v); s != nil {
		p.item("%s: %s", causeWords(v), md(change(s.Change)))
	} else {
		p.item("Probable cause: none named. %s", md(v.Ranking.Reason))
	}
	if rb := v.LastRollback(); rb != nil {
		p.item("%s", md(undone(v, *rb)))
		if rb.Recovery != nil {
			p.item("%s. %s", md(verdictWords(rb.Recovery.Verdict)), md(rb.Recovery.Reason))
		}
	} else {
		p.item("No rollback was executed")
	}
	p.item("%s", capital(harm(v)))
	if d, broken := brokenGlass(v); broken {
		p.item("**BREAK-GLASS**: %s", md(glassWords(d)))
	}
}

// harm says from when to when it lasted, as far as that is known.
func harm(v incident.View) string {
	from, until := onset(v), recoveredAt(v)
	switch {
	case from.IsZero():
		return "when it began was not recorded"
	case !until.IsZero():
		return fmt.Sprintf("it lasted %s, from %s until recovery was measured at %s", between(from, until), stamp(from), stamp(until))
	case !v.ClosedAt.IsZero():
		return fmt.Sprintf("it lasted up to %s, from %s until it was closed at %s; no recovery was measured", between(from, v.ClosedAt), stamp(from), stamp(v.ClosedAt))
	default:
		return fmt.Sprintf("it began at %s, and no recovery was measured yet", stamp(from))
	}
}

// onset is when the harm began, as far as anybody said.
func onset(v incident.View) time.Time {
	if v.OpenedAt.IsZero() || !v.PagedAt.IsZero() && v.PagedAt.Before(v.OpenedAt) {
		return v.PagedAt
	}
	return v.OpenedAt
}

func (p *paper) times(v incident.View) {
	p.head("measure", "took", "from", "to")
	row := func(name string, from, to time.Time) {
		show := func(t time.Time) string {
			if t.IsZero() {
				return "not recorded"
			}
			return stamp(t)
		}
		length := took(from, to)
		if between(from, to) == "unknown" {
			length = "unknown"
		}
		p.cells(name, length, show(from), show(to))
	}
	began := v.OpenedAt
	if s := likely(v); s != nil && !s.Change.At.IsZero() && s.Change.At.Before(began) {
		began = s.Change.At
	}
	row("time to detect", began, v.PagedAt)
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

func (p *paper) detection(v incident.View) {
	p.item("reported by %s, opened %s, paged %s", source(v.Source), stampOr(v.OpenedAt), stampOr(v.PagedAt))
	p.ask("Could a check before the release, a canary or another alert have found it sooner?")
}

func stampOr(t time.Time) string {
	if t.IsZero() {
		return "at an unrecorded time"
	}
	return stamp(t)
}
