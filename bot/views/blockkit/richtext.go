package blockkit

import (
	"encoding/json"
	"math"
	"strconv"
)

// wholeNumber returns the integer in a decoded JSON value.
func wholeNumber(value any) (int64, bool) {
	number, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(number.String(), 10, 64)
	return n, err == nil
}

// richText checks a rich_text block.
// Source: https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
func (w *walker) richText(path string, value any) {
	if kind, ok := w.kind(path, value); !ok || kind != "rich_text" {
		if ok {
			w.fail(path+"/type", "must be rich_text")
		}
		return
	}
	w.object(path, value,
		must("type", typed),
		may("block_id", blockID),
		must("elements", list(1, math.MaxInt, richTextPart)),
	)
}

// richTextPart is the rule for a section, list, quote or preformatted part.
func richTextPart(w *walker, path string, value any) {
	kind, ok := w.kind(path, value)
	if !ok {
		return
	}
	border := may("border", integer(0, 1))
	switch kind {
	case "rich_text_section":
		w.object(path, value, must("type", typed), must("elements", list(0, math.MaxInt, richTextRun)))
	case "rich_text_quote":
		w.object(path, value, must("type", typed), must("elements", list(0, math.MaxInt, richTextRun)), border)
	case "rich_text_preformatted":
		w.object(path, value, must("type", typed), must("elements", list(0, math.MaxInt, richTextRun)), border,
			may("language", text(1, maxActionID)))
	case "rich_text_list":
		w.object(path, value, must("type", typed), border,
			must("style", oneOf("bullet", "ordered")),
			must("elements", list(1, math.MaxInt, richTextSection)),
			may("indent", integer(0, maxListIndent)),
			may("offset", integer(0, math.MaxInt32)),
		)
	default:
		w.fail(path+"/type", "unsupported type: %s", printable(kind))
	}
}

// richTextSection is the rule for one item of a list.
func richTextSection(w *walker, path string, value any) {
	kind, ok := w.kind(path, value)
	if !ok {
		return
	}
	if kind != "rich_text_section" {
		w.fail(path+"/type", "must be rich_text_section")
		return
	}
	richTextPart(w, path, value)
}

// richTextRun is the rule for the smallest piece of rich text.
func richTextRun(w *walker, path string, value any) {
	kind, ok := w.kind(path, value)
	if !ok {
		return
	}
	style := may("style", richTextStyle)
	switch kind {
	case "text":
		w.object(path, value, must("type", typed), must("text", text(1, maxMarkdown)), style)
	case "link":
		w.object(path, value, must("type", typed), must("url", address()),
			may("text", text(1, maxMarkdown)), may("unsafe", boolean), style)
	case "emoji":
		w.object(path, value, must("type", typed), must("name", text(1, maxActionID)),
			may("unicode", text(1, maxActionID)), may("skin_tone", integer(1, 6)), style)
	case "user":
		w.object(path, value, must("type", typed), must("user_id", identifier), style)
	case "usergroup":
		w.object(path, value, must("type", typed), must("usergroup_id", identifier), style)
	case "channel":
		w.object(path, value, must("type", typed), must("channel_id", identifier), style)
	case "broadcast":
		w.object(path, value, must("type", typed), must("range", oneOf("here", "channel", "everyone")), style)
	case "date":
		w.object(path, value, must("type", typed), must("timestamp", integer(0, math.MaxInt64)),
			must("format", text(1, maxActionID)), may("url", address()), may("fallback", text(1, maxText)), style)
	case "color":
		w.object(path, value, must("type", typed), must("value", text(1, maxActionID)), style)
	default:
		w.fail(path+"/type", "unsupported type: %s", printable(kind))
	}
}

// richTextStyle is the rule for how a run looks.
func richTextStyle(w *walker, path string, value any) {
	w.object(path, value,
		may("bold", boolean), may("italic", boolean), may("strike", boolean), may("code", boolean),
		may("underline", boolean), may("highlight", boolean), may("client_highlight", boolean), may("unlink", boolean),
	)
}
