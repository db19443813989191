package fakeslack

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// world is what the workspace holds. The server's lock guards it.
type world struct {
	users    map[string]*User
	userIDs  []string // in the order they were seeded
	groups   map[string]UserGroup
	channels map[string]*conversation
	order    []string // channel IDs in the order they came to be
	private  []*Message
	lastTS   int64 // microseconds of the newest timestamp
	serial   int   // for identifiers
}

// conversation is a channel and what was said in it.
type conversation struct {
	Channel

	created   time.Time
	creator   string
	members   map[string]bool
	messages  []*Message // oldest first, replies among them
	bookmarks []Bookmark
}

// Message is one message of the workspace, thread reply or ephemeral message.
type Message struct {
	Channel     string
	TS          string
	ThreadTS    string // the parent's TS for a reply, empty otherwise
	User        string
	BotID       string // set when the app posted it
	Username    string
	Text        string
	Blocks      json.RawMessage
	Attachments json.RawMessage
	Metadata    json.RawMessage
	EditedTS    string
	// Edits is how often chat.update or a response URL replaced the content.
	Edits     int
	Reactions []Reaction
	Pinned    bool
	Files     []File
	// VisibleTo is the only person who sees an ephemeral message.
	VisibleTo string
}

// Reaction is an emoji with the people who chose it.
type Reaction struct {
	Name  string
	Users []string
}

// Bookmark is a link at the top of a channel.
type Bookmark struct {
	ID, Channel, Title, Link, Emoji string
}

// File is an uploaded file.
type File struct {
	ID, Name, Title, Mimetype, URL string
	// Permalink leads people to it, and is empty when it has none; Alt describes it.
	Permalink, Alt string
	Size           int
	// Download is the address at which the app gets it with its token; Say makes one
	// for a file with content.
	Download string
	// Preview is the address of a smaller picture of it, empty when there is none.
	Preview string
	// Content is what a person shares.
	Content []byte
}

func newWorld(opts Options) world {
	w := world{
		users:    map[string]*User{},
		groups:   map[string]UserGroup{},
		channels: map[string]*conversation{},
	}
	bot := User{ID: opts.BotUserID, Name: opts.BotName, RealName: opts.BotName, IsBot: true}
	for _, u := range append([]User{bot}, opts.Users...) {
		if u.TeamID == "" {
			u.TeamID = opts.TeamID
		}
		if u.RealName == "" {
			u.RealName = u.Name
		}
		w.users[u.ID] = &u
		w.userIDs = append(w.userIDs, u.ID)
	}
	for _, g := range opts.UserGroups {
		w.groups[g.ID] = g
	}
	for _, c := range opts.Channels {
		w.open(c, opts.Now(), opts.BotUserID)
	}
	return w
}

func (w *world) open(c Channel, at time.Time, creator string) *conversation {
	conv := &conversation{Channel: c, created: at, creator: creator, members: map[string]bool{}}
	for _, member := range c.Members {
		conv.members[member] = true
	}
	conv.Members = nil
	w.channels[c.ID] = conv
	w.order = append(w.order, c.ID)
	return conv
}

// id makes an identifier that was not used before.
func (w *world) id(prefix string) string {
	w.serial++
	return fmt.Sprintf("%s%08X", prefix, 0xA0000000+w.serial*7919)
}

// timestamp makes a message timestamp that is later than all before it.
func (w *world) timestamp(now time.Time) string {
	micros := max(now.UnixMicro(), w.lastTS+1)
	w.lastTS = micros
	return fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000)
}

// message finds a message that everybody in the channel sees.
func (c *conversation) message(ts string) *Message {
	for _, m := range c.messages {
		if m.TS == ts {
			return m
		}
	}
	return nil
}

// replies returns the replies to a message, oldest first.
func (c *conversation) replies(ts string) []*Message {
	var found []*Message
	for _, m := range c.messages {
		if m.ThreadTS == ts {
			found = append(found, m)
		}
	}
	return found
}

func (c *conversation) remove(ts string) {
	c.messages = slices.DeleteFunc(c.messages, func(m *Message) bool { return m.TS == ts })
}

