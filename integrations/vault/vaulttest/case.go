package vaulttest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"testing"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	fakevault "github.com/backout/backout/test/fakes/vault"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(KV(), Lease())
}

// KV is the case of "vault.kv": a secret with three versions, to go back to the
// second.
func KV() drivertest.Case {
	return drivertest.Case{
		Kind:  "vault.kv",
		Start: func(tb testing.TB) *drivertest.Target { return startKV(tb, false) },
		OneWay: func(tb testing.TB) *drivertest.Target {
			return startKV(tb, true)
		},
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "There is no secret", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: fakevault.Mount + "/none"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "is destroyed", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				of(tb, t).Destroy(Path, 2)
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "was deleted at", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				of(tb, t).Delete(Path, 2)
				return t.Request, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not write", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "a secret changes in one step, so that no change is ever under way"},
		},
	}
}

func startKV(tb testing.TB, deleted bool) *drivertest.Target {
	w := Start(tb)
	canary := "canary-" + rand.Text()
	value := func(name string) map[string]any {
		return map[string]any{"password": name + " " + canary, "attempts": json.Number("12345678901234567890")}
	}
	for _, name := range []string{"first", "good", "bad"} {
		w.Put(Path, value(name))
	}
	if deleted {
		w.Delete(Path, 3)
	}
	target := &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: Secret}, Revision: "2"},
		Upstream: w.Address(),
		Connect:  w.System,
		Digest: func(context.Context) (string, error) {
			data, _ := w.Secret(Path)
			content, err := json.Marshal(data)
			return incident.DigestOf(content), err
		},
		Mutations: func(context.Context) (int, error) {
			_, writes := w.Secret(Path)
			return writes, nil
		},
		Interfere: func(context.Context) error {
			w.Put(Path, value("newer "+rand.Text()))
			return nil
		},
		Difference: "was written at",
		Throttle: func(context.Context) error {
			w.Throttle(1)
			return nil
		},
		Canaries: append([]string{canary}, w.Secrets...),
	}
	remember(tb, target, w)
	return target
}

// Lease is the case of "vault.lease": the credentials of a service that got out.
func Lease() drivertest.Case {
	return drivertest.Case{
		Kind:  "vault.lease",
		Start: startLease,
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "No lease of", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: Prefix + "none/"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "and nothing else", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: "7"}, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "was issued before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(time.Minute)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not revoke", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "a lease is issued and revoked in one step, so that no change is ever under way"},
		},
	}
}

// startLease issues a lease. What is counted is that and the runs of revocations: that
// each of many is revoked once is shown apart.
func startLease(tb testing.TB) *drivertest.Target {
	w := Start(tb)
	canary := "canary-" + rand.Text()
	w.Issue(Prefix+"leaked-"+canary, time.Hour)
	target := &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: Prefix}, Revision: "revoked"},
		Upstream: w.Address(),
		Connect:  w.System,
		Digest: func(context.Context) (string, error) {
			return incident.DigestOf([]byte(w.Newest(Prefix))), nil
		},
		Mutations: func(context.Context) (int, error) { return w.Changes(), nil },
		Interfere: func(context.Context) error {
			w.Issue(Prefix+"newer-"+rand.Text(), time.Hour)
			return nil
		},
		Difference: "the newest of which was issued at",
		Throttle: func(context.Context) error {
			w.Throttle(1)
			return nil
		},
		Canaries: append([]string{canary}, w.Secrets...),
	}
	remember(tb, target, w)
	return target
}
