package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// Bounds of what signals that mean nothing leave behind.
const (
	// maxSignalName is how much of a signal's name is kept, in runes.
	maxSignalName = 80
	// maxStrays is how many of them one rollback records.
	maxStrays = 20
)

// strayClass is what attempts are counted by, once they are many.
const strayClass = "attempts that were refused"

// strayReason is what a signal that nobody of Backout sends amounts to.
const strayReason = "it came as a signal of Temporal, and only a signed update of Backout's own bot counts"

// awaitStrays takes signals that this workflow has no use for off their channels, and
// hands their names over, for as long as it runs. Anybody who can write to the
// namespace can send them; they do nothing but be recorded.
func awaitStrays(ctx workflow.Context, known []string, take func(name string)) {
	for {
		var names []string
		if workflow.Await(ctx, func() bool {
			names = slices.DeleteFunc(workflow.GetUnhandledSignalNames(ctx), func(n string) bool { return slices.Contains(known, n) })
			return len(names) > 0
		}) != nil {
			return
		}
		// The order must be the same whenever the workflow is replayed.
		slices.Sort(names)
		for _, name := range names {
			for ch := workflow.GetSignalChannel(ctx, name); ch.ReceiveAsync(nil); {
				take(truncate(name, maxSignalName))
			}
		}
	}
}

// watchStrays records signals that mean nothing to an incident.
func (r *incidentRun) watchStrays(ctx workflow.Context) {
	awaitStrays(ctx, []string{incident.SignalRollback, incident.SignalAttempt}, func(name string) {
		r.stray(ctx, "", fmt.Sprintf("the signal %q did nothing: %s", name, strayReason))
	})
}

// watchAttempts records what the bot refused. Others can say that it did, which is
// recorded as well, within the same bound.
func (r *incidentRun) watchAttempts(ctx workflow.Context) {
	ch := workflow.GetSignalChannel(ctx, incident.SignalAttempt)
	for {
		var raw converter.RawValue
		if !ch.Receive(ctx, &raw) {
			return
		}
		var a incident.Attempt
		if err := converter.GetDefaultDataConverter().FromPayload(raw.Payload(), &a); err != nil || a.Actor.Validate() != nil {
			r.stray(ctx, "", "a refused attempt was reported that can not be read")
			continue
		}
		r.stray(ctx, a.Actor.String(), truncate(a.Text, incident.MaxAttempt))
	}
}

// stray records an attempt that did nothing, one by one up to a bound, and then in
// numbers.
func (r *incidentRun) stray(ctx workflow.Context, actor, text string) {
	if _, single := r.idle(ctx, incident.OutcomeUnidentified, strayClass); single {
		r.event(ctx, incident.EventAttempt, workflow.Now(ctx), actor, text, nil)
		r.changed()
	}
}

// late reports whether a report of a rollback that does not run is one that its
// rollback may have sent: its last ones may arrive after its end.
func (r *incidentRun) late(report incident.RollbackView) bool {
	return slices.ContainsFunc(r.view().Rollbacks, func(have incident.RollbackView) bool {
		return sameRollback(have, report) && (report.Status == incident.RollbackRunning || report.Status == have.Status)
	})
}

// watchStrays records signals that mean nothing to a rollback. It neither waits for
// the ledger nor lets it stop anything: whoever sends them must not be able to.
func (r *rollback) watchStrays(ctx workflow.Context) {
	taken := 0
	awaitStrays(ctx, []string{incident.SignalCancel}, func(name string) {
		if taken++; taken > maxStrays {
			return
		}
		text := fmt.Sprintf("the signal %q did nothing: %s", name, strayReason)
		e := entry(r.nextEvent(), r.in.Incident, incident.EventAttempt, workflow.Now(ctx), "", text, nil)
		workflow.ExecuteActivity(recordOptions(ctx, time.Minute), act.Record, activities.RecordInput{Entries: []incident.Entry{e}})
		r.note(e.ID, incident.EventAttempt, e.At, text)
	})
}
