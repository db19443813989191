package pagerduty_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

func TestOpenListsEveryOpenIncident(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	for range 103 {
		trigger(t, s)
	}
	first := s.Incidents()[0].ID
	require.NoError(t, s.Resolve(first, "PADA"))
	pages, err := c.Open(t.Context())
	require.NoError(t, err)
	require.Len(t, pages, 102)
	require.Equal(t, incident.PageReconciled, pages[0].Kind)
	require.Equal(t, incident.Sev1, pages[0].Severity)
	require.Equal(t, "PSHOP", pages[0].ServiceID)
	require.Equal(t, "Checkout errors", pages[0].Title)
	require.NoError(t, pages[0].Validate())

	again, err := c.Open(t.Context())
	require.NoError(t, err)
	require.Equal(t, pages, again, "what has not changed is the same event")
	require.NoError(t, s.Acknowledge(pages[0].IncidentID, "PADA"))
	again, err = c.Open(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, pages[0].EventID, again[0].EventID, "and what has changed is another")
	require.Equal(t, pages[1].EventID, again[1].EventID)

	s.Inject(rest.Fault{Path: "/incidents", Status: 500, Times: 1})
	_, err = c.Open(t.Context())
	require.Error(t, err, "a partial list is no list")
}

func TestIncidentIsReadByID(t *testing.T) {
	t.Parallel()
	s := world(t)
	c, id := connect(t, s), trigger(t, s)
	trigger(t, s)

	page, open, err := c.Incident(t.Context(), id)
	require.NoError(t, err)
	require.True(t, open)
	listed, err := c.Open(t.Context())
	require.NoError(t, err)
	require.Equal(t, listed[0], page, "the same incident is the same event, however it was read")

	require.NoError(t, s.Acknowledge(id, "PADA"))
	acknowledged, open, err := c.Incident(t.Context(), id)
	require.NoError(t, err)
	require.True(t, open, "somebody is at it, and it is not over")
	require.Equal(t, incident.PageReconciled, acknowledged.Kind)
	require.NotEqual(t, page.EventID, acknowledged.EventID)

	// The webhook that says so is lost.
	require.NoError(t, s.Resolve(id, "PADA"))
	resolved, open, err := c.Incident(t.Context(), id)
	require.NoError(t, err)
	require.False(t, open)
	require.Equal(t, incident.PageResolved, resolved.Kind)
	require.NotEqual(t, acknowledged.EventID, resolved.EventID)
	require.Equal(t, id, resolved.IncidentID)
	stood, _ := s.Incident(id)
	require.WithinDuration(t, stood.ResolvedAt, resolved.OccurredAt, time.Second)
	require.NoError(t, resolved.Validate())
	again, _, err := c.Incident(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, resolved, again)

	require.NoError(t, s.Reopen(id, "PADA"))
	_, open, err = c.Incident(t.Context(), id)
	require.NoError(t, err)
	require.True(t, open)
}

// The end of an incident is dated by whatever was done to it last, so that no event
// that was delivered is later.
func TestResolvedIncidentIsDatedByItsLastChange(t *testing.T) {
	t.Parallel()
	day := func(n int) string { return time.Date(2026, 1, n, 10, 0, 0, 0, time.UTC).Format(time.RFC3339) }
	for _, tt := range []struct {
		name   string
		fields map[string]any
		want   string
	}{
		{name: "status change", fields: map[string]any{"last_status_change_at": day(3), "resolved_at": day(3), "updated_at": day(3)}, want: day(3)},
		{name: "note afterwards", fields: map[string]any{"last_status_change_at": day(3), "resolved_at": day(3), "updated_at": day(4)}, want: day(4)},
		{name: "resolution alone", fields: map[string]any{"resolved_at": day(5)}, want: day(5)},
		{name: "nothing but its beginning", want: day(2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			body := map[string]any{"id": "Q1", "type": "incident", "status": "resolved", "title": "x", "urgency": "high", "created_at": day(2)}
			maps.Copy(body, tt.fields)
			s.Inject(rest.Fault{Status: 200, Body: map[string]any{"incident": body}})
			page, open, err := connect(t, s).Incident(t.Context(), "Q1")
			require.NoError(t, err)
			require.False(t, open)
			require.Equal(t, tt.want, page.OccurredAt.Format(time.RFC3339))
		})
	}
}

