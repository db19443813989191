package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// Bounds of the watch over recovery, so that a long one stays far below
// Temporal's limit of 51,200 events for a history: each look costs some ten.
const (
	maxLooks = 1500
	// reports of a watch in which nothing changes are this far apart at least,
	// and this many at most.
	reportEvery = 10 * time.Second
	maxReports  = 90
)

// judge looks at the SLIs and data checks until the verdict has held, or the deadline is over.
func (r *rollback) judge(ctx workflow.Context) {
	var plan activities.RecoveryPlan
	if err := workflow.ExecuteActivity(replanOptions(ctx), act.RecoveryPlan, r.in.Option.Plan).Get(ctx, &plan); err != nil {
		r.verdict(ctx, r.unknown(ctx, "how to judge recovery could not be read: "+plain(err)))
		return
	}
	r.step(ctx, "waiting for the service to warm up")
	deadline := r.view.ActionsDoneAt.Add(plan.Deadline)
	every := max(plan.Every, (plan.Deadline+plan.Hold)/maxLooks, time.Second)
	quiet := max(reportEvery, plan.Deadline/maxReports)
	// Looks as far apart as they are meant to be always join up.
	spec := incident.RecoverySpec{Hold: plan.Hold, Long: max(plan.Long, 2*every)}
	r.pause(ctx, plan.Warmup)
	var hold recovery.Hold
	for {
		res := r.measure(ctx)
		var state recovery.HoldState
		hold, state = hold.Next(spec, res)
		switch {
		case state == recovery.HoldDone:
			r.verdict(ctx, res)
			return
		case r.stop:
			if r.view.Status == incident.RollbackDone {
				r.view.Status, r.view.Reason = incident.RollbackCancelled, "all actions are done; the watch over recovery was stopped by a responder"
			}
			r.verdict(ctx, r.unknown(ctx, "the watch was stopped by a responder; the last look said "+string(res.Verdict)+": "+res.Reason))
			return
		// A hold that began in time may end after the deadline.
		case state != recovery.HoldRunning && !workflow.Now(ctx).Before(deadline):
			r.verdict(ctx, res)
			return
		}
		news := r.view.Recovery == nil || r.view.Recovery.Verdict != res.Verdict
		r.view.Recovery, r.view.Step = &res, "watching the service recover: "+res.Reason
		if news || workflow.Now(ctx).Sub(r.reportedAt) >= quiet {
			r.report(ctx)
		}
		r.pause(ctx, every)
	}
}

// pause waits, or until somebody asks for an end.
func (r *rollback) pause(ctx workflow.Context, d time.Duration) {
	if d > 0 {
		awaitFor(ctx, d, func() bool { return r.stop })
	}
}

func (r *rollback) measure(ctx workflow.Context) incident.RecoveryResult {
	var res incident.RecoveryResult
	in := activities.MeasureInput{
		Plan: r.in.Option.Plan, OnsetAt: r.in.OnsetAt, ChangedAt: r.in.ChangedAt, StartedAt: r.view.StartedAt, ActionsDoneAt: r.view.ActionsDoneAt,
	}
	if r.view.Before != nil {
		in.Before = r.view.Before.Counts
	}
	if r.view.Recovery != nil {
		in.Last = r.view.Recovery.Data
	}
	err := workflow.ExecuteActivity(measureOptions(ctx), act.MeasureRecovery, in).Get(ctx, &res)
	if err != nil {
		return r.unknown(ctx, "recovery could not be measured: "+plain(err))
	}
	return res
}

func (r *rollback) unknown(ctx workflow.Context, reason string) incident.RecoveryResult {
	res := incident.RecoveryResult{Verdict: incident.VerdictUnknown, Reason: truncate(reason, maxEventText), At: workflow.Now(ctx)}
	if r.view.Recovery != nil {
		// What was counted last is still what people have to repair.
		res.Data = r.view.Recovery.Data
	}
	return res
}

func (r *rollback) verdict(ctx workflow.Context, res incident.RecoveryResult) {
	r.view.Recovery = &res
	r.record(ctx, incident.EventVerdict, fmt.Sprintf("verdict: %s. %s", res.Verdict, res.Reason), res)
}
