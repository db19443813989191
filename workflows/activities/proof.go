package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Attestations check that a request is what Backout's own bot signed for a person
// it had verified.
type Attestations interface {
	Decision(key string, q incident.DecideRequest) error
	Command(key string, q incident.CommandRequest) error
}

// Bounds of the time that a request bears: how long it may have been on its way,
// and how far the clock of the host that signed it may be ahead.
const (
	maxUnderway  = 5 * time.Minute
	maxClockSkew = time.Minute
)

const notProven = "it was not sent by Backout's own bot for a person, so it is nobody's; nothing was done"

// unproven says why an answer can not be taken for a person's; empty when it can.
func (a *Activities) unproven(key string, q incident.DecideRequest) string {
	if a.Attestations == nil || a.Attestations.Decision(key, q) != nil {
		return notProven
	}
	return a.untimely(q.At)
}

// unprovenCommand says why a command can not be taken for a person's.
func (a *Activities) unprovenCommand(key string, q incident.CommandRequest) string {
	if a.Attestations == nil || a.Attestations.Command(key, q) != nil {
		return notProven
	}
	return a.untimely(q.At)
}

func (a *Activities) untimely(at time.Time) string {
	switch now := a.Now(); {
	case now.Sub(at) > maxUnderway:
		return fmt.Sprintf("it was given %s ago and arrives only now; nothing was done; look at the card and decide again", now.Sub(at).Round(time.Second))
	case at.Sub(now) > maxClockSkew:
		return fmt.Sprintf("it is dated %s in the future; nothing was done; see to the clocks of Backout's hosts", at.Sub(now).Round(time.Second))
	}
	return ""
}

// given is when an answer was given: when it was signed, and never in the future.
func given(at, now time.Time) time.Time {
	if at.After(now) {
		at = now
	}
	return at.UTC()
}

// inCommand completes what a decision is judged by with what the ledger knows: who
// is in command, and since when.
func (a *Activities) inCommand(ctx context.Context, in DecideInput) (DecideInput, *incident.Person, error) {
	chief, since, err := a.commander(ctx, in.Key, in.Commander)
	if err != nil {
		return in, nil, err
	}
	if since.After(in.VoidBefore) {
		in.VoidBefore = since
	}
	return in, chief, nil
}

// commander is the incident commander: whom the incident names, if the ledger has
// that this person took the command, or was handed it, by a signed request, and
// nobody after. since
// is when the command changed hands last.
func (a *Activities) commander(ctx context.Context, key string, named *incident.Person) (chief *incident.Person, since time.Time, err error) {
	if named == nil {
		return nil, time.Time{}, nil
	}
	if chief, since, err = a.lastCommand(ctx, key); err != nil {
		return nil, time.Time{}, err
	}
	if chief == nil || chief.ID != named.ID {
		return nil, since, nil
	}
	return chief, since, nil
}

// lastCommand is who took the command of an incident last, or was handed it, by what
// the ledger has, and since when.
func (a *Activities) lastCommand(ctx context.Context, key string) (chief *incident.Person, since time.Time, err error) {
	entries, err := a.Ledger.Of(ctx, key, incident.EventCommand)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: read the commands of %q: %w", errLedger, key, err)
	}
	for _, e := range entries {
		var c authorization
		if json.Unmarshal(e.Payload, &c) != nil || c.Outcome != incident.OutcomeAccepted {
			continue
		}
		next := c.Person
		switch c.Verb {
		case incident.VerbTakeCommand:
		case incident.VerbHandOver:
			next = c.Target
		case incident.VerbRefresh, incident.VerbCancel, incident.VerbRedo, incident.VerbEscalate, incident.VerbClose:
			continue
		default:
			continue
		}
		if e.ID != incident.CommandEventID(key, c.Request.CommandID) || c.Request.Verb != c.Verb || a.Attestations == nil || a.Attestations.Command(key, c.Request) != nil {
			continue
		}
		if chief == nil || chief.ID != next.ID {
			chief, since = &next, e.At
		}
	}
	return chief, since, nil
}

// vouched reports whether a recorded decision is one that a person gave: signed,
// under its own ID, and saying what was signed.
func (a *Activities) vouched(id, key string, d judged) bool {
	q := d.Request
	return a.Attestations != nil && a.Attestations.Decision(key, q) == nil &&
		id == incident.DecisionEventID(key, q.DecisionID) && d.ID == q.DecisionID && d.OptionID == q.OptionID &&
		d.PlanDigest == q.PlanDigest && d.Answer == q.Answer && d.Actor == q.Actor && d.Reason == q.Reason &&
		d.BreakGlass == q.BreakGlass && !d.At.After(q.At) &&
		(d.StepUp == nil) == (q.StepUp == nil) && (d.StepUp == nil || *d.StepUp == *q.StepUp)
}
