package bot

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// slackDeadline is when Slack gives up.
const slackDeadline = 3 * time.Second

// silent is a network in which nobody answers.
type silent struct{}

// Do waits for the caller to give up.
func (silent) Do(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// RoundTrip waits for the caller to give up.
func (s silent) RoundTrip(r *http.Request) (*http.Response, error) { return s.Do(r) }

const (
	stubSecret = "stub-signing-secret"
	stubKey    = "pagerduty/Q1"
)

// stubbed is a server in front of a stub of Temporal and a silent Slack.
func stubbed(t testing.TB, temporal *DeafTemporal) *Server {
	t.Helper()
	s, err := NewServer(Options{
		Gateway: NewGateway(temporal, Unsigned{}),
		Webhooks: map[string]Webhook{"pagerduty": {
			Verify: func(http.Header, []byte) error { return nil },
			Parse: func([]byte) (incident.Page, bool, error) {
				return incident.Page{EventID: "e1", Source: incident.SourcePagerDuty, Kind: incident.PageTriggered, IncidentID: "Q1", Severity: incident.Sev2, OccurredAt: time.Now()}, true, nil
			},
		}},
		Slack: &SlackOptions{
			API: slack.New("stub", slack.OptionHTTPClient(silent{})), SigningSecret: stubSecret, Command: "/rollback",
			Services: func() []string { return []string{"checkout"} },
			KeyAt: func(ctx context.Context, _, _ string) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			},
		},
	})
	require.NoError(t, err)
	s.desk.http.Transport = silent{}
	return s
}

func stubPlan() string { return incident.DigestOf([]byte("o1")) }

// typed is the body of a slash command.
func typed(text string) string {
	return url.Values{
		"team_id": {"T1"}, "user_id": {"U1"}, "channel_id": {"C1"}, "trigger_id": {"1.2.3"}, "command": {"/rollback"}, "text": {text},
		"response_url": {"https://hooks.slack.example/1"},
	}.Encode()
}

// pressedButton is the body of a click.
func pressedButton(t testing.TB, action, value string) string {
	t.Helper()
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "trigger_id": "1.2.3", "response_url": "https://hooks.slack.example/1",
		"team": map[string]any{"id": "T1"}, "user": map[string]any{"id": "U1", "team_id": "T1"}, "channel": map[string]any{"id": "C1"},
		"actions": []any{map[string]any{"type": "button", "action_id": action, "block_id": "b", "value": value}},
	})
	require.NoError(t, err)
	return url.Values{"payload": {string(payload)}}.Encode()
}

// submitted is the body of a modal that was sent.
func submitted(t testing.TB, callback string, meta views.Metadata, values map[string]string) string {
	t.Helper()
	private, err := json.Marshal(meta)
	require.NoError(t, err)
	state := map[string]any{}
	for name, value := range values {
		state[name] = map[string]any{name: map[string]any{"type": "plain_text_input", "value": value}}
	}
	payload, err := json.Marshal(map[string]any{
		"type": "view_submission", "trigger_id": "1.2.3", "team": map[string]any{"id": "T1"}, "user": map[string]any{"id": "U1", "team_id": "T1"},
		"view": map[string]any{"id": "V1", "callback_id": callback, "private_metadata": string(private), "state": map[string]any{"values": state}},
	})
	require.NoError(t, err)
	return url.Values{"payload": {string(payload)}}.Encode()
}

func mentioned(text string) string {
	return `{"type":"event_callback","team_id":"T1","event_id":"Ev1","event":{"type":"app_mention","user":"U1","channel":"C1","ts":"1.2","thread_ts":"1.1","text":"<@U0BACKOUT> ` + text + `"}}`
}