func (c *conversation) memberIDs() []string { return slices.Sorted(maps.Keys(c.members)) }

// wire is the message as the Web API and the payloads show it.
func (m *Message) wire(teamID string, metadata bool) map[string]any {
	out := map[string]any{"type": "message", "ts": m.TS, "user": m.User, "text": m.Text, "team": teamID}
	if m.BotID != "" {
		out["bot_id"] = m.BotID
	}
	if m.Username != "" {
		out["username"] = m.Username
	}
	if m.ThreadTS != "" {
		out["thread_ts"] = m.ThreadTS
	}
	if len(m.Blocks) > 0 {
		out["blocks"] = m.Blocks
	}
	if len(m.Attachments) > 0 {
		out["attachments"] = m.Attachments
	}
	if metadata && len(m.Metadata) > 0 {
		out["metadata"] = m.Metadata
	}
	if m.EditedTS != "" {
		out["edited"] = map[string]any{"user": m.User, "ts": m.EditedTS}
	}
	if len(m.Reactions) > 0 {
		reactions := make([]map[string]any, 0, len(m.Reactions))
		for _, r := range m.Reactions {
			reactions = append(reactions, map[string]any{"name": r.Name, "users": r.Users, "count": len(r.Users)})
		}
		out["reactions"] = reactions
	}
	if m.Pinned {
		out["pinned_to"] = []string{m.Channel}
	}
	if len(m.Files) > 0 {
		files := make([]map[string]any, 0, len(m.Files))
		for _, f := range m.Files {
			files = append(files, f.wire())
		}
		out["files"] = files
	}
	if m.VisibleTo != "" {
		out["is_ephemeral"] = true
	}
	return out
}

func (f File) wire() map[string]any {
	out := map[string]any{
		"id": f.ID, "name": f.Name, "title": f.Title, "mimetype": f.Mimetype, "size": f.Size, "url_private": f.URL, "alt_txt": f.Alt,
	}
	if f.Permalink != "" {
		out["permalink"] = f.Permalink
	}
	if f.Download != "" {
		out["url_private_download"] = f.Download
	}
	if f.Preview != "" {
		out["thumb_1024"] = f.Preview
	}
	return out
}

func (u *User) wire() map[string]any {
	out := map[string]any{
		"id": u.ID, "team_id": u.TeamID, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"is_bot": u.IsBot, "is_restricted": u.IsRestricted, "is_ultra_restricted": u.IsUltraRestricted,
		"is_stranger": u.IsStranger, "is_app_user": u.IsAppUser, "tz": "Etc/UTC", "tz_offset": 0,
		"is_email_confirmed": u.Email != "" && !u.EmailUnconfirmed,
		"profile": map[string]any{
			"real_name": u.RealName, "display_name": u.Name, "email": u.Email, "title": u.Title, "team": u.TeamID,
		},
	}
	for name, is := range map[string]bool{"is_workflow_bot": u.IsWorkflowBot, "is_connector_bot": u.IsConnectorBot, "is_invited_user": u.IsInvitedUser} {
		if is {
			out[name] = true
		}
	}
	if u.EnterpriseTeams != nil {
		out["enterprise_user"] = map[string]any{
			"id": "W" + strings.TrimPrefix(u.ID, "U"), "enterprise_id": "E0GRID", "enterprise_name": "Grid", "teams": u.EnterpriseTeams,
		}
	}
	return out
}

func (c *conversation) wire(bot string) map[string]any {
	return map[string]any{
		"id": c.ID, "name": c.Name, "name_normalized": c.Name, "created": c.created.Unix(), "creator": c.creator,
		"is_channel": !c.IsPrivate, "is_group": c.IsPrivate, "is_private": c.IsPrivate, "is_im": false,
		"is_mpim": false, "is_archived": c.Archived, "is_member": c.members[bot], "is_general": false,
		"num_members": len(c.members),
		"topic":       map[string]any{"value": c.Topic, "creator": c.creator, "last_set": c.created.Unix()},
		"purpose":     map[string]any{"value": "", "creator": "", "last_set": 0},
	}
}

// escape makes text from a person safe the way Slack's own clients do.
// Source: https://docs.slack.dev/messaging/formatting-message-text
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
