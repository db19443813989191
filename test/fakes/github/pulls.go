package fakegithub

import (
	"net/http"
	"slices"
	"strings"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// Protect protects a branch: it takes merges of pull requests alone, and none as
// long as a reason is given.
func (s *Server) Protect(full, branch, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(full).protected[branch] = reason
}

// Pulls returns snapshots of a repository's pull requests, by number.
func (s *Server) Pulls(full string) []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Issue
	for _, i := range s.repo(full).live() {
		if i.Pull != nil {
			c, pull := *i, *i.Pull
			c.Pull = &pull
			out = append(out, c)
		}
	}
	return out
}

func (s *Server) createPull(r *rest.Request, p *repo) rest.Reply {
	refused := func(item object) rest.Reply { return invalid(item) }
	head, _ := r.Body["head"].(string)
	head = strings.TrimPrefix(head, p.owner+":")
	base, _ := r.Body["base"].(string)
	from, ok1 := p.lookUp(head)
	onto, ok2 := p.lookUp(base)
	i := Issue{Author: r.Actor, Pull: &Pull{Head: head, Base: base}}
	if bad := i.edit(r.Body); bad != nil {
		return *bad
	}
	switch {
	case !ok1 || sha.MatchString(head):
		return refused(object{"resource": "PullRequest", "field": "head", "code": "invalid"})
	case !ok2 || sha.MatchString(base):
		return refused(object{"resource": "PullRequest", "field": "base", "code": "invalid"})
	case strings.TrimSpace(i.Title) == "":
		return refused(object{"resource": "PullRequest", "field": "title", "code": "missing_field"})
	case p.ancestor(from, onto):
		return refused(custom("PullRequest", "", "No commits between "+base+" and "+head))
	case slices.ContainsFunc(p.live(), func(other *Issue) bool {
		return other.Pull != nil && other.State == "open" && other.Pull.Head == head && other.Pull.Base == base
	}):
		return refused(custom("PullRequest", "", "A pull request already exists for "+p.owner+":"+head+"."))
	}
	return created(s.renderPull(p, s.addIssue(p, i), true))
}

// pull finds the pull request of the path.
func (p *repo) pull(r *rest.Request) *Issue {
	i := p.issue(number(r, "pull_number"))
	if i == nil || i.Pull == nil {
		return nil
	}
	return i
}

func (s *Server) updatePull(r *rest.Request, p *repo) rest.Reply {
	i := p.pull(r)
	if i == nil {
		return notFound()
	}
	edited := *i
	if bad := edited.edit(r.Body); bad != nil {
		return *bad
	}
	if edited.State != i.State && i.Pull.MergeSHA != "" {
		return invalid(custom("PullRequest", "state", "state cannot be changed. The pull request is merged."))
	}
	edited.UpdatedAt = s.cfg.Now()
	if edited.State == "closed" && i.State == "open" {
		edited.ClosedAt = edited.UpdatedAt
	}
	*i = edited
	return ok(s.renderPull(p, i, true))
}

// mergePull merges as the branch's protection allows.
// Source: https://docs.github.com/rest/pulls/pulls#merge-a-pull-request
func (s *Server) mergePull(r *rest.Request, p *repo) rest.Reply {
	i := p.pull(r)
	if i == nil {
		return notFound()
	}
	head, ok1 := p.lookUp(i.Pull.Head)
	base, ok2 := p.lookUp(i.Pull.Base)
	expected, given := r.Body["sha"].(string)
	reason := p.protected[i.Pull.Base]
	switch {
	case i.State != "open" || !ok1 || !ok2:
		return message(http.StatusMethodNotAllowed, "Pull Request is not mergeable")
	case given && expected != head:
		return message(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
	case reason != "":
		return message(http.StatusMethodNotAllowed, reason)
	}
	out, err := p.ask(nil, nil, "merge-tree", "--write-tree", base, head)
	if err != nil {
		return message(http.StatusMethodNotAllowed, "Pull Request is not mergeable")
	}
	tree, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	parents := []string{base, head}
	if method, _ := r.Body["merge_method"].(string); method == "squash" || method == "rebase" {
		parents = parents[:1]
	}
	hash, err := p.writeCommit(tree, i.Title, r.Actor, s.cfg.Now(), parents...)
	if err == nil {
		_, err = p.ask(nil, nil, "update-ref", "refs/heads/"+i.Pull.Base, hash, base)
	}
	if err != nil {
		return message(http.StatusConflict, "Base branch was modified. Review and try the merge again.")
	}
	s.closeMerged(i, hash)
	return ok(object{"sha": hash, "merged": true, "message": "Pull Request successfully merged"})
}

func (s *Server) closeMerged(i *Issue, hash string) {
	now := s.cfg.Now()
	i.State, i.ClosedAt, i.UpdatedAt, i.Pull.MergedAt, i.Pull.MergeSHA = "closed", now, now, now, hash
}

// mergeReached marks the pull requests into a branch whose commits it has now as
// merged, as GitHub does.
func (s *Server) mergeReached(p *repo, branch, tip string) {
	for _, i := range p.live() {
		if i.Pull == nil || i.State != "open" || i.Pull.Base != branch {
			continue
		}
		if head, found := p.lookUp(i.Pull.Head); found && p.ancestor(head, tip) {
			s.closeMerged(i, head)
		}
	}
}
