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

// maxEventText is how much of a line is kept in the timeline and the ledger, in
// runes.
const maxEventText = 1000

// Rollback executes one approved plan: lock, evidence, plan again and compare,
// each action with its intent and outcome in the ledger, evidence again, and
// the verdict. It reports every step to its incident and returns how it ended.
//
// It fails only when it can not even say how it ended; whatever happens to a
// target is in the returned view. Being cancelled, by its incident or in
// Temporal, is being asked to stop before the next action: what has begun is
// finished, recorded and released.
func Rollback(ctx workflow.Context, in incident.RollbackInput) (incident.RollbackView, error) {
	r := &rollback{in: in, view: incident.RollbackView{
		ID: in.ID, OptionID: in.Option.ID, PlanDigest: in.Option.Digest,
		Service: in.Option.Plan.Service, Runbook: in.Option.Plan.Runbook, Option: in.Option.Plan.Option,
		Status: incident.RollbackRunning, ApprovedAt: in.ApprovedAt, StartedAt: workflow.Now(ctx),
	}}
	for _, a := range in.Option.Plan.Actions {
		r.view.Actions = append(r.view.Actions, incident.ActionView{Action: a, Status: incident.ActionPending})
	}
	cancelled := ctx.Done()
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	r.watchCancel(ctx, cancelled)
	workflow.Go(ctx, r.watchStrays)
	r.run(ctx)
	r.view.FinishedAt = workflow.Now(ctx)
	r.view.Step = ""
	r.release(ctx)
	r.report(ctx)
	return r.view, nil
}

type rollback struct {
	in     incident.RollbackInput
	view   incident.RollbackView
	events int
	locks  []workflow.ChildWorkflowFuture
	// locked names the targets that are locked.
	locked string
	// stop says that somebody asked for an end.
	stop bool
	// unrecorded says that the ledger refused a record for good.
	unrecorded bool
	reportedAt time.Time
}

// watchCancel takes note of being asked to stop, by signal or by Temporal.
func (r *rollback) watchCancel(ctx workflow.Context, cancelled workflow.Channel) {
	signals := workflow.GetSignalChannel(ctx, incident.SignalCancel)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for signals.Receive(ctx, nil) {
			r.stop = true
		}
	})
	workflow.Go(ctx, func(ctx workflow.Context) {
		cancelled.Receive(ctx, nil)
		r.stop = true
	})
}

func (r *rollback) run(ctx workflow.Context) {
	if err := r.verify(); err != nil {
		r.end(ctx, incident.RollbackVoid, err.Error())
		return
	}
	if !r.lock(ctx) || !r.prepare(ctx) {
		return
	}
	r.execute(ctx)
	if !slices.ContainsFunc(r.view.Actions, touched) {
		return
	}
	r.captureAfter(ctx)
	r.judge(ctx)
}

// touched reports whether an action reached its target's "to", or may have.
func touched(a incident.ActionView) bool {
	return a.Status == incident.ActionDone || !a.MutatedAt.IsZero()
}

// verify makes sure that the plan in hand is the plan that was approved, for
// the incident that this rollback is of.
func (r *rollback) verify() error {
	plan := r.in.Option.Plan
	// A digest is a pure function of the plan.
	//workflowcheck:ignore
	got, err := plan.Digest()
	switch {
	case err != nil:
		return err
	case got != r.in.Option.Digest:
		return fmt.Errorf("the plan in hand (%s) is not the plan approved (%s), so nothing was touched", incident.ShortDigest(got), incident.ShortDigest(r.in.Option.Digest))
	case plan.Incident != r.in.Incident || !incident.RollbackOf(r.in.ID, r.in.Incident):
		return fmt.Errorf("the plan is for incident %q and the rollback is %q, so nothing was touched", plan.Incident, r.in.ID)
	}
	return plan.Validate()
}

// lock takes the lock of every target, in one order for all rollbacks, and
// never waits for one: the second rollback of a target is refused.
func (r *rollback) lock(ctx workflow.Context) bool {
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
			WorkflowTaskTimeout:   incident.TaskTimeout,
		}), incident.WorkflowLock, incident.LockInput{Target: t, Holder: r.in.ID})
		if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			if isRunning(err) {
				r.end(ctx, incident.RollbackLocked, fmt.Sprintf("another rollback holds %s; nothing was touched", t))
			} else {
				r.end(ctx, incident.RollbackFailed, fmt.Sprintf("the lock on %s could not be taken, so nothing was touched: %s", t, plain(err)))
			}
			return false
		}
		r.locks = append(r.locks, child)
	}
	r.locked = joinTargets(targets)
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
	for _, l := range r.locks {
		_ = l.SignalChildWorkflow(ctx, incident.SignalRelease, nil).Get(ctx, nil)
	}
}

// replanAgain is how old a check of the plan may be when the first target is
// touched.
const replanAgain = 2 * time.Second

