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

// escalationWindow is how long an escalation for a reason alone stands for one and
// the same: a retry in it finishes what was begun, and the same reason later
// pages one level further. Paging once too often is the safer mistake.
const escalationWindow = time.Minute

// escalation is a step that was written down, as a note, before it was taken.
type escalation struct {
	level int
	note  string
	// at is when an earlier call wrote it down; zero for a new one.
	at time.Time
}

// errand is what tells the repetition of an escalation from another one.
type errand struct {
	// tag is what its note ends with.
	tag string
	// window is how long its note counts; 0 is for ever.
	window time.Duration
	reason string
}

// Escalate is EscalateOnce for a caller who has only a reason: the same one within
// a minute is the same escalation, and later it is another one.
func (c *Client) Escalate(ctx context.Context, incidentID, reason string) error {
	return c.escalate(ctx, incidentID, errand{tag: tag(reason), window: escalationWindow, reason: reason})
}

// EscalateOnce pages the next level of the incident's escalation policy; the same
// id pages once, however much later it comes again. When the last level has been
// paged already, it asks the whole policy to respond.
//
// PagerDuty has no idempotency key for what this takes. So the step is written
// into a note before it is taken, with the level as an absolute number, and the
// notes, the assignments and the requests are read back before each write: a
// retry after a lost response takes the same step and pages nobody twice. An
// incident that is resolved is refused.
func (c *Client) EscalateOnce(ctx context.Context, incidentID, id, reason string) error {
	if id == "" {
		return fmt.Errorf("escalate incident %q: %w: the escalation has no id", incidentID, driver.ErrInvalid)
	}
	return c.escalate(ctx, incidentID, errand{tag: tag("id", id), reason: reason})
}

// tag is short, of one word and the same for the same parts.
func tag(parts ...string) string {
	return incident.ShortDigest(incident.DigestOf([]byte(strings.Join(parts, "\x00"))))
}

func (c *Client) escalate(ctx context.Context, incidentID string, e errand) error {
	i, err := c.incident(ctx, incidentID)
	if err != nil {
		return err
	}
	if i.Status == statusResolved {
		return fmt.Errorf("escalate incident %q: %w: it is resolved", incidentID, driver.ErrInvalid)
	}
	present, last, err := c.levels(ctx, i)
	if err != nil {
		return err
	}
	step, err := c.step(ctx, incidentID, e, present)
	if err != nil {
		return err
	}
	if step.level > last {
		return c.askPolicy(ctx, i, step, e.reason)
	}
	if present >= step.level || assignedSince(i, step.at) {
		return nil
	}
	_, err = call(ctx, fmt.Sprintf("escalate incident %q to level %d", incidentID, step.level), func(ctx context.Context) (*pagerduty.ListIncidentsResponse, error) {
		return c.api.ManageIncidentsWithContext(ctx, c.opts.From, []pagerduty.ManageIncidentsOptions{{ID: incidentID, EscalationLevel: uint(step.level)}})
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
		if level := int(o.EscalationLevel); has && level > present {
			present = level
		}
	}
	return present, len(policy.EscalationRules), nil
}

// assignedSince reports whether somebody was given the incident after a step was
// written down: by that step, whoever took it over then, or by a person.
func assignedSince(i *pagerduty.Incident, step time.Time) bool {
	return !step.IsZero() && slices.ContainsFunc(i.Assignments, func(a pagerduty.Assignment) bool {
		at, err := time.Parse(time.RFC3339, a.At)
		return err == nil && at.After(step)
	})
}

// step finds the step that was written down for this errand, or writes down the
// next one.
func (c *Client) step(ctx context.Context, incidentID string, e errand, present int) (escalation, error) {
	notes, err := c.notes(ctx, incidentID)
	if err != nil {
		return escalation{}, err
	}
	var newest time.Time
	var found escalation
	for _, n := range notes {
		at, err := time.Parse(time.RFC3339, n.CreatedAt)
		level, ok := parseStep(n.Content, e.tag)
		if err != nil || !ok || at.Before(newest) || (e.window > 0 && c.opts.Now().Sub(at) > e.window) {
			continue
		}
		newest, found = at, escalation{level: level, note: n.ID, at: at}
	}
	if found.level > 0 {
		return found, nil
	}
	text := fmt.Sprintf("Backout pages level %d: %s\n[escalate/%d/%s]", present+1, cut(e.reason, maxNote), present+1, e.tag)
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
