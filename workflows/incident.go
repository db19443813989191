package workflows

import (
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// Bounds of an incident's state, so that a long incident stays far below
// Temporal's limit of 2 MiB for a payload.
const (
	maxTimeline = 300
	maxResults  = 2000
)

// cardInterval is the shortest time between two updates of the card. Slack
// allows about one message a second and channel; updates in between are
// coalesced.
// Source: https://docs.slack.dev/apis/web-api/rate-limits
const cardInterval = time.Second

var (
	searchPhase    = temporal.NewSearchAttributeKeyKeyword(incident.SearchPhase)
	searchService  = temporal.NewSearchAttributeKeyKeyword(incident.SearchService)
	searchSeverity = temporal.NewSearchAttributeKeyKeyword(incident.SearchSeverity)
)

// Incident is one incident from its first page to its postmortem: an entity
// workflow that pages, decisions and commands reach as updates, and that
// everything people see is a view of.
func Incident(ctx workflow.Context, in incident.IncidentInput) error {
	r := newIncidentRun(ctx, in)
	if err := r.setHandlers(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

// incidentRun is the state of one run of the workflow. Its fields that outlive
// a continue-as-new are in state.
type incidentRun struct {
	state incident.IncidentState
	// mutex keeps updates that need an activity from interleaving.
	mutex workflow.Mutex
	// pending are entries that the ledger does not have yet.
	pending []incident.Entry
	// published is the revision that the card shows.
	published int
	// wanted says what the main loop is to do next.
	wanted struct {
		collect   bool
		redo      bool
		rollback  *incident.RollbackInput
		conclude  bool
		finish    bool
		escalate  string
		decideBy  time.Time
		escalated bool
	}
	rolling workflow.ChildWorkflowFuture
	// busy counts what runs beside the main loop: postmortems and escalations
	// that a vendor keeps waiting.
	busy       int
	concluding bool
	// unrecorded says that an event is not in the ledger, so that nothing may
	// be executed any more.
	unrecorded bool
}

func newIncidentRun(ctx workflow.Context, in incident.IncidentInput) *incidentRun {
	r := &incidentRun{mutex: workflow.NewMutex(ctx)}
	if in.State != nil {
		r.state = *in.State
		return r
	}
	r.state = incident.IncidentState{
		View: incident.View{
			Key: in.Key, Phase: incident.PhaseCollecting, PagedAt: workflow.Now(ctx).UTC(),
			Ranking: incident.Ranking{Likely: -1},
		},
		Results: map[string]incident.Result{},
	}
	return r
}

func (r *incidentRun) view() *incident.View { return &r.state.View }

// run is the main loop: it does one thing at a time, in this order of urgency,
// until the incident is over.
func (r *incidentRun) run(ctx workflow.Context) error {
	workflow.Go(ctx, r.keepLedger)
	workflow.Go(ctx, r.keepCard)
	workflow.Go(ctx, r.watchRollback)
	for {
		if err := r.awaitWork(ctx); err != nil {
			return err
		}
		switch {
		case r.wanted.rollback != nil:
			r.rollBack(ctx)
		case r.wanted.collect || r.wanted.redo:
			r.collect(ctx)
		case r.wanted.escalate != "":
			r.escalate(ctx)
		case r.wanted.conclude && !r.concluding:
			r.conclude(ctx)
		case r.wanted.finish && r.busy == 0:
			if done, err := r.finish(ctx); done || err != nil {
				return err
			}
		case r.decisionOverdue(ctx):
			r.decisionWasOverdue(ctx)
		default:
			return r.continueAsNew(ctx)
		}
	}
}

// awaitWork waits for something to do, for the deadline of a decision, or for
// a history that has grown long.
func (r *incidentRun) awaitWork(ctx workflow.Context) error {
	ready := func() bool {
		w := &r.wanted
		return w.rollback != nil || w.collect || w.redo || w.escalate != "" ||
			(w.conclude && !r.concluding) || (w.finish && r.busy == 0) ||
			(workflow.GetInfo(ctx).GetContinueAsNewSuggested() && r.idle())
	}
	if r.wanted.decideBy.IsZero() || r.view().Phase != incident.PhaseDeciding {
		return workflow.Await(ctx, ready)
	}
	_, err := workflow.AwaitWithTimeout(ctx, max(r.wanted.decideBy.Sub(workflow.Now(ctx)), 0), ready)
	return err
}

// idle reports whether nothing is in flight that a continue-as-new would lose.
func (r *incidentRun) idle() bool {
	return r.rolling == nil && r.busy == 0 && len(r.pending) == 0 && r.published == r.view().Revision && !r.mutex.IsLocked()
}

func (r *incidentRun) continueAsNew(ctx workflow.Context) error {
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) && r.idle() }); err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, incident.WorkflowIncident, incident.IncidentInput{Key: r.view().Key, State: &r.state})
}

