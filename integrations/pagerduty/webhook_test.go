package pagerduty_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/workflows/incident"
)

// event is a webhook in the form of PagerDuty's documentation.
func event(kind, data string) string {
	return `{"event":{"id":"01ABC","event_type":"` + kind + `","resource_type":"incident","occurred_at":"2020-10-02T18:45:22.169Z","agent":null,"client":{"name":"PagerDuty"},"data":` + data + `}}`
}

const incidentData = `{"id":"PGR0VU2","type":"incident","html_url":"https://acme.pagerduty.com/incidents/PGR0VU2","number":2,"status":"triggered",
 "created_at":"2020-04-09T15:16:27Z","title":"A little bump in the road","service":{"id":"PF9KMXH","summary":"API Service","type":"service_reference"},
 "priority":{"id":"PSO75BM","summary":"P1","type":"priority_reference"},"urgency":"high","resolve_reason":null}`

func TestParseWebhook(t *testing.T) {
	t.Parallel()
	page := incident.Page{
		EventID: "01ABC", Source: incident.SourcePagerDuty, Kind: incident.PageTriggered, IncidentID: "PGR0VU2",
		Title: "A little bump in the road", Severity: incident.Sev1, ServiceID: "PF9KMXH", URL: "https://acme.pagerduty.com/incidents/PGR0VU2",
		OccurredAt: time.Date(2020, 10, 2, 18, 45, 22, 169e6, time.UTC), OpenedAt: time.Date(2020, 4, 9, 15, 16, 27, 0, time.UTC),
	}
	with := func(change func(*incident.Page)) incident.Page {
		p := page
		change(&p)
		return p
	}
	replace := strings.NewReplacer
	tests := []struct {
		name, body string
		kind       pagerduty.WebhookKind
		page       incident.Page
		bad        bool
	}{
		{name: "triggered", body: event("incident.triggered", incidentData), kind: pagerduty.WebhookPage, page: page},
		{name: "resolved", body: event("incident.resolved", incidentData), kind: pagerduty.WebhookPage, page: with(func(p *incident.Page) { p.Kind = incident.PageResolved })},
		{name: "unknown event about an incident", body: event("incident.teleported", incidentData), kind: pagerduty.WebhookPage, page: with(func(p *incident.Page) { p.Kind = incident.PageNoted })},
		{name: "no priority", body: event("incident.triggered", replace(`{"id":"PSO75BM","summary":"P1","type":"priority_reference"}`, "null").Replace(incidentData)), kind: pagerduty.WebhookPage, page: with(func(p *incident.Page) { p.Severity = incident.Sev3 })},
		{name: "unknown priority and low urgency", body: event("incident.triggered", replace(`"P1"`, `"Boss"`, `"high"`, `"low"`).Replace(incidentData)), kind: pagerduty.WebhookPage, page: with(func(p *incident.Page) { p.Severity = incident.Sev4 })},
		{name: "address that is no web address", body: event("incident.triggered", replace("https://acme.pagerduty.com/incidents/PGR0VU2", "javascript:alert(1)").Replace(incidentData)), kind: pagerduty.WebhookPage, page: with(func(p *incident.Page) { p.URL = "" })},
		{name: "long title", body: event("incident.triggered", replace("A little bump", strings.Repeat("é", 300)).Replace(incidentData)), kind: pagerduty.WebhookPage, page: with(func(p *incident.Page) { p.Title = strings.Repeat("é", 249) + "…" })},
		{name: "ping", body: event("pagey.ping", `{"message":"Hello","type":"ping"}`), kind: pagerduty.WebhookPing},
		{name: "note", body: event("incident.annotated", `{"id":"P2LA89X","type":"incident_note","content":"x","incident":{"id":"PGR0VU2"}}`), kind: pagerduty.WebhookOther},
		{name: "a page about another incident", body: event("incident.triggered", replace(`"urgency"`, `"incident_key":"backout/notice/sha256:00","urgency"`).Replace(incidentData)), kind: pagerduty.WebhookOther},
		{name: "another key", body: event("incident.triggered", replace(`"urgency"`, `"incident_key":"x/backout/notice/","urgency"`).Replace(incidentData)), kind: pagerduty.WebhookPage, page: page},
		{name: "service", body: event("service.updated", `{"id":"PF9KMXH","type":"service"}`), kind: pagerduty.WebhookOther},
		{name: "not JSON", body: "event", bad: true},
		{name: "truncated", body: event("incident.triggered", incidentData)[:100], bad: true},
		{name: "two documents", body: event("pagey.ping", "{}") + "{}", bad: true},
		{name: "no event", body: "{}", bad: true},
		{name: "no type", body: event("", incidentData), bad: true},
		{name: "triggered without an incident", body: event("incident.triggered", `{"type":"service"}`), bad: true},
		{name: "no incident ID", body: event("incident.triggered", `{"type":"incident","title":"x"}`), bad: true},
		{name: "incident ID that is a path", body: event("incident.triggered", `{"type":"incident","id":"../x"}`), bad: true},
		{name: "no time", body: strings.Replace(event("incident.triggered", incidentData), `"occurred_at":"2020-10-02T18:45:22.169Z",`, "", 1), bad: true},
		{name: "too large", body: event("pagey.ping", `{"message":"`+strings.Repeat("x", pagerduty.MaxWebhook)+`"}`), bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, err := pagerduty.ParseWebhook([]byte(tt.body), pagerduty.Severities{})
			if tt.bad {
				require.ErrorIs(t, err, pagerduty.ErrWebhook)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.kind, w.Kind)
			require.Equal(t, tt.page, w.Page)
			require.Equal(t, "01ABC", w.EventID)
		})
	}
}

