package fakegithub

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// Issue is a snapshot of an issue or of a pull request.
type Issue struct {
	Number      int
	Title, Body string
	// State is open or closed; Reason is empty, completed, not_planned,
	// duplicate or reopened.
	State, Reason string
	Author        string
	Labels        []string
	Assignees     []string
	CreatedAt     time.Time
	UpdatedAt     time.Time
	// ClosedAt is zero while it is open.
	ClosedAt time.Time
	// Locked says that only people who may write to the repository can comment.
	Locked bool
	// Pull is set for a pull request.
	Pull *Pull
	id   int64
	// deleted says that it was taken away, movedTo and movedAs where it is now.
	deleted bool
	movedTo *repo
	movedAs int
}

// Pull is what a pull request has beyond an issue.
type Pull struct {
	Head, Base string
	// MergeSHA and MergedAt are empty until it is merged.
	MergeSHA string
	MergedAt time.Time
}

// Comment is a comment on an issue.
type Comment struct {
	ID           int64
	Issue        int
	Author, Body string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Label is a label of a repository.
type Label struct {
	Name, Color, Description string
	id                       int64
}

// Issues returns snapshots of a repository's issues, without pull requests,
// by number.
func (s *Server) Issues(full string) []Issue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Issue
	for _, i := range s.repo(full).live() {
		if i.Pull == nil {
			c := *i
			c.Labels, c.Assignees = slices.Clone(i.Labels), slices.Clone(i.Assignees)
			out = append(out, c)
		}
	}
	return out
}

// Comments returns the comments on an issue in order.
func (s *Server) Comments(full string, number int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Comment
	for _, c := range s.repo(full).comments {
		if c.Issue == number {
			out = append(out, *c)
		}
	}
	return out
}

// EditIssue changes an issue's text as a person in GitHub's page would.
func (s *Server) EditIssue(full string, number int, edit func(*Issue)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.repo(full).issue(number)
	if i == nil {
		return fmt.Errorf("edit issue %d of %q: no such issue", number, full)
	}
	edit(i)
	i.UpdatedAt = s.cfg.Now()
	return nil
}

// AddIssue adds an issue, or a pull request when i.Pull is set, and returns
// its number.
func (s *Server) AddIssue(full string, i Issue) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addIssue(s.repo(full), i).Number
}

func (s *Server) addIssue(p *repo, i Issue) *Issue {
	now := s.cfg.Now()
	i.id, i.Number = s.newID(), len(p.issues)+1
	if i.State == "" {
		i.State = "open"
	}
	if i.CreatedAt.IsZero() {
		i.CreatedAt = now
	}
	if i.UpdatedAt.IsZero() {
		i.UpdatedAt = i.CreatedAt
	}
	for _, name := range i.Labels {
		s.ensureLabel(p, name)
	}
	p.issues = append(p.issues, &i)
	return &i
}

func (p *repo) issue(number int) *Issue {
	if number < 1 || number > len(p.issues) {
		return nil
	}
	if i := p.issues[number-1]; !i.gone() {
		return i
	}
	return nil
}

func (s *Server) listIssues(r *rest.Request, p *repo) rest.Reply {
	state := r.Query.Get("state")
	if state == "" {
		state = "open"
	}
	since, bad := sinceOf(r)
	if bad != nil {
		return *bad
	}
	var all []*Issue
	for _, i := range p.live() {
		if (state != "all" && i.State != state) || i.UpdatedAt.Before(since) || !i.hasLabels(r.Query.Get("labels")) {
			continue
		}
		if creator := r.Query.Get("creator"); creator != "" && !strings.EqualFold(creator, i.Author) {
			continue
		}
		all = append(all, i)
	}
	order(r, all, func(i *Issue) time.Time {
		if r.Query.Get("sort") == "updated" {
			return i.UpdatedAt
		}
		return i.CreatedAt
	})
	return list(s, r, all, func(i *Issue) object { return s.renderIssue(p, i) })
}

// order sorts newest first unless the request says asc; equal times keep the
// order of creation.
func order[T any](r *rest.Request, all []T, at func(T) time.Time) {
	slices.SortStableFunc(all, func(a, b T) int { return at(a).Compare(at(b)) })
	if r.Query.Get("direction") != "asc" {
		slices.Reverse(all)
	}
}

func sinceOf(r *rest.Request) (time.Time, *rest.Reply) {
	v := r.Query.Get("since")
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		reply := invalid(object{"resource": "Issue", "field": "since", "code": "invalid"})
		return t, &reply
	}
	return t, nil
}

// hasLabels is true when the issue has every label of a comma-separated list.
func (i *Issue) hasLabels(names string) bool {
	if names == "" {
		return true
	}
	for name := range strings.SplitSeq(names, ",") {
		if !slices.ContainsFunc(i.Labels, func(l string) bool { return strings.EqualFold(l, name) }) {
			return false
		}
	}
	return true
}

func (s *Server) getIssue(r *rest.Request, p *repo) rest.Reply {
	i := p.issue(number(r, "issue_number"))
	if i == nil {
		return s.elsewhere(p, number(r, "issue_number"), "")
	}
	return ok(s.renderIssue(p, i))
}

func (s *Server) createIssue(r *rest.Request, p *repo) rest.Reply {
	i := Issue{Author: r.Actor}
	if bad := i.edit(r.Body); bad != nil {
		return *bad
	}
	if strings.TrimSpace(i.Title) == "" {
		return invalid(object{"resource": "Issue", "field": "title", "code": "missing_field"})
	}
	return created(s.renderIssue(p, s.addIssue(p, i)))
}

