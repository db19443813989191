package fakepagerduty

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// User is a person in the account.
type User struct {
	ID, Name, Email string
	// orphan is a user who was deleted and is still named by rotas.
	orphan bool
}

// Service is a technical service.
type Service struct {
	ID, Name string
	// PolicyID names its escalation policy.
	PolicyID string
	// Teams name the teams that it belongs to.
	Teams []string
}

// Team is a group of people.
type Team struct {
	ID, Name string
	Members  []Member
}

// Member is a person in a team.
type Member struct {
	UserID string
	// Role is manager, responder or observer; empty means responder.
	Role string
}

// EscalationPolicy says who is paged, level by level.
type EscalationPolicy struct {
	ID, Name string
	Levels   []Level
}

// Level is one rule of an escalation policy, counted from 1.
type Level struct {
	// Delay is the time before the next level, in whole minutes; 0 means 30.
	Delay     time.Duration
	Users     []string
	Schedules []string
}

// Schedule is a rota.
type Schedule struct {
	ID, Name string
	Shifts   []Shift
	// Overrides take the place of the shifts for as long as they last.
	Overrides []Shift
}

// final is the schedule as it is in force in a period: what is overridden is not.
func (c Schedule) final(since, until time.Time) []Shift {
	var all []Shift
	for _, o := range c.Overrides {
		if o.overlaps(since, until) {
			all = append(all, o)
		}
	}
	if len(all) > 0 && !since.Before(until) {
		return all
	}
	for _, shift := range c.Shifts {
		if shift.overlaps(since, until) {
			all = append(all, shift)
		}
	}
	return all
}

// Shift is one person's turn. A zero Start or End is open on that side.
type Shift struct {
	UserID     string
	Start, End time.Time
}

// Priority is an incident priority such as P1.
type Priority struct {
	ID, Name string
}

// onCall is one entry of the on-call list.
type onCall struct {
	user       User
	schedule   *Schedule
	policy     EscalationPolicy
	level      int
	start, end time.Time
}

// AddUser adds or replaces a user.
func (s *Server) AddUser(u User) { s.locked(func() { s.users = put(s.users, u, u.ID, userID) }) }

// AddService adds or replaces a service.
func (s *Server) AddService(v Service) {
	s.locked(func() { s.services = put(s.services, v, v.ID, func(x Service) string { return x.ID }) })
}

// AddPolicy adds or replaces an escalation policy.
func (s *Server) AddPolicy(p EscalationPolicy) {
	s.locked(func() { s.policies = put(s.policies, p, p.ID, func(x EscalationPolicy) string { return x.ID }) })
}

// AddSchedule adds or replaces a schedule.
func (s *Server) AddSchedule(c Schedule) {
	s.locked(func() { s.schedules = put(s.schedules, c, c.ID, func(x Schedule) string { return x.ID }) })
}

// AddTeam adds or replaces a team.
func (s *Server) AddTeam(t Team) {
	s.locked(func() { s.teams = put(s.teams, t, t.ID, func(x Team) string { return x.ID }) })
}

// AddPriority adds or replaces a priority.
func (s *Server) AddPriority(p Priority) {
	s.locked(func() { s.prios = put(s.prios, p, p.ID, func(x Priority) string { return x.ID }) })
}

// RemoveUser deletes a user, as when somebody leaves. Nothing names them any more.
func (s *Server) RemoveUser(id string) {
	s.locked(func() { s.users = slices.DeleteFunc(s.users, func(u User) bool { return u.ID == id }) })
}

// OrphanUser deletes a user whom rotas still name: they are listed there as a bare
// reference that leads nowhere.
func (s *Server) OrphanUser(id string) {
	s.locked(func() {
		if i := slices.IndexFunc(s.users, func(u User) bool { return u.ID == id }); i >= 0 {
			s.users[i].orphan = true
		}
	})
}

func (s *Server) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func userID(u User) string { return u.ID }

