package fakepagerduty_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/PagerDuty/go-pagerduty"
	"github.com/stretchr/testify/require"

	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// newWorld starts a stand-in with a shop's people and services, and asserts
// at the end that none of its answers broke PagerDuty's document.
func newWorld(t *testing.T, cfg fakepagerduty.Config) *fakepagerduty.Server {
	t.Helper()
	cfg.RoutingKeys = map[string]string{"R1": "PSHOP"}
	if cfg.WebhookRetry == 0 {
		cfg.WebhookRetry = time.Millisecond
	}
	s, err := fakepagerduty.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close()
		require.Empty(t, s.Violations())
	})
	s.AddUser(fakepagerduty.User{ID: "PADA", Name: "Ada Lovelace", Email: "ada@example.com"})
	s.AddUser(fakepagerduty.User{ID: "PBOB", Name: "Bob Kahn", Email: "bob@example.com"})
	s.AddUser(fakepagerduty.User{ID: "PBOT", Name: "Backout", Email: "backout@example.com"})
	s.AddSchedule(fakepagerduty.Schedule{ID: "PROTA", Name: "Rota", Shifts: []fakepagerduty.Shift{
		{UserID: "PADA", Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour)},
		{UserID: "PBOB", Start: time.Now().Add(time.Hour), End: time.Now().Add(2 * time.Hour)},
	}})
	s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOL", Name: "Shop", Levels: []fakepagerduty.Level{
		{Schedules: []string{"PROTA"}}, {Users: []string{"PBOB"}},
	}})
	s.AddService(fakepagerduty.Service{ID: "PSHOP", Name: "checkout", PolicyID: "PPOL"})
	s.AddPriority(fakepagerduty.Priority{ID: "PP1", Name: "P1"})
	return s
}

func client(s *fakepagerduty.Server) *pagerduty.Client {
	return pagerduty.NewClient("pd-token", pagerduty.WithAPIEndpoint(s.URL()), pagerduty.WithV2EventsAPIEndpoint(s.URL()))
}

func TestRealClientReadsEverything(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	c, ctx := client(s), t.Context()
	i, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Checkout errors", PriorityID: "PP1"})
	require.NoError(t, err)

	got, err := c.GetIncidentWithContext(ctx, i.ID)
	require.NoError(t, err)
	require.Equal(t, "triggered", got.Status)
	require.Equal(t, "P1", got.Priority.Summary)
	require.Equal(t, "PADA", got.Assignments[0].Assignee.ID)

	onCalls, err := c.ListOnCallsWithContext(ctx, pagerduty.ListOnCallOptions{EscalationPolicyIDs: []string{"PPOL"}, Includes: []string{"users"}})
	require.NoError(t, err)
	require.Len(t, onCalls.OnCalls, 2)
	require.Equal(t, "ada@example.com", onCalls.OnCalls[0].User.Email)
	require.Equal(t, uint(2), onCalls.OnCalls[1].EscalationLevel)

	user, err := c.GetUserWithContext(ctx, "PBOB", pagerduty.GetUserOptions{})
	require.NoError(t, err)
	require.Equal(t, "bob@example.com", user.Email)
	users, err := c.ListUsersWithContext(ctx, pagerduty.ListUsersOptions{Query: "ada@example.com"})
	require.NoError(t, err)
	require.Len(t, users.Users, 1)
	service, err := c.GetServiceWithContext(ctx, "PSHOP", &pagerduty.GetServiceOptions{})
	require.NoError(t, err)
	require.Equal(t, "PPOL", service.EscalationPolicy.ID)
	services, err := c.ListServicesWithContext(ctx, pagerduty.ListServiceOptions{Query: "check"})
	require.NoError(t, err)
	require.Len(t, services.Services, 1)
	policy, err := c.GetEscalationPolicyWithContext(ctx, "PPOL", &pagerduty.GetEscalationPolicyOptions{})
	require.NoError(t, err)
	require.Len(t, policy.EscalationRules, 2)
	rota, err := c.ListOnCallUsersWithContext(ctx, "PROTA", pagerduty.ListOnCallUsersOptions{})
	require.NoError(t, err)
	require.Len(t, rota, 1)
	alerts, err := c.ListIncidentAlertsWithContext(ctx, i.ID, pagerduty.ListIncidentAlertsOptions{})
	require.NoError(t, err)
	require.Len(t, alerts.Alerts, 1)
}

