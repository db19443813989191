package pagerduty

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// escalationWindow is how long an escalation for a reason stands for one and
// the same: a retry in it finishes what was begun, and the same reason later
// pages one level further. Paging once too often is the safer mistake.
const escalationWindow = time.Minute

// escalation is a step that was written down, as a note, before it was taken.
type escalation struct {
	level int
	note  string
}

// Escalate pages the next level of the incident's escalation policy. When the
// last level has been paged already, it asks the whole policy to respond.
//
// The step is written into a note before it is taken, with the level as an
// absolute number, so that a retry after a lost response takes the same step
// and pages nobody twice. An incident that is resolved is refused.
func (c *Client) Escalate(ctx context.Context, incidentID, reason string) error {
	i, err := c.incident(ctx, incidentID)
	if err != nil {
		return err
	}
	if i.Status == "resolved" {
		return fmt.Errorf("escalate incident %q: %w: it is resolved", incidentID, driver.ErrInvalid)
	}
	present, last, err := c.levels(ctx, i)
	if err != nil {
		return err
	}
	step, err := c.step(ctx, incidentID, reason, present)
	if err != nil {
		return err
	}
	if step.level > last {
		return c.askPolicy(ctx, i, step, reason)
	}
	if present >= step.level {
		return nil
	}
	_, err = call(ctx, fmt.Sprintf("escalate incident %q to level %d", incidentID, step.level), func(ctx context.Context) (*pagerduty.ListIncidentsResponse, error) {
		return c.api.ManageIncidentsWithContext(ctx, c.opts.From, []pagerduty.ManageIncidentsOptions{{ID: incidentID, EscalationLevel: uint(step.level)}}) //nolint:gosec // A small positive number.
	})
	return err
}

func (c *Client) incident(ctx context.Context, id string) (*pagerduty.Incident, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	return call(ctx, fmt.Sprintf("read incident %q", id), func(ctx context.Context) (*pagerduty.Incident, error) {
		return c.api.GetIncidentWithContext(ctx, id)
	})
}

// levels are the highest level whose on-call has the incident now, 0 when none
// has, and the policy's last level. PagerDuty does not tell the level itself.
func (c *Client) levels(ctx context.Context, i *pagerduty.Incident) (present, last int, err error) {
	policyID := i.EscalationPolicy.ID
	if err := checkID(policyID); err != nil {
		return 0, 0, err
	}
	policy, err := call(ctx, fmt.Sprintf("read escalation policy %q", policyID), func(ctx context.Context) (*pagerduty.EscalationPolicy, error) {
		return c.api.GetEscalationPolicyWithContext(ctx, policyID, &pagerduty.GetEscalationPolicyOptions{})
	})
	if err != nil {
		return 0, 0, err
	}
	onCalls, err := c.onCalls(ctx, policyID)
	if err != nil {
		return 0, 0, err
	}
	for _, o := range onCalls {
		has := slices.ContainsFunc(i.Assignments, func(a pagerduty.Assignment) bool { return a.Assignee.ID == o.User.ID })
		if level := int(o.EscalationLevel); has && level > present { //nolint:gosec // A small number.
			present = level
		}
	}
	return present, len(policy.EscalationRules), nil
}

// step finds the step that was written down for this reason just now, or
// writes down the next one.
func (c *Client) step(ctx context.Context, incidentID, reason string, present int) (escalation, error) {
	tag := incident.ShortDigest(incident.DigestOf([]byte(reason)))
	notes, err := c.notes(ctx, incidentID)
	if err != nil {
		return escalation{}, err
	}
	var newest time.Time
	var found escalation
	for _, n := range notes {
		at, err := time.Parse(time.RFC3339, n.CreatedAt)
		level, ok := parseStep(n.Content, tag)
		if err != nil || !ok || c.opts.Now().Sub(at) > escalationWindow || at.Before(newest) {
			continue
		}
		newest, found = at, escalation{level: level, note: n.ID}
	}
	if found.level > 0 {
		return found, nil
	}
	text := fmt.Sprintf("Backout pages level %d: %s\n[escalate/%d/%s]", present+1, cut(reason, maxNote), present+1, tag)
	n, err := c.addNote(ctx, incidentID, text)
	if err != nil {
		return escalation{}, err
	}
	return escalation{level: present + 1, note: n.ID}, nil
}

// parseStep reads the last line of a note, such as [escalate/2/0a1b2c3d].
func parseStep(content, tag string) (level int, ok bool) {
	content = strings.TrimSpace(content)
	line := content[strings.LastIndexByte(content, '\n')+1:]
	number, ok := strings.CutSuffix(strings.TrimPrefix(line, "[escalate/"), "/"+tag+"]")
	if !ok {
		return 0, false
	}
	level, err := strconv.Atoi(number)
	return level, err == nil && level > 0
}

// askPolicy requests responders from the incident's whole policy. The request
// names the note that announced it, so that it is not made twice.
func (c *Client) askPolicy(ctx context.Context, i *pagerduty.Incident, step escalation, reason string) error {
	mark := "(note " + step.note + ")"
	for _, r := range i.ResponderRequests {
		if strings.HasSuffix(r.Message, mark) {
			return nil
		}
	}
	requester, err := c.UserByEmail(ctx, c.opts.From)
	if err != nil {
		return err
	}
	_, err = call(ctx, fmt.Sprintf("request responders for incident %q", i.ID), func(ctx context.Context) (*pagerduty.ResponderRequestResponse, error) {
		return c.api.ResponderRequestWithContext(ctx, i.ID, pagerduty.ResponderRequestOptions{
			From: c.opts.From, RequesterID: requester.PagerDutyID, Message: cut(reason, maxNote) + " " + mark,
			Targets: []pagerduty.ResponderRequestTargetWrapper{{Target: pagerduty.ResponderRequestTarget{
				APIObject: pagerduty.APIObject{ID: i.EscalationPolicy.ID, Type: "escalation_policy_reference"},
			}}},
		})
	})
	return err
}
