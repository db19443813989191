package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/incident"
)

// Bounds of an incident's state, so that a long incident stays far below
// Temporal's limit of 2 MiB for a payload.
const (
	maxTimeline  = 300
	maxDecisions = 200
	maxNotes     = 30
	// maxResults bounds the pages that are remembered by their event IDs.
	maxResults = 2000
	// maxCauses bounds the escalations that are remembered.
	maxCauses = 100
	// maxUpdates is after how many updates a run goes on as a new one. Temporal
	// takes 2,000, and a rollback in flight needs room.
	// Source: https://docs.temporal.io/cloud/limits#per-workflow-execution-update-limits
	maxUpdates = 500
	// maxCarried bounds the entries that a run hands on to the next.
	maxCarried = 200
)

// Incident is one incident from its first page to its postmortem: an entity
// workflow that pages, decisions and commands reach as updates, and that
// everything people see is a view of.
//
// Cancelling it in Temporal ends it once a rollback in flight has stopped
// before its next action and everything is recorded; the card says so.
func Incident(ctx workflow.Context, in incident.IncidentInput) error {
	if !incident.ValidKey(in.Key) {
		return temporal.NewNonRetryableApplicationError("the key names no incident", incident.ErrTypeInvalid, nil)
	}
	cancelled := ctx.Done()
	// It is never cancelled, also not at the end: what runs beside the main loop
	// ends with the run, and must not take the end for a failure.
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	r := newIncidentRun(ctx, in)
	if err := r.open(ctx, in); err != nil {
		return err
	}
	if err := r.setHandlers(ctx); err != nil {
		return err
	}
	r.watchCancel(ctx, cancelled)
	return r.run(ctx)
}

// incidentRun is the state of one run of the workflow. Its fields that outlive
// a continue-as-new are in state.
type incidentRun struct {
	state incident.IncidentState
	// mutex keeps updates that need an activity from interleaving.
	mutex workflow.Mutex
	// looking keeps looks at pinned messages in order.
	looking workflow.Mutex
	// pending are entries that the ledger does not have yet, and calls page people
	// and are not under way yet.
	pending []incident.Entry
	calls   []func(workflow.Context)
	// published is the revision that the card shows, and indexed what lists
	// show.
	published int
	indexed   [3]string
	// gathered says that the first card and the first write need not wait for
	// the options any more.
	gathered bool
	// showing says that a card is on its way which takes entries along, and
	// recording that entries are written without one. recordedAt is when either
	// began last.
	showing, recording bool
	recordedAt         time.Time
	// unseen says that the card can not be shown, and noticed is the news that people
	// were told of elsewhere last.
	unseen  bool
	noticed string
	// wanted says what the main loop is to do next.
	wanted struct {
		collect  bool
		redo     bool
		rollback *incident.RollbackInput
		conclude bool
		finish   bool
	}
	rolling workflow.ChildWorkflowFuture
	// heardAt is when the rollback in flight said something last.
	heardAt time.Time
	// busy counts the calls that are under way.
	busy int
	// writing says that a postmortem is being written, reviewing that the issue
	// of a review is.
	writing   bool
	reviewing bool
	cancelled bool
	// updates counts what this run was sent.
	updates int
	// opening is the result ID of the page that the run was started with, until
	// its sender has been answered.
	opening string
}

// open takes the page that the incident was started with.
func (r *incidentRun) open(ctx workflow.Context, in incident.IncidentInput) error {
	if in.Page == nil || in.State != nil {
		return nil
	}
	if err := r.fit(*in.Page); err != nil {
		return temporal.NewNonRetryableApplicationError("the first page does not fit", incident.ErrTypeInvalid, err)
	}
	if _, err := r.page(ctx, *in.Page); err != nil {
		return err
	}
	r.opening = pageResult(*in.Page)
	return nil
}

func newIncidentRun(ctx workflow.Context, in incident.IncidentInput) *incidentRun {
	r := &incidentRun{mutex: workflow.NewMutex(ctx), looking: workflow.NewMutex(ctx)}
	if in.State != nil {
		r.state = *in.State
		if r.state.Results == nil {
			r.state.Results = map[string]incident.Result{}
		}
		r.pending, r.state.Pending = r.state.Pending, nil
		// Whether the card shows the newest view is not known.
		r.published, r.gathered = -1, true
		r.wanted.finish = r.view().Phase == incident.PhaseClosed
		return r
	}
	r.indexed = indexedAtStart(ctx)
	r.state = incident.IncidentState{
		View: incident.View{
			Key: in.Key, Phase: incident.PhaseCollecting, PagedAt: workflow.Now(ctx).UTC(),
			Ranking: incident.Ranking{Likely: -1},
		},
		Results: map[string]incident.Result{}, Prefix: in.Key,
	}
	return r
}

func (r *incidentRun) view() *incident.View { return &r.state.View }

// prefix begins the IDs of this run of the incident's events and rollbacks.
func (r *incidentRun) prefix() string {
	if r.state.Prefix == "" {
		return r.view().Key
	}
	return r.state.Prefix
}