func TestRealClientChangesIncidents(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	c, ctx := client(s), t.Context()
	created, err := c.CreateIncidentWithContext(ctx, "ada@example.com", &pagerduty.CreateIncidentOptions{
		Title: "Checkout errors", Service: &pagerduty.APIReference{ID: "PSHOP", Type: "service_reference"},
		Priority: &pagerduty.APIReference{ID: "PP1", Type: "priority_reference"},
		Body:     &pagerduty.APIDetails{Type: "incident_body", Details: "5xx"}, IncidentKey: "k1",
	})
	require.NoError(t, err)

	_, err = c.CreateIncidentNoteWithContext(ctx, created.ID, pagerduty.IncidentNote{Content: "Looking", User: pagerduty.APIObject{Summary: "ada@example.com"}})
	require.NoError(t, err)
	notes, err := c.ListIncidentNotesWithContext(ctx, created.ID)
	require.NoError(t, err)
	require.Equal(t, "Looking", notes[0].Content)

	_, err = c.ResponderRequestWithContext(ctx, created.ID, pagerduty.ResponderRequestOptions{
		From: "ada@example.com", Message: "Please help", RequesterID: "PADA",
		Targets: []pagerduty.ResponderRequestTargetWrapper{{Target: pagerduty.ResponderRequestTarget{APIObject: pagerduty.APIObject{ID: "PBOB", Type: "user_reference"}}}},
	})
	require.NoError(t, err)
	_, err = c.CreateIncidentStatusUpdate(ctx, created.ID, "ada@example.com", "Rolling back")
	require.NoError(t, err)
	_, err = c.ManageIncidentsWithContext(ctx, "ada@example.com", []pagerduty.ManageIncidentsOptions{{ID: created.ID, EscalationLevel: 2}})
	require.NoError(t, err)
	i, _ := s.Incident(created.ID)
	require.Equal(t, 2, i.Level)
	require.Equal(t, []string{"PBOB"}, i.Assignees)
	require.Equal(t, []string{"PBOB"}, i.Requests[0].Targets)
	require.Equal(t, "Rolling back", i.Updates[0].Message)

	_, err = c.ManageIncidentsWithContext(ctx, "ada@example.com", []pagerduty.ManageIncidentsOptions{{ID: created.ID, EscalationLevel: 3}})
	require.Error(t, err, "the policy has two levels")
	_, err = c.ManageIncidentsWithContext(ctx, "ada@example.com", []pagerduty.ManageIncidentsOptions{{ID: created.ID, Status: "resolved"}})
	require.NoError(t, err)
	_, err = c.ManageIncidentsWithContext(ctx, "ada@example.com", []pagerduty.ManageIncidentsOptions{{ID: created.ID, Status: "acknowledged"}})
	require.ErrorContains(t, err, "Incident Already Resolved")
}

func TestRealClientRefusedOnNullPriority(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	_, err := client(s).CreateIncidentWithContext(t.Context(), "ada@example.com", &pagerduty.CreateIncidentOptions{
		Title: "No priority", Service: &pagerduty.APIReference{ID: "PSHOP", Type: "service_reference"},
	})
	var apiErr pagerduty.APIError
	require.ErrorAs(t, err, &apiErr)
	require.Equal(t, http.StatusBadRequest, apiErr.StatusCode)
	require.Empty(t, s.Incidents())
	require.Contains(t, s.Calls("POST /incidents")[0].Problems, rest.Problem{Field: "incident.priority", Code: rest.Null, In: "body"})
}

