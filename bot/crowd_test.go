package bot

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCrowd lets as many through as Temporal takes, of each incident on its own.
func TestCrowd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c crowd
		var first []func()
		for range maxInFlight {
			leave, err := c.enter(t.Context(), "pagerduty/Q1")
			require.NoError(t, err)
			first = append(first, leave)
		}
		other, err := c.enter(t.Context(), "pagerduty/Q2")
		require.NoError(t, err)
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.enter(hurried, "pagerduty/Q1")
		require.ErrorIs(t, err, context.DeadlineExceeded)

		entered := make(chan func())
		go func() {
			leave, err := c.enter(t.Context(), "pagerduty/Q1")
			if err == nil {
				entered <- leave
			}
		}()
		synctest.Wait()
		select {
		case <-entered:
			require.Fail(t, "more are in flight than Temporal takes")
		default:
		}
		// Leaving twice makes room for one.
		first[0]()
		first[0]()
		next := <-entered
		_, err = c.enter(hurried, "pagerduty/Q1")
		require.Error(t, err)

		// Who is forgotten leaves by itself.
		forgotten := leaveLater(next, maxHeld)
		<-time.After(maxHeld + time.Millisecond)
		again, err := c.enter(t.Context(), "pagerduty/Q1")
		require.NoError(t, err)
		forgotten()

		again()
		other()
		for _, leave := range first {
			leave()
		}
		require.Empty(t, c.doors, "an incident that nobody writes to is kept")
	})
}
