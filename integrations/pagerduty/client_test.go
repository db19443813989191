package pagerduty_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	EscalateOnce(ctx context.Context, incidentID, id, reason string) error
	Note(ctx context.Context, incidentID, id, text string) error
	Open(ctx context.Context) ([]incident.Page, error)
	Incident(ctx context.Context, id string) (page incident.Page, open bool, err error)
	OnCall(ctx context.Context, serviceID string) ([]incident.Person, error)
	PageService(ctx context.Context, serviceID, id, title, text string) error
} = (*pagerduty.Client)(nil)

func world(t *testing.T, change ...func(*fakepagerduty.Config)) *fakepagerduty.Server {
	t.Helper()
	cfg := fakepagerduty.Config{Token: canary, WebhookRetry: time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	s, err := fakepagerduty.New(cfg)
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

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// worldAt is a world with two levels, in which everybody is on call all the time,
// and its clock.
func worldAt(t *testing.T) (*fakepagerduty.Server, *clock) {
	t.Helper()
	now := &clock{now: time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)}
	s := world(t, func(c *fakepagerduty.Config) { c.Now = now.get })
	s.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOL", Name: "Shop", Levels: []fakepagerduty.Level{{Users: []string{"PADA"}}, {Users: []string{"PBOB"}}}})
	return s, now
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
		{name: "limit with a reset alone", fault: rest.Fault{Status: 429, Header: http.Header{"Ratelimit-Remaining": {"17"}, "Ratelimit-Reset": {"20"}}}, after: 20 * time.Second},
		{name: "limit with an overflowing reset", fault: rest.Fault{Status: 429, Header: http.Header{"Ratelimit-Reset": {"9999999999999"}}}, after: 5 * time.Minute},
		{name: "limit with nonsense", fault: rest.Fault{Status: 429, Header: http.Header{"Retry-After": {"soon"}, "Ratelimit-Reset": {"-1"}}}, after: 10 * time.Second},
		{name: "limit without a time", fault: rest.Fault{Status: 429, Header: http.Header{"Ratelimit-Reset": {""}}}, after: 10 * time.Second},
		{name: "limit with an absurd time", fault: rest.Fault{Status: 429, RetryAfter: 48 * time.Hour}, after: 5 * time.Minute},
		{name: "broken", fault: rest.Fault{Status: 500}},
		{name: "away", fault: rest.Fault{Status: 503, RetryAfter: 3 * time.Second}, after: 3 * time.Second},
		{name: "dropped", fault: rest.Fault{Drop: true}},
		{name: "not JSON", fault: rest.Fault{Status: 502, Body: "x"}},
		{name: "endless", fault: rest.Fault{Status: 200, Body: map[string]any{"padding": strings.Repeat("x", 9<<20)}}},
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

// The account's own limit, as it is hit in earnest.
func TestLimitIsHonoured(t *testing.T) {
	t.Parallel()
	s, err := fakepagerduty.New(fakepagerduty.Config{Token: canary, RequestsPerMinute: 1})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.AddUser(fakepagerduty.User{ID: "PADA", Name: "Ada", Email: "ada@example.com"})
	c := connect(t, s)
	_, err = c.User(t.Context(), "PADA")
	require.NoError(t, err)
	_, err = c.User(t.Context(), "PADA")
	require.False(t, driver.Final(err), err)
	var later interface{ RetryAfter() time.Duration }
	require.ErrorAs(t, err, &later)
	require.Greater(t, later.RetryAfter(), 30*time.Second, "the limit is by the minute")
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
		{name: "levels below the first", opts: pagerduty.Options{Token: canary, OnCallLevels: -1}},
		{name: "levels beyond the last", opts: pagerduty.Options{Token: canary, OnCallLevels: 21}},
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
