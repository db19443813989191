package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// maxEarly is how far the clock of this host may be behind that of the host which
// timed the window for objections: an action that comes earlier by this much at most
// is tried again, and nothing is touched meanwhile.
const maxEarly = 5 * time.Second

// window is what one recorded approval says about objections to it.
type window struct {
	event string
	until time.Time
	glass bool
}

// timed puts into a decision that counts until when people can object to it, and
// until when it waits. The window is counted from its record: an answer that was held
// back on its way leaves no less time to object.
func (a *Activities) timed(d incident.Decision, tier incident.Tier, res approvals.Result) incident.Decision {
	switch d.Outcome {
	case incident.OutcomeWaiting:
		if d.Answer == incident.AnswerApprove {
			d.ExpiresAt = d.At.Add(a.Policy.Expiry(tier))
		}
	case incident.OutcomeApproved:
		if res.ObjectionsUntil.IsZero() {
			return d
		}
		d.ObjectionsUntil, d.ExpiresAt = res.ObjectionsUntil.UTC(), res.ExpiresAt.UTC()
		if until := a.Now().UTC().Add(a.Policy.ObjectionWindow(tier)); until.After(d.ObjectionsUntil) {
			d.ObjectionsUntil = until
		}
		d.Sentence += "; it starts at " + d.ObjectionsUntil.Format(time.TimeOnly) + " UTC unless somebody objects"
	case incident.OutcomeRefused, incident.OutcomeDenied, incident.OutcomeStale, incident.OutcomeLate,
		incident.OutcomeUnidentified, incident.OutcomeAccepted, incident.OutcomeDuplicate:
	}
	return d
}

// reminder is when people are reminded of an option that the policy wants them to be
// reminded of, and of whom.
func (a *Activities) reminder(o incident.Option, now time.Time) *incident.Reminder {
	after := a.Policy.RemindAfter(o.Tier)
	if after <= 0 {
		return nil
	}
	on := basis{Tier: o.Tier, Radius: o.Radius}
	return &incident.Reminder{After: after, Of: a.Policy.Evaluate(on.request(o.Digest, nil, now)).Waiting}
}

// waits reports whether the plan waits for objections, by what was decided or by the
// present policy.
func (t authority) waits() bool {
	if t.policy.ObjectionWindow(t.basis.Tier) > 0 {
		return true
	}
	for _, w := range t.windows {
		if !w.until.IsZero() {
			return true
		}
	}
	return false
}

// objected completes what is known of an approval that waited for objections with
// what the ledger has since: refusals of the plan, a handover of command, and that it
// was taken back.
func (a *Activities) objected(ctx context.Context, in ExecuteInput, t *authority) error {
	entries, err := a.Ledger.Of(ctx, in.Incident, incident.EventDecision)
	if err != nil {
		return fmt.Errorf("%w: read the decisions of %q: %w", errLedger, in.Incident, err)
	}
	since := false
	for _, e := range entries {
		for _, w := range t.windows {
			since = since || e.ID == w.event
			if e.ID == incident.VoidEventID(w.event) {
				t.taken = fmt.Errorf("check approval: %w: the approval was taken back: %s", driver.ErrDenied, e.Text)
			}
		}
		var d judged
		if !since || json.Unmarshal(e.Payload, &d) != nil || d.Answer != incident.AnswerRefuse || d.PlanDigest != in.PlanDigest || !a.vouched(e.ID, in.Incident, d) {
			continue
		}
		t.votes = append(t.votes, vote(d.Decision))
	}
	_, changed, err := a.lastCommand(ctx, in.Incident)
	if err != nil {
		return err
	}
	if changed.After(t.basis.VoidBefore) {
		t.basis.VoidBefore = changed
	}
	return nil
}

// earlyError says that people can still object.
type earlyError struct {
	until time.Time
	wait  time.Duration
}

// Error says until when.
func (e *earlyError) Error() string {
	return fmt.Sprintf("check approval: people can object until %s UTC; nothing was touched", e.until.UTC().Format(time.TimeOnly))
}

// RetryAfter is how long that is.
func (e *earlyError) RetryAfter() time.Duration { return e.wait }

// early says that people can still object, unless the glass was broken.
func (t authority) early(res approvals.Result, now time.Time) error {
	if res.BreakGlass {
		return nil
	}
	until := res.ObjectionsUntil
	for _, w := range t.windows {
		if !w.glass && w.until.After(until) {
			until = w.until
		}
	}
	wait := until.Sub(now)
	switch {
	case wait <= 0:
		return nil
	case wait <= maxEarly:
		return &earlyError{until: until, wait: wait}
	default:
		return fmt.Errorf("%w: %w", &earlyError{until: until, wait: wait}, driver.ErrDenied)
	}
}

// tooEarly reports whether an action came early by no more than clocks differ, and is
// to be tried again.
func tooEarly(err error) bool {
	var early *earlyError
	return errors.As(err, &early) && !errors.Is(err, driver.ErrDenied)
}
