package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/incident"
)

// maxSilence is how long a rollback may say nothing, beyond the longest of its
// actions, before the next level is paged.
const maxSilence = 15 * time.Minute

// rollBack runs the approved plan as a child and waits for its end.
func (r *incidentRun) rollBack(ctx workflow.Context) {
	in := *r.wanted.rollback
	// Nothing executes before the ledger has the decision.
	_ = workflow.Await(ctx, func() bool { return len(r.pending) == 0 || r.wanted.rollback == nil || r.cancelled })
	switch {
	case r.wanted.rollback == nil:
		return
	case r.cancelled:
		r.unstarted(ctx, incident.RollbackCancelled, "the incident was cancelled in Temporal, so nothing was touched")
		return
	case r.state.Unrecorded:
		r.unstarted(ctx, incident.RollbackFailed, "the ledger refused a record, so nothing was touched")
		r.setPhase(ctx, incident.PhaseStuck)
		return
	}
	r.heardAt = workflow.Now(ctx)
	r.rolling = workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:        in.ID,
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
		// The same rollback is never begun twice, even if its ID were free.
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowTaskTimeout:   incident.TaskTimeout,
	}), incident.WorkflowRollback, in)
	r.wanted.rollback = nil
	r.setPhase(ctx, incident.PhaseRollingBack)
	r.awaitRollback(ctx, in)
	var end incident.RollbackView
	err := r.rolling.Get(ctx, &end)
	_ = r.mutex.Lock(ctx)
	defer r.mutex.Unlock()
	r.rolling = nil
	if err != nil {
		end = *r.view().LastRollback()
		end.Status, end.FinishedAt = incident.RollbackFailed, workflow.Now(ctx)
		end.Reason = "the rollback itself failed, so look at each target: " + plain(err)
	}
	r.replace(end)
	r.wantChart(in, end)
	r.afterRollback(ctx, end)
}

// awaitRollback waits for the child, and pages somebody when it has been silent
// for too long: no worker may be alive, or its code may be stuck.
func (r *incidentRun) awaitRollback(ctx workflow.Context, in incident.RollbackInput) {
	silence := maxSilence
	for _, a := range in.Option.Plan.Actions {
		silence = max(silence, a.MaxTime+maxSilence)
	}
	for !r.rolling.IsReady() {
		heard := r.heardAt
		awaitFor(ctx, silence, r.rolling.IsReady)
		if !r.rolling.IsReady() && r.heardAt.Equal(heard) {
			r.escalate(ctx, "silent "+in.ID, fmt.Sprintf("%s has said nothing for %s, at %q; look at it in Temporal and at each target", in.ID, silence, r.view().LastRollback().Step))
		}
	}
}

// unstarted takes an approved rollback back before it began.
func (r *incidentRun) unstarted(ctx workflow.Context, s incident.RollbackStatus, reason string) {
	r.wanted.rollback = nil
	last := r.view().LastRollback()
	last.Status, last.Reason, last.FinishedAt, last.Step = s, reason, workflow.Now(ctx), ""
	for i := range last.Actions {
		last.Actions[i].Status = incident.ActionSkipped
	}
	r.event(ctx, incident.EventRollback, workflow.Now(ctx), "", string(s)+": "+reason, nil)
	r.rearm()
	r.changed()
}

// watchRollback takes the reports of the rollback while it runs.
func (r *incidentRun) watchRollback(ctx workflow.Context) {
	ch := workflow.GetSignalChannel(ctx, incident.SignalRollback)
	for {
		// What can not be read is told, and not dropped.
		var raw converter.RawValue
		if !ch.Receive(ctx, &raw) {
			return
		}
		var report incident.RollbackView
		if err := converter.GetDefaultDataConverter().FromPayload(raw.Payload(), &report); err != nil {
			r.stray(ctx, "", "a report of a rollback did nothing: it can not be read")
			continue
		}
		r.takeReport(ctx, report)
	}
}

// takeReport puts a report into the view. A signal may come from anybody who
// can write to Temporal, so that it counts only while that rollback runs and
// only for what was approved; how a rollback ended is never taken from one.
func (r *incidentRun) takeReport(ctx workflow.Context, report incident.RollbackView) {
	last := r.view().LastRollback()
	if r.rolling == nil || last == nil || !sameRollback(*last, report) {
		if !r.late(report) {
			r.stray(ctx, "", fmt.Sprintf("a report of the rollback %q did nothing: no such rollback runs", truncate(report.ID, maxSignalName)))
		}
		return
	}
	r.heardAt = workflow.Now(ctx)
	report.FinishedAt, report.Chart = time.Time{}, nil
	if !report.ActionsDoneAt.IsZero() {
		r.setPhase(ctx, incident.PhaseValidating)
	}
	r.replace(report)
}

// replace shows a rollback as it is now, with its lines in the timeline.
func (r *incidentRun) replace(now incident.RollbackView) {
	last := r.view().LastRollback()
	for _, e := range now.Events {
		if strings.HasPrefix(e.ID, last.ID+"/") {
			r.line(e)
		}
	}
	now.Events = nil
	*last = now
	r.changed()
}

// sameRollback reports whether a report is about that rollback of that plan.
func sameRollback(have, report incident.RollbackView) bool {
	return have.ID == report.ID && have.PlanDigest == report.PlanDigest && have.OptionID == report.OptionID &&
		slices.EqualFunc(have.Actions, report.Actions, func(a, b incident.ActionView) bool { return a.Action == b.Action })
}

// afterRollback decides what an ended rollback means for the incident. Only
// the verdict recovered ends it, or people who resolved it at its source.
func (r *incidentRun) afterRollback(ctx workflow.Context, end incident.RollbackView) {
	r.rearm()
	if end.Status == incident.RollbackDone {
		r.state.CarriedOut = end.PlanDigest
	}
	recovered := end.Recovery != nil && end.Recovery.Verdict == incident.VerdictRecovered
	switch {
	case recovered && end.Status == incident.RollbackDone:
		r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", "recovered", nil)
		r.setPhase(ctx, incident.PhaseRecovered)
		r.wanted.conclude = true
	case r.state.SourceKind == incident.PageResolved:
		r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", "resolved at its source during a rollback that ended "+string(end.Status)+": "+ending(end), nil)
		r.note("The incident was resolved at its source during a rollback that ended " + string(end.Status) + ". Look at each target.")
		r.setPhase(ctx, incident.PhaseStuck)
		r.wanted.conclude = true
	case end.Status == incident.RollbackVoid || end.Status == incident.RollbackLocked || end.Status == incident.RollbackCancelled:
		r.setPhase(ctx, incident.PhaseCollecting)
		r.wanted.collect = true
	default:
		why := ending(end)
		r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", "stuck after a rollback: "+why, nil)
		r.setPhase(ctx, incident.PhaseStuck)
		r.escalate(ctx, "ended "+end.ID, stuckReason(end, why))
		r.wanted.collect = true
	}
}

// ending says how a rollback ended, with all that went wrong.
func ending(end incident.RollbackView) string {
	var parts []string
	if end.Reason != "" {
		parts = append(parts, end.Reason)
	}
	if end.Recovery != nil {
		parts = append(parts, fmt.Sprintf("verdict %s: %s", end.Recovery.Verdict, end.Recovery.Reason))
	}
	return strings.Join(parts, "; ")
}
