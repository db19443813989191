package fakeslack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/backout/backout/bot/views/blockkit"
)

// Limits of messages, in characters and bytes.
const (
	// maxMessageText is the length of the text of a message.
	// Source: https://docs.slack.dev/reference/methods/chat.update
	maxMessageText = 40_000
	// maxMarkdownText is the length of markdown_text.
	// Source: https://docs.slack.dev/reference/methods/chat.postMessage
	maxMarkdownText = 12_000
	// maxMetadata is the size of message metadata, in bytes.
	// Source: https://docs.slack.dev/messaging/message-metadata
	maxMetadata = 16 << 10
)

// content is what a message says.
type content struct {
	text        string
	blocks      json.RawMessage
	attachments json.RawMessage
	metadata    json.RawMessage
	// hasBlocks, hasAttachments and noMetadata say that blocks and attachments were
	// given, if only to remove them, and that metadata was given as an empty object.
	hasBlocks, hasAttachments, noMetadata bool
}

// readContent checks the text, blocks, attachments and metadata of a call.
func (s *Server) readContent(args arguments) (content, *refusal) {
	c := content{
		text:        args.text("text"),
		blocks:      args.value("blocks"),
		attachments: args.value("attachments"),
		metadata:    args.value("metadata"),
	}
	_, c.hasBlocks = args["blocks"]
	_, c.hasAttachments = args["attachments"]
	if markdown := args.text("markdown_text"); markdown != "" {
		if c.text != "" || c.hasBlocks {
			return c, refuse("markdown_text_conflict")
		}
		if utf8.RuneCountInString(markdown) > maxMarkdownText {
			return c, refuse("msg_too_long")
		}
		c.text = markdown
	}
	return s.checkContent(c)
}

func (s *Server) checkContent(c content) (content, *refusal) {
	if utf8.RuneCountInString(c.text) > maxMessageText {
		return c, refuse("msg_too_long")
	}
	if emptyArray(c.blocks) {
		c.blocks = nil
	}
	if emptyArray(c.attachments) {
		c.attachments = nil
	}
	if c.blocks != nil {
		if !json.Valid(c.blocks) || !bytes.HasPrefix(bytes.TrimSpace(c.blocks), []byte("[")) {
			return c, refuse("invalid_blocks_format")
		}
		if err := blockkit.Validate(blockkit.Message, c.blocks); err != nil {
			return c, refuse("invalid_blocks", blockkit.Messages(err)...)
		}
		c.blocks = s.world.identify(c.blocks)
	}
	if c.attachments != nil {
		var list []map[string]any
		if err := json.Unmarshal(c.attachments, &list); err != nil {
			return c, refuse("invalid_attachments")
		}
		if problems := attachmentProblems(list); problems != nil {
			return c, refuse("invalid_blocks", problems...)
		}
	}
	if string(bytes.TrimSpace(c.metadata)) == "{}" {
		c.metadata, c.noMetadata = nil, true
	}
	if c.metadata != nil {
		if refused := checkMetadata(c.metadata); refused != nil {
			return c, refused
		}
	}
	return c, nil
}

// attachmentProblems checks the blocks within attachments.
func attachmentProblems(list []map[string]any) []string {
	var problems []string
	for i, attachment := range list {
		blocks, ok := attachment["blocks"]
		if !ok {
			continue
		}
		raw, err := json.Marshal(blocks)
		if err != nil {
			return []string{"[ERROR] must be valid JSON"}
		}
		for _, message := range blockkit.Messages(blockkit.Validate(blockkit.Message, raw)) {
			problems = append(problems, strings.Replace(message, "json-pointer:", fmt.Sprintf("json-pointer:/attachments/%d", i), 1))
		}
	}
	return problems
}

func checkMetadata(raw json.RawMessage) *refusal {
	if len(raw) > maxMetadata {
		return refuse("metadata_too_large")
	}
	var metadata struct {
		EventType    *string        `json:"event_type"`
		EventPayload map[string]any `json:"event_payload"`
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&metadata); err != nil {
		return refuse("invalid_metadata_format")
	}
	if metadata.EventType == nil || *metadata.EventType == "" || metadata.EventPayload == nil {
		return refuse("invalid_metadata_schema")
	}
	return nil
}

func emptyArray(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "[]" }

// identify gives a block_id and an action_id to whatever has none, as Slack does.
func (w *world) identify(blocks json.RawMessage) json.RawMessage {
	var list []map[string]any
	if err := json.Unmarshal(blocks, &list); err != nil {
		return blocks
	}
	named := func(holder map[string]any, member string) {
		if _, ok := holder[member]; !ok {
			w.serial++
			holder[member] = fmt.Sprintf("auto%d", w.serial)
		}
	}
	for _, block := range list {
		named(block, "block_id")
		for _, e := range elementsOf(block) {
			if kind, _ := e["type"].(string); block["type"] != "context" && kind != "image" {
				named(e, "action_id")
			}
		}
	}
	out, err := json.Marshal(list)
	if err != nil {
		return blocks
	}
	return out
}

