package bot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/workflows/incident"
)

// journal collects logs.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds a line.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// String is all lines so far.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// haste is how long Temporal has where it can not be reached, so that tests
// need not wait to hear it.
const haste = 100 * time.Millisecond

// serve is a server that gives up on nothing on account of a busy machine; the
// real times are tested with a clock of their own.
func serve(t *testing.T, o bot.Options) (*bot.Server, *httptest.Server, *journal) {
	t.Helper()
	return serveWithin(t, o, patience, patience)
}

func serveWithin(t *testing.T, o bot.Options, wait, answer time.Duration) (*bot.Server, *httptest.Server, *journal) {
	t.Helper()
	j := &journal{}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(j, nil))
	}
	if o.Gateway == nil {
		o.Gateway = bot.NewGateway(temporalClient, bot.Unsigned{})
	}
	s, err := bot.NewServerWithin(o, wait, answer)
	require.NoError(t, err)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		ends(t, "the HTTP server", func() error { h.Close(); return nil })
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		require.NoError(t, s.Close(ctx), "the answers that follow acknowledgements did not end")
	})
	return s, h, j
}

func send(t *testing.T, method, url string, header http.Header, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if header != nil {
		request.Header = header.Clone()
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NotEmpty(t, response.Header.Get("X-Request-Id"))
	return response.StatusCode, string(got)
}

const goodSignature = "signature-of-the-source"

// hook is a source whose body is an incident ID, a space and an event ID.
func hook(parsed *bool) bot.Webhook {
	return bot.Webhook{
		Verify: func(h http.Header, _ []byte) error {
			if h.Get("X-Signature") != goodSignature {
				return errors.New("signature does not fit")
			}
			return nil
		},
		Parse: func(body []byte) (incident.Page, bool, error) {
			*parsed = true
			id, event, ok := strings.Cut(string(body), " ")
			switch {
			case id == "ping":
				return incident.Page{}, false, nil
			case id == "panic":
				panic("a defect with " + goodSignature)
			case !ok:
				return incident.Page{}, false, errors.New("truncated")
			}
			return page(id, event, incident.PageTriggered), true, nil
		},
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	id := unique("Q")
	signed := http.Header{"X-Signature": {goodSignature}, "Content-Type": {"application/json"}}
	tests := []struct {
		name    string
		gateway *bot.Gateway
		header  http.Header
		body    string
		status  int
		parsed  bool
	}{
		{"a page", nil, signed, id + " e1", http.StatusAccepted, true},
		{"a ping", nil, signed, "ping", http.StatusAccepted, true},
		{"unsigned", nil, nil, id + " forged", http.StatusUnauthorized, false},
		{"forged", nil, http.Header{"X-Signature": {"guess"}}, id + " forged", http.StatusUnauthorized, false},
		{"truncated", nil, signed, id, http.StatusBadRequest, true},
		{"no usable page", nil, signed, "a/b e1", http.StatusBadRequest, true},
		{"too large", nil, signed, strings.Repeat("x", 1<<20+1), http.StatusRequestEntityTooLarge, false},
		{"a defect", nil, signed, "panic", http.StatusInternalServerError, true},
		{"no Temporal", unreachable(t), signed, unique("Q") + " e1", http.StatusServiceUnavailable, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parsed, wait := false, patience
			if tt.gateway != nil {
				wait = haste
			}
			_, h, log := serveWithin(t, bot.Options{Gateway: tt.gateway, Webhooks: map[string]bot.Webhook{"pagerduty": hook(&parsed)}}, wait, wait)
			status, _ := send(t, http.MethodPost, h.URL+"/webhooks/pagerduty", tt.header, tt.body)
			require.Equal(t, tt.status, status)
			require.Equal(t, tt.parsed, parsed, "nothing is read out of a body that is not verified")
			require.NotContains(t, log.String(), goodSignature)
			require.NotContains(t, log.String(), tt.body+"\n")
		})
	}
}

func TestForgedPagesStartNothing(t *testing.T) {
	t.Parallel()
	id, parsed := unique("Q"), false
	_, h, _ := serve(t, bot.Options{Webhooks: map[string]bot.Webhook{"pagerduty": hook(&parsed)}})
	for range 3 {
		status, _ := send(t, http.MethodPost, h.URL+"/webhooks/pagerduty", nil, id+" e1")
		require.Equal(t, http.StatusUnauthorized, status)
	}
	_, err := bot.NewGateway(temporalClient, bot.Unsigned{}).View(within(t), "pagerduty/"+id)
	require.ErrorIs(t, err, bot.ErrNoIncident)
}

func TestAcknowledgedPageIsInTemporal(t *testing.T) {
	t.Parallel()
	id, parsed := unique("Q"), false
	_, h, _ := serve(t, bot.Options{Webhooks: map[string]bot.Webhook{"pagerduty": hook(&parsed)}})
	for i, want := range []string{"accepted\n", "duplicate\n"} {
		status, body := send(t, http.MethodPost, h.URL+"/webhooks/pagerduty", http.Header{"X-Signature": {goodSignature}, "Content-Type": {"application/json"}}, id+" e1")
		require.Equal(t, http.StatusAccepted, status)
		if i == 0 {
			require.Equal(t, want, body)
		}
		v := viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), "pagerduty/"+id)
		require.Len(t, v.Timeline, 1)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	_, up, _ := serve(t, bot.Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })})
	_, down, _ := serveWithin(t, bot.Options{Gateway: unreachable(t)}, haste, haste)
	for _, tt := range []struct {
		url    string
		status int
	}{
		{up.URL + "/healthz", http.StatusOK},
		{up.URL + "/readyz", http.StatusOK},
		{up.URL + "/metrics", http.StatusOK},
		{up.URL + "/webhooks/unknown", http.StatusNotFound},
		{up.URL + "/slack/commands", http.StatusNotFound},
		{down.URL + "/healthz", http.StatusOK},
		{down.URL + "/readyz", http.StatusServiceUnavailable},
		{down.URL + "/metrics", http.StatusNotFound},
	} {
		status, _ := send(t, http.MethodGet, tt.url, nil, "")
		require.Equal(t, tt.status, status, tt.url)
	}
}

func TestIncompleteServersAreRefused(t *testing.T) {
	t.Parallel()
	g := bot.NewGateway(temporalClient, bot.Unsigned{})
	for name, o := range map[string]bot.Options{
		"no gateway":        {},
		"unverified hook":   {Gateway: g, Webhooks: map[string]bot.Webhook{"x": {Parse: func([]byte) (incident.Page, bool, error) { return incident.Page{}, false, nil }}}},
		"Slack without API": {Gateway: g, Slack: &bot.SlackOptions{Command: "/rollback"}},
	} {
		_, err := bot.NewServer(o)
		require.Error(t, err, name)
	}
}
