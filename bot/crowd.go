package bot

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// maxInFlight is how many updates of one incident this process has in flight at
	// once. Temporal takes 10, and when it refuses the next it drops those, which are
	// sent again: a crowd of clicks would keep everybody from being heard.
	// Source: https://docs.temporal.io/cloud/limits#per-workflow-execution-concurrency-limits
	maxInFlight = 8
	// maxHeld is how long an update of which nobody awaits the result counts as in
	// flight.
	maxHeld = 10 * time.Second
)

// crowd lets as many updates of one incident through at once as Temporal takes. The
// zero value is ready.
type crowd struct {
	mu    sync.Mutex
	doors map[string]*door
}

// door is the way to one incident, for as long as anybody uses it.
type door struct {
	slots *semaphore.Weighted
	users int
}

// enter waits for its turn. What it returns is called when the update is over; more
// than once does no harm. The error is the context's.
func (c *crowd) enter(ctx context.Context, key string) (leave func(), err error) {
	c.mu.Lock()
	if c.doors == nil {
		c.doors = map[string]*door{}
	}
	d := c.doors[key]
	if d == nil {
		d = &door{slots: semaphore.NewWeighted(maxInFlight)}
		c.doors[key] = d
	}
	d.users++
	c.mu.Unlock()
	done := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.users--; d.users == 0 {
			delete(c.doors, key)
		}
	}
	if err := d.slots.Acquire(ctx, 1); err != nil {
		done()
		return nil, fmt.Errorf("wait for other messages to the incident: %w", err)
	}
	return sync.OnceFunc(func() {
		d.slots.Release(1)
		done()
	}), nil
}

// leaveLater calls leave when d is over at the latest; what it returns, at once.
func leaveLater(leave func(), d time.Duration) func() {
	timer := time.AfterFunc(d, leave)
	return func() {
		timer.Stop()
		leave()
	}
}
