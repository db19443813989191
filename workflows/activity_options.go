package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// act names the activities; it is never called, only referred to.
var act *activities.Activities

// finalErrors are the application errors that trying again can not mend.
var finalErrors = []string{incident.ErrTypeDrift, incident.ErrTypeDenied, incident.ErrTypeInvalid, incident.ErrTypeNotFound}

// heartbeatTimeout is how soon a dead worker is noticed while an activity that
// heartbeats is running.
const heartbeatTimeout = 5 * time.Second

// recordOptions: nothing may happen that the ledger does not know, so the
// ledger is tried until it answers or patience ends, for ever if that is zero,
// and soon after a worker died.
func recordOptions(ctx workflow.Context, patience time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    5 * time.Second,
		ScheduleToCloseTimeout: patience,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second, NonRetryableErrorTypes: []string{incident.ErrTypeInvalid}},
	})
}

// collectOptions: sources have a deadline of their own inside the activity; a
// worker that died is replaced quickly, because people are waiting.
func collectOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 250 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second, MaximumAttempts: 8, NonRetryableErrorTypes: finalErrors},
	})
}

// decideAtOnce: one attempt inside the workflow task. While it runs nothing else
// of this incident moves, so it is short.
func decideAtOnce(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: time.Second,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// decideOptions: roles are asked of PagerDuty and Slack live. A person waits,
// so after a few attempts the answer is no.
func decideOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    10 * time.Second,
		ScheduleToCloseTimeout: time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 200 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second, MaximumAttempts: 5, NonRetryableErrorTypes: finalErrors},
	})
}

// cardOptions: a card that a dead worker was about to show is shown soon.
func cardOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    8 * time.Second,
		ScheduleToCloseTimeout: 30 * time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, NonRetryableErrorTypes: finalErrors},
	})
}

// showAtOnce: one attempt inside the workflow task. While it runs nothing else of
// this incident moves, so it is short.
func showAtOnce(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: time.Second,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// showOptions: one attempt, because card and ledger are tried alone after it.
func showOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    9 * time.Second,
		ScheduleToCloseTimeout: 12 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{MaximumAttempts: 1},
	})
}

// tellOptions: notes and escalations are tried for a long time, at
// the pace that the vendor's rate limits ask for.
func tellOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    15 * time.Second,
		ScheduleToCloseTimeout: 30 * time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, NonRetryableErrorTypes: finalErrors},
	})
}

// chartOptions: a picture of what was measured already. Few attempts are enough,
// because a Prometheus that does not answer is no error.
func chartOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 45 * time.Second,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, MaximumAttempts: 6, NonRetryableErrorTypes: finalErrors},
	})
}

// shareOptions: an upload is three calls. An incident that is over ends without the
// picture in its thread rather than wait for long.
func shareOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    30 * time.Second,
		ScheduleToCloseTimeout: 10 * time.Minute,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, NonRetryableErrorTypes: finalErrors},
	})
}

// pinImageOptions: up to four downloads from Slack. Nobody waits for them, and without
// them the postmortem links to the images.
func pinImageOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    90 * time.Second,
		ScheduleToCloseTimeout: 5 * time.Minute,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, MaximumAttempts: 4, NonRetryableErrorTypes: finalErrors},
	})
}

// postmortemOptions: GitHub may be away for hours; the postmortem can wait,
// and must not be lost.
func postmortemOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    time.Minute,
		ScheduleToCloseTimeout: 24 * time.Hour,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 5 * time.Minute, NonRetryableErrorTypes: finalErrors},
	})
}

// evidenceOptions: evidence has a budget; what could not be had in it is
// recorded as missing by the activity itself.
func evidenceOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 250 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second, MaximumAttempts: 10, NonRetryableErrorTypes: finalErrors},
	})
}

// replanOptions: reads only. If the systems can not be read, nothing is
// mutated.
func replanOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 250 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second, MaximumAttempts: 10, NonRetryableErrorTypes: finalErrors},
	})
}

// executeOptions: the action bounds itself by its maximum time; a worker that
// died is noticed by the missing heartbeat, and the next one observes first.
func executeOptions(ctx workflow.Context, a incident.Action) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: a.MaxTime + 10*time.Second,
		HeartbeatTimeout:    heartbeatTimeout,
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second, MaximumAttempts: 20, NonRetryableErrorTypes: append([]string{activities.ErrTypeOverrun}, finalErrors...)},
	})
}

// keepOptions: one activity follows all targets for as long as it may; a worker
// that died is noticed by the missing heartbeat, and the next one goes on.
func keepOptions(ctx workflow.Context, lasting time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: lasting + time.Minute,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 250 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	})
}

// measureOptions: one look at the SLIs. A Prometheus that does not answer is
// an unknown verdict, not an error, so few attempts are enough.
func measureOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		HeartbeatTimeout:    heartbeatTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 250 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 5 * time.Second, MaximumAttempts: 10, NonRetryableErrorTypes: finalErrors},
	})
}
