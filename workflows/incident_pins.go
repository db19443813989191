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
	// One look at a time: what was looked at last is what stands last.
	if err := r.looking.Lock(ctx); err != nil {
		return incident.Result{}, err
	}
	defer r.looking.Unlock()
	got, no := lookAtPin(ctx, *r.view(), &r.state.PinLooks, maxPinLooks, q)
	if no != nil {
		no.Revision = r.view().Revision
		return *no, nil
	}
	c := changePins(r.view().Pins, q, got, incident.EventID(r.prefix(), r.state.Events+1)) // The event below.
	if c.text == "" {
		c.result.Revision = r.view().Revision
		return c.result, nil
	}
	r.view().Pins = c.pins
	c.result.EventID = r.event(ctx, incident.EventPin, workflow.Now(ctx), got.Pin.By, c.text, got.Pin)
	r.pinsChanged()
	c.result.Revision = r.view().Revision
	if kept, some := keepPinImages(ctx, r.view().Key, c.result.EventID, r.view().Pins, q); some {
		r.view().Pins = kept
		r.pinsChanged()
	}
	return c.result, nil
}

// pinsChanged has the card and a postmortem that was drafted say so.
func (r *incidentRun) pinsChanged() {
	r.changed()
	if r.view().Postmortem.Number != 0 || r.writing {
		r.state.Unwritten = true
	}
}

// lookAtPin reads a message where it stands, unless it is known without that what
// comes of it: then no is the answer. looks counts the looks, of which there are most
// at most.
func lookAtPin(ctx workflow.Context, v incident.View, looks *int, most int, q incident.PinRequest) (got activities.PinResult, no *incident.Result) {
	refuse := func(o incident.Outcome, why string) (activities.PinResult, *incident.Result) {
		return got, &incident.Result{Outcome: o, Reason: why}
	}
	at := pinAt(v.Pins, q)
	switch {
	case q.Channel != v.Card.Channel:
		return refuse(incident.OutcomeDenied, "that message is not in the channel of this incident")
	case at < 0 && q.Actor == (incident.Actor{}):
		return refuse(incident.OutcomeStale, "that message is not pinned")
	case at < 0 && len(v.Pins) >= incident.MaxPins:
		return refuse(incident.OutcomeDenied, "this incident has as many pinned messages as it keeps")
	case *looks >= most:
		return refuse(incident.OutcomeDenied, "pinned messages of this incident changed too often; write it down by hand")
	}
	*looks++
	if err := workflow.ExecuteActivity(decideOptions(ctx), act.ReadPin, q).Get(ctx, &got); err != nil {
		return refuse(incident.OutcomeDenied, "the message could not be read: "+plain(err))
	}
	return got, nil
}

func pinAt(pins []incident.Pin, q incident.PinRequest) int {
	return slices.IndexFunc(pins, func(p incident.Pin) bool { return p.Channel == q.Channel && p.TS == q.TS })
}

// pinChange is what a look at a message comes to: the pins as they are from then on,
// what is recorded of it, and the answer. Without a text nothing changed.
type pinChange struct {
	pins   []incident.Pin
	text   string
	result incident.Result
}

// changePins makes the timeline say what a message says now. A message that enters it
// does so by the recorded event.
func changePins(pins []incident.Pin, q incident.PinRequest, got activities.PinResult, event string) pinChange {
	at := pinAt(pins, q)
	pins = slices.Clone(pins)
	no := func(o incident.Outcome, why string) pinChange {
		return pinChange{pins: pins, result: incident.Result{Outcome: o, Reason: why}}
	}
	yes := func(text, reason string) pinChange {
		return pinChange{pins: pins, text: text, result: incident.Result{Outcome: incident.OutcomeAccepted, Reason: reason}}
	}
	switch {
	case at >= 0 && !got.Pinned:
		text := pins[at].Author + "'s message is not pinned any more"
		if !got.Found {
			text = pins[at].Author + "'s pinned message was deleted"
		}
		pins = slices.Delete(pins, at, at+1)
		return yes(text, "taken out of the timeline")
	case at >= 0:
		fresh := got.Pin
		fresh.EventID, fresh.By = pins[at].EventID, pins[at].By
		fresh.Images = carryImages(pins[at].Images, fresh.Images)
		if same(pins[at], fresh) {
			return no(incident.OutcomeDuplicate, "the timeline says so already")
		}
		pins[at] = fresh
		return yes(fresh.Author+"'s pinned message says now: "+fresh.Text, "changed in the timeline")
	case !got.Pinned:
		return no(incident.OutcomeStale, "that message is not pinned any more")
	case got.Denied != "":
		return no(incident.OutcomeUnidentified, got.Denied)
	default:
		fresh := got.Pin
		fresh.EventID = event
		pins = append(pins, fresh)
		slices.SortStableFunc(pins, func(a, b incident.Pin) int { return a.At.Compare(b.At) })
		return yes("pinned what "+fresh.Author+" wrote: "+fresh.Text, "put into the timeline")
	}
}

// same reports whether two looks at a message saw the same.
func same(a, b incident.Pin) bool {
	return a.Text == b.Text && a.Author == b.Author && a.EditedAt.Equal(b.EditedAt) &&
		slices.EqualFunc(a.Images, b.Images, func(a, b incident.PinImage) bool { return a.Name == b.Name && a.URL == b.URL && a.File == b.File })
}

// carryImages keeps what is known of images that were there before.
func carryImages(had, fresh []incident.PinImage) []incident.PinImage {
	fresh = slices.Clone(fresh)
	for i, image := range fresh {
		at := slices.IndexFunc(had, func(h incident.PinImage) bool { return h.File != "" && h.File == image.File })
		if at >= 0 {
			fresh[i].Digest, fresh[i].MediaType, fresh[i].Missing = had[at].Digest, had[at].MediaType, had[at].Missing
		}
	}
	return fresh
}

// keepPinImages has copies kept of the images of a message that was pinned, where
// postmortems show pictures, and returns the pins with them. An image that can not be
// had stays a link.
func keepPinImages(ctx workflow.Context, key, event string, pins []incident.Pin, q incident.PinRequest) (kept []incident.Pin, some bool) {
	at := pinAt(pins, q)
	if at < 0 || !slices.ContainsFunc(pins[at].Images, unkept) {
		return pins, false
	}
	in := activities.KeepImagesInput{EventID: incident.PinImagesID(event), Incident: key, Pin: pins[at]}
	for i, p := range pins {
		if i != at {
			in.Kept += len(p.Images) - len(slices.DeleteFunc(slices.Clone(p.Images), func(image incident.PinImage) bool { return image.Digest != "" }))
		}
	}
	var got activities.KeepImagesResult
	if err := workflow.ExecuteActivity(pinImageOptions(ctx), act.KeepPinImages, in).Get(ctx, &got); err != nil {
		workflow.GetLogger(ctx).Error("Images of a pinned message could not be kept.", "incident_id", key, "error", err)
		return pins, false
	}
	if !got.Kept {
		return pins, false
	}
	kept = slices.Clone(pins)
	kept[at].Images = got.Images
	return kept, true
}

// unkept reports whether an image has neither a copy nor a reason why there is none.
func unkept(i incident.PinImage) bool { return i.File != "" && i.Digest == "" && i.Missing == "" }

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
