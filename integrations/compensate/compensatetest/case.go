package compensatetest

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(byDigest(), byETag())
}

// resource is the one of the case.
const resource = "batches/2026-11"

// byDigest is a case of "http.compensate": a batch with three bookings, to go back
// to the second, at a service that names its states by digests.
func byDigest() drivertest.Case {
	return drivertest.Case{
		Kind:   "http.compensate",
		Form:   "Digest",
		Start:  func(tb testing.TB) *drivertest.Target { return start(tb, &Resource{Reversible: true}) },
		OneWay: func(tb testing.TB) *drivertest.Target { return start(tb, &Resource{}) },
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "has no resource", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "payments/batches/none"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "no such booking", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "is being booked", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				edit(tb, t, func(r *Resource) { r.Busy = "the nightly run" })
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "The window for compensation closed", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				edit(tb, t, func(r *Resource) { r.Closed = time.Now().Add(-time.Hour) })
				return t.Request, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not book", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
		},
	}
}

// byETag is the same at a service that names its states by ETags.
func byETag() drivertest.Case {
	c := byDigest()
	c.Form, c.OneWay = "ETag", nil
	c.Start = func(tb testing.TB) *drivertest.Target { return start(tb, &Resource{Reversible: true, ByETag: true}) }
	return c
}

func start(tb testing.TB, r *Resource) *drivertest.Target {
	s := Start(tb)
	canary := "canary-" + rand.Text()
	s.Add(resource, r, "first "+canary, "good "+canary, "bad "+canary)
	target := &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: "payments/" + resource}, Revision: "2"},
		Upstream: s.Address(),
		Connect:  s.System,
		Digest: func(context.Context) (string, error) {
			return incident.DigestOf([]byte(s.Content(resource))), nil
		},
		Mutations: func(context.Context) (int, error) { return len(s.Ledger()), nil },
		Interfere: func(context.Context) error {
			s.Change(resource, "newer "+canary+rand.Text(), "grace")
			return nil
		},
		Difference: "was made at",
		Throttle: func(context.Context) error {
			s.Throttle()
			return nil
		},
		Canaries: []string{canary, s.Tokens[drivertest.Owner], s.Tokens[drivertest.Reader], strings.TrimPrefix(s.Secret, "whsec_")},
	}
	started.Store(target, s)
	tb.Cleanup(func() { started.Delete(target) })
	return target
}

// started finds the service of a target, for what a Target has no function for.
var started sync.Map

func edit(tb testing.TB, t *drivertest.Target, change func(r *Resource)) {
	tb.Helper()
	s, ok := started.Load(t)
	require.True(tb, ok, "the target is not of this case")
	s.(*Service).Edit(resource, change)
}