func put[T any](list []T, item T, id string, key func(T) string) []T {
	if i := slices.IndexFunc(list, func(x T) bool { return key(x) == id }); i >= 0 {
		list[i] = item
		return list
	}
	return append(list, item)
}

func find[T any](list []T, match func(T) bool) (T, bool) {
	if i := slices.IndexFunc(list, match); i >= 0 {
		return list[i], true
	}
	var zero T
	return zero, false
}

func (s *Server) user(id string) (User, bool) {
	return find(s.users, func(u User) bool { return u.ID == id })
}

func (s *Server) service(id string) (Service, bool) {
	return find(s.services, func(v Service) bool { return v.ID == id })
}

func (s *Server) policy(id string) (EscalationPolicy, bool) {
	return find(s.policies, func(p EscalationPolicy) bool { return p.ID == id })
}

// onCalls lists who is on call in a period, policy by policy and level by
// level.
func (s *Server) onCalls(since, until time.Time) []onCall {
	var all []onCall
	for _, policy := range s.policies {
		for i, level := range policy.Levels {
			for _, id := range level.Users {
				if u, ok := s.user(id); ok {
					all = append(all, onCall{user: u, policy: policy, level: i + 1})
				}
			}
			for _, id := range level.Schedules {
				schedule, ok := find(s.schedules, func(c Schedule) bool { return c.ID == id })
				if !ok {
					continue
				}
				for _, shift := range schedule.final(since, until) {
					if u, ok := s.user(shift.UserID); ok {
						all = append(all, onCall{user: u, schedule: &schedule, policy: policy, level: i + 1, start: shift.Start, end: shift.End})
					}
				}
			}
		}
	}
	return all
}

func (c Shift) overlaps(since, until time.Time) bool {
	return (c.Start.IsZero() || !c.Start.After(until)) && (c.End.IsZero() || c.End.After(since))
}

func (s *Server) listOnCalls(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	since, until, bad := period(r, now, now)
	if bad != nil {
		return *bad
	}
	if until.Before(since) {
		return envelope(http.StatusBadRequest, codeInvalidInput, "Invalid Input Provided", "Until must be after since.")
	}
	all := slices.DeleteFunc(s.onCalls(since, until), func(c onCall) bool {
		schedule := ""
		if c.schedule != nil {
			schedule = c.schedule.ID
		}
		return !wanted(r, "user_ids[]", c.user.ID) || !wanted(r, "escalation_policy_ids[]", c.policy.ID) ||
			!wanted(r, "schedule_ids[]", schedule)
	})
	if r.Query.Get("earliest") == "true" {
		seen := make(map[string]bool)
		all = slices.DeleteFunc(all, func(c onCall) bool {
			key := c.user.ID + " " + c.policy.ID + " " + string(rune('0'+c.level))
			again := seen[key]
			seen[key] = true
			return again
		})
	}
	return paginate(r, "oncalls", all, func(c onCall) object {
		entry := object{
			"user":              s.reference("user", c.user.ID, c.user.Name),
			"escalation_policy": s.reference("escalation_policy", c.policy.ID, c.policy.Name),
			"escalation_level":  c.level,
		}
		if c.user.orphan {
			gone := s.reference("user", c.user.ID, c.user.Name)
			gone["html_url"] = nil
			entry["user"] = gone
		} else if slices.Contains(r.Query["include[]"], "users") {
			entry["user"] = s.renderUser(c.user)
		}
		if c.schedule != nil {
			entry["schedule"] = s.reference("schedule", c.schedule.ID, c.schedule.Name)
		}
		if !c.start.IsZero() {
			entry["start"] = stamp(c.start)
		}
		if !c.end.IsZero() {
			entry["end"] = stamp(c.end)
		}
		return entry
	})
}

// wanted is true when a list filter is absent or holds the value.
func wanted(r *rest.Request, filter, value string) bool {
	values, ok := r.Query[filter]
	return !ok || slices.Contains(values, value)
}

