package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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
}

// Decide works out what one person's answer amounts to: who they are, which
// roles they hold right now, and what the policy says. The decision is in the
// ledger before it counts, whatever it is.
func (a *Activities) Decide(ctx context.Context, in DecideInput) (DecideResult, error) {
	if out, done, err := a.decided(ctx, in); err != nil || done {
		return out, asActivityError(err)
	}
	d := incident.Decision{
		ID: in.Request.DecisionID, EventID: in.EventID, OptionID: in.Request.OptionID, PlanDigest: in.Request.PlanDigest,
		Answer: in.Request.Answer, Actor: in.Request.Actor, Reason: in.Request.Reason, BreakGlass: in.Request.BreakGlass,
		At: in.Now, PolicyDigest: a.Policy.Digest(),
	}
	var unfit error
	in.Option.Radius, unfit = a.radius(in)
	in.Option = a.present(ctx, in.Option, in.Now)
	var err error
	d.Person, err = a.identify(ctx, in.Request.Actor)
	switch {
	case errors.Is(err, incident.ErrNoIdentity):
		d.Outcome, d.Sentence = incident.OutcomeUnidentified, nobody(in.Request.Actor)
	case err != nil:
		return DecideResult{}, asActivityError(err)
	default:
		if d.Roles, err = a.roles(ctx, d.Person, deciding(in), in.Commander); err != nil {
			return DecideResult{}, asActivityError(err)
		}
	}
	on := a.basis(in)
	out := a.evaluated(in, on, d)
	if unfit != nil && out.Decision.Outcome == incident.OutcomeApproved {
		out = DecideResult{Decision: out.Decision}
		out.Decision.Outcome, out.Decision.Sentence = incident.OutcomeDenied, "the option can not be approved: "+said(unfit)+"; refresh the options"
	}
	payload, err := json.Marshal(judged{Decision: out.Decision, Waiting: out.Waiting, Approvers: out.Approvers, Basis: &on})
	if err != nil {
		return DecideResult{}, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Key, Kind: incident.EventDecision, At: in.Now,
		Actor: actorName(d.Person, in.Request.Actor), Text: out.Decision.Sentence, Payload: payload,
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
	return out, nil
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

// identify maps an actor to exactly one person; one without an identity to
// count by is nobody.
func (a *Activities) identify(ctx context.Context, actor incident.Actor) (incident.Person, error) {
	p, err := a.Directory.Identify(ctx, actor)
	if err == nil && p.ID == "" {
		err = fmt.Errorf("identify %q: %w: the person has no ID", actor, incident.ErrNoIdentity)
	}
	if err != nil {
		return incident.Person{}, err
	}
	return p, nil
}

func nobody(actor incident.Actor) string {
	return fmt.Sprintf("%s is not exactly one active person here; nothing was done", actor)
}

// radius is what the plan can touch: what was shown, and what the catalogue and
// the runbook say about the plan at this moment. The error says what makes the
// option unfit to be approved.
func (a *Activities) radius(in DecideInput) (incident.BlastRadius, error) {
	shown, plan := in.Option.Radius, in.Option.Plan
	digest, err := plan.Digest()
	switch {
	case err != nil:
		return shown, err
	case digest != in.Option.Digest:
		return shown, fmt.Errorf("its plan has digest %s, and not %s", incident.ShortDigest(digest), incident.ShortDigest(in.Option.Digest))
	case plan.Incident != in.Key:
		return shown, fmt.Errorf("its plan is for incident %q", plan.Incident)
	}
	rb, err := a.runbook(plan.Runbook, plan.RunbookDigest)
	if err != nil {
		return shown, err
	}
	concrete, err := rb.For(plan.Service)
	if err != nil {
		return shown, err
	}
	spec, ok := optionOf(concrete, plan.Option)
	if !ok {
		return shown, fmt.Errorf("runbook %q has no option %q", plan.Runbook, plan.Option)
	}
	return wider(shown, runbooks.Radius(plan, a.Catalogue, spec)), nil
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

func vote(d incident.Decision) approvals.Vote {
	return approvals.Vote{
		Person: d.Person, Roles: d.Roles, Answer: d.Answer, At: d.At, PlanDigest: d.PlanDigest, Reason: d.Reason, BreakGlass: d.BreakGlass,
	}
}

// serviceRef names a service by the catalogue's name, the pager's identifier
// or both.
type serviceRef struct{ name, pagerID string }

// deciding are the services whose people decide: those that the plan changes,
// which need not be the one that was paged.
func deciding(in DecideInput) []serviceRef {
	var out []serviceRef
	for _, s := range in.Option.Radius.Services {
		ref := serviceRef{name: s.Name}
		if s.Name == in.Service {
			ref.pagerID = in.ServiceID
		}
		out = append(out, ref)
	}
	return out
}

// roles resolves, live, what a person is to the incident and to any of the
// services.
func (a *Activities) roles(ctx context.Context, p incident.Person, services []serviceRef, commander *incident.Person) ([]incident.Role, error) {
	var owner, onCall bool
	for _, ref := range services {
		svc, known := a.service(ref.name, ref.pagerID)
		if known && ref.pagerID == "" {
			ref.pagerID = svc.PagerDutyID
		}
		owner = owner || (known && p.Email != "" && slices.Contains(svc.Owners, strings.ToLower(p.Email)))
		if a.Pager == nil || ref.pagerID == "" || onCall {
			continue
		}
		on, err := a.Pager.OnCall(ctx, ref.pagerID)
		if err != nil {
			return nil, fmt.Errorf("ask who is on call: %w", err)
		}
		onCall = slices.ContainsFunc(on, func(o incident.Person) bool { return samePerson(o, p) })
	}
	var roles []incident.Role
	if commander != nil && commander.ID == p.ID {
		roles = append(roles, incident.RoleCommander)
	}
	if owner {
		roles = append(roles, incident.RoleOwner)
	}
	if onCall {
		roles = append(roles, incident.RoleOnCall)
	}
	return roles, nil
}

// samePerson compares by the pager's own identifier where both have one, and
// by e-mail address otherwise; never by name.
func samePerson(a, b incident.Person) bool {
	if a.PagerDutyID != "" && b.PagerDutyID != "" {
		return a.PagerDutyID == b.PagerDutyID
	}
	return a.Email != "" && strings.EqualFold(a.Email, b.Email)
}

// authorization is the answer to a command as the ledger keeps it.
type authorization struct {
	AuthorizeResult
	CommandID string        `json:"command_id"`
	Verb      incident.Verb `json:"verb"`
	Given     string        `json:"given_reason,omitempty"`
}

// Authorize says whether an actor may give a command, and records that it was
// given, whatever the answer.
func (a *Activities) Authorize(ctx context.Context, in AuthorizeInput) (AuthorizeResult, error) {
	var was authorization
	if _, done, err := a.recorded(ctx, in.EventID, in.Key, incident.EventCommand, &was); err != nil {
		return AuthorizeResult{}, asActivityError(err)
	} else if done {
		if was.CommandID != in.Request.CommandID || was.Verb != in.Request.Verb {
			return AuthorizeResult{}, asActivityError(fmt.Errorf("read %q: %w: it is another command", in.EventID, driver.ErrInvalid))
		}
		return was.AuthorizeResult, nil
	}
	var out AuthorizeResult
	var err error
	out.Person, err = a.identify(ctx, in.Request.Actor)
	switch {
	case errors.Is(err, incident.ErrNoIdentity):
		out.Outcome, out.Reason = incident.OutcomeUnidentified, nobody(in.Request.Actor)
	case err != nil:
		return AuthorizeResult{}, asActivityError(err)
	default:
		if out.Roles, err = a.roles(ctx, out.Person, []serviceRef{{in.Service, in.ServiceID}}, in.Commander); err != nil {
			return AuthorizeResult{}, asActivityError(err)
		}
		out.Outcome, out.Reason = mayCommand(in.Request.Verb, out.Roles)
	}
	payload, err := json.Marshal(authorization{AuthorizeResult: out, CommandID: in.Request.CommandID, Verb: in.Request.Verb, Given: in.Request.Reason})
	if err != nil {
		return AuthorizeResult{}, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Key, Kind: incident.EventCommand, At: in.Now, Actor: actorName(out.Person, in.Request.Actor),
		Text: fmt.Sprintf("%s: %s", in.Request.Verb, out.Reason), Payload: payload,
	})
	if err != nil {
		return AuthorizeResult{}, asActivityError(err)
	}
	return out, nil
}

// mayCommand says which commands need a role. Looking again and asking for
// help are open to every identified person.
func mayCommand(v incident.Verb, roles []incident.Role) (incident.Outcome, string) {
	switch v {
	case incident.VerbRefresh, incident.VerbEscalate:
		return incident.OutcomeAccepted, "allowed"
	case incident.VerbTakeCommand, incident.VerbCancel, incident.VerbRedo, incident.VerbClose:
		if len(roles) > 0 {
			return incident.OutcomeAccepted, "allowed"
		}
		return incident.OutcomeDenied, "only somebody on call for the service, its owner or the incident commander may do that; nothing was done"
	default:
		return incident.OutcomeDenied, "unknown command; nothing was done"
	}
}

func actorName(p incident.Person, a incident.Actor) string {
	if p.ID != "" {
		return p.ID
	}
	return a.String()
}