// finish ends the workflow once everybody has been answered and everything is
// written.
func (r *incidentRun) finish(ctx workflow.Context) (done bool, err error) {
	err = workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) && r.idle() })
	return r.wanted.finish, err
}

// changed makes the change visible: the card follows.
func (r *incidentRun) changed() { r.view().Revision++ }

// event adds a line to the timeline and an entry to the ledger.
func (r *incidentRun) event(ctx workflow.Context, kind incident.EventKind, at time.Time, actor, text string, payload any) string {
	id := r.nextEvent()
	e := entry(id, r.view().Key, kind, at, actor, text, payload)
	r.pending = append(r.pending, e)
	r.line(incident.Event{ID: id, Kind: kind, At: e.At, Actor: actor, Text: text})
	_ = ctx
	return id
}

func (r *incidentRun) nextEvent() string {
	r.state.Events++
	return incident.EventID(r.view().Key, r.state.Events)
}

// line adds a line to the timeline, in order of time. The oldest lines give
// way when there are too many; the ledger keeps them all.
func (r *incidentRun) line(e incident.Event) {
	v := r.view()
	if slices.ContainsFunc(v.Timeline, func(have incident.Event) bool { return have.ID == e.ID }) {
		return
	}
	at, _ := slices.BinarySearchFunc(v.Timeline, e, func(a, b incident.Event) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return -1
	})
	v.Timeline = slices.Insert(v.Timeline, at, e)
	if over := len(v.Timeline) - maxTimeline; over > 0 {
		v.Timeline = slices.Delete(v.Timeline, 1, 1+over)
	}
}

// keepLedger writes pending entries, as many at a time as have gathered. It
// tries for as long as the ledger is away; meanwhile nothing is executed.
func (r *incidentRun) keepLedger(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return len(r.pending) > 0 }) == nil {
		batch := slices.Clone(r.pending)
		if r.record(ctx, batch) != nil {
			// The ledger refuses what it was given, one entry at a time to
			// find out which, and without its detail rather than not at all.
			for _, e := range batch {
				if r.record(ctx, []incident.Entry{e}) == nil {
					continue
				}
				e.Text, e.Actor, e.Payload = truncate(e.Text, maxFallbackText), "", nil
				if err := r.record(ctx, []incident.Entry{e}); err != nil {
					workflow.GetLogger(ctx).Error("Ledger refused an entry.", "incident_id", r.view().Key, "event_id", e.ID, "error", err)
					r.unrecorded = true
				}
			}
		}
		r.pending = r.pending[len(batch):]
	}
}

// maxFallbackText is how much of a refused entry's text is tried again.
const maxFallbackText = 200

func (r *incidentRun) record(ctx workflow.Context, entries []incident.Entry) error {
	return workflow.ExecuteActivity(recordOptions(ctx), act.Record, activities.RecordInput{Entries: entries}).Get(ctx, nil)
}

// keepCard publishes the newest view, at most once each cardInterval.
func (r *incidentRun) keepCard(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return r.published != r.view().Revision }) == nil {
		shown := *r.view()
		began := workflow.Now(ctx)
		var ref incident.CardRef
		err := workflow.ExecuteActivity(tellOptions(ctx), act.PublishCard, shown).Get(ctx, &ref)
		r.published = shown.Revision
		if err != nil {
			workflow.GetLogger(ctx).Error("Card could not be published.", "incident_id", shown.Key, "error", err)
		} else {
			r.view().Card = ref
		}
		if rest := cardInterval - workflow.Now(ctx).Sub(began); rest > 0 {
			if workflow.Sleep(ctx, rest) != nil {
				return
			}
		}
	}
}

// setPhase moves the incident, and says so to lists.
func (r *incidentRun) setPhase(ctx workflow.Context, p incident.Phase) {
	if r.view().Phase == p {
		return
	}
	r.view().Phase = p
	r.changed()
	r.index(ctx)
}

// index tells Temporal's lists where the incident stands.
func (r *incidentRun) index(ctx workflow.Context) {
	v := r.view()
	err := workflow.UpsertTypedSearchAttributes(ctx,
		searchPhase.ValueSet(string(v.Phase)), searchService.ValueSet(v.Service), searchSeverity.ValueSet(string(v.Severity)))
	if err != nil {
		workflow.GetLogger(ctx).Error("Search attributes could not be set.", "incident_id", v.Key, "error", err)
	}
}

