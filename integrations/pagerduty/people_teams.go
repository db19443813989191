package pagerduty

import (
	"context"
	"errors"
	"fmt"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// roleObserver is the role of a team member who may look and not act.
// Source: https://support.pagerduty.com/main/docs/advanced-permissions
const roleObserver = "observer"

// TeamMember reports whether a person is a member of a team now, other than as an
// observer. A person whom PagerDuty does not know exactly once is no member. A
// team that does not exist is an error that wraps driver.ErrNotFound.
func (c *Client) TeamMember(ctx context.Context, teamID string, p incident.Person) (bool, error) {
	return c.member(ctx, []string{teamID}, p)
}

// ServiceMember reports whether a person is a member of a team that owns a
// service, as TeamMember. A service without a team is an error that wraps
// driver.ErrNotFound: its owners were said to be in its teams.
func (c *Client) ServiceMember(ctx context.Context, serviceID string, p incident.Person) (bool, error) {
	service, err := c.service(ctx, serviceID)
	if err != nil {
		return false, err
	}
	if len(service.Teams) == 0 {
		return false, fmt.Errorf("list teams of service %q: %w: it has none", serviceID, driver.ErrNotFound)
	}
	var ids []string
	for _, t := range service.Teams {
		ids = append(ids, t.ID)
	}
	return c.member(ctx, ids, p)
}

func (c *Client) member(ctx context.Context, teams []string, p incident.Person) (bool, error) {
	id := p.PagerDutyID
	var err error
	if id == "" {
		id, err = c.idByEmail(ctx, p.Email)
	}
	if err != nil {
		return false, err
	}
	found := false
	for _, team := range teams {
		// All are asked, also after one has answered yes and for a person who is
		// nobody there: a team that can not be asked is an error for everybody.
		in, err := c.inTeam(ctx, team, id)
		if err != nil {
			return false, err
		}
		found = found || in
	}
	return found, nil
}

// idByEmail is the identifier of the one user of an address; empty for nobody, or
// more than one.
func (c *Client) idByEmail(ctx context.Context, email string) (string, error) {
	if _, ok := incident.FoldAddress(email); !ok {
		return "", nil
	}
	u, err := c.UserByEmail(ctx, email)
	if errors.Is(err, incident.ErrNoIdentity) {
		return "", nil
	}
	return u.PagerDutyID, err
}

// inTeam reads a whole team, so that an answer that breaks off is an error.
func (c *Client) inTeam(ctx context.Context, teamID, userID string) (bool, error) {
	if err := checkID(teamID); err != nil {
		return false, err
	}
	what := fmt.Sprintf("list members of team %q", teamID)
	found := false
	for offset := uint(0); offset+pageSize <= maxOffset; offset += pageSize {
		list, err := call(ctx, what, func(ctx context.Context) (*pagerduty.ListTeamMembersResponse, error) {
			return c.api.ListTeamMembers(ctx, teamID, pagerduty.ListTeamMembersOptions{Limit: pageSize, Offset: offset})
		})
		if err != nil {
			return false, err
		}
		if list == nil || list.Members == nil {
			return false, fmt.Errorf("%s: %w", what, errNonsense)
		}
		for _, m := range list.Members {
			if m.User.ID == "" {
				return false, fmt.Errorf("%s: %w", what, errNonsense)
			}
			found = found || m.User.ID == userID && m.Role != roleObserver
		}
		if !list.More {
			return found, nil
		}
	}
	return false, fmt.Errorf("%s: more than %d", what, maxOffset)
}
