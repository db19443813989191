package drivertest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	// shortTime is the maximum time of what can not end well, on whatever machine.
	shortTime = 200 * time.Millisecond
	// grace is how much later a driver may come back, on a busy machine.
	grace = 5 * time.Second
	// firstTime is the maximum time of an action that is applied and never settles.
	// Where it does not suffice to apply it, twice as long is tried, up to
	// lastTime.
	firstTime = 500 * time.Millisecond
	lastTime  = 32 * time.Second
	// callsAfterApply is how many calls after Apply are worth being killed at:
	// those that wait for the target to settle are all alike.
	callsAfterApply = 2
	// maxCalls bounds how many calls of a run are tried.
	maxCalls = 24
)

// preflight is law 6 for one condition.
func preflight(tb testing.TB, c Case, s Scenario) {
	b := start(tb, c)
	request, as := s.Arrange(tb, b.target)
	request.Target.System = b.system
	state, count := b.digest, b.count
	var before string
	if request.Target == b.target.Request.Target {
		before = state()
	}
	changes := count()
	planned, err := b.connect(as).Plan(b.bounded(), request)
	require.NoError(tb, err, "a target that can not be rolled back is no error")
	wanted := incident.PreflightBlocked
	if s.Warns {
		wanted = incident.PreflightWarning
	} else {
		require.True(tb, planned.Blocked(), "the plan is offered: %v", planned.Preflight)
		require.Zero(tb, planned.From, "a blocked plan holds a state")
		require.Zero(tb, planned.To, "a blocked plan holds a state")
	}
	found := false
	for _, check := range planned.Preflight {
		require.NotEmpty(tb, check.Name, "a check has no name")
		require.Regexp(tb, `^[^\n]+\.$`, check.Reason, "the reason of check %q is no sentence", check.Name)
		found = found || check.Result == wanted && strings.Contains(check.Reason, s.Says)
	}
	require.True(tb, found, "no %s check says %q: %v", wanted, s.Says, planned.Preflight)
	require.Equal(tb, changes, count(), "the preflight changed the target")
	if before != "" {
		require.Equal(tb, before, state(), "the preflight changed the state")
	}
}

// killedBetweenCalls is law 7: the process dies before or after each call of the
// engine in turn, and another one completes the action.
func killedBetweenCalls(tb testing.TB, c Case) {
	untouched, changed := 0, 0
	for _, before := range []bool{true, false} {
		for call := 1; ; call++ {
			require.Less(tb, call, maxCalls, "the engine makes too many calls")
			b := start(tb, c)
			action := b.planned()
			if !b.runKilledAt(action, call, before) {
				require.Equal(tb, 1, b.mutations(), "the action was not one change")
				break
			}
			if b.mutations() == 0 {
				untouched++
			} else {
				changed++
			}
			b.completes(action, actionKey)
			require.Equal(tb, 1, b.mutations(), "killed at call %d (before it: %t) and run again, the action was not one change", call, before)
		}
	}
	require.Positive(tb, untouched, "no kill came before the effect: the law was not tried")
	require.Positive(tb, changed, "no kill came after the effect: the law was not tried")
}

// runKilledAt runs an action and dies at a call, counted from 1 over Observe, the
// record of the intent and Apply. It reports whether that call was made and the
// run is worth continuing.
func (b *bench) runKilledAt(action incident.Action, at int, before bool) (killed bool) {
	b.Helper()
	ctx, kill := context.WithCancel(b.Context())
	defer kill()
	var calls counter
	appliedAt := 0
	step := func(what func() error) error {
		n := calls.next()
		late := appliedAt > 0 && n > appliedAt+callsAfterApply
		if n == at && before && !late {
			killed = true
			kill()
			return ctx.Err()
		}
		err := what()
		if n == at && !before && !late {
			killed = true
			kill()
			return ctx.Err()
		}
		return err
	}
	inverse := wrapped{
		Inverse: b.inverse,
		observe: func(ctx context.Context, action incident.Action) (seen driver.Observation, err error) {
			err = step(func() error { seen, err = b.inverse.Observe(ctx, action); return err })
			return seen, err
		},
		apply: func(ctx context.Context, action incident.Action, key string) (receipt driver.Receipt, err error) {
			err = step(func() error { receipt, err = b.inverse.Apply(ctx, action, key); return err })
			appliedAt = calls.value()
			return receipt, err
		},
	}
	_, err := driver.Execute(ctx, inverse, action, actionKey, driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error {
		return step(func() error { return nil })
	}})
	if killed {
		require.ErrorIs(b, err, context.Canceled, "the engine went on after its end")
		return true
	}
	require.NoError(b, err, "execute")
	return false
}

// maximumTime is law 7: nothing outlives its time, not even when the system does
// not answer or the target never settles.
func maximumTime(tb testing.TB, c Case) {
	b := start(tb, c)
	action := b.planned()
	if b.proxy != nil {
		hurry := action
		hurry.MaxTime = shortTime
		b.proxy.Stall()
		began := time.Now()
		_, err := b.execute(b.inverse, hurry, actionKey)
		require.ErrorIs(tb, err, context.DeadlineExceeded, "a system that does not answer")
		require.Less(tb, time.Since(began), hurry.MaxTime+grace, "the driver outlives its time")
		b.proxy.Up()
		require.Zero(tb, b.mutations(), "the target was changed through a stalled connection")
	}

	for maxTime := firstTime; !neverSettles(tb, c, maxTime); maxTime *= 2 {
		require.Less(tb, maxTime, lastTime, "the action is not applied, or what was done is not told beside the error")
	}
}

