package fakeslack

import (
	"slices"
	"strconv"
	"strings"
)

func (s *Server) apiTest(c *call) (answer, *refusal) {
	if code := c.args.text("error"); code != "" {
		return nil, refuse(code)
	}
	return answer{"args": map[string]any{}}, nil
}

func (s *Server) authTest(*call) (answer, *refusal) {
	return answer{
		"url": s.URL() + "/", "team": s.opts.TeamName, "team_id": s.opts.TeamID, "user": s.opts.BotName,
		"user_id": s.opts.BotUserID, "bot_id": s.opts.BotID, "is_enterprise_install": false,
	}, nil
}

func (s *Server) usersInfo(c *call) (answer, *refusal) {
	user := s.world.users[c.args.text("user")]
	if user == nil {
		return nil, refuse("user_not_found")
	}
	return answer{"user": s.person(user)}, nil
}

// person is a user as the bot's scopes let it see them.
func (s *Server) person(u *User) map[string]any {
	out := u.wire()
	if !slices.Contains(s.opts.Scopes, "users:read.email") {
		delete(out["profile"].(map[string]any), "email")
	}
	return out
}

func (s *Server) usersList(c *call) (answer, *refusal) {
	found := make([]map[string]any, 0, len(s.world.userIDs))
	for _, id := range s.world.userIDs {
		found = append(found, s.person(s.world.users[id]))
	}
	page, next, refused := paginate(found, c.args)
	if refused != nil {
		return nil, refused
	}
	return answer{
		"members": page, "cache_ts": c.now.Unix(), "response_metadata": map[string]any{"next_cursor": next},
	}, nil
}

func (s *Server) usersLookupByEmail(c *call) (answer, *refusal) {
	for _, id := range s.world.userIDs {
		user := s.world.users[id]
		if !user.Deleted && user.Email != "" && strings.EqualFold(user.Email, c.args.text("email")) {
			return answer{"user": s.person(user)}, nil
		}
	}
	return nil, refuse("users_not_found")
}

func (s *Server) userGroupUsers(c *call) (answer, *refusal) {
	group, ok := s.world.groups[c.args.text("usergroup")]
	if !ok {
		return nil, refuse("no_such_subteam")
	}
	on, _ := strconv.ParseBool(c.args.text("include_disabled"))
	if group.Disabled && !on {
		return answer{"users": []string{}}, nil
	}
	return answer{"users": append([]string{}, group.Users...)}, nil
}

func (s *Server) reactionsAdd(c *call) (answer, *refusal) {
	channel, refused := s.visible(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	m := channel.message(c.args.text("timestamp"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	name := c.args.text("name")
	if strings.ContainsAny(name, ": ") {
		return nil, refuse("invalid_name")
	}
	for i := range m.Reactions {
		if m.Reactions[i].Name != name {
			continue
		}
		if slices.Contains(m.Reactions[i].Users, s.opts.BotUserID) {
			return nil, refuse("already_reacted")
		}
		m.Reactions[i].Users = append(m.Reactions[i].Users, s.opts.BotUserID)
		return nil, nil
	}
	m.Reactions = append(m.Reactions, Reaction{Name: name, Users: []string{s.opts.BotUserID}})
	return nil, nil
}

func (s *Server) pinsAdd(c *call) (answer, *refusal) {
	channel, refused := s.joined(c.args.text("channel"))
	if refused != nil {
		return nil, refused
	}
	if c.args.text("timestamp") == "" {
		return nil, refuse("no_item_specified")
	}
	m := channel.message(c.args.text("timestamp"))
	if m == nil {
		return nil, refuse("message_not_found")
	}
	if m.Pinned {
		return nil, refuse("already_pinned")
	}
	m.Pinned = true
	return nil, nil
}

func (s *Server) bookmarksAdd(c *call) (answer, *refusal) {
	channel, refused := s.visible(c.args.text("channel_id"))
	if refused != nil {
		return nil, refused
	}
	if c.args.text("type") != "link" {
		return nil, refuse("invalid_bookmark_type")
	}
	link := c.args.text("link")
	if !strings.HasPrefix(link, "http://") && !strings.HasPrefix(link, "https://") {
		return nil, refuse("invalid_link")
	}
	b := Bookmark{
		ID: s.world.id("Bk"), Channel: channel.ID, Title: c.args.text("title"), Link: link, Emoji: c.args.text("emoji"),
	}
	channel.bookmarks = append(channel.bookmarks, b)
	return answer{"bookmark": map[string]any{
		"id": b.ID, "channel_id": b.Channel, "title": b.Title, "link": b.Link, "emoji": b.Emoji, "type": "link",
	}}, nil
}
