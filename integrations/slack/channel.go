package slack

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Metadata of the messages that Backout posts.
// Source: https://docs.slack.dev/messaging/message-metadata
const (
	// EventCard marks the one card of an incident; the payload has its key.
	EventCard = "backout_incident"
	// EventLine marks a line in a card's thread; the payload has its id.
	EventLine = "backout_line"

	fieldKey = "key"
	fieldID  = "id"
)

// Limits of Slack's Web API.
const (
	// pageSize is how many messages one call returns at most.
	// Source: https://docs.slack.dev/reference/methods/conversations.history
	pageSize = 200
	// maxPages bounds the search for a message that was posted before.
	maxPages = 10
	// maxText is the longest text of a section, in characters.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxText = 3000
)

// lookback is how far before an incident's opening its card is searched, for
// clocks that differ.
const lookback = 10 * time.Minute

// Options assemble a Channel. API, Render and ChannelFor are required.
type Options struct {
	API *slackgo.Client
	// Render is the card of a view: its blocks, and the text shown in
	// notifications.
	Render func(incident.View) (blocks []slackgo.Block, text string)
	// ChannelFor is the ID of the channel for a new card.
	ChannelFor func(incident.View) string
	// PinEmoji is the name of the emoji that puts a message into the timeline; empty
	// for none.
	PinEmoji string
	// Files is the address of Slack's Web API where it is not Slack's own; files are on
	// its host then. Empty means Slack.
	Files string
}

// Channel shows incidents in Slack. It holds no state but who the bot is, so
// any number of processes may use it. It is safe for concurrent use.
type Channel struct {
	opts Options

	mu   sync.Mutex
	self *slackgo.AuthTestResponse
}

// NewChannel checks that nothing is missing. It calls nobody.
func NewChannel(opts Options) (*Channel, error) {
	if opts.API == nil || opts.Render == nil || opts.ChannelFor == nil {
		return nil, errors.New("assemble Slack channel: API, Render and ChannelFor are required")
	}
	return &Channel{opts: opts}, nil
}

// Publish shows the view on the incident's one card. The first call posts it;
// a call after a lost response finds it; later ones update it. A card that
// somebody deleted is posted anew, and its thread says so.
func (c *Channel) Publish(ctx context.Context, v incident.View) (incident.CardRef, error) {
	blocks, text := c.opts.Render(v)
	content := slackgo.MsgOptionCompose(slackgo.MsgOptionBlocks(blocks...), slackgo.MsgOptionText(text, false))
	if v.Card.IsZero() {
		return c.first(ctx, v, content)
	}
	err := c.update(ctx, v.Key, v.Card, content)
	switch {
	case err == nil:
		return c.linked(ctx, v.Card), nil
	case hasCode(err, codeMessageNotFound):
		return c.anew(ctx, v, content)
	default:
		return incident.CardRef{}, err
	}
}

// first posts the card, unless it is there already.
func (c *Channel) first(ctx context.Context, v incident.View, content slackgo.MsgOption) (incident.CardRef, error) {
	channel := v.Card.Channel // where somebody declared it
	if channel == "" {
		channel = c.opts.ChannelFor(v)
	}
	if channel == "" {
		return incident.CardRef{}, fmt.Errorf("publish incident %q: it has no channel: %w", v.Key, driver.ErrInvalid)
	}
	found, err := c.find(ctx, v, channel, "")
	if err != nil {
		return incident.CardRef{}, err
	}
	if found.IsZero() {
		return c.post(ctx, v.Key, channel, content)
	}
	if err := c.update(ctx, v.Key, found, content); err != nil {
		return incident.CardRef{}, err
	}
	return c.linked(ctx, found), nil
}

