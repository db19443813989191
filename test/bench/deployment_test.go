package bench_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/test/controlplane/launch"
)

const (
	// minRollbacks is how many turns a median needs at least, beside the first,
	// which pays for connections; maxRollbacks is how many services there are.
	minRollbacks = 11
	maxRollbacks = 256

	// deployedAtOnce is how many turns' Deployments are made together.
	deployedAtOnce = 6

	// turnWithin bounds one rollback with its preparation and its aftermath.
	turnWithin = time.Minute
)

// BenchmarkDeploymentRollback takes a Deployment of three replicas back, through the
// product and with client-go alone, in turn on one control plane. Aim: 1.3 with Pods
// that are Ready after 200 ms. With Pods that are Ready at once nothing is left but
// what the product does beside the rollout, and the control plane's own work.
//
// The product's time begins with the approving click and ends when its workflow knows
// that the rollout is complete. What it is made of, in the order in which it happens:
//
//   - decision-ms: until the rollback has begun, with the decision in the ledger;
//   - lock-ms: until the target is locked;
//   - evidence-ms: until the lock is in the ledger, and evidence is captured, stored and
//     in the ledger;
//   - replan-ms: until the plan was made again and compared, and the authority read from
//     the ledger;
//   - rollout-ms: the intent in the ledger, the write, and the rollout; beside
//     floor-rollout-ms, which has no intent;
//   - notice-ms: until the product has seen what a watch has seen before;
//   - outcome-ms: until the outcome is in the ledger and the workflow has it.
func BenchmarkDeploymentRollback(b *testing.B) {
	for _, row := range []struct{ name, readyAfter string }{
		{"ready-after-200ms", "200ms"},
		{"ready-at-once", "0s"},
	} {
		b.Run(row.name, func(b *testing.B) { compareRollbacks(b, ownPlane(b, "-ready-after="+row.readyAfter)) })
	}
}

// ownPlane starts a control plane that ends with the benchmark.
func ownPlane(b *testing.B, args ...string) *controlplane.Plane {
	b.Helper()
	binary := os.Getenv(controlplane.BinaryVariable)
	if binary == "" {
		const missing = "needs a Kubernetes control plane of its own; this gives one: " + controlplane.Command
		if os.Getenv("CI") != "" {
			b.Fatal(missing)
		}
		b.Skip(missing)
	}
	process, err := launch.Start(b.Context(), binary, args...)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, process.Close()) })
	return &controlplane.Plane{Kubeconfig: process.Kubeconfig, Server: process.Server}
}

// compareRollbacks measures one rollback at a time, the two sides in turn, and reports
// both medians, their ratio, and the medians of their parts.
func compareRollbacks(b *testing.B, plane *controlplane.Plane) {
	b.Helper()
	f := newFleet(b, plane)
	ours := newRollbacks(b, startServer(b), plane, f.namespace)
	var bare, product []parts
	turn := 0
	once := func() {
		require.Less(b, turn, maxRollbacks, "there are Deployments for so many turns only: choose a shorter -benchtime")
		if turn%deployedAtOnce == 0 {
			require.NoError(b, f.deploy(b.Context(), turn, min(turn+deployedAtOnce, maxRollbacks)))
		}
		took, err := rollBoth(b.Context(), f, ours, turn)
		require.NoError(b, err)
		if turn > 0 { // The first turn pays for connections.
			bare, product = append(bare, took[0]), append(product, took[1])
		}
		turn++
	}
	once()
	for b.Loop() {
		once()
	}
	for turn <= minRollbacks {
		once()
	}
	b.ReportMetric(0, "ns/op")
	report := func(of []parts, part, unit string) time.Duration {
		var all []time.Duration
		for _, p := range of {
			all = append(all, p.of(part))
		}
		median := quantile(all, 50)
		b.ReportMetric(milliseconds(median), unit)
		return median
	}
	floor := report(bare, whole, "floor-p50-ms")
	for _, part := range []string{partFind, partRollout} {
		report(bare, part, "floor-"+part+"-ms")
	}
	ratio := float64(report(product, whole, "p50-ms")) / float64(floor)
	for _, part := range productParts {
		report(product, part, part+"-ms")
	}
	b.ReportMetric(ratio, "ratio")
}

// rollBoth is one turn: the bare rollback and the product's, each of its own
// Deployment. Who comes first changes with every turn; the page and the options come
// before both.
func rollBoth(ctx context.Context, f *fleet, ours *rollbacks, turn int) (took [2]parts, err error) {
	card, err := ours.prepare(ctx, productName(turn))
	if err != nil {
		return took, fmt.Errorf("turn %d: %w", turn, err)
	}
	for k := range took {
		k = (k + turn) % len(took)
		if k == 0 {
			took[k], err = f.undo(ctx, bareName(turn), goodRevision)
		} else {
			took[k], err = ours.rollBack(ctx, f, productName(turn), card)
		}
		if err != nil {
			return took, fmt.Errorf("turn %d: %w", turn, err)
		}
	}
	return took, nil
}

// The parts of a rollback. A whole is the sum of all.
const (
	whole        = ""
	partFind     = "find"
	partDecision = "decision"
	partLock     = "lock"
	partEvidence = "evidence"
	partReplan   = "replan"
	partRollout  = "rollout"
	partNotice   = "notice"
	partOutcome  = "outcome"
)

var productParts = []string{partDecision, partLock, partEvidence, partReplan, partRollout, partNotice, partOutcome}

// mark is the end of one part.
type mark struct {
	part string
	at   time.Time
}

// parts is how long one rollback took.
type parts struct {
	begin time.Time
	// marks are in the order in which they were made.
	marks []mark
}

// of is how long one part took, or the whole.
func (p parts) of(part string) time.Duration {
	from := p.begin
	for _, m := range p.marks {
		if m.part == part {
			return m.at.Sub(from)
		}
		from = m.at
	}
	return from.Sub(p.begin)
}

// TestBothSidesRollBack runs one turn, so that the benchmark does not rot.
func TestBothSidesRollBack(t *testing.T) {
	t.Parallel()
	plane := controlplane.Require(t)
	f := newFleet(t, plane)
	ours := newRollbacks(t, startServer(t), plane, f.namespace)
	require.NoError(t, f.deploy(t.Context(), 0, 1))
	took, err := rollBoth(t.Context(), f, ours, 0)
	require.NoError(t, err)
	for _, p := range took {
		require.Positive(t, p.of(partRollout))
		require.Greater(t, p.of(whole), p.of(partRollout))
	}
	for _, name := range []string{bareName(0), productName(0)} {
		d, err := f.get(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, imageOf(goodVersion), d.Spec.Template.Spec.Containers[0].Image, name)
		require.True(t, complete(d), name)
	}
}
