package views

import (
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// Limits of Slack's blocks, in characters.
const (
	// maxHeader is the longest header.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/header-block
	maxHeader = 150
	// maxSection is the longest text of a section.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxSection = 3000
	// maxConfirm is the longest text of a confirmation dialog.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
	maxConfirm = 300
	// maxLabel is the longest label of a button or of an option of a menu.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxLabel = 75
)

// plain is a text object in which nothing is interpreted, not even emoji.
func plain(s string, limit int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, notEmpty(cut(s, limit)), false, false)
}

// notEmpty keeps Slack from refusing an empty text.
func notEmpty(s string) string {
	if strings.TrimSpace(s) == "" {
		return "–"
	}
	return s
}

// runs collects the pieces of one rich text section. Rich text is literal:
// Slack formats, links and mentions nothing in it.
type runs struct {
	elements []slack.RichTextSectionElement
}

func (r *runs) text(s string) *runs {
	if s != "" {
		r.elements = append(r.elements, slack.NewRichTextSectionTextElement(s, nil))
	}
	return r
}

func (r *runs) bold(s string) *runs {
	if s != "" {
		r.elements = append(r.elements, slack.NewRichTextSectionTextElement(s, &slack.RichTextSectionTextStyle{Bold: true}))
	}
	return r
}

// link is a link where the address is one, and text where it is not.
func (r *runs) link(address, label string) {
	if address = Link(address); address == "" {
		r.text(label)
		return
	}
	r.elements = append(r.elements, slack.NewRichTextSectionLinkElement(address, label, nil))
}

// maxRichText is the share of one rich text block in the text of a message, in
// characters, where it has no other.
const maxRichText = 600

// MaxMessage is how much text all blocks of a card hold together at most, in
// characters. Slack refuses more with msg_blocks_too_long, at a size it does not
// document: 11,341 were refused.
// Source: https://github.com/slackapi/bolt-js/issues/2867
const MaxMessage = 10_000

// length is how many characters the pieces have so far.
func (r *runs) length() int {
	n := 0
	for _, e := range r.elements {
		switch e := e.(type) {
		case *slack.RichTextSectionTextElement:
			n += utf8.RuneCountInString(e.Text)
		case *slack.RichTextSectionLinkElement:
			n += utf8.RuneCountInString(e.Text)
		}
	}
	return n
}

// block is the pieces as one block of at most maxRichText characters; nil when
// there is nothing to show.
func (r *runs) block(id string) slack.Block { return r.blockOf(id, maxRichText) }

func (r *runs) blockOf(id string, limit int) slack.Block {
	for r.length() > limit && len(r.elements) > 0 {
		last, ok := r.elements[len(r.elements)-1].(*slack.RichTextSectionTextElement)
		over := r.length() - limit
		if n := 0; ok {
			if n = utf8.RuneCountInString(last.Text); n > over+1 {
				last.Text = cut(last.Text, n-over)
				break
			}
		}
		r.elements = r.elements[:len(r.elements)-1]
	}
	if len(r.elements) == 0 {
		return nil
	}
	return slack.NewRichTextBlock(id, slack.NewRichTextSection(r.elements...))
}

// button carries a reference; it is nil when the reference does not fit.
func button(action, label, value string) *slack.ButtonBlockElement {
	if value == "" {
		return nil
	}
	return slack.NewButtonBlockElement(action, value, plain(label, maxLabel))
}

// confirmation asks once more before a click counts.
func confirmation(title, text, yes string, style slack.Style) *slack.ConfirmationBlockObject {
	c := slack.NewConfirmationBlockObject(plain(title, 100), plain(text, maxConfirm), plain(yes, 30), plain("Go back", 30))
	return c.WithStyle(style)
}

// actions is a row of buttons, without those that are nil; nil when none is left.
func actions(id string, buttons ...*slack.ButtonBlockElement) slack.Block {
	return row(id, pressable(buttons))
}

// pressable is the buttons that are not nil.
func pressable(buttons []*slack.ButtonBlockElement) []slack.BlockElement {
	elements := make([]slack.BlockElement, 0, len(buttons))
	for _, b := range buttons {
		if b != nil {
			elements = append(elements, b)
		}
	}
	return elements
}

// row is a row of elements; nil when there are none.
func row(id string, elements []slack.BlockElement) slack.Block {
	if len(elements) == 0 {
		return nil
	}
	return slack.NewActionBlock(id, elements...)
}

// kept is the blocks without those that have nothing to show.
func kept(blocks ...slack.Block) []slack.Block {
	out := make([]slack.Block, 0, len(blocks))
	for _, b := range blocks {
		if b != nil {
			out = append(out, b)
		}
	}
	return out
}
