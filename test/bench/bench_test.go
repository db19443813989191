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
	// callWithin bounds one call, so that a hang is an error.
	callWithin = 30 * time.Second

	// batch is how many calls make up one measurement of throughput, and
	// inFlight how many of them run at once: Temporal takes 10 updates of one
	// workflow at a time.
	// Source: https://docs.temporal.io/workflow-execution/limits
	batch    = 64
	inFlight = 8
)

func BenchmarkStartToFirstActivity(b *testing.B) {
	compareLatency(b, func(ctx context.Context, s side, i int) (time.Duration, error) {
		id := fmt.Sprintf("first-%d", i)
		begin := time.Now()
		sent := make(chan error, 1)
		go func() { sent <- s.page(ctx, id, "event") }()
		err := await(ctx, s.firstActivity(id))
		took := time.Since(begin)
		if sendErr := <-sent; sendErr != nil {
			err = sendErr
		}
		return took, err
	})
}

func BenchmarkPageCompleted(b *testing.B) {
	compareLatency(b, func(ctx context.Context, s side, i int) (time.Duration, error) {
		id := fmt.Sprintf("page-%d", i)
		if err := s.prepare(ctx, id); err != nil {
			return 0, err
		}
		begin := time.Now()
		err := s.page(ctx, id, "again")
		return time.Since(begin), err
	})
}

func BenchmarkDecisionCompleted(b *testing.B) {
	compareLatency(b, func(ctx context.Context, s side, i int) (time.Duration, error) {
		id := fmt.Sprintf("decide-%d", i)
		if err := s.prepare(ctx, id); err != nil {
			return 0, err
		}
		begin := time.Now()
		err := s.decide(ctx, id, "click")
		return time.Since(begin), err
	})
}

func BenchmarkPagesOfDistinctIncidents(b *testing.B) {
	compareThroughput(b, func(round, i int) (id, event string) {
		return fmt.Sprintf("distinct-%d-%d", round, i), "event"
	})
}

func BenchmarkPagesOfOneIncident(b *testing.B) {
	compareThroughput(b, func(round, i int) (id, event string) {
		return fmt.Sprintf("same-%d", round), fmt.Sprintf("event-%d", i)
	})
}

// compareLatency measures one call at a time, the two sides in turn, and
// reports both medians and their ratio.
func compareLatency(b *testing.B, measure func(ctx context.Context, s side, i int) (time.Duration, error)) {
	b.Helper()
	srv := startServer(b)
	sides := []side{newFloor(b, srv), newProduct(b, srv)}
	took := make([][]time.Duration, len(sides))
	once := func(i int) {
		ctx, cancel := context.WithTimeout(b.Context(), callWithin)
		defer cancel()
		for n := range sides {
			// Who comes first changes with every turn.
			n = (n + i) % len(sides)
			d, err := measure(ctx, sides[n], i)
			require.NoError(b, err)
			took[n] = append(took[n], d)
		}
	}
	once(0) // The first call pays for connections.
	took = make([][]time.Duration, len(sides))
	i := 0
	for b.Loop() {
		i++
		once(i)
	}
	bare, ours := quantile(took[0], 50), quantile(took[1], 50)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(bare), "floor-p50-ms")
	b.ReportMetric(milliseconds(ours), "p50-ms")
	b.ReportMetric(milliseconds(quantile(took[0], 99)), "floor-p99-ms")
	b.ReportMetric(milliseconds(quantile(took[1], 99)), "p99-ms")
	b.ReportMetric(float64(ours)/float64(bare), "ratio")
}

// compareThroughput measures batches of calls, the two sides in turn, and
// reports how many were answered in a second and the ratio, above 1 where the
// product is slower. What signals would do is reported as well.
func compareThroughput(b *testing.B, name func(round, i int) (id, event string)) {
	b.Helper()
	srv := startServer(b)
	bare, ours := newFloor(b, srv), newProduct(b, srv)
	sends := []func(ctx context.Context, id, event string) error{bare.page, ours.page, bare.signal}
	prefixes := []string{"", "", "signal-"}
	took := make([]time.Duration, len(sends))
	round := func(n int) {
		for k := range sends {
			k = (k + n) % len(sends)
			ctx, cancel := context.WithTimeout(b.Context(), callWithin)
			begin := time.Now()
			group, ctx := errgroup.WithContext(ctx)
			group.SetLimit(inFlight)
			for i := range batch {
				id, event := name(n, i)
				group.Go(func() error { return sends[k](ctx, prefixes[k]+id, event) })
			}
			err := group.Wait()
			took[k] += time.Since(begin)
			cancel()
			require.NoError(b, err)
		}
	}
	round(0)
	clear(took)
	n := 0
	for b.Loop() {
		n++
		round(n)
	}
	rate := func(k int) float64 { return float64(n*batch) / took[k].Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate(0), "floor-pages/s")
	b.ReportMetric(rate(1), "pages/s")
	b.ReportMetric(rate(2), "floor-signals/s")
	b.ReportMetric(rate(0)/rate(1), "ratio")
}

func quantile(d []time.Duration, percent int) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[(len(d)-1)*percent/100]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
