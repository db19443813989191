package views

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// Card is a Slack message: its blocks, and the text that notifications and
// screen readers show instead.
type Card struct {
	Blocks []slack.Block
	// Text is safe mrkdwn.
	Text string
}

// How much of an incident the card shows. What is left out is counted, never
// silently dropped.
const (
	maxOptionsShown   = 4
	maxTargetsShown   = 10
	maxTimelineShown  = 5
	maxDecisionsShown = 5
	maxNotesShown     = 5
)

// NewCard is the one card of an incident. It has at most one primary button
// and stays within Slack's limits whatever the view holds.
func NewCard(v incident.View) Card {
	blocks := kept(header(v), glass(v), status(v), suspect(v))
	blocks = append(blocks, options(v)...)
	blocks = append(blocks, kept(rollback(v), verdict(v), decisions(v), notes(v), timeline(v), links(v), commands(v))...)
	return Card{Blocks: blocks, Text: fallback(v)}
}

func fallback(v incident.View) string {
	if _, broken := brokenGlass(v); broken {
		return fmt.Sprintf("%s %s %s (%s)", glassMark, severity(v.Severity), Mrkdwn(about(v), maxLine), Mrkdwn(headline(v), maxLine))
	}
	return fmt.Sprintf("%s %s (%s)", severity(v.Severity), Mrkdwn(about(v), maxLine), Mrkdwn(headline(v), maxLine))
}

func header(v incident.View) slack.Block {
	text := fmt.Sprintf("%s %s · %s", glyph(v.Phase), severity(v.Severity), about(v))
	return slack.NewHeaderBlock(plain(text, maxHeader))
}

// about is the service and the title. Many titles begin with the service; it is
// said once.
func about(v incident.View) string {
	title := Plain(v.Title, maxHeader)
	if name := service(v); !strings.HasPrefix(strings.ToLower(title), strings.ToLower(name)+":") {
		return name + ": " + title
	}
	return title
}

func service(v incident.View) string {
	if s := Plain(v.Service, maxName); s != "" {
		return s
	}
	return "service unknown"
}

func severity(s incident.Severity) string {
	switch s {
	case incident.Sev1, incident.Sev2, incident.Sev3, incident.Sev4:
		return strings.ToUpper(string(s))
	default:
		return "SEV?"
	}
}

func glyph(p incident.Phase) string {
	switch p {
	case incident.PhaseCollecting, incident.PhaseDeciding:
		return "🔴"
	case incident.PhaseRollingBack:
		return "🟠"
	case incident.PhaseValidating:
		return "🔵"
	case incident.PhaseRecovered:
		return "🟢"
	case incident.PhaseStuck:
		return "🛑"
	case incident.PhaseClosed:
		return "⚪"
	default:
		return "❔"
	}
}

// headline says in a few words where the incident stands.
func headline(v incident.View) string {
	if waits := objections(v); waits != "" {
		return waits
	}
	last := v.LastRollback()
	switch v.Phase {
	case incident.PhaseCollecting:
		return "Looking for what changed"
	case incident.PhaseDeciding:
		return deciding(v)
	case incident.PhaseRollingBack:
		if last != nil && last.Step != "" {
			return "Rolling back: " + Plain(last.Step, maxLine)
		}
		return "Rolling back"
	case incident.PhaseValidating:
		return "Rolled back, judging recovery"
	case incident.PhaseRecovered:
		return "Recovered"
	case incident.PhaseStuck:
		if last != nil && last.Reason != "" {
			return "Stuck: " + Plain(last.Reason, maxLine)
		}
		if dataAlone(last) {
			return "Stuck: the service is well, and its data has to be looked at"
		}
		return "Stuck: a person has to decide what next"
	case incident.PhaseClosed:
		if last != nil && last.Recovery != nil && last.Recovery.Verdict == incident.VerdictRecovered {
			return "Closed, recovered"
		}
		return "Closed"
	default:
		return "In a phase that this version does not know"
	}
}

func deciding(v incident.View) string {
	switch {
	case v.Waiting != "":
		return "Waiting: " + Plain(v.Waiting, maxLine)
	case len(v.Options) == 0:
		return "No way out was found: roll back by hand, or look for the change and refresh"
	}
	if slices.ContainsFunc(v.Options, decidable) {
		return "Waiting for a decision"
	}
	return "Every option is blocked: see why below"
}

func status(v incident.View) slack.Block {
	r := new(runs).bold(headline(v))
	if !v.PagedAt.IsZero() {
		r.text("\nPaged " + clock(v.PagedAt))
	} else {
		r.text("\nOpened " + clock(v.OpenedAt))
	}
	if v.Commander != nil {
		r.text(" · commander " + person(*v.Commander))
	} else if v.Phase != incident.PhaseClosed {
		r.text(" · nobody is in command")
	}
	if team := Plain(v.Team, maxName); team != "" {
		r.text(" · team " + team)
	}
	if !v.ClosedAt.IsZero() {
		r.text(" · closed " + clock(v.ClosedAt))
	}
	return r.block("status")
}