// elementsOf returns the elements of a block: its list, its accessory, its input.
func elementsOf(block map[string]any) []map[string]any {
	var found []map[string]any
	for _, member := range []string{"accessory", "element"} {
		if e, ok := block[member].(map[string]any); ok {
			found = append(found, e)
		}
	}
	if list, ok := block["elements"].([]any); ok && block["type"] != "rich_text" {
		for _, item := range list {
			if e, ok := item.(map[string]any); ok {
				found = append(found, e)
			}
		}
	}
	return found
}

// writable returns the channel if the bot may write to it.
func (s *Server) writable(id string) (*conversation, *refusal) {
	c := s.world.channels[id]
	member := c != nil && c.members[s.opts.BotUserID]
	switch {
	case c == nil, c.IsPrivate && !member:
		return nil, refuse("channel_not_found")
	case c.Archived:
		return nil, refuse("is_archived")
	case !member && !slices.Contains(s.opts.Scopes, "chat:write.public"):
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

func (s *Server) chatPostMessage(c *call) (answer, *refusal) {
	channel, refused := s.writable(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	said, refused := s.readContent(c.args)
	if refused != nil {
		return nil, refused
	}
	if said.text == "" && said.blocks == nil && said.attachments == nil {
		return nil, refuse("no_text")
	}
	thread := c.args.text("thread_ts")
	if thread != "" {
		parent := channel.message(thread)
		if parent == nil {
			return nil, refuse("cannot_reply_to_message")
		}
		if parent.ThreadTS != "" {
			thread = parent.ThreadTS
		}
	}
	m := s.botMessage(channel.ID, thread, said)
	m.Username = c.args.text("username")
	channel.messages = append(channel.messages, m)
	return answer{"channel": channel.ID, "ts": m.TS, "message": m.wire(s.opts.TeamID, true)}, nil
}

// botMessage makes a message of the app. The caller puts it where it belongs.
func (s *Server) botMessage(channel, thread string, said content) *Message {
	return &Message{
		Channel: channel, TS: s.world.timestamp(s.opts.Now()), ThreadTS: thread, User: s.opts.BotUserID,
		BotID: s.opts.BotID, Text: said.text, Blocks: said.blocks, Attachments: said.attachments, Metadata: said.metadata,
	}
}

func (s *Server) chatPostEphemeral(c *call) (answer, *refusal) {
	channel, refused := s.writable(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	if !channel.members[s.opts.BotUserID] {
		return nil, refuse("not_in_channel")
	}
	user := c.args.text("user")
	if !channel.members[user] {
		return nil, refuse("user_not_in_channel")
	}
	said, refused := s.readContent(c.args)
	if refused != nil {
		return nil, refused
	}
	if said.text == "" && said.blocks == nil && said.attachments == nil {
		return nil, refuse("no_text")
	}
	thread := c.args.text("thread_ts")
	if thread != "" && channel.message(thread) == nil {
		return nil, refuse("cannot_reply_to_message")
	}
	m := s.botMessage(channel.ID, thread, said)
	m.VisibleTo = user
	s.world.private = append(s.world.private, m)
	return answer{"message_ts": m.TS}, nil
}

func (s *Server) chatUpdate(c *call) (answer, *refusal) {
	channel := s.world.channels[c.args.text("channel")]
	if channel == nil || (channel.IsPrivate && !channel.members[s.opts.BotUserID]) {
		return nil, refuse("channel_not_found")
	}
	m := channel.message(c.args.text("ts"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	if m.BotID != s.opts.BotID {
		return nil, refuse("cant_update_message")
	}
	said, refused := s.readContent(c.args)
	if refused != nil {
		return nil, refused
	}
	_, hasText := c.args["text"]
	_, hasMarkdown := c.args["markdown_text"]
	if !hasText && !hasMarkdown && !said.hasBlocks && !said.hasAttachments {
		return nil, refuse("no_text")
	}
	s.edit(m, said)
	return answer{"channel": channel.ID, "ts": m.TS, "text": m.Text, "message": m.wire(s.opts.TeamID, true)}, nil
}

// edit replaces the content of a message. Blocks, attachments and metadata that
// are not given stay.
// Source: https://docs.slack.dev/reference/methods/chat.update
func (s *Server) edit(m *Message, said content) {
	m.Text = said.text
	if said.hasBlocks {
		m.Blocks = said.blocks
	}
	if said.hasAttachments {
		m.Attachments = said.attachments
	}
	if said.metadata != nil || said.noMetadata {
		m.Metadata = said.metadata
	}
	m.EditedTS = s.world.timestamp(s.opts.Now())
	m.Edits++
}

func (s *Server) chatDelete(c *call) (answer, *refusal) {
	channel := s.world.channels[c.args.text("channel")]
	if channel == nil {
		return nil, refuse("channel_not_found")
	}
	m := channel.message(c.args.text("ts"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	if m.BotID != s.opts.BotID {
		return nil, refuse("cant_delete_message")
	}
	channel.remove(m.TS)
	return answer{"channel": channel.ID, "ts": m.TS}, nil
}

func (s *Server) chatGetPermalink(c *call) (answer, *refusal) {
	channel, refused := s.visible(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	m := channel.message(c.args.text("message_ts"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	return answer{"channel": channel.ID, "permalink": s.permalink(channel.ID, m.TS)}, nil
}

func (s *Server) permalink(channel, ts string) string {
	return s.URL() + "/archives/" + channel + "/p" + strings.Replace(ts, ".", "", 1)
}
