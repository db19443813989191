package workflows

import (
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// maxRemembered bounds the plans that are remembered for their reminders.
const maxRemembered = 50

// keepClocks does what is due at a moment: it starts what nobody objected to, takes
// the force from approvals that expired while they waited, and reminds people. An
// incident in which none of that can come has no timer for it.
func (r *incidentRun) keepClocks(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return !r.nextClock().IsZero() }) == nil {
		next := r.nextClock()
		awaitFor(ctx, next.Sub(workflow.Now(ctx)), func() bool { return !r.nextClock().Equal(next) })
		if workflow.Now(ctx).Before(next) {
			continue
		}
		// An answer that is being judged comes first: it may be an objection.
		_ = r.mutex.Lock(ctx)
		r.strike(ctx)
		r.mutex.Unlock()
	}
}

// nextClock is when something is due next; zero for never.
func (r *incidentRun) nextClock() time.Time {
	var next time.Time
	sooner := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	v := r.view()
	if w := v.Objections; w != nil {
		sooner(w.Until)
		sooner(w.ExpiresAt)
	}
	for _, d := range v.Decisions {
		sooner(r.expiry(d))
	}
	for _, o := range v.Options {
		sooner(r.remindAt(o))
	}
	return next
}

// strike does all that is due.
func (r *incidentRun) strike(ctx workflow.Context) {
	now := workflow.Now(ctx)
	if w := r.view().Objections; w != nil {
		switch {
		case !w.ExpiresAt.IsZero() && !now.Before(w.ExpiresAt):
			r.takeBack(ctx, "it expired at "+hms(w.ExpiresAt)+" while it waited for objections", approveAgain)
		case !now.Before(w.Until):
			r.unopposed(ctx, *w)
		}
	}
	for i := range r.view().Decisions {
		d := &r.view().Decisions[i]
		if at := r.expiry(*d); !at.IsZero() && !now.Before(at) {
			r.expire(ctx, d)
		}
	}
	r.remind(ctx, now)
}

// approved starts an approved plan, or lets it wait until people could object.
func (r *incidentRun) approved(ctx workflow.Context, in activities.DecideInput, got activities.DecideResult) {
	v, d := r.view(), got.Decision
	r.reminded()
	if d.ObjectionsUntil.IsZero() {
		if w := v.Objections; w != nil && w.PlanDigest != in.Option.Digest {
			r.takeBack(ctx, named(d.Person)+" approved "+d.OptionID+" past the policy", "")
		}
		v.Objections = nil
		r.start(ctx, in.Option, got.Approvers)
		return
	}
	until := d.ObjectionsUntil
	if now := workflow.Now(ctx).UTC(); !until.After(now) {
		// Nobody could see it in time.
		until = now.Add(until.Sub(d.At))
	}
	v.Waiting = ""
	v.Objections = &incident.Objections{
		OptionID: in.Option.ID, PlanDigest: in.Option.Digest, EventID: d.EventID, Approvers: got.Approvers, Until: until, ExpiresAt: d.ExpiresAt,
	}
	if v.Severity != in.Severity || r.state.ServiceID != in.ServiceID {
		r.takeBack(ctx, movedWhy, approveAgain)
	}
}

// unopposed starts the plan that nobody objected to.
func (r *incidentRun) unopposed(ctx workflow.Context, w incident.Objections) {
	v := r.view()
	opt, offered := v.Option(w.OptionID)
	switch {
	case !offered || opt.Digest != w.PlanDigest || opt.Blocked:
		r.takeBack(ctx, "the plan is not offered any more", approveAgain)
	case r.state.Unrecorded:
		r.takeBack(ctx, "the ledger refused a record", "")
	case !r.undecided() || r.cancelled || r.state.SourceKind == incident.PageResolved:
		r.takeBack(ctx, "the incident is over", "")
	default:
		v.Objections = nil
		r.event(ctx, incident.EventPhaseChange, workflow.Now(ctx), "", "nobody objected to "+w.OptionID+" until "+hms(w.Until), nil)
		r.start(ctx, opt, w.Approvers)
		r.changed()
	}
}

