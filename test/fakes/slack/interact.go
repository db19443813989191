package fakeslack

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Click is one press of a button or one choice in a menu.
type Click struct {
	User string
	// Channel and TS name the message. Leave both empty for a modal or the Home tab
	// and set View to its ID.
	Channel, TS string
	View        string
	// ActionID names the element, BlockID its block where the action_id is not enough.
	ActionID, BlockID string
	// Value is the option chosen in a menu, or the person, channel, date or time picked.
	Value string
	// Seen are the blocks the person looks at when they are older than the message:
	// a click on a card that was updated meanwhile. Nil means the current ones.
	Seen json.RawMessage
}

// Click delivers a block_actions interaction. The error says that the click was
// impossible; a delivery that failed is in the outcome.
func (s *Server) Click(ctx context.Context, c Click) (Outcome, error) {
	s.mu.Lock()
	payload, err := s.clickPayload(c)
	s.mu.Unlock()
	if err != nil {
		return Outcome{}, fmt.Errorf("click %q: %w", c.ActionID, err)
	}
	return s.deliver(ctx, delivery{kind: kindInteractive, user: c.User, payload: payload}), nil
}

func (s *Server) clickPayload(c Click) (json.RawMessage, error) {
	payload, err := s.interaction("block_actions", c.User)
	if err != nil {
		return nil, err
	}
	var blocks json.RawMessage
	if c.View != "" {
		view := s.views.find(func(v *View) bool { return v.ID == c.View && v.User == c.User })
		if view == nil {
			return nil, fmt.Errorf("view %q is not before %q", c.View, c.User)
		}
		payload["view"] = s.wireView(view, nil)
		payload["container"] = map[string]any{"type": "view", "view_id": view.ID}
		blocks = view.blocks()
	} else {
		m := s.seenBy(c.User, c.Channel, c.TS)
		if m == nil {
			return nil, fmt.Errorf("message %q is not in %q", c.TS, c.Channel)
		}
		channel := s.world.channels[c.Channel]
		container := map[string]any{
			"type": "message", "message_ts": m.TS, "channel_id": m.Channel, "is_ephemeral": m.VisibleTo != "",
		}
		if m.ThreadTS != "" {
			container["thread_ts"] = m.ThreadTS
		}
		payload["container"] = container
		payload["channel"] = map[string]any{"id": channel.ID, "name": channel.Name}
		payload["message"] = m.wire(s.opts.TeamID, true)
		payload["response_url"] = s.newResponseURL(target{channel: c.Channel, user: c.User, thread: m.ThreadTS, original: m})
		payload["state"] = map[string]any{"values": map[string]any{}}
		blocks = m.Blocks
	}
	if c.Seen != nil {
		blocks = c.Seen
	}
	action, err := s.action(blocks, c)
	if err != nil {
		return nil, err
	}
	payload["actions"] = []map[string]any{action}
	return json.Marshal(payload)
}

// seenBy finds a message that a person can see in a channel.
func (s *Server) seenBy(user, channel, ts string) *Message {
	c := s.world.channels[channel]
	if c == nil || (c.IsPrivate && !c.members[user]) {
		return nil
	}
	if m := c.message(ts); m != nil {
		return m
	}
	for _, m := range s.world.private {
		if m.Channel == channel && m.TS == ts && m.VisibleTo == user {
			return m
		}
	}
	return nil
}

// interaction starts the payload of an interaction.
func (s *Server) interaction(kind, userID string) (map[string]any, error) {
	user := s.world.users[userID]
	if user == nil || userID == s.opts.BotUserID {
		return nil, fmt.Errorf("no such person %q", userID)
	}
	return map[string]any{
		"type": kind, "token": "unused", "api_app_id": s.opts.AppID, "trigger_id": s.grant(userID),
		"team":       map[string]any{"id": s.opts.TeamID, "domain": s.opts.TeamDomain},
		"user":       map[string]any{"id": user.ID, "username": user.Name, "name": user.Name, "team_id": user.TeamID},
		"enterprise": nil, "is_enterprise_install": false,
	}, nil
}

