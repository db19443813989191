package fakepagerduty_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/PagerDuty/go-pagerduty/webhookv3"
	"github.com/stretchr/testify/require"

	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
)

// receiver is an endpoint that answers with the statuses it is given, then
// with 202.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	block    chan struct{}
	got      []*http.Request
	bodies   []string
}

func receive(t *testing.T, statuses ...int) *receiver {
	t.Helper()
	r := &receiver{statuses: statuses, block: make(chan struct{})}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		status := http.StatusAccepted
		if len(r.statuses) > 0 {
			status, r.statuses = r.statuses[0], r.statuses[1:]
		}
		r.got, r.bodies = append(r.got, req), append(r.bodies, string(body))
		r.mu.Unlock()
		if status == 0 {
			<-r.block
			return
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(func() { close(r.block); r.Close() })
	return r
}

func types(sub *fakepagerduty.Subscription) []string {
	var out []string
	for _, d := range sub.Deliveries() {
		out = append(out, d.Type)
	}
	return out
}

func TestWebhookLifecycle(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	r := receive(t)
	sub := s.Subscribe(fakepagerduty.SubscriptionOptions{URL: r.URL, Secrets: []string{"new", "old"}})
	i, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Errors"})
	require.NoError(t, err)
	require.NoError(t, s.Acknowledge(i.ID, "PADA"))
	require.NoError(t, s.SetPriority(i.ID, "PP1", "PADA"))
	require.NoError(t, s.Annotate(i.ID, "PADA", "hm"))
	require.NoError(t, s.Escalate(i.ID))
	require.NoError(t, s.Resolve(i.ID, "PADA"))
	require.NoError(t, s.Reopen(i.ID, "PADA"))
	s.Ping()
	require.NoError(t, sub.Wait(within(t)))
	require.Equal(t, []string{
		"incident.triggered", "incident.acknowledged", "incident.priority_updated", "incident.annotated",
		"incident.escalated", "incident.resolved", "incident.reopened", "pagey.ping",
	}, types(sub))

	first := sub.Deliveries()[0]
	require.Equal(t, first.WebhookID, first.Header.Get("X-Webhook-Id"))
	require.Equal(t, sub.ID, first.Header.Get("X-Webhook-Subscription"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL, io.NopCloser(readerOf(first.Body)))
	require.NoError(t, err)
	req.Header = first.Header
	require.NoError(t, webhookv3.VerifySignature(req, "old"), "PagerDuty's own client accepts the signature")
	require.Contains(t, string(first.Body), `"event_type":"incident.triggered"`)
}

func TestWebhookSignatures(t *testing.T) {
	t.Parallel()
	require.NotContains(t, fakepagerduty.Sign([]byte("x"), false, "a", "b"), " ")
	require.Contains(t, fakepagerduty.Sign([]byte("x"), true, "a", "b"), ", v1=")
	s := newWorld(t, fakepagerduty.Config{})
	r := receive(t)
	sub := s.Subscribe(fakepagerduty.SubscriptionOptions{URL: r.URL, Secrets: []string{"a"}})
	s.Ping()
	require.NoError(t, sub.Wait(within(t)))
	sub.Rotate("b")
	s.Ping()
	require.NoError(t, sub.Wait(within(t)))
	d := sub.Deliveries()
	require.Equal(t, fakepagerduty.Sign(d[0].Body, false, "a"), d[0].Header.Get("X-PagerDuty-Signature"))
	require.Equal(t, fakepagerduty.Sign(d[1].Body, false, "b"), d[1].Header.Get("X-PagerDuty-Signature"))
}

func TestWebhookRetries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		statuses []int
		want     []int
		disabled bool
		pings    int
	}{
		{name: "5xx and 429 are retried", statuses: []int{500, 429, 202}, want: []int{500, 429, 202}, pings: 1},
		{name: "no answer is retried", statuses: []int{0, 202}, want: []int{0, 202}, pings: 1},
		{name: "4xx is dropped", statuses: []int{400}, want: []int{400}, pings: 1},
		{name: "a redirect is dropped", statuses: []int{302}, want: []int{302}, pings: 1},
		{name: "a success between drops keeps the subscription", statuses: []int{400, 400, 202, 400, 400}, want: []int{400, 400, 202, 400, 400}, pings: 5},
		{name: "three drops turn the subscription off", statuses: []int{401, 403, 404}, want: []int{401, 403, 404}, pings: 4, disabled: true},
		{name: "exhausted retries drop", statuses: []int{503, 503, 503}, want: []int{503, 503, 503}, pings: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newWorld(t, fakepagerduty.Config{WebhookAttempts: 3, WebhookTimeout: 200 * time.Millisecond})
			r := receive(t, tt.statuses...)
			sub := s.Subscribe(fakepagerduty.SubscriptionOptions{URL: r.URL, Secrets: []string{"a"}})
			for range tt.pings {
				s.Ping()
				require.NoError(t, sub.Wait(within(t)))
			}
			var got []int
			for _, d := range sub.Deliveries() {
				got = append(got, d.Status)
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.disabled, sub.Disabled())
		})
	}
}

func TestWebhookRetriesKeepTheID(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	r := receive(t, 500)
	sub := s.Subscribe(fakepagerduty.SubscriptionOptions{URL: r.URL, Secrets: []string{"a"}})
	s.Ping()
	require.NoError(t, sub.Wait(within(t)))
	d := sub.Deliveries()
	require.Len(t, d, 2)
	require.Equal(t, d[0].WebhookID, d[1].WebhookID)
	require.Equal(t, d[0].Body, d[1].Body)
}

func TestWebhookSteering(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	r := receive(t)
	sub := s.Subscribe(fakepagerduty.SubscriptionOptions{URL: r.URL, Secrets: []string{"a"}})

	sub.Suppress(1)
	missed, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Missed"})
	require.NoError(t, err)
	require.NoError(t, sub.Wait(within(t)))
	require.Empty(t, sub.Deliveries())

	sub.Hold()
	require.NoError(t, s.Acknowledge(missed.ID, "PADA"))
	require.NoError(t, s.Resolve(missed.ID, "PADA"))
	sub.Release(func(e []fakepagerduty.Event) []fakepagerduty.Event {
		slices.Reverse(e)
		return append(e, e[0])
	})
	require.NoError(t, sub.Wait(within(t)))
	require.Equal(t, []string{"incident.resolved", "incident.acknowledged", "incident.resolved"}, types(sub))

	sub.Repeat(2)
	s.Ping()
	require.NoError(t, sub.Wait(within(t)))
	d := sub.Deliveries()
	require.Len(t, d, 6)
	require.Equal(t, d[3].WebhookID, d[5].WebhookID)
}

func readerOf(b []byte) io.Reader { return bytes.NewReader(b) }
