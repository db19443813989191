package bot_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/workflows/incident"
)

const pagerSecret = "webhook-secret-of-these-tests"

// pagerHook is PagerDuty's own adapter.
func pagerHook() map[string]bot.Webhook {
	return map[string]bot.Webhook{string(incident.SourcePagerDuty): {
		Verify: func(h http.Header, body []byte) error {
			return pagerduty.VerifySignature([][]byte{[]byte(pagerSecret)}, h.Get(pagerduty.SignatureHeader), body)
		},
		Parse: func(body []byte) (incident.Page, bool, error) {
			w, err := pagerduty.ParseWebhook(body, pagerduty.Severities{})
			return w.Page, w.Kind == pagerduty.WebhookPage, err
		},
	}}
}

// pagerEvent is the body of a webhook about an incident.
func pagerEvent(id, event, kind string, at time.Time) string {
	return fmt.Sprintf(`{"event":{"id":%q,"event_type":%q,"resource_type":"incident","occurred_at":%q,"data":{"id":%q,"type":"incident","title":"errors","urgency":"high","created_at":%q,"service":{"id":"PSVC"}}}}`,
		event, kind, at.UTC().Format(time.RFC3339), id, at.UTC().Format(time.RFC3339))
}

func pagerHeader(body, secret string) http.Header {
	return http.Header{
		"Content-Type": {"application/json"}, http.CanonicalHeaderKey(pagerduty.SignatureHeader): {fakepagerduty.Sign([]byte(body), true, "an-older-secret", secret)},
	}
}

// runs is how many workflows an incident has had.
func runs(t *testing.T, key string) int {
	t.Helper()
	list, err := temporalClient.ListWorkflow(within(t), &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("WorkflowId = '%s'", incident.WorkflowID(key)),
	})
	require.NoError(t, err)
	return len(list.GetExecutions())
}

// PagerDuty sends at least once and in no order. Two hundred deliveries of six
// events, from eight connections at once, are one incident with six events; its
// end among as many repetitions ends it once, and nothing begins it anew.
func TestTheSameWebhooksAreOneIncident(t *testing.T) {
	t.Parallel()
	_, h, _ := serve(t, bot.Options{Webhooks: pagerHook()})
	id, at := unique("QWEB"), time.Now().Add(-time.Minute)
	key := incident.Key(incident.SourcePagerDuty, id)
	var bodies []string
	for i, kind := range []string{
		"incident.triggered", "incident.acknowledged", "incident.escalated", "incident.priority_updated", "incident.reassigned", "incident.reopened",
	} {
		bodies = append(bodies, pagerEvent(id, fmt.Sprintf("%s-e%d", id, i), kind, at.Add(time.Duration(i)*time.Second)))
	}
	flood(t, h.URL, bodies, 200)
	require.Len(t, viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Timeline, len(bodies), "each event once")
	eventually(t, "the workflow is listed", func() bool { return runs(t, key) > 0 })
	require.Equal(t, 1, runs(t, key))

	bodies = append(bodies, pagerEvent(id, id+"-end", "incident.resolved", at.Add(30*time.Second)))
	flood(t, h.URL, bodies, 35)
	require.NoError(t, temporalClient.GetWorkflow(within(t), incident.WorkflowID(key), "").Get(within(t), nil))
	flood(t, h.URL, bodies, 35)
	v := viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key)
	require.Len(t, v.Timeline, len(bodies), "each event once")
	require.Equal(t, 1, runs(t, key))
}

// flood delivers each body equally often, shuffled, over eight connections, and
// again whatever is answered 503, as PagerDuty does.
func flood(t *testing.T, address string, bodies []string, deliveries int) {
	t.Helper()
	queue := make([]string, deliveries)
	for i := range queue {
		queue[i] = bodies[i%len(bodies)]
	}
	shuffle := rand.New(rand.NewPCG(3, uint64(deliveries)))
	shuffle.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
	const connections = 8
	errs := make([]error, connections)
	var group sync.WaitGroup
	for i := range connections {
		group.Go(func() {
			for j := i; j < len(queue); j += connections {
				status := http.StatusServiceUnavailable
				for end := time.Now().Add(patience); status == http.StatusServiceUnavailable && time.Now().Before(end); {
					status = post(t, address+"/webhooks/pagerduty", pagerHeader(queue[j], pagerSecret), queue[j])
				}
				if status != http.StatusAccepted {
					errs[i] = errors.Join(errs[i], fmt.Errorf("delivery %d: status %d", j, status))
				}
			}
		})
	}
	group.Wait()
	require.NoError(t, errors.Join(errs...))
}