// action is what happened to one element, as the payload tells it.
func (s *Server) action(blocks json.RawMessage, c Click) (map[string]any, error) {
	block, e, err := findElement(blocks, c.BlockID, c.ActionID)
	if err != nil {
		return nil, err
	}
	kind, _ := e["type"].(string)
	out := map[string]any{
		"type": kind, "action_id": e["action_id"], "block_id": block["block_id"],
		"action_ts": s.world.timestamp(s.opts.Now()),
	}
	if kind == "button" {
		for _, member := range []string{"text", "value", "style", "url"} {
			if value, ok := e[member]; ok {
				out[member] = value
			}
		}
		return out, nil
	}
	state, err := stateOf(e, c.Value)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, state)
	return out, nil
}

// findElement finds an element in blocks by its action_id.
func findElement(blocks json.RawMessage, blockID, actionID string) (block, element map[string]any, err error) {
	var list []map[string]any
	if len(blocks) > 0 {
		if err := json.Unmarshal(blocks, &list); err != nil {
			return nil, nil, fmt.Errorf("read blocks: %w", err)
		}
	}
	for _, b := range list {
		for _, e := range elementsOf(b) {
			if e["action_id"] == actionID && (blockID == "" || b["block_id"] == blockID) {
				return b, e, nil
			}
		}
	}
	return nil, nil, fmt.Errorf("no element %q in view", actionID)
}

// Slash is one slash command that somebody typed.
type Slash struct {
	User, Channel, Command, Text string
	// Thread is set when it was typed in a thread, where commands do not work.
	Thread string
}

// Slash delivers a slash command and shows what the app answers.
func (s *Server) Slash(ctx context.Context, c Slash) (Outcome, error) {
	s.mu.Lock()
	user, channel := s.world.users[c.User], s.world.channels[c.Channel]
	registered := slices.Contains(s.opts.Commands, c.Command)
	var form url.Values
	var to target
	if user != nil && channel != nil {
		to = target{channel: c.Channel, user: c.User}
		form = url.Values{
			"token": {"unused"}, "team_id": {s.opts.TeamID}, "team_domain": {s.opts.TeamDomain},
			"channel_id": {channel.ID}, "channel_name": {channel.Name}, "user_id": {user.ID}, "user_name": {user.Name},
			"command": {c.Command}, "text": {c.Text}, "api_app_id": {s.opts.AppID}, "is_enterprise_install": {"false"},
			"response_url": {s.newResponseURL(to)}, "trigger_id": {s.grant(c.User)},
		}
	}
	s.mu.Unlock()
	switch {
	case c.Thread != "":
		return Outcome{}, fmt.Errorf("type %s: slash commands do not work in threads", c.Command)
	case form == nil:
		return Outcome{}, fmt.Errorf("type %s: no such person or channel", c.Command)
	case !registered:
		return Outcome{}, fmt.Errorf("type %s: not a registered command", c.Command)
	}
	fields := make(map[string]string, len(form))
	for name := range form {
		fields[name] = form.Get(name)
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		return Outcome{}, fmt.Errorf("encode command: %w", err)
	}
	d := delivery{kind: kindCommand, user: c.User, form: form, payload: payload}
	out := s.deliver(ctx, d)
	if !out.Acked {
		s.tell(to, fmt.Sprintf("%s failed with the error %q", c.Command, out.Reason))
		return out, nil
	}
	if refused := s.showAnswer(to, out); refused != nil {
		out.Reason = "invalid_command_response"
		s.fail(d, out)
		s.tell(to, fmt.Sprintf("%s failed with the error %q: %s", c.Command, out.Reason, strings.Join(append([]string{refused.code}, refused.messages...), " ")))
	}
	return out, nil
}

