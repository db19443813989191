package workflows

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// Rollback executes one approved plan: lock, evidence, plan again and compare,
// each action with its intent and outcome in the ledger, evidence again, and
// the verdict. It reports every step to its incident and returns how it ended.
//
// It fails only when it can not even say how it ended; whatever happens to a
// target is in the returned view.
func Rollback(ctx workflow.Context, in incident.RollbackInput) (incident.RollbackView, error) {
	r := &rollback{in: in, view: incident.RollbackView{
		ID: in.ID, OptionID: in.Option.ID, PlanDigest: in.Option.Digest,
		Service: in.Option.Plan.Service, Runbook: in.Option.Plan.Runbook, Option: in.Option.Plan.Option,
		Status: incident.RollbackRunning, ApprovedAt: in.ApprovedAt, StartedAt: workflow.Now(ctx),
	}}
	for _, a := range in.Option.Plan.Actions {
		r.view.Actions = append(r.view.Actions, incident.ActionView{Action: a, Status: incident.ActionPending})
	}
	r.cancel = workflow.GetSignalChannel(ctx, incident.SignalCancel)
	err := r.run(ctx)
	r.view.FinishedAt = workflow.Now(ctx)
	r.view.Step = ""
	r.release(ctx)
	r.report(ctx)
	return r.view, err
}

type rollback struct {
	in     incident.RollbackInput
	view   incident.RollbackView
	events int
	locks  []workflow.ChildWorkflowFuture
	cancel workflow.ReceiveChannel
}

func (r *rollback) run(ctx workflow.Context) error {
	if err := r.verifyDigest(); err != nil {
		r.finish(incident.RollbackVoid, err.Error())
		return nil
	}
	if !r.lock(ctx) {
		return nil
	}
	if !r.captureBefore(ctx) || !r.replan(ctx) {
		return nil
	}
	r.execute(ctx)
	if !slices.ContainsFunc(r.view.Actions, touched) {
		return nil
	}
	r.captureAfter(ctx)
	r.judge(ctx)
	return nil
}

// touched reports whether an action reached its target's "to", or may have.
func touched(a incident.ActionView) bool {
	return a.Status == incident.ActionDone || !a.MutatedAt.IsZero()
}

// verifyDigest makes sure that the plan in hand is the plan that was approved.
func (r *rollback) verifyDigest() error {
	got, err := r.in.Option.Plan.Digest()
	if err != nil {
		return err
	}
	if got != r.in.Option.Digest {
		return fmt.Errorf("the plan in hand (%s) is not the plan approved (%s)", incident.ShortDigest(got), incident.ShortDigest(r.in.Option.Digest))
	}
	return r.in.Option.Plan.Validate()
}

// lock takes the lock of every target, in one order for all rollbacks, and
// never waits for one: the second rollback of a target is refused.
func (r *rollback) lock(ctx workflow.Context) bool {
	r.step(ctx, "taking the lock")
	var targets []incident.Target
	for _, a := range r.in.Option.Plan.Actions {
		if !slices.Contains(targets, a.Target) {
			targets = append(targets, a.Target)
		}
	}
	slices.SortFunc(targets, func(a, b incident.Target) int { return strings.Compare(a.String(), b.String()) })
	for _, t := range targets {
		child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID:            incident.LockID(t),
			WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_TERMINATE,
		}), incident.WorkflowLock, incident.LockInput{Target: t, Holder: r.in.ID})
		if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			if isRunning(err) {
				r.finish(incident.RollbackLocked, fmt.Sprintf("another rollback holds %s; nothing was touched", t))
			} else {
				r.finish(incident.RollbackFailed, fmt.Sprintf("the lock on %s could not be taken, so nothing was touched: %s", t, plain(err)))
			}
			return false
		}
		r.locks = append(r.locks, child)
	}
	r.record(ctx, incident.EventLock, fmt.Sprintf("locked %s", joinTargets(targets)), nil)
	return true
}

