package pagerduty_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

// canary is the token; no error may hold it.
const canary = "u+CANARY-c0ffee"

// The port that the product's activities declare.
var _ interface {
	Escalate(ctx context.Context, incidentID, reason string) error
	Note(ctx context.Context, incidentID, id, text string) error
	Open(ctx context.Context) ([]incident.Page, error)
	OnCall(ctx context.Context, serviceID string) ([]incident.Person, error)
} = (*pagerduty.Client)(nil)

func world(t *testing.T) *fakepagerduty.Server {
	t.Helper()
	s, err := fakepagerduty.New(fakepagerduty.Config{Token: canary, WebhookRetry: time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close()
		require.Empty(t, s.Violations())
	})
	for _, u := range []fakepagerduty.User{
		{ID: "PADA", Name: "Ada Lovelace", Email: "Ada@example.com"},
		{ID: "PBOB", Name: "Bob Kahn", Email: "bob@example.com"},
		{ID: "PEVE", Name: "Eve", Email: "eve@example.com"},
		{ID: "PBOT", Name: "Backout", Email: "backout@example.com"},
		{ID: "PBOT2", Name: "Other", Email: "notbackout@example.com"},
	} {
		s.AddUser(u)
	}
	now := time.Now()
	s.AddSchedule(fakepagerduty.Schedule{ID: "PROTA", Name: "Rota", Shifts: []fakepagerduty.Shift{
		{UserID: "PADA", Start: now.Add(-time.Hour), End: now.Add(time.Hour)}, {UserID: "PEVE", Start: now.Add(time.Hour), End: now.Add(2 * time.Hour)},
	}})
	s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOL", Name: "Shop", Levels: []fakepagerduty.Level{{Schedules: []string{"PROTA"}, Users: []string{"PADA"}}, {Users: []string{"PBOB"}}}})
	s.AddService(fakepagerduty.Service{ID: "PSHOP", Name: "checkout", PolicyID: "PPOL"})
	s.AddSchedule(fakepagerduty.Schedule{ID: "PNIGHT", Name: "Night"})
	s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PQUIET", Name: "Quiet", Levels: []fakepagerduty.Level{{Schedules: []string{"PNIGHT"}}}})
	s.AddService(fakepagerduty.Service{ID: "PBARE", Name: "bare", PolicyID: "PQUIET"})
	s.AddPriority(fakepagerduty.Priority{ID: "PP1", Name: "P1"})
	return s
}

func connect(t *testing.T, s *fakepagerduty.Server, change ...func(*pagerduty.Options)) *pagerduty.Client {
	t.Helper()
	o := pagerduty.Options{URL: s.URL(), Token: canary, From: "backout@example.com"}
	for _, f := range change {
		f(&o)
	}
	c, err := pagerduty.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func trigger(t *testing.T, s *fakepagerduty.Server) string {
	t.Helper()
	i, err := s.Trigger(fakepagerduty.TriggerOptions{ServiceID: "PSHOP", Title: "Checkout errors", PriorityID: "PP1"})
	require.NoError(t, err)
	return i.ID
}

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

func TestEscalate(t *testing.T) {
	t.Parallel()
	s := world(t)
	now := time.Now()
	c, id := connect(t, s, func(o *pagerduty.Options) { o.Now = func() time.Time { return now } }), trigger(t, s)
	require.NoError(t, c.Escalate(t.Context(), id, "nobody decided"))
	i, _ := s.Incident(id)
	require.Equal(t, 2, i.Level)
	require.Equal(t, []string{"PBOB"}, i.Assignees)
	require.Contains(t, i.Notes[0].Content, "Backout pages level 2: nobody decided")

	require.NoError(t, c.Escalate(t.Context(), id, "nobody decided"), "a retry")
	i, _ = s.Incident(id)
	require.Equal(t, 2, i.Level)
	require.Len(t, i.Notes, 1)
	require.Empty(t, i.Requests)

	// The same reason later goes on, and past the last level everybody is asked.
	now = now.Add(2 * time.Minute)
	require.NoError(t, c.Escalate(t.Context(), id, "nobody decided"))
	i, _ = s.Incident(id)
	require.Equal(t, 2, i.Level)
	require.Len(t, i.Requests, 1)
	require.Equal(t, []string{"PPOL"}, i.Requests[0].Targets)
	require.Equal(t, "PBOT", i.Requests[0].RequesterID)
	require.NoError(t, s.Resolve(id, "PADA"))
	require.ErrorIs(t, c.Escalate(t.Context(), id, "again"), driver.ErrInvalid)
}

func TestEscalateSurvivesLostResponses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/incidents", "/incidents/{id}/notes"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOL", Name: "Shop", Levels: []fakepagerduty.Level{{Users: []string{"PADA"}}, {Users: []string{"PBOB"}}, {Users: []string{"PEVE"}}}})
			c, id := connect(t, s), trigger(t, s)
			method := http.MethodPut
			if path != "/incidents" {
				method = http.MethodPost
			}
			s.Inject(rest.Fault{Method: method, Path: path, DropReply: true, Times: 1})
			err := c.Escalate(t.Context(), id, "stuck")
			require.Error(t, err)
			require.False(t, driver.Final(err))
			require.NoError(t, c.Escalate(t.Context(), id, "stuck"))
			i, _ := s.Incident(id)
			require.Equal(t, 2, i.Level, "one level, not two")
			require.Len(t, i.Notes, 1)
		})
	}
	t.Run("responder request", func(t *testing.T) {
		t.Parallel()
		s := world(t)
		s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOL", Name: "Shop", Levels: []fakepagerduty.Level{{Users: []string{"PADA"}}}})
		c, id := connect(t, s), trigger(t, s)
		s.Inject(rest.Fault{Path: "/incidents/{id}/responder_requests", DropReply: true, Times: 1})
		require.Error(t, c.Escalate(t.Context(), id, "stuck"))
		require.NoError(t, c.Escalate(t.Context(), id, "stuck"))
		i, _ := s.Incident(id)
		require.Len(t, i.Requests, 1)
	})
}