func TestSeverities(t *testing.T) {
	t.Parallel()
	s := pagerduty.Severities{Priorities: map[string]incident.Severity{"Critical": incident.Sev1, "P1": incident.Sev2}, HighUrgency: incident.Sev2}
	require.Equal(t, incident.Sev1, s.Of("critical", "low"))
	require.Equal(t, incident.Sev2, s.Of("P1", "low"), "the configuration wins")
	require.Equal(t, incident.Sev2, s.Of("", "high"))
	for _, name := range []string{"SEV-3", "sev3", "Sev 3", "SEV_3", "P3"} {
		require.Equal(t, incident.Sev3, s.Of(name, "low"), name)
	}
	require.Equal(t, incident.Sev4, s.Of("", ""))
}

// TestWebhooksOfTheStandIn proves that what is delivered passes verification
// and parsing as it arrives.
func TestWebhooksOfTheStandIn(t *testing.T) {
	t.Parallel()
	s := world(t)
	sub := s.Subscribe(fakepagerduty.SubscriptionOptions{URL: "http://127.0.0.1:1", Secrets: []string{"one", "two"}, Spaced: true})
	sub.Hold()
	i, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Errors", PriorityID: "PP1"})
	require.NoError(t, err)
	require.NoError(t, s.Acknowledge(i.ID, "PADA"))
	require.NoError(t, s.Annotate(i.ID, "PADA", "note"))
	require.NoError(t, s.Resolve(i.ID, "PADA"))
	s.Ping()
	var kinds []incident.PageKind
	sub.Release(func(events []fakepagerduty.Event) []fakepagerduty.Event {
		for _, e := range events {
			require.NoError(t, pagerduty.VerifySignature([][]byte{[]byte("two")}, fakepagerduty.Sign(e.Body, true, "one", "two"), e.Body))
			w, err := pagerduty.ParseWebhook(e.Body, pagerduty.Severities{})
			require.NoError(t, err)
			kinds = append(kinds, w.Page.Kind)
			if w.Kind == pagerduty.WebhookPage {
				require.Equal(t, i.ID, w.Page.IncidentID)
				require.Equal(t, incident.Sev1, w.Page.Severity)
				require.Equal(t, "PSHOP", w.Page.ServiceID)
			}
		}
		return nil
	})
	require.Equal(t, []incident.PageKind{incident.PageTriggered, incident.PageAcknowledged, "", incident.PageResolved, ""}, kinds)
}
