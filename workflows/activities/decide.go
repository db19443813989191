package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

// Decide works out what one person's answer amounts to: who they are, which
// roles they hold right now, and what the policy says. The decision is in the
// ledger before it counts, whatever it is.
func (a *Activities) Decide(ctx context.Context, in DecideInput) (DecideResult, error) {
	if e, ok, err := a.Ledger.Get(ctx, in.EventID); err != nil {
		return DecideResult{}, asActivityError(fmt.Errorf("%w: read %q: %w", errLedger, in.EventID, err))
	} else if ok {
		var d incident.Decision
		if err := json.Unmarshal(e.Payload, &d); err != nil {
			return DecideResult{}, asActivityError(fmt.Errorf("%w: decode %q: %w", errLedger, in.EventID, err))
		}
		return a.evaluated(in, d), nil
	}
	d := incident.Decision{
		ID: in.Request.DecisionID, EventID: in.EventID, OptionID: in.Request.OptionID, PlanDigest: in.Request.PlanDigest,
		Answer: in.Request.Answer, Actor: in.Request.Actor, Reason: in.Request.Reason, BreakGlass: in.Request.BreakGlass,
		At: in.Now, PolicyDigest: a.Policy.Digest(),
	}
	person, err := a.Directory.Identify(ctx, in.Request.Actor)
	switch {
	case errors.Is(err, incident.ErrNoIdentity):
		d.Outcome, d.Sentence = incident.OutcomeUnidentified, fmt.Sprintf("%s is not exactly one active person here; nothing was done", in.Request.Actor)
	case err != nil:
		return DecideResult{}, asActivityError(err)
	default:
		d.Person = person
		if d.Roles, err = a.roles(ctx, person, in.Service, in.ServiceID, in.Commander); err != nil {
			return DecideResult{}, asActivityError(err)
		}
	}
	out := a.evaluated(in, d)
	payload, err := json.Marshal(out.Decision)
	if err != nil {
		return DecideResult{}, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Key, Kind: incident.EventDecision, At: in.Now,
		Actor: actorName(person, in.Request.Actor), Text: out.Decision.Sentence, Payload: payload,
	})
	return out, asActivityError(err)
}

// evaluated applies the policy to the prior answers and this one.
func (a *Activities) evaluated(in DecideInput, d incident.Decision) DecideResult {
	if d.Outcome == incident.OutcomeUnidentified {
		return DecideResult{Decision: d}
	}
	req := approvals.Request{
		Tier: in.Option.Tier, PlanDigest: in.Option.Digest, ChangeAuthors: in.Option.Authors, Now: in.Now,
	}
	for _, s := range in.Option.Radius.Services {
		req.Services = append(req.Services, s.Name)
	}
	if in.Requester != nil {
		req.Requester = *in.Requester
	}
	for _, p := range append(slices.Clone(in.Prior), d) {
		if p.Person.ID == "" || p.Outcome == incident.OutcomeStale {
			continue
		}
		req.Votes = append(req.Votes, approvals.Vote{
			Person: p.Person, Roles: p.Roles, Answer: p.Answer, At: p.At, PlanDigest: p.PlanDigest, Reason: p.Reason, BreakGlass: p.BreakGlass,
		})
	}
	res := a.Policy.Evaluate(req)
	mine := res.Votes[len(res.Votes)-1]
	d.Outcome, d.Sentence = mine.Outcome, mine.Sentence
	if mine.Counts {
		d.Outcome, d.Sentence = res.Outcome, res.Sentence
	}
	return DecideResult{Decision: d, Waiting: res.Waiting, Approvers: res.Approvers}
}

// roles resolves, live, what a person is to the incident.
func (a *Activities) roles(ctx context.Context, p incident.Person, service, pagerServiceID string, commander *incident.Person) ([]incident.Role, error) {
	var roles []incident.Role
	if commander != nil && commander.ID == p.ID {
		roles = append(roles, incident.RoleCommander)
	}
	svc, known := a.service(service, pagerServiceID)
	if known && pagerServiceID == "" {
		pagerServiceID = svc.PagerDutyID
	}
	if known && p.Email != "" && slices.Contains(svc.Owners, strings.ToLower(p.Email)) {
		roles = append(roles, incident.RoleOwner)
	}
	if a.Pager != nil && pagerServiceID != "" {
		on, err := a.Pager.OnCall(ctx, pagerServiceID)
		if err != nil {
			return nil, fmt.Errorf("ask who is on call: %w", err)
		}
		if slices.ContainsFunc(on, func(o incident.Person) bool { return samePerson(o, p) }) {
			roles = append(roles, incident.RoleOnCall)
		}
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

// Authorize says whether an actor may give a command, and records that it was
// given, whatever the answer.
func (a *Activities) Authorize(ctx context.Context, in AuthorizeInput) (AuthorizeResult, error) {
	var out AuthorizeResult
	if e, ok, err := a.Ledger.Get(ctx, in.EventID); err != nil {
		return out, asActivityError(fmt.Errorf("%w: read %q: %w", errLedger, in.EventID, err))
	} else if ok {
		return out, asActivityError(json.Unmarshal(e.Payload, &out))
	}
	person, err := a.Directory.Identify(ctx, in.Request.Actor)
	switch {
	case errors.Is(err, incident.ErrNoIdentity):
		out = AuthorizeResult{Outcome: incident.OutcomeUnidentified, Reason: fmt.Sprintf("%s is not exactly one active person here; nothing was done", in.Request.Actor)}
	case err != nil:
		return out, asActivityError(err)
	default:
		out.Person = person
		if out.Roles, err = a.roles(ctx, person, in.Service, in.ServiceID, in.Commander); err != nil {
			return out, asActivityError(err)
		}
		out.Outcome, out.Reason = mayCommand(in.Request.Verb, out.Roles)
	}
	payload, err := json.Marshal(out)
	if err != nil {
		return out, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Key, Kind: incident.EventCommand, At: in.Now, Actor: actorName(person, in.Request.Actor),
		Text: fmt.Sprintf("%s: %s", in.Request.Verb, out.Reason), Payload: payload,
	})
	return out, asActivityError(err)
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
