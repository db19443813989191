package fakeslack

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// Options seed a workspace with one app installed in it. The zero value is a
// usable workspace with one channel, no people and well-known credentials.
type Options struct {
	// Addr is the loopback address to listen on; empty means a free port.
	Addr string
	// Now is the clock for timestamps, rate limits, trigger IDs and response URLs;
	// nil means the wall clock. Deadlines of deliveries always use real time.
	Now func() time.Time
	// Logger receives one line a refusal; nil means silence.
	Logger *slog.Logger

	// TeamID, TeamName and TeamDomain describe the workspace.
	TeamID, TeamName, TeamDomain string
	// AppID, BotID, BotUserID and BotName describe the app.
	AppID, BotID, BotUserID, BotName string
	// BotToken (xoxb-), AppToken (xapp-) and SigningSecret are the app's credentials.
	BotToken, AppToken, SigningSecret string
	// Scopes are what the bot token may do; nil means DefaultScopes.
	Scopes []string
	// Commands are the registered slash commands; nil means /rollback.
	Commands []string
	// Events are the subscribed event types; nil means app_mention and
	// app_home_opened.
	Events []string

	Users      []User
	Channels   []Channel
	UserGroups []UserGroup

	// Limits are the rate limits.
	Limits Limits
	// Delivery says how long the app may take and how often events are retried.
	Delivery Delivery

	// Guide is shown above the conversation, one paragraph a line.
	Guide string
	// Panels are links in the sidebar.
	Panels []Panel
}

// Limits are the rate limits of the Web API.
type Limits struct {
	// Off switches all limits off.
	Off bool
	// Scale multiplies the requests a minute of every tier; zero means 1.
	Scale float64
	// PostsPerSecond is how many messages a second one channel takes; zero means 1.
	// Source: https://docs.slack.dev/apis/web-api/rate-limits
	PostsPerSecond float64
	// PostBurst is how many messages a quiet channel takes at once; zero means 5.
	PostBurst int
}

// Delivery is how Slack treats the app's request URLs and sockets.
type Delivery struct {
	// Deadline is how long the app may take to acknowledge; zero means 3 s.
	// Source: https://docs.slack.dev/interactivity/handling-user-interaction
	Deadline time.Duration
	// Retries are the pauses before each repetition of an event; nil means at once,
	// after 1 min and after 5 min.
	// Source: https://docs.slack.dev/apis/events-api
	Retries []time.Duration
	// Ping is the interval of WebSocket pings; zero means 10 s.
	Ping time.Duration
}

// User is one person or bot of the workspace.
type User struct {
	ID       string
	Name     string // handle, without the at sign
	RealName string
	Email    string
	Title    string
	TeamID   string // empty means the workspace; another one makes the user foreign
	Deleted  bool
	IsBot    bool
	// IsRestricted marks a guest, IsUltraRestricted a single-channel guest, IsStranger
	// somebody of a connected workspace who shares no channel with the app.
	IsRestricted, IsUltraRestricted, IsStranger bool
	// IsAppUser marks the account of an app that signed in as somebody,
	// IsWorkflowBot and IsConnectorBot those of workflows, IsInvitedUser somebody
	// who has not joined yet.
	IsAppUser, IsWorkflowBot, IsConnectorBot, IsInvitedUser bool
	// EmailUnconfirmed says that nobody has proved that the address is theirs.
	EmailUnconfirmed bool
	// EnterpriseTeams are the workspaces that somebody of an enterprise is in; nil
	// means that the workspace is in none.
	EnterpriseTeams []string
}

// Channel is one conversation of the workspace.
type Channel struct {
	ID        string
	Name      string
	Topic     string
	IsPrivate bool
	Archived  bool
	Members   []string // user IDs; include the bot's for it to be a member
}

// UserGroup is a group that can be mentioned.
type UserGroup struct {
	ID     string
	Handle string
	Users  []string
	// Disabled says that it is turned off, and listed as having nobody in it.
	Disabled bool
}

