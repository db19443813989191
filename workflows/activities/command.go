package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// authorization is the answer to a command as the ledger keeps it.
type authorization struct {
	AuthorizeResult
	CommandID string          `json:"command_id"`
	Verb      incident.Verb   `json:"verb"`
	To        *incident.Actor `json:"to,omitempty"`
	Given     string          `json:"given_reason,omitempty"`
	// Unidentified is why whoever asked, or whom they named, is not exactly one
	// person. It is for those who read the ledger.
	Unidentified string `json:"unidentified,omitempty"`
	// Request is what was signed.
	Request incident.CommandRequest `json:"request"`
}

// Authorize says whether an actor may give a command, and records that it was
// given, whatever the answer.
func (a *Activities) Authorize(ctx context.Context, in AuthorizeInput) (AuthorizeResult, error) {
	if want := incident.CommandEventID(in.Key, in.Request.CommandID); in.EventID != want {
		return AuthorizeResult{}, asActivityError(fmt.Errorf("authorize %q: %w: its event is %q", in.Request.CommandID, driver.ErrInvalid, want))
	}
	var was authorization
	if _, done, err := a.recorded(ctx, in.EventID, in.Key, incident.EventCommand, &was); err != nil {
		return AuthorizeResult{}, asActivityError(err)
	} else if done {
		if was.CommandID != in.Request.CommandID || was.Verb != in.Request.Verb {
			return AuthorizeResult{}, asActivityError(fmt.Errorf("read %q: %w: it is another command", in.EventID, driver.ErrInvalid))
		}
		return was.AuthorizeResult, nil
	}
	out, why, err := a.authorized(ctx, in)
	if err != nil {
		return AuthorizeResult{}, asActivityError(err)
	}
	payload, err := json.Marshal(authorization{
		AuthorizeResult: out, CommandID: in.Request.CommandID, Verb: in.Request.Verb, To: in.Request.To, Given: in.Request.Reason, Unidentified: why,
		Request: in.Request,
	})
	if err != nil {
		return AuthorizeResult{}, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Key, Kind: incident.EventCommand, At: in.Now, Actor: actorName(out.Person, in.Request.Actor),
		Text: fmt.Sprintf("%s: %s", in.Request.Verb, because(out.Reason, why)), Payload: payload,
	})
	if err != nil {
		return AuthorizeResult{}, asActivityError(err)
	}
	return out, nil
}

// authorized works out the answer to a command, live. why is what the ledger keeps
// of somebody who is not exactly one person.
func (a *Activities) authorized(ctx context.Context, in AuthorizeInput) (out AuthorizeResult, why string, err error) {
	if said := a.unprovenCommand(in.Key, in.Request); said != "" {
		out.Outcome, out.Reason = incident.OutcomeUnidentified, said
		return out, "", nil
	}
	out.Person, err = a.identify(ctx, in.Request.Actor)
	switch {
	case errors.Is(err, incident.ErrNoIdentity):
		out.Outcome, out.Reason = incident.OutcomeUnidentified, nobody(in.Request.Actor)
		return out, unidentified(err), nil
	case err != nil:
		return AuthorizeResult{}, "", err
	}
	chief, _, err := a.commander(ctx, in.Key, in.Commander)
	if err != nil {
		return AuthorizeResult{}, "", err
	}
	if out.Roles, err = a.roles(ctx, out.Person, []serviceRef{{in.Service, in.ServiceID}}, chief, askNow); err != nil {
		return AuthorizeResult{}, "", err
	}
	out.Outcome, out.Reason = mayCommand(in.Request.Verb, out.Roles, in.Commander)
	if out.Outcome != incident.OutcomeAccepted || in.Request.To == nil {
		return out, "", nil
	}
	// Whom they name is looked up only for those who may name somebody.
	out.Target, err = a.named(ctx, *in.Request.To)
	switch {
	case errors.Is(err, incident.ErrNoIdentity):
		out.Target = incident.Person{}
		out.Outcome, out.Reason = incident.OutcomeDenied, "the person you named is not exactly one active person here; nothing was done"
		return out, unidentified(err), nil
	case err != nil:
		return AuthorizeResult{}, "", err
	}
	return out, "", nil
}

// named is the one active person whom somebody else named.
func (a *Activities) named(ctx context.Context, actor incident.Actor) (incident.Person, error) {
	p, err := a.identify(ctx, actor)
	if roster, can := a.Directory.(Roster); err == nil && can {
		err = roster.Active(ctx, p)
	}
	if err != nil {
		return incident.Person{}, err
	}
	return p, nil
}

// mayCommand says which commands need a role. Looking again and asking for
// help are open to every identified person. Command is handed over by whoever has
// it; by the on-call and the owners when nobody has.
func mayCommand(v incident.Verb, roles []incident.Role, commander *incident.Person) (incident.Outcome, string) {
	switch v {
	case incident.VerbRefresh, incident.VerbEscalate:
		return incident.OutcomeAccepted, "allowed"
	case incident.VerbHandOver:
		if commander != nil && !slices.Contains(roles, incident.RoleCommander) {
			return incident.OutcomeDenied, "only the incident commander may hand over the command; take it first, or let them do it; nothing was done"
		}
		return needsRole(roles)
	case incident.VerbTakeCommand, incident.VerbCancel, incident.VerbRedo, incident.VerbClose:
		return needsRole(roles)
	default:
		return incident.OutcomeDenied, "unknown command; nothing was done"
	}
}

func needsRole(roles []incident.Role) (incident.Outcome, string) {
	if len(roles) > 0 {
		return incident.OutcomeAccepted, "allowed"
	}
	return incident.OutcomeDenied, "only somebody on call for the service, its owner or the incident commander may do that; nothing was done"
}

func actorName(p incident.Person, a incident.Actor) string {
	if p.ID != "" {
		return p.ID
	}
	return a.String()
}
