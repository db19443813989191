package slack_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	slackgo "github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/slack"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

const channelID = fakeslack.DefaultChannelID

func start(t *testing.T, opts fakeslack.Options) *fakeslack.Server {
	t.Helper()
	if opts.Users == nil {
		opts.Users = []fakeslack.User{{ID: "U0ADA", Name: "ada", RealName: "Ada Lovelace", Email: "ada@example.com"}}
	}
	if opts.Channels == nil {
		opts.Channels = []fakeslack.Channel{{ID: channelID, Name: "incidents", Members: []string{fakeslack.DefaultBotUserID, "U0ADA"}}}
	}
	opts.Limits.Off = opts.Limits == fakeslack.Limits{}
	s, err := fakeslack.Start(t.Context(), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func api(s *fakeslack.Server) *slackgo.Client {
	return slackgo.New(s.BotToken(), slackgo.OptionAPIURL(s.APIURL()))
}

func channel(t *testing.T, client *slackgo.Client) *slack.Channel {
	t.Helper()
	c, err := slack.NewChannel(slack.Options{
		API: client,
		Render: func(v incident.View) ([]slackgo.Block, string) {
			return []slackgo.Block{slackgo.NewHeaderBlock(slackgo.NewTextBlockObject(slackgo.PlainTextType, v.Title, false, false))}, v.Title
		},
		ChannelFor: func(incident.View) string { return channelID },
	})
	require.NoError(t, err)
	return c
}

func view(title string) incident.View {
	return incident.View{Key: "pagerduty/Q1ABC", Title: title, OpenedAt: time.Now().Add(-time.Minute)}
}

func TestOneCardThatIsUpdated(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	c := channel(t, api(s))

	card, err := c.Publish(t.Context(), view("first"))
	require.NoError(t, err)
	require.Equal(t, channelID, card.Channel)
	require.NotEmpty(t, card.URL)

	v := view("second")
	v.Card = card
	again, err := c.Publish(t.Context(), v)
	require.NoError(t, err)
	require.Equal(t, card, again)

	messages := s.Messages(channelID)
	require.Len(t, messages, 1)
	require.Equal(t, "second", messages[0].Text)
	require.JSONEq(t, `{"event_type":"backout_incident","event_payload":{"key":"pagerduty/Q1ABC"}}`, string(messages[0].Metadata))

	key, err := c.KeyAt(t.Context(), channelID, card.TS)
	require.NoError(t, err)
	require.Equal(t, "pagerduty/Q1ABC", key)
}

func TestLostResponsesPostNothingTwice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		method string
		do     func(ctx context.Context, c *slack.Channel) error
		want   int
	}{
		{"card", "chat.postMessage", func(ctx context.Context, c *slack.Channel) error {
			_, err := c.Publish(ctx, view("lost"))
			return err
		}, 1},
		{"history", "conversations.history", func(ctx context.Context, c *slack.Channel) error {
			_, err := c.Publish(ctx, view("lost"))
			return err
		}, 1},
		{"identity", "auth.test", func(ctx context.Context, c *slack.Channel) error {
			_, err := c.Publish(ctx, view("lost"))
			return err
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakeslack.Options{})
			c := channel(t, api(s))
			s.Fault(tt.method, fakeslack.Fault{DropResponse: true})
			require.Error(t, tt.do(t.Context(), c))
			require.NoError(t, tt.do(t.Context(), c))
			require.NoError(t, tt.do(t.Context(), channel(t, api(s))), "another process finds it too")
			require.Len(t, s.Messages(channelID), tt.want)
		})
	}
}

func TestLineIsSaidOnce(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	c := channel(t, api(s))
	card, err := c.Publish(t.Context(), view("card"))
	require.NoError(t, err)

	s.Fault("chat.postMessage", fakeslack.Fault{DropResponse: true})
	require.Error(t, c.Say(t.Context(), card, "e1", "rolled back <!channel> & *more*"))
	require.NoError(t, c.Say(t.Context(), card, "e1", "rolled back <!channel> & *more*"))
	require.NoError(t, c.Say(t.Context(), card, "e2", "again"))
	messages := s.Messages(channelID)
	require.Len(t, messages, 3)
	require.Equal(t, card.TS, messages[1].ThreadTS)
	require.Equal(t, "rolled back &lt;!channel&gt; &amp; *more*", messages[1].Text)
	require.Contains(t, string(messages[1].Blocks), "plain_text")

	require.ErrorIs(t, c.Say(t.Context(), incident.CardRef{}, "e1", "x"), driver.ErrInvalid)
}

func TestDeletedCardIsPostedAnewAndSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	client := api(s)
	c := channel(t, client)
	card, err := c.Publish(t.Context(), view("card"))
	require.NoError(t, err)
	_, _, err = client.DeleteMessageContext(t.Context(), card.Channel, card.TS)
	require.NoError(t, err)

	v := view("still here")
	v.Card = card
	s.Fault("chat.postMessage", fakeslack.Fault{DropResponse: true})
	_, err = c.Publish(t.Context(), v)
	require.Error(t, err)
	anew, err := c.Publish(t.Context(), v)
	require.NoError(t, err)
	require.NotEqual(t, card.TS, anew.TS)
	_, err = c.Publish(t.Context(), v)
	require.NoError(t, err)

	messages := s.Messages(channelID)
	require.Len(t, messages, 2)
	require.Equal(t, "still here", messages[0].Text)
	require.Contains(t, messages[1].Text, "deleted")
	require.Equal(t, anew.TS, messages[1].ThreadTS)
}

