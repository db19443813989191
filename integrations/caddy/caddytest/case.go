package caddytest

import (
	"context"
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Routes())
}

// Routes is the case of "route.caddy": a route whose weights were changed, to go back
// to what was captured before.
func Routes() drivertest.Case {
	return drivertest.Case{
		Kind:           "route.caddy",
		Start:          startRoute,
		NeverThrottled: "the admin API has no quota",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "has no configuration at", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "id/nobody"}, Before: t.Request.Before}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "was not captured", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: "0123456789abcdef"}, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "do not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.DeployInFlight:    {NotApplicable: "Caddy takes on a configuration under a lock, in one step"},
			drivertest.MissingPermission: {NotApplicable: "the local admin API asks for no credential; whoever reaches it may do everything"},
		},
	}
}

func startRoute(tb testing.TB) *drivertest.Target {
	canary := "canary-" + rand.Text()
	s := Start(tb, Route(canary, 100, 1))
	moment := s.Switch(tb, Route(canary, 1, 100))
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: "id/" + ID}, Before: moment},
		Upstream: s.Address(),
		Connect:  s.System,
		Digest: func(ctx context.Context) (string, error) {
			content, err := s.Ask(ctx, http.MethodGet, "/config/", nil)
			return incident.DigestOf(content), err
		},
		Mutations:  s.Writes,
		Interfere:  func(ctx context.Context) error { return s.Set(ctx, Route(canary, 50, 50)) },
		Difference: "weights 50:50",
		Canaries:   []string{canary},
	}
}

// Switch records the route, replaces it, records it again, and returns when the new
// one was recorded.
func (s *Server) Switch(tb testing.TB, route map[string]any) time.Time {
	tb.Helper()
	set, err := driver.Open(tb.Context(), []driver.System{System(map[string]any{"url": "unix:" + s.Socket(), "history_folder": s.History})})
	require.NoError(tb, err)
	defer func() { require.NoError(tb, set.Close()) }()
	recorder, err := set.Recorder("route.caddy", "edge")
	require.NoError(tb, err)
	target := incident.Target{System: "edge", Path: "id/" + ID}
	_, err = recorder.Record(tb.Context(), target)
	require.NoError(tb, err)
	require.NoError(tb, s.Set(tb.Context(), route))
	_, err = recorder.Record(tb.Context(), target)
	require.NoError(tb, err)
	source, err := set.Source("route.caddy", "edge")
	require.NoError(tb, err)
	changes, err := source.Changes(tb.Context(), driver.ChangeQuery{Target: target, Until: time.Now().Add(time.Hour)})
	require.NoError(tb, err)
	require.Len(tb, changes, 1)
	return changes[0].At
}
