package blockkit

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
)

func TestRefusals(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		surface Surface
		blocks  string
		message string
	}{
		{"not JSON", Message, `[`, "[ERROR] must be valid JSON [json-pointer:/blocks]"},
		{"two values", Message, `[{"type":"divider"}] []`, "must be valid JSON"},
		{"no array", Message, `{}`, "must provide an array [json-pointer:/blocks]"},
		{"no block", Message, `[]`, "no fewer than 1 items allowed [json-pointer:/blocks]"},
		{"no object", Message, `["divider"]`, "must provide an object [json-pointer:/blocks/0]"},
		{"no type", Message, `[{}]`, "missing required field: type [json-pointer:/blocks/0]"},
		{"type is no text", Message, `[{"type":1}]`, "must provide a string [json-pointer:/blocks/0/type]"},
		{"unknown block", Message, `[{"type":"marquee"}]`, `unsupported type: "marquee" [json-pointer:/blocks/0/type]`},
		{"unknown field", Message, `[{"type":"divider","colour":"red"}]`, "unknown field [json-pointer:/blocks/0/colour]"},
		{"unknown field with a slash", Message, `[{"type":"divider","a/b~":1}]`, "[json-pointer:/blocks/0/a~1b~0]"},
		{"unknown field in text", Message, `[{"type":"section","text":{"type":"mrkdwn","text":"x","size":1}}]`, "unknown field [json-pointer:/blocks/0/text/size]"},
		{"emoji in mrkdwn", Message, `[{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}]`, "unknown field [json-pointer:/blocks/0/text/emoji]"},
		{"section of nothing", Message, `[{"type":"section"}]`, "missing required field: text or fields [json-pointer:/blocks/0]"},
		{"empty text", Message, `[{"type":"section","text":{"type":"mrkdwn","text":""}}]`, "must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
		{"null text", Message, `[{"type":"section","text":null}]`, "must provide an object [json-pointer:/blocks/0/text]"},
		{"number for text", Message, `[{"type":"section","text":{"type":"mrkdwn","text":5}}]`, "must provide a string [json-pointer:/blocks/0/text/text]"},
		{"unknown kind of text", Message, `[{"type":"section","text":{"type":"html","text":"x"}}]`, `unsupported type: "html"`},
		{"mrkdwn in a header", Message, `[{"type":"header","text":{"type":"mrkdwn","text":"x"}}]`, "must be plain_text [json-pointer:/blocks/0/text/type]"},
		{"mrkdwn on a button", Message, `[{"type":"actions","elements":[{"type":"button","text":{"type":"mrkdwn","text":"x"}}]}]`, "must be plain_text [json-pointer:/blocks/0/elements/0/text/type]"},
		{"mrkdwn placeholder", Message, `[{"type":"actions","elements":[{"type":"users_select","placeholder":{"type":"mrkdwn","text":"x"}}]}]`, "must be plain_text [json-pointer:/blocks/0/elements/0/placeholder/type]"},
		{"mrkdwn in a dialog", Message, `[{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"},"confirm":{"title":{"type":"plain_text","text":"x"},"text":{"type":"mrkdwn","text":"x"},"confirm":{"type":"plain_text","text":"x"},"deny":{"type":"plain_text","text":"x"}}}]}]`, "must be plain_text [json-pointer:/blocks/0/elements/0/confirm/text/type]"},
		{"dialog without deny", Message, `[{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"},"confirm":{"title":{"type":"plain_text","text":"x"},"text":{"type":"plain_text","text":"x"},"confirm":{"type":"plain_text","text":"x"}}}]}]`, "missing required field: deny"},
		{"button without text", Message, `[{"type":"actions","elements":[{"type":"button"}]}]`, "missing required field: text [json-pointer:/blocks/0/elements/0]"},
		{"style default", Message, `[{"type":"actions","elements":[{"type":"button","style":"default","text":{"type":"plain_text","text":"x"}}]}]`, "must be one of: primary, danger [json-pointer:/blocks/0/elements/0/style]"},
		{"empty style", Message, `[{"type":"actions","elements":[{"type":"button","style":"","text":{"type":"plain_text","text":"x"}}]}]`, "must be one of: primary, danger"},
		{"address without scheme", Message, `[{"type":"actions","elements":[{"type":"button","url":"example.com","text":{"type":"plain_text","text":"x"}}]}]`, "must be a valid url"},
		{"image by script", Message, `[{"type":"image","image_url":"javascript:alert(1)","alt_text":"x"}]`, "must be a valid url [json-pointer:/blocks/0/image_url]"},
		{"image without description", Message, `[{"type":"image","image_url":"https://example.com/a.png"}]`, "missing required field: alt_text"},
		{"image of nothing", Message, `[{"type":"image","alt_text":"x"}]`, "must have exactly one of: image_url, slack_file"},
		{"same block_id", Message, `[{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}]`, "block_id already exists for another block [json-pointer:/blocks/1/block_id]"},
		{"same action_id in a block", Message, `[{"type":"actions","elements":[{"type":"users_select","action_id":"a"},{"type":"users_select","action_id":"a"}]}]`, "action_id already exists for another element in this block [json-pointer:/blocks/0/elements/1/action_id]"},
		{"no elements", Message, `[{"type":"actions","elements":[]}]`, "no fewer than 1 items allowed [json-pointer:/blocks/0/elements]"},
		{"elements missing", Message, `[{"type":"context"}]`, "missing required field: elements"},
		{"text in actions", Message, `[{"type":"actions","elements":[{"type":"mrkdwn","text":"x"}]}]`, `unsupported type: "mrkdwn" [json-pointer:/blocks/0/elements/0/type]`},
		{"button in context", Message, `[{"type":"context","elements":[{"type":"button","text":{"type":"plain_text","text":"x"}}]}]`, `unsupported type: "button" [json-pointer:/blocks/0/elements/0/type]`},
		{"button in an input", Modal, `[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"button","text":{"type":"plain_text","text":"x"}}}]`, "button is not allowed in this block [json-pointer:/blocks/0/element/type]"},
		{"text input in actions", Message, `[{"type":"actions","elements":[{"type":"plain_text_input"}]}]`, "plain_text_input is not allowed in this block"},
		{"several choices in actions", Message, `[{"type":"actions","elements":[{"type":"multi_users_select"}]}]`, "multi_users_select is not allowed in this block"},
		{"file input in a message", Message, `[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"file_input"}}]`, "file_input is not allowed on this surface: message"},
		{"markdown in a modal", Modal, `[{"type":"markdown","text":"x"}]`, "markdown is only allowed in messages"},
		{"menu of nothing", Message, `[{"type":"actions","elements":[{"type":"static_select"}]}]`, "must have exactly one of: options, option_groups"},
		{"empty menu", Message, `[{"type":"actions","elements":[{"type":"static_select","options":[]}]}]`, "no fewer than 1 items allowed"},
		{"initial option not on offer", Message, `[{"type":"actions","elements":[{"type":"static_select","options":[{"text":{"type":"plain_text","text":"x"},"value":"1"}],"initial_option":{"text":{"type":"plain_text","text":"x"},"value":"2"}}]}]`, "must match one of the options [json-pointer:/blocks/0/elements/0/initial_option]"},
		{"address in a menu option", Message, `[{"type":"actions","elements":[{"type":"static_select","options":[{"text":{"type":"plain_text","text":"x"},"value":"1","url":"https://example.com"}]}]}]`, "unknown field [json-pointer:/blocks/0/elements/0/options/0/url]"},
		{"date in words", Message, `[{"type":"actions","elements":[{"type":"datepicker","initial_date":"tomorrow"}]}]`, "must be in the format YYYY-MM-DD"},
		{"lengths that exclude each other", Modal, `[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input","min_length":9,"max_length":3}}]`, "must not be greater than max_length"},
		{"fraction for a length", Modal, `[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input","max_length":3.5}}]`, "must provide an integer"},
		{"two with the focus", Modal, `[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input","focus_on_load":true}},{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input","focus_on_load":true}}]`, "only one element can have focus_on_load [json-pointer:/blocks/1/element/focus_on_load]"},
		{"boolean as text", Message, `[{"type":"section","expand":"yes","text":{"type":"mrkdwn","text":"x"}}]`, "must provide a boolean"},
		{"unknown rich text", Message, `[{"type":"rich_text","elements":[{"type":"rich_text_table"}]}]`, `unsupported type: "rich_text_table"`},
		{"unknown run", Message, `[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"script"}]}]}]`, `unsupported type: "script"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := Validate(c.surface, json.RawMessage(c.blocks))
			require.Error(t, err)
			require.Len(t, Messages(err), 1, "%v", err)
			require.Contains(t, Messages(err)[0], c.message)
		})
	}
}

func TestViewRefusals(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		view    string
		message string
	}{
		{"not JSON", `{`, "must be valid JSON [json-pointer:/view]"},
		{"no type", `{}`, "missing required field: type [json-pointer:/view]"},
		{"unknown type", `{"type":"popup"}`, `unsupported type: "popup" [json-pointer:/view/type]`},
		{"no title", `{"type":"modal","blocks":[]}`, "missing required field: title [json-pointer:/view]"},
		{"mrkdwn title", `{"type":"modal","title":{"type":"mrkdwn","text":"x"},"blocks":[]}`, "must be plain_text [json-pointer:/view/title/type]"},
		{"no blocks", `{"type":"home"}`, "missing required field: blocks"},
		{"title on home", `{"type":"home","title":{"type":"plain_text","text":"x"},"blocks":[]}`, "unknown field [json-pointer:/view/title]"},
		{"input without submit", `{"type":"modal","title":{"type":"plain_text","text":"x"},"blocks":[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"plain_text_input"}}]}`, "missing required field: submit [json-pointer:/view]"},
		{"bad block", `{"type":"home","blocks":[{"type":"marquee"}]}`, "[json-pointer:/view/blocks/0/type]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := ValidateView(json.RawMessage(c.view))
			require.Error(t, err)
			require.Len(t, Messages(err), 1, "%v", err)
			require.Contains(t, Messages(err)[0], c.message)
		})
	}
}

func TestUnknownSurface(t *testing.T) {
	t.Parallel()
	require.Error(t, Validate(0, json.RawMessage(`[{"type":"divider"}]`)))
	require.Error(t, Validate(9, json.RawMessage(`[{"type":"divider"}]`)))
	require.Nil(t, Messages(errors.New("other")))
}

func TestAllProblemsAreReported(t *testing.T) {
	t.Parallel()
	err := Validate(Message, json.RawMessage(`[{"type":"marquee"},{"type":"header"},{"type":"divider","x":1}]`))
	require.Equal(t, []string{
		`[ERROR] unsupported type: "marquee" [json-pointer:/blocks/0/type]`,
		`[ERROR] missing required field: text [json-pointer:/blocks/1]`,
		`[ERROR] unknown field [json-pointer:/blocks/2/x]`,
	}, Messages(err))
	require.ErrorContains(t, err, "validate blocks: ")
}

// TestAccepted proves that what the Slack library produces from its own types passes.
func TestAccepted(t *testing.T) {
	t.Parallel()
	plain := func(s string) *slack.TextBlockObject { return slack.NewTextBlockObject("plain_text", s, true, false) }
	text := slack.NewTextBlockObject("mrkdwn", "*bold* <https://example.com|link>", false, true)
	options := []*slack.OptionBlockObject{slack.NewOptionBlockObject("1", plain("one"), plain("first")), slack.NewOptionBlockObject("2", plain("two"), nil)}
	danger := slack.NewButtonBlockElement("go", "v", plain("Go")).WithStyle(slack.StyleDanger).
		WithConfirm(slack.NewConfirmationBlockObject(plain("Sure?"), plain("Really?"), plain("Yes"), plain("No")))
	chosen := slack.NewOptionsSelectBlockElement("static_select", plain("Pick"), "pick", options...)
	chosen.InitialOption = options[1]
	message := []slack.Block{
		slack.NewHeaderBlock(plain("SEV1")),
		slack.NewSectionBlock(text, []*slack.TextBlockObject{text, plain("x")}, slack.NewAccessory(danger), slack.SectionBlockOptionBlockID("s")),
		slack.NewDividerBlock(),
		slack.NewContextBlock("c", text, slack.NewImageBlockElement("https://example.com/a.png", "alt")),
		slack.NewImageBlock("https://example.com/a.png", "alt", "i", plain("title")),
		slack.NewActionBlock("a", danger, chosen, slack.NewOverflowBlockElement("more", options...),
			slack.NewDatePickerBlockElement("day"), slack.NewTimePickerBlockElement("hour"),
			slack.NewRadioButtonsBlockElement("radio", options...), slack.NewCheckboxGroupsBlockElement("check", options...)),
		slack.NewRichTextBlock("r", slack.NewRichTextSection(
			slack.NewRichTextSectionTextElement("bold", &slack.RichTextSectionTextStyle{Bold: true}),
			slack.NewRichTextSectionUserElement("U1", nil), slack.NewRichTextSectionEmojiElement("eyes", 0, nil),
			slack.NewRichTextSectionLinkElement("https://example.com", "x", nil))),
		slack.NewMarkdownBlock("m", "# hello"),
	}
	raw, err := json.Marshal(message)
	require.NoError(t, err)
	require.NoError(t, Validate(Message, raw))

	modal := slack.ModalViewRequest{
		Type: slack.VTModal, Title: plain("Declare"), Submit: plain("OK"), Close: plain("No"), CallbackID: "c", NotifyOnClose: true,
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewInputBlock("a", plain("Why"), plain("hint"), slack.NewPlainTextInputBlockElement(plain("p"), "why")),
			slack.NewInputBlock("b", plain("Who"), nil, slack.NewOptionsSelectBlockElement("users_select", plain("p"), "who")),
			slack.NewInputBlock("c", plain("How many"), nil, slack.NewNumberInputBlockElement(plain("p"), "n", false)),
			slack.NewInputBlock("d", plain("Which"), nil, slack.NewOptionsMultiSelectBlockElement("multi_static_select", plain("p"), "which", options...)),
		}},
	}
	raw, err = json.Marshal(modal)
	require.NoError(t, err)
	require.NoError(t, ValidateView(raw))
	raw, err = json.Marshal(slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: message[:6]}})
	require.NoError(t, err)
	require.NoError(t, ValidateView(raw))
}

func TestTheSameActionIDInTwoBlocksIsFine(t *testing.T) {
	t.Parallel()
	require.NoError(t, Validate(Message, json.RawMessage(
		`[{"type":"actions","elements":[{"type":"users_select","action_id":"a"}]},{"type":"actions","elements":[{"type":"users_select","action_id":"a"}]}]`)))
}

func TestSurfaceNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"unknown", "message", "modal", "home"}, []string{Surface(0).String(), Message.String(), Modal.String(), Home.String()})
}
