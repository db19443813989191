package bot_test

import (
	"context"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// runSocket connects the bot by Socket Mode for as long as the test runs.
func runSocket(t *testing.T, o *office) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.server.RunSocket(ctx) }()
	t.Cleanup(func() {
		cancel()
		ends(t, "Socket Mode", func() error { return <-ended })
	})
	o.until("a socket is open", func() bool { return o.Sockets() > 0 })
}

func TestSocketModeReconnects(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, true)
	runSocket(t, o)
	key := begin(t, o.gateway, o.channel)
	require.True(t, o.slash("U0ADA", "take").Acked)
	o.told("U0ADA", "the answer to take_command")

	before := o.Connected()
	o.DropSockets()
	o.until("a socket is open again", func() bool { return o.Connected() > before && o.Sockets() > 0 })
	require.True(t, o.slash("U0BOB", "options").Acked)
	o.told("U0BOB", "the answer to refresh")
	out, err := o.Mention(within(t), fakeslack.Say{User: "U0ADA", Channel: o.channel, Text: "status " + key})
	require.NoError(t, err)
	require.True(t, out.Acked)
	o.told("U0ADA", "Waiting for a decision")
}

func TestSocketLeavesUnacknowledgedWhatIsNotRecorded(t *testing.T) {
	t.Parallel()
	o := openWithin(t, bot.Options{Gateway: unreachable(t)}, true, haste, haste)
	runSocket(t, o)
	ts := o.card(begin(t, bot.NewGateway(temporalClient, bot.Unsigned{}), o.channel))
	require.False(t, o.click("U0ADA", ts, "approve:0", nil).Acked)
	o.told("U0ADA", "could not record this in time")
}

func TestSocketRefusesToRunWithoutAToken(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, true)
	s, err := bot.NewServer(bot.Options{Gateway: o.gateway, Slack: &bot.SlackOptions{
		API: slack.New(o.BotToken(), slack.OptionAPIURL(o.APIURL()), slack.OptionAppLevelToken("xapp-canary")), Command: "/rollback",
	}})
	require.NoError(t, err)
	err = s.RunSocket(within(t))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "canary")
	none, err := bot.NewServer(bot.Options{Gateway: o.gateway})
	require.NoError(t, err)
	require.Error(t, none.RunSocket(within(t)))
}
