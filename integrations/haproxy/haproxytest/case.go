package haproxytest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	realhaproxy "github.com/backout/backout/test/haproxy"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Routes())
}

// Routes is the case of "route.haproxy": a backend whose traffic was switched from
// one server to another, to go back to what was in force before.
func Routes() drivertest.Case {
	return drivertest.Case{
		Kind:           "route.haproxy",
		Start:          startRoutes,
		NeverThrottled: "the runtime socket has no quota: what exceeds its connections waits for them",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "has no servers", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "nobody"}, Before: t.Request.Before}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "does not have the server red", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: "blue=100,green=0,grey=5/maint,red=1"}, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "does not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not change the weights", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "weights change in one step, and a process that is replaced by a reload gives up its socket at once"},
		},
	}
}

func startRoutes(tb testing.TB) *drivertest.Target {
	s := Start(tb, realhaproxy.User, Sections)
	moment := s.Switch(tb)
	var newer atomic.Int64
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: Backend}, Before: moment},
		Upstream: s.Address(),
		Connect:  s.System,
		Digest: func(ctx context.Context) (string, error) {
			state, err := s.State(ctx)
			return incident.DigestOf([]byte(state)), err
		},
		Mutations: s.Changes,
		Interfere: func(ctx context.Context) error {
			answer, err := s.Do(ctx, realhaproxy.Admin, fmt.Sprintf("set server %s/blue weight %d", Backend, 50+newer.Add(1)))
			if err == nil && strings.TrimSpace(answer) != "" {
				err = fmt.Errorf("set weight: %s", answer)
			}
			return err
		},
		Difference: "the weights are blue 51",
		Canaries:   []string{s.Token, s.WrongToken, "canary-cookie"},
	}
}

// Switch takes the traffic from blue to green and returns when the extension has
// noted it.
func (s *Server) Switch(tb testing.TB) time.Time {
	tb.Helper()
	read := func() []string {
		answer, err := s.Ask(tb.Context(), realhaproxy.User, "backout read "+Backend)
		require.NoError(tb, err)
		return strings.Split(strings.TrimSpace(answer), "\n")
	}
	before := read()
	s.Set(tb, "set server shop/green weight 100; set server shop/blue weight 0; set server shop/grey state ready")
	after := read()
	require.Greater(tb, len(after), len(before), "the extension noted nothing")
	noted := strings.Fields(after[len(after)-1])
	require.Len(tb, noted, 4)
	var seconds, micros int64
	_, err := fmt.Sscanf(noted[1], "%d.%d", &seconds, &micros)
	require.NoError(tb, err)
	return time.UnixMicro(seconds*1_000_000 + micros).UTC()
}
