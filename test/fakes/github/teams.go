package fakegithub

import (
	"strings"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// Team is a team of an organisation.
type Team struct {
	// Org and Slug name it; Name is for people and may be empty.
	Org, Slug, Name string
	// Members are the states of memberships by login: active or pending.
	Members map[string]string
	// Secret hides it from those who are not in the organisation, as a token
	// without the right to read members is.
	Secret bool
}

// AddTeam adds or replaces a team.
func (s *Server) AddTeam(t Team) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.teams == nil {
		s.teams = map[string]*Team{}
	}
	s.teams[teamKey(t.Org, t.Slug)] = &t
}

func teamKey(org, slug string) string { return strings.ToLower(org) + "/" + slug }

// inTeam finds the request's team and serves under the lock.
func (s *Server) inTeam(serve func(*rest.Request, *Team) rest.Reply) func(*rest.Request) rest.Reply {
	return func(r *rest.Request) rest.Reply {
		s.mu.Lock()
		defer s.mu.Unlock()
		found := s.teams[teamKey(r.Vars["org"], r.Vars["team_slug"])]
		if found == nil || found.Secret {
			return notFound()
		}
		return serve(r, found)
	}
}

func (s *Server) getTeam(_ *rest.Request, t *Team) rest.Reply {
	name := t.Name
	if name == "" {
		name = t.Slug
	}
	url := s.URL() + "/orgs/" + t.Org + "/teams/" + t.Slug
	return ok(object{
		"id": 1, "node_id": node("T", 1), "url": url, "html_url": url, "name": name, "slug": t.Slug, "description": nil,
		"privacy": "closed", "notification_setting": "notifications_enabled", "permission": "pull", "members_url": url + "/members{/member}",
		"repositories_url": url + "/repos", "parent": nil, "members_count": len(t.Members), "repos_count": 0,
		"created_at": stamp(s.cfg.Now()), "updated_at": stamp(s.cfg.Now()), "type": "organization",
		"organization": object{"login": t.Org, "id": 1, "node_id": node("O", 1), "url": s.URL() + "/orgs/" + t.Org},
	})
}

func (s *Server) getMembership(r *rest.Request, t *Team) rest.Reply {
	for login, state := range t.Members {
		if strings.EqualFold(login, r.Vars["username"]) {
			return ok(object{"url": s.URL() + "/teams/1/memberships/" + login, "role": "member", "state": state})
		}
	}
	return notFound()
}
