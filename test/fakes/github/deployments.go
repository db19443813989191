package fakegithub

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// Deployment is a snapshot of a deployment.
type Deployment struct {
	ID int64
	// Ref is what was asked for; SHA is what it was at that moment.
	Ref, SHA    string
	Task        string
	Environment string
	Description string
	Creator     string
	Payload     any
	Production  bool
	Transient   bool
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Statuses    []DeploymentStatus
	// requested says that it was created through the API.
	requested bool
}

// DeploymentStatus is one status of a deployment.
type DeploymentStatus struct {
	ID int64
	// State is error, failure, inactive, in_progress, queued, pending or
	// success.
	State       string
	Description string
	Creator     string
	LogURL      string
	CreatedAt   time.Time
}

// AddDeployment records a deployment with its statuses and returns its ID.
func (s *Server) AddDeployment(full string, d Deployment) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.CreatedAt.IsZero() {
		d.CreatedAt = s.cfg.Now()
	}
	for i := range d.Statuses {
		d.Statuses[i].ID = s.newID()
		if d.Statuses[i].CreatedAt.IsZero() {
			d.Statuses[i].CreatedAt = d.CreatedAt
		}
		if d.Statuses[i].Creator == "" {
			d.Statuses[i].Creator = d.Creator
		}
	}
	return s.addDeployment(s.repo(full), d).ID
}

// Deployments returns snapshots of a repository's deployments, oldest first.
func (s *Server) Deployments(full string) []Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Deployment
	for _, d := range s.repo(full).deployments {
		c := *d
		c.Statuses = slices.Clone(d.Statuses)
		out = append(out, c)
	}
	return out
}

func (s *Server) addDeployment(p *repo, d Deployment) *Deployment {
	d.ID = s.newID()
	if d.Task == "" {
		d.Task = "deploy"
	}
	if d.Environment == "" {
		d.Environment = "production"
	}
	d.UpdatedAt = d.CreatedAt
	p.deployments = append(p.deployments, &d)
	return &d
}

func (s *Server) listDeployments(r *rest.Request, p *repo) rest.Reply {
	var all []*Deployment
	for _, d := range slices.Backward(p.deployments) {
		if unless(r, "sha", d.SHA) && unless(r, "ref", d.Ref) && unless(r, "task", d.Task) && unless(r, "environment", d.Environment) {
			all = append(all, d)
		}
	}
	return list(s, r, all, func(d *Deployment) object { return s.renderDeployment(p, d) })
}

// unless is true when a filter is absent or "none", or equals the value.
func unless(r *rest.Request, filter, value string) bool {
	v := r.Query.Get(filter)
	return v == "" || v == "none" || v == value
}

func (p *repo) deployment(r *rest.Request) *Deployment {
	id := int64(number(r, "deployment_id"))
	if i := slices.IndexFunc(p.deployments, func(d *Deployment) bool { return d.ID == id }); i >= 0 {
		return p.deployments[i]
	}
	return nil
}

func (s *Server) getDeployment(r *rest.Request, p *repo) rest.Reply {
	d := p.deployment(r)
	if d == nil {
		return notFound()
	}
	return ok(s.renderDeployment(p, d))
}

func (s *Server) createDeployment(r *rest.Request, p *repo) rest.Reply {
	d := Deployment{Creator: r.Actor, CreatedAt: s.cfg.Now(), requested: true}
	d.Ref, _ = r.Body["ref"].(string)
	d.Task, _ = r.Body["task"].(string)
	d.Environment, _ = r.Body["environment"].(string)
	d.Description, _ = r.Body["description"].(string)
	d.Payload = r.Body["payload"]
	d.Transient, _ = r.Body["transient_environment"].(bool)
	production, said := r.Body["production_environment"].(bool)
	d.Production = production || (!said && (d.Environment == "" || d.Environment == "production"))
	sha, found := p.resolve(d.Ref)
	if !found {
		return message(http.StatusUnprocessableEntity, "No ref found for: "+d.Ref)
	}
	d.SHA = sha
	return created(s.renderDeployment(p, s.addDeployment(p, d)))
}

