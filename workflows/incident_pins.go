package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// maxPinLooks bounds how often one incident looks at messages, so that somebody who
// edits one all night does not fill its history.
const maxPinLooks = 400

// maxDecided bounds the options that are kept after they were answered.
const maxDecided = 8

// pin looks again at a message of the incident's channel, and puts it into the
// timeline, changes it there or takes it out, as it stands now. However often and in
// whatever order events about it arrive, the last look is right; the ledger keeps all
// that changed.
func (r *incidentRun) pin(ctx workflow.Context, q incident.PinRequest) (incident.Result, error) {
	r.updates++
	no := func(o incident.Outcome, why string) (incident.Result, error) {
		return incident.Result{Outcome: o, Reason: why, Revision: r.view().Revision}, nil
	}
	if q.Channel != r.view().Card.Channel {
		return no(incident.OutcomeDenied, "that message is not in the channel of this incident")
	}
	// One look at a time: what was looked at last is what stands last.
	if err := r.looking.Lock(ctx); err != nil {
		return incident.Result{}, err
	}
	defer r.looking.Unlock()
	at := r.pinned(q)
	switch {
	case at < 0 && q.Actor == (incident.Actor{}):
		return no(incident.OutcomeStale, "that message is not pinned")
	case at < 0 && len(r.view().Pins) >= incident.MaxPins:
		return no(incident.OutcomeDenied, "this incident has as many pinned messages as it keeps")
	case r.state.PinLooks >= maxPinLooks:
		return no(incident.OutcomeDenied, "pinned messages of this incident changed too often; write it down by hand")
	}
	r.state.PinLooks++
	var got activities.PinResult
	if err := workflow.ExecuteActivity(decideOptions(ctx), act.ReadPin, q).Get(ctx, &got); err != nil {
		return no(incident.OutcomeDenied, "the message could not be read: "+plain(err))
	}
	return r.takePin(ctx, q, got), nil
}

func (r *incidentRun) pinned(q incident.PinRequest) int {
	return slices.IndexFunc(r.view().Pins, func(p incident.Pin) bool { return p.Channel == q.Channel && p.TS == q.TS })
}

// takePin makes the timeline say what a message says now.
func (r *incidentRun) takePin(ctx workflow.Context, q incident.PinRequest, got activities.PinResult) incident.Result {
	v := r.view()
	at := r.pinned(q)
	res := incident.Result{Outcome: incident.OutcomeAccepted}
	var text string
	switch {
	case at >= 0 && !got.Pinned:
		text = v.Pins[at].Author + "'s message is not pinned any more"
		if !got.Found {
			text = v.Pins[at].Author + "'s pinned message was deleted"
		}
		res.Reason = "taken out of the timeline"
		v.Pins = slices.Delete(slices.Clone(v.Pins), at, at+1)
	case at >= 0:
		fresh := got.Pin
		fresh.EventID, fresh.By = v.Pins[at].EventID, v.Pins[at].By
		if same(v.Pins[at], fresh) {
			return incident.Result{Outcome: incident.OutcomeDuplicate, Reason: "the timeline says so already", Revision: v.Revision}
		}
		text = fresh.Author + "'s pinned message says now: " + fresh.Text
		res.Reason = "changed in the timeline"
		v.Pins = slices.Clone(v.Pins)
		v.Pins[at] = fresh
	case !got.Pinned:
		return incident.Result{Outcome: incident.OutcomeStale, Reason: "that message is not pinned any more", Revision: v.Revision}
	case got.Denied != "":
		return incident.Result{Outcome: incident.OutcomeUnidentified, Reason: got.Denied, Revision: v.Revision}
	default:
		fresh := got.Pin
		fresh.EventID = incident.EventID(r.prefix(), r.state.Events+1) // The event below.
		text = "pinned what " + fresh.Author + " wrote: " + fresh.Text
		res.Reason = "put into the timeline"
		v.Pins = append(slices.Clone(v.Pins), fresh)
		slices.SortStableFunc(v.Pins, func(a, b incident.Pin) int { return a.At.Compare(b.At) })
	}
	res.EventID = r.event(ctx, incident.EventPin, workflow.Now(ctx), got.Pin.By, text, got.Pin)
	r.changed()
	if v.Postmortem.Number != 0 {
		r.state.Unwritten = true
	}
	res.Revision = v.Revision
	return res
}

// same reports whether two looks at a message saw the same.
func same(a, b incident.Pin) bool {
	return a.Text == b.Text && a.Author == b.Author && a.EditedAt.Equal(b.EditedAt) && slices.Equal(a.Images, b.Images)
}

// keepDecided keeps the options that people answered, or that were executed, when
// fresh ones take their place: the postmortem tells of them.
func (r *incidentRun) keepDecided(fresh []incident.Option) {
	v := r.view()
	for _, o := range v.Options {
		answered := slices.ContainsFunc(v.Decisions, func(d incident.Decision) bool { return d.PlanDigest == o.Digest })
		is := func(have incident.Option) bool { return have.Digest == o.Digest }
		if !answered || slices.ContainsFunc(fresh, is) || slices.ContainsFunc(v.Decided, is) {
			continue
		}
		v.Decided = append(slices.Clone(v.Decided), o)
	}
	v.Decided = slices.DeleteFunc(slices.Clone(v.Decided), func(o incident.Option) bool {
		return slices.ContainsFunc(fresh, func(f incident.Option) bool { return f.Digest == o.Digest })
	})
	if over := len(v.Decided) - maxDecided; over > 0 {
		v.Decided = slices.Delete(v.Decided, 0, over)
	}
	if len(v.Decided) == 0 {
		v.Decided = nil
	}
}
