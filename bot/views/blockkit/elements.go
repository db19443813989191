package blockkit

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// place is a set of blocks in which an element may stand.
type place uint8

const (
	inSection place = 1 << iota
	inActions
	inInput
)

// element says where an element may stand and what it looks like.
type element struct {
	in     place
	on     []Surface // nil for every surface
	fields []field   // besides type
	check  func(w *walker, path string, members map[string]any)
}

// elementIn returns the rule for an element that stands in a block of that place.
func elementIn(where place) rule {
	return func(w *walker, path string, value any) {
		kind, ok := w.kind(path, value)
		if !ok {
			return
		}
		if kind == "image" && where == inSection {
			w.imageElement(path, value)
			return
		}
		e, known := elements[kind]
		if !known {
			w.fail(path+"/type", "unsupported type: %s", printable(kind))
			return
		}
		if e.in&where == 0 {
			w.fail(path+"/type", "%s is not allowed in this block", kind)
			return
		}
		if !e.shownOn(w.surface) {
			w.fail(path+"/type", "%s is not allowed on this surface: %s", kind, w.surface)
			return
		}
		members := w.object(path, value, append([]field{must("type", typed)}, e.fields...)...)
		if members != nil && e.check != nil {
			e.check(w, path, members)
		}
	}
}

func (e element) shownOn(surface Surface) bool {
	return e.on == nil || slices.Contains(e.on, surface)
}

func (w *walker) imageElement(path string, value any) {
	members := w.object(path, value,
		must("type", typed),
		may("image_url", address("http", "https")),
		may("slack_file", slackFile),
		must("alt_text", text(1, maxAltText)),
	)
	w.imageSource(path, members)
}

// The members that many elements share.
var (
	idField          = may("action_id", actionID)
	confirmField     = may("confirm", confirm)
	focusField       = may("focus_on_load", focus)
	placeholderField = may("placeholder", plainText(maxPlaceholder))
	dispatchField    = may("dispatch_action_config", dispatchConfig)
	selectedField    = may("max_selected_items", integer(1, maxOptions))
)

// everywhere is where menus and pickers may stand.
const everywhere = inSection | inActions | inInput

