package views

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// How much of one option the card shows.
const (
	maxActionsShown = 2
	maxReverts      = 4
	maxPreflights   = 3
	// maxOptionText is the share of one option, in characters; Slack's limit
	// for a field of a section is 2000.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxOptionText = 900
)

// options is the ways out side by side, two in a row, each with its buttons.
// They are shown while somebody can decide.
func options(v incident.View) []slack.Block {
	switch v.Phase {
	case incident.PhaseDeciding, incident.PhaseStuck:
	case incident.PhaseCollecting, incident.PhaseRollingBack, incident.PhaseValidating, incident.PhaseRecovered, incident.PhaseClosed:
		return nil
	default:
		return nil
	}
	shown := v.Options[:min(len(v.Options), maxOptionsShown)]
	primary := recommended(v, shown)
	var blocks []slack.Block
	for i := 0; i < len(shown); i += 2 {
		pair := shown[i:min(i+2, len(shown))]
		var fields []*slack.TextBlockObject
		var elements []slack.BlockElement
		for j, o := range pair {
			fields = append(fields, slack.NewTextBlockObject(slack.MarkdownType, optionText(v, o), false, true))
			elements = append(elements, optionElements(v, o, i+j, i+j == primary)...)
		}
		section := slack.NewSectionBlock(nil, fields, nil, slack.SectionBlockOptionBlockID(fmt.Sprintf("options-%d", i/2)))
		if len(fields) == 1 { // Alone, it has the whole width.
			section = slack.NewSectionBlock(fields[0], nil, nil, slack.SectionBlockOptionBlockID(fmt.Sprintf("options-%d", i/2)))
		}
		blocks = append(blocks, kept(section, row(fmt.Sprintf("decide-%d", i/2), elements))...)
	}
	if more := len(v.Options) - len(shown); more > 0 {
		blocks = append(blocks, new(runs).text(fmt.Sprintf("… and %d more options; the console and the command line show them all.", more)).block("more-options"))
	}
	return blocks
}

// recommended is the index of the one option whose button is primary, or -1.
func recommended(v incident.View, shown []incident.Option) int {
	for i, o := range shown {
		if o.Recommended && decidable(o) && held(v) == nil {
			return i
		}
	}
	return -1
}

// optionText is one option as safe mrkdwn: the same lines in the same order for
// each, so that two can be compared at a glance.
func optionText(v incident.View, o incident.Option) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	mark := ""
	if o.Recommended && decidable(o) {
		mark = "  ★ recommended"
	}
	line("*%s · %s*%s", Mrkdwn(o.ID, 20), Mrkdwn(o.Title, 80), mark)
	for i, a := range o.Plan.Actions {
		if i == maxActionsShown {
			line("… and %d more actions", len(o.Plan.Actions)-i)
			break
		}
		line("%s", Mrkdwn(move(a), 120))
	}
	line("*Decides:* %s (%s)", Mrkdwn(decider(o.Tier, optionService(v, o)), 100), o.Tier)
	if awaited(v, o) {
		line("⏳ *Approved:* it starts at %s unless somebody objects", clock(v.Objections.Until))
	}
	if needsStepUp(o) {
		line("🔑 *With a passkey,* in the console; a click in Slack does not count")
	}
	takes := "time unknown"
	if o.ExpectedTime > 0 {
		takes = "about " + span(o.ExpectedTime)
	}
	if o.OneWay() {
		line("*Takes:* %s", takes)
		line("⛔ *One-way door:* it can not be undone")
	} else {
		line("*Takes:* %s · ↩ can be undone", takes)
	}
	for _, p := range preflights(o) {
		line("%s", Mrkdwn(p, 100))
	}
	// What is cut first comes last.
	if len(o.WontRevert) > 0 {
		line("*Will not revert:* %s", Mrkdwn(listed(o.WontRevert, maxReverts), 150))
	}
	if o.Risk != "" {
		line("*Risk:* %s", Mrkdwn(o.Risk, 100))
	}
	if o.TierReason != "" {
		line("*Blast radius:* %s", Mrkdwn(o.TierReason, 100))
	}
	for _, l := range radiusLines(o.Radius) {
		line("%s", l)
	}
	b.WriteString("Plan " + incident.ShortDigest(o.Digest))
	return cutLines(b.String(), maxOptionText)
}

// cutLines leaves out lines before the last one, which names the plan, so that
// no formatting is cut in half.
func cutLines(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	lines := strings.Split(text, "\n")
	last := "…\n" + lines[len(lines)-1]
	room, out := limit-utf8.RuneCountInString(last), ""
	for _, line := range lines[:len(lines)-1] {
		n := utf8.RuneCountInString(line) + 1
		if n > room {
			break
		}
		room -= n
		out += line + "\n"
	}
	return out + last
}

func optionService(v incident.View, o incident.Option) string {
	if s := Plain(o.Plan.Service, maxName); s != "" {
		return s
	}
	return service(v)
}