// anew replaces a card that was deleted.
func (c *Channel) anew(ctx context.Context, v incident.View, content slackgo.MsgOption) (incident.CardRef, error) {
	found, err := c.find(ctx, v, v.Card.Channel, v.Card.TS)
	if err != nil {
		return incident.CardRef{}, err
	}
	if found.IsZero() {
		if found, err = c.post(ctx, v.Key, v.Card.Channel, content); err != nil {
			return incident.CardRef{}, err
		}
	} else if err := c.update(ctx, v.Key, found, content); err != nil {
		return incident.CardRef{}, err
	}
	// Said once for each card that was lost, however often this is tried.
	if err := c.Say(ctx, found, "replaces "+v.Card.TS, "The earlier card was deleted. This is the incident's card now; its buttons work."); err != nil {
		return incident.CardRef{}, err
	}
	return c.linked(ctx, found), nil
}

func (c *Channel) post(ctx context.Context, key, channel string, content slackgo.MsgOption) (incident.CardRef, error) {
	channel, ts, err := c.opts.API.PostMessageContext(ctx, channel, content, cardMetadata(key),
		slackgo.MsgOptionDisableLinkUnfurl(), slackgo.MsgOptionDisableMediaUnfurl())
	if err != nil {
		return incident.CardRef{}, wrap("chat.postMessage", err)
	}
	return c.linked(ctx, incident.CardRef{Channel: channel, TS: ts}), nil
}

// update keeps the metadata, which an update without it would remove.
func (c *Channel) update(ctx context.Context, key string, card incident.CardRef, content slackgo.MsgOption) error {
	_, _, _, err := c.opts.API.UpdateMessageContext(ctx, card.Channel, card.TS, content, cardMetadata(key))
	return wrap("chat.update", err)
}

func cardMetadata(key string) slackgo.MsgOption {
	return slackgo.MsgOptionMetadata(slackgo.SlackMetadata{EventType: EventCard, EventPayload: map[string]any{fieldKey: key}})
}

// linked adds the card's address where Slack gives it; a card without one is
// still a card.
func (c *Channel) linked(ctx context.Context, card incident.CardRef) incident.CardRef {
	if card.URL != "" {
		return card
	}
	if link, err := c.opts.API.GetPermalinkContext(ctx, &slackgo.PermalinkParameters{Channel: card.Channel, Ts: card.TS}); err == nil {
		card.URL = link
	}
	return card
}

// find looks for the incident's card among the messages of its channel,
// leaving out one that is known to be deleted. Only Backout's own messages
// count. It gives up with an error rather than let a second card be posted.
func (c *Channel) find(ctx context.Context, v incident.View, channel, except string) (incident.CardRef, error) {
	self, err := c.whoami(ctx)
	if err != nil {
		return incident.CardRef{}, err
	}
	params := slackgo.GetConversationHistoryParameters{ChannelID: channel, Limit: pageSize, IncludeAllMetadata: true}
	if !v.OpenedAt.IsZero() {
		params.Oldest = timestamp(v.OpenedAt.Add(-lookback))
	}
	for range maxPages {
		page, err := c.opts.API.GetConversationHistoryContext(ctx, &params)
		if err != nil {
			return incident.CardRef{}, wrap("conversations.history", err)
		}
		for _, m := range page.Messages {
			if m.Timestamp != except && own(self, m) && payload(m, EventCard, fieldKey) == v.Key {
				return incident.CardRef{Channel: channel, TS: m.Timestamp}, nil
			}
		}
		if params.Cursor = page.ResponseMetaData.NextCursor; !page.HasMore || params.Cursor == "" {
			return incident.CardRef{}, nil
		}
	}
	return incident.CardRef{}, fmt.Errorf("find card of incident %q: more than %d messages since it opened: %w", v.Key, maxPages*pageSize, driver.ErrInvalid)
}

// KeyAt is the key of the incident whose card is that message; empty when it is
// no card of Backout.
func (c *Channel) KeyAt(ctx context.Context, channel, ts string) (string, error) {
	self, err := c.whoami(ctx)
	if err != nil {
		return "", err
	}
	page, err := c.opts.API.GetConversationHistoryContext(ctx, &slackgo.GetConversationHistoryParameters{
		ChannelID: channel, Latest: ts, Inclusive: true, Limit: 1, IncludeAllMetadata: true,
	})
	if err != nil {
		return "", wrap("conversations.history", err)
	}
	for _, m := range page.Messages {
		if key := payload(m, EventCard, fieldKey); m.Timestamp == ts && own(self, m) && incident.ValidKey(key) {
			return key, nil
		}
	}
	return "", nil
}