func TestEventsAPI(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	c, ctx := client(s), t.Context()
	event := &pagerduty.V2Event{RoutingKey: "R1", Action: "trigger", DedupKey: "d1", Payload: &pagerduty.V2Payload{Summary: "Down", Source: "probe", Severity: "critical"}}
	for range 2 {
		_, err := c.ManageEventWithContext(ctx, event)
		require.NoError(t, err)
	}
	require.Len(t, s.Incidents(), 1, "the dedup key joins")
	_, err := c.ManageEventWithContext(ctx, &pagerduty.V2Event{RoutingKey: "R1", Action: "resolve", DedupKey: "d1"})
	require.NoError(t, err)
	require.Equal(t, fakepagerduty.Resolved, s.Incidents()[0].Status)
	_, err = c.ManageEventWithContext(ctx, &pagerduty.V2Event{RoutingKey: "nope", Action: "trigger", Payload: event.Payload})
	require.Error(t, err)
	_, err = c.CreateChangeEventWithContext(ctx, pagerduty.ChangeEvent{RoutingKey: "R1", Payload: pagerduty.ChangeEventPayload{
		Summary: "Deployed v42", Source: "ci", Timestamp: "2026-01-02T03:04:05Z", CustomDetails: map[string]any{"sha": "abc"},
	}})
	require.NoError(t, err)

	status, body := send(t, s, http.MethodGet, "/services/PSHOP/change_events?since=2026-01-01T00:00:00Z", "", nil)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, "Deployed v42")
	_, body = send(t, s, http.MethodGet, "/services/PSHOP/change_events?since=2026-02-01T00:00:00Z", "", nil)
	require.NotContains(t, body, "Deployed v42")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	i, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Errors", Key: "k"})
	require.NoError(t, err)
	from := map[string]string{"From": "ada@example.com"}
	tests := []struct {
		name, method, path, body string
		header                   map[string]string
		status                   int
		detail                   string
	}{
		{name: "wrong token", method: "GET", path: "/incidents", header: map[string]string{"Authorization": "Token token=other"}, status: 401, detail: "Authentication failed"},
		{name: "no token", method: "GET", path: "/incidents", header: map[string]string{"Authorization": ""}, status: 401},
		{name: "unknown parameter", method: "GET", path: "/incidents?state=open", status: 400, detail: "query state: unknown"},
		{name: "bad status filter", method: "GET", path: "/incidents?statuses[]=open", status: 400, detail: "enum"},
		{name: "bad limit", method: "GET", path: "/incidents?limit=ten", status: 400, detail: "type"},
		{name: "offset past the end of what PagerDuty pages", method: "GET", path: "/incidents?offset=10000", status: 400},
		{name: "bad time", method: "GET", path: "/incidents?since=yesterday", status: 400, detail: "date format"},
		{name: "unknown path", method: "GET", path: "/incident", status: 404, detail: "Not Found"},
		{name: "unknown incident", method: "GET", path: "/incidents/QNONE", status: 404, detail: "2100"},
		{name: "wrong method", method: "DELETE", path: "/incidents", status: 405},
		{name: "no From", method: "POST", path: "/incidents/" + i.ID + "/notes", body: `{"note":{"content":"x"}}`, status: 400, detail: "header From: missing"},
		{name: "unknown From", method: "POST", path: "/incidents/" + i.ID + "/notes", header: map[string]string{"From": "eve@example.com"}, body: `{"note":{"content":"x"}}`, status: 400, detail: "Requester User Not Found"},
		{name: "empty note", method: "POST", path: "/incidents/" + i.ID + "/notes", header: from, body: `{"note":{"content":" "}}`, status: 400},
		{name: "no body", method: "POST", path: "/incidents/" + i.ID + "/notes", header: from, status: 400, detail: "body: missing"},
		{name: "not JSON", method: "POST", path: "/incidents/" + i.ID + "/notes", header: from, body: `{"note":`, status: 400},
		{name: "unknown field", method: "PUT", path: "/incidents/" + i.ID, header: from, body: `{"incident":{"type":"incident","state":"x"}}`, status: 400, detail: "incident.state: unknown"},
		{name: "unknown status", method: "PUT", path: "/incidents/" + i.ID, header: from, body: `{"incident":{"type":"incident","status":"closed"}}`, status: 400, detail: "enum"},
		{name: "open key twice", method: "POST", path: "/incidents", header: from, body: `{"incident":{"type":"incident","title":"x","service":{"id":"PSHOP","type":"service_reference"},"incident_key":"k"}}`, status: 400, detail: "already exists"},
		{name: "service missing", method: "POST", path: "/incidents", header: from, body: `{"incident":{"type":"incident","title":"x"}}`, status: 400, detail: "incident.service: missing"},
		{name: "responder unknown", method: "POST", path: "/incidents/" + i.ID + "/responder_requests", header: from, body: `{"requester_id":"PADA","message":"m","responder_request_targets":[{"responder_request_target":{"id":"PX","type":"user_reference"}}]}`, status: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, body := send(t, s, tt.method, tt.path, tt.body, tt.header)
			require.Equal(t, tt.status, status, body)
			var envelope struct {
				Error struct {
					Code    int
					Message string
				}
			}
			require.NoError(t, json.Unmarshal([]byte(body), &envelope))
			require.NotZero(t, envelope.Error.Code)
			require.NotEmpty(t, envelope.Error.Message)
			require.Contains(t, body, tt.detail)
		})
	}
}

