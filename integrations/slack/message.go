package slack

import (
	"context"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Message is a message of a channel as it stands now, whether it is in a thread or not.
// One that is gone is an error that wraps driver.ErrNotFound.
func (c *Channel) Message(ctx context.Context, channel, ts string) (incident.ChannelMessage, error) {
	m, err := c.message(ctx, channel, ts)
	if err != nil {
		return incident.ChannelMessage{}, err
	}
	self, err := c.whoami(ctx)
	if err != nil {
		return incident.ChannelMessage{}, err
	}
	out := incident.ChannelMessage{Own: own(self, m), At: moment(m.Timestamp), Text: plainText(m.Text)}
	if m.Edited != nil {
		out.EditedAt = moment(m.Edited.Timestamp)
	}
	for _, r := range m.Reactions {
		if r.Name == c.opts.PinEmoji {
			out.PinnedBy = slices.Clone(r.Users)
		}
	}
	if out.Text == "" {
		for _, a := range m.Attachments {
			if out.Text = plainText(a.Fallback); out.Text != "" {
				break
			}
		}
	}
	for _, f := range m.Files {
		if strings.HasPrefix(f.Mimetype, "image/") && f.Permalink != "" {
			out.Images = append(out.Images, incident.PinImage{Name: f.Name, URL: f.Permalink, File: f.ID})
		}
	}
	if out.Own {
		return out, nil
	}
	out.Author = c.author(ctx, m)
	// Without a link it is still a message.
	out.URL, _ = c.opts.API.GetPermalinkContext(ctx, &slackgo.PermalinkParameters{Channel: channel, Ts: ts})
	return out, nil
}

// ThreadOf is the parent of a message that is a reply; empty for one that is none.
func (c *Channel) ThreadOf(ctx context.Context, channel, ts string) (string, error) {
	m, err := c.message(ctx, channel, ts)
	if err != nil || m.ThreadTimestamp == ts {
		return "", err
	}
	return m.ThreadTimestamp, nil
}

// message reads one message. A message that is no reply has its replies for a thread,
// and a reply leads to its thread.
func (c *Channel) message(ctx context.Context, channel, ts string) (slackgo.Message, error) {
	page, _, _, err := c.opts.API.GetConversationRepliesContext(ctx, &slackgo.GetConversationRepliesParameters{
		ChannelID: channel, Timestamp: ts, Oldest: ts, Latest: ts, Inclusive: true, Limit: pageSize, IncludeAllMetadata: true,
	})
	if err != nil {
		return slackgo.Message{}, wrap("conversations.replies", err)
	}
	for _, m := range page {
		if m.Timestamp == ts {
			return m, nil
		}
	}
	return slackgo.Message{}, fmt.Errorf("read message: it is not there: %w", driver.ErrNotFound)
}

// author is who wrote a message, by name.
func (c *Channel) author(ctx context.Context, m slackgo.Message) string {
	if m.User != "" {
		if u, err := c.opts.API.GetUserInfoContext(ctx, m.User); err == nil {
			switch {
			case u.RealName != "":
				return u.RealName
			case u.Name != "":
				return u.Name
			}
		}
	}
	switch {
	case m.BotProfile != nil && m.BotProfile.Name != "":
		return m.BotProfile.Name
	case m.Username != "":
		return m.Username
	default:
		return "somebody"
	}
}

// moment is when a message was written, from its timestamp; zero when it is none.
func moment(ts string) time.Time {
	whole, micros, _ := strings.Cut(ts, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds <= 0 {
		return time.Time{}
	}
	fraction, err := strconv.ParseInt((micros + "000000")[:6], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, fraction*1000).UTC()
}

// reference is what Slack writes for people, channels, groups, links and dates.
// Source: https://docs.slack.dev/messaging/formatting-message-text
var reference = regexp.MustCompile(`<([@#!]?)([^<>|\s][^<>|]*)(?:\|([^<>]*))?>`)

// plainText is what a message says, with nothing left that Slack would make something
// of: references by their labels, and links by their addresses.
func plainText(text string) string {
	text = reference.ReplaceAllStringFunc(text, func(found string) string {
		m := reference.FindStringSubmatch(found)
		sigil, to, label := m[1], m[2], m[3]
		switch {
		case sigil == "!" && label != "":
			return label
		case sigil == "!":
			return "@" + strings.TrimPrefix(to, "subteam^")
		case sigil != "" && label != "":
			return sigil + strings.TrimPrefix(label, sigil)
		case sigil != "":
			return sigil + to
		case label != "" && label != to:
			return label + " (" + to + ")"
		default:
			return to
		}
	})
	return strings.TrimSpace(html.UnescapeString(text))
}