// run is the main loop: it does one thing at a time, in this order of urgency,
// until the incident is over.
func (r *incidentRun) run(ctx workflow.Context) error {
	if !r.gathered {
		workflow.Go(ctx, r.gather)
	}
	// The card comes first: it takes along what the ledger does not have yet.
	workflow.Go(ctx, r.keepCard)
	workflow.Go(ctx, r.keepNotices)
	workflow.Go(ctx, r.keepLedger)
	workflow.Go(ctx, r.keepCalling)
	workflow.Go(ctx, r.keepPostmortem)
	workflow.Go(ctx, r.keepReview)
	workflow.Go(ctx, r.keepCharts)
	workflow.Go(ctx, r.keepLooking)
	workflow.Go(ctx, r.watchRollback)
	workflow.Go(ctx, r.watchStrays)
	workflow.Go(ctx, r.watchAttempts)
	workflow.Go(ctx, r.keepClocks)
	for {
		r.awaitWork(ctx)
		switch {
		case r.wanted.rollback != nil:
			r.rollBack(ctx)
		case r.cancelled:
			return r.abandon(ctx)
		case r.wanted.collect || r.wanted.redo:
			r.collect(ctx)
		case r.wanted.conclude:
			r.conclude(ctx)
		case r.decisionOverdue(ctx):
			r.decisionWasOverdue(ctx)
		case r.long(ctx) && r.movable():
			if r.settled(ctx, r.movable) {
				r.state.Pending = r.pending
				r.state.Unwritten = r.state.Unwritten || r.writing
				r.state.Unreviewed = r.state.Unreviewed || r.reviewing
				return workflow.NewContinueAsNewError(ctx, incident.WorkflowIncident, incident.IncidentInput{Key: r.view().Key, State: &r.state})
			}
		case r.wanted.finish && r.quiet():
			r.tellAll(ctx)
			if r.settled(ctx, r.atRest) && r.told() && r.handedOn(ctx) {
				return nil
			}
		}
	}
}

// long reports whether the history has grown so long that the incident should
// go on in a new run.
func (r *incidentRun) long(ctx workflow.Context) bool {
	return r.updates >= maxUpdates || workflow.GetInfo(ctx).GetContinueAsNewSuggested()
}

// work reports whether something waits for the main loop.
func (r *incidentRun) work() bool {
	w := &r.wanted
	return w.rollback != nil || w.collect || w.redo || w.conclude || r.cancelled
}

// awaitWork waits for something to do, for the deadline of a decision, or for
// a history that has grown long.
func (r *incidentRun) awaitWork(ctx workflow.Context) {
	ready := func() bool {
		return r.work() || (r.wanted.finish && r.quiet()) || (r.long(ctx) && r.movable())
	}
	for {
		by := r.state.DecideBy
		if !r.decisionDue() {
			_ = workflow.Await(ctx, func() bool { return ready() || r.decisionDue() })
			if ready() {
				return
			}
			continue
		}
		awaitFor(ctx, max(by.Sub(workflow.Now(ctx)), 0), func() bool { return ready() || !r.state.DecideBy.Equal(by) || r.view().Objections != nil })
		if ready() || r.decisionOverdue(ctx) {
			return
		}
	}
}

// quiet reports whether nothing runs beside the main loop.
func (r *incidentRun) quiet() bool {
	return r.rolling == nil && r.busy == 0 && !r.writing && !r.state.Unwritten && !r.reviewing && !r.state.Unreviewed && len(r.state.Undrawn) == 0
}

// atRest reports whether nothing is in flight and all is written and shown.
func (r *incidentRun) atRest() bool {
	return r.quiet() && len(r.pending) == 0 && len(r.calls) == 0 && r.published == r.view().Revision && !r.mutex.IsLocked()
}

// movable reports whether a new run can go on from the state alone. It waits
// neither for the card, which that run shows again, nor for the ledger, whose
// entries it is handed and writes again: under a storm of pages neither would
// ever come to rest.
func (r *incidentRun) movable() bool {
	return r.rolling == nil && r.busy == 0 && len(r.calls) == 0 && !r.mutex.IsLocked() && len(r.pending) <= maxCarried
}

// settled waits until everybody has been answered and the run may end, and
// reports whether it may: not if something turned up meanwhile.
func (r *incidentRun) settled(ctx workflow.Context, rest func() bool) bool {
	_ = workflow.Await(ctx, func() bool {
		return r.work() || (workflow.AllHandlersFinished(ctx) && rest())
	})
	return !r.work()
}

// watchCancel takes note of a cancellation in Temporal, and passes it on to a
// rollback in flight, which stops before its next action.
func (r *incidentRun) watchCancel(ctx workflow.Context, cancelled workflow.Channel) {
	workflow.Go(ctx, func(ctx workflow.Context) {
		cancelled.Receive(ctx, nil)
		r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", "the workflow was cancelled in Temporal", nil)
		r.takeBack(ctx, "the incident was cancelled in Temporal", "")
		r.note("This incident was cancelled in Temporal: Backout does not follow it any more. Handle it by hand.")
		r.changed()
		r.cancelled = true
		if r.rolling != nil {
			_ = r.rolling.SignalChildWorkflow(ctx, incident.SignalCancel, nil).Get(ctx, nil)
		}
	})
}

// abandon ends a run that was cancelled, with nothing left unsaid.
func (r *incidentRun) abandon(ctx workflow.Context) error {
	for rest := false; !rest; rest = r.told() {
		r.tellAll(ctx)
		_ = workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) && r.atRest() })
	}
	return temporal.NewCanceledError("the incident was cancelled")
}
