package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// judged is a decision as the ledger keeps it: with what the policy made of it,
// so that a retry says the same under whatever policy it runs.
type judged struct {
	incident.Decision
	Waiting   string            `json:"waiting,omitempty"`
	Approvers []incident.Person `json:"approvers,omitempty"`
	Basis     *basis            `json:"basis,omitempty"`
	// Request is what was signed, so that whoever acts on the decision can check
	// that a person gave it.
	Request incident.DecideRequest `json:"request"`
	// Unidentified is why the actor is not exactly one person. It is for those who
	// read the ledger, and never for whoever asked.
	Unidentified string `json:"unidentified,omitempty"`
}

// Decide works out what one person's answer amounts to: who they are, which
// roles they hold right now, and what the policy says. The decision is in the
// ledger before it counts, whatever it is.
func (a *Activities) Decide(ctx context.Context, in DecideInput) (DecideResult, error) {
	if want := incident.DecisionEventID(in.Key, in.Request.DecisionID); in.EventID != want {
		return DecideResult{}, asActivityError(fmt.Errorf("decide %q: %w: its event is %q", in.Request.DecisionID, driver.ErrInvalid, want))
	}
	if out, done, err := a.decided(ctx, in); err != nil || done {
		return out, asActivityError(err)
	}
	in, chief, err := a.inCommand(ctx, in)
	if err != nil {
		return DecideResult{}, asActivityError(err)
	}
	d := incident.Decision{
		ID: in.Request.DecisionID, EventID: in.EventID, OptionID: in.Request.OptionID, PlanDigest: in.Request.PlanDigest,
		Answer: in.Request.Answer, Actor: in.Request.Actor, Reason: in.Request.Reason, BreakGlass: in.Request.BreakGlass,
		At: given(in.Request.At, a.Now()), StepUp: in.Request.StepUp, PolicyDigest: a.Policy.Digest(),
	}
	radius, touched, unfit := a.radius(in)
	in.Option.Radius = radius
	in.Option = a.present(ctx, in.Option, in.Now)
	why, err := a.whoever(ctx, in, touched, chief, &d)
	if err != nil {
		return DecideResult{}, asActivityError(err)
	}
	on := a.basis(in)
	out := a.evaluated(in, on, d)
	if unfit != nil && out.Decision.Outcome == incident.OutcomeApproved {
		out = DecideResult{Decision: out.Decision}
		out.Decision.ObjectionsUntil, out.Decision.ExpiresAt = time.Time{}, time.Time{}
		out.Decision.Outcome, out.Decision.Sentence = incident.OutcomeDenied, "the option can not be approved: "+said(unfit)+"; refresh the options"
	}
	payload, err := json.Marshal(judged{Decision: out.Decision, Waiting: out.Waiting, Approvers: out.Approvers, Basis: &on, Request: in.Request, Unidentified: why})
	if err != nil {
		return DecideResult{}, asActivityError(err)
	}
	rec, err := a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Key, Kind: incident.EventDecision, At: in.Now,
		Actor: actorName(d.Person, in.Request.Actor), Text: because(out.Decision.Sentence, why), Payload: payload,
	})
	if errors.Is(err, driver.ErrInvalid) {
		// An attempt that was given up in the middle of its write came first, and
		// has seen other roles: what is on record was decided.
		if first, done, rerr := a.decided(ctx, in); rerr == nil && done {
			return first, nil
		}
	}
	if err != nil {
		return DecideResult{}, asActivityError(err)
	}
	if !rec.Existed {
		a.count(out.Decision, on.Tier)
	}
	return out, nil
}

// whoever puts into a decision who gave it and which roles they hold right now, or
// that it is nobody's. why is what only the ledger keeps of it.
func (a *Activities) whoever(ctx context.Context, in DecideInput, touched []incident.Reach, chief *incident.Person, d *incident.Decision) (why string, err error) {
	if said := a.unproven(in.Key, in.Request); said != "" {
		d.Outcome, d.Sentence, d.StepUp = incident.OutcomeUnidentified, said, nil
		return "", nil
	}
	d.Person, err = a.identify(ctx, in.Request.Actor)
	if errors.Is(err, incident.ErrNoIdentity) {
		d.Outcome, d.Sentence = incident.OutcomeUnidentified, nobody(in.Request.Actor)
		return unidentified(err), nil
	}
	if err != nil {
		return "", err
	}
	d.Roles, err = a.roles(ctx, d.Person, deciding(in, touched), chief, a.liveness(in))
	return "", err
}

// decided is what an earlier attempt has recorded of the same decision.
func (a *Activities) decided(ctx context.Context, in DecideInput) (out DecideResult, done bool, err error) {
	var was judged
	if _, done, err = a.recorded(ctx, in.EventID, in.Key, incident.EventDecision, &was); err != nil || !done {
		return DecideResult{}, false, err
	}
	if was.ID != in.Request.DecisionID {
		return DecideResult{}, false, fmt.Errorf("read %q: %w: it is another decision", in.EventID, driver.ErrInvalid)
	}
	if in.VoidBefore.After(was.At) && (was.Outcome == incident.OutcomeApproved || was.Outcome == incident.OutcomeWaiting) {
		// It was recorded, but not taken before the command changed hands.
		was.Outcome, was.Sentence = incident.OutcomeStale, "the command changed hands meanwhile; nothing was done; decide again"
		return DecideResult{Decision: was.Decision}, true, nil
	}
	return DecideResult{Decision: was.Decision, Waiting: was.Waiting, Approvers: was.Approvers}, true, nil
}