// Tell says text to one person only, in the channel where they spoke. People
// who came by the command line or the console were answered there.
func (c *Channel) Tell(ctx context.Context, to incident.Actor, text string) error {
	switch to.Via {
	case incident.ViaCLI, incident.ViaConsole:
		return nil
	case incident.ViaSlack:
	default:
		return fmt.Errorf("tell %q: unknown way in: %w", to, driver.ErrInvalid)
	}
	if to.Channel == "" || to.SlackUser == "" {
		return fmt.Errorf("tell %q: it is not known where they spoke: %w", to, driver.ErrInvalid)
	}
	_, err := c.opts.API.PostEphemeralContext(ctx, to.Channel, to.SlackUser, words(text))
	return wrap("chat.postEphemeral", err)
}

// Say adds a line to the thread of a card, once for each id.
func (c *Channel) Say(ctx context.Context, card incident.CardRef, id, text string) error {
	if card.IsZero() || id == "" {
		return fmt.Errorf("say in thread: card and id are required: %w", driver.ErrInvalid)
	}
	said, err := c.said(ctx, card, id)
	if err != nil || said {
		return err
	}
	_, _, err = c.opts.API.PostMessageContext(ctx, card.Channel, slackgo.MsgOptionTS(card.TS), words(text),
		slackgo.MsgOptionMetadata(slackgo.SlackMetadata{EventType: EventLine, EventPayload: map[string]any{fieldID: id}}),
		slackgo.MsgOptionDisableLinkUnfurl(), slackgo.MsgOptionDisableMediaUnfurl())
	return wrap("chat.postMessage", err)
}

// said reports whether the line is in the thread already.
func (c *Channel) said(ctx context.Context, card incident.CardRef, id string) (bool, error) {
	return c.thread(ctx, card, func(m slackgo.Message) bool { return payload(m, EventLine, fieldID) == id })
}

// words is a message in which nothing is interpreted.
func words(text string) slackgo.MsgOption {
	text = strings.ToValidUTF8(text, "\ufffd")
	if strings.TrimSpace(text) == "" {
		text = "–"
	}
	if utf8.RuneCountInString(text) > maxText {
		text = string([]rune(text)[:maxText-1]) + "…"
	}
	section := slackgo.NewSectionBlock(slackgo.NewTextBlockObject(slackgo.PlainTextType, text, false, false), nil, nil)
	return slackgo.MsgOptionCompose(slackgo.MsgOptionBlocks(section), slackgo.MsgOptionText(text, true))
}

// whoami asks once who the bot is. A failed answer is asked for again.
func (c *Channel) whoami(ctx context.Context) (*slackgo.AuthTestResponse, error) {
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self != nil {
		return self, nil
	}
	self, err := c.opts.API.AuthTestContext(ctx)
	if err != nil {
		return nil, wrap("auth.test", err)
	}
	if self.UserID == "" && self.BotID == "" {
		return nil, &Error{Method: "auth.test", Code: "the token belongs to no bot", kind: driver.ErrDenied}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = self
	return self, nil
}

// own reports whether Backout posted the message.
func own(self *slackgo.AuthTestResponse, m slackgo.Message) bool {
	return (self.BotID != "" && m.BotID == self.BotID) || (self.UserID != "" && m.User == self.UserID)
}

// payload is one member of a message's metadata; empty when it has none.
func payload(m slackgo.Message, event, member string) string {
	if m.Metadata.EventType != event {
		return ""
	}
	s, _ := m.Metadata.EventPayload[member].(string)
	return s
}

// timestamp is a moment as Slack spells it.
func timestamp(t time.Time) string {
	micros := t.UnixMicro()
	return strconv.FormatInt(micros/1_000_000, 10) + "." + fmt.Sprintf("%06d", micros%1_000_000)
}