func TestPagination(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	for range 105 {
		_, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Errors"})
		require.NoError(t, err)
	}
	c := client(s)
	first, err := c.ListIncidentsWithContext(t.Context(), pagerduty.ListIncidentsOptions{Limit: 1000, Statuses: []string{"triggered", "acknowledged"}})
	require.NoError(t, err)
	require.Len(t, first.Incidents, 100, "PagerDuty caps a page at 100")
	require.True(t, first.More)
	rest, err := c.ListIncidentsWithContext(t.Context(), pagerduty.ListIncidentsOptions{Limit: 100, Offset: 100, Total: true})
	require.NoError(t, err)
	require.Len(t, rest.Incidents, 5)
	require.False(t, rest.More)
	require.Equal(t, uint(105), rest.Total)
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{RequestsPerMinute: 2})
	for range 2 {
		status, _ := send(t, s, http.MethodGet, "/incidents", "", nil)
		require.Equal(t, http.StatusOK, status)
	}
	req := request(t, s, http.MethodGet, "/incidents", "", nil)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Ratelimit-Reset"))
	require.Empty(t, resp.Header.Get("Retry-After"), "PagerDuty sends none")
	require.Equal(t, "0", resp.Header.Get("Ratelimit-Remaining"))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	i, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Errors"})
	require.NoError(t, err)
	note := "/incidents/{id}/notes"
	post := func() (int, error) {
		resp, err := http.DefaultClient.Do(request(t, s, http.MethodPost, "/incidents/"+i.ID+"/notes", `{"note":{"content":"x"}}`, map[string]string{"From": "ada@example.com"}))
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	s.Inject(rest.Fault{Method: http.MethodPost, Path: note, Status: 503, RetryAfter: 7 * time.Second, Times: 1})
	s.Inject(rest.Fault{Method: http.MethodPost, Path: note, Drop: true, Times: 1})
	s.Inject(rest.Fault{Method: http.MethodPost, Path: note, DropReply: true, Times: 1})

	status, err := post()
	require.NoError(t, err)
	require.Equal(t, 503, status)
	_, err = post()
	require.Error(t, err)
	got, _ := s.Incident(i.ID)
	require.Empty(t, got.Notes, "nothing took effect so far")
	_, err = post()
	require.Error(t, err, "the answer is lost")
	got, _ = s.Incident(i.ID)
	require.Len(t, got.Notes, 1, "and the effect is not")
	status, err = post()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)

	remove := s.Inject(rest.Fault{Status: 500})
	status, err = post()
	require.NoError(t, err)
	require.Equal(t, 500, status)
	remove()
	status, err = post()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
}

func TestListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "localhost"} {
		_, err := fakepagerduty.New(fakepagerduty.Config{Addr: addr})
		require.Error(t, err, addr)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := newWorld(t, fakepagerduty.Config{})
	i, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "<script>alert(1)</script>"})
	require.NoError(t, err)
	require.NoError(t, s.Annotate(i.ID, "PADA", "a note & more"))
	status, body := send(t, s, http.MethodGet, "/", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, body, "<script>")
	require.Contains(t, body, "&lt;script&gt;")
	require.Contains(t, body, "a note &amp; more")
}

func request(t *testing.T, s *fakepagerduty.Server, method, path, body string, header map[string]string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Token token=pd-token")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return req
}

func send(t *testing.T, s *fakepagerduty.Server, method, path, body string, header map[string]string) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(request(t, s, method, path, body, header))
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(data)
}

// within bounds a wait that never happens in a passing run.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
