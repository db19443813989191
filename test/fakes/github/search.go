package fakegithub

import (
	"net/http"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// searchIssues finds words in titles and bodies; repo:, is:, state:, label:
// and in: qualify. A new issue is found only after the index's lag.
func (s *Server) searchIssues(r *rest.Request) rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.Query.Get("q")
	if strings.TrimSpace(q) == "" {
		return invalid(object{"resource": "Search", "field": "q", "code": "missing"})
	}
	type hit struct {
		p *repo
		i *Issue
	}
	var hits []hit
	for _, p := range s.repos {
		for _, i := range p.live() {
			if s.cfg.Now().Sub(i.CreatedAt) >= s.cfg.SearchLag && i.answers(p, q) {
				hits = append(hits, hit{p, i})
			}
		}
	}
	order(r, hits, func(h hit) time.Time { return h.i.CreatedAt })
	page, header := paginate(s, r, hits, func(h hit) object {
		o := s.renderIssue(h.p, h.i)
		o["score"] = 1
		return o
	})
	return rest.Reply{Status: http.StatusOK, Header: header, Body: object{
		"total_count": len(hits), "incomplete_results": false, "items": page, "search_type": "lexical",
	}}
}

func (i *Issue) answers(p *repo, q string) bool {
	for term := range strings.FieldsSeq(q) {
		key, value, qualified := strings.Cut(term, ":")
		value = strings.Trim(value, `"`)
		switch {
		case qualified && key == "repo":
			if !strings.EqualFold(value, p.owner+"/"+p.name) {
				return false
			}
		case qualified && (key == "is" || key == "state"):
			isPull := value == "pr" || value == "pull-request"
			if (value == "issue" && i.Pull != nil) || (isPull && i.Pull == nil) || ((value == "open" || value == "closed") && i.State != value) {
				return false
			}
		case qualified && key == "label":
			if !i.hasLabels(value) {
				return false
			}
		case qualified && key == "in":
		default:
			if !strings.Contains(strings.ToLower(i.Title+" "+i.Body), strings.ToLower(strings.Trim(term, `"`))) {
				return false
			}
		}
	}
	return true
}
