package bot_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/views"
	slackdirectory "github.com/backout/backout/integrations/slack"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// office is a workspace with the bot in it, over HTTP or Socket Mode.
type office struct {
	*fakeslack.Server

	t       *testing.T
	gateway *bot.Gateway
	server  *bot.Server
	url     string
	log     *journal
	channel string
	api     *slack.Client
}

func open(t *testing.T, o bot.Options, socket bool) *office {
	t.Helper()
	return openWithin(t, o, socket, patience, patience)
}

func openWithin(t *testing.T, o bot.Options, socket bool, wait, answer time.Duration) *office {
	t.Helper()
	channel, now, deadline := unique("C0"), time.Now(), patience
	if socket && wait < time.Second {
		deadline = time.Second // What is never acknowledged need not be waited for.
	}
	f, err := fakeslack.Start(within(t), fakeslack.Options{
		// The clock stands still, so that no trigger expires on a busy machine.
		Now: func() time.Time { return now },
		Users: []fakeslack.User{
			{ID: "U0ADA", Name: "ada", RealName: "Ada"},
			{ID: "U0BOB", Name: "bob", RealName: "Bob"},
			{ID: "U0NEW", Name: "new", RealName: "Not mapped to anybody"},
			{ID: "U0GONE", Name: "gone", RealName: "Deactivated", Deleted: true},
			{ID: "U0GUEST", Name: "guest", RealName: "A guest", IsRestricted: true},
			{ID: "U0SINGLE", Name: "single", RealName: "A guest of one channel", IsRestricted: true, IsUltraRestricted: true},
			{ID: "U0ABROAD", Name: "abroad", RealName: "Of another workspace", TeamID: "T0ELSEWHERE"},
			{ID: "U0ROBOT", Name: "robot", RealName: "A bot", IsBot: true},
		},
		Channels: []fakeslack.Channel{
			{ID: channel, Name: "incidents", Members: []string{fakeslack.DefaultBotUserID, "U0ADA", "U0BOB", "U0NEW", "U0GUEST", "U0SINGLE", "U0ABROAD", "U0ROBOT"}},
			{ID: channel + "X", Name: "elsewhere", Members: []string{fakeslack.DefaultBotUserID, "U0ADA"}},
		},
		Limits: fakeslack.Limits{Off: true},
		Events: []string{"app_mention", "app_home_opened", "message.channels", "reaction_added", "reaction_removed"},
		Delivery: fakeslack.Delivery{
			Deadline: deadline, Retries: []time.Duration{10 * time.Millisecond, 10 * time.Millisecond, 10 * time.Millisecond},
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { ends(t, "the workspace", f.Close) })
	api := slack.New(f.BotToken(), slack.OptionAPIURL(f.APIURL()), slack.OptionAppLevelToken(f.AppToken()), slack.OptionHTTPClient(&http.Client{Timeout: patience}))
	directory, err := slackdirectory.NewDirectory(slackdirectory.DirectoryOptions{API: api, Team: "T0BACKOUT", People: []slackdirectory.Mapping{
		{ID: "ada@example.com", Name: "Ada", SlackUser: "U0ADA"},
		{ID: "bob@example.com", Name: "Bob", SlackUser: "U0BOB"},
		// Mapped people whose accounts are not fit to decide any more.
		{ID: "gone@example.com", Name: "Gone", SlackUser: "U0GONE"},
		{ID: "guest@example.com", Name: "Guest", SlackUser: "U0GUEST"},
	}})
	require.NoError(t, err)
	directories.Store(channel, directory)
	t.Cleanup(func() { directories.Delete(channel) })
	reader, err := slackdirectory.NewChannel(slackdirectory.Options{
		API: api, ChannelFor: func(incident.View) string { return channel }, Render: func(incident.View) ([]slack.Block, string) { return nil, "card" },
	})
	require.NoError(t, err)
	o.Slack = &bot.SlackOptions{
		API: api, SigningSecret: f.SigningSecret(), Command: "/rollback", Services: func() []string { return []string{"cart", "checkout"} },
		Colleague: directory.Colleague, Console: "https://backout.example.com", PinEmoji: "pushpin", ThreadOf: reader.ThreadOf,
	}
	if o.Gateway == nil {
		o.Gateway = bot.NewGateway(temporalClient, bot.Unsigned{})
	}
	s, h, log := serveWithin(t, o, wait, answer)
	if !socket {
		require.NoError(t, f.SetRequestURLs(within(t), fakeslack.RequestURLs{
			Commands: h.URL + "/slack/commands", Interactivity: h.URL + "/slack/interactions", Events: h.URL + "/slack/events",
		}))
	}
	return &office{Server: f, t: t, gateway: o.Gateway, server: s, url: h.URL, log: log, channel: channel, api: api}
}

// card posts the incident's card and returns its timestamp.
func (o *office) card(key string) string {
	o.t.Helper()
	card := views.NewCard(viewOf(o.t, bot.NewGateway(temporalClient, bot.Unsigned{}), key))
	_, ts, err := o.api.PostMessageContext(within(o.t), o.channel, slack.MsgOptionBlocks(card.Blocks...), slack.MsgOptionText(card.Text, false))
	require.NoError(o.t, err)
	return ts
}

// told waits until a person was told something with that text, and returns it.
func (o *office) told(user, text string) fakeslack.Message {
	o.t.Helper()
	var found fakeslack.Message
	o.until("telling "+user+" "+text, func() bool {
		for _, m := range o.Ephemerals(user) {
			if strings.Contains(m.Text+string(m.Blocks), text) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// until waits for a change of the workspace, and fails with what people were
// told instead.
func (o *office) until(what string, holds func() bool) {
	o.t.Helper()
	if err := o.WaitFor(within(o.t), holds); err != nil {
		var instead strings.Builder
		for _, user := range []string{"U0ADA", "U0BOB"} {
			for _, m := range o.Ephemerals(user) {
				fmt.Fprintf(&instead, "\n%s was told: %s", user, m.Text)
			}
		}
		o.t.Fatalf("waited %s in vain for %s: %v%s\nfailures: %v\nlog:\n%s", patience, what, err, instead.String(), o.Failures(), o.log)
	}
}

func (o *office) slash(user, text string) fakeslack.Outcome {
	o.t.Helper()
	out, err := o.Slash(within(o.t), fakeslack.Slash{User: user, Channel: o.channel, Command: "/rollback", Text: text})
	require.NoError(o.t, err)
	return out
}

func (o *office) click(user, ts, action string, seen json.RawMessage) fakeslack.Outcome {
	o.t.Helper()
	out, err := o.Click(within(o.t), fakeslack.Click{User: user, Channel: o.channel, TS: ts, ActionID: action, Seen: seen})
	require.NoError(o.t, err)
	return out
}

// slackInterfaces are the paths of what Slack calls, with their content types.
var slackInterfaces = map[string]string{
	"/slack/commands": "application/x-www-form-urlencoded", "/slack/interactions": "application/x-www-form-urlencoded", "/slack/events": "application/json",
}

// sign are the headers of a request of Slack.
func (o *office) sign(path, body string, at time.Time) http.Header {
	h := o.Sign([]byte(body), at)
	h.Set("Content-Type", slackInterfaces[path])
	return h
}