func (s *Server) updateIssue(r *rest.Request, p *repo) rest.Reply {
	i := p.issue(number(r, "issue_number"))
	if i == nil {
		return s.elsewhere(p, number(r, "issue_number"), "")
	}
	edited := *i
	if bad := edited.edit(r.Body); bad != nil {
		return *bad
	}
	now := s.cfg.Now()
	if edited.State != i.State {
		edited.ClosedAt = time.Time{}
		if edited.State == "closed" {
			edited.ClosedAt = now
		}
	}
	edited.UpdatedAt = now
	*i = edited
	for _, name := range i.Labels {
		s.ensureLabel(p, name)
	}
	return ok(s.renderIssue(p, i))
}

// edit applies the fields of a request and refuses what GitHub refuses.
func (i *Issue) edit(body object) *rest.Reply {
	if v, ok := body["title"].(string); ok {
		i.Title = v
	}
	if v, ok := body["body"].(string); ok {
		i.Body = v
	}
	if v, ok := body["state"].(string); ok {
		i.State, i.Reason = v, ""
		if v == "closed" {
			i.Reason = "completed"
		}
	}
	if v, ok := body["state_reason"].(string); ok {
		i.Reason = v
	}
	if v, ok := body["labels"].([]any); ok {
		i.Labels = names(v, "name")
	}
	if v, ok := body["assignees"].([]any); ok {
		i.Assignees = names(v, "login")
	}
	if utf8.RuneCountInString(i.Body) > maxBody {
		reply := invalid(custom("Issue", "body", "body is too long (maximum is 65536 characters)"))
		return &reply
	}
	if utf8.RuneCountInString(i.Title) > maxTitle {
		reply := invalid(custom("Issue", "title", "title is too long (maximum is 256 characters)"))
		return &reply
	}
	return nil
}

// names reads a list whose items are texts or objects with a name.
func names(items []any, key string) []string {
	var out []string
	for _, item := range items {
		if name, ok := item.(string); ok {
			out = append(out, name)
		} else if o, ok := item.(object); ok {
			if name, ok := o[key].(string); ok {
				out = append(out, name)
			}
		}
	}
	return out
}

func (s *Server) listComments(r *rest.Request, p *repo) rest.Reply {
	n := number(r, "issue_number")
	if p.issue(n) == nil {
		return s.elsewhere(p, n, "/comments")
	}
	var all []*Comment
	for _, c := range p.comments {
		if c.Issue == n {
			all = append(all, c)
		}
	}
	return list(s, r, all, func(c *Comment) object { return s.renderComment(p, c) })
}

func (s *Server) createComment(r *rest.Request, p *repo) rest.Reply {
	n := number(r, "issue_number")
	i := p.issue(n)
	if i == nil {
		return s.elsewhere(p, n, "/comments")
	}
	if i.Locked && !slices.Contains(s.cfg.Maintainers, r.Actor) {
		// Source: https://docs.github.com/communities/moderating-comments-and-conversations/locking-conversations
		return message(http.StatusForbidden, "Unable to create comment because issue is locked.")
	}
	now := s.cfg.Now()
	c := &Comment{ID: s.newID(), Issue: n, Author: r.Actor, CreatedAt: now, UpdatedAt: now}
	if bad := c.edit(r.Body); bad != nil {
		return *bad
	}
	p.comments = append(p.comments, c)
	return created(s.renderComment(p, c))
}

func (s *Server) updateComment(r *rest.Request, p *repo) rest.Reply {
	id := int64(number(r, "comment_id"))
	i := slices.IndexFunc(p.comments, func(c *Comment) bool { return c.ID == id })
	if i < 0 {
		return notFound()
	}
	edited := *p.comments[i]
	if bad := edited.edit(r.Body); bad != nil {
		return *bad
	}
	edited.UpdatedAt = s.cfg.Now()
	*p.comments[i] = edited
	return ok(s.renderComment(p, p.comments[i]))
}

func (c *Comment) edit(body object) *rest.Reply {
	c.Body, _ = body["body"].(string)
	if strings.TrimSpace(c.Body) == "" {
		reply := invalid(object{"resource": "IssueComment", "field": "body", "code": "missing_field"})
		return &reply
	}
	if utf8.RuneCountInString(c.Body) > maxBody {
		reply := invalid(custom("IssueComment", "body", "body is too long (maximum is 65536 characters)"))
		return &reply
	}
	return nil
}

func (s *Server) ensureLabel(p *repo, name string) {
	if !slices.ContainsFunc(p.labels, func(l Label) bool { return strings.EqualFold(l.Name, name) }) {
		p.labels = append(p.labels, Label{Name: name, Color: "ededed", id: s.newID()})
	}
}

func (s *Server) listLabels(r *rest.Request, p *repo) rest.Reply {
	return list(s, r, p.labels, func(l Label) object { return s.renderLabel(p, l) })
}

func (s *Server) createLabel(r *rest.Request, p *repo) rest.Reply {
	l := Label{id: s.newID(), Color: "ededed"}
	l.Name, _ = r.Body["name"].(string)
	if v, ok := r.Body["color"].(string); ok {
		l.Color = v
	}
	l.Description, _ = r.Body["description"].(string)
	if slices.ContainsFunc(p.labels, func(o Label) bool { return strings.EqualFold(o.Name, l.Name) }) {
		return invalid(object{"resource": "Label", "field": "name", "code": "already_exists"})
	}
	p.labels = append(p.labels, l)
	return created(s.renderLabel(p, l))
}

func number(r *rest.Request, name string) int {
	n, err := strconv.Atoi(r.Vars[name])
	if err != nil {
		return 0
	}
	return n
}