// Panel is a link in the sidebar of the page.
type Panel struct {
	Title string
	URL   string
}

// Credentials of the app when Options name none. They open nothing but this server.
const (
	DefaultBotToken      = "xoxb-fake-bot-token"
	DefaultAppToken      = "xapp-fake-app-token"
	DefaultSigningSecret = "fake-slack-signing-secret"
	DefaultBotUserID     = "U0BACKOUT"
	DefaultChannelID     = "C0INCIDENTS"
)

// DefaultScopes are the bot scopes of a full installation.
func DefaultScopes() []string {
	return []string{
		"app_mentions:read", "bookmarks:write", "channels:history", "channels:join", "channels:manage",
		"channels:read", "chat:write", "chat:write.public", "commands", "files:read", "files:write", "groups:history",
		"groups:read", "groups:write", "pins:write", "reactions:read", "reactions:write", "usergroups:read", "users:read",
		"users:read.email",
	}
}

func (o Options) withDefaults() Options {
	text := func(target *string, value string) {
		if *target == "" {
			*target = value
		}
	}
	text(&o.Addr, "127.0.0.1:0")
	text(&o.TeamID, "T0BACKOUT")
	text(&o.TeamName, "Backout Sandbox")
	text(&o.TeamDomain, "backout-sandbox")
	text(&o.AppID, "A0BACKOUT")
	text(&o.BotID, "B0BACKOUT")
	text(&o.BotUserID, DefaultBotUserID)
	text(&o.BotName, "backout")
	text(&o.BotToken, DefaultBotToken)
	text(&o.AppToken, DefaultAppToken)
	text(&o.SigningSecret, DefaultSigningSecret)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Scopes == nil {
		o.Scopes = DefaultScopes()
	}
	if o.Commands == nil {
		o.Commands = []string{"/rollback"}
	}
	if o.Events == nil {
		o.Events = []string{"app_mention", "app_home_opened"}
	}
	if o.Channels == nil {
		o.Channels = []Channel{{ID: DefaultChannelID, Name: "incidents", Members: []string{o.BotUserID}}}
	}
	if o.Limits.Scale == 0 {
		o.Limits.Scale = 1
	}
	if o.Limits.PostsPerSecond == 0 {
		o.Limits.PostsPerSecond = 1
	}
	if o.Limits.PostBurst == 0 {
		o.Limits.PostBurst = 5
	}
	if o.Delivery.Deadline == 0 {
		o.Delivery.Deadline = 3 * time.Second
	}
	if o.Delivery.Retries == nil {
		o.Delivery.Retries = []time.Duration{0, time.Minute, 5 * time.Minute}
	}
	if o.Delivery.Ping == 0 {
		o.Delivery.Ping = 10 * time.Second
	}
	return o
}

// check refuses options that contradict themselves or leave the loopback interface.
func (o Options) check() error {
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return fmt.Errorf("read address %q: %w", o.Addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("listen on %q: only loopback addresses are allowed", o.Addr)
	}
	seen := map[string]bool{}
	for _, u := range o.Users {
		if u.ID == "" || u.Name == "" {
			return errors.New("seed users: every user needs an ID and a name")
		}
		if seen[u.ID] {
			return fmt.Errorf("seed users: %q is there twice", u.ID)
		}
		seen[u.ID] = true
	}
	for _, c := range o.Channels {
		if c.ID == "" || c.Name == "" {
			return errors.New("seed channels: every channel needs an ID and a name")
		}
		if seen[c.ID] {
			return fmt.Errorf("seed channels: %q is there twice", c.ID)
		}
		seen[c.ID] = true
		for _, member := range c.Members {
			known := member == o.BotUserID || slices.ContainsFunc(o.Users, func(u User) bool { return u.ID == member })
			if !known {
				return fmt.Errorf("seed channel %q: unknown member %q", c.Name, member)
			}
		}
	}
	for _, command := range o.Commands {
		if !strings.HasPrefix(command, "/") {
			return fmt.Errorf("seed commands: %q does not start with a slash", command)
		}
	}
	return nil
}
