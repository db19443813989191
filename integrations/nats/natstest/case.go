package natstest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(KV())
}

// The bucket and the key of the case.
const (
	bucket = "releases"
	key    = "shop/checkout"
	// depth is how many revisions the bucket keeps.
	depth = 6
)

// KV is the case of "nats.kv": a key with three revisions, to go back to the
// second.
func KV() drivertest.Case {
	return drivertest.Case{
		Kind:           "nats.kv",
		Start:          startKV,
		NeverThrottled: "JetStream has no quota of requests; when its queue overflows it answers with an error that is retried as any other is",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "has no revision of the key", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: bucket + "/no/such/key"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "is not in the history", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				for range depth {
					require.NoError(tb, t.Interfere(tb.Context()))
				}
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "does not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not write", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "a key changes in one step, so that no change is ever under way"},
		},
	}
}

func startKV(tb testing.TB) *drivertest.Target {
	s := Start(tb, jetstream.KeyValueConfig{Bucket: bucket, History: depth})
	canary := "canary-" + rand.Text()
	s.Put(tb, key, "first "+canary)
	good := s.Put(tb, key, "good "+canary)
	s.Put(tb, key, "bad "+canary)
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: bucket + "/" + key}, Revision: strconv.FormatUint(good, 10)},
		Upstream: s.Address(),
		Connect:  s.System,
		Digest: func(ctx context.Context) (string, error) {
			e, err := s.KV.Get(ctx, key)
			switch {
			case errors.Is(err, jetstream.ErrKeyNotFound):
				return "none", nil
			case err != nil:
				return "", fmt.Errorf("read key: %w", err)
			}
			return incident.DigestOf(e.Value()), nil
		},
		Mutations: s.Writes,
		Interfere: func(ctx context.Context) error {
			_, err := s.KV.PutString(ctx, key, "newer "+canary+rand.Text())
			return err
		},
		Difference: "was written at",
		Canaries:   append([]string{canary}, s.Passwords...),
	}
}