func TestOnCall(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	people, err := c.OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Equal(t, []incident.Person{
		{ID: "ada@example.com", Name: "Ada Lovelace", Email: "ada@example.com", PagerDutyID: "PADA"},
		{ID: "bob@example.com", Name: "Bob Kahn", Email: "bob@example.com", PagerDutyID: "PBOB"},
	}, people, "each once, and nobody whose shift comes later")
	people, err = c.OnCall(t.Context(), "PBARE")
	require.NoError(t, err)
	require.Empty(t, people)
	_, err = c.OnCall(t.Context(), "PNONE")
	require.ErrorIs(t, err, driver.ErrNotFound)
	s.RemoveUser("PADA")
	people, err = c.OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Len(t, people, 1, "somebody who left is not on call")
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	p, err := c.User(t.Context(), "PADA")
	require.NoError(t, err)
	require.Equal(t, "ada@example.com", p.Email)
	p, err = c.UserByEmail(t.Context(), "BACKOUT@example.com")
	require.NoError(t, err)
	require.Equal(t, "PBOT", p.PagerDutyID, "an address that only contains it is another person")
	for _, email := range []string{"nobody@example.com", "example.com", ""} {
		_, err = c.UserByEmail(t.Context(), email)
		require.ErrorIs(t, err, incident.ErrNoIdentity, email)
	}
	s.AddUser(fakepagerduty.User{ID: "PADA2", Name: "Twin", Email: "ada@example.com"})
	_, err = c.UserByEmail(t.Context(), "ada@example.com")
	require.ErrorIs(t, err, incident.ErrNoIdentity)
}

func TestIdentifiersAreNotPaths(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	for _, id := range []string{"", "..", "a/b", "a?b", "a b", "%2e"} {
		_, err := c.User(t.Context(), id)
		require.ErrorIs(t, err, driver.ErrInvalid, id)
		require.ErrorIs(t, c.Note(t.Context(), id, "e1", "x"), driver.ErrInvalid, id)
		require.ErrorIs(t, c.Escalate(t.Context(), id, "x"), driver.ErrInvalid, id)
	}
	require.Empty(t, s.Calls(""))
}

func TestErrorsAreDecidedOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		fault rest.Fault
		final error
		after time.Duration
	}{
		{name: "limit with Retry-After", fault: rest.Fault{Status: 429, RetryAfter: 7 * time.Second}, after: 7 * time.Second},
		{name: "limit with a reset", fault: rest.Fault{Status: 429, Header: http.Header{"Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"20"}}}, after: 20 * time.Second},
		{name: "limit without a time", fault: rest.Fault{Status: 429}, after: 10 * time.Second},
		{name: "limit with an absurd time", fault: rest.Fault{Status: 429, RetryAfter: 48 * time.Hour}, after: 5 * time.Minute},
		{name: "broken", fault: rest.Fault{Status: 500}},
		{name: "away", fault: rest.Fault{Status: 503, RetryAfter: 3 * time.Second}, after: 3 * time.Second},
		{name: "dropped", fault: rest.Fault{Drop: true}},
		{name: "not JSON", fault: rest.Fault{Status: 502, Body: "x"}},
		{name: "redirect", fault: rest.Fault{Status: 302, Header: http.Header{"Location": {"http://127.0.0.1:1/"}}}, final: driver.ErrInvalid},
		{name: "refused", fault: rest.Fault{Status: 400}, final: driver.ErrInvalid},
		{name: "unauthorized", fault: rest.Fault{Status: 401}, final: driver.ErrDenied},
		{name: "forbidden", fault: rest.Fault{Status: 403}, final: driver.ErrDenied},
		{name: "gone", fault: rest.Fault{Status: 404}, final: driver.ErrNotFound},
		{name: "echo of the token", fault: rest.Fault{Status: 500, Body: map[string]any{"error": map[string]any{"message": "bad token " + canary, "code": 1}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			c, id := connect(t, s), trigger(t, s)
			s.Inject(tt.fault)
			_, userErr := c.User(t.Context(), "PADA")
			_, openErr := c.Open(t.Context())
			_, onCallErr := c.OnCall(t.Context(), "PSHOP")
			_, changeErr := source(t, s).Changes(t.Context(), driver.ChangeQuery{Target: incident.Target{System: "pd", Path: "PSHOP"}, Until: time.Now()})
			for _, err := range []error{userErr, openErr, onCallErr, changeErr, c.Note(t.Context(), id, "e1", "x"), c.Escalate(t.Context(), id, "x")} {
				require.Error(t, err)
				require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), canary)
				require.NotContains(t, err.Error(), "\n")
				if tt.final != nil {
					require.ErrorIs(t, err, tt.final)
				} else {
					require.False(t, driver.Final(err), err)
				}
				var later interface{ RetryAfter() time.Duration }
				require.ErrorAs(t, err, &later)
				require.Equal(t, tt.after, later.RetryAfter())
			}
		})
	}
}

func TestTimeoutIsRetryable(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	s.Inject(rest.Fault{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.User(ctx, "PADA")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, driver.Final(err))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	tests := []struct {
		name string
		opts pagerduty.Options
	}{
		{name: "no token"},
		{name: "two tokens", opts: pagerduty.Options{Token: canary, TokenFile: empty}},
		{name: "no such file", opts: pagerduty.Options{TokenFile: empty + "x"}},
		{name: "empty file", opts: pagerduty.Options{TokenFile: empty}},
		{name: "clear text to a far host", opts: pagerduty.Options{Token: canary, URL: "http://api.example.com"}},
		{name: "other scheme", opts: pagerduty.Options{Token: canary, URL: "file:///etc/passwd"}},
		{name: "credential in the address", opts: pagerduty.Options{Token: canary, URL: "https://user:" + canary + "@api.example.com"}},
		{name: "bad severity", opts: pagerduty.Options{Token: canary, Severities: pagerduty.Severities{Priorities: map[string]incident.Severity{"P1": "huge"}}}},
		{name: "malformed address", opts: pagerduty.Options{Token: canary, URL: "https://%zz" + canary}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := pagerduty.New(tt.opts)
			require.Error(t, err)
			require.NotContains(t, err.Error(), canary)
		})
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	s := world(t)
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("old\n"), 0o600))
	c := connect(t, s, func(o *pagerduty.Options) { o.Token, o.TokenFile = "", path })
	_, err := c.User(t.Context(), "PADA")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NoError(t, os.WriteFile(path, []byte(canary+"\n"), 0o600))
	_, err = c.User(t.Context(), "PADA")
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	_, err = c.User(t.Context(), "PADA")
	require.ErrorContains(t, err, "read token file")
}

func TestRedirectDoesNotCarryTheToken(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 1)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Header.Get("Authorization") }))
	t.Cleanup(thief.Close)
	s := world(t)
	s.Inject(rest.Fault{Status: 307, Header: http.Header{"Location": {thief.URL}}})
	_, err := connect(t, s).User(t.Context(), "PADA")
	require.Error(t, err)
	require.Empty(t, reached)
}

// source opens the registered change source the way the product does.
func source(t *testing.T, s *fakepagerduty.Server) driver.ChangeSource {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(canary), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "pd", Type: "pagerduty", Decode: func(into any) error {
		settings, ok := into.(*pagerduty.Settings)
		if !ok {
			return errors.New("unexpected settings")
		}
		settings.URL, settings.TokenFile = s.URL(), path
		return nil
	}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	src, err := set.Source("pagerduty.changes", "pd")
	require.NoError(t, err)
	return src
}

func TestChanges(t *testing.T) {
	t.Parallel()
	s := world(t)
	from := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	for i := range 120 {
		s.AddChange(fakepagerduty.ChangeEvent{ID: fmt.Sprintf("C%03d", i), Summary: "Deployed\nv" + strings.Repeat("9", i), Source: "ci", At: from.Add(time.Duration(i) * time.Minute), ServiceIDs: []string{"PSHOP"}, Link: "https://ci.example.com/1"})
	}
	s.AddChange(fakepagerduty.ChangeEvent{Summary: "Elsewhere", At: from.Add(time.Minute), ServiceIDs: []string{"PBARE"}})
	q := driver.ChangeQuery{Service: "checkout", Target: incident.Target{System: "pd", Path: "PSHOP"}, Since: from.Add(5 * time.Minute), Until: from.Add(110 * time.Minute)}
	got, err := source(t, s).Changes(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, got, 106, "both ends are inside, over more than one page")
	require.Equal(t, incident.Change{
		ID: "C005", Source: "pagerduty.changes", Kind: incident.ChangeDeploy, Service: "checkout", At: from.Add(5 * time.Minute),
		Author: "ci", Summary: "Deployed v99999", URL: "https://ci.example.com/1",
	}, got[0])
	require.Equal(t, "C110", got[105].ID)
	q.Kind = incident.ChangeFlag
	q.Target.Path = "PNONE"
	_, err = source(t, s).Changes(t.Context(), q)
	require.ErrorIs(t, err, driver.ErrNotFound)
	q.Target.Path = "../users"
	_, err = source(t, s).Changes(t.Context(), q)
	require.ErrorIs(t, err, driver.ErrInvalid)
}
