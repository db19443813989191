package bot

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// tooLong is how long these tests wait for what should happen at once.
const tooLong = time.Minute

// listening answers every request and keeps its body.
type listening struct{ heard chan string }

// RoundTrip answers 200.
func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	l.heard <- r.URL.String() + " " + string(body)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// Slack drops an acknowledgement of 20 KB over Socket Mode; what is as large
// follows by the response address.
func TestLargeAnswersOverSocketModeFollow(t *testing.T) {
	t.Parallel()
	s := stubbed(t, &DeafTemporal{})
	ears := listening{heard: make(chan string, 1)}
	s.desk.http.Transport = ears
	const address = "https://hooks.slack.example/1"

	small := answer{taken: true, body: ephemeral(views.Said("short"))}
	require.Equal(t, small, s.desk.fitting(t.Context(), small, address))
	require.Equal(t, answer{taken: true}, s.desk.fitting(t.Context(), answer{taken: true}, address))

	large := answer{taken: true, body: map[string]string{"text": strings.Repeat("long ", maxAck/5)}}
	require.Equal(t, answer{taken: true}, s.desk.fitting(t.Context(), large, address))
	select {
	case heard := <-ears.heard:
		require.Contains(t, heard, address+` {"text":"long long`)
	case <-time.After(tooLong):
		t.Fatal("the large answer did not follow")
	}
	require.NoError(t, s.Close(t.Context()))
}

// Whoever sends a byte at a time is cut off, and holds nothing.
func TestSlowBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	temporal := &DeafTemporal{}
	w := usualWaits()
	w.body = 50 * time.Millisecond
	s, err := newServer(Options{
		Gateway: NewGateway(temporal, Unsigned{}), Access: (&Access{}).WithLocal("operator"), Webhooks: map[string]Webhook{"pagerduty": {
			Verify: func(http.Header, []byte) error { return nil },
			Parse:  func([]byte) (incident.Page, bool, error) { return incident.Page{}, true, nil },
		}},
	}, w)
	require.NoError(t, err)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	for _, tt := range []struct {
		path, contentType string
		status            int
	}{
		{"/webhooks/pagerduty", typeJSON, http.StatusBadRequest},
		{"/api/v1/list", typeJSON, http.StatusBadRequest},
		{"/incidents/pagerduty/Q1/command", typeForm, http.StatusBadRequest},
		{"/nowhere", typeJSON, http.StatusNotFound},
		{"/healthz", typeJSON, http.StatusMethodNotAllowed},
	} {
		var dialer net.Dialer
		conn, err := dialer.DialContext(t.Context(), "tcp", h.Listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(tooLong)))
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\n{", tt.path, tt.contentType)
		require.NoError(t, err)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, tt.path)
		require.Equal(t, tt.status, response.StatusCode, tt.path)
		require.NoError(t, response.Body.Close())
		require.NoError(t, conn.Close())
	}
	require.Empty(t, temporal.Calls())
}

// A call that takes longer than a body may is not cut off with it.
func TestLongAnswersAreNotCutOff(t *testing.T) {
	t.Parallel()
	w := usualWaits()
	w.body, w.call = 20*time.Millisecond, 200*time.Millisecond
	s, err := newServer(Options{Gateway: NewGateway(&DeafTemporal{}, Unsigned{}), Access: (&Access{}).WithLocal("operator")}, w)
	require.NoError(t, err)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/api/v1/list", strings.NewReader("{}"))
	require.NoError(t, err)
	request.Header.Set("Content-Type", typeJSON)
	response, err := (&http.Client{Timeout: tooLong}).Do(request)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.Contains(t, string(body), "not known whether", "it waited for Temporal to the end")
}

// views of incidents by their workflow IDs; what is missing can not be read.
type partly struct {
	DeafTemporal

	views map[string]incident.View
}

// QueryWorkflow answers for the incidents that can be read.
func (p *partly) QueryWorkflow(_ context.Context, workflowID, _, _ string, _ ...any) (converter.EncodedValue, error) {
	v, ok := p.views[workflowID]
	if !ok {
		return nil, serviceerror.NewUnavailable("this one can not be read")
	}
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(v)
	if err != nil {
		return nil, err
	}
	return client.NewValue(payloads), nil
}

