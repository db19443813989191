package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/backout/backout/test/e2e/harness"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/workflows/incident"
)

// deliveries is how often webhooks of one incident are delivered, and senders
// how many of them at a time.
const (
	deliveries = 1000
	senders    = 16
)

// redelivery bounds how long a source keeps delivering what was not taken.
const redelivery = 60 * time.Second

// One incident's webhooks, a thousand times, in any order and many at a time:
// one incident, one card, one line for each event, and still one rollback.
func TestThousandWebhooks(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	w.PagerDuty.AddPriority(fakepagerduty.Priority{ID: "PRIO1", Name: "P1"})
	w.Webhooks.Hold()
	key := w.Page("checkout")
	id := incidentID(key)
	require.NoError(t, w.PagerDuty.Acknowledge(id, "PADA"))
	require.NoError(t, w.PagerDuty.SetPriority(id, "PRIO1", "PADA"))
	require.NoError(t, w.PagerDuty.Annotate(id, "PBO", "looking"))
	require.NoError(t, w.PagerDuty.Escalate(id))
	require.NoError(t, w.PagerDuty.Annotate(id, "PGRACE", "me too"))
	var siblings []fakepagerduty.Event
	w.Webhooks.Release(func(held []fakepagerduty.Event) []fakepagerduty.Event {
		siblings = held
		return nil
	})
	require.GreaterOrEqual(t, len(siblings), 6)

	order := make([]fakepagerduty.Event, deliveries)
	for i := range order {
		order[i] = siblings[i%len(siblings)]
	}
	// The seed makes a failure repeatable.
	shuffle := rand.New(rand.NewPCG(2026, 11))
	shuffle.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	ctx, cancel := context.WithTimeout(t.Context(), redelivery)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(senders)
	for _, e := range order {
		group.Go(func() error { return deliver(ctx, w, e) })
	}
	require.NoError(t, group.Wait())

	require.Equal(t, 1, w.Started(incident.WorkflowIncident))
	w.Approve(harness.Ada, key)
	v := w.Recovered("checkout", key)
	lines := map[string]int{}
	for _, e := range v.Timeline {
		if e.Kind == incident.EventPage {
			lines[e.Text+e.At.String()]++
		}
	}
	pages := 0
	for _, r := range w.Entries(key) {
		if r.Entry.Kind == incident.EventPage {
			pages++
		}
	}
	require.LessOrEqual(t, pages, len(w.Webhooks.Deliveries())+len(siblings), "a page was recorded twice")
	for line, n := range lines {
		require.Equal(t, 1, n, "on the timeline: %s", line)
	}
	require.Equal(t, 1, w.Started(incident.WorkflowIncident))
	require.Equal(t, 1, w.Started(incident.WorkflowRollback))
	require.Equal(t, 1, w.Slack.Count("chat.postMessage")-replies(w), "one card was posted")
}

// replies are the messages of the app that are not on the channel itself.
func replies(w *harness.World) int {
	n := 0
	for _, m := range w.Slack.Messages(harness.Channel) {
		if m.BotID != "" && m.ThreadTS != "" {
			n++
		}
	}
	return n
}

// The content types of requests.
const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// deliver delivers one event, again after anything but 2xx, as PagerDuty does.
func deliver(ctx context.Context, w *harness.World, e fakepagerduty.Event) error {
	for {
		status, err := post(ctx, w.URL+"/webhooks/pagerduty", e.Body, http.Header{
			"X-Pagerduty-Signature": {fakepagerduty.Sign(e.Body, false, harness.WebhookSecret)}, "X-Webhook-Id": {e.WebhookID},
			"Content-Type": {jsonType},
		})
		switch {
		case err != nil:
			return fmt.Errorf("deliver %s: %w", e.ID, err)
		case status/100 == 2:
			return nil
		case status/100 == 4:
			return fmt.Errorf("deliver %s: status %d, which ends a subscription", e.ID, status)
		}
	}
}

func post(ctx context.Context, url string, body []byte, header http.Header) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Body.Close()
}

