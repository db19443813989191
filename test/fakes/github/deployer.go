package fakegithub

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// advance brings a deployment that was asked for one step further: queued, in
// progress, success.
func (s *Server) advance(p *repo, d *Deployment) {
	if !s.cfg.Deploys || !d.requested {
		return
	}
	next := map[string]string{"": "queued", "pending": "queued", "queued": "in_progress", "in_progress": "success"}[d.word()]
	if next == "" {
		return // It has ended.
	}
	st := DeploymentStatus{ID: s.newID(), State: next, Creator: "deployer[bot]", CreatedAt: s.cfg.Now()}
	d.Statuses, d.UpdatedAt = append(d.Statuses, st), st.CreatedAt
	if next == "success" {
		s.retire(p, d, st)
	}
}

// word is the newest status, empty when there is none.
func (d *Deployment) word() string {
	if len(d.Statuses) == 0 {
		return ""
	}
	return d.Statuses[len(d.Statuses)-1].State
}

// Withdrawn reports whether a deployment was made inactive before it succeeded.
func (d *Deployment) Withdrawn() bool {
	return d.word() == "inactive" && !slices.ContainsFunc(d.Statuses, func(st DeploymentStatus) bool { return st.State == "success" })
}

// RemoveDeployment takes a deployment out of the history, whatever its state.
func (s *Server) RemoveDeployment(full string, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.repo(full)
	p.deployments = slices.DeleteFunc(p.deployments, func(d *Deployment) bool { return d.ID == id })
}

// deleteDeployment refuses an active deployment unless it is the only one.
// Source: https://docs.github.com/rest/deployments/deployments#delete-a-deployment
func (s *Server) deleteDeployment(r *rest.Request, p *repo) rest.Reply {
	d := p.deployment(r)
	switch {
	case d == nil:
		return notFound()
	case d.word() != "inactive" && len(p.deployments) > 1:
		return message(http.StatusUnprocessableEntity, "We cannot delete an active deployment unless it is the only deployment in a given environment.")
	}
	p.deployments = slices.DeleteFunc(p.deployments, func(other *Deployment) bool { return other == d })
	return rest.Reply{Status: http.StatusNoContent}
}

// SetStatus adds a status to a deployment, as whoever deploys it would.
func (s *Server) SetStatus(full string, id int64, st DeploymentStatus) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.repo(full).deployments {
		if d.ID == id {
			st.ID = s.newID()
			if st.CreatedAt.IsZero() {
				st.CreatedAt = s.cfg.Now()
			}
			d.Statuses, d.UpdatedAt = append(d.Statuses, st), st.CreatedAt
			return nil
		}
	}
	return fmt.Errorf("set status of deployment %d of %q: no such deployment", id, full)
}