func TestSlackIsAnsweredInTimeWhateverTemporalDoes(t *testing.T) {
	t.Parallel()
	ref := views.Ref{Key: stubKey, Option: "o1", Digest: stubPlan(), Revision: 1}
	meta := views.Metadata{Ref: &ref, Channel: "C1"}
	tests := []struct {
		name, path, body string
		accepts          bool
		status           int
		says             string
	}{
		{"the menu needs nobody", "commands", typed(""), false, http.StatusOK, "what do you want to do"},
		{"help needs nobody", "commands", typed("help"), false, http.StatusOK, "declares an incident"},
		{"nonsense needs nobody", "commands", typed("dance"), false, http.StatusOK, "There is no command"},
		{"list", "commands", typed("list"), false, http.StatusOK, "try again"},
		{"status", "commands", typed("status " + stubKey), false, http.StatusOK, "try again"},
		{"which incident", "commands", typed("take"), false, http.StatusOK, "try again"},
		{"declare", "commands", typed("declare sev1 checkout down"), false, http.StatusOK, "try again"},
		{"declare by modal", "commands", typed("declare"), false, http.StatusOK, "type the command with everything in it"},
		{"approve button", "interactions", pressedButton(t, "approve:0", ref.Encode()), false, http.StatusServiceUnavailable, ""},
		{"approve button that is recorded", "interactions", pressedButton(t, "approve:0", ref.Encode()), true, http.StatusOK, ""},
		{"command button", "interactions", pressedButton(t, "command:take_command", ref.Encode()), false, http.StatusServiceUnavailable, ""},
		{"refuse button", "interactions", pressedButton(t, "refuse:0", ref.Encode()), false, http.StatusOK, ""},
		{"list button", "interactions", pressedButton(t, "list", "list"), false, http.StatusServiceUnavailable, ""},
		{"status button", "interactions", pressedButton(t, "status", ref.Encode()), false, http.StatusServiceUnavailable, ""},
		{"chooser button", "interactions", pressedButton(t, "pick", views.Pick{Key: stubKey, Text: "take"}.Encode()), false, http.StatusServiceUnavailable, ""},
		{"refuse modal stays open", "interactions", submitted(t, "refuse", meta, map[string]string{"reason": "no"}), false, http.StatusOK, "try again"},
		{"refuse modal that is recorded", "interactions", submitted(t, "refuse", meta, map[string]string{"reason": "no"}), true, http.StatusOK, ""},
		{"declare modal stays open", "interactions", submitted(t, "declare", views.Metadata{Channel: "C1"}, map[string]string{"service": "checkout", "title": "down", "severity": "sev1"}), false, http.StatusOK, "try again"},
		{"mention", "events", mentioned("take"), false, http.StatusServiceUnavailable, ""},
		{"mention of an incident", "events", mentioned("take " + stubKey), false, http.StatusServiceUnavailable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := stubbed(t, &DeafTemporal{Accepts: tt.accepts})
				began := time.Now()
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/slack/"+tt.path, strings.NewReader(tt.body))
				r.Header = signed(stubSecret, began, tt.body)
				r.Header.Set("Content-Type", typeForm)
				if tt.path == "events" {
					r.Header.Set("Content-Type", typeJSON)
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				require.Less(t, time.Since(began), slackDeadline)
				require.Equal(t, tt.status, w.Code)
				require.Contains(t, w.Body.String(), tt.says)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_ = s.Close(ctx)
			})
		})
	}
}

// A command whose update is recorded but not worked on is answered with words
// that say so.
func TestRecordedCommandsSaySo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := stubbed(t, &DeafTemporal{Accepts: true})
		who := person{actor: incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U1"}, id: "slack-1", began: time.Now()}
		card, taken := s.desk.onIncident(t.Context(), parse("take"), incident.View{Key: stubKey}, who)
		require.True(t, taken)
		require.Contains(t, card.Text, "The answer follows")
		require.Less(t, time.Since(who.began), slackDeadline)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Error(t, s.Close(ctx), "the result was still being waited for")
		s.desk.behind(t.Context(), func(context.Context) { panic("nothing begins once it is closed") })
	})
}

// pagerDutyDeadline is when PagerDuty gives up and comes again.
const pagerDutyDeadline = 5 * time.Second

func TestWebhooksAreAnsweredInTimeWhateverTemporalDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := stubbed(t, &DeafTemporal{})
		for path, deadline := range map[string]time.Duration{"/webhooks/pagerduty": pagerDutyDeadline, "/readyz": slackDeadline} {
			method := http.MethodPost
			if path == "/readyz" {
				method = http.MethodGet
			}
			began := time.Now()
			r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
			r.Header.Set("Content-Type", typeJSON)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			require.Less(t, time.Since(began), deadline, path)
			require.Equal(t, http.StatusServiceUnavailable, w.Code, "%s: 503 makes the source come again", path)
		}
	})
}

func TestAnswersThatDefectDoNotEndTheProcess(t *testing.T) {
	t.Parallel()
	s := stubbed(t, &DeafTemporal{})
	s.desk.behind(t.Context(), func(context.Context) { panic("a defect") })
	require.NoError(t, s.Close(t.Context()))
}
