package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// awaitFor waits until a condition holds, for d at most, and reports whether it
// holds. Unlike [workflow.AwaitWithTimeout] it cancels its timer when the
// condition holds first: a timer that fires for nothing costs the engine a
// workflow task.
func awaitFor(ctx workflow.Context, d time.Duration, condition func() bool) bool {
	if d <= 0 || condition() {
		return condition()
	}
	timed, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimer(timed, d)
	_ = workflow.Await(ctx, func() bool { return timer.IsReady() || condition() })
	return condition()
}
