package workflows

import (
	"errors"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// cardInterval is the shortest time between two updates of the card. Slack
// allows about one message a second and channel; updates in between are
// coalesced.
// Source: https://docs.slack.dev/apis/web-api/rate-limits
const cardInterval = time.Second

// gathering is how long the first card and the first write to the ledger wait
// for the options, so that these need not wait for the second ones.
const gathering = 300 * time.Millisecond

// ledgerInterval is how long an entry waits for others to be written with it,
// while nothing is to be executed. Temporal has it meanwhile.
const ledgerInterval = 300 * time.Millisecond

// ledgerPatience is how long the ledger may be away before somebody is paged.
const ledgerPatience = time.Minute

// Bounds of one write to the ledger, far below Temporal's limit of 2 MiB for a
// payload.
const (
	maxBatch      = 50
	maxBatchBytes = 512 << 10
	// maxFallbackText is how much of a refused entry's text is tried again.
	maxFallbackText = 200
)

var (
	searchPhase    = temporal.NewSearchAttributeKeyKeyword(incident.SearchPhase)
	searchService  = temporal.NewSearchAttributeKeyKeyword(incident.SearchService)
	searchSeverity = temporal.NewSearchAttributeKeyKeyword(incident.SearchSeverity)
)

// changed makes the change visible: the card follows.
func (r *incidentRun) changed() { r.view().Revision++ }

// note tells people something, once. The oldest notes give way.
func (r *incidentRun) note(text string) {
	v := r.view()
	if text = truncate(text, maxEventText); !slices.Contains(v.Notes, text) {
		v.Notes = append(v.Notes, text)
	}
	if over := len(v.Notes) - maxNotes; over > 0 {
		v.Notes = slices.Delete(v.Notes, 0, over)
	}
}

// event adds a line to the timeline and an entry to the ledger.
func (r *incidentRun) event(_ workflow.Context, kind incident.EventKind, at time.Time, actor, text string, payload any) string {
	return r.eventAs(r.nextEvent(), kind, at, actor, text, payload)
}

// eventAs is event with an ID of its own: one that follows from what happened, and
// not from what happened before.
func (r *incidentRun) eventAs(id string, kind incident.EventKind, at time.Time, actor, text string, payload any) string {
	text = truncate(text, maxEventText)
	e := entry(id, r.view().Key, kind, at, actor, text, payload)
	r.pending = append(r.pending, e)
	r.line(incident.Event{ID: id, Kind: kind, At: e.At, Actor: actor, Text: text})
	return id
}

func (r *incidentRun) nextEvent() string {
	r.state.Events++
	return incident.EventID(r.prefix(), r.state.Events)
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

// gather waits until the options are there, for a short while at most.
func (r *incidentRun) gather(ctx workflow.Context) {
	awaitFor(ctx, gathering, func() bool { return r.view().Phase != incident.PhaseCollecting })
	r.gathered = true
}

// keepLedger writes pending entries that no card takes along, as many at a time
// as have gathered. It tries for as long as the ledger is away; meanwhile nothing
// is executed, and somebody is told.
func (r *incidentRun) keepLedger(ctx workflow.Context) {
	due := func() bool { return len(r.pending) > 0 && (r.awaited() || r.gathered && !r.showing) }
	for workflow.Await(ctx, due) == nil {
		if rest := ledgerInterval - workflow.Now(ctx).Sub(r.recordedAt); !r.recordedAt.IsZero() && rest > 0 {
			awaitFor(ctx, rest, func() bool { return r.awaited() || !due() })
			if !due() {
				continue
			}
		}
		r.recordedAt, r.recording = workflow.Now(ctx), true
		batch := r.batch()
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
					r.ledgerRefused(ctx, e, plain(err))
				}
			}
		}
		r.recorded(batch)
		r.recording = false
	}
}

// recorded drops entries that the ledger has from those that wait for it.
func (r *incidentRun) recorded(batch []incident.Entry) {
	r.pending = slices.DeleteFunc(r.pending, func(e incident.Entry) bool {
		return slices.ContainsFunc(batch, func(done incident.Entry) bool { return done.ID == e.ID })
	})
}

// awaited reports whether something can not go on until the ledger has all.
func (r *incidentRun) awaited() bool {
	return r.wanted.rollback != nil || r.wanted.finish || r.cancelled || len(r.pending) >= maxBatch
}

// batch is as many pending entries as one write takes.
func (r *incidentRun) batch() []incident.Entry {
	n, size := 0, 0
	for n < len(r.pending) && n < maxBatch {
		size += len(r.pending[n].Payload) + len(r.pending[n].Text)
		if n > 0 && size > maxBatchBytes {
			break
		}
		n++
	}
	return slices.Clone(r.pending[:n])
}

// ledgerRefused says that an event can never be recorded, so that nothing is
// executed for this incident any more.
func (r *incidentRun) ledgerRefused(ctx workflow.Context, e incident.Entry, why string) {
	if !r.state.Unrecorded {
		r.state.Unrecorded = true
		r.note("The ledger refused " + e.ID + " (" + why + "), so nothing is executed for this incident any more. Handle it by hand, and verify the ledger.")
		r.escalate(ctx, "ledger refused", "the ledger refuses a record, so Backout executes nothing for this incident any more; handle it by hand")
		r.changed()
	}
}

