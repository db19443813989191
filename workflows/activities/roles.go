package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// identify maps an actor to exactly one person; one without an identity to
// count by is nobody.
func (a *Activities) identify(ctx context.Context, actor incident.Actor) (incident.Person, error) {
	p, err := a.Directory.Identify(ctx, actor)
	if err == nil && p.ID == "" {
		err = fmt.Errorf("identify actor: %w", &incident.NoIdentityError{Actor: actor, Why: "the person has no ID"})
	}
	if err != nil {
		return incident.Person{}, err
	}
	return p, nil
}

// nobody is what somebody is told who is not exactly one person. It does not say
// why: that is in the ledger.
func nobody(actor incident.Actor) string {
	return fmt.Sprintf("%s is not exactly one active person here; nothing was done", actor)
}

// unidentified is why an actor is not exactly one person; empty when the error
// does not say.
func unidentified(err error) string {
	if e, ok := errors.AsType[*incident.NoIdentityError](err); ok {
		return e.Why
	}
	return ""
}

// because is a sentence for the ledger, with the reason that only the ledger has.
func because(sentence, why string) string {
	if why == "" {
		return sentence
	}
	return sentence + " (" + why + ")"
}

// liveness says how fresh answers about people must be.
type liveness bool

// Either people are asked about now, or an answer of the last moments will do.
const (
	askNow    liveness = true
	askLately liveness = false
)

// liveness of a decision: only one that the lowest tier asks for, without breaking
// the glass, is judged by answers that were given moments ago.
func (a *Activities) liveness(in DecideInput) liveness {
	return liveness(a.tier(in) != incident.TierOnCall || in.Request.BreakGlass)
}

// serviceRef names a service by the catalogue's name, the pager's identifier
// or both.
type serviceRef struct{ name, pagerID string }

// deciding are the services whose people decide: those that the plan changes by
// the catalogue and the runbook, which need not be the one that was paged, nor all
// that somebody says are touched.
func deciding(in DecideInput, touched []incident.Reach) []serviceRef {
	var out []serviceRef
	for _, s := range touched {
		ref := serviceRef{name: s.Name}
		if s.Name == in.Service {
			ref.pagerID = in.ServiceID
		}
		out = append(out, ref)
	}
	return out
}

// roles resolves what a person is to the incident and to any of the services.
// What is configured and can not be asked is an error, and never a no.
func (a *Activities) roles(ctx context.Context, p incident.Person, services []serviceRef, commander *incident.Person, when liveness) ([]incident.Role, error) {
	var owner, onCall bool
	var err error
	for _, ref := range services {
		svc, known := a.service(ref.name, ref.pagerID)
		if known && ref.pagerID == "" {
			ref.pagerID = svc.PagerDutyID
		}
		if known && !owner {
			if owner, err = a.owns(ctx, p, svc, when); err != nil {
				return nil, fmt.Errorf("ask who owns %q: %w", svc.Name, err)
			}
		}
		if a.Pager == nil || ref.pagerID == "" || onCall {
			continue
		}
		on, err := a.onCall(ctx, ref.pagerID, when)
		if err != nil {
			return nil, fmt.Errorf("ask who is on call: %w", err)
		}
		onCall = among(on, p)
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

// owns reports whether a person owns a service: by their e-mail address, or as a
// member of a group.
func (a *Activities) owns(ctx context.Context, p incident.Person, svc runbooks.Service, when liveness) (bool, error) {
	if slices.ContainsFunc(svc.Owners, func(o string) bool { return incident.SameAddress(o, p.Email) }) {
		return true, nil
	}
	for _, g := range svc.OwnerGroups {
		in, err := a.member(ctx, g, p, when)
		if err != nil || in {
			return in, err
		}
	}
	return false, nil
}

func (a *Activities) member(ctx context.Context, g runbooks.OwnerGroup, p incident.Person, when liveness) (bool, error) {
	ask := a.Owners[g.Kind]
	if ask == nil {
		return false, fmt.Errorf("ask for the members of %s %q: its vendor is %w", g.Kind, g.ID, errNotConfigured)
	}
	key := strings.Join([]string{string(g.Kind), g.ID, p.ID, p.Email, p.SlackUser, p.PagerDutyID, p.GitHubLogin}, "\x00")
	return recall(ctx, a.Lately, func(l *Lately) *answers[bool] { return &l.members }, key, when, func(ctx context.Context) (bool, error) {
		in, err := ask(ctx, g.ID, p)
		return in && err == nil, err
	})
}

func (a *Activities) onCall(ctx context.Context, pagerID string, when liveness) ([]incident.Person, error) {
	return recall(ctx, a.Lately, func(l *Lately) *answers[[]incident.Person] { return &l.onCall }, pagerID, when, func(ctx context.Context) ([]incident.Person, error) {
		return a.Pager.OnCall(ctx, pagerID)
	})
}

// among reports whether a person is one of those whom the pager names: by its own
// identifier where both have one, and by e-mail address otherwise, if that is one
// person's; never by name.
func among(named []incident.Person, p incident.Person) bool {
	var byEmail []incident.Person
	for _, o := range named {
		if o.PagerDutyID != "" && p.PagerDutyID != "" {
			if o.PagerDutyID == p.PagerDutyID {
				return true
			}
			continue
		}
		if incident.SameAddress(o.Email, p.Email) {
			byEmail = append(byEmail, o)
		}
	}
	return len(byEmail) == 1
}
