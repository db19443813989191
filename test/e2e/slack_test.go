package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	fakeslack "github.com/backout/backout/test/fakes/slack"
)

// Slack that limits, loses answers, fails and hangs: there is one card, and it
// comes to show the end.
func TestSlackTrouble(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		method string
		fault  fakeslack.Fault
		// calls is how often the method has to have been called for the fault to
		// have been felt.
		calls int
	}{
		{"limited posts", "chat.postMessage", fakeslack.Fault{Status: 429, RetryAfter: time.Second, Times: 2}, 3},
		{"limited updates", "chat.update", fakeslack.Fault{Status: 429, RetryAfter: 2 * time.Second, Times: 3}, 4},
		{"lost answer to the post", "chat.postMessage", fakeslack.Fault{DropResponse: true, Times: 1}, 1},
		{"lost answers to updates", "chat.update", fakeslack.Fault{DropResponse: true, Times: 2}, 3},
		{"failing posts", "chat.postMessage", fakeslack.Fault{Status: 503, Times: 2}, 3},
		{"everything fails for a while", fakeslack.AnyMethod, fakeslack.Fault{Status: 500, Times: 4}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := harness.New(t, harness.Options{})
			w.Slack.Fault(tt.method, tt.fault)
			key := w.Page("checkout")
			w.Approve(harness.Ada, key)
			w.Recovered("checkout", key)
			w.CardOf(key, "the recovery", func(m fakeslack.Message) bool { return contains(m, "ecovered") })
			require.Len(t, w.Cards(key), 1)
			calls := 0
			for _, c := range w.Slack.Calls() {
				if c.Method == tt.method {
					calls++
				}
			}
			require.GreaterOrEqual(t, calls, tt.calls, "the fault was not felt")
		})
	}
}

// Over Socket Mode a connection is lost and refreshed, and an approval gets
// through all the same.
func TestSocketModeLosesConnections(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{SocketMode: true})
	key := w.Page("checkout")
	w.Offer(key)
	before := w.Slack.Connected()
	w.Slack.DropSockets()
	w.Until("a new connection", func() bool { return w.Slack.Sockets() > 0 && w.Slack.Connected() > before })
	before = w.Slack.Connected()
	w.Slack.Disconnect(fakeslack.DisconnectRefresh)
	w.Until("a refreshed connection", func() bool { return w.Slack.Sockets() > 0 && w.Slack.Connected() > before })
	w.Approve(harness.Ada, key)
	w.Recovered("checkout", key)
}
