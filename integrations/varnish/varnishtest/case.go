package varnishtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Labels())
}

// Labels is the case of "edge.varnish": a site whose VCL was switched, to go back to
// the one that was loaded before.
func Labels() drivertest.Case {
	return drivertest.Case{
		Kind:           "edge.varnish",
		Start:          startLabel,
		Overwrites:     "Varnish has no compare-and-set",
		NeverThrottled: "the management port has no quota: sessions wait for each other",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "Varnish has no label", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "label/nobody"}, Before: t.Request.Before}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "loaded any more", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: "site_discarded"}, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "do not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "a deployment may be under way", Warns: true, Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				// What is loaded last is not in use.
				require.NoError(tb, t.Interfere(tb.Context()))
				return t.Request, drivertest.Owner
			}},
			drivertest.MissingPermission: {NotApplicable: "the management port knows one secret, which may do everything; who does not know it can not ask either"},
		},
	}
}

func startLabel(tb testing.TB) *drivertest.Target {
	s := Start(tb)
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: "label/" + s.Label + "/ban/site"}, Before: s.Loaded},
		Upstream: s.Gate(),
		Connect:  s.System,
		Digest:   s.State,
		Mutations: func(ctx context.Context) (int, error) {
			return s.Changes(ctx)
		},
		Interfere: func(ctx context.Context) error {
			return s.Do(ctx, "vcl.label "+s.Label+" "+s.First)
		},
		Difference: "is " + s.First,
		Canaries:   []string{s.Secret, s.Canary},
	}
}
