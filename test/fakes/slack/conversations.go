package fakeslack

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of conversations.
const (
	// maxChannelName is the length of a channel name, in characters.
	// Source: https://docs.slack.dev/reference/methods/conversations.create
	maxChannelName = 80
	// maxTopic is the length of a topic, in characters.
	// Source: https://docs.slack.dev/reference/methods/conversations.setTopic
	maxTopic = 250
	// maxInvited is how many people one invitation may name.
	// Source: https://docs.slack.dev/reference/methods/conversations.invite
	maxInvited = 100
	// defaultPage and maxPage are how many items a page has, if not said and at most.
	// Source: https://docs.slack.dev/apis/web-api/pagination
	defaultPage, maxPage = 100, 999
)

var channelName = regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]+$`)

// visible returns a channel whose content the bot may see.
func (s *Server) visible(id string) (*conversation, *refusal) {
	c := s.world.channels[id]
	if c == nil || (c.IsPrivate && !c.members[s.opts.BotUserID]) {
		return nil, refuse("channel_not_found")
	}
	return c, nil
}

// joined returns a channel that the bot is a member of.
func (s *Server) joined(id string) (*conversation, *refusal) {
	c, refused := s.visible(id)
	if refused != nil {
		return nil, refused
	}
	if !c.members[s.opts.BotUserID] {
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

func (s *Server) conversationsCreate(c *call) (answer, *refusal) {
	name := c.args.text("name")
	switch {
	case utf8.RuneCountInString(name) > maxChannelName:
		return nil, refuse("invalid_name_maxlength")
	case strings.Trim(name, "-_") == "":
		return nil, refuse("invalid_name_punctuation")
	case !channelName.MatchString(name):
		return nil, refuse("invalid_name_specials")
	}
	for _, id := range s.world.order {
		if s.world.channels[id].Name == name {
			return nil, refuse("name_taken")
		}
	}
	created := s.world.open(Channel{
		ID: s.world.id("C"), Name: name, IsPrivate: c.args.flag("is_private", false), Members: []string{s.opts.BotUserID},
	}, c.now, s.opts.BotUserID)
	return answer{"channel": created.wire(s.opts.BotUserID)}, nil
}

func (s *Server) conversationsInfo(c *call) (answer, *refusal) {
	channel, refused := s.visible(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	out := channel.wire(s.opts.BotUserID)
	if !c.args.flag("include_num_members", false) {
		delete(out, "num_members")
	}
	return answer{"channel": out}, nil
}

func (s *Server) conversationsList(c *call) (answer, *refusal) {
	types := c.args.text("types")
	if types == "" {
		types = "public_channel"
	}
	wanted := strings.Split(types, ",")
	for _, kind := range wanted {
		if !slices.Contains([]string{"public_channel", "private_channel", "mpim", "im"}, kind) {
			return nil, refuse("invalid_types")
		}
	}
	var found []map[string]any
	for _, id := range s.world.order {
		channel := s.world.channels[id]
		kind := "public_channel"
		if channel.IsPrivate {
			kind = "private_channel"
		}
		hidden := channel.IsPrivate && !channel.members[s.opts.BotUserID]
		archived := channel.Archived && c.args.flag("exclude_archived", false)
		if slices.Contains(wanted, kind) && !hidden && !archived {
			found = append(found, channel.wire(s.opts.BotUserID))
		}
	}
	page, next, refused := paginate(found, c.args)
	if refused != nil {
		return nil, refused
	}
	return answer{"channels": page, "response_metadata": map[string]any{"next_cursor": next}}, nil
}

// paginate cuts a page out of items. Cursors are opaque to callers.
func paginate[T any](items []T, args arguments) ([]T, string, *refusal) {
	start := 0
	if cursor := args.text("cursor"); cursor != "" {
		position, ok := strings.CutPrefix(cursor, "next:")
		n, err := strconv.Atoi(position)
		if !ok || err != nil || n < 0 || n > len(items) {
			return nil, "", refuse("invalid_cursor")
		}
		start = n
	}
	limit := args.number("limit", defaultPage)
	if limit == 0 {
		limit = defaultPage
	}
	if limit < 0 || limit > maxPage+1 {
		return nil, "", refuse("invalid_limit")
	}
	end := min(start+limit, len(items))
	next := ""
	if end < len(items) {
		next = "next:" + strconv.Itoa(end)
	}
	return append([]T{}, items[start:end]...), next, nil
}

func (s *Server) conversationsHistory(c *call) (answer, *refusal) {
	channel, refused := s.joined(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	var found []*Message
	for _, m := range slices.Backward(channel.messages) {
		if m.ThreadTS == "" {
			found = append(found, m)
		}
	}
	return s.pageOf(c, channel, found)
}

func (s *Server) conversationsReplies(c *call) (answer, *refusal) {
	channel, refused := s.joined(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	parent := channel.message(c.args.text("ts"))
	if parent == nil {
		return nil, refuse("thread_not_found")
	}
	if parent.ThreadTS != "" {
		parent = channel.message(parent.ThreadTS)
	}
	if parent == nil {
		return nil, refuse("thread_not_found")
	}
	return s.pageOf(c, channel, append([]*Message{parent}, channel.replies(parent.TS)...))
}

// pageOf answers with the messages of a time range, in the order given.
func (s *Server) pageOf(c *call, channel *conversation, messages []*Message) (answer, *refusal) {
	oldest, latest := c.args.text("oldest"), c.args.text("latest")
	if oldest != "" && !isTimestamp(oldest) {
		return nil, refuse("invalid_ts_oldest")
	}
	if latest != "" && !isTimestamp(latest) {
		return nil, refuse("invalid_ts_latest")
	}
	inclusive := c.args.flag("inclusive", false)
	metadata := c.args.flag("include_all_metadata", false)
	found := []map[string]any{}
	for _, m := range messages {
		if oldest != "" && (before(m.TS, oldest) || (m.TS == oldest && !inclusive)) {
			continue
		}
		if latest != "" && (before(latest, m.TS) || (m.TS == latest && !inclusive)) {
			continue
		}
		out := m.wire(s.opts.TeamID, metadata)
		if replies := channel.replies(m.TS); len(replies) > 0 {
			out["thread_ts"], out["reply_count"] = m.TS, len(replies)
			out["latest_reply"] = replies[len(replies)-1].TS
		}
		found = append(found, out)
	}
	page, next, refused := paginate(found, c.args)
	if refused != nil {
		return nil, refused
	}
	return answer{
		"messages": page, "has_more": next != "", "response_metadata": map[string]any{"next_cursor": next},
	}, nil
}

func isTimestamp(ts string) bool {
	_, err := strconv.ParseFloat(ts, 64)
	return err == nil
}

// before compares timestamps, which may have no fraction.
func before(a, b string) bool { return normal(a) < normal(b) }

func normal(ts string) string {
	seconds, micros, _ := strings.Cut(ts, ".")
	for len(seconds) < 12 {
		seconds = "0" + seconds
	}
	return seconds + "." + (micros + "000000")[:6]
}

func (s *Server) conversationsInvite(c *call) (answer, *refusal) {
	channel, refused := s.joined(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	if channel.Archived {
		return nil, refuse("is_archived")
	}
	ids := strings.Split(c.args.text("users"), ",")
	if len(ids) > maxInvited {
		return nil, refuse("invalid_arguments", "[ERROR] no more than 100 users allowed [json-pointer:/users]")
	}
	for _, id := range ids {
		user := s.world.users[id]
		code := ""
		switch {
		case id == s.opts.BotUserID:
			code = "cant_invite_self"
		case user == nil || user.Deleted:
			code = "user_not_found"
		case user.TeamID != s.opts.TeamID || user.IsStranger:
			code = "org_user_not_in_team"
		case user.IsUltraRestricted:
			code = "user_is_restricted"
		case channel.members[id]:
			code = "already_in_channel"
		}
		if code == "" || (c.args.flag("force", false) && code != "cant_invite_self") {
			continue
		}
		refused := refuse(code)
		refused.extra = map[string]any{"errors": []map[string]any{{"user": id, "ok": false, "error": code}}}
		return nil, refused
	}
	for _, id := range ids {
		if u := s.world.users[id]; u != nil && !u.Deleted && u.TeamID == s.opts.TeamID && !u.IsStranger {
			channel.members[id] = true
		}
	}
	return answer{"channel": channel.wire(s.opts.BotUserID)}, nil
}

func (s *Server) conversationsJoin(c *call) (answer, *refusal) {
	channel := s.world.channels[c.args.text("channel")]
	switch {
	case channel == nil:
		return nil, refuse("channel_not_found")
	case channel.IsPrivate:
		return nil, refuse("method_not_supported_for_channel_type")
	case channel.Archived:
		return nil, refuse("is_archived")
	}
	channel.members[s.opts.BotUserID] = true
	return answer{"channel": channel.wire(s.opts.BotUserID)}, nil
}

func (s *Server) conversationsMembers(c *call) (answer, *refusal) {
	channel, refused := s.visible(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	page, next, refused := paginate(channel.memberIDs(), c.args)
	if refused != nil {
		return nil, refused
	}
	return answer{"members": page, "response_metadata": map[string]any{"next_cursor": next}}, nil
}

func (s *Server) conversationsSetTopic(c *call) (answer, *refusal) {
	channel, refused := s.joined(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	if channel.Archived {
		return nil, refuse("is_archived")
	}
	topic := c.args.text("topic")
	if utf8.RuneCountInString(topic) > maxTopic {
		return nil, refuse("too_long")
	}
	channel.Topic = topic
	return answer{"channel": channel.wire(s.opts.BotUserID)}, nil
}