// record writes entries, and returns an error only if the ledger refuses them.
func (r *incidentRun) record(ctx workflow.Context, entries []incident.Entry) error {
	in := activities.RecordInput{Entries: entries}
	err := workflow.ExecuteActivity(recordOptions(ctx, ledgerPatience), act.Record, in).Get(ctx, nil)
	if !away(err) {
		return err
	}
	const note = "The ledger can not be written, so nothing is executed until it can. See that its disk or database answers."
	r.note(note)
	r.escalate(ctx, "ledger away", "the ledger can not be written, so Backout executes nothing; see that its disk or database answers")
	r.changed()
	for away(err) {
		err = workflow.ExecuteActivity(recordOptions(ctx, 0), act.Record, in).Get(ctx, nil)
	}
	r.forget("ledger away")
	r.view().Notes = slices.DeleteFunc(r.view().Notes, func(n string) bool { return n == note })
	r.changed()
	return err
}

// away reports whether an activity was run and ended for another reason than
// what it was asked: its time was over.
func away(err error) bool {
	var ended *temporal.ActivityError
	var refusal *temporal.ApplicationError
	return errors.As(err, &ended) && (!errors.As(err, &refusal) || !refusal.NonRetryable() && !slices.Contains(finalErrors, refusal.Type()))
}

// keepCard publishes the newest view, at most once each cardInterval.
func (r *incidentRun) keepCard(ctx workflow.Context) {
	_ = workflow.Await(ctx, func() bool { return r.gathered })
	var last time.Time
	for workflow.Await(ctx, func() bool { return r.published != r.view().Revision }) == nil {
		// The pause comes before the next card, so that an incident at rest has
		// no timer.
		if rest := cardInterval - workflow.Now(ctx).Sub(last); !last.IsZero() && rest > 0 {
			_ = workflow.Sleep(ctx, rest)
		}
		last = workflow.Now(ctx)
		if len(r.pending) > 0 && !r.recording && !r.awaited() && r.showWithRecord(ctx) {
			continue
		}
		shown := *r.view()
		ref, err := r.publish(ctx, shown)
		r.published = shown.Revision
		if err != nil {
			workflow.GetLogger(ctx).Error("Card could not be published.", "incident_id", shown.Key, "error", err)
		} else {
			r.view().Card = ref
		}
	}
}

// showWithRecord publishes the newest view and writes what the ledger does not have
// yet before it, in one activity instead of two, and reports whether the card was
// shown. It is tried once: what did not work out is left to the activities that
// are about the card or the ledger alone, and so is what can not wait for the other.
func (r *incidentRun) showWithRecord(ctx workflow.Context) bool {
	in := activities.ShowInput{View: *r.view(), Entries: r.batch()}
	var got activities.ShowResult
	r.showing, r.recordedAt = true, workflow.Now(ctx)
	err := r.show(ctx, in).Get(ctx, &got)
	r.showing = false
	if err != nil {
		return false
	}
	if got.Recorded {
		r.recorded(in.Entries)
	}
	if got.Card != nil {
		r.published, r.view().Card = in.View.Revision, *got.Card
	}
	return got.Card != nil
}

// show shows the first card of an incident in the workflow task itself, which spares
// the engine four writes, and every other one in an activity: once there is a card,
// people may click on it, and nobody waits for another's card. A task that is lost
// is taken again from what has happened by then, so that in a task only entries are
// written that do not depend on it.
func (r *incidentRun) show(ctx workflow.Context, in activities.ShowInput) workflow.Future {
	if r.view().Card == (incident.CardRef{}) && r.published == 0 && !slices.ContainsFunc(in.Entries, func(e incident.Entry) bool { return !r.steady(e) }) {
		return workflow.ExecuteLocalActivity(showAtOnce(ctx), act.Show, in)
	}
	return workflow.ExecuteActivity(showOptions(ctx), act.Show, in)
}

// steady reports whether an entry says the same under the same ID however often and
// in whatever order the workflow is worked on.
func (r *incidentRun) steady(e incident.Entry) bool {
	return e.Kind == incident.EventPage || e.ID == incident.OptionsEventID(r.prefix(), r.state.Offers)
}

// setPhase moves the incident, and says so to lists.
func (r *incidentRun) setPhase(ctx workflow.Context, p incident.Phase) {
	if r.view().Phase != p {
		r.view().Phase = p
		r.changed()
	}
	r.index(ctx)
}

// indexedAtStart is what the start itself told Temporal's lists.
func indexedAtStart(ctx workflow.Context) [3]string {
	have := workflow.GetTypedSearchAttributes(ctx)
	var out [3]string
	for i, key := range []temporal.SearchAttributeKeyKeyword{searchPhase, searchService, searchSeverity} {
		out[i], _ = have.GetKeyword(key)
	}
	return out
}

// index tells Temporal's lists where the incident stands, if that is news. There an
// incident is open for decisions from its start: what a list would show for the
// moment in which options are collected is not worth a write.
func (r *incidentRun) index(ctx workflow.Context) {
	v := r.view()
	phase := v.Phase
	if phase == incident.PhaseCollecting {
		phase = incident.PhaseDeciding
	}
	now := [3]string{string(phase), v.Service, string(v.Severity)}
	if r.indexed == now {
		return
	}
	r.indexed = now
	err := workflow.UpsertTypedSearchAttributes(ctx,
		searchPhase.ValueSet(now[0]), searchService.ValueSet(now[1]), searchSeverity.ValueSet(now[2]))
	if err != nil {
		workflow.GetLogger(ctx).Error("Search attributes could not be set.", "incident_id", v.Key, "error", err)
	}
}