// What people can do next when an approval was taken back, and why it is when a page
// says something else about the incident.
const (
	approveAgain = "approve again"
	movedWhy     = "the incident moved to another service or severity"
)

// takeBack makes void the approval that waits for objections, if there is one, and
// says why and what people can do next.
func (r *incidentRun) takeBack(ctx workflow.Context, why, next string) {
	v := r.view()
	w := v.Objections
	if w == nil {
		return
	}
	v.Objections = nil
	for i := range v.Decisions {
		d := &v.Decisions[i]
		if d.EventID == w.EventID || d.PlanDigest == w.PlanDigest && d.Outcome == incident.OutcomeWaiting {
			d.Outcome = incident.OutcomeStale
			d.Sentence += " (void: " + why + ")"
		}
	}
	text := "the approval of " + w.OptionID + " by " + everybody(w.Approvers) + " is void: " + why + "; nothing was done"
	r.eventAs(incident.VoidEventID(w.EventID), incident.EventDecision, workflow.Now(ctx), "", text, nil)
	if next != "" {
		text += "; " + next
	}
	r.note("T" + text[1:] + ".")
	r.changed()
}

// stillOffered makes void the approval that waits for objections when its plan is not
// among fresh options as it was approved.
func (r *incidentRun) stillOffered(ctx workflow.Context, fresh []incident.Option) {
	w := r.view().Objections
	if w == nil {
		return
	}
	was, _ := r.view().Option(w.OptionID)
	i := slices.IndexFunc(fresh, func(o incident.Option) bool { return o.Digest == w.PlanDigest })
	switch {
	case i < 0:
		r.takeBack(ctx, "the plan has changed", "look at the new one")
	case fresh[i].Blocked:
		r.takeBack(ctx, "a check forbids the plan now", "")
	case fresh[i].Tier != was.Tier:
		r.takeBack(ctx, "the plan needs another authority now", approveAgain)
	default:
		w.OptionID = fresh[i].ID
	}
}

// expiry is when an answer that waits for others expires; zero for never.
func (r *incidentRun) expiry(d incident.Decision) time.Time {
	if d.Outcome != incident.OutcomeWaiting || !r.undecided() || !r.waitsOn(d) {
		return time.Time{}
	}
	return d.ExpiresAt
}

// waitsOn reports whether an answer waits for others on a plan that is offered.
func (r *incidentRun) waitsOn(d incident.Decision) bool {
	v := r.view()
	if d.Outcome != incident.OutcomeWaiting || v.Objections != nil && v.Objections.PlanDigest == d.PlanDigest {
		return false
	}
	return slices.ContainsFunc(v.Options, func(o incident.Option) bool { return o.Digest == d.PlanDigest })
}

// expire takes the force from an approval whose time is over.
func (r *incidentRun) expire(ctx workflow.Context, d *incident.Decision) {
	v := r.view()
	at := hms(d.ExpiresAt)
	d.Outcome = incident.OutcomeStale
	d.Sentence += " (void: it expired at " + at + ")"
	text := named(d.Person) + "'s approval of " + d.OptionID + " expired at " + at
	line := text
	if v.Waiting != "" {
		line += " while it waited for " + v.Waiting
	}
	r.eventAs(incident.ExpiryEventID(d.EventID), incident.EventDecision, workflow.Now(ctx), "", line, nil)
	r.note(text + "; approve again.")
	switch {
	case !r.stillWaiting():
		v.Waiting = ""
	case v.Waiting != "":
		v.Waiting += ", and for somebody in place of " + named(d.Person)
	}
	r.changed()
}

// ask remembers since when people have been asked about plans with a reminder.
func (r *incidentRun) ask(now time.Time) {
	for _, o := range r.view().Options {
		if o.Reminder != nil && !o.Blocked && r.asked(o.Digest) == nil {
			r.state.Asked = append(r.state.Asked, incident.Asked{PlanDigest: o.Digest, At: now})
		}
	}
	if over := len(r.state.Asked) - maxRemembered; over > 0 {
		r.state.Asked = slices.Delete(r.state.Asked, 0, over)
	}
}

