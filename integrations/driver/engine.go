package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// The engine polls a target that has not settled at these intervals: quickly
// at first, because most inverses settle at once, then ever more slowly, so that
// what takes long is noticed at most an eighth of its time too late. With a [Waiter] they
// look less often, and as soon as it says that the target has settled.
const (
	firstPoll = 25 * time.Millisecond
	lastPoll  = 2 * time.Second
	// awaitedPoll is the least interval while the target itself is going to tell:
	// looking costs the system that is busy taking the change on.
	awaitedPoll = 500 * time.Millisecond
)

// Hooks let the caller of Execute write the ledger and report that it is
// alive. All are optional but BeforeApply.
type Hooks struct {
	// BeforeApply is called before every call of Apply with what was observed.
	// Its error keeps the action from being applied.
	BeforeApply func(ctx context.Context, seen Observation) error
	// Progress is called after every observation.
	Progress func(seen Observation)
}

// Outcome is what became of one action.
type Outcome struct {
	// Applied says that this execution changed the target. It is false when
	// the target was found at "to", for example by a retry of a process that
	// died after its effect.
	Applied bool
	// Last is what was observed last: the target's true state.
	Last Observation
}

// Execute takes a target to action.To: observe, apply, observe until settled,
// within action.MaxTime. The returned Outcome is true even beside an error.
//
// Errors: *DriftError, ErrDenied, ErrNotFound and ErrInvalid are final. An
// error wrapping context.DeadlineExceeded means that MaxTime is over.
func Execute(ctx context.Context, inv Inverse, action incident.Action, key string, hooks Hooks) (Outcome, error) {
	if err := action.Validate(); err != nil {
		return Outcome{}, fmt.Errorf("execute: %w: %w", ErrInvalid, err)
	}
	if hooks.BeforeApply == nil {
		return Outcome{}, fmt.Errorf("execute %q on %s: %w: nothing records the intent", action.Kind, action.Target, ErrInvalid)
	}
	var awaiting sync.WaitGroup
	defer awaiting.Wait()
	ctx, cancel := context.WithTimeout(ctx, action.MaxTime)
	defer cancel()

	var out Outcome
	var lastErr error
	told, awaited, least := make(chan struct{}), false, time.Duration(0)
	wait := firstPoll
	for {
		done, err := step(ctx, inv, action, key, hooks, &out)
		if done {
			return out, nil
		}
		if err != nil {
			if Final(err) {
				return out, err
			}
			lastErr = err
		}
		if waiter, ok := inv.(Waiter); ok && !awaited && out.Last.State.Digest == action.To.Digest {
			awaited, least = true, awaitedPoll
			awaiting.Go(func() {
				_ = waiter.Await(ctx, action) // If it can not tell, it is time to look all the same.
				close(told)
			})
		}
		select {
		case <-ctx.Done():
			return out, fmt.Errorf("execute %q on %s within %s: %w", action.Kind, action.Target, action.MaxTime, ended(ctx.Err(), lastErr))
		case <-told:
			told, least = nil, 0
		case <-time.After(max(wait, least)):
		}
		wait = min(wait*9/8, lastPoll)
	}
}

// ended says why an execution ended, and what kept it from ending well. Whoever
// was cancelled must not seem to have run out of time because its last request
// did: only the end itself is wrapped then.
func ended(end, last error) error {
	if last != nil && !errors.Is(end, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %v", end, last) //nolint:errorlint // See above.
	}
	return errors.Join(end, last)
}

// step observes once and applies at most once. It is done when the target is
// at "to" and settled.
func step(ctx context.Context, inv Inverse, action incident.Action, key string, hooks Hooks, out *Outcome) (done bool, err error) {
	seen, err := inv.Observe(ctx, action)
	if err != nil {
		return false, err
	}
	out.Last = seen
	if hooks.Progress != nil {
		hooks.Progress(seen)
	}
	switch seen.State.Digest {
	case action.To.Digest:
		return seen.Settled, nil
	case action.From.Digest:
	default:
		return false, &DriftError{Action: action, Observed: seen.State, Difference: seen.Detail}
	}
	if out.Applied {
		// The system accepted the change and shows the old state again: a
		// third party put it back. Fighting it would oscillate.
		return false, &DriftError{Action: action, Observed: seen.State, Difference: "somebody changed it back during the rollback"}
	}
	if err := hooks.BeforeApply(ctx, seen); err != nil {
		return false, fmt.Errorf("record intent: %w", err)
	}
	receipt, err := inv.Apply(ctx, action, key)
	if receipt.Mutated {
		out.Applied = true
	}
	if err != nil {
		return false, err
	}
	again, err := inv.Observe(ctx, action)
	if err != nil {
		return false, err
	}
	out.Last = again
	if hooks.Progress != nil {
		hooks.Progress(again)
	}
	return again.State.Digest == action.To.Digest && again.Settled, nil
}
