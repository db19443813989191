package drivertest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
)

// maxChunks bounds how many points of one call are tried.
const maxChunks = 64

// readsOnly is law 1.
func readsOnly(tb testing.TB, c Case) {
	b := start(tb, c)
	before := b.digest()
	action := b.planned()
	again := b.plan()
	require.Equal(tb, action.From, again.From, "planning twice finds another present state")
	require.Equal(tb, action.To, again.To, "planning twice finds another wanted state")
	seen := b.observed(action)
	require.Equal(tb, action.From.Digest, seen.State.Digest, "Observe and Plan see different states")
	b.observed(action.Swapped())
	require.Equal(tb, before, b.digest(), "reading changed the state")
	require.Zero(tb, b.mutations(), "reading changed the target")
}

// applyTwice is law 2 with nothing lost.
func applyTwice(tb testing.TB, c Case) {
	b := start(tb, c)
	before := b.digest()
	action := b.planned()
	receipt := b.applied(action, actionKey)
	require.True(tb, receipt.Mutated, "the receipt denies the change")
	after := b.digest()
	require.NotEqual(tb, before, after, "nothing changed")
	require.Equal(tb, 1, b.mutations(), "one Apply is not one change")
	for _, key := range []string{actionKey, otherKey} {
		receipt = b.applied(action, key)
		require.False(tb, receipt.Mutated, "the receipt claims a second change")
	}
	require.Equal(tb, 1, b.mutations(), "Apply changed the target a second time")
	require.Equal(tb, after, b.digest())
	b.completes(action, actionKey)
	require.Equal(tb, 1, b.mutations(), "the engine changed the target a second time")
}

// lostRequest is law 2 where the request never arrived.
func lostRequest(tb testing.TB, c Case) {
	cutDuringApply(tb, c, (*Proxy).LoseRequest)
}

// lostResponse is law 2 where the response was lost.
func lostResponse(tb testing.TB, c Case) {
	// Where a controller writes to the target at the same moment, the effect that was
	// to be cut off may have been refused as busy.
	effects := 0
	for tries := 0; effects == 0 && tries < maxBusy; tries++ {
		effects = cutDuringApply(tb, c, (*Proxy).LoseResponse)
	}
	require.Positive(tb, effects, "no cut hit an effect: the law was not tried")
}

// cutDuringApply cuts the connection at each point of Apply in turn and completes
// the action on a new connection. It counts the cuts behind which Apply failed
// and the target had changed.
func cutDuringApply(tb testing.TB, c Case, cut func(p *Proxy, nth int)) (effects int) {
	for nth := 1; ; nth++ {
		require.Less(tb, nth, maxChunks, "Apply sends too many chunks")
		b := start(tb, c)
		action := b.planned()
		cut(b.proxy, nth)
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		receipt, err := b.inverse.Apply(ctx, action, actionKey)
		cancel()
		struck := b.proxy.Disarm()
		if !struck {
			if err != nil {
				require.False(tb, driver.Final(err), "apply, with nothing cut: %v", err)
				b.applied(action, actionKey)
			}
			require.Equal(tb, 1, b.mutations(), "one Apply is not one change")
			return effects
		}
		if err != nil {
			require.False(tb, driver.Final(err), "a cut at chunk %d is taken for final: %v", nth, err)
		}
		changed := b.mutations()
		if err != nil && changed > 0 {
			effects++
		}
		require.LessOrEqual(tb, changed, 1, "a cut at chunk %d caused several changes", nth)
		if receipt.Mutated {
			require.Equal(tb, 1, changed, "the receipt claims a change that is not there")
		}
		b.completes(action, actionKey)
		require.Equal(tb, 1, b.mutations(), "a cut at chunk %d and a retry are not one change", nth)
	}
}

// driftRefused is law 3.
func driftRefused(tb testing.TB, c Case) {
	b := start(tb, c)
	action := b.planned()
	b.interfere()
	state, count := b.digest(), b.mutations()

	receipt, err := b.inverse.Apply(b.bounded(), action, actionKey)
	drift := refusal(b, err)
	require.False(tb, receipt.Mutated, "the receipt claims a change beside a refusal")
	require.Equal(tb, action.Target, drift.Action.Target, "the refusal names another target")
	require.NotEqual(tb, action.From.Digest, drift.Observed.Digest, "the refusal names the expected state")
	require.Contains(tb, drift.Difference, b.target.Difference, "the refusal does not name the difference")

	intents := 0
	_, err = driver.Execute(b.Context(), b.inverse, action, actionKey, driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error {
		intents++
		return nil
	}})
	drift = refusal(b, err)
	require.Contains(tb, drift.Difference, b.target.Difference, "Observe does not name the difference")
	require.Zero(tb, intents, "the engine recorded an intent for a target that had drifted")

	_, err = b.inverse.Apply(b.bounded(), action.Swapped(), otherKey)
	requireDrift(b, err)
	require.Equal(tb, state, b.digest(), "a refused action changed the state")
	require.Equal(tb, count, b.mutations(), "a refused action changed the target")
}

