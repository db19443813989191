package pagerduty_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/pagerduty"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

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

func TestEscalateOnce(t *testing.T) {
	t.Parallel()
	s, now := worldAt(t)
	c, id := connect(t, s, func(o *pagerduty.Options) { o.Now = now.get }), trigger(t, s)
	require.ErrorIs(t, c.EscalateOnce(t.Context(), id, "", "stuck"), driver.ErrInvalid)

	now.add(time.Minute)
	require.NoError(t, c.EscalateOnce(t.Context(), id, "pagerduty/Q1/e7", "stuck"))
	i, _ := s.Incident(id)
	require.Equal(t, 2, i.Level)
	require.Len(t, i.Notes, 1)

	// A worker that comes back after a day repeats it, under another reason even.
	now.add(24 * time.Hour)
	require.NoError(t, c.EscalateOnce(t.Context(), id, "pagerduty/Q1/e7", "still stuck"))
	// And once more when somebody who is not on call has taken it over meanwhile.
	require.NoError(t, s.Reassign(id, "PEVE"))
	require.NoError(t, connect(t, s).EscalateOnce(t.Context(), id, "pagerduty/Q1/e7", "stuck"))
	i, _ = s.Incident(id)
	require.Equal(t, []string{"PEVE"}, i.Assignees)
	require.Len(t, i.Notes, 1)
	require.Len(t, s.Calls("PUT /incidents"), 1)
	require.Empty(t, i.Requests)

	// The same reason under another id is another escalation, and at once.
	require.NoError(t, s.Reassign(id, "PBOB"))
	require.NoError(t, c.EscalateOnce(t.Context(), id, "pagerduty/Q1/e8", "stuck"))
	require.NoError(t, c.EscalateOnce(t.Context(), id, "pagerduty/Q1/e8", "stuck"))
	i, _ = s.Incident(id)
	require.Len(t, i.Requests, 1, "the last level has it, so everybody is asked, once")
	require.Len(t, i.Notes, 2)
}

// A step that was written down and never taken is taken, however much later.
func TestEscalateOnceFinishesWhatWasBegun(t *testing.T) {
	t.Parallel()
	s, now := worldAt(t)
	c, id := connect(t, s, func(o *pagerduty.Options) { o.Now = now.get }), trigger(t, s)
	now.add(time.Minute)
	s.Inject(rest.Fault{Method: http.MethodPut, Path: "/incidents", Status: 500, Times: 1})
	require.Error(t, c.EscalateOnce(t.Context(), id, "e7", "stuck"))
	i, _ := s.Incident(id)
	require.Equal(t, 1, i.Level)
	now.add(time.Hour)
	require.NoError(t, c.EscalateOnce(t.Context(), id, "e7", "stuck"))
	i, _ = s.Incident(id)
	require.Equal(t, 2, i.Level)
	require.Len(t, i.Notes, 1)
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