// What can not be read is never taken for resolved: open is false beside an error
// too, and only the error tells them apart.
func TestIncidentThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	broken := func(id, status, created string) map[string]any {
		return map[string]any{"incident": map[string]any{"id": id, "type": "incident", "status": status, "title": "x", "created_at": created, "urgency": "high"}}
	}
	now := time.Now().UTC().Format(time.RFC3339)
	for _, tt := range []struct {
		name  string
		id    string
		fault *rest.Fault
		final error
	}{
		{name: "unknown", id: "QNONE", final: driver.ErrNotFound},
		{name: "no identifier", id: "../users", final: driver.ErrInvalid},
		{name: "down", fault: &rest.Fault{Status: 500}},
		{name: "cut off", fault: &rest.Fault{DropReply: true}},
		{name: "another incident", fault: &rest.Fault{Status: 200, Body: broken("QOTHER", "resolved", now)}},
		{name: "nothing", fault: &rest.Fault{Status: 200, Body: map[string]any{}}},
		{name: "no time", fault: &rest.Fault{Status: 200, Body: broken("", "resolved", "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			c, id := connect(t, s), trigger(t, s)
			if tt.id != "" {
				id = tt.id
			}
			if tt.fault != nil {
				if body, ok := tt.fault.Body.(map[string]any); ok {
					if i, ok := body["incident"].(map[string]any); ok && i["id"] == "" {
						i["id"] = id
					}
				}
				s.Inject(*tt.fault)
			}
			page, _, err := c.Incident(t.Context(), id)
			require.Error(t, err)
			require.Zero(t, page)
			require.NotContains(t, err.Error(), canary)
			if tt.final != nil {
				require.ErrorIs(t, err, tt.final)
			} else {
				require.False(t, driver.Final(err), err)
			}
		})
	}
}

// An account without priorities says only how urgent an incident is.
func TestUrgencyStandsForAMissingPriority(t *testing.T) {
	t.Parallel()
	s := world(t)
	for _, urgency := range []string{"high", "low"} {
		_, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Errors", Urgency: urgency})
		require.NoError(t, err)
	}
	for _, tt := range []struct {
		name string
		set  incident.Severity
		want []incident.Severity
	}{
		{name: "default", want: []incident.Severity{incident.Sev3, incident.Sev4}},
		{name: "configured", set: incident.Sev2, want: []incident.Severity{incident.Sev2, incident.Sev4}},
	} {
		c := connect(t, s, func(o *pagerduty.Options) { o.Severities.HighUrgency = tt.set })
		pages, err := c.Open(t.Context())
		require.NoError(t, err)
		require.Equal(t, tt.want, []incident.Severity{pages[0].Severity, pages[1].Severity}, tt.name)
	}
}

func TestNoteIsAddedOnce(t *testing.T) {
	t.Parallel()
	s := world(t)
	c, id := connect(t, s), trigger(t, s)
	s.Inject(rest.Fault{Method: http.MethodPost, Path: "/incidents/{id}/notes", DropReply: true, Times: 1})
	require.Error(t, c.Note(t.Context(), id, "pagerduty/Q1/e7", "Rolled back"), "the answer is lost")
	require.NoError(t, c.Note(t.Context(), id, "pagerduty/Q1/e7", "Rolled back"))
	require.NoError(t, c.Note(t.Context(), id, "pagerduty/Q1/e77", "Another"))
	i, _ := s.Incident(id)
	require.Len(t, i.Notes, 2)
	require.Equal(t, "Rolled back\n[pagerduty/Q1/e7]", i.Notes[0].Content)
	require.Equal(t, "PBOT", i.Notes[0].UserID)
}
