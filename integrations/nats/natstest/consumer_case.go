package natstest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Consumers()...)
}

// throttled is how many messages the consumer of the case may have in flight, which is
// too few.
const throttled = 2

// Consumers are the cases of "nats.consumer": a consumer that was throttled so much
// that it falls behind, and one that was paused, each to go back to what it was.
func Consumers() []drivertest.Case {
	form := func(name string, start func(tb testing.TB) *drivertest.Target) drivertest.Case {
		return drivertest.Case{
			Kind:           "nats.consumer",
			Form:           name,
			Start:          start,
			NeverThrottled: "JetStream has no quota of requests; when its queue overflows it answers with an error that is retried as any other is",
			Preflight: map[drivertest.Condition]drivertest.Scenario{
				drivertest.MissingTarget: {Says: "has no consumer", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					// Not one of another name: the credential may ask for this one alone.
					s, ok := consumerServers.Load(t)
					require.True(tb, ok, "the target is not of this case")
					require.NoError(tb, s.(*ConsumerServer).JetStream.DeleteConsumer(tb.Context(), Stream, Durable))
					return t.Request, drivertest.Owner
				}},
				drivertest.MissingRevision: {Says: "does not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
				}},
				drivertest.ClosedWindow: {Says: "The time to pause until is over", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					target := incident.Target{Path: strings.TrimSuffix(t.Request.Target.Path, name) + "delivery"}
					return driver.PlanRequest{Target: target, Revision: "paused until " + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}, drivertest.Owner
				}},
				drivertest.MissingPermission: {Says: "may not change", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					return t.Request, drivertest.Reader
				}},
				drivertest.DeployInFlight: {NotApplicable: "a consumer changes in one step, so that no change is ever under way"},
			},
		}
	}
	return []drivertest.Case{
		form("throttle", startThrottled),
		form("delivery", startPaused),
	}
}

func startThrottled(tb testing.TB) *drivertest.Target {
	s, canary := startCase(tb)
	require.NoError(tb, s.Throttle(tb.Context(), throttled))
	var next atomic.Int64
	return consumerTarget(tb, s, canary, "throttle", fmt.Sprintf("max_ack_pending=%d", InFlight), func(ctx context.Context) error {
		return s.Throttle(ctx, throttled+int(next.Add(1)))
	})
}

func startPaused(tb testing.TB) *drivertest.Target {
	s, canary := startCase(tb)
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	require.NoError(tb, s.Pause(tb.Context(), until))
	var next atomic.Int64
	return consumerTarget(tb, s, canary, "delivery", "running", func(ctx context.Context) error {
		return s.Pause(ctx, until.Add(time.Duration(next.Add(1))*time.Minute))
	})
}

// startCase starts a server whose consumer and message hold a canary.
func startCase(tb testing.TB) (s *ConsumerServer, canary string) {
	canary = "canary-" + rand.Text()
	s = StartConsumer(tb, jetstream.ConsumerConfig{Description: canary, Metadata: map[string]string{"note": canary}})
	_, err := s.JetStream.Publish(tb.Context(), "orders.1", []byte(canary))
	require.NoError(tb, err)
	return s, canary
}

func consumerTarget(tb testing.TB, s *ConsumerServer, canary, aspect, revision string, interfere func(ctx context.Context) error) *drivertest.Target {
	target := &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: Stream + "/" + Durable + "/" + aspect}, Revision: revision},
		Upstream: s.Address(),
		Connect:  s.System,
		Digest: func(ctx context.Context) (string, error) {
			c, err := s.JetStream.Consumer(ctx, Stream, Durable)
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				return "none", nil
			}
			if err != nil {
				return "", fmt.Errorf("read consumer: %w", err)
			}
			config := c.CachedInfo().Config
			config.Metadata = nil // The server counts its own versions there.
			content, err := json.Marshal(config)
			return incident.DigestOf(content), err
		},
		Mutations:  s.Changes,
		Interfere:  interfere,
		Difference: "not acknowledged",
		Canaries:   append([]string{canary}, s.Passwords...),
	}
	consumerServers.Store(target, s)
	tb.Cleanup(func() { consumerServers.Delete(target) })
	return target
}

// consumerServers finds the server of a target, for what a Target has no function for.
var consumerServers sync.Map
