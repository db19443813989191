package pagerduty

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// MaxLevels is the most levels that an escalation policy has.
// Source: https://support.pagerduty.com/main/docs/escalation-policies
const MaxLevels = 20

// onCallSkew is how far PagerDuty's clock and ours may be apart before an entry
// of the on-call list is taken not to be of now.
const onCallSkew = time.Minute

// Duty is a person who is on call, and where.
type Duty struct {
	Person incident.Person
	// Level is the lowest level of the escalation policy that the person is on call
	// at, from 1, which is who is paged first.
	Level int
}

// OnCall lists who is on call at this moment for a service, at the first levels of
// its escalation policy that Options.OnCallLevels counts, each person once and in
// the order in which they are paged. Overrides of schedules are in it, as in
// PagerDuty itself. A service with nobody on call there has an empty list and no
// error. An answer that does not make sense is an error.
func (c *Client) OnCall(ctx context.Context, serviceID string) ([]incident.Person, error) {
	duties, err := c.Duties(ctx, serviceID)
	if err != nil {
		return nil, err
	}
	var people []incident.Person
	for _, d := range duties {
		if d.Level <= c.opts.OnCallLevels {
			people = append(people, d.Person)
		}
	}
	return people, nil
}

// Duties is everybody who is on call for a service at any level, with that level,
// for whoever wants to tell who is paged first from who is paged when nobody
// answers.
func (c *Client) Duties(ctx context.Context, serviceID string) ([]Duty, error) {
	service, err := c.service(ctx, serviceID)
	if err != nil {
		return nil, err
	}
	if service.EscalationPolicy.ID == "" {
		return nil, nil
	}
	onCalls, err := c.onCalls(ctx, service.EscalationPolicy.ID)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(onCalls, func(a, b pagerduty.OnCall) int { return cmp.Compare(a.EscalationLevel, b.EscalationLevel) })
	var duties []Duty
	seen := make(map[string]bool)
	for _, o := range onCalls {
		if !seen[o.User.ID] {
			seen[o.User.ID] = true
			duties = append(duties, Duty{Person: person(o.User), Level: int(o.EscalationLevel)})
		}
	}
	return duties, nil
}

// service reads a service.
func (c *Client) service(ctx context.Context, id string) (*pagerduty.Service, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("read service %q", id)
	service, err := call(ctx, what, func(ctx context.Context) (*pagerduty.Service, error) {
		return c.api.GetServiceWithContext(ctx, id, &pagerduty.GetServiceOptions{})
	})
	if err != nil {
		return nil, err
	}
	if service == nil || service.ID != id {
		return nil, fmt.Errorf("%s: %w", what, errNonsense)
	}
	return service, nil
}

// errNonsense means that PagerDuty's answer is not one to what was asked. It is
// not final: a proxy in between may be the reason.
var errNonsense = errors.New("the answer does not fit the question")

// onCalls lists the entries of now for an escalation policy, with whole users.
// A user who was deleted is a bare reference and nobody.
func (c *Client) onCalls(ctx context.Context, policyID string) ([]pagerduty.OnCall, error) {
	what := fmt.Sprintf("list on-calls of escalation policy %q", policyID)
	var all []pagerduty.OnCall
	for offset := uint(0); offset+pageSize <= maxOffset; offset += pageSize {
		// Since and until are left to PagerDuty, where they are this moment by the
		// clock that its schedules go by.
		list, err := call(ctx, what, func(ctx context.Context) (*pagerduty.ListOnCallsResponse, error) {
			return c.api.ListOnCallsWithContext(ctx, pagerduty.ListOnCallOptions{
				Limit: pageSize, Offset: offset, EscalationPolicyIDs: []string{policyID}, Includes: []string{"users"}, Earliest: true,
			})
		})
		if err != nil {
			return nil, err
		}
		if list == nil || list.OnCalls == nil {
			return nil, fmt.Errorf("%s: %w", what, errNonsense)
		}
		for _, o := range list.OnCalls {
			present, err := c.isPresent(o, policyID)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", what, err)
			}
			if present {
				all = append(all, o)
			}
		}
		if !list.More {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%s: more than %d", what, maxOffset)
}

// isPresent reports whether an entry makes somebody be on call at this moment.
func (c *Client) isPresent(o pagerduty.OnCall, policyID string) (bool, error) {
	if o.EscalationPolicy.ID != policyID || o.EscalationLevel < 1 || o.EscalationLevel > MaxLevels || o.User.ID == "" {
		return false, errNonsense
	}
	now := c.opts.Now()
	for _, bound := range []struct {
		at    string
		holds func(t time.Time) bool
	}{
		{o.Start, func(t time.Time) bool { return !t.After(now.Add(onCallSkew)) }},
		{o.End, func(t time.Time) bool { return t.After(now.Add(-onCallSkew)) }},
	} {
		if bound.at == "" {
			continue // on call for good
		}
		t, err := time.Parse(time.RFC3339, bound.at)
		if err != nil {
			return false, errNonsense
		}
		if !bound.holds(t) {
			return false, nil
		}
	}
	return o.User.Type == "user", nil
}

// User returns a person by PagerDuty's identifier.
func (c *Client) User(ctx context.Context, id string) (incident.Person, error) {
	if err := checkID(id); err != nil {
		return incident.Person{}, err
	}
	u, err := call(ctx, fmt.Sprintf("read user %q", id), func(ctx context.Context) (*pagerduty.User, error) {
		return c.api.GetUserWithContext(ctx, id, pagerduty.GetUserOptions{})
	})
	if err != nil {
		return incident.Person{}, err
	}
	return person(*u), nil
}

// UserByEmail returns the one person with exactly that e-mail address.
// Nobody, or more than one, is an error that wraps incident.ErrNoIdentity and
// driver.ErrNotFound.
func (c *Client) UserByEmail(ctx context.Context, email string) (incident.Person, error) {
	list, err := call(ctx, "find user by e-mail address", func(ctx context.Context) (*pagerduty.ListUsersResponse, error) {
		return c.api.ListUsersWithContext(ctx, pagerduty.ListUsersOptions{Limit: pageSize, Query: email})
	})
	if err != nil {
		return incident.Person{}, err
	}
	var found []pagerduty.User
	for _, u := range list.Users {
		if incident.SameAddress(u.Email, email) {
			found = append(found, u)
		}
	}
	if len(found) != 1 || list.More {
		return incident.Person{}, fmt.Errorf("find user by e-mail address: %w: %w: PagerDuty knows %d", driver.ErrNotFound, incident.ErrNoIdentity, len(found))
	}
	return person(found[0]), nil
}

// person is a user of PagerDuty's as Backout knows people. An address that is not
// spelled alike by everybody is none to be known by.
func person(u pagerduty.User) incident.Person {
	email, ok := incident.FoldAddress(u.Email)
	p := incident.Person{ID: email, Name: cmp.Or(u.Name, u.Summary), Email: email, PagerDutyID: u.ID}
	if !ok {
		p.ID = "pagerduty/" + u.ID
	}
	return p
}
