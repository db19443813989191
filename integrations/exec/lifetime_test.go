package exec

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/exec/exectest"
	"github.com/backout/backout/workflows/incident"
)

// TestOverdue shows that a program that does not end is ended, also when it
// ignores that it is asked to.
func TestOverdue(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hang", "ignore-sigterm"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, mode, map[string]any{"timeout": 2 * time.Second})
			began := time.Now()
			_, err := h.inverse.Observe(t.Context(), hostileAction())
			require.ErrorIs(t, err, errOverdue)
			require.False(t, driver.Final(err))
			require.NotErrorIs(t, err, context.DeadlineExceeded, "it was not the action whose time was over")
			require.Less(t, time.Since(began), 10*time.Second)
			if mode == "ignore-sigterm" {
				require.FileExists(t, h.file, "it was killed before it ignored anything")
				requireGone(t, h.file)
			}
		})
	}
}

// TestMaximumTime shows that the time of an action ends a program too.
func TestMaximumTime(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "ignore-sigterm", nil)
	began := time.Now()
	_, err := h.execute(t, 300*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), 5*time.Second)
}

// TestChildrenEnd shows that what a program leaves behind is killed.
func TestChildrenEnd(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"fork-silently", "fork-holding"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, mode, nil)
			_, err := h.inverse.Observe(t.Context(), hostileAction())
			if mode == "fork-silently" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, errProtocol)
			}
			requireGone(t, h.file)
		})
	}
}

// requireGone waits until the process whose number is in a file has ended: a
// kill takes effect soon, and whoever adopted the process may take its time to
// bury it.
func requireGone(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(content))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return syscall.Kill(pid, 0) != nil
		}
		_, rest, _ := strings.Cut(string(status), ") ")
		return strings.HasPrefix(rest, "Z")
	}, 10*time.Second, 5*time.Millisecond, "the process is still there")
}

// TestBusyIsRetried holds the lock of the sample: nothing is final, and once the
// lock is free the action is one change.
func TestBusyIsRetried(t *testing.T) {
	t.Parallel()
	r := exectest.NewReleases(t)
	for _, version := range []string{"v1", "v2"} {
		require.NoError(t, r.Deploy(version, "", "ada"))
	}
	inv := inverse{opened(t, r.Settings(drivertest.Owner, nil))}
	target := incident.Target{System: "releases", Path: r.Service}
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target, Revision: "1"})
	require.NoError(t, err)
	action := incident.Action{Kind: kind, Target: target, From: planned.From, To: planned.To, MaxTime: time.Minute, OnFailure: incident.OnFailureStop}
	unlock, err := r.Lock()
	require.NoError(t, err)
	_, err = inv.Apply(t.Context(), action, "key")
	require.ErrorContains(t, err, "somebody else holds the lock")
	require.False(t, driver.Final(err))
	unlock()
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)

	// Somebody releases the bad version again: the same action is not applied twice.
	require.NoError(t, r.Deploy("v2", "", "ada"))
	_, err = inv.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "changed it back after this very action")
	n, err := r.Changes(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, n)
}

// TestKilledAtAnyMoment ends the sample at a moment that nobody chose, again and
// again: the pointer is always whole and at one of both states, and whoever
// completes the action makes it one change.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for after := time.Duration(0); after < 12*time.Millisecond; after += time.Millisecond {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			r := exectest.NewReleases(t)
			for _, version := range []string{"v1", "v2"} {
				require.NoError(t, r.Deploy(version, "", "ada"))
			}
			inv := inverse{opened(t, r.Settings(drivertest.Owner, nil))}
			target := incident.Target{System: "releases", Path: r.Service}
			planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target, Revision: "1"})
			require.NoError(t, err)
			action := incident.Action{Kind: kind, Target: target, From: planned.From, To: planned.To, MaxTime: time.Minute, OnFailure: incident.OnFailureStop}
			ctx, kill := context.WithTimeout(t.Context(), after)
			_, err = inv.Apply(ctx, action, "key")
			kill()
			require.False(t, driver.Final(err), "%v", err)
			// What an earlier run left behind is in nobody's way.
			require.NoError(t, os.WriteFile(filepath.Join(r.Dir, r.Service+".json.next"), []byte("{"), 0o600))
			_, err = driver.Execute(t.Context(), inv, action, "key", driver.Hooks{
				BeforeApply: func(context.Context, driver.Observation) error { return nil },
			})
			require.NoError(t, err)
			p, err := r.Read()
			require.NoError(t, err)
			require.Len(t, p.Releases, 3)
			require.Equal(t, "v1", p.Releases[2].Version)
		})
	}
}
