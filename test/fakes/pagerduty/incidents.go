package fakepagerduty

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

func (s *Server) listIncidents(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, until, bad := period(r, s.cfg.Now().AddDate(0, -1, 0), s.cfg.Now().Add(time.Minute))
	if bad != nil {
		return *bad
	}
	all := slices.DeleteFunc(slices.Clone(s.incidents), func(i *incident) bool {
		if r.Query.Get("date_range") != "all" && (i.CreatedAt.Before(since) || i.CreatedAt.After(until)) {
			return true
		}
		if r.Query.Has("incident_key") && i.Key != r.Query.Get("incident_key") {
			return true
		}
		assigned := !r.Query.Has("user_ids[]") || slices.ContainsFunc(i.Assignees, func(id string) bool { return wanted(r, "user_ids[]", id) })
		return !assigned || !wanted(r, "statuses[]", i.Status) || !wanted(r, "urgencies[]", i.Urgency) || !wanted(r, "service_ids[]", i.ServiceID)
	})
	if strings.Contains(r.Query.Get("sort_by"), ":desc") {
		slices.Reverse(all)
	}
	return paginate(r, "incidents", all, s.renderIncident)
}

func (s *Server) getIncident(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(r.Vars["id"])
	if i == nil {
		return failure(http.StatusNotFound)
	}
	return ok(object{"incident": s.renderIncident(i)})
}

func (s *Server) createIncident(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, _ := r.Body["incident"].(object)
	o := TriggerOptions{
		Title: str(in, "title"), Urgency: str(in, "urgency"), Key: str(in, "incident_key"),
		ServiceID: str(in, "service", "id"), PriorityID: str(in, "priority", "id"), Details: str(in, "body", "details"),
	}
	if strings.TrimSpace(o.Title) == "" {
		return invalid("Title is required.")
	}
	if s.openByKey(o.ServiceID, o.Key) != nil {
		return invalid("Open incident with matching dedup key already exists on this service")
	}
	if _, known := find(s.prios, func(p Priority) bool { return p.ID == o.PriorityID }); o.PriorityID != "" && !known {
		return invalid("Priority not found")
	}
	created, err := s.trigger(o, r.Actor)
	if err != nil {
		return invalid("Service not found")
	}
	return rest.Reply{Status: http.StatusCreated, Body: object{"incident": s.renderIncident(s.incident(created.ID))}}
}

func (s *Server) updateIncident(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(r.Vars["id"])
	if i == nil {
		return failure(http.StatusNotFound)
	}
	in, _ := r.Body["incident"].(object)
	if err := s.apply(i, in, r.Actor); err != nil {
		return invalid(err.Error())
	}
	return ok(object{"incident": s.renderIncident(i)})
}

// maxManaged is how many incidents one PUT /incidents may change.
// Source: PagerDuty's REST reference, "Manage Incidents".
const maxManaged = 250

func (s *Server) manageIncidents(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, _ := r.Body["incidents"].([]any)
	if len(list) > maxManaged {
		return failure(http.StatusRequestEntityTooLarge)
	}
	changed := []object{}
	for _, item := range list {
		in, _ := item.(object)
		i := s.incident(str(in, "id"))
		if i == nil {
			return failure(http.StatusNotFound)
		}
		if err := s.apply(i, in, r.Actor); err != nil {
			return invalid(err.Error())
		}
		changed = append(changed, s.renderIncident(i))
	}
	return ok(object{"incidents": changed})
}

// apply changes an incident as the body of a PUT says.
func (s *Server) apply(i *incident, in object, by string) error {
	if level, ok := in["escalation_level"].(float64); ok {
		if err := s.escalate(i, int(level), by); err != nil {
			return err
		}
	}
	if policy := str(in, "escalation_policy", "id"); policy != "" {
		if _, ok := s.policy(policy); !ok {
			return errNoPolicy
		}
		i.policyID = policy
		s.assign(i, 1)
		s.emit("incident.delegated", by, s.webhookIncident(i))
	}
	if assignments, ok := in["assignments"].([]any); ok {
		i.Assignees, i.AssignedAt = nil, s.cfg.Now()
		for _, a := range assignments {
			assignment, _ := a.(object)
			id := str(assignment, "assignee", "id")
			if _, known := s.user(id); !known {
				return errNoAssignee
			}
			i.Assignees = append(i.Assignees, id)
		}
		s.emit("incident.reassigned", by, s.webhookIncident(i))
	}
	if title := str(in, "title"); title != "" {
		i.Title = title
	}
	if priority := str(in, "priority", "id"); priority != "" && priority != i.PriorityID {
		i.PriorityID = priority
		s.emit("incident.priority_updated", by, s.webhookIncident(i))
	}
	if status := str(in, "status"); status != "" {
		return s.transition(i, status, by)
	}
	return nil
}

func (s *Server) listNotes(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(r.Vars["id"])
	if i == nil {
		return failure(http.StatusNotFound)
	}
	notes := []object{}
	for _, n := range slices.Backward(i.Notes) {
		notes = append(notes, s.renderNote(n))
	}
	return ok(object{"notes": notes})
}

func (s *Server) createNote(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(r.Vars["id"])
	if i == nil {
		return failure(http.StatusNotFound)
	}
	content := str(r.Body, "note", "content")
	if strings.TrimSpace(content) == "" {
		return invalid("Content cannot be empty.")
	}
	return ok(object{"note": s.renderNote(s.annotate(i, r.Actor, content))})
}

