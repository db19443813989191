package exectest

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Case())
}

// Case is the case of "exec": a service with three releases, to go back to the
// second by way of the sample.
func Case() drivertest.Case {
	return drivertest.Case{
		Kind:           "exec",
		Start:          start,
		OneWay:         startRecalled,
		NotRemote:      "the program runs beside Backout, so that there is no connection to cut; what it does when it is killed is in the tests of integrations/exec",
		NeverThrottled: "a program has no quota; one that is busy answers \"unavailable\", which the tests of integrations/exec show to be retried",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "has no release pointer", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "nobody"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "is not among the", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				for range Keep {
					require.NoError(tb, t.Interfere(tb.Context()))
				}
				return t.Request, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "is in flight", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				r, ok := folders.Load(t)
				require.True(tb, ok, "the target is not of this case")
				require.NoError(tb, r.(*Releases).Begin("v4"))
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "do not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not write", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
		},
	}
}

func start(tb testing.TB) *drivertest.Target {
	r := NewReleases(tb)
	canary := "canary-" + rand.Text()
	for _, version := range []string{"v1", "v2", "v3"} {
		require.NoError(tb, r.Deploy(version, canary+version, "ada"))
	}
	target := &drivertest.Target{
		Request: driver.PlanRequest{Target: incident.Target{Path: r.Service}, Revision: "2"},
		Connect: func(_ string, as drivertest.Credential) driver.System { return r.System(as) },
		Digest:  r.Digest, Mutations: r.Changes,
		Interfere: func(context.Context) error {
			return r.Deploy("v4", canary+rand.Text(), "grace")
		},
		Difference: "was released at",
		Canaries:   []string{canary, r.Tokens[drivertest.Owner], r.Tokens[drivertest.Reader]},
	}
	folders.Store(target, r)
	tb.Cleanup(func() { folders.Delete(target) })
	return target
}

// startRecalled is the same with a release that must never run again.
func startRecalled(tb testing.TB) *drivertest.Target {
	target := start(tb)
	r, ok := folders.Load(target)
	require.True(tb, ok)
	require.NoError(tb, r.(*Releases).Recall())
	return target
}

// folders finds the folder of a target, for what a Target has no function for.
var folders sync.Map