// elements are the interactive elements by type.
// Source: https://docs.slack.dev/reference/block-kit/block-elements
var elements = map[string]element{
	"button": {in: inSection | inActions, fields: []field{
		idField, confirmField,
		must("text", plainText(maxButtonText)),
		may("value", text(0, maxButtonValue)),
		may("url", address()),
		may("style", oneOf("primary", "danger")),
		may("accessibility_label", text(1, maxAccessibilityLabel)),
	}},
	"overflow": {in: inSection | inActions, fields: []field{
		idField, confirmField,
		must("options", list(1, maxOverflowOptions, overflowOption)),
	}},
	"checkboxes": {in: everywhere, check: initialChoices, fields: []field{
		idField, confirmField, focusField,
		must("options", list(1, maxChoices, choiceOption)),
		may("initial_options", list(1, maxChoices, choiceOption)),
	}},
	"radio_buttons": {in: everywhere, check: initialChoices, fields: []field{
		idField, confirmField, focusField,
		must("options", list(1, maxChoices, choiceOption)),
		may("initial_option", choiceOption),
	}},
	"datepicker": {in: everywhere, fields: []field{
		idField, confirmField, focusField, placeholderField,
		may("initial_date", moment(time.DateOnly, "YYYY-MM-DD")),
	}},
	"timepicker": {in: everywhere, fields: []field{
		idField, confirmField, focusField, placeholderField,
		may("initial_time", moment("15:04", "HH:mm")),
		may("timezone", text(1, maxOptionValue)),
	}},
	"datetimepicker": {in: inActions | inInput, on: []Surface{Message, Modal}, fields: []field{
		idField, confirmField, focusField,
		// Ten digits: see the element's page.
		may("initial_date_time", integer(1_000_000_000, 9_999_999_999)),
	}},
	"plain_text_input": {in: inInput, check: inputLengths, fields: []field{
		idField, focusField, placeholderField, dispatchField,
		may("initial_value", text(0, maxInputLength)),
		may("multiline", boolean),
		may("min_length", integer(0, maxInputLength)),
		may("max_length", integer(1, maxInputLength)),
	}},
	"email_text_input": {in: inInput, fields: []field{
		idField, focusField, placeholderField, dispatchField, may("initial_value", text(1, maxInputLength)),
	}},
	"url_text_input": {in: inInput, fields: []field{
		idField, focusField, placeholderField, dispatchField, may("initial_value", address()),
	}},
	"number_input": {in: inInput, fields: []field{
		idField, focusField, placeholderField, dispatchField,
		must("is_decimal_allowed", boolean),
		may("initial_value", decimal), may("min_value", decimal), may("max_value", decimal),
	}},
	"file_input": {in: inInput, on: []Surface{Modal}, fields: []field{
		idField,
		may("filetypes", list(1, math.MaxInt, text(1, maxOptionText))),
		may("max_files", integer(1, maxInputFiles)),
	}},
	"rich_text_input": {in: inInput, on: []Surface{Modal, Home}, fields: []field{
		idField, focusField, placeholderField, dispatchField,
		may("initial_value", func(w *walker, path string, value any) { w.richText(path, value) }),
	}},
	"static_select": {in: everywhere, check: staticMenu, fields: []field{
		idField, confirmField, focusField, placeholderField,
		may("options", list(1, maxOptions, menuOption)),
		may("option_groups", list(1, maxOptionGroups, optionGroup)),
		may("initial_option", menuOption),
	}},
	"multi_static_select": {in: inSection | inInput, check: staticMenu, fields: []field{
		idField, confirmField, focusField, placeholderField, selectedField,
		may("options", list(1, maxOptions, menuOption)),
		may("option_groups", list(1, maxOptionGroups, optionGroup)),
		may("initial_options", list(1, maxOptions, menuOption)),
	}},
	"external_select": {in: everywhere, fields: []field{
		idField, confirmField, focusField, placeholderField,
		may("initial_option", menuOption), may("min_query_length", integer(0, maxOptionText)),
	}},
	"multi_external_select": {in: inSection | inInput, fields: []field{
		idField, confirmField, focusField, placeholderField, selectedField,
		may("initial_options", list(1, maxOptions, menuOption)), may("min_query_length", integer(0, maxOptionText)),
	}},
	"users_select": {in: everywhere, fields: []field{
		idField, confirmField, focusField, placeholderField, may("initial_user", identifier),
	}},
	"multi_users_select": {in: inSection | inInput, fields: []field{
		idField, confirmField, focusField, placeholderField, selectedField,
		may("initial_users", list(1, maxOptions, identifier)),
	}},
	"conversations_select": {in: everywhere, check: responseURL, fields: []field{
		idField, confirmField, focusField, placeholderField,
		may("initial_conversation", identifier),
		may("default_to_current_conversation", boolean),
		may("response_url_enabled", boolean),
		may("filter", conversationFilter),
	}},
	"multi_conversations_select": {in: inSection | inInput, fields: []field{
		idField, confirmField, focusField, placeholderField, selectedField,
		may("initial_conversations", list(1, maxOptions, identifier)),
		may("default_to_current_conversation", boolean),
		may("filter", conversationFilter),
	}},
	"channels_select": {in: everywhere, check: responseURL, fields: []field{
		idField, confirmField, focusField, placeholderField,
		may("initial_channel", identifier), may("response_url_enabled", boolean),
	}},
	"multi_channels_select": {in: inSection | inInput, fields: []field{
		idField, confirmField, focusField, placeholderField, selectedField,
		may("initial_channels", list(1, maxOptions, identifier)),
	}},
}

// identifier is the rule for the ID of a user or a conversation.
func identifier(w *walker, path string, value any) { text(1, maxActionID)(w, path, value) }

// moment returns a rule for a date or a time of day in a layout of the time package;
// shown is how Slack writes that layout.
func moment(layout, shown string) rule {
	return func(w *walker, path string, value any) {
		s, ok := value.(string)
		if !ok {
			w.fail(path, "must provide a string")
			return
		}
		if _, err := time.Parse(layout, s); err != nil {
			w.fail(path, "must be in the format %s", shown)
		}
	}
}

// staticMenu checks that a menu has options or groups, not both, and that what is
// chosen at first is on offer.
func staticMenu(w *walker, path string, members map[string]any) {
	_, options := members["options"]
	_, groups := members["option_groups"]
	if options == groups {
		w.fail(path, "must have exactly one of: options, option_groups")
	}
	initialChoices(w, path, members)
}

// initialChoices checks that what is chosen at first is on offer.
func initialChoices(w *walker, path string, members map[string]any) {
	if choice, ok := members["initial_option"]; ok {
		w.amongOptions(path+"/initial_option", choice, members)
	}
	choices, _ := members["initial_options"].([]any)
	for i, choice := range choices {
		w.amongOptions(fmt.Sprintf("%s/initial_options/%d", path, i), choice, members)
	}
}

// inputLengths checks that the two lengths of a text input do not exclude each other.
func inputLengths(w *walker, path string, members map[string]any) {
	low, hasLow := wholeNumber(members["min_length"])
	high, hasHigh := wholeNumber(members["max_length"])
	if hasLow && hasHigh && low > high {
		w.fail(path+"/min_length", "must not be greater than max_length")
	}
}

// responseURL checks response_url_enabled, which exists in input blocks of modals only.
func responseURL(w *walker, path string, members map[string]any) {
	if on, _ := members["response_url_enabled"].(bool); on && w.surface != Modal {
		w.fail(path+"/response_url_enabled", "is only allowed in modals")
	}
}