func (s *Server) requestResponder(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(r.Vars["id"])
	if i == nil {
		return failure(http.StatusNotFound)
	}
	requester, found := s.user(str(r.Body, "requester_id"))
	if !found {
		return invalid("Requester User Not Found")
	}
	request := ResponderRequest{RequesterID: requester.ID, Message: str(r.Body, "message"), At: s.cfg.Now()}
	targets := []object{}
	list, _ := r.Body["responder_request_targets"].([]any)
	for _, item := range list {
		target, _ := item.(object)
		if wrapped, ok := target["responder_request_target"].(object); ok {
			target = wrapped
		}
		id, kind := str(target, "id"), strings.TrimSuffix(str(target, "type"), "_reference")
		_, user := s.user(id)
		_, policy := s.policy(id)
		if (kind != "user" || !user) && (kind != "escalation_policy" || !policy) {
			return invalid("Responder request target not found")
		}
		request.Targets = append(request.Targets, id)
		targets = append(targets, object{"id": id, "type": kind, "incidents_responders": []object{}})
	}
	if len(targets) == 0 {
		return invalid("Responder request targets cannot be empty.")
	}
	i.Requests = append(i.Requests, request)
	s.emit("incident.responder.added", requester.ID, object{
		"type": "incident_responder", "message": request.Message, "state": "pending",
		"incident": s.reference("incident", i.ID, i.Title),
	})
	wrapped := []object{}
	for _, t := range targets {
		wrapped = append(wrapped, object{"responder_request_target": t})
	}
	return ok(object{"responder_request": object{
		"incident":     s.reference("incident", i.ID, i.Title),
		"requester":    s.reference("user", requester.ID, requester.Name),
		"requested_at": stamp(request.At), "message": request.Message, "responder_request_targets": wrapped,
	}})
}

func (s *Server) createStatusUpdate(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(r.Vars["id"])
	if i == nil {
		return failure(http.StatusNotFound)
	}
	u := StatusUpdate{ID: s.newID("U"), SenderID: r.Actor, Message: str(r.Body, "message"), At: s.cfg.Now()}
	i.Updates = append(i.Updates, u)
	sender, _ := s.user(u.SenderID)
	return ok(object{"status_update": object{
		"id": u.ID, "message": u.Message, "created_at": stamp(u.At), "sender": s.reference("user", sender.ID, sender.Name),
	}})
}

func (s *Server) listAlerts(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.incident(r.Vars["id"])
	if i == nil {
		return failure(http.StatusNotFound)
	}
	service, _ := s.service(i.ServiceID)
	status := Triggered
	if i.Status == Resolved {
		status = Resolved
	}
	all := []*incident{i}
	if !wanted(r, "statuses[]", status) || !wanted(r, "alert_key", i.Key) {
		all = nil
	}
	return paginate(r, "alerts", all, func(i *incident) object {
		o := s.reference("alert", "A"+i.ID, i.Title)
		o["type"], o["created_at"], o["status"], o["alert_key"] = "alert", stamp(i.CreatedAt), status, i.Key
		o["service"] = s.reference("service", service.ID, service.Name)
		o["incident"] = s.reference("incident", i.ID, i.Title)
		o["suppressed"], o["severity"] = false, "critical"
		o["body"] = object{"type": "alert_body", "details": object{"text": i.Details}}
		return o
	})
}

// renderIncident is an incident as the REST API shows it.
func (s *Server) renderIncident(i *incident) object {
	o := s.reference("incident", i.ID, fmt.Sprintf("[#%d] %s", i.Number, i.Title))
	service, _ := s.service(i.ServiceID)
	assignments := []object{}
	for _, id := range i.Assignees {
		u, _ := s.user(id)
		assignments = append(assignments, object{"at": stamp(i.AssignedAt), "assignee": s.reference("user", id, u.Name)})
	}
	o["type"] = "incident"
	o["incident_number"], o["title"], o["status"], o["urgency"] = i.Number, i.Title, i.Status, i.Urgency
	o["incident_key"], o["created_at"], o["last_status_change_at"] = i.Key, stamp(i.CreatedAt), stamp(i.ChangedAt)
	o["updated_at"] = stamp(i.ChangedAt)
	o["service"], o["assignments"] = s.reference("service", service.ID, service.Name), assignments
	o["assigned_via"] = "escalation_policy"
	if p, ok := s.policy(i.policyID); ok {
		o["escalation_policy"] = s.reference("escalation_policy", p.ID, p.Name)
	}
	if p, ok := s.priority(i.PriorityID); ok {
		o["priority"] = p
	}
	requests := []object{}
	for _, q := range i.Requests {
		requester, _ := s.user(q.RequesterID)
		requests = append(requests, object{
			"incident": s.reference("incident", i.ID, i.Title), "requester": s.reference("user", requester.ID, requester.Name),
			"requested_at": stamp(q.At), "message": q.Message, "responder_request_targets": []object{},
		})
	}
	o["responder_requests"] = requests
	if !i.ResolvedAt.IsZero() {
		o["resolved_at"] = stamp(i.ResolvedAt)
	}
	return o
}

func (s *Server) priority(id string) (object, bool) {
	p, found := find(s.prios, func(p Priority) bool { return p.ID == id })
	if !found {
		return nil, false
	}
	return s.reference("priority", p.ID, p.Name), true
}

func (s *Server) renderNote(n Note) object {
	u, _ := s.user(n.UserID)
	return object{
		"id": n.ID, "content": n.Content, "created_at": stamp(n.At),
		"user": s.reference("user", n.UserID, u.Name), "channel": object{"summary": "The PagerDuty website or APIs"},
	}
}

func invalid(detail string) rest.Reply {
	return envelope(http.StatusBadRequest, codeInvalidInput, "Invalid Input Provided", detail)
}

// str reads a nested text field, "" when it is absent or of another type.
func str(o object, path ...string) string {
	for _, key := range path[:len(path)-1] {
		o, _ = o[key].(object)
	}
	v, _ := o[path[len(path)-1]].(string)
	return v
}
