package bench_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

const (
	// callWithin bounds one call, and settleWithin the background work of a
	// batch, so that a hang is an error.
	callWithin   = 30 * time.Second
	settleWithin = time.Minute

	// batch is how many calls make up one measurement of throughput, and
	// inFlight how many of them run at once: Temporal takes 10 updates of one
	// workflow at a time.
	// Source: https://docs.temporal.io/workflow-execution/limits
	batch    = 64
	inFlight = 8

	// pool is how many incidents take turns in answering updates. An incident
	// comes up again when its card may change again, a second later.
	pool = 32

	// minTurns and minRounds are how many measurements a median needs at
	// least, however short -benchtime is.
	minTurns  = 50
	minRounds = 5
)

func BenchmarkStartToFirstActivity(b *testing.B) {
	compareLatency(b, 0, firstActivity)
}

func BenchmarkPageCompleted(b *testing.B) {
	compareLatency(b, pool, pageCompleted)
}

func BenchmarkDecisionCompleted(b *testing.B) {
	compareLatency(b, pool, decisionCompleted)
}

func BenchmarkPagesOfDistinctIncidents(b *testing.B) {
	compareThroughput(b, batch, distinct)
}

func BenchmarkPagesOfOneIncident(b *testing.B) {
	compareThroughput(b, batch, same)
}

// measurement is one call of one side. It returns which incident it was and
// how long it took.
type measurement func(ctx context.Context, s side, turn int) (id string, took time.Duration, err error)

func firstActivity(ctx context.Context, s side, turn int) (string, time.Duration, error) {
	id := fmt.Sprintf("first-%d", turn)
	begin := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- s.page(ctx, id, "event") }()
	err := await(ctx, s.begun(id))
	took := time.Since(begin)
	if sendErr := <-sent; sendErr != nil {
		err = sendErr
	}
	return id, took, err
}

func pageCompleted(ctx context.Context, s side, turn int) (string, time.Duration, error) {
	id := prepared(turn)
	begin := time.Now()
	err := s.page(ctx, id, fmt.Sprintf("again-%d", turn))
	return id, time.Since(begin), err
}

func decisionCompleted(ctx context.Context, s side, turn int) (string, time.Duration, error) {
	id := prepared(turn)
	begin := time.Now()
	err := s.decide(ctx, id, fmt.Sprintf("click-%d", turn))
	return id, time.Since(begin), err
}

// prepared is the incident of the pool whose turn it is.
func prepared(turn int) string { return fmt.Sprintf("prepared-%d", turn%pool) }

// naming names the i-th call of a round.
type naming func(round, i int) (id, event string)

func distinct(round, i int) (id, event string) {
	return fmt.Sprintf("distinct-%d-%d", round, i), "event"
}

func same(round, i int) (id, event string) {
	return fmt.Sprintf("same-%d", round), fmt.Sprintf("event-%d", i)
}

// compareLatency measures one call at a time, the two sides in turn, and
// reports both medians and their ratio.
func compareLatency(b *testing.B, prepare int, measure measurement) {
	b.Helper()
	srv := startServer(b)
	sides := []side{newFloor(b, srv), newProduct(b, srv)}
	for _, s := range sides {
		require.NoError(b, prepareAll(b.Context(), s, prepare))
	}
	took := make([][]time.Duration, len(sides))
	turn := 0
	once := func() {
		for k := range sides {
			// Who comes first changes with every turn.
			k = (k + turn) % len(sides)
			d, err := settled(b.Context(), sides[k], turn, measure)
			require.NoError(b, err)
			took[k] = append(took[k], d)
		}
		turn++
	}
	once() // The first call pays for connections.
	clear(took)
	for b.Loop() {
		once()
	}
	for turn <= minTurns {
		once()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(quantile(took[0], 50)), "floor-p50-ms")
	b.ReportMetric(milliseconds(quantile(took[1], 50)), "p50-ms")
	b.ReportMetric(milliseconds(quantile(took[0], 99)), "floor-p99-ms")
	b.ReportMetric(milliseconds(quantile(took[1], 99)), "p99-ms")
	b.ReportMetric(float64(quantile(took[1], 50))/float64(quantile(took[0], 50)), "ratio")
}

// prepareAll brings the first n incidents of the pool up, all at once.
func prepareAll(ctx context.Context, s side, n int) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for i := range n {
		group.Go(func() error { return s.prepare(ctx, prepared(i)) })
	}
	return group.Wait()
}

// settled measures once and waits until the incident is at rest again.
func settled(ctx context.Context, s side, turn int, measure measurement) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	id, took, err := measure(ctx, s, turn)
	if err != nil {
		return 0, err
	}
	return took, s.settle(ctx, id)
}

// compareThroughput measures rounds of calls, the two sides in turn, and
// reports the medians of how many were answered in a second and their ratio,
// above 1 where the product is slower. So is the ratio to an engine that takes the
// same durable steps and nothing else, what signals would do, and how many events
// an incident left in its history.
func compareThroughput(b *testing.B, calls int, name naming) {
	b.Helper()
	srv := startServer(b)
	floor, ours := newFloor(b, srv), newProduct(b, srv)
	sides := []side{floor, ours, newSteps(b, srv), signals{floor}}
	took := make([][]time.Duration, len(sides))
	n := 0
	round := func() {
		for k := range sides {
			k = (k + n) % len(sides)
			d, err := throughput(b.Context(), sides[k], calls, n, name)
			require.NoError(b, err)
			took[k] = append(took[k], d)
		}
		n++
	}
	round()
	clear(took)
	for b.Loop() {
		round()
	}
	for n <= minRounds {
		round()
	}
	rate := func(k int) float64 { return float64(calls) / quantile(took[k], 50).Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate(0), "floor-pages/s")
	b.ReportMetric(rate(1), "pages/s")
	b.ReportMetric(rate(2), "steps-pages/s")
	b.ReportMetric(rate(3), "floor-signals/s")
	b.ReportMetric(rate(0)/rate(1), "ratio")
	b.ReportMetric(rate(2)/rate(1), "steps-ratio")
	for k, unit := range []string{"floor-events", "events", "steps-events"} {
		id, _ := name(n-1, 0)
		events, err := floor.events(b.Context(), sides[k], id)
		require.NoError(b, err)
		b.ReportMetric(float64(events), unit)
	}
}

// throughput is how long it takes until all calls of a round are answered. The
// work that they cause goes on meanwhile; what is left of it afterwards is
// waited for and not counted.
func throughput(ctx context.Context, s side, calls, round int, name naming) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	begin := time.Now()
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	var ids []string
	for i := range calls {
		id, event := name(round, i)
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
		group.Go(func() error { return s.page(within, id, event) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	for _, id := range ids {
		if err := s.settle(ctx, id); err != nil {
			return 0, err
		}
	}
	return took, nil
}

func quantile(d []time.Duration, percent int) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[(len(d)-1)*percent/100]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