func (r *incidentRun) asked(planDigest string) *incident.Asked {
	i := slices.IndexFunc(r.state.Asked, func(a incident.Asked) bool { return a.PlanDigest == planDigest })
	if i < 0 {
		return nil
	}
	return &r.state.Asked[i]
}

// remindAt is when people are reminded of an option: after the last answer that waits
// for others, or after it was offered when there is no answer to any. Zero is never.
func (r *incidentRun) remindAt(o incident.Option) time.Time {
	if o.Reminder == nil || o.Blocked || r.view().Objections != nil || !r.undecided() || r.cancelled || r.state.SourceKind == incident.PageResolved {
		return time.Time{}
	}
	asked := r.asked(o.Digest)
	if asked == nil || asked.Reminded {
		return time.Time{}
	}
	since, elsewhere := asked.At, false
	for _, d := range r.view().Decisions {
		switch {
		case !r.waitsOn(d):
		case d.PlanDigest != o.Digest:
			elsewhere = true
		case d.At.After(since):
			since = d.At
		}
	}
	if elsewhere && !r.partly(o.Digest) {
		return time.Time{}
	}
	return since.Add(o.Reminder.After)
}

// partly reports whether an answer to a plan waits for others.
func (r *incidentRun) partly(planDigest string) bool {
	return slices.ContainsFunc(r.view().Decisions, func(d incident.Decision) bool { return d.PlanDigest == planDigest && r.waitsOn(d) })
}

// remind says on the card and in its thread who is waited for, once for each plan.
func (r *incidentRun) remind(ctx workflow.Context, now time.Time) {
	v := r.view()
	var due []string
	for _, o := range v.Options {
		if at := r.remindAt(o); at.IsZero() || now.Before(at) {
			continue
		}
		of := o.Reminder.Of
		if v.Waiting != "" && r.partly(o.Digest) {
			of = v.Waiting
		}
		due = append(due, o.ID+" waits for "+of)
	}
	if len(due) == 0 {
		return
	}
	for _, o := range v.Options {
		if at := r.remindAt(o); !at.IsZero() && !now.Before(at) {
			r.asked(o.Digest).Reminded = true
		}
	}
	text := truncate("A decision is still missing: "+strings.Join(due, "; ")+".", maxEventText)
	id := r.event(ctx, incident.EventReminder, now, "", "reminded people. "+text, nil)
	r.reminded()
	r.state.Reminded = text
	r.note(text)
	r.changed()
	if v.Card.IsZero() {
		return
	}
	in := activities.SayInput{Card: v.Card, ID: id, Text: text}
	r.busy++
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer func() { r.busy-- }()
		if err := workflow.ExecuteActivity(tellOptions(ctx), act.Say, in).Get(ctx, nil); err != nil {
			r.event(ctx, incident.EventReminder, workflow.Now(ctx), "", "the reminder could not be said in the thread of the card: "+plain(err), nil)
			r.changed()
		}
	})
}

// reminded takes the reminder from the notes: it was heard, or another takes its place.
func (r *incidentRun) reminded() {
	if r.state.Reminded == "" {
		return
	}
	v := r.view()
	v.Notes = slices.DeleteFunc(v.Notes, func(n string) bool { return n == r.state.Reminded })
	r.state.Reminded = ""
}

// hms is a moment of a day, for people.
func hms(at time.Time) string { return at.UTC().Format(time.TimeOnly) + " UTC" }

// named is a person, for people.
func named(p incident.Person) string {
	switch {
	case p.Name != "":
		return p.Name
	case p.ID != "":
		return p.ID
	default:
		return "a responder"
	}
}

// everybody is some people, for people.
func everybody(people []incident.Person) string {
	if len(people) == 0 {
		return "nobody"
	}
	names := make([]string, len(people))
	for i, p := range people {
		names[i] = named(p)
	}
	return strings.Join(names, " and ")
}