// collect asks what changed and what could be done, and offers it.
func (r *incidentRun) collect(ctx workflow.Context) {
	v := r.view()
	in := activities.CollectInput{
		Key: v.Key, ServiceID: r.state.ServiceID, Service: v.Service, Severity: v.Severity, OnsetAt: v.OpenedAt, Now: workflow.Now(ctx).UTC(),
		Previous: v.Options,
	}
	if r.wanted.redo {
		in.Redo = v.LastRollback()
	}
	r.wanted.collect, r.wanted.redo = false, false
	var got activities.CollectResult
	err := workflow.ExecuteActivity(collectOptions(ctx), act.CollectOptions, in).Get(ctx, &got)
	_ = r.mutex.Lock(ctx)
	defer r.mutex.Unlock()
	if r.wanted.rollback != nil || r.rolling != nil {
		return
	}
	if err != nil {
		v.Notes = []string{"Options could not be worked out: " + plain(err)}
		r.event(ctx, incident.EventOptions, workflow.Now(ctx), "", "options could not be worked out: "+plain(err), nil)
		r.setPhase(ctx, incident.PhaseStuck)
		r.wanted.escalate = "Backout could not work out any options"
		r.changed()
		return
	}
	v.Service, v.Team, v.Ranking, v.Options, v.Notes = got.Service, got.Team, got.Ranking, got.Options, got.Notes
	v.Waiting = ""
	now := workflow.Now(ctx).UTC()
	if v.OptionsAt.IsZero() {
		v.OptionsAt = now
	}
	r.event(ctx, incident.EventOptions, now, "", activities.OptionsText(got), got)
	r.wanted.decideBy = now.Add(got.DecideWithin)
	r.wanted.escalated = false
	r.setPhase(ctx, incident.PhaseDeciding)
	r.index(ctx)
	r.changed()
}

// decisionOverdue reports whether nobody decided in time.
func (r *incidentRun) decisionOverdue(ctx workflow.Context) bool {
	return r.view().Phase == incident.PhaseDeciding && !r.wanted.decideBy.IsZero() && !workflow.Now(ctx).Before(r.wanted.decideBy)
}

func (r *incidentRun) decisionWasOverdue(ctx workflow.Context) {
	r.wanted.decideBy = time.Time{}
	r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", "nobody decided in time", nil)
	r.wanted.escalate = "nobody decided on a rollback in time"
	r.changed()
}

// escalate pages the next level, beside the main loop.
func (r *incidentRun) escalate(ctx workflow.Context) {
	reason := r.wanted.escalate
	r.wanted.escalate = ""
	r.busy++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { r.busy-- }()
		err := workflow.ExecuteActivity(tellOptions(ctx), act.Escalate, activities.EscalateInput{Key: r.view().Key, Reason: reason}).Get(ctx, nil)
		text := "paged the next level: " + reason
		if err != nil {
			text = "could not page the next level: " + plain(err)
			r.note("The next level could not be paged: " + plain(err))
		}
		r.event(ctx, incident.EventEscalation, workflow.Now(ctx), "", text, nil)
		r.changed()
	})
}

// note tells people something, once.
func (r *incidentRun) note(text string) {
	if v := r.view(); !slices.Contains(v.Notes, text) {
		v.Notes = append(v.Notes, text)
	}
}

// rollBack runs the approved plan as a child and waits for its end.
func (r *incidentRun) rollBack(ctx workflow.Context) {
	in := *r.wanted.rollback
	// Nothing executes before the ledger has the decision.
	_ = workflow.Await(ctx, func() bool { return len(r.pending) == 0 })
	if r.unrecorded {
		r.wanted.rollback = nil
		last := r.view().LastRollback()
		last.Status, last.Reason, last.FinishedAt = incident.RollbackFailed, "the ledger refused a record, so nothing was touched", workflow.Now(ctx)
		r.setPhase(ctx, incident.PhaseStuck)
		r.wanted.escalate = last.Reason
		r.changed()
		return
	}
	r.rolling = workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:        in.ID,
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
	}), incident.WorkflowRollback, in)
	r.wanted.rollback = nil
	r.setPhase(ctx, incident.PhaseRollingBack)
	var end incident.RollbackView
	err := r.rolling.Get(ctx, &end)
	_ = r.mutex.Lock(ctx)
	defer r.mutex.Unlock()
	r.rolling = nil
	if err != nil {
		end = *r.view().LastRollback()
		end.Status, end.Reason = incident.RollbackFailed, "the rollback itself failed: "+plain(err)
	}
	r.takeReport(ctx, end)
	r.afterRollback(ctx, end)
}

