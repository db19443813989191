package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

var (
	// errNoClock means that the settings name no clock.
	errNoClock = fmt.Errorf("%w: the settings name no clock_key", driver.ErrInvalid)
	// errEarlier means that the clock, or the history, does not reach back.
	errEarlier = errors.New("the clock does not reach back")
)

// timeOf is when a revision of the store was made: the tick before it, and one
// nanosecond for each revision since. errEarlier when there is none.
func (c *connection) timeOf(ctx context.Context, revision int64) (time.Time, error) {
	if c.settings.ClockKey == "" {
		return time.Time{}, errNoClock
	}
	tick, _, err := c.at(ctx, c.settings.ClockKey, revision)
	switch {
	case errors.Is(err, errCompacted):
		return time.Time{}, errEarlier
	case err != nil:
		return time.Time{}, fmt.Errorf("read clock_key: %w", err)
	case !tick.there:
		return time.Time{}, errEarlier
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(tick.value)))
	if err != nil {
		return time.Time{}, fmt.Errorf("read clock_key: %w: the value is no time of the form %s", driver.ErrInvalid, time.RFC3339)
	}
	return at.UTC().Add(time.Duration(revision - tick.revision)), nil
}

// lastBefore is the newest revision of the store that was made before a moment;
// errEarlier when the clock does not reach back to it.
func (c *connection) lastBefore(ctx context.Context, moment time.Time, newest int64) (int64, error) {
	known := false
	low, high := int64(0), newest+1 // At low or before it, and after it.
	for high-low > 1 {
		middle := low + (high-low)/2
		at, err := c.timeOf(ctx, middle)
		switch {
		case errors.Is(err, errEarlier):
			low, known = middle, false
		case err != nil:
			return 0, err
		case at.Before(moment):
			low, known = middle, true
		default:
			high = middle
		}
	}
	if !known {
		return 0, errEarlier
	}
	return low, nil
}