// requireDrift requires a refusal that says what is there instead.
func requireDrift(b *bench, err error) {
	b.Helper()
	require.NotNil(b, refusal(b, err))
}

// refusal is the error as a refusal that says what is there instead.
func refusal(b *bench, err error) *driver.DriftError {
	b.Helper()
	var drift *driver.DriftError
	require.ErrorAs(b, err, &drift, "a target that had drifted is not refused")
	require.NotEmpty(b, strings.TrimSpace(drift.Difference), "the refusal does not name the difference")
	return drift
}

// newerChange is law 4 with a change between plan and apply.
func newerChange(tb testing.TB, c Case) {
	b := start(tb, c)
	action := b.planned()
	b.interfere()
	newer := b.digest()
	_, err := b.execute(b.inverse, action, actionKey)
	requireDrift(b, err)
	require.Equal(tb, newer, b.digest(), "the newer change was clobbered")

	// A new plan starts from the newer change and leads back to the same state:
	// what was wanted is absolute.
	again := b.plan()
	require.Equal(tb, action.To.Digest, again.To.Digest, "the newer change moved what to go back to")
	require.NotEqual(tb, action.From.Digest, again.From.Digest, "the new plan starts from the old state")
	fresh := b.action(again)
	b.completes(fresh, otherKey)
	require.Equal(tb, 2, b.mutations(), "the newer change and the rollback are not two changes")
}

// newerChangeDuringApply is law 4 with a change at each point of Apply in turn.
// Whoever writes last is the third party, so that its state must be there in the
// end. Where the system has no compare-and-set, it may have been out of force for one
// write, if the refusal says so.
func newerChangeDuringApply(tb testing.TB, c Case) {
	refusals, overwritten := 0, 0
	for nth := 1; ; nth++ {
		require.Less(tb, nth, maxChunks, "Apply sends too many chunks")
		b := start(tb, c)
		action := b.planned()
		var interference error
		newer := ""
		changed := make(chan struct{})
		b.proxy.Pause(nth, func() {
			defer close(changed)
			// Not the test's goroutine: it must not be failed here.
			if interference = b.target.Interfere(b.Context()); interference == nil {
				newer, interference = b.target.Digest(b.Context())
			}
		})
		ctx, cancel := context.WithTimeout(b.Context(), patience)
		receipt, err := b.inverse.Apply(ctx, action, actionKey)
		cancel()
		if !b.proxy.Disarm() {
			if err != nil {
				require.False(tb, driver.Final(err), "apply, with no change meanwhile: %v", err)
				b.applied(action, actionKey)
			}
			break
		}
		// An answer may overtake the change that came before it.
		select {
		case <-changed:
		case <-b.Context().Done():
			require.NoError(tb, b.Context().Err(), "wait for the change of a third party")
		}
		require.NoError(tb, interference, "change the target as a third party")
		require.Equal(tb, newer, b.digest(), "a change that came at chunk %d was clobbered", nth)
		if receipt.Mutated {
			require.Equal(tb, 2, b.mutations())
			continue
		}
		for tries := 1; err != nil && !driver.Final(err) && tries < maxBusy; tries++ {
			_, err = b.inverse.Apply(b.bounded(), action, actionKey)
		}
		drift := refusal(b, err)
		refusals++
		if c.Overwrites != "" && b.mutations() == overwrittenChanges {
			overwritten++
			require.Contains(tb, drift.Difference, "put back", "the refusal does not say that the change was overwritten")
			continue
		}
		require.Equal(tb, 1, b.mutations(), "a refused action changed the target")
	}
	require.Positive(tb, refusals, "no change came before the effect: the law was not tried")
	if c.Overwrites != "" {
		require.Equal(tb, 1, overwritten, "a change may be overwritten by the write alone, and then always is")
	}
}

// overwrittenChanges are a change by somebody else, the write that overwrites it, and
// the one that puts it back.
const overwrittenChanges = 3

// involution is law 5 where there is a way back.
func involution(tb testing.TB, c Case) {
	b := start(tb, c)
	before := b.digest()
	planned := b.plan()
	require.True(tb, planned.Reversible, "the plan denies the way back")
	action := b.action(planned)
	b.completes(action, actionKey)
	require.NotEqual(tb, before, b.digest(), "the action changed nothing")
	b.completes(action.Swapped(), otherKey)
	require.Equal(tb, before, b.digest(), "the way back leads elsewhere")
	require.Equal(tb, 2, b.mutations(), "there and back are not two changes")
}

// oneWayDoor is law 5 where there is none.
func oneWayDoor(tb testing.TB, c Case) {
	if c.OneWay != nil {
		c.Start = c.OneWay
	}
	b := start(tb, c)
	before := b.digest()
	planned := b.plan()
	require.False(tb, planned.Reversible, "the plan promises a way back")
	b.completes(b.action(planned), actionKey)
	require.NotEqual(tb, before, b.digest(), "the action changed nothing")
	require.Equal(tb, 1, b.mutations(), "one action is not one change")
}
