package fakeslack

import (
	"context"
	"fmt"
	"slices"
)

// Mark is what somebody does to a message that stands in a channel.
type Mark struct {
	User, Channel, TS string
	// Emoji is the name of a reaction.
	Emoji string
}

// need is the scope without which Slack does not deliver an event.
// Source: https://docs.slack.dev/reference/events
var need = map[string]string{
	"reaction_added": "reactions:read", "reaction_removed": "reactions:read",
	"message.channels": "channels:history", "message.groups": "groups:history",
}

// subscription is the name under which apps subscribe to an event: messages by the kind
// of their channel.
func (s *Server) subscription(event map[string]any) string {
	name, _ := event["type"].(string)
	if name != "message" {
		return name
	}
	id, _ := event["channel"].(string)
	if c := s.world.channels[id]; c != nil && c.IsPrivate {
		return "message.groups"
	}
	return "message.channels"
}

// hears reports whether the app gets an event: it subscribed, has the scope, and is in
// the channel.
func (s *Server) hears(event map[string]any, channel string) bool {
	name := s.subscription(event)
	if scope := need[name]; scope != "" && !slices.Contains(s.opts.Scopes, scope) {
		return false
	}
	if c := s.world.channels[channel]; channel != "" && (c == nil || !c.members[s.opts.BotUserID]) {
		return false
	}
	return slices.Contains(s.opts.Events, name)
}

// React adds a person's reaction to a message and delivers reaction_added. The error
// says that it was impossible.
func (s *Server) React(ctx context.Context, m Mark) (Outcome, error) {
	return s.mark(ctx, m, "reaction_added", func(found *Message) error {
		i := slices.IndexFunc(found.Reactions, func(r Reaction) bool { return r.Name == m.Emoji })
		switch {
		case i < 0:
			found.Reactions = append(found.Reactions, Reaction{Name: m.Emoji, Users: []string{m.User}})
		case slices.Contains(found.Reactions[i].Users, m.User):
			return fmt.Errorf("%q has reacted already", m.User)
		default:
			found.Reactions[i].Users = append(slices.Clone(found.Reactions[i].Users), m.User)
		}
		return nil
	})
}

// Unreact takes a person's reaction away and delivers reaction_removed.
func (s *Server) Unreact(ctx context.Context, m Mark) (Outcome, error) {
	return s.mark(ctx, m, "reaction_removed", func(found *Message) error {
		i := slices.IndexFunc(found.Reactions, func(r Reaction) bool { return r.Name == m.Emoji && slices.Contains(r.Users, m.User) })
		if i < 0 {
			return fmt.Errorf("%q has not reacted so", m.User)
		}
		left := slices.DeleteFunc(slices.Clone(found.Reactions[i].Users), func(u string) bool { return u == m.User })
		if found.Reactions = slices.Clone(found.Reactions); len(left) > 0 {
			found.Reactions[i].Users = left
		} else {
			found.Reactions = slices.Delete(found.Reactions, i, i+1)
		}
		return nil
	})
}

func (s *Server) mark(ctx context.Context, m Mark, kind string, change func(*Message) error) (Outcome, error) {
	s.mu.Lock()
	found, err := s.markable(m)
	if err == nil {
		err = change(found)
	}
	if err != nil {
		s.mu.Unlock()
		return Outcome{}, fmt.Errorf("%s: %w", kind, err)
	}
	event := map[string]any{
		"type": kind, "user": m.User, "reaction": m.Emoji, "item_user": found.User, "event_ts": s.world.timestamp(s.opts.Now()),
		"item": map[string]any{"type": "message", "channel": m.Channel, "ts": m.TS},
	}
	heard := s.hears(event, m.Channel)
	s.notify()
	s.mu.Unlock()
	if !heard {
		return Outcome{}, nil
	}
	return s.publish(ctx, event)
}

// markable is a message that a person sees.
func (s *Server) markable(m Mark) (*Message, error) {
	c := s.world.channels[m.Channel]
	if s.world.users[m.User] == nil || c == nil || c.IsPrivate && !c.members[m.User] {
		return nil, fmt.Errorf("no such person or channel")
	}
	found := c.message(m.TS)
	if found == nil {
		return nil, fmt.Errorf("no such message")
	}
	return found, nil
}

// Edit replaces what a person wrote and delivers message_changed.
func (s *Server) Edit(ctx context.Context, m Mark, text string) (Outcome, error) {
	s.mu.Lock()
	found, err := s.markable(m)
	if err == nil && found.User != m.User {
		err = fmt.Errorf("it is not theirs")
	}
	if err != nil {
		s.mu.Unlock()
		return Outcome{}, fmt.Errorf("edit message: %w", err)
	}
	previous := found.wire(s.opts.TeamID, false)
	s.edit(found, content{text: escape(text)})
	event := map[string]any{
		"type": "message", "subtype": "message_changed", "hidden": true, "channel": m.Channel, "ts": found.EditedTS, "event_ts": found.EditedTS,
		"message": found.wire(s.opts.TeamID, false), "previous_message": previous, "channel_type": "channel",
	}
	heard := s.hears(event, m.Channel)
	s.notify()
	s.mu.Unlock()
	if !heard {
		return Outcome{}, nil
	}
	return s.publish(ctx, event)
}

// Delete takes away what a person wrote and delivers message_deleted.
func (s *Server) Delete(ctx context.Context, m Mark) (Outcome, error) {
	s.mu.Lock()
	found, err := s.markable(m)
	if err == nil && found.User != m.User {
		err = fmt.Errorf("it is not theirs")
	}
	if err != nil {
		s.mu.Unlock()
		return Outcome{}, fmt.Errorf("delete message: %w", err)
	}
	s.world.channels[m.Channel].remove(m.TS)
	at := s.world.timestamp(s.opts.Now())
	event := map[string]any{
		"type": "message", "subtype": "message_deleted", "hidden": true, "channel": m.Channel, "ts": at, "event_ts": at,
		"deleted_ts": m.TS, "previous_message": found.wire(s.opts.TeamID, false), "channel_type": "channel",
	}
	heard := s.hears(event, m.Channel)
	s.notify()
	s.mu.Unlock()
	if !heard {
		return Outcome{}, nil
	}
	return s.publish(ctx, event)
}