// likely is the change that the ranking blames, or nil when it abstains.
func likely(v incident.View) *incident.Suspect {
	if v.Ranking.Likely < 0 || v.Ranking.Likely >= len(v.Ranking.Suspects) {
		return nil
	}
	return &v.Ranking.Suspects[v.Ranking.Likely]
}

func suspect(v incident.View) slack.Block {
	r := new(runs)
	s := likely(v)
	switch {
	case s != nil:
		r.bold("Probably the " + what(s.Change)).text(who(s.Change))
		if why := Plain(s.Reason, maxLine); why != "" {
			r.text("\n" + why)
		}
		if Link(s.Change.URL) != "" {
			r.text(" ").link(s.Change.URL, "Look at it.")
		}
		if n := len(v.Ranking.Suspects) - 1; n > 0 {
			r.text(" " + plural(n, "other change was", "other changes were") + " looked at.")
		}
	case v.Phase == incident.PhaseCollecting:
		return nil
	default:
		r.bold("No likely culprit. ").text(Plain(v.Ranking.Reason, maxLine))
	}
	return r.block("suspect")
}

// what is the kind, the service and the states of a change.
func what(c incident.Change) string {
	var b strings.Builder
	b.WriteString(Plain(string(c.Kind), maxName))
	if c.Service != "" {
		b.WriteString(" of " + Plain(c.Service, maxName))
	}
	switch {
	case c.From == incident.StateAbsent:
		b.WriteString(" to " + notEmpty(Plain(c.To, maxName)) + ", the first")
	case c.From != "":
		b.WriteString(" from " + Plain(c.From, maxName) + " to " + notEmpty(Plain(c.To, maxName)))
	case c.To != "":
		b.WriteString(" to " + Plain(c.To, maxName))
	}
	return b.String()
}

// who is when and by whom a change was made, and what its source says of it.
func who(c incident.Change) string {
	var b strings.Builder
	b.WriteString(", " + clock(c.At))
	if c.Author != "" {
		b.WriteString(" by " + Plain(c.Author, maxName))
	}
	if c.Summary != "" {
		b.WriteString(": " + Plain(c.Summary, maxLine))
	}
	return b.String()
}

func decisions(v incident.View) slack.Block {
	if len(v.Decisions) == 0 {
		return nil
	}
	r := new(runs).bold("Decisions").text(" (UTC)")
	first := max(0, len(v.Decisions)-maxDecisionsShown)
	if first > 0 {
		r.text(fmt.Sprintf(", %d earlier", first))
	}
	for _, d := range v.Decisions[first:] {
		r.text("\n" + decision(d))
	}
	return r.block("decisions")
}

// glassMark stands where a plan was approved past the policy: red, whatever the
// colours of the reader's Slack are.
const glassMark = "🟥 BREAK-GLASS"

// brokenGlass is the newest approval past the policy, if there is one.
func brokenGlass(v incident.View) (incident.Decision, bool) {
	for _, d := range slices.Backward(v.Decisions) {
		if d.BreakGlass && d.Outcome == incident.OutcomeApproved {
			return d, true
		}
	}
	return incident.Decision{}, false
}

// glassWords say who broke the glass, and what follows.
func glassWords(d incident.Decision) string {
	who := person(d.Person)
	if who == "" {
		who = Plain(d.Actor.String(), maxName)
	}
	why := Plain(d.Reason, maxLine)
	return fmt.Sprintf("%s approved %s alone, past the policy, at %s UTC: “%s”. Evidence, lock and ledger were not skipped. It will be reviewed.",
		who, Plain(d.OptionID, maxName), hms(d.At), orElse(why, "no reason recorded"))
}

// glass is the banner of an approval past the policy; nil when there was none.
func glass(v incident.View) slack.Block {
	d, broken := brokenGlass(v)
	if !broken {
		return nil
	}
	return new(runs).bold("🟥🟥🟥 BREAK-GLASS 🟥🟥🟥").text("\n" + glassWords(d)).block("break-glass")
}

// decision is one recorded answer in one line.
func decision(d incident.Decision) string {
	who := person(d.Person)
	if who == "" {
		who = Plain(d.Actor.String(), maxName)
	}
	if len(d.Roles) > 0 {
		roles := make([]string, 0, len(d.Roles))
		for _, role := range d.Roles {
			roles = append(roles, strings.ReplaceAll(Plain(string(role), maxName), "_", " "))
		}
		who += " (" + strings.Join(roles, ", ") + ")"
	}
	line := fmt.Sprintf("%s  %s: %s %s, plan %s: %s", hms(d.At), who, Plain(string(d.Answer), maxName), Plain(d.OptionID, maxName),
		incident.ShortDigest(d.PlanDigest), Plain(string(d.Outcome), maxName))
	if d.BreakGlass {
		line += ", BREAK-GLASS"
	}
	if s := Plain(d.Sentence, maxLine); s != "" {
		line += ". " + capital(s)
	}
	if s := Plain(d.Reason, maxLine); s != "" {
		line += " “" + s + "”"
	}
	return line
}

