package views

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// Limits of menus in modals.
// Source: https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element
const (
	maxMenuOptions = 100
	maxMenuGroups  = 100
	maxMenuValue   = 150
)

// maxIncidentsListed is how many open incidents one answer lists.
const maxIncidentsListed = 15

// Menu is what the empty slash command shows.
func Menu(command string) Card {
	text := "Backout: what do you want to do?"
	declare := button(ActionDeclare, "Declare an incident", "declare")
	declare.WithStyle(slack.StylePrimary)
	return Card{
		Blocks: kept(
			new(runs).bold(text).text("\nEverything here is also a command; "+Plain(command, maxName)+" help lists them.").block("menu"),
			actions("menu-actions", declare, button(ActionList, "Open incidents", "list"), button(ActionHelp, "Help", "help")),
		),
		Text: text,
	}
}

// Said is a message of plain words, in which nothing is interpreted.
func Said(words string) Card {
	return Card{
		Blocks: []slack.Block{new(runs).text(notEmpty(plainLines(words, maxSection))).blockOf("said", maxSection)},
		Text:   notEmpty(Mrkdwn(words, maxSection)),
	}
}

// OpenIncidents lists incidents, each with a button that shows it.
func OpenIncidents(list []incident.View) Card {
	if len(list) == 0 {
		return Said("No incident is open.")
	}
	return rows("Open incidents", list, func(v incident.View) *slack.ButtonBlockElement {
		return button(ActionStatus, "Show", Ref{Key: v.Key, Revision: v.Revision}.Encode())
	})
}

// Choose asks which incident a typed command is for.
func Choose(text string, list []incident.View) Card {
	return rows("Which incident do you mean?", list, func(v incident.View) *slack.ButtonBlockElement {
		return button(ActionPick, "This one", Pick{Key: v.Key, Text: text}.Encode())
	})
}

func rows(title string, list []incident.View, of func(incident.View) *slack.ButtonBlockElement) Card {
	blocks := kept(new(runs).bold(title).block("title"))
	for i, v := range list {
		if i == maxIncidentsListed {
			blocks = append(blocks, new(runs).text(fmt.Sprintf("… and %d more", len(list)-i)).block("more"))
			break
		}
		text := fmt.Sprintf("%s %s · %s · %s\n%s · %s", glyph(v.Phase), severity(v.Severity), service(v), Plain(v.Title, maxLine), Plain(v.Key, 150), headline(v))
		var accessory *slack.Accessory
		if b := of(v); b != nil {
			accessory = slack.NewAccessory(b)
		}
		blocks = append(blocks, slack.NewSectionBlock(plain(text, maxSection), nil, accessory,
			slack.SectionBlockOptionBlockID(fmt.Sprintf("incident-%d", i))))
	}
	return Card{Blocks: blocks, Text: title}
}

// Declaration is what the declare modal is opened with.
type Declaration struct {
	// Services are the catalogue's names; without any, the service is typed.
	Services []string
	// Title fills the title in advance.
	Title string
	// Channel is where the card goes.
	Channel string
}

// DeclareModal asks for service, title and severity.
func DeclareModal(d Declaration) slack.ModalViewRequest {
	title := slack.NewPlainTextInputBlockElement(plain("What do people see?", 150), InputTitle).WithMinLength(1).WithMaxLength(incident.MaxTitle)
	if t := Plain(d.Title, incident.MaxTitle); t != "" {
		title.WithInitialValue(t)
	}
	var severities []*slack.OptionBlockObject
	for _, s := range []struct {
		severity incident.Severity
		words    string
	}{
		{incident.Sev1, "SEV1: all customers, or data at risk"},
		{incident.Sev2, "SEV2: many customers"},
		{incident.Sev3, "SEV3: some customers"},
		{incident.Sev4, "SEV4: nobody noticed yet"},
	} {
		severities = append(severities, slack.NewOptionBlockObject(string(s.severity), plain(s.words, maxLabel), nil))
	}
	severity := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("How bad is it?", 150), InputSeverity, severities...)
	severity.InitialOption = severities[2]
	return modal(CallbackDeclare, "Declare an incident", "Declare", metadata(Metadata{Channel: d.Channel}),
		slack.NewInputBlock(InputService, plain("Service", maxLabel), nil, serviceInput(d.Services)),
		slack.NewInputBlock(InputTitle, plain("Title", maxLabel), nil, title),
		slack.NewInputBlock(InputSeverity, plain("Severity", maxLabel), nil, severity),
	)
}