// showAnswer shows what a command was acknowledged with: nothing, text, or a message.
func (s *Server) showAnswer(to target, out Outcome) *refusal {
	body := strings.TrimSpace(string(out.Body))
	if body == "" || body == "null" || body == "{}" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.notify()
	if strings.HasPrefix(out.contentType, "application/json") && strings.HasPrefix(body, "{") {
		return s.respond(to, []byte(body))
	}
	text, err := json.Marshal(map[string]string{"text": strings.Trim(body, `"`)})
	if err != nil {
		return refuse("invalid_payload")
	}
	return s.respond(to, text)
}

// tell shows one person a message from Slack itself.
func (s *Server) tell(to target, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.private = append(s.world.private, &Message{
		Channel: to.channel, TS: s.world.timestamp(s.opts.Now()), ThreadTS: to.thread, User: "USLACKBOT",
		Username: "Slackbot", Text: escape(text), VisibleTo: to.user,
	})
	s.notify()
}

// Say is one message that a person typed.
type Say struct {
	User, Channel string
	// Thread is the timestamp of the parent when it is a reply.
	Thread string
	// Text is what was typed. "@" and the app's name become a mention.
	Text string
	// Files are shared with it.
	Files []File
}

// Say posts a message of a person. When it mentions the app and the app is in the
// channel, app_mention is delivered; the outcome is that of the first attempt.
func (s *Server) Say(ctx context.Context, m Say) (Outcome, error) {
	s.mu.Lock()
	channel, user := s.world.channels[m.Channel], s.world.users[m.User]
	if channel == nil || user == nil || channel.Archived || (channel.IsPrivate && !channel.members[m.User]) {
		s.mu.Unlock()
		return Outcome{}, fmt.Errorf("say in %q: no such person or open channel", m.Channel)
	}
	if m.Thread != "" && channel.message(m.Thread) == nil {
		s.mu.Unlock()
		return Outcome{}, fmt.Errorf("say in %q: no thread %q", m.Channel, m.Thread)
	}
	mention := "<@" + s.opts.BotUserID + ">"
	text := escape(m.Text)
	text = strings.ReplaceAll(text, escape(mention), mention)
	text = strings.ReplaceAll(text, "@"+s.opts.BotName, mention)
	said := &Message{
		Channel: m.Channel, TS: s.world.timestamp(s.opts.Now()), ThreadTS: m.Thread, User: m.User, Text: text, Files: s.share(m.User, m.Files),
	}
	channel.members[m.User] = true
	channel.messages = append(channel.messages, said)
	heard := strings.Contains(text, mention) && channel.members[s.opts.BotUserID]
	s.notify()
	s.mu.Unlock()
	if !heard {
		return Outcome{}, nil
	}
	event := map[string]any{
		"type": "app_mention", "user": m.User, "text": text, "ts": said.TS, "channel": m.Channel,
		"event_ts": said.TS, "team": s.opts.TeamID,
	}
	if m.Thread != "" {
		event["thread_ts"] = m.Thread
	}
	return s.publish(ctx, event)
}

// Mention posts a message that begins with a mention of the app.
func (s *Server) Mention(ctx context.Context, m Say) (Outcome, error) {
	m.Text = strings.TrimSpace("<@" + s.opts.BotUserID + "> " + m.Text)
	return s.Say(ctx, m)
}

// OpenHome opens the app's Home tab for a person and delivers app_home_opened.
func (s *Server) OpenHome(ctx context.Context, user string) (Outcome, error) {
	s.mu.Lock()
	known := s.world.users[user] != nil
	event := map[string]any{
		"type": "app_home_opened", "user": user, "channel": "D" + strings.TrimPrefix(user, "U"), "tab": "home",
		"event_ts": s.world.timestamp(s.opts.Now()),
	}
	if view := s.views.homes[user]; view != nil {
		event["view"] = s.wireView(view, nil)
	}
	s.mu.Unlock()
	if !known {
		return Outcome{}, fmt.Errorf("open home: no such person %q", user)
	}
	return s.publish(ctx, event)
}
