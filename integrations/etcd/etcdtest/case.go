package etcdtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/test/etcdstore"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Key())
}

// name is the last part of the key of the case.
const name = "checkout"

// Key is the case of "etcd.key": a key with three values, to go back to the second.
func Key() drivertest.Case {
	return drivertest.Case{
		Kind:           "etcd.key",
		Start:          func(tb testing.TB) *drivertest.Target { return startKey(tb, etcdstore.Require(tb)) },
		NeverThrottled: "etcd has no quota of requests; when it falls behind it answers with an error that is retried as any other is",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "has no key", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				// At a revision at which it was not there, of another store, so that it is
				// not there now.
				p := NewPlace(tb, etcdstore.Own(tb))
				t.Connect = func(_ string, as drivertest.Credential) driver.System { return p.System(p.Address, as) }
				revision := p.Tick(tb, p.Clock, time.Now())
				return driver.PlanRequest{Target: incident.Target{Path: p.Prefix + name}, Revision: strconv.FormatInt(revision, 10)}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "was compacted away", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				// A store of its own, because a compaction concerns all keys.
				p := NewPlace(tb, etcdstore.Own(tb))
				t.Connect = func(_ string, as drivertest.Credential) driver.System { return p.System(p.Address, as) }
				old := p.MustPut(tb, p.Prefix+name, "old")
				p.Compact(tb, p.MustPut(tb, p.Prefix+name, "new"))
				return driver.PlanRequest{Target: incident.Target{Path: p.Prefix + name}, Revision: strconv.FormatInt(old, 10)}, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "do not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-2 * time.Hour)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not write", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "a key changes in one step, so that no change is ever under way"},
		},
	}
}

func startKey(tb testing.TB, s *etcdstore.Store) *drivertest.Target {
	p := NewPlace(tb, s)
	key := p.Prefix + name
	canary := "canary-" + rand.Text()
	p.Tick(tb, p.Clock, time.Now().Add(-time.Minute))
	p.MustPut(tb, key, "first "+canary)
	good := p.MustPut(tb, key, "good "+canary)
	p.Tick(tb, p.Clock, time.Now())
	p.MustPut(tb, key, "bad "+canary)
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: key}, Revision: strconv.FormatInt(good, 10)},
		Upstream: p.Address,
		Connect:  p.System,
		Digest: func(ctx context.Context) (string, error) {
			value, there, _, _, err := p.Get(ctx, key)
			return incident.DigestOf(fmt.Appendf(nil, "%t %s", there, value)), err
		},
		Mutations: func(ctx context.Context) (int, error) {
			_, _, version, _, err := p.Get(ctx, key)
			return int(version), err
		},
		Interfere: func(ctx context.Context) error {
			_, err := p.Put(ctx, key, "newer "+canary+rand.Text(), 0)
			return err
		},
		Difference: "was written by the",
		Canaries:   append([]string{canary}, p.Passwords...),
	}
}
