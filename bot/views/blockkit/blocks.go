package blockkit

import "strconv"

// blocks checks the array of blocks of a message or a view.
func (w *walker) blocks(path string, value any) {
	items, ok := value.([]any)
	if !ok {
		w.fail(path, "must provide an array")
		return
	}
	low, high := 0, maxViewBlocks
	if w.surface == Message {
		low, high = 1, maxMessageBlocks
	}
	if len(items) < low {
		w.fail(path, "no fewer than %d items allowed", low)
	}
	if len(items) > high {
		w.fail(path, "no more than %d items allowed", high)
		return
	}
	for i, item := range items {
		w.block(path+"/"+strconv.Itoa(i), item)
	}
}

// block checks one block by its type.
func (w *walker) block(path string, value any) {
	kind, ok := w.kind(path, value)
	if !ok {
		return
	}
	clear(w.actionIDs)
	switch kind {
	case "section":
		w.section(path, value)
	case "header":
		w.object(path, value, must("type", typed), may("block_id", blockID), must("text", plainText(maxHeaderText)))
	case "divider":
		w.object(path, value, must("type", typed), may("block_id", blockID))
	case "context":
		w.object(path, value, must("type", typed), may("block_id", blockID),
			must("elements", list(1, maxContextElements, contextElement)))
	case "actions":
		w.object(path, value, must("type", typed), may("block_id", blockID),
			must("elements", list(1, maxActionsElements, elementIn(inActions))))
	case "image":
		w.image(path, value)
	case "input":
		w.input(path, value)
	case "rich_text":
		w.richText(path, value)
	case "markdown":
		w.markdownBlock(path, value)
	default:
		w.fail(path+"/type", "unsupported type: %s", printable(kind))
	}
}

func (w *walker) section(path string, value any) {
	members := w.object(path, value,
		must("type", typed),
		may("block_id", blockID),
		may("text", anyText(maxSectionText)),
		may("fields", list(1, maxSectionFields, anyText(maxFieldText))),
		may("accessory", elementIn(inSection)),
		may("expand", boolean),
	)
	_, hasText := members["text"]
	_, hasFields := members["fields"]
	if !hasText && !hasFields {
		w.fail(path, "missing required field: text or fields")
	}
}

func (w *walker) image(path string, value any) {
	members := w.object(path, value,
		must("type", typed),
		may("block_id", blockID),
		may("image_url", address("http", "https")),
		may("slack_file", slackFile),
		must("alt_text", text(1, maxAltText)),
		may("title", plainText(maxImageTitle)),
	)
	w.imageSource(path, members)
}

func (w *walker) imageSource(path string, members map[string]any) {
	_, byURL := members["image_url"]
	_, byFile := members["slack_file"]
	if byURL == byFile {
		w.fail(path, "must have exactly one of: image_url, slack_file")
	}
}

func (w *walker) input(path string, value any) {
	w.inputs = true
	w.object(path, value,
		must("type", typed),
		may("block_id", blockID),
		must("label", plainText(maxInputLabel)),
		must("element", elementIn(inInput)),
		may("hint", plainText(maxInputHint)),
		may("optional", boolean),
		may("dispatch_action", boolean),
	)
}

// markdownBlock checks a block of standard Markdown, whose limit counts over all
// of them in the message.
func (w *walker) markdownBlock(path string, value any) {
	if w.surface != Message {
		w.fail(path+"/type", "markdown is only allowed in messages")
		return
	}
	members := w.object(path, value, must("type", typed), may("block_id", blockID), must("text", text(1, maxMarkdown)))
	s, _ := members["text"].(string)
	before := w.markdown
	w.markdown += len([]rune(s))
	if before > 0 && w.markdown > maxMarkdown {
		w.fail(path+"/text", "all markdown blocks together must be less than %d characters", maxMarkdown+1)
	}
}

// contextElement is the rule for what stands in a context block: text or an image.
func contextElement(w *walker, path string, value any) {
	kind, ok := w.kind(path, value)
	if !ok {
		return
	}
	switch kind {
	case plainTextKind, mrkdwnKind:
		w.textObject(path, value, maxText, true)
	case "image":
		w.imageElement(path, value)
	default:
		w.fail(path+"/type", "unsupported type: %s", printable(kind))
	}
}