func (s *Server) listStatuses(r *rest.Request, p *repo) rest.Reply {
	d := p.deployment(r)
	if d == nil {
		return notFound()
	}
	statuses := slices.Clone(d.Statuses)
	slices.Reverse(statuses)
	defer s.advance(p, d)
	return list(s, r, statuses, func(st DeploymentStatus) object { return s.renderStatus(p, d, st) })
}

func (s *Server) createStatus(r *rest.Request, p *repo) rest.Reply {
	d := p.deployment(r)
	if d == nil {
		return notFound()
	}
	st := DeploymentStatus{ID: s.newID(), Creator: r.Actor, CreatedAt: s.cfg.Now()}
	st.State, _ = r.Body["state"].(string)
	st.Description, _ = r.Body["description"].(string)
	st.LogURL, _ = r.Body["log_url"].(string)
	const maxDescription = 140 // Characters; GitHub answers 422 above it.
	if len([]rune(st.Description)) > maxDescription {
		return invalid(custom("DeploymentStatus", "description", "description is too long (maximum is 140 characters)"))
	}
	d.Statuses, d.UpdatedAt = append(d.Statuses, st), st.CreatedAt
	auto, said := r.Body["auto_inactive"].(bool)
	if st.State == "success" && (auto || !said) {
		s.retire(p, d, st)
	}
	return created(s.renderStatus(p, d, st))
}

// retire makes earlier deployments to the same environment inactive, except
// transient and production ones, as GitHub does.
func (s *Server) retire(p *repo, by *Deployment, st DeploymentStatus) {
	for _, d := range p.deployments {
		if d == by || d.Environment != by.Environment || d.Transient || d.Production || len(d.Statuses) == 0 {
			continue
		}
		if d.Statuses[len(d.Statuses)-1].State == "success" {
			d.Statuses = append(d.Statuses, DeploymentStatus{ID: s.newID(), State: "inactive", Creator: st.Creator, CreatedAt: st.CreatedAt})
		}
	}
}

// sha is a full commit hash.
var sha = regexp.MustCompile(`^[0-9a-f]{40}$`)

// resolve finds the commit of a branch, tag or hash. A repository without
// commits takes any full hash.
func (p *repo) resolve(ref string) (string, bool) {
	if p.git != "" {
		return p.lookUp(ref)
	}
	if tag, ok := p.tags[ref]; ok {
		return tag, true
	}
	if (ref == "main" || ref == "HEAD") && len(p.commits) > 0 {
		return p.commits[len(p.commits)-1].SHA, true
	}
	for _, c := range p.commits {
		if len(ref) >= 7 && strings.HasPrefix(c.SHA, ref) {
			return c.SHA, true
		}
	}
	if len(p.commits) == 0 && sha.MatchString(ref) {
		return ref, true
	}
	return "", false
}

func (s *Server) renderDeployment(p *repo, d *Deployment) object {
	url := fmt.Sprintf("%s/deployments/%d", s.api(p), d.ID)
	var payload any = object{}
	if d.Payload != nil {
		payload = d.Payload
	}
	return object{
		"id": d.ID, "node_id": node("DE", d.ID), "sha": d.SHA, "ref": d.Ref, "task": d.Task, "payload": payload,
		"original_environment": d.Environment, "environment": d.Environment, "description": d.Description,
		"creator": s.user(d.Creator), "created_at": stamp(d.CreatedAt), "updated_at": stamp(d.UpdatedAt),
		"statuses_url": url + "/statuses", "repository_url": s.api(p), "url": url,
		"transient_environment": d.Transient, "production_environment": d.Production,
	}
}

func (s *Server) renderStatus(p *repo, d *Deployment, st DeploymentStatus) object {
	url := fmt.Sprintf("%s/deployments/%d", s.api(p), d.ID)
	return object{
		"id": st.ID, "node_id": node("DES", st.ID), "state": st.State, "creator": s.user(st.Creator),
		"description": st.Description, "environment": d.Environment, "target_url": st.LogURL, "log_url": st.LogURL,
		"created_at": stamp(st.CreatedAt), "updated_at": stamp(st.CreatedAt),
		"deployment_url": url, "repository_url": s.api(p), "url": fmt.Sprintf("%s/statuses/%d", url, st.ID),
	}
}