func (s *Server) listUsers(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := strings.ToLower(r.Query.Get("query"))
	users := slices.DeleteFunc(slices.Clone(s.users), func(u User) bool {
		return u.orphan || !strings.Contains(strings.ToLower(u.Name), query) && !strings.Contains(strings.ToLower(u.Email), query)
	})
	return paginate(r, "users", users, s.renderUser)
}

func (s *Server) getUser(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, found := s.user(r.Vars["id"])
	if !found || u.orphan {
		return failure(http.StatusNotFound)
	}
	return ok(object{"user": s.renderUser(u)})
}

func (s *Server) renderUser(u User) object {
	o := s.reference("user", u.ID, u.Name)
	o["type"], o["name"], o["email"], o["role"], o["time_zone"] = "user", u.Name, u.Email, "user", "Etc/UTC"
	return o
}

func (s *Server) listServices(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := strings.ToLower(r.Query.Get("query"))
	services := slices.DeleteFunc(slices.Clone(s.services), func(v Service) bool {
		name := strings.ToLower(v.Name)
		return !strings.Contains(name, query) || (r.Query.Has("name") && !strings.EqualFold(v.Name, r.Query.Get("name")))
	})
	return paginate(r, "services", services, s.renderService)
}

func (s *Server) getService(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, found := s.service(r.Vars["id"])
	if !found {
		return failure(http.StatusNotFound)
	}
	return ok(object{"service": s.renderService(v)})
}

func (s *Server) renderService(v Service) object {
	o := s.reference("service", v.ID, v.Name)
	o["type"], o["name"], o["status"] = "service", v.Name, "active"
	if p, ok := s.policy(v.PolicyID); ok {
		o["escalation_policy"] = s.reference("escalation_policy", p.ID, p.Name)
	}
	teams := []object{}
	for _, id := range v.Teams {
		teams = append(teams, s.reference("team", id, id))
	}
	o["teams"] = teams
	return o
}

func (s *Server) listTeamMembers(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	team, found := find(s.teams, func(t Team) bool { return t.ID == r.Vars["id"] })
	if !found {
		return failure(http.StatusNotFound)
	}
	return paginate(r, "members", team.Members, func(m Member) object {
		u, _ := s.user(m.UserID)
		return object{"user": s.reference("user", m.UserID, u.Name), "role": cmp.Or(m.Role, "responder")}
	})
}

func (s *Server) getPolicy(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, found := s.policy(r.Vars["id"])
	if !found {
		return failure(http.StatusNotFound)
	}
	rules := make([]object, 0, len(p.Levels))
	for i, level := range p.Levels {
		targets := []object{}
		for _, id := range level.Users {
			u, _ := s.user(id)
			targets = append(targets, s.reference("user", id, u.Name))
		}
		for _, id := range level.Schedules {
			targets = append(targets, s.reference("schedule", id, id))
		}
		delay := int(level.Delay.Minutes())
		if delay == 0 {
			delay = 30
		}
		rules = append(rules, object{
			"id": p.ID + "R" + string(rune('1'+i)), "escalation_delay_in_minutes": delay, "targets": targets,
		})
	}
	o := s.reference("escalation_policy", p.ID, p.Name)
	o["type"], o["name"], o["escalation_rules"], o["num_loops"] = "escalation_policy", p.Name, rules, 0
	return ok(object{"escalation_policy": o})
}

func (s *Server) listScheduleUsers(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	since, until, bad := period(r, now, now)
	if bad != nil {
		return *bad
	}
	schedule, found := find(s.schedules, func(c Schedule) bool { return c.ID == r.Vars["id"] })
	if !found {
		return failure(http.StatusNotFound)
	}
	users := []object{}
	for _, shift := range schedule.final(since, until) {
		if u, ok := s.user(shift.UserID); ok {
			users = append(users, s.renderUser(u))
		}
	}
	return ok(object{"users": users})
}