// radius is what the plan can touch: what was shown, and what the catalogue and
// the runbook say about the plan at this moment, of which the services touched are
// returned apart. The error says what makes the option unfit to be approved; who
// may refuse it goes by what was shown.
func (a *Activities) radius(in DecideInput) (all incident.BlastRadius, touched []incident.Reach, unfit error) {
	shown, plan := in.Option.Radius, in.Option.Plan
	digest, err := plan.Digest()
	switch {
	case err != nil:
		return shown, shown.Services, err
	case digest != in.Option.Digest:
		return shown, shown.Services, fmt.Errorf("its plan has digest %s, and not %s", incident.ShortDigest(digest), incident.ShortDigest(in.Option.Digest))
	case plan.Incident != in.Key:
		return shown, shown.Services, fmt.Errorf("its plan is for incident %q", plan.Incident)
	}
	rb, err := a.runbook(plan.Runbook, plan.RunbookDigest)
	if err != nil {
		return shown, shown.Services, err
	}
	concrete, err := rb.For(plan.Service)
	if err != nil {
		return shown, shown.Services, err
	}
	spec, ok := optionOf(concrete, plan.Option)
	if !ok {
		return shown, shown.Services, fmt.Errorf("runbook %q has no option %q", plan.Runbook, plan.Option)
	}
	now := runbooks.Radius(plan, a.Catalogue, spec)
	return wider(shown, now), now.Services, nil
}

// wider is everything that two radii name.
func wider(a, b incident.BlastRadius) incident.BlastRadius {
	join := func(a, b []incident.Reach) []incident.Reach {
		out := slices.Clone(a)
		for _, r := range b {
			if !slices.ContainsFunc(out, func(have incident.Reach) bool { return have.Name == r.Name }) {
				out = append(out, r)
			}
		}
		return out
	}
	a.Services, a.Dependents = join(a.Services, b.Services), join(a.Dependents, b.Dependents)
	a.SharedData, a.Irreversible = join(a.SharedData, b.SharedData), join(a.Irreversible, b.Irreversible)
	if a.Global == nil {
		a.Global = b.Global
	}
	return a
}

// basis is what an answer is judged by.
func (a *Activities) basis(in DecideInput) basis {
	b := basis{
		Rollback: in.Rollback, Tier: a.tier(in), Severity: in.Severity, Radius: in.Option.Radius,
		Rung: in.Option.Rung, SLOBurn: in.Option.SLOBurn, Authors: in.Option.Authors, VoidBefore: in.VoidBefore,
	}
	if in.Requester != nil {
		b.Requester = *in.Requester
	}
	return b
}

// evaluated applies the policy to the prior answers and this one.
func (a *Activities) evaluated(in DecideInput, on basis, d incident.Decision) DecideResult {
	var votes []approvals.Vote
	for _, p := range standing(in.Prior, in.Option.Digest) {
		votes = append(votes, vote(p))
	}
	if d.Outcome == incident.OutcomeUnidentified {
		return DecideResult{Decision: d, Waiting: a.Policy.Evaluate(on.request(in.Option.Digest, votes, in.Now)).Waiting}
	}
	res := a.Policy.Evaluate(on.request(in.Option.Digest, append(votes, vote(d)), in.Now))
	mine := res.Votes[len(res.Votes)-1]
	d.Outcome, d.Sentence = mine.Outcome, mine.Sentence
	if mine.Counts {
		d.Outcome, d.Sentence = res.Outcome, res.Sentence
		d = a.timed(d, on.Tier, res)
	}
	return DecideResult{Decision: d, Waiting: res.Waiting, Approvers: res.Approvers}
}

// tier is the higher of the tier that was shown and the tier of now: a fire
// that allowed less authority may be out by the time of the decision.
func (a *Activities) tier(in DecideInput) incident.Tier {
	if in.Option.Tier == incident.TierUnknown {
		return incident.TierUnknown
	}
	present, _ := a.Policy.Tier(situation(in.Option, in.Severity, in.Now))
	return max(in.Option.Tier, present)
}

// standing are the earlier answers that still have force: not void, of
// somebody, and not used up by a rollback of the plan that they started.
func standing(prior []incident.Decision, planDigest string) []incident.Decision {
	var out []incident.Decision
	for _, p := range prior {
		switch {
		case p.Person.ID == "" || p.Outcome == incident.OutcomeStale:
		case p.Outcome == incident.OutcomeApproved && p.PlanDigest == planDigest:
			out = nil
		default:
			out = append(out, p)
		}
	}
	return out
}

// maxStepUp is how long before an answer its second proof may have been given.
const maxStepUp = 5 * time.Minute

// steppedUp reports whether a second proof came with an answer: for this very plan,
// and just before.
func steppedUp(d incident.Decision) bool {
	p := d.StepUp
	return p != nil && p.Method == incident.StepUpWebAuthn && p.PlanDigest == d.PlanDigest && d.At.Sub(p.At) <= maxStepUp && p.At.Sub(d.At) <= maxClockSkew
}

func vote(d incident.Decision) approvals.Vote {
	return approvals.Vote{
		Person: d.Person, Roles: d.Roles, Answer: d.Answer, At: d.At, PlanDigest: d.PlanDigest, Reason: d.Reason, BreakGlass: d.BreakGlass,
		SteppedUp: steppedUp(d),
	}
}