// Somebody else's message with our metadata must not become the card.
func TestForeignCardIsIgnored(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	var forged http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/auth.test":
			_, _ = w.Write([]byte(`{"ok":true,"user_id":"U0SOMEBODY","bot_id":"B0SOMEBODY","team_id":"T1"}`))
		default:
			proxy(s).ServeHTTP(w, r)
		}
	}
	_, err := channel(t, api(s)).Publish(t.Context(), view("ours"))
	require.NoError(t, err)
	other := serve(t, forged)
	card, err := channel(t, slackgo.New(s.BotToken(), slackgo.OptionAPIURL(other+"/api/"))).Publish(t.Context(), view("theirs"))
	require.NoError(t, err)
	messages := s.Messages(channelID)
	require.Len(t, messages, 2, "the message of another app was not taken for the card")
	require.Equal(t, messages[1].TS, card.TS)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault fakeslack.Fault
		is    error
		after time.Duration
	}{
		{"rate limit", fakeslack.Fault{Status: http.StatusTooManyRequests, RetryAfter: 7 * time.Second}, nil, 7 * time.Second},
		{"server error", fakeslack.Fault{Status: http.StatusServiceUnavailable}, nil, 0},
		{"bad blocks", fakeslack.Fault{SlackError: "invalid_blocks"}, driver.ErrInvalid, 0},
		{"no rights", fakeslack.Fault{SlackError: "not_in_channel"}, driver.ErrDenied, 0},
		{"revoked", fakeslack.Fault{SlackError: "token_revoked"}, driver.ErrDenied, 0},
		{"no channel", fakeslack.Fault{SlackError: "channel_not_found"}, driver.ErrNotFound, 0},
		{"new code", fakeslack.Fault{SlackError: "something_new"}, nil, 0},
		{"cut off", fakeslack.Fault{DropResponse: true}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakeslack.Options{})
			s.Fault("chat.postMessage", tt.fault)
			began := time.Now()
			_, err := channel(t, api(s)).Publish(t.Context(), view("x"))
			require.Error(t, err)
			require.Less(t, time.Since(began), 5*time.Second, "it never sleeps through a limit")
			var e *slack.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.after, e.RetryAfter())
			require.Equal(t, "chat.postMessage", e.Method)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			} else {
				require.False(t, driver.Final(err), "it can be tried again")
			}
		})
	}
}

func TestNoErrorHoldsASecret(t *testing.T) {
	t.Parallel()
	const canary, secret = "xoxb-canary-0123456789", "the title of the incident"
	s := start(t, fakeslack.Options{BotToken: canary})
	dead := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	garbage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_ = json.NewEncoder(w).Encode(map[string]any{"ok": 7, "errors": []any{r.Form.Get("token")}, "token": r.Form.Get("token")})
	})
	echo := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_ = json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": "no\n" + r.Header.Get("Authorization") + r.Form.Get("token")})
	})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, method := range []string{"chat.postMessage", "conversations.history", "auth.test", "users.info", "chat.postEphemeral"} {
		s.Fault(method, fakeslack.Fault{SlackError: "internal_error", Times: -1})
	}
	for name, client := range map[string]*slackgo.Client{
		"refused":     api(s),
		"wrong token": slackgo.New(canary+"-wrong", slackgo.OptionAPIURL(s.APIURL())),
		"dead":        slackgo.New(canary, slackgo.OptionAPIURL(dead+"/api/")),
		"garbage":     slackgo.New(canary, slackgo.OptionAPIURL(garbage+"/api/")),
		"echo":        slackgo.New(canary, slackgo.OptionAPIURL(echo+"/api/")),
		"no server":   slackgo.New(canary, slackgo.OptionAPIURL("http://127.0.0.1:1/api/")),
	} {
		c := channel(t, client)
		d, err := slack.NewDirectory(slack.DirectoryOptions{API: client, Team: "T0BACKOUT"})
		require.NoError(t, err)
		actor := incident.Actor{Via: incident.ViaSlack, SlackTeam: "T0BACKOUT", SlackUser: "U0ADA", Channel: channelID}
		v := view(secret)
		v.Card = incident.CardRef{Channel: channelID, TS: "1.1"}
		for _, ctx := range []context.Context{t.Context(), canceled} {
			_, first := c.Publish(ctx, view(secret))
			_, update := c.Publish(ctx, v)
			_, at := c.KeyAt(ctx, channelID, "1.1")
			_, who := d.Identify(ctx, actor)
			for _, err := range []error{first, update, at, who, c.Tell(ctx, actor, secret), c.Say(ctx, v.Card, "e1", secret)} {
				require.Error(t, err, name)
				require.NotContains(t, err.Error(), "canary", name)
				require.NotContains(t, err.Error(), secret, name)
				require.NotContains(t, err.Error(), "\n", name)
			}
			require.NotErrorIs(t, who, incident.ErrNoIdentity, "not being able to ask is not the same as nobody")
		}
	}
}

func TestTell(t *testing.T) {
	t.Parallel()
	s := start(t, fakeslack.Options{})
	c := channel(t, api(s))
	ada := incident.Actor{Via: incident.ViaSlack, SlackTeam: "T0BACKOUT", SlackUser: "U0ADA", Channel: channelID}
	require.NoError(t, c.Tell(t.Context(), ada, "only you <!here>"))
	require.Empty(t, s.Messages(channelID))
	told := s.Ephemerals("U0ADA")
	require.Len(t, told, 1)
	require.Equal(t, "only you &lt;!here&gt;", told[0].Text)
	require.NoError(t, c.Tell(t.Context(), incident.Actor{Via: incident.ViaCLI, Login: "ada"}, "x"), "they were answered where they asked")
	require.ErrorIs(t, c.Tell(t.Context(), incident.Actor{Via: incident.ViaSlack, SlackUser: "U0ADA"}, "x"), driver.ErrInvalid)
	require.ErrorIs(t, c.Tell(t.Context(), incident.Actor{}, "x"), driver.ErrInvalid)
}