// serviceInput is a menu of the catalogue, in groups when it is long.
func serviceInput(services []string) slack.BlockElement {
	var list []*slack.OptionBlockObject
	for _, s := range services {
		name := Plain(s, maxMenuValue)
		if name == "" || name != s {
			continue // a name that can not be carried unchanged would name another service
		}
		list = append(list, slack.NewOptionBlockObject(name, plain(name, maxLabel), nil))
	}
	placeholder := plain("Which service is hurt?", 150)
	switch {
	case len(list) == 0:
		return slack.NewPlainTextInputBlockElement(placeholder, InputService).WithMinLength(1).WithMaxLength(maxName)
	case len(list) <= maxMenuOptions:
		return slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, placeholder, InputService, list...)
	}
	var groups []*slack.OptionGroupBlockObject
	for i := 0; i < len(list) && len(groups) < maxMenuGroups; i += maxMenuOptions {
		part := list[i:min(i+maxMenuOptions, len(list))]
		label := cut(part[0].Value, 30) + " to " + cut(part[len(part)-1].Value, 30)
		groups = append(groups, slack.NewOptionGroupBlockElement(plain(label, maxLabel), part...))
	}
	return slack.NewOptionsGroupSelectBlockElement(slack.OptTypeStatic, placeholder, InputService, groups...)
}

// RefuseModal asks why. The reason leads to the next option, so it is required.
func RefuseModal(ref Ref) slack.ModalViewRequest {
	reason := slack.NewPlainTextInputBlockElement(plain("What is wrong with this plan?", 150), InputReason).
		WithMinLength(1).WithMaxLength(incident.MaxReason).WithMultiline(true)
	return modal(CallbackRefuse, "Refuse "+Plain(ref.Option, 10), "Refuse", metadata(Metadata{Ref: &ref, Channel: ref.Channel}),
		new(runs).text("Plan "+incident.ShortDigest(ref.Digest)+". The reason is recorded with your name and shown on the card.").block("intro"),
		slack.NewInputBlock(InputReason, plain("Reason", maxLabel), nil, reason),
	)
}

// BreakGlassModal asks why one person approves alone, past the policy. The reason is
// required, as where the command is typed.
func BreakGlassModal(ref Ref) slack.ModalViewRequest {
	reason := slack.NewPlainTextInputBlockElement(plain("Why can nobody with authority decide in time?", 150), InputReason).
		WithMinLength(1).WithMaxLength(incident.MaxReason).WithMultiline(true)
	return modal(CallbackBreakGlass, "Break the glass: "+Plain(ref.Option, 6), "Approve alone", metadata(Metadata{Ref: &ref, Channel: ref.Channel}),
		new(runs).bold("You approve plan "+incident.ShortDigest(ref.Digest)+" alone, past the policy.").
			text(" The next level, the owners and security are paged at once, and it will be reviewed. Evidence, lock and ledger are not skipped.").block("intro"),
		slack.NewInputBlock(InputReason, plain("Reason", maxLabel), nil, reason),
	)
}

// HandOverModal asks who is to be the incident commander.
func HandOverModal(ref Ref) slack.ModalViewRequest {
	return modal(CallbackHandOver, "Hand over command", "Hand over", metadata(Metadata{Ref: &ref, Channel: ref.Channel}),
		new(runs).text("Approvals that wait for more people become void: they have to be given again. It is recorded with your name.").block("intro"),
		slack.NewInputBlock(InputPerson, plain("Incident commander", maxLabel), nil,
			slack.NewOptionsSelectBlockElement(slack.OptTypeUser, plain("Who takes over?", 150), InputPerson)),
	)
}

func modal(callback, title, submit, private string, blocks ...slack.Block) slack.ModalViewRequest {
	return slack.ModalViewRequest{
		Type:            slack.VTModal,
		CallbackID:      callback,
		Title:           plain(title, 24),
		Submit:          plain(submit, 24),
		Close:           plain("Go back", 24),
		PrivateMetadata: private,
		Blocks:          slack.Blocks{BlockSet: blocks},
	}
}

// Metadata is what a modal carries from where it was opened to where it is
// submitted.
type Metadata struct {
	Ref     *Ref   `json:"ref,omitempty"`
	Channel string `json:"channel,omitempty"`
}

func metadata(m Metadata) string {
	b, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	return string(b)
}

// ParseMetadata reads what a modal carried, as strictly as ParseRef.
func ParseMetadata(s string) (Metadata, error) {
	var m Metadata
	if err := decode(s, &m); err != nil {
		return Metadata{}, err
	}
	if m.Ref != nil {
		if _, err := ParseRef(m.Ref.Encode()); err != nil {
			return Metadata{}, err
		}
	}
	if strings.ContainsFunc(m.Channel, func(r rune) bool { return r < '0' || r > 'z' }) {
		return Metadata{}, fmt.Errorf("parse modal: channel %q is none", Plain(m.Channel, 20))
	}
	return m, nil
}
