package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// causeNoOptions is the cause of paging because the options could not be worked
// out.
const causeNoOptions = "options"

// collect asks what changed and what could be done, and offers it. A decision
// on what is offered already does not wait for it.
func (r *incidentRun) collect(ctx workflow.Context) {
	v := r.view()
	in := activities.CollectInput{
		Key: v.Key, ServiceID: r.state.ServiceID, Service: v.Service, Severity: v.Severity, OnsetAt: v.OpenedAt, Now: workflow.Now(ctx).UTC(),
		Previous: v.Options,
	}
	redo := r.wanted.redo
	if redo {
		in.Redo = v.LastRollback()
	}
	alone := redo && !r.wanted.collect
	r.wanted.collect, r.wanted.redo = false, false
	asking, stop := workflow.WithCancel(ctx)
	defer stop()
	answer := workflow.ExecuteActivity(collectOptions(asking), act.CollectOptions, in)
	_ = workflow.Await(ctx, func() bool { return answer.IsReady() || r.wanted.rollback != nil })
	_ = r.mutex.Lock(ctx)
	defer r.mutex.Unlock()
	if r.wanted.rollback != nil || r.rolling != nil || r.cancelled {
		return
	}
	var got activities.CollectResult
	if err := answer.Get(ctx, &got); err != nil {
		r.notCollected(ctx, plain(err), alone)
		return
	}
	r.offer(ctx, got, redo, alone)
}

// notCollected says that the options could not be worked out. Those offered
// before stay.
func (r *incidentRun) notCollected(ctx workflow.Context, why string, alone bool) {
	r.noteOptions("Options could not be worked out: " + why + ". Refresh to try again.")
	r.event(ctx, incident.EventOptions, workflow.Now(ctx), "", "options could not be worked out: "+why, nil)
	r.changed()
	if alone {
		return
	}
	r.setPhase(ctx, incident.PhaseStuck)
	r.escalate(ctx, causeNoOptions, "Backout could not work out any options: "+why)
}

func (r *incidentRun) offer(ctx workflow.Context, got activities.CollectResult, redo, alone bool) {
	v := r.view()
	r.stillOffered(ctx, got.Options)
	r.keepDecided(got.Options)
	v.Service, v.Team, v.Ranking, v.Options = got.Service, got.Team, got.Ranking, got.Options
	r.state.CarriedOut = ""
	r.noteOptions(got.Notes...)
	r.refuseAgain()
	if !r.stillWaiting() {
		v.Waiting = ""
	}
	now := workflow.Now(ctx).UTC()
	if v.OptionsAt.IsZero() {
		v.OptionsAt = got.At
	}
	r.state.Offers++
	r.eventAs(incident.OptionsEventID(r.prefix(), r.state.Offers), incident.EventOptions, got.At, "", activities.OptionsText(got), got)
	r.forget(causeNoOptions)
	r.setPhase(ctx, incident.PhaseDeciding)
	r.armDeadline(now, got, redo && alone)
	r.ask(now)
	r.lookAgain(now, got)
	r.changed()
}

// noteOptions puts the notes about the options in place of those before. What
// else people should know stays.
func (r *incidentRun) noteOptions(notes ...string) {
	v := r.view()
	v.Notes = slices.DeleteFunc(v.Notes, func(n string) bool { return slices.Contains(r.state.OptionNotes, n) })
	r.state.OptionNotes = nil
	for _, n := range notes {
		n = truncate(n, maxEventText)
		r.state.OptionNotes = append(r.state.OptionNotes, n)
		r.note(n)
	}
}

// Looking again for a way out, because a system did not answer: soon at first,
// and not for ever.
const (
	firstLookAgain = 5 * time.Second
	maxLooksAgain  = 8
)

// lookAgain has the options worked out again by itself when there is none to
// choose and a system did not answer.
func (r *incidentRun) lookAgain(now time.Time, got activities.CollectResult) {
	r.state.LookAgain = time.Time{}
	if !got.Incomplete || r.choosable() {
		r.state.Looks = 0
		return
	}
	if r.state.Looks < maxLooksAgain {
		r.state.LookAgain = now.Add(firstLookAgain << r.state.Looks)
		r.state.Looks++
	}
}

// keepLooking asks for fresh options when it is time.
func (r *incidentRun) keepLooking(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return !r.state.LookAgain.IsZero() }) == nil {
		at := r.state.LookAgain
		awaitFor(ctx, max(at.Sub(workflow.Now(ctx)), time.Millisecond), func() bool { return !r.state.LookAgain.Equal(at) })
		if !r.state.LookAgain.Equal(at) {
			continue
		}
		r.state.LookAgain = time.Time{}
		if r.undecided() && r.state.SourceKind != incident.PageResolved {
			r.wanted.collect = true
		}
	}
}

// choosable reports whether there is an option that people may choose.
func (r *incidentRun) choosable() bool {
	return slices.ContainsFunc(r.view().Options, func(o incident.Option) bool { return !o.Blocked })
}

// refuseAgain keeps what was refused refused: the same plan is not offered
// again because somebody asked for fresh options.
func (r *incidentRun) refuseAgain() {
	for _, d := range r.view().Decisions {
		if d.Outcome != incident.OutcomeRefused {
			continue
		}
		for _, o := range r.view().Options {
			if o.Digest == d.PlanDigest && !o.Blocked {
				r.refuse(o, d.Person.Name)
			}
		}
	}
}

// stillWaiting reports whether an answer waits for another one on a plan that
// is offered still.
func (r *incidentRun) stillWaiting() bool {
	return slices.ContainsFunc(r.view().Decisions, func(d incident.Decision) bool {
		return d.Outcome == incident.OutcomeWaiting && slices.ContainsFunc(r.view().Options, func(o incident.Option) bool { return o.Digest == d.PlanDigest })
	})
}

// armDeadline sets when the next level is paged if nobody decides. Asking for
// fresh options does not put it off, and where nothing is offered nobody is
// waited for: people have been paged by the pager itself.
func (r *incidentRun) armDeadline(now time.Time, got activities.CollectResult, redoOnly bool) {
	switch {
	case len(got.Options) == 0:
		r.state.DecideBy = time.Time{}
	case redoOnly || r.state.Overdue || !r.state.DecideBy.IsZero():
	default:
		r.state.DecideBy = now.Add(got.DecideWithin)
	}
}

// rearm lets the next offer have a deadline of its own.
func (r *incidentRun) rearm() { r.state.DecideBy, r.state.Overdue = time.Time{}, false }

// decisionDue reports whether the next level is to be paged at a time if nobody
// decides. While a plan waits for objections somebody has.
func (r *incidentRun) decisionDue() bool {
	return r.view().Phase == incident.PhaseDeciding && !r.state.DecideBy.IsZero() && r.view().Objections == nil
}

// decisionOverdue reports whether nobody decided in time.
func (r *incidentRun) decisionOverdue(ctx workflow.Context) bool {
	return r.decisionDue() && !workflow.Now(ctx).Before(r.state.DecideBy)
}

func (r *incidentRun) decisionWasOverdue(ctx workflow.Context) {
	cause := fmt.Sprintf("undecided %d", r.state.DecideBy.UnixMilli())
	r.state.DecideBy, r.state.Overdue = time.Time{}, true
	reason := "nobody decided on a rollback in time"
	if !r.choosable() {
		reason = "none of the options can be chosen; the card says why"
	}
	if r.view().Waiting != "" {
		reason = "a rollback waits for " + r.view().Waiting
	}
	r.escalate(ctx, cause, reason)
}