// neverSettles runs an action on a fresh target that never settles until its time
// is over. It reports whether the time sufficed to apply it.
func neverSettles(tb testing.TB, c Case, maxTime time.Duration) (applied bool) {
	b := start(tb, c)
	action := b.planned()
	action.MaxTime = maxTime
	unsettled := b.connect(Owner)
	began := time.Now()
	out, err := b.execute(wrapped{Inverse: unsettled, observe: func(ctx context.Context, action incident.Action) (driver.Observation, error) {
		seen, err := unsettled.Observe(ctx, action)
		seen.Settled = false
		return seen, err
	}}, action, actionKey)
	require.ErrorIs(tb, err, context.DeadlineExceeded, "a target that never settles")
	require.Less(tb, time.Since(began), maxTime+grace, "the driver outlives its time")
	if out.Applied {
		require.Equal(tb, 1, b.mutations())
	}
	return out.Applied
}

// deniedIsFinal is law 7: a denial ends the action at once.
func deniedIsFinal(tb testing.TB, c Case) {
	b := start(tb, c)
	before := b.digest()
	action := b.planned()
	reader := b.connect(Reader)
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var applies counter
	out, err := driver.Execute(ctx, wrapped{Inverse: reader, apply: func(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
		if applies.next() > 1 {
			stop() // It would go on until its time is over.
		}
		return reader.Apply(ctx, action, key)
	}}, action, actionKey, driver.Hooks{BeforeApply: recorded})
	require.LessOrEqual(tb, applies.value(), 1, "a denial was retried")
	require.ErrorIs(tb, err, driver.ErrDenied, "a denial is not told as one")
	require.False(tb, out.Applied)
	require.Equal(tb, before, b.digest(), "a denied action changed the state")
	require.Zero(tb, b.mutations(), "a denied action changed the target")
}

// timeoutsRetried is law 7: what may pass is tried again. The first Observe and
// the first Apply meet a system that is down, then one that does not answer.
func timeoutsRetried(tb testing.TB, c Case) {
	for _, outage := range []struct {
		name  string
		begin func(*Proxy)
	}{
		{"down", (*Proxy).Down},
		{"stalled", (*Proxy).Stall},
	} {
		b := start(tb, c)
		action := b.planned()
		struck := map[string]error{}
		strike := func(ctx context.Context, call string, what func(ctx context.Context) error) error {
			if _, done := struck[call]; done {
				return what(ctx)
			}
			outage.begin(b.proxy)
			ctx, cancel := context.WithTimeout(ctx, shortTime)
			err := what(ctx)
			cancel()
			b.proxy.Up()
			struck[call] = err
			return err
		}
		inverse := wrapped{
			Inverse: b.inverse,
			observe: func(ctx context.Context, action incident.Action) (seen driver.Observation, err error) {
				err = strike(ctx, "Observe", func(ctx context.Context) error { seen, err = b.inverse.Observe(ctx, action); return err })
				return seen, err
			},
			apply: func(ctx context.Context, action incident.Action, key string) (receipt driver.Receipt, err error) {
				err = strike(ctx, "Apply", func(ctx context.Context) error { receipt, err = b.inverse.Apply(ctx, action, key); return err })
				return receipt, err
			},
		}
		_, err := b.execute(inverse, action, actionKey)
		for call, err := range struck {
			require.Error(tb, err, "%s succeeded on a system that was %s", call, outage.name)
			require.False(tb, driver.Final(err), "%s takes a system that was %s for final: %v", call, outage.name, err)
		}
		require.Len(tb, struck, 2)
		require.NoError(tb, err, "execute on a system that was %s for a while", outage.name)
		require.Equal(tb, 1, b.mutations(), "a system that was %s for a while was not changed once", outage.name)
	}
}

// throttlingRetried is law 7: being told to slow down is no failure.
func throttlingRetried(tb testing.TB, c Case) {
	b := start(tb, c)
	action := b.planned()
	throttled := func() {
		require.NoError(tb, b.target.Throttle(b.bounded()), "make the system throttle")
	}
	var observes, applies counter
	_, err := b.execute(wrapped{
		Inverse: b.inverse,
		observe: func(ctx context.Context, action incident.Action) (driver.Observation, error) {
			if observes.next() == 1 {
				throttled()
			}
			seen, err := b.inverse.Observe(ctx, action)
			if err != nil {
				require.False(tb, driver.Final(err), "Observe takes throttling for final: %v", err)
			}
			return seen, err
		},
		apply: func(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
			if applies.next() == 1 {
				throttled()
			}
			receipt, err := b.inverse.Apply(ctx, action, key)
			if err != nil {
				require.False(tb, driver.Final(err), "Apply takes throttling for final: %v", err)
			}
			return receipt, err
		},
	}, action, actionKey)
	require.NoError(tb, err, "execute on a system that throttles")
	require.Equal(tb, 1, b.mutations(), "a throttled action was not one change")
}

// wontRevert is law 8.
func wontRevert(tb testing.TB, c Case) {
	b := start(tb, c)
	descriptor, _ := driver.Describe(c.Kind)
	for where, list := range map[string][]string{"kind": descriptor.WontRevert, "plan": b.plan().WontRevert} {
		require.NotEmpty(tb, list, "the %s says nothing that it will not revert", where)
		for _, line := range list {
			require.NotEmpty(tb, strings.TrimSpace(line), "the %s has an empty line in what it will not revert", where)
		}
	}
	require.NotEmpty(tb, descriptor.Permission, "the kind does not say what permission it needs")
	require.NotEmpty(tb, descriptor.TargetForm, "the kind does not say how a target is spelled")
	require.NotEmpty(tb, descriptor.Layer, "the kind does not say where it belongs")
}
