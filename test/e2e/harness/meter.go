package harness

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	realprom "github.com/backout/backout/test/prometheus"
)

// How the services are measured.
const (
	meterEvery = 100 * time.Millisecond
	// backfill is how much healthy past every service has, in steps of
	// backfillStep.
	backfill     = 30 * time.Second
	backfillStep = 250 * time.Millisecond
)

// The two series of every service, and their healthy and unhealthy values.
const (
	errorRatio   = "shop_error_ratio"
	requestRate  = "shop_requests_per_second"
	healthyRatio = 0.001
	badRatio     = 0.4
	healthyRate  = 50
)

// Signal says what Prometheus sees of a service.
type Signal int

// The signals. The zero value follows the release that the service runs.
const (
	// Truthful is the error ratio of the release that runs.
	Truthful Signal = iota
	// NaN is a ratio of nothing by nothing.
	NaN
	// Silent writes nothing any more: the series go stale by age.
	Silent
	// Ended writes the marker that ends a series, and then nothing.
	Ended
	// Idle has a perfect ratio and no traffic: the service is dead.
	Idle
	// Ailing has the bad ratio whatever release runs.
	Ailing
)

// meter writes the services' metrics into Prometheus as a scrape would.
type meter struct {
	metrics  *realprom.Server
	releases *Releases
	services []string

	mu      sync.Mutex
	signals map[string]Signal
	ended   map[string]bool
	stop    context.CancelFunc
	done    chan struct{}
	err     error
}

// startMeter writes the past and then the present of the services that Prometheus
// has ever seen.
func startMeter(ctx context.Context, metrics *realprom.Server, releases *Releases, services []string) (*meter, error) {
	m := &meter{metrics: metrics, releases: releases, services: services, signals: map[string]Signal{}, ended: map[string]bool{}, done: make(chan struct{})}
	until := time.Now()
	var past []realprom.Series
	for _, s := range services {
		ratio, rate := series(errorRatio, s), series(requestRate, s)
		for at := until.Add(-backfill); at.Before(until); at = at.Add(backfillStep) {
			ratio.Samples = append(ratio.Samples, realprom.Sample{At: at, Value: healthyRatio})
			rate.Samples = append(rate.Samples, realprom.Sample{At: at, Value: healthyRate})
		}
		past = append(past, ratio, rate)
	}
	if err := metrics.Append(ctx, past...); err != nil {
		return nil, fmt.Errorf("write the past: %w", err)
	}
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	go m.run(ctx)
	return m, nil
}

func series(name, service string) realprom.Series {
	return realprom.Series{Labels: map[string]string{"__name__": name, "service": service}}
}

func (m *meter) run(ctx context.Context) {
	defer close(m.done)
	tick := time.NewTicker(meterEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := m.metrics.Append(ctx, m.present(time.Now())...); err != nil && ctx.Err() == nil {
			m.mu.Lock()
			m.err = err
			m.mu.Unlock()
			return
		}
	}
}

// present is one sample of every series that has one now.
func (m *meter) present(now time.Time) []realprom.Series {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []realprom.Series
	for _, s := range m.services {
		ratio, rate := series(errorRatio, s), series(requestRate, s)
		value, traffic := healthyRatio, float64(healthyRate)
		if m.releases.Running(s) == BadRelease {
			value = badRatio
		}
		switch m.signals[s] {
		case Truthful:
		case NaN:
			value = math.NaN()
		case Idle:
			value, traffic = 0, 0
		case Ailing:
			value = badRatio
		case Silent:
			continue
		case Ended:
			if m.ended[s] {
				continue
			}
			m.ended[s] = true
			ratio.EndStale, rate.EndStale = true, true
		}
		ratio.Samples = []realprom.Sample{{At: now, Value: value}}
		rate.Samples = []realprom.Sample{{At: now, Value: traffic}}
		out = append(out, ratio, rate)
	}
	return out
}

func (m *meter) set(service string, s Signal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signals[service] = s
}

// Close ends the writing. Its error is the first that Prometheus answered with.
func (m *meter) Close() error {
	m.stop()
	<-m.done
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}
