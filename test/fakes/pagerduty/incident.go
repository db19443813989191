package fakepagerduty

import (
	"fmt"
	"slices"
	"time"
)

// The statuses of an incident.
const (
	Triggered    = "triggered"
	Acknowledged = "acknowledged"
	Resolved     = "resolved"
)

// Incident is a snapshot of an incident.
type Incident struct {
	ID     string
	Number int
	Title  string
	// Status is triggered, acknowledged or resolved.
	Status  string
	Urgency string
	// Key is the incident_key or dedup_key.
	Key        string
	ServiceID  string
	PriorityID string
	// Level is the escalation level that is being paged, from 1.
	Level     int
	Assignees []string
	Details   string
	CreatedAt time.Time
	ChangedAt time.Time
	// AssignedAt is when the assignees were given it.
	AssignedAt time.Time
	// ResolvedAt is zero while the incident is open.
	ResolvedAt time.Time
	Notes      []Note
	Requests   []ResponderRequest
	Updates    []StatusUpdate
}

// Note is a note on an incident.
type Note struct {
	ID, UserID, Content string
	At                  time.Time
}

// ResponderRequest is a request that people join an incident.
type ResponderRequest struct {
	RequesterID, Message string
	// Targets are user and escalation policy IDs.
	Targets []string
	At      time.Time
}

// StatusUpdate is a message to an incident's stakeholders.
type StatusUpdate struct {
	ID, SenderID, Message string
	At                    time.Time
}

// incident is an incident with its escalation policy, as it stands.
type incident struct {
	Incident
	policyID string
}

// TriggerOptions says what incident Trigger creates.
type TriggerOptions struct {
	// ServiceID is required.
	ServiceID string
	Title     string
	// Urgency is high or low; empty means high.
	Urgency    string
	PriorityID string
	// Key deduplicates; empty makes one up.
	Key     string
	Details string
}

// Trigger creates an incident as a monitoring tool would, and delivers
// incident.triggered. An open incident with the same key on the service is
// returned instead.
func (s *Server) Trigger(o TriggerOptions) (Incident, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open := s.openByKey(o.ServiceID, o.Key); open != nil {
		return open.snapshot(), nil
	}
	return s.trigger(o, "")
}

func (s *Server) trigger(o TriggerOptions, agent string) (Incident, error) {
	service, found := s.service(o.ServiceID)
	if !found {
		return Incident{}, fmt.Errorf("trigger incident: no service %q", o.ServiceID)
	}
	if o.Urgency == "" {
		o.Urgency = "high"
	}
	now := s.cfg.Now()
	i := &incident{policyID: service.PolicyID, Incident: Incident{
		ID: s.newID("Q"), Number: len(s.incidents) + 1, Title: o.Title, Status: Triggered, Urgency: o.Urgency,
		Key: o.Key, ServiceID: o.ServiceID, PriorityID: o.PriorityID, Details: o.Details, CreatedAt: now, ChangedAt: now,
	}}
	if i.Key == "" {
		i.Key = fmt.Sprintf("key-%d", s.sequence)
	}
	s.assign(i, 1)
	s.incidents = append(s.incidents, i)
	s.emit("incident.triggered", agent, s.webhookIncident(i))
	return i.snapshot(), nil
}

// assign gives the incident to who is on call at a level. It reports false
// when the policy has no such level.
func (s *Server) assign(i *incident, level int) bool {
	policy, found := s.policy(i.policyID)
	if level < 1 || (found && level > len(policy.Levels)) {
		return false
	}
	i.Level, i.Assignees = level, nil
	now := s.cfg.Now()
	i.AssignedAt = now
	for _, c := range s.onCalls(now, now) {
		if c.policy.ID == i.policyID && c.level == level && !slices.Contains(i.Assignees, c.user.ID) {
			i.Assignees = append(i.Assignees, c.user.ID)
		}
	}
	return true
}

// Acknowledge marks an incident acknowledged by a user.
func (s *Server) Acknowledge(id, by string) error {
	return s.change(id, func(i *incident) error { return s.transition(i, Acknowledged, by) })
}

// Resolve marks an incident resolved by a user.
func (s *Server) Resolve(id, by string) error {
	return s.change(id, func(i *incident) error { return s.transition(i, Resolved, by) })
}

// Reopen makes a resolved incident triggered again.
func (s *Server) Reopen(id, by string) error {
	return s.change(id, func(i *incident) error {
		if i.Status != Resolved {
			return fmt.Errorf("reopen incident %q: it is %s", id, i.Status)
		}
		i.Status, i.ResolvedAt, i.ChangedAt = Triggered, time.Time{}, s.cfg.Now()
		s.emit("incident.reopened", by, s.webhookIncident(i))
		return nil
	})
}