// watchRollback takes the reports of the rollback while it runs.
func (r *incidentRun) watchRollback(ctx workflow.Context) {
	ch := workflow.GetSignalChannel(ctx, incident.SignalRollback)
	for {
		var report incident.RollbackView
		if !ch.Receive(ctx, &report) {
			return
		}
		r.takeReport(ctx, report)
	}
}

// takeReport puts a rollback's report into the view. Reports of a rollback
// that has ended, and of unknown ones, change nothing.
func (r *incidentRun) takeReport(ctx workflow.Context, report incident.RollbackView) {
	v := r.view()
	i := slices.IndexFunc(v.Rollbacks, func(have incident.RollbackView) bool { return have.ID == report.ID })
	if i < 0 || !v.Rollbacks[i].FinishedAt.IsZero() {
		return
	}
	v.Rollbacks[i] = report
	for _, e := range report.Events {
		r.line(e)
	}
	v.Rollbacks[i].Events = nil
	if r.rolling != nil && !report.ActionsDoneAt.IsZero() {
		r.setPhase(ctx, incident.PhaseValidating)
	}
	r.changed()
}

// afterRollback decides what an ended rollback means for the incident. Only
// the verdict recovered ends it.
func (r *incidentRun) afterRollback(ctx workflow.Context, end incident.RollbackView) {
	switch {
	case end.Recovery != nil && end.Recovery.Verdict == incident.VerdictRecovered && end.Status == incident.RollbackDone:
		r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", "recovered", nil)
		r.setPhase(ctx, incident.PhaseRecovered)
		r.wanted.conclude = true
	case end.Status == incident.RollbackVoid || end.Status == incident.RollbackLocked || end.Status == incident.RollbackCancelled:
		r.event(ctx, incident.EventRollback, workflow.Now(ctx), "", string(end.Status)+": "+end.Reason, nil)
		r.setPhase(ctx, incident.PhaseCollecting)
		r.wanted.collect = true
	default:
		why := end.Reason
		if end.Recovery != nil {
			why = fmt.Sprintf("verdict %s: %s", end.Recovery.Verdict, end.Recovery.Reason)
		}
		r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", "stuck after a rollback: "+why, nil)
		r.setPhase(ctx, incident.PhaseStuck)
		r.wanted.escalate = "the rollback did not bring the service back: " + why
		r.wanted.collect = true
	}
}

// conclude ends the incident if it is over at its source too, and writes the
// postmortem beside the main loop: a tracker that is away holds nothing up.
func (r *incidentRun) conclude(ctx workflow.Context) {
	r.wanted.conclude = false
	v := r.view()
	if r.over() {
		v.ClosedAt = workflow.Now(ctx).UTC()
		r.event(ctx, incident.EventPhaseChange, v.ClosedAt, "", "closed", nil)
		r.setPhase(ctx, incident.PhaseClosed)
		r.wanted.finish = true
	}
	r.concluding = true
	r.busy++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { r.concluding = false; r.busy-- }()
		r.writePostmortem(ctx)
		r.changed()
	})
}

func (r *incidentRun) writePostmortem(ctx workflow.Context) {
	v := r.view()
	var ref incident.PostmortemRef
	if err := workflow.ExecuteActivity(postmortemOptions(ctx), act.WritePostmortem, activities.PostmortemInput{View: *v}).Get(ctx, &ref); err != nil {
		r.note("The postmortem could not be written: " + plain(err))
		r.event(ctx, incident.EventPostmortem, workflow.Now(ctx), "", "postmortem could not be written: "+plain(err), nil)
		return
	}
	if v.Postmortem.Number != 0 {
		return
	}
	v.Postmortem = ref
	r.event(ctx, incident.EventPostmortem, workflow.Now(ctx), "", "postmortem drafted: "+ref.URL, ref)
	note := activities.NoteInput{Key: v.Key, ID: v.Key + "/postmortem", Text: "Postmortem: " + ref.URL}
	if err := workflow.ExecuteActivity(tellOptions(ctx), act.NoteAtSource, note).Get(ctx, nil); err != nil {
		r.note("The link to the postmortem could not be noted at the source: " + plain(err))
	}
}

// over reports whether nothing more can happen: the source says it is resolved,
// or somebody closed it, and no rollback is running.
func (r *incidentRun) over() bool {
	return r.rolling == nil && r.wanted.rollback == nil && r.state.SourceKind == incident.PageResolved
}