func notes(v incident.View) slack.Block {
	if len(v.Notes) == 0 {
		return nil
	}
	r := new(runs).bold("Know that")
	for i, n := range v.Notes {
		if i == maxNotesShown {
			r.text(fmt.Sprintf("\n… and %d more notes", len(v.Notes)-i))
			break
		}
		r.text("\n• " + Plain(n, maxLine))
	}
	return r.block("notes")
}

func timeline(v incident.View) slack.Block {
	if len(v.Timeline) == 0 {
		return nil
	}
	r := new(runs).bold("Timeline").text(" (UTC)")
	first := max(0, len(v.Timeline)-maxTimelineShown)
	if first > 0 {
		r.text(fmt.Sprintf(", %d earlier", first))
	}
	for _, e := range v.Timeline[first:] {
		r.text("\n" + hms(e.At) + "  " + Plain(e.Text, maxLine))
		if e.Actor != "" {
			r.text(" (" + Plain(e.Actor, maxName) + ")")
		}
	}
	return r.block("timeline")
}

func links(v incident.View) slack.Block {
	r := new(runs)
	add := func(address, label string) {
		if Link(address) == "" {
			return
		}
		if len(r.elements) > 0 {
			r.text(" · ")
		}
		r.link(address, label)
	}
	add(v.SourceURL, "The page")
	if v.Postmortem.Number > 0 {
		add(v.Postmortem.URL, fmt.Sprintf("Postmortem #%d", v.Postmortem.Number))
	}
	add(v.ConsoleURL, "Console")
	return r.block("links")
}

// commands is the row of buttons that concern the whole incident.
func commands(v incident.View) slack.Block {
	ref := Ref{Key: v.Key, Revision: v.Revision}.Encode()
	of := func(verb incident.Verb, label string) *slack.ButtonBlockElement {
		return button(ActionCommand+":"+string(verb), label, ref)
	}
	asked := func(verb incident.Verb, label, text string) *slack.ButtonBlockElement {
		b := of(verb, label)
		if b != nil {
			b.WithConfirm(confirmation(label+"?", text, label, slack.StyleDanger))
		}
		return b
	}
	command, handover := of(incident.VerbTakeCommand, "Take command"), (*slack.ButtonBlockElement)(nil)
	if v.Commander != nil {
		// Somebody has it, and what waits for more approvals under them is lost.
		command = asked(incident.VerbTakeCommand, "Take command",
			cut(person(*v.Commander), maxName)+" is in command. Approvals that wait for more people become void, and have to be given again.")
		handover = of(incident.VerbHandOver, "Hand over…")
	}
	refresh := of(incident.VerbRefresh, "Look again")
	escalate := of(incident.VerbEscalate, "Page the next level")
	redo := func() *slack.ButtonBlockElement {
		if !mutated(v.LastRollback()) {
			return nil
		}
		return asked(incident.VerbRedo, "Undo the rollback", "This offers the inverse of the rollback as a new option. Somebody still has to approve it.")
	}
	closing := func() *slack.ButtonBlockElement {
		// Not red: the eye is to fall on the way out, not on the end.
		return asked(incident.VerbClose, "Close", "This ends the incident by hand, whatever the measurements say. It is recorded with your name.")
	}
	switch v.Phase {
	case incident.PhaseCollecting:
		return actions("commands", command, handover, escalate)
	case incident.PhaseDeciding:
		return actions("commands", command, handover, refresh, escalate, closing())
	case incident.PhaseRollingBack:
		stop := asked(incident.VerbCancel, "Stop the rollback",
			"It stops before its next action. What was done already stays done, and the card shows each target's true state.")
		if stop != nil {
			stop.WithStyle(slack.StyleDanger)
		}
		return actions("commands", stop, escalate)
	case incident.PhaseValidating:
		return actions("commands", command, handover, escalate)
	case incident.PhaseRecovered:
		return actions("commands", redo(), closing())
	case incident.PhaseStuck:
		return actions("commands", command, handover, refresh, escalate, redo(), closing())
	case incident.PhaseClosed:
		return nil
	default:
		return nil
	}
}

// mutated reports whether a rollback changed anything that could be undone.
func mutated(r *incident.RollbackView) bool {
	if r == nil {
		return false
	}
	for _, a := range r.Actions {
		if a.Applied {
			return true
		}
	}
	return false
}
