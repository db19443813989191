package blockkit

import "strconv"

// Kinds of text object.
const (
	plainTextKind = "plain_text"
	mrkdwnKind    = "mrkdwn"
)

// plainText returns a rule for a plain_text object of 1 to high characters.
func plainText(high int) rule {
	return func(w *walker, path string, value any) { w.textObject(path, value, high, false) }
}

// anyText returns a rule for a plain_text or mrkdwn object of 1 to high characters.
func anyText(high int) rule {
	return func(w *walker, path string, value any) { w.textObject(path, value, high, true) }
}

func (w *walker) textObject(path string, value any, high int, mrkdwn bool) {
	kind, ok := w.kind(path, value)
	if !ok {
		return
	}
	switch {
	case kind == plainTextKind:
		w.object(path, value, must("type", typed), must("text", text(1, high)), may("emoji", boolean))
	case kind == mrkdwnKind && mrkdwn:
		w.object(path, value, must("type", typed), must("text", text(1, high)), may("verbatim", boolean))
	case kind == mrkdwnKind:
		w.fail(path+"/type", "must be plain_text")
	default:
		w.fail(path+"/type", "unsupported type: %s", printable(kind))
	}
}

// printable shortens and quotes what came from outside, for an error message.
func printable(s string) string {
	const shown = 40
	runes := []rune(s)
	if len(runes) > shown {
		runes = runes[:shown]
	}
	return strconv.Quote(string(runes))
}

// confirm is the rule for a confirmation dialog.
func confirm(w *walker, path string, value any) {
	w.object(path, value,
		must("title", plainText(maxConfirmTitle)),
		must("text", plainText(maxConfirmText)),
		must("confirm", plainText(maxConfirmButton)),
		must("deny", plainText(maxConfirmButton)),
		may("style", oneOf("primary", "danger")),
	)
}

// menuOption is the rule for an option of a select menu.
func menuOption(w *walker, path string, value any) {
	w.object(path, value,
		must("text", plainText(maxOptionText)),
		must("value", text(1, maxOptionValue)),
		may("description", plainText(maxOptionDescription)),
	)
}

// overflowOption is the rule for an option of an overflow menu, which may be a link.
func overflowOption(w *walker, path string, value any) {
	w.object(path, value,
		must("text", plainText(maxOptionText)),
		must("value", text(1, maxOptionValue)),
		may("description", plainText(maxOptionDescription)),
		may("url", address()),
	)
}

// choiceOption is the rule for an option of checkboxes or radio buttons, the only
// ones that may be formatted.
func choiceOption(w *walker, path string, value any) {
	w.object(path, value,
		must("text", anyText(maxOptionText)),
		must("value", text(1, maxOptionValue)),
		may("description", anyText(maxOptionDescription)),
	)
}

// optionGroup is the rule for a labelled group of options.
func optionGroup(w *walker, path string, value any) {
	w.object(path, value,
		must("label", plainText(maxOptionGroupLabel)),
		must("options", list(1, maxOptions, menuOption)),
	)
}

// conversationFilter is the rule for the filter of a conversations menu.
func conversationFilter(w *walker, path string, value any) {
	members := w.object(path, value,
		may("include", list(1, 4, oneOf("im", "mpim", "private", "public"))),
		may("exclude_external_shared_channels", boolean),
		may("exclude_bot_users", boolean),
	)
	if members != nil && len(members) == 0 {
		w.fail(path, "must have at least one field")
	}
}

// dispatchConfig is the rule for when a text input sends its own interaction.
func dispatchConfig(w *walker, path string, value any) {
	w.object(path, value,
		must("trigger_actions_on", list(1, 2, oneOf("on_enter_pressed", "on_character_entered"))))
}

// slackFile is the rule for an image that is stored in Slack.
func slackFile(w *walker, path string, value any) {
	members := w.object(path, value, may("id", text(1, maxActionID)), may("url", address("https")))
	if members == nil {
		return
	}
	_, byID := members["id"]
	_, byURL := members["url"]
	if byID == byURL {
		w.fail(path, "must have exactly one of: id, url")
	}
}
