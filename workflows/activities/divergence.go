package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// Bounds of counting. They are Backout's own: the systems that are asked serve
// production, and a look at recovery must not wait for long.
const (
	// countBudget is how long all data checks of a runbook together may take.
	countBudget = 12 * time.Second
	// maxCounting is how many are counted at one time.
	maxCounting = 2
	// countStep is the resolution of a query at one moment, which has one sample.
	countStep = time.Second
	// maxUncounted is the longest reason why something was not counted, in runes: it is
	// kept with every look.
	maxUncounted = 200
	// maxCountsTold is how many counts are in the line about a manifest.
	maxCountsTold = 5
)

// errUncounted means that the budget was used up by others.
var errUncounted = fmt.Errorf("there was no time left: all data checks together have %s", countBudget)

// countData makes every data check once, in the order of the runbook. It never fails:
// what could not be counted says why.
func (a *Activities) countData(ctx context.Context, service string, checks []incident.DataCheck) []incident.DataCount {
	if len(checks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, countBudget)
	defer cancel()
	counts := make([]incident.DataCount, len(checks))
	running := make(chan struct{}, maxCounting)
	var wg sync.WaitGroup
	for i, c := range checks {
		counts[i] = incident.DataCount{Name: c.Name}
		select {
		case running <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			counts[i].At, counts[i].Missing = a.Now().UTC(), errUncounted.Error()
			continue
		}
		wg.Go(func() {
			defer func() { <-running }()
			n, err := a.countWithin(ctx, c)
			counts[i].At = a.Now().UTC()
			if err != nil {
				counts[i].Missing = uncounted(err)
				return
			}
			counts[i].Count = &n
		})
	}
	wg.Wait()
	if meter, ok := a.Meter.(DataMeter); ok {
		meter.Diverges(service, checks, counts)
	}
	return counts
}

// uncounted is why something was not counted: without secrets, and short.
func uncounted(err error) string {
	text := said(err)
	if r := []rune(text); len(r) > maxUncounted {
		return string(r[:maxUncounted-1]) + "…"
	}
	return text
}

// countWithin gives up on a check that does not stop when its time is over, and
// survives a driver that panics.
func (a *Activities) countWithin(ctx context.Context, c incident.DataCheck) (int64, error) {
	n, answered, err := guarded(ctx, func() (int64, error) { return Count(ctx, a.Systems, c, a.Now().UTC()) })
	if !answered || err != nil && ctx.Err() != nil {
		return 0, fmt.Errorf("it was not counted in time, which is %s at most", countBudget)
	}
	return n, err
}

// Count asks the system of one data check, a Prometheus for what it has now. Whatever is
// not exactly one count is an error that says what it is.
func Count(ctx context.Context, systems Systems, c incident.DataCheck, now time.Time) (int64, error) {
	if err := recovery.CheckData([]incident.DataCheck{c}); err != nil {
		return 0, err
	}
	if c.SQL != "" {
		counter, err := systems.Counter(c.System)
		if err != nil {
			return 0, err
		}
		return counter.Count(ctx, c.SQL)
	}
	probe, err := systems.Probe(c.System)
	if err != nil {
		return 0, err
	}
	series, err := probe.QueryRange(ctx, c.PromQL, now, now, countStep)
	if err != nil {
		return 0, err
	}
	n, why := recovery.CountOf(series)
	if why != "" {
		return 0, errors.New(why)
	}
	return n, nil
}
