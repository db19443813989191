package fakepagerduty

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// ChangeEvent is a change that a tool reported.
type ChangeEvent struct {
	// ID is made up when it is empty.
	ID      string
	Summary string
	Source  string
	At      time.Time
	// ServiceIDs are the services that it is shown with.
	ServiceIDs []string
	// Details are free-form.
	Details map[string]any
	// Link leads to more; it may be empty.
	Link string
}

// AddChange records a change event, as an integration would, and returns its
// ID.
func (s *Server) AddChange(c ChangeEvent) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addChange(c)
}

func (s *Server) addChange(c ChangeEvent) string {
	if c.ID == "" {
		c.ID = s.newID("C")
	}
	if c.At.IsZero() {
		c.At = s.cfg.Now()
	}
	s.changes = append(s.changes, c)
	return c.ID
}

func (s *Server) listChanges(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renderChanges(r, slices.Clone(s.changes))
}

func (s *Server) listServiceChanges(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, found := s.service(r.Vars["id"]); !found {
		return failure(http.StatusNotFound)
	}
	return s.renderChanges(r, slices.DeleteFunc(slices.Clone(s.changes), func(c ChangeEvent) bool {
		return !slices.Contains(c.ServiceIDs, r.Vars["id"])
	}))
}

func (s *Server) renderChanges(r *rest.Request, all []ChangeEvent) rest.Reply {
	since, until, bad := period(r, time.Time{}, s.cfg.Now().AddDate(1, 0, 0))
	if bad != nil {
		return *bad
	}
	all = slices.DeleteFunc(all, func(c ChangeEvent) bool { return c.At.Before(since) || c.At.After(until) })
	slices.SortStableFunc(all, func(a, b ChangeEvent) int { return b.At.Compare(a.At) })
	return paginate(r, "change_events", all, func(c ChangeEvent) object {
		services := []object{}
		for _, id := range c.ServiceIDs {
			service, _ := s.service(id)
			services = append(services, s.reference("service", id, service.Name))
		}
		o := object{
			"id": c.ID, "type": "change_event", "summary": c.Summary, "source": c.Source,
			"timestamp": stamp(c.At), "services": services,
		}
		if c.Details != nil {
			o["custom_details"] = c.Details
		}
		if c.Link != "" {
			o["links"] = []object{{"href": c.Link, "text": "More"}}
		}
		return o
	})
}

// enqueue serves the Events API: trigger, acknowledge, resolve.
func (s *Server) enqueue(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	service, known := s.cfg.RoutingKeys[str(r.Body, "routing_key")]
	if !known {
		return eventRefused("Invalid routing key")
	}
	action, key := str(r.Body, "event_action"), str(r.Body, "dedup_key")
	open := s.openByKey(service, key)
	switch action {
	case "trigger":
		if str(r.Body, "payload", "summary") == "" {
			return eventRefused("'payload.summary' is missing or blank")
		}
		if open != nil {
			break
		}
		created, err := s.trigger(TriggerOptions{ServiceID: service, Title: str(r.Body, "payload", "summary"), Key: key}, "")
		if err != nil {
			return eventRefused("Invalid routing key")
		}
		key = created.Key
	default:
		if key == "" {
			return eventRefused("'dedup_key' is missing or blank")
		}
		status := map[string]string{"acknowledge": Acknowledged, "resolve": Resolved}[action]
		// An event about an unknown or closed alert is accepted and dropped.
		if open != nil {
			_ = s.transition(open, status, "")
		}
	}
	return rest.Reply{Status: http.StatusAccepted, Body: object{"status": "success", "message": "Event processed", "dedup_key": key}}
}

func (s *Server) enqueueChange(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	service, known := s.cfg.RoutingKeys[str(r.Body, "routing_key")]
	if !known {
		return eventRefused("Invalid routing key")
	}
	c := ChangeEvent{Summary: str(r.Body, "payload", "summary"), Source: str(r.Body, "payload", "source"), ServiceIDs: []string{service}}
	if v := str(r.Body, "payload", "timestamp"); v != "" {
		at, err := parseEventTime(v)
		if err != nil {
			return eventRefused("'payload.timestamp' is invalid")
		}
		c.At = at
	}
	payload, _ := r.Body["payload"].(object)
	c.Details, _ = payload["custom_details"].(object)
	if links, _ := r.Body["links"].([]any); len(links) > 0 {
		link, _ := links[0].(object)
		c.Link = str(link, "href")
	}
	s.addChange(c)
	return rest.Reply{Status: http.StatusAccepted, Body: object{"status": "success", "message": "Change event processed"}}
}

// parseEventTime accepts the two spellings of PagerDuty's own examples.
func parseEventTime(v string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.000-0700"} {
		if at, err := time.Parse(layout, v); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("parse time %q: unknown layout", v)
}

// eventRefused is the Events API's own envelope.
func eventRefused(detail string) rest.Reply {
	return rest.Reply{Status: http.StatusBadRequest, Body: object{
		"status": "invalid event", "message": "Event object is invalid", "errors": []string{detail},
	}}
}