// Requests that do not come from who they say they come from, or are not what
// was signed, are refused and start nothing.
func TestForgedRequests(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	w.Webhooks.Hold()
	key := w.Page("checkout")
	var page fakepagerduty.Event
	w.Webhooks.Release(func(held []fakepagerduty.Event) []fakepagerduty.Event { page = held[0]; return nil })
	signed := func(body []byte, secrets ...string) http.Header {
		return http.Header{"X-Pagerduty-Signature": {fakepagerduty.Sign(body, false, secrets...)}}
	}
	half := page.Body[:len(page.Body)/2]
	command := []byte("team_id=" + harness.SlackTeam + "&channel_id=" + harness.Channel + "&user_id=" + harness.Ada +
		"&command=%2Frollback&text=declare+sev1+checkout+forged")
	halfCommand := command[:len(command)/2]
	now := time.Now()
	genuine := w.Slack.Sign([]byte("team_id="+harness.SlackTeam+"&channel_id="+harness.Channel+"&user_id="+harness.Ada+"&command=%2Frollback&text=help"), now)
	shortened := signed(page.Body, harness.WebhookSecret)
	shortened.Set("X-Pagerduty-Signature", shortened.Get("X-Pagerduty-Signature")[:20])
	other := w.Slack.Sign(command, now)
	other.Set("X-Slack-Signature", "v0="+strings.Repeat("0", 64))
	moved := w.Slack.Sign(command, now)
	moved.Set("X-Slack-Request-Timestamp", fmt.Sprint(now.Add(time.Minute).Unix()))

	const pagerduty, commands, interactions, events = "/webhooks/pagerduty", "/slack/commands", "/slack/interactions", "/slack/events"
	for _, tt := range []struct {
		name, path string
		body       []byte
		header     http.Header
		want       int
	}{
		{"page without signature", pagerduty, page.Body, http.Header{}, 401},
		{"page signed with another secret", pagerduty, page.Body, signed(page.Body, "not-the-secret"), 401},
		{"page with the signature of another", pagerduty, page.Body, signed([]byte("{}"), harness.WebhookSecret), 401},
		{"page cut in two", pagerduty, half, signed(page.Body, harness.WebhookSecret), 401},
		{"page with one byte more", pagerduty, append(bytes.Clone(page.Body), ' '), signed(page.Body, harness.WebhookSecret), 401},
		{"page with a shortened signature", pagerduty, page.Body, shortened, 401},
		{"nothing, signed by nobody", pagerduty, nil, http.Header{}, 401},
		{"signed, and no JSON", pagerduty, half, signed(half, harness.WebhookSecret), 400},
		{"signed, and nothing", pagerduty, []byte{}, signed([]byte{}, harness.WebhookSecret), 400},
		{"command without signature", commands, command, http.Header{}, 401},
		{"command with a made-up signature", commands, command, other, 401},
		{"command with a later date than was signed", commands, command, moved, 401},
		{"command from six minutes ago", commands, command, w.Slack.Sign(command, now.Add(-6*time.Minute)), 401},
		{"command from six minutes ahead", commands, command, w.Slack.Sign(command, now.Add(6*time.Minute)), 401},
		{"command cut in two", commands, halfCommand, w.Slack.Sign(command, now), 401},
		{"click without signature", interactions, []byte("payload={}"), http.Header{}, 401},
		{"click, signed, cut in two", interactions, []byte(`payload={"type":"block_`), w.Slack.Sign([]byte(`payload={"type":"block_`), now), 400},
		{"event without signature", events, []byte(`{"type":"url_verification","challenge":"x"}`), http.Header{}, 401},
		{"event, signed, cut in two", events, []byte(`{"type":"event_ca`), w.Slack.Sign([]byte(`{"type":"event_ca`), now), 400},
		{"a genuine command", commands, []byte("team_id=" + harness.SlackTeam + "&channel_id=" + harness.Channel + "&user_id=" + harness.Ada + "&command=%2Frollback&text=help"), genuine, 200},
		{"the genuine command again", commands, []byte("team_id=" + harness.SlackTeam + "&channel_id=" + harness.Channel + "&user_id=" + harness.Ada + "&command=%2Frollback&text=help"), genuine, 401},
	} {
		header := tt.header.Clone()
		header.Set("Content-Type", jsonType)
		if tt.path == commands || tt.path == interactions {
			header.Set("Content-Type", formType)
		}
		got, err := post(t.Context(), w.URL+tt.path, tt.body, header)
		require.NoError(t, err, tt.name)
		require.Equal(t, tt.want, got, tt.name)
	}
	require.Zero(t, w.Started(incident.WorkflowIncident), "something was started")
	require.Empty(t, w.Slack.Messages(harness.Channel), "something was said")

	// The same endpoint takes the page when it is signed, be it with the secret
	// that is being phased out, among others.
	header := http.Header{"X-Pagerduty-Signature": {fakepagerduty.Sign(page.Body, true, "not-the-secret", harness.RotatedSecret)}, "Content-Type": {jsonType}}
	got, err := post(t.Context(), w.URL+pagerduty, page.Body, header)
	require.NoError(t, err)
	require.Equal(t, 202, got)
	w.Options(key)
	require.Equal(t, 1, w.Started(incident.WorkflowIncident))
}

// A webhook that never came is made up for by asking PagerDuty which incidents
// are open.
func TestMissedWebhook(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{ReconcileEvery: 10 * time.Second})
	w.Webhooks.Suppress(1)
	key := w.Page("checkout")
	w.Approve(harness.Ada, key)
	w.Recovered("checkout", key)
	for _, d := range w.Webhooks.Deliveries() {
		require.NotEqual(t, "incident.triggered", d.Type, "the webhook was not missed")
	}
	require.Equal(t, 1, w.Started(incident.WorkflowIncident))
	_, err := w.VerifyLedger(t.Context())
	require.NoError(t, err)
}