// prepare does what must be done before the first mutation and does not depend on
// each other: the lock in the ledger, evidence, and the plan made again. If evidence
// took long, the plan is made once more.
func (r *rollback) prepare(ctx workflow.Context) bool {
	r.step(ctx, "capturing evidence and checking that the plan still holds")
	var captured error
	var replanned replanning
	beside := workflow.NewWaitGroup(ctx)
	beside.Add(2)
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer beside.Done()
		var m incident.Manifest
		if m, captured = r.capture(ctx, incident.EvidenceBefore); captured == nil {
			r.view.Before = &m
		}
	})
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer beside.Done()
		replanned = r.replan(ctx)
	})
	r.record(ctx, incident.EventLock, "locked "+r.locked, nil)
	beside.Wait(ctx)
	if replanned.refusal == "" && workflow.Now(ctx).Sub(replanned.at) > replanAgain {
		replanned = r.replan(ctx)
	}
	switch {
	case r.unrecorded:
		r.end(ctx, incident.RollbackFailed, "the ledger refused a record, so nothing was touched; see the worker's log")
	case captured != nil:
		r.end(ctx, incident.RollbackFailed, "the evidence could not be recorded, so nothing was touched: "+plain(captured))
	case replanned.refusal != "":
		r.end(ctx, incident.RollbackVoid, replanned.refusal)
	default:
		return true
	}
	return false
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
	id := incident.EvidenceID(r.in.ID, phase)
	err := workflow.ExecuteActivity(evidenceOptions(ctx), act.CaptureEvidence, activities.EvidenceInput{
		EventID: id, Incident: r.in.Incident, Rollback: r.in.ID, Phase: phase, Plan: r.in.Option.Plan,
		From: r.in.OnsetAt, Until: workflow.Now(ctx),
	}).Get(ctx, &m)
	if err == nil {
		r.note(id, incident.EventEvidence, workflow.Now(ctx), activities.ManifestText(m))
	}
	return m, err
}

// replanning is when the plan was made again, and why it does not hold, if so.
type replanning struct {
	at      time.Time
	refusal string
}

// replan makes the plan again. If the world moved, the approval is void.
func (r *rollback) replan(ctx workflow.Context) replanning {
	var res activities.ReplanResult
	out := replanning{at: workflow.Now(ctx)}
	err := workflow.ExecuteActivity(replanOptions(ctx), act.Replan, activities.ReplanInput{Plan: r.in.Option.Plan, Digest: r.in.Option.Digest}).Get(ctx, &res)
	switch {
	case err != nil:
		out.refusal = "the plan could not be checked again, so nothing was touched: " + plain(err)
	case res.Digest != r.in.Option.Digest || len(res.Differences) > 0:
		out.refusal = "the world moved since the approval, so nothing was touched: " + strings.Join(res.Differences, "; ")
	}
	return out
}

// end settles how a rollback ended that touched nothing.
func (r *rollback) end(ctx workflow.Context, s incident.RollbackStatus, reason string) {
	r.view.Status, r.view.Reason = s, truncate(reason, maxEventText)
	for i := range r.view.Actions {
		r.view.Actions[i].Status = incident.ActionSkipped
	}
	if !r.unrecorded {
		r.record(ctx, incident.EventRollback, string(s)+": "+r.view.Reason, nil)
	}
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
	r.reportedAt = workflow.Now(ctx)
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

// record writes one entry of the ledger and waits until it is there. A ledger
// that is away is waited for, and somebody is told: nothing goes on without it.
func (r *rollback) record(ctx workflow.Context, kind incident.EventKind, text string, payload any) {
	text = truncate(text, maxEventText)
	e := entry(r.nextEvent(), r.in.Incident, kind, workflow.Now(ctx), "", text, payload)
	in := activities.RecordInput{Entries: []incident.Entry{e}}
	err := workflow.ExecuteActivity(recordOptions(ctx, ledgerPatience), act.Record, in).Get(ctx, nil)
	if away(err) {
		was := r.view.Step
		r.step(ctx, "waiting for the ledger, which can not be written")
		r.page(ctx, fmt.Sprintf("%s does not go on, because the ledger can not be written; see that its disk or database answers", r.in.ID))
		for away(err) {
			err = workflow.ExecuteActivity(recordOptions(ctx, 0), act.Record, in).Get(ctx, nil)
		}
		r.view.Step = was
	}
	if err != nil {
		workflow.GetLogger(ctx).Error("Ledger refused an entry.", "incident_id", r.in.Incident, "event_id", e.ID, "error", err)
		r.unrecorded = true
		return
	}
	r.note(e.ID, kind, e.At, text)
}

// page pages the next level, without waiting for it.
func (r *rollback) page(ctx workflow.Context, reason string) {
	workflow.ExecuteActivity(tellOptions(ctx), act.Escalate, activities.EscalateInput{Key: r.in.Incident, ID: r.nextEvent(), Reason: reason})
}

// note adds a line to the rollback's part of the timeline.
func (r *rollback) note(id string, kind incident.EventKind, at time.Time, text string) {
	r.view.Events = append(r.view.Events, incident.Event{ID: id, Kind: kind, At: at.UTC(), Text: truncate(text, maxEventText)})
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
