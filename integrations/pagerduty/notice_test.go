package pagerduty_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

func TestPageService(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	sub := s.Subscribe(fakepagerduty.SubscriptionOptions{URL: "http://127.0.0.1:1", Secrets: []string{"one"}})
	sub.Hold()
	long := strings.Repeat("é", 300)
	require.NoError(t, c.PageService(t.Context(), "PSHOP", "pagerduty/Q1/d1", "BREAK-GLASS "+long, "All of it\nis down."))
	all := s.Incidents()
	require.Len(t, all, 1)
	require.Equal(t, "PSHOP", all[0].ServiceID)
	require.Equal(t, "high", all[0].Urgency)
	require.Equal(t, []string{"PADA"}, all[0].Assignees, "who is on call there is paged")
	require.Len(t, []rune(all[0].Title), incident.MaxTitle)
	require.Equal(t, "All of it\nis down.", all[0].Details)

	require.NoError(t, c.PageService(t.Context(), "PSHOP", "pagerduty/Q1/d1", "BREAK-GLASS", "x"), "a retry")
	require.NoError(t, s.Resolve(all[0].ID, "PADA"))
	require.NoError(t, c.PageService(t.Context(), "PSHOP", "pagerduty/Q1/d1", "BREAK-GLASS", "x"), "a retry after they have dealt with it")
	require.Len(t, s.Incidents(), 1)
	require.Len(t, s.Calls("POST /incidents"), 1)

	require.NoError(t, c.PageService(t.Context(), "PBARE", "pagerduty/Q1/d1", "BREAK-GLASS", "x"), "another service")
	require.NoError(t, c.PageService(t.Context(), "PSHOP", "pagerduty/Q1/d2", "BREAK-GLASS", "x"), "another cause")
	require.Len(t, s.Incidents(), 3)

	pages, err := c.Open(t.Context())
	require.NoError(t, err)
	require.Empty(t, pages, "none of them is an incident to be rolled back")
	sub.Release(func(events []fakepagerduty.Event) []fakepagerduty.Event {
		require.NotEmpty(t, events)
		for _, e := range events {
			w, err := pagerduty.ParseWebhook(e.Body, pagerduty.Severities{})
			require.NoError(t, err)
			require.Equal(t, pagerduty.WebhookOther, w.Kind)
		}
		return nil
	})
}

func TestPageServiceSurvivesLostResponses(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	s.Inject(rest.Fault{Method: http.MethodPost, Path: "/incidents", DropReply: true, Times: 1})
	err := c.PageService(t.Context(), "PSHOP", "d1", "BREAK-GLASS", "x")
	require.Error(t, err)
	require.False(t, driver.Final(err), "it is tried again")
	require.NoError(t, c.PageService(t.Context(), "PSHOP", "d1", "BREAK-GLASS", "x"))
	require.Len(t, s.Incidents(), 1)
}

// Two attempts may look at the same time and find nothing: PagerDuty takes one of
// them, and the other one finds what the first has done.
func TestPageServiceTwiceAtOnce(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- c.PageService(t.Context(), "PSHOP", "d1", "BREAK-GLASS", "x") }()
	}
	for range cap(errs) {
		require.NoError(t, <-errs)
	}
	require.Len(t, s.Incidents(), 1)
}

func TestPageServiceRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name               string
		service, id, title string
		from               string
		fault              rest.Fault
		want               error
		says               string
	}{
		{name: "no such service", service: "PNONE", id: "d1", title: "x", want: driver.ErrInvalid, says: "Service not found"},
		{name: "a path for a service", service: "../x", id: "d1", title: "x", want: driver.ErrInvalid, says: "not an identifier"},
		{name: "no id", service: "PSHOP", title: "x", want: driver.ErrInvalid, says: "no id or no title"},
		{name: "no title", service: "PSHOP", id: "d1", title: " ", want: driver.ErrInvalid, says: "no id or no title"},
		{name: "a sender whom PagerDuty does not know", service: "PSHOP", id: "d1", title: "x", from: "nobody@example.com", want: driver.ErrInvalid, says: "Requester User Not Found"},
		{name: "a token that may not", service: "PSHOP", id: "d1", title: "x", fault: rest.Fault{Method: http.MethodPost, Path: "/incidents", Status: http.StatusForbidden, Times: 1}, want: driver.ErrDenied, says: "403"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			c := connect(t, s, func(o *pagerduty.Options) {
				if tt.from != "" {
					o.From = tt.from
				}
			})
			if tt.fault.Status != 0 {
				s.Inject(tt.fault)
			}
			err := c.PageService(t.Context(), tt.service, tt.id, tt.title, "x")
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), canary)
			require.Empty(t, s.Incidents())
		})
	}
}