// SetPriority changes an incident's priority.
func (s *Server) SetPriority(id, priorityID, by string) error {
	return s.change(id, func(i *incident) error {
		i.PriorityID = priorityID
		s.emit("incident.priority_updated", by, s.webhookIncident(i))
		return nil
	})
}

// Escalate takes an incident to its next level, as the policy's timer would.
func (s *Server) Escalate(id string) error {
	return s.change(id, func(i *incident) error { return s.escalate(i, i.Level+1, "") })
}

// Reassign gives an incident to people, as somebody in PagerDuty's page would.
func (s *Server) Reassign(id string, to ...string) error {
	return s.change(id, func(i *incident) error {
		for _, user := range to {
			if _, known := s.user(user); !known {
				return errNoAssignee
			}
		}
		i.Assignees, i.AssignedAt = to, s.cfg.Now()
		s.emit("incident.reassigned", "", s.webhookIncident(i))
		return nil
	})
}

// Annotate adds a note, as a person in PagerDuty's page would.
func (s *Server) Annotate(id, by, content string) error {
	return s.change(id, func(i *incident) error {
		s.annotate(i, by, content)
		return nil
	})
}

// Incidents returns snapshots of all incidents in order of creation.
func (s *Server) Incidents() []Incident {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Incident, 0, len(s.incidents))
	for _, i := range s.incidents {
		all = append(all, i.snapshot())
	}
	return all
}

// Incident returns a snapshot of one incident.
func (s *Server) Incident(id string) (Incident, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.incident(id); i != nil {
		return i.snapshot(), true
	}
	return Incident{}, false
}

func (s *Server) change(id string, f func(*incident) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(id)
	if i == nil {
		return fmt.Errorf("change incident %q: no such incident", id)
	}
	return f(i)
}

// refusal is a reason in PagerDuty's own words.
type refusal string

// Error is the reason itself.
func (r refusal) Error() string { return string(r) }

// What PagerDuty says to changes that it refuses.
const (
	errAlreadyResolved refusal = "Incident Already Resolved"
	errNoPolicy        refusal = "Escalation policy not found"
	errNoAssignee      refusal = "Assignee not found"
)

func (s *Server) transition(i *incident, status, by string) error {
	if i.Status == Resolved {
		return errAlreadyResolved
	}
	if status != Acknowledged && status != Resolved {
		return fmt.Errorf("change incident %q: status %q can not be set", i.ID, status)
	}
	i.Status, i.ChangedAt = status, s.cfg.Now()
	if status == Resolved {
		i.ResolvedAt = i.ChangedAt
	}
	s.emit("incident."+status, by, s.webhookIncident(i))
	return nil
}

func (s *Server) escalate(i *incident, level int, by string) error {
	if i.Status == Resolved {
		return errAlreadyResolved
	}
	if level == i.Level {
		return nil
	}
	if !s.assign(i, level) {
		return fmt.Errorf("escalate incident %q: the policy has no level %d", i.ID, level)
	}
	i.Status, i.ChangedAt = Triggered, s.cfg.Now()
	s.emit("incident.escalated", by, s.webhookIncident(i))
	return nil
}

func (s *Server) annotate(i *incident, by, content string) Note {
	n := Note{ID: s.newID("N"), UserID: by, Content: content, At: s.cfg.Now()}
	i.Notes = append(i.Notes, n)
	s.emit("incident.annotated", by, object{
		"id": n.ID, "type": "incident_note", "content": content, "trimmed": false,
		"incident": s.reference("incident", i.ID, i.Title),
	})
	return n
}

func (s *Server) incident(id string) *incident {
	i, _ := find(s.incidents, func(i *incident) bool { return i.ID == id })
	return i
}

// openByKey is the open incident of a service with a key, or nil.
func (s *Server) openByKey(serviceID, key string) *incident {
	if key == "" {
		return nil
	}
	i, _ := find(s.incidents, func(i *incident) bool {
		return i.ServiceID == serviceID && i.Key == key && i.Status != Resolved
	})
	return i
}

func (i *incident) snapshot() Incident {
	c := i.Incident
	c.Assignees, c.Notes = slices.Clone(c.Assignees), slices.Clone(c.Notes)
	c.Requests, c.Updates = slices.Clone(c.Requests), slices.Clone(c.Updates)
	return c
}