// isRunning reports whether a child could not start because one of its ID is
// running: the server says it one way, the test environment another.
func isRunning(err error) bool {
	var child *temporal.ChildWorkflowExecutionAlreadyStartedError
	var service *serviceerror.WorkflowExecutionAlreadyStarted
	return errors.As(err, &child) || errors.As(err, &service)
}

// release ends the locks. Should the signal be lost, a lock is terminated with
// this workflow.
func (r *rollback) release(ctx workflow.Context) {
	ctx, stop := workflow.NewDisconnectedContext(ctx)
	defer stop()
	for _, l := range r.locks {
		_ = l.SignalChildWorkflow(ctx, incident.SignalRelease, nil).Get(ctx, nil)
	}
}

func (r *rollback) captureBefore(ctx workflow.Context) bool {
	r.step(ctx, "capturing evidence before")
	m, err := r.capture(ctx, incident.EvidenceBefore)
	if err != nil {
		r.finish(incident.RollbackFailed, "the evidence could not be recorded, so nothing was touched: "+plain(err))
		return false
	}
	r.view.Before = &m
	return true
}

func (r *rollback) captureAfter(ctx workflow.Context) {
	r.step(ctx, "capturing evidence after")
	m, err := r.capture(ctx, incident.EvidenceAfter)
	if err != nil {
		r.record(ctx, incident.EventEvidence, "evidence after the rollback could not be recorded: "+plain(err), nil)
		return
	}
	r.view.After = &m
}

func (r *rollback) capture(ctx workflow.Context, phase incident.EvidencePhase) (incident.Manifest, error) {
	var m incident.Manifest
	id := r.nextEvent()
	err := workflow.ExecuteActivity(evidenceOptions(ctx), act.CaptureEvidence, activities.EvidenceInput{
		EventID: id, Incident: r.in.Incident, Rollback: r.in.ID, Phase: phase, Plan: r.in.Option.Plan,
		From: r.in.OnsetAt, Until: workflow.Now(ctx),
	}).Get(ctx, &m)
	if err == nil {
		r.note(id, incident.EventEvidence, workflow.Now(ctx), activities.ManifestText(m))
	}
	return m, err
}

// replan makes the plan again just before the first mutation. If the world
// moved, the approval is void.
func (r *rollback) replan(ctx workflow.Context) bool {
	r.step(ctx, "checking that the plan still holds")
	var res activities.ReplanResult
	err := workflow.ExecuteActivity(replanOptions(ctx), act.Replan, activities.ReplanInput{Plan: r.in.Option.Plan, Digest: r.in.Option.Digest}).Get(ctx, &res)
	switch {
	case err != nil:
		r.finish(incident.RollbackVoid, "the plan could not be checked again, so nothing was touched: "+plain(err))
	case res.Digest != r.in.Option.Digest:
		r.finish(incident.RollbackVoid, "the world moved since the approval, so nothing was touched: "+strings.Join(res.Differences, "; "))
	default:
		return true
	}
	r.record(ctx, incident.EventRollback, r.view.Reason, nil)
	return false
}

// execute runs the actions in order, and does what each says when it fails.
func (r *rollback) execute(ctx workflow.Context) {
	var failed, done int
	stop := false
	for i := range r.view.Actions {
		av := &r.view.Actions[i]
		if !stop && r.cancelled() {
			stop = true
			r.view.Status = incident.RollbackCancelled
			r.view.Reason = "cancelled before " + av.Action.Target.String()
			r.record(ctx, incident.EventRollback, r.view.Reason, nil)
		}
		if stop {
			av.Status = incident.ActionSkipped
			continue
		}
		r.executeOne(ctx, i)
		if av.Status == incident.ActionDone {
			done++
			continue
		}
		failed++
		r.view.Reason = fmt.Sprintf("%s: %s", av.Action.Target, av.Reason)
		switch av.Action.OnFailure {
		case incident.OnFailureContinue:
		case incident.OnFailureCompensate:
			stop = true
			r.compensate(ctx, i)
		case incident.OnFailureStop, incident.OnFailureEscalate:
			stop = true
		default:
			stop = true
		}
	}
	r.view.ActionsDoneAt = workflow.Now(ctx)
	switch {
	case r.view.Status == incident.RollbackCancelled:
	case failed == 0:
		r.view.Status = incident.RollbackDone
	case slices.ContainsFunc(r.view.Actions, touched):
		r.view.Status = incident.RollbackPartial
	default:
		r.view.Status = incident.RollbackFailed
	}
}

