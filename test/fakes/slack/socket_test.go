package fakeslack_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/require"

	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// socketApp is an app that holds one Socket Mode connection.
type socketApp struct {
	client *socketmode.Client
	mu     sync.Mutex
	seen   []socketmode.Event
	hellos int
}

// listen opens a connection with the real client and handles its events with ack.
func listen(t *testing.T, s *fakeslack.Server, api *slack.Client, ack func(*socketmode.Client, socketmode.Event)) *socketApp {
	t.Helper()
	a := &socketApp{client: socketmode.New(api)}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { _ = a.client.RunContext(ctx) })
	work.Go(func() {
		for {
			select {
			case event := <-a.client.Events:
				a.mu.Lock()
				switch event.Type {
				case socketmode.EventTypeHello:
					a.hellos++
				case socketmode.EventTypeInteractive, socketmode.EventTypeSlashCommand, socketmode.EventTypeEventsAPI:
					a.seen = append(a.seen, event)
				default:
				}
				a.mu.Unlock()
				if event.Request != nil && event.Request.EnvelopeID != "" {
					ack(a.client, event)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); s.DropSockets(); work.Wait() })
	return a
}

func (a *socketApp) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen)
}

// data returns what the n-th delivery carried.
func (a *socketApp) data(t *testing.T, n int) any {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Greater(t, len(a.seen), n)
	return a.seen[n].Data
}

func acknowledge(payload ...any) func(*socketmode.Client, socketmode.Event) {
	return func(client *socketmode.Client, event socketmode.Event) { _ = client.Ack(*event.Request, payload...) }
}

func ignore(*socketmode.Client, socketmode.Event) {}

func TestSocketMode(t *testing.T) {
	t.Parallel()
	s, api := start(t, options())
	a := listen(t, s, api, func(client *socketmode.Client, event socketmode.Event) {
		if event.Type == socketmode.EventTypeSlashCommand {
			_ = client.Ack(*event.Request, map[string]any{"text": "menu"})
			return
		}
		_ = client.Ack(*event.Request)
	})
	ctx := within(t)
	require.NoError(t, s.WaitFor(ctx, func() bool { return s.Sockets() == 1 }))

	out, err := s.Slash(ctx, fakeslack.Slash{User: alice, Channel: room, Command: "/rollback", Text: "status"})
	require.NoError(t, err)
	require.True(t, out.Acked)
	require.Equal(t, "menu", s.Ephemerals(alice)[0].Text)
	command, ok := a.data(t, 0).(slack.SlashCommand)
	require.True(t, ok)
	require.Equal(t, "status", command.Text)

	_, ts, err := api.PostMessageContext(ctx, room, card("v"))
	require.NoError(t, err)
	out, err = s.Click(ctx, fakeslack.Click{User: bob, Channel: room, TS: ts, ActionID: "approve"})
	require.NoError(t, err)
	require.True(t, out.Acked)
	callback, ok := a.data(t, 1).(slack.InteractionCallback)
	require.True(t, ok)
	require.Equal(t, bob, callback.User.ID)

	out, err = s.Mention(ctx, fakeslack.Say{User: alice, Channel: room, Thread: ts, Text: "help"})
	require.NoError(t, err)
	require.True(t, out.Acked)
	event, ok := a.data(t, 2).(slackevents.EventsAPIEvent)
	require.True(t, ok)
	mention, ok := event.InnerEvent.Data.(*slackevents.AppMentionEvent)
	require.True(t, ok)
	require.Equal(t, ts, mention.ThreadTimeStamp)
	require.Empty(t, s.Failures())
}

func TestSocketNeedsTheAppToken(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	api := slack.New(s.BotToken(), slack.OptionAPIURL(s.APIURL()), slack.OptionAppLevelToken("xapp-wrong"))
	_, _, err := api.StartSocketModeContext(t.Context())
	require.EqualError(t, err, "invalid_auth")
}

func TestSocketReconnects(t *testing.T) {
	t.Parallel()
	for _, reason := range []fakeslack.DisconnectReason{fakeslack.DisconnectWarning, fakeslack.DisconnectRefresh} {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			s, api := start(t, options())
			a := listen(t, s, api, acknowledge())
			ctx := within(t)
			require.NoError(t, s.WaitFor(ctx, func() bool { return s.Sockets() == 1 }))
			s.Disconnect(reason)
			require.NoError(t, s.WaitFor(ctx, func() bool {
				return s.Connected() == 2 && s.Sockets() == 1
			}))
			out, err := s.Slash(ctx, fakeslack.Slash{User: alice, Channel: room, Command: "/rollback"})
			require.NoError(t, err)
			require.True(t, out.Acked)
			require.Equal(t, 1, a.count())
		})
	}
}

func TestSilentSocketIsPassedOver(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Delivery.Deadline = 100 * time.Millisecond
	s, api := start(t, opts)
	ctx := within(t)
	silent := listen(t, s, api, ignore)
	require.NoError(t, s.WaitFor(ctx, func() bool { return s.Sockets() == 1 }))
	awake := listen(t, s, api, acknowledge())
	require.NoError(t, s.WaitFor(ctx, func() bool { return s.Sockets() == 2 }))
	for range 2 { // The turn begins at one connection and then at the other.
		out, err := s.Slash(ctx, fakeslack.Slash{User: alice, Channel: room, Command: "/rollback"})
		require.NoError(t, err)
		require.True(t, out.Acked)
	}
	require.NotZero(t, silent.count())
	require.Equal(t, 2, awake.count())
}

func TestUnacknowledgedEnvelopes(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Delivery.Deadline = 20 * time.Millisecond
	s, api := start(t, opts)
	ctx := within(t)
	a := listen(t, s, api, ignore)
	require.NoError(t, s.WaitFor(ctx, func() bool { return s.Sockets() == 1 }))
	out, err := s.Slash(ctx, fakeslack.Slash{User: alice, Channel: room, Command: "/rollback"})
	require.NoError(t, err)
	require.Equal(t, "operation_timeout", out.Reason)
	require.Contains(t, s.Ephemerals(alice)[0].Text, "operation_timeout")
	out, err = s.Mention(ctx, fakeslack.Say{User: alice, Channel: room})
	require.NoError(t, err)
	require.False(t, out.Acked)
	require.NoError(t, s.WaitFor(ctx, func() bool { return len(s.Failures()) == 2 }))
	require.Eventually(t, func() bool { return a.count() == 5 }, 5*time.Second, time.Millisecond)
}

func TestNoSocketAtAll(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	out, err := s.Slash(t.Context(), fakeslack.Slash{User: alice, Channel: room, Command: "/rollback"})
	require.NoError(t, err)
	require.Equal(t, "dispatch_failed", out.Reason)
}

func TestWaitForGivesUp(t *testing.T) {
	t.Parallel()
	s, _ := start(t, options())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.WaitFor(ctx, func() bool { return false })
	require.ErrorIs(t, err, context.Canceled)
}