// listed joins a few items and counts the rest.
func listed(items []string, limit int) string {
	items = slices.Clone(items)
	for i := range items {
		items[i] = strings.TrimRight(items[i], ". ")
	}
	if len(items) <= limit {
		return strings.Join(items, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(items[:limit], "; "), len(items)-limit)
}

// preflights is what stands against an option, the worst first, in words.
func preflights(o incident.Option) []string {
	var blocked, unknown, warnings []string
	passed := 0
	for _, p := range o.Preflight {
		text := Plain(p.Name, maxName) + ": " + Plain(p.Reason, maxLine)
		switch p.Result {
		case incident.PreflightOK:
			passed++
		case incident.PreflightBlocked:
			blocked = append(blocked, "⛔ Blocked: "+text)
		case incident.PreflightWarning:
			warnings = append(warnings, "⚠ "+text)
		case incident.PreflightUnknown:
			unknown = append(unknown, "❔ Not known: "+text)
		default:
			unknown = append(unknown, "❔ Not known: "+text)
		}
	}
	out := append(append(blocked, unknown...), warnings...)
	if o.Blocked && len(blocked) == 0 {
		out = append([]string{"⛔ Blocked"}, out...)
	}
	if len(out) > maxPreflights {
		out = append(out[:maxPreflights:maxPreflights], fmt.Sprintf("… and %d more findings", len(out)-maxPreflights))
	}
	if passed > 0 {
		out = append(out, fmt.Sprintf("✔ %d of %d checks passed", passed, len(o.Preflight)))
	}
	return out
}

// optionElements are the answers to an option: two buttons, and behind them a menu
// with what is seldom wanted.
func optionElements(v incident.View, o incident.Option, index int, primary bool) []slack.BlockElement {
	elements := pressable(optionButtons(v, o, index, primary))
	if m := optionMenu(v, o, index); m != nil {
		elements = append(elements, m)
	}
	return elements
}

// optionMenu leads to the form of an approval past the policy. It is nil where the
// policy allows none, and where only the console counts, which has a form of its own.
// A reference that is too long for a menu leaves the typed command.
func optionMenu(v incident.View, o incident.Option, index int) *slack.OverflowBlockElement {
	ref := Ref{Key: v.Key, Option: o.ID, Digest: o.Digest, Revision: v.Revision}.Encode()
	if !o.BreakGlass || !decidable(o) || needsStepUp(o) || ref == "" || len(ref) > maxMenuValue {
		return nil
	}
	return slack.NewOverflowBlockElement(fmt.Sprintf("%s:%d", ActionBreakGlass, index),
		slack.NewOptionBlockObject(ref, plain("Break the glass for "+Plain(o.ID, 20)+"…", maxLabel), nil))
}

// optionButtons are the two answers to an option; none when nobody could give
// them.
func optionButtons(v incident.View, o incident.Option, index int, primary bool) []*slack.ButtonBlockElement {
	if !decidable(o) {
		return nil
	}
	ref := Ref{Key: v.Key, Option: o.ID, Digest: o.Digest, Revision: v.Revision}.Encode()
	if held(v) != nil {
		return objectButtons(v, o, index, ref)
	}
	if needsStepUp(o) {
		return []*slack.ButtonBlockElement{stepUpButton(v, o, index, ref), button(fmt.Sprintf("%s:%d", ActionRefuse, index), "Refuse "+Plain(o.ID, 20), ref)}
	}
	approve := button(fmt.Sprintf("%s:%d", ActionApprove, index), "Approve "+Plain(o.ID, 20), ref)
	refuse := button(fmt.Sprintf("%s:%d", ActionRefuse, index), "Refuse "+Plain(o.ID, 20), ref)
	if approve == nil || refuse == nil {
		return nil
	}
	style := slack.StylePrimary
	if o.OneWay() {
		style = slack.StyleDanger
	}
	approve.WithConfirm(confirmation("Approve "+Plain(o.ID, 20)+"?", confirmText(o), "Approve", style))
	switch {
	case primary:
		approve.WithStyle(slack.StylePrimary)
	case o.OneWay():
		approve.WithStyle(slack.StyleDanger)
	}
	return []*slack.ButtonBlockElement{approve, refuse}
}

// confirmText names the plan and its tier, and what a tired person must not
// overlook.
func confirmText(o incident.Option) string {
	text := fmt.Sprintf("Plan %s, %s. %s", incident.ShortDigest(o.Digest), o.Tier, sentence(cut(Plain(o.Title, maxLine), 80)))
	if o.OneWay() {
		text += " ONE-WAY DOOR: it can not be undone."
	}
	if len(o.Plan.Actions) > 0 {
		text += " " + cut(move(o.Plan.Actions[0]), 90)
	}
	if n := len(o.Plan.Actions) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more actions", n)
	}
	return text
}

// Preview is what a person who typed an approval sees before it counts: the
// plan, and one button that carries its digest.
func Preview(v incident.View, o incident.Option) Card {
	elements := optionElements(v, o, 0, decidable(o) && !o.OneWay())
	section := slack.NewSectionBlock(nil, []*slack.TextBlockObject{
		slack.NewTextBlockObject(slack.MarkdownType, optionText(v, o), false, true),
	}, nil, slack.SectionBlockOptionBlockID("option"))
	intro := new(runs).text("An approval counts for exactly one plan. This is it; press the button to approve it.")
	if needsStepUp(o) {
		intro = new(runs).text("This plan is approved with a passkey, in the console. Nothing was done here.")
	}
	if waits := objections(v); waits != "" {
		intro = new(runs).text(waits + ". Nothing was done here.")
	}
	if len(elements) == 0 {
		intro = new(runs).text("Nobody can approve this option now.")
	}
	return Card{
		Blocks: kept(intro.block("intro"), section, row("decide", elements)),
		Text:   "Approve " + Mrkdwn(o.ID, 20) + "? Plan " + incident.ShortDigest(o.Digest),
	}
}