// post is a request whose answer is its status, 0 for none. It may be called
// from any goroutine.
func post(t *testing.T, address string, header http.Header, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(within(t), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return 0
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// deaf is a server behind which every call of Temporal is counted and none is
// answered.
func deaf(t *testing.T, o bot.Options, haste time.Duration) (*office, *bot.DeafTemporal) {
	t.Helper()
	temporal := &bot.DeafTemporal{}
	o.Gateway = bot.NewGateway(temporal, bot.Unsigned{})
	return openWithin(t, o, false, haste, haste), temporal
}

// What is forged, stale, truncated, too large or of the wrong type is refused,
// and Temporal never hears of it.
func TestRefusedWebhooksStartNothing(t *testing.T) {
	t.Parallel()
	o, temporal := deaf(t, bot.Options{Webhooks: pagerHook()}, patience)
	now := time.Now()
	genuine := pagerEvent("QFORGED", "e1", "incident.triggered", now)
	with := func(h http.Header, name string, values ...string) http.Header {
		h = h.Clone()
		h[http.CanonicalHeaderKey(name)] = values
		return h
	}
	signed := func(body string) http.Header { return pagerHeader(body, pagerSecret) }
	old := pagerEvent("QFORGED", "e1", "incident.triggered", now.Add(-8*24*time.Hour))
	large := strings.Repeat("x", 1<<20+1)
	tests := []struct {
		name   string
		header http.Header
		body   string
		status int
	}{
		{"unsigned", http.Header{"Content-Type": {"application/json"}}, genuine, http.StatusUnauthorized},
		{"empty signature", with(signed(genuine), pagerduty.SignatureHeader, ""), genuine, http.StatusUnauthorized},
		{"forged", pagerHeader(genuine, "guessed"), genuine, http.StatusUnauthorized},
		{"empty secret", pagerHeader(genuine, ""), genuine, http.StatusUnauthorized},
		{"other version", with(signed(genuine), pagerduty.SignatureHeader, "v0="+strings.Repeat("0", 64)), genuine, http.StatusUnauthorized},
		{"signature of another body", signed(genuine), strings.Replace(genuine, "QFORGED", "QOTHER", 1), http.StatusUnauthorized},
		{"truncated on the way", signed(genuine), genuine[:len(genuine)/2], http.StatusUnauthorized},
		{"truncated at the source", signed(genuine[:len(genuine)/2]), genuine[:len(genuine)/2], http.StatusBadRequest},
		{"empty", signed(""), "", http.StatusBadRequest},
		{"two events", signed(genuine + genuine), genuine + genuine, http.StatusBadRequest},
		{"no JSON", signed("event=1"), "event=1", http.StatusBadRequest},
		{"form", with(signed(genuine), "Content-Type", "application/x-www-form-urlencoded"), genuine, http.StatusBadRequest},
		{"no content type", with(signed(genuine), "Content-Type"), genuine, http.StatusBadRequest},
		{"stale", signed(old), old, http.StatusBadRequest},
		{"a key that is a path", signed(strings.ReplaceAll(genuine, "QFORGED", "../Q")), strings.ReplaceAll(genuine, "QFORGED", "../Q"), http.StatusBadRequest},
		{"more than PagerDuty sends", signed(large[:1<<20]), large[:1<<20], http.StatusBadRequest},
		{"oversized", signed(large), large, http.StatusRequestEntityTooLarge},
		{"oversized and unsigned", http.Header{}, large, http.StatusRequestEntityTooLarge},
	}
	for _, tt := range tests {
		status, answer := send(t, http.MethodPost, o.url+"/webhooks/pagerduty", tt.header, tt.body)
		require.Equal(t, tt.status, status, tt.name)
		require.Equal(t, http.StatusText(tt.status)+"\n", answer, "%s: who forged it learns nothing", tt.name)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodHead} {
		request, err := http.NewRequestWithContext(within(t), method, o.url+"/webhooks/pagerduty", strings.NewReader(genuine))
		require.NoError(t, err)
		request.Header = signed(genuine)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	}
	require.Empty(t, temporal.Calls(), "nothing reached Temporal")
	require.NotContains(t, o.log.String(), pagerSecret)
	require.NotContains(t, o.log.String(), strings.TrimPrefix(fakepagerduty.Sign([]byte(genuine), false, pagerSecret), "v1="))
}

func TestRefusedSlackRequestsStartNothing(t *testing.T) {
	t.Parallel()
	o, temporal := deaf(t, bot.Options{}, haste)
	now := time.Now()
	genuine := map[string]string{
		"/slack/commands":     "team_id=T0BACKOUT&user_id=U0ADA&channel_id=C1&trigger_id=1.2.3&command=%2Frollback&text=take+pagerduty%2FQ1",
		"/slack/interactions": "payload=" + strings.ReplaceAll(`{"type":"block_actions","trigger_id":"1.2.3","team":{"id":"T0BACKOUT"},"user":{"id":"U0ADA"},"actions":[{"type":"button","block_id":"b","action_id":"command:take_command","value":"{\"k\":\"pagerduty/Q1\",\"r\":1}"}]}`, `"`, "%22"),
		"/slack/events":       `{"type":"event_callback","team_id":"T0BACKOUT","event_id":"Ev1","event":{"type":"app_mention","user":"U0ADA","channel":"C1","text":"take pagerduty/Q1"}}`,
	}
	large := strings.Repeat("x", 1<<20+1)
	for path, body := range genuine {
		signed := o.sign(path, body, now)
		with := func(name, value string) http.Header {
			h := signed.Clone()
			h.Set(name, value)
			return h
		}
		broken := map[string]string{"/slack/commands": "%zz", "/slack/interactions": "payload=%7B", "/slack/events": `{"type":`}[path]
		tests := []struct {
			name   string
			header http.Header
			body   string
			status int
		}{
			{"unsigned", http.Header{"Content-Type": {slackInterfaces[path]}}, body, http.StatusUnauthorized},
			{"forged", with("X-Slack-Signature", "v0="+strings.Repeat("0", 64)), body, http.StatusUnauthorized},
			{"old signature version", with("X-Slack-Signature", "v1="+signed.Get("X-Slack-Signature")[3:]), body, http.StatusUnauthorized},
			{"stale", o.sign(path, body, now.Add(-6*time.Minute)), body, http.StatusUnauthorized},
			{"early", o.sign(path, body, now.Add(6*time.Minute)), body, http.StatusUnauthorized},
			{"made to look fresh", with("X-Slack-Request-Timestamp", fmt.Sprint(now.Unix()+1)), body, http.StatusUnauthorized},
			{"changed", signed, body + " ", http.StatusUnauthorized},
			{"truncated on the way", signed, body[:len(body)/2], http.StatusUnauthorized},
			{"truncated at the source", o.sign(path, broken, now), broken, http.StatusBadRequest},
			{"wrong content type", with("Content-Type", "text/plain"), body, http.StatusBadRequest},
			{"oversized", o.sign(path, large, now), large, http.StatusRequestEntityTooLarge},
		}
		for _, tt := range tests {
			status, _ := send(t, http.MethodPost, o.url+path, tt.header, tt.body)
			require.Equal(t, tt.status, status, "%s %s", path, tt.name)
		}
	}
	require.Empty(t, temporal.Calls(), "nothing reached Temporal")

	// The same requests, signed, do reach it, which shows that the ones above
	// were refused for the right reason. It does not answer, so they may come
	// again; once is enough for what is answered.
	for path, body := range genuine {
		before := len(temporal.Calls())
		status, _ := send(t, http.MethodPost, o.url+path, o.sign(path, body, now.Add(time.Second)), body)
		require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, status, path)
		require.Greater(t, len(temporal.Calls()), before, path)
	}
	require.NotContains(t, o.log.String(), o.SigningSecret())
}