func (r *rollback) executeOne(ctx workflow.Context, i int) {
	av := &r.view.Actions[i]
	av.Status = incident.ActionRunning
	r.step(ctx, fmt.Sprintf("%s to %s", av.Action.Target, label(av.Action.To)))
	in := activities.ExecuteInput{
		Incident: r.in.Incident, Rollback: r.in.ID, Index: i, Action: av.Action, Plan: r.in.Option.Plan,
		PlanDigest: r.in.Option.Digest, IntentID: r.nextEvent(), OutcomeID: r.nextEvent(), DecisionIDs: r.in.DecisionIDs,
	}
	got := *av
	err := workflow.ExecuteActivity(executeOptions(ctx, av.Action), act.ExecuteAction, in).Get(ctx, &got)
	if err == nil {
		*av = got
	} else {
		r.fail(ctx, av, err)
	}
	if !av.MutatedAt.IsZero() {
		r.note(in.IntentID, incident.EventIntent, av.MutatedAt, activities.IntentText(av.Action))
	}
	r.note(in.OutcomeID, incident.EventActionDone, av.FinishedAt, activities.OutcomeText(*av))
	if av.Applied && r.view.FirstMutationAt.IsZero() {
		r.view.FirstMutationAt = av.MutatedAt
	}
	r.report(ctx)
}

// fail puts into the view what is known of an action whose activity failed.
func (r *rollback) fail(ctx workflow.Context, av *incident.ActionView, err error) {
	av.Status = incident.ActionFailed
	av.Reason = plain(err)
	av.FinishedAt = workflow.Now(ctx)
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		var known incident.ActionView
		if app.HasDetails() && app.Details(&known) == nil {
			av.Observed, av.Applied, av.MutatedAt = known.Observed, known.Applied, known.MutatedAt
		}
		if app.Type() == incident.ErrTypeDrift && !av.Applied {
			av.Status = incident.ActionRefused
		}
	}
}

// compensate takes back, newest first, the reversible actions done so far.
func (r *rollback) compensate(ctx workflow.Context, failed int) {
	for i := failed - 1; i >= 0; i-- {
		av := &r.view.Actions[i]
		if av.Status != incident.ActionDone || !av.Applied || !av.Action.Reversible {
			continue
		}
		back := incident.ActionView{Action: av.Action.Swapped()}
		in := activities.ExecuteInput{
			Incident: r.in.Incident, Rollback: r.in.ID, Index: i, Action: back.Action, Plan: r.in.Option.Plan, PlanDigest: r.in.Option.Digest,
			IntentID: r.nextEvent(), OutcomeID: r.nextEvent(), DecisionIDs: r.in.DecisionIDs,
		}
		if err := workflow.ExecuteActivity(executeOptions(ctx, back.Action), act.ExecuteAction, in).Get(ctx, &back); err != nil {
			av.Reason = "could not be taken back: " + plain(err)
			continue
		}
		av.Status = incident.ActionSkipped
		av.Observed = back.Observed
		av.Reason = "taken back, because a later action failed"
	}
}

