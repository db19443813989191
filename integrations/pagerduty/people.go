package pagerduty

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Duty is a person who is on call, and where.
type Duty struct {
	Person incident.Person
	// Level is the lowest level of the escalation policy that the person is on call
	// at, from 1, which is who is paged first.
	Level int
}

// OnCall lists who is on call at this moment for a service, at any level of its
// escalation policy, each person once and in the order in which they are paged. A
// service without anybody on call has an empty list and no error.
func (c *Client) OnCall(ctx context.Context, serviceID string) ([]incident.Person, error) {
	duties, err := c.Duties(ctx, serviceID)
	if err != nil {
		return nil, err
	}
	var people []incident.Person
	for _, d := range duties {
		people = append(people, d.Person)
	}
	return people, nil
}

// Duties is OnCall with the level of each person, for whoever wants to tell who is
// paged first from who is paged when nobody answers.
func (c *Client) Duties(ctx context.Context, serviceID string) ([]Duty, error) {
	if err := checkID(serviceID); err != nil {
		return nil, err
	}
	service, err := call(ctx, fmt.Sprintf("read service %q", serviceID), func(ctx context.Context) (*pagerduty.Service, error) {
		return c.api.GetServiceWithContext(ctx, serviceID, &pagerduty.GetServiceOptions{})
	})
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
		if !seen[o.User.ID] && o.User.ID != "" {
			seen[o.User.ID] = true
			duties = append(duties, Duty{Person: person(o.User), Level: int(o.EscalationLevel)})
		}
	}
	return duties, nil
}

// onCalls lists the entries of now for an escalation policy, with whole users.
func (c *Client) onCalls(ctx context.Context, policyID string) ([]pagerduty.OnCall, error) {
	var all []pagerduty.OnCall
	for offset := uint(0); offset+pageSize <= maxOffset; offset += pageSize {
		list, err := call(ctx, fmt.Sprintf("list on-calls of escalation policy %q", policyID), func(ctx context.Context) (*pagerduty.ListOnCallsResponse, error) {
			return c.api.ListOnCallsWithContext(ctx, pagerduty.ListOnCallOptions{
				Limit: pageSize, Offset: offset, EscalationPolicyIDs: []string{policyID}, Includes: []string{"users"},
			})
		})
		if err != nil {
			return nil, err
		}
		all = append(all, list.OnCalls...)
		if !list.More {
			return all, nil
		}
	}
	return nil, fmt.Errorf("list on-calls of escalation policy %q: more than %d", policyID, maxOffset)
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
		if email != "" && strings.EqualFold(u.Email, email) {
			found = append(found, u)
		}
	}
	if len(found) != 1 || list.More {
		return incident.Person{}, fmt.Errorf("find user by e-mail address: %w: %w: PagerDuty knows %d", driver.ErrNotFound, incident.ErrNoIdentity, len(found))
	}
	return person(found[0]), nil
}

// person is a user of PagerDuty's as Backout knows people.
func person(u pagerduty.User) incident.Person {
	p := incident.Person{ID: strings.ToLower(u.Email), Name: u.Name, Email: strings.ToLower(u.Email), PagerDutyID: u.ID}
	if p.Name == "" {
		p.Name = u.Summary
	}
	if p.ID == "" {
		p.ID = "pagerduty/" + u.ID
	}
	return p
}
