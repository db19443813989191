package slack_test

import (
	"testing"
	"time"

	slackgo "github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/slack"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// pinning is a channel whose emoji is the pushpin.
func pinning(t *testing.T, client *slackgo.Client) *slack.Channel {
	t.Helper()
	c, err := slack.NewChannel(slack.Options{
		API: client, PinEmoji: "pushpin", ChannelFor: func(incident.View) string { return channelID },
		Render: func(v incident.View) ([]slackgo.Block, string) {
			return []slackgo.Block{slackgo.NewHeaderBlock(slackgo.NewTextBlockObject(slackgo.PlainTextType, v.Title, false, false))}, v.Title
		},
	})
	require.NoError(t, err)
	return c
}

func TestMessage(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	c := pinning(t, api(s))
	card, err := c.Publish(t.Context(), view("card"))
	require.NoError(t, err)
	_, err = s.Say(t.Context(), fakeslack.Say{User: "U0ADA", Channel: channelID, Thread: card.TS, Text: "it <is> *the* discounts & more", Files: []fakeslack.File{
		{ID: "F1", Name: "p99.png", Mimetype: "image/png", Permalink: "https://backout.slack.com/files/F1"},
		{ID: "F2", Name: "dump.sql", Mimetype: "text/plain", Permalink: "https://backout.slack.com/files/F2"},
		{ID: "F3", Name: "gone.png", Mimetype: "image/png"},
	}})
	require.NoError(t, err)
	list := s.Messages(channelID)
	ts := list[len(list)-1].TS

	got, err := c.Message(t.Context(), channelID, ts)
	require.NoError(t, err)
	require.Equal(t, "it <is> *the* discounts & more", got.Text)
	require.Equal(t, "Ada Lovelace", got.Author)
	require.WithinDuration(t, time.Now(), got.At, time.Minute)
	require.Zero(t, got.EditedAt)
	require.Contains(t, got.URL, "/archives/"+channelID)
	require.Equal(t, []incident.PinImage{{Name: "p99.png", URL: "https://backout.slack.com/files/F1", File: "F1"}}, got.Images)
	require.Empty(t, got.PinnedBy)
	require.False(t, got.Own)

	_, err = s.React(t.Context(), fakeslack.Mark{User: "U0ADA", Channel: channelID, TS: ts, Emoji: "eyes"})
	require.NoError(t, err)
	_, err = s.React(t.Context(), fakeslack.Mark{User: "U0ADA", Channel: channelID, TS: ts, Emoji: "pushpin"})
	require.NoError(t, err)
	_, err = s.Edit(t.Context(), fakeslack.Mark{User: "U0ADA", Channel: channelID, TS: ts}, "it is the coupons")
	require.NoError(t, err)
	got, err = c.Message(t.Context(), channelID, ts)
	require.NoError(t, err)
	require.Equal(t, []string{"U0ADA"}, got.PinnedBy)
	require.Equal(t, "it is the coupons", got.Text)
	require.False(t, got.EditedAt.IsZero())

	thread, err := c.ThreadOf(t.Context(), channelID, ts)
	require.NoError(t, err)
	require.Equal(t, card.TS, thread)
	thread, err = c.ThreadOf(t.Context(), channelID, card.TS)
	require.NoError(t, err)
	require.Empty(t, thread, "the card has a thread, and is in none")
	got, err = c.Message(t.Context(), channelID, card.TS)
	require.NoError(t, err)
	require.True(t, got.Own)

	_, err = s.Delete(t.Context(), fakeslack.Mark{User: "U0ADA", Channel: channelID, TS: ts})
	require.NoError(t, err)
	_, err = c.Message(t.Context(), channelID, ts)
	require.ErrorIs(t, err, driver.ErrNotFound)
	s.Fault("conversations.replies", fakeslack.Fault{SlackError: "missing_scope"})
	_, err = c.Message(t.Context(), channelID, ts)
	require.ErrorIs(t, err, driver.ErrDenied)
}

// Nothing of what Slack makes of a text is left, and nothing of what it says is lost.
func TestMessageIsPlainText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"&lt;@U1&gt; &amp;amp;", "<@U1> &amp;"},
		{"<@U0ADA> and <@U0ADA|ada>", "@U0ADA and @ada"},
		{"<#C1|incidents> <#C1>", "#incidents #C1"},
		{"<!here> <!subteam^S1> <!subteam^S1|@oncall> <!date^1^{date}|today>", "@here @S1 @oncall today"},
		{"<https://x.example/a?b=1&amp;c=2> <https://x.example|the chart>", "https://x.example/a?b=1&c=2 the chart (https://x.example)"},
		{" a < b > c ", "a < b > c"},
		{"", ""},
	} {
		require.Equal(t, tt.want, slack.PlainText(tt.text), tt.text)
	}
}