// judge looks at the SLIs until the verdict has held, or the deadline is over.
func (r *rollback) judge(ctx workflow.Context) {
	var plan activities.RecoveryPlan
	if err := workflow.ExecuteActivity(replanOptions(ctx), act.RecoveryPlan, r.in.Option.Plan).Get(ctx, &plan); err != nil {
		r.verdict(ctx, incident.RecoveryResult{Verdict: incident.VerdictUnknown, Reason: "how to judge recovery could not be read: " + plain(err), At: workflow.Now(ctx)})
		return
	}
	r.step(ctx, "waiting for the service to warm up")
	deadline := r.view.ActionsDoneAt.Add(plan.Deadline)
	_ = workflow.Sleep(ctx, plan.Warmup)
	var since time.Time
	for {
		res := r.measure(ctx)
		if res.Verdict == incident.VerdictRecovered {
			if since.IsZero() {
				since = res.At
			}
		} else {
			since = time.Time{}
		}
		held := !since.IsZero() && res.At.Sub(since) >= plan.Hold
		// A hold that began in time may end after the deadline.
		if held || (since.IsZero() && !workflow.Now(ctx).Before(deadline)) {
			r.verdict(ctx, res)
			return
		}
		r.view.Recovery = &res
		r.step(ctx, "watching the service recover: "+res.Reason)
		_ = workflow.Sleep(ctx, plan.Every)
	}
}

func (r *rollback) measure(ctx workflow.Context) incident.RecoveryResult {
	var res incident.RecoveryResult
	err := workflow.ExecuteActivity(measureOptions(ctx), act.MeasureRecovery, activities.MeasureInput{
		Plan: r.in.Option.Plan, OnsetAt: r.in.OnsetAt, ChangedAt: r.in.ChangedAt, StartedAt: r.view.StartedAt, ActionsDoneAt: r.view.ActionsDoneAt,
	}).Get(ctx, &res)
	if err != nil {
		return incident.RecoveryResult{Verdict: incident.VerdictUnknown, Reason: "recovery could not be measured: " + plain(err), At: workflow.Now(ctx)}
	}
	return res
}

func (r *rollback) verdict(ctx workflow.Context, res incident.RecoveryResult) {
	r.view.Recovery = &res
	r.record(ctx, incident.EventVerdict, fmt.Sprintf("verdict: %s. %s", res.Verdict, res.Reason), res)
}

func (r *rollback) cancelled() bool {
	for r.cancel.ReceiveAsync(nil) {
		r.view.Status = incident.RollbackCancelled
	}
	return r.view.Status == incident.RollbackCancelled
}

func (r *rollback) finish(s incident.RollbackStatus, reason string) {
	r.view.Status, r.view.Reason = s, reason
}

// step says on the card what is being done now.
func (r *rollback) step(ctx workflow.Context, text string) {
	if r.view.Step == text {
		return
	}
	r.view.Step = text
	r.report(ctx)
}

// report sends the view to the incident. The signal is not waited for: the
// incident also gets the returned view.
func (r *rollback) report(ctx workflow.Context) {
	parent := workflow.GetInfo(ctx).ParentWorkflowExecution
	if parent == nil {
		return
	}
	workflow.SignalExternalWorkflow(ctx, parent.ID, "", incident.SignalRollback, r.view)
}

func (r *rollback) nextEvent() string {
	r.events++
	return incident.EventID(r.in.ID, r.events)
}

// record writes one entry of the ledger and waits until it is there.
func (r *rollback) record(ctx workflow.Context, kind incident.EventKind, text string, payload any) {
	e := entry(r.nextEvent(), r.in.Incident, kind, workflow.Now(ctx), "", text, payload)
	r.note(e.ID, kind, e.At, text)
	_ = workflow.ExecuteActivity(recordOptions(ctx), act.Record, activities.RecordInput{Entries: []incident.Entry{e}}).Get(ctx, nil)
}

// note adds a line to the rollback's part of the timeline.
func (r *rollback) note(id string, kind incident.EventKind, at time.Time, text string) {
	r.view.Events = append(r.view.Events, incident.Event{ID: id, Kind: kind, At: at.UTC(), Text: text})
}

func joinTargets(ts []incident.Target) string {
	s := make([]string, len(ts))
	for i, t := range ts {
		s[i] = t.String()
	}
	return strings.Join(s, ", ")
}

func label(s incident.State) string {
	if s.Label != "" {
		return s.Label
	}
	return "revision " + s.Revision
}