// An incident is never chosen because the others could not be read: who is not
// named is asked for.
func TestNothingIsDoneByElimination(t *testing.T) {
	t.Parallel()
	view := func(key string) incident.View {
		return incident.View{Key: key, Phase: incident.PhaseDeciding, Severity: incident.Sev2, Card: incident.CardRef{Channel: "C1", TS: "1.1"}}
	}
	many := make([]string, maxLooked+1)
	for i := range many {
		many[i] = fmt.Sprintf("pagerduty/Q%d", i)
	}
	tests := []struct {
		name     string
		listed   []string
		readable []string
		thread   string
		want     string
		asked    bool
		err      error
	}{
		{"the only one", []string{"pagerduty/Q1"}, []string{"pagerduty/Q1"}, "", "pagerduty/Q1", false, nil},
		{"one can be read and one can not", []string{"pagerduty/Q1", "pagerduty/Q2"}, []string{"pagerduty/Q1"}, "", "", true, nil},
		{"the one of the thread, whatever the others are", []string{"pagerduty/Q1", "pagerduty/Q2"}, []string{"pagerduty/Q1"}, "1.1", "pagerduty/Q1", false, nil},
		{"none can be read", []string{"pagerduty/Q1"}, nil, "", "", false, errUnread},
		{"none is open", nil, nil, "", "", false, ErrNoIncident},
		{"more than are looked at", many, many[:1], "", "", true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			temporal := &partly{views: map[string]incident.View{}}
			for _, key := range tt.readable {
				temporal.views[incident.WorkflowID(key)] = view(key)
			}
			var list []Summary
			for _, key := range tt.listed {
				list = append(list, Summary{Key: key})
			}
			read, whole := readAll(t.Context(), NewGateway(temporal, Unsigned{}), list)
			s := stubbed(t, &DeafTemporal{})
			v, choice, err := s.desk.among(parse("take"), person{channel: "C1", thread: tt.thread}, read, whole)
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, v.Key)
			require.Equal(t, tt.asked, choice != nil)
		})
	}
}

// Whatever is answered may not be framed, loaded by another site, or run.
func TestAnswersAreInert(t *testing.T) {
	t.Parallel()
	s, err := NewServer(Options{
		Gateway: NewGateway(&DeafTemporal{Refuses: true}, Unsigned{}), Access: (&Access{}).WithLocal("operator"),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") }),
	})
	require.NoError(t, err)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/incidents", "/incidents/pagerduty/Q1", "/nowhere", "/api/v1/list"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
		r.RemoteAddr = "127.0.0.1:1234"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			require.Equal(t, want, w.Header().Get(name), "%s %s", path, name)
		}
		policy := w.Header().Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.Contains(t, policy, "frame-ancestors 'none'", path)
		require.NotContains(t, policy, "script-src", path)
		require.NotEmpty(t, w.Header().Get("X-Request-Id"), path)
	}
}

func TestCallsAreSmall(t *testing.T) {
	t.Parallel()
	temporal := &DeafTemporal{}
	s, err := NewServer(Options{Gateway: NewGateway(temporal, Unsigned{}), Access: (&Access{}).WithLocal("operator")})
	require.NoError(t, err)
	large := strings.Repeat("x", maxCall)
	for path, request := range map[string]struct{ contentType, body string }{
		"/api/v1/decide":                 {typeJSON, `{"key":"pagerduty/Q1","option_id":"` + large + `"}`},
		"/incidents/pagerduty/Q1/decide": {typeForm, "revision=1&option_id=" + large},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost"+path, strings.NewReader(request.body))
		r.RemoteAddr = "127.0.0.1:1234"
		r.Header.Set("Content-Type", request.contentType)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		require.Equal(t, http.StatusRequestEntityTooLarge, w.Code, path)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/incidents/pagerduty/Q1/command", strings.NewReader(`verb=close`))
	r.RemoteAddr = "127.0.0.1:1234"
	r.Header.Set("Content-Type", "text/plain")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	require.Equal(t, http.StatusBadRequest, w.Code, "a form is a form")
	require.Empty(t, temporal.Calls())
}
