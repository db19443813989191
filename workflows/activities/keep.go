package activities

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/backout/backout/runbooks"
)

// keepRetry is how long a target whose states can not be kept is left alone: until
// somebody may have granted a right.
const keepRetry = 30 * time.Second

// errWorkerStops ends an attempt whose worker stops; another worker goes on.
var errWorkerStops = errors.New("the worker stops")

// KeepStates keeps the states of the targets in Recorded. It follows all of them at
// once until its time is over, and then says which it could not follow in the end;
// each such problem is logged when it comes up. When its worker stops it fails, for
// the next attempt to go on elsewhere.
func (a *Activities) KeepStates(ctx context.Context, in KeepInput) (KeepResult, error) {
	defer beat(ctx)()
	result := KeepResult{Targets: len(a.Recorded)}
	if len(a.Recorded) > 0 && a.Recorders == nil {
		return result, asActivityError(fmt.Errorf("keep states: recorder is %w", errNotConfigured))
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if activity.IsActivity(ctx) {
		stopped, over := activity.GetWorkerStopChannel(ctx), ctx.Done()
		go func() {
			select {
			case <-stopped:
				end(errWorkerStops)
			case <-over:
			}
		}()
	}
	timed, cancel := context.WithTimeout(ctx, in.For)
	defer cancel()
	problems := make([]error, len(a.Recorded))
	var following sync.WaitGroup
	for i, t := range a.Recorded {
		following.Go(func() { problems[i] = a.follow(timed, t) })
	}
	following.Wait()
	if ctx.Err() != nil {
		return result, asActivityError(fmt.Errorf("keep states: %w", context.Cause(ctx)))
	}
	for i, t := range a.Recorded {
		if problems[i] != nil {
			result.Failed = append(result.Failed, fmt.Sprintf("%s %s: %s", t.Kind, t.Target, said(problems[i])))
		}
	}
	return result, nil
}

// follow keeps the states of one target until the context ends. The error is what
// stood in the way at that moment.
func (a *Activities) follow(ctx context.Context, t runbooks.KindTarget) error {
	var last string
	for {
		recorder, err := a.Recorders.Recorder(t.Kind, t.Target.System)
		if err == nil {
			err = recorder.Watch(ctx, t.Target)
			if ctx.Err() != nil {
				return nil
			}
		}
		if err == nil {
			err = errors.New("the watch ended by itself")
		}
		if problem := said(err); problem != last && activity.IsActivity(ctx) {
			last = problem
			activity.GetLogger(ctx).Error("The states of a target are not kept.", "kind", t.Kind, "target", t.Target.String(), "error", problem)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(keepRetry):
		}
	}
}
