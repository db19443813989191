package fakegithub

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// api is a repository's API address.
func (s *Server) api(p *repo) string { return s.URL() + "/repos/" + p.owner + "/" + p.name }

// web is a repository's address for a browser.
func (s *Server) web(p *repo) string { return s.URL() + "/page/" + p.owner + "/" + p.name }

// addresses fills the many URL fields of GitHub's objects: "x" becomes
// "x_url" with the value base/x.
func addresses(o object, base string, names ...string) object {
	for _, name := range names {
		o[name+"_url"] = base + "/" + name
	}
	return o
}

func (s *Server) user(login string) object {
	base := s.URL() + "/users/" + login
	o := object{
		"login": login, "id": 1 + len(login), "node_id": node("U", int64(len(login))), "avatar_url": "", "gravatar_id": "",
		"url": base, "html_url": s.URL() + "/page/" + login, "type": "User", "site_admin": false,
	}
	if strings.HasSuffix(login, "[bot]") {
		o["type"] = "Bot"
	}
	return addresses(o, base, "events", "followers", "following", "gists", "organizations", "received_events", "repos", "starred", "subscriptions")
}

func (s *Server) getUser(r *rest.Request) rest.Reply {
	o := s.user(r.Actor)
	for _, name := range []string{"bio", "blog", "company", "email", "hireable", "location", "name"} {
		o[name] = nil
	}
	for _, name := range []string{"followers", "following", "public_gists", "public_repos"} {
		o[name] = 0
	}
	o["created_at"], o["updated_at"] = stamp(time.Unix(0, 0)), stamp(time.Unix(0, 0))
	return ok(o)
}

func (s *Server) getRepo(_ *rest.Request, p *repo) rest.Reply {
	return ok(s.renderRepo(p))
}

func (s *Server) renderRepo(p *repo) object {
	open := 0
	for _, i := range p.live() {
		if i.State == "open" {
			open++
		}
	}
	o := object{
		"id": p.id, "node_id": node("R", p.id), "name": p.name, "full_name": p.owner + "/" + p.name,
		"owner": s.user(p.owner), "private": true, "fork": false, "default_branch": "main", "visibility": "private",
		"url": s.api(p), "html_url": s.web(p), "clone_url": s.web(p) + ".git", "git_url": s.web(p) + ".git",
		"ssh_url": s.web(p) + ".git", "svn_url": s.web(p), "mirror_url": nil,
		"description": nil, "homepage": nil, "language": nil, "license": nil, "archived": false, "disabled": false,
		"allow_merge_commit": true, "allow_squash_merge": true, "allow_rebase_merge": true,
		"has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false, "has_discussions": false,
		"open_issues": open, "open_issues_count": open,
		"pushed_at": stamp(time.Unix(0, 0)), "created_at": stamp(time.Unix(0, 0)), "updated_at": stamp(time.Unix(0, 0)),
	}
	for _, name := range []string{"forks", "forks_count", "size", "stargazers_count", "watchers", "watchers_count", "network_count", "subscribers_count"} {
		o[name] = 0
	}
	return addresses(o, s.api(p), "archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare",
		"contents", "contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks",
		"issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones", "notifications", "pulls",
		"releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams", "trees")
}

func (s *Server) renderIssue(p *repo, i *Issue) object {
	base := fmt.Sprintf("%s/issues/%d", s.api(p), i.Number)
	labels, assignees := []object{}, []object{}
	for _, name := range i.Labels {
		for _, l := range p.labels {
			if strings.EqualFold(l.Name, name) {
				labels = append(labels, s.renderLabel(p, l))
			}
		}
	}
	for _, login := range i.Assignees {
		assignees = append(assignees, s.user(login))
	}
	comments := 0
	for _, c := range p.comments {
		if c.Issue == i.Number {
			comments++
		}
	}
	var reason, assignee any
	if i.Reason != "" {
		reason = i.Reason
	}
	if len(assignees) > 0 {
		assignee = assignees[0]
	}
	o := object{
		"id": i.id, "node_id": node("I", i.id), "number": i.Number, "title": i.Title, "body": i.Body,
		"state": i.State, "user": s.user(i.Author), "labels": labels, "assignee": assignee,
		"assignees": assignees, "milestone": nil, "locked": i.Locked, "comments": comments, "author_association": "MEMBER",
		"created_at": stamp(i.CreatedAt), "updated_at": stamp(i.UpdatedAt), "closed_at": orNull(i.ClosedAt),
		"url": base, "html_url": fmt.Sprintf("%s/issues/%d", s.web(p), i.Number), "repository_url": s.api(p),
	}
	if reason != nil {
		o["state_reason"] = reason
	}
	if i.Pull != nil {
		o["pull_request"] = object{"url": fmt.Sprintf("%s/pulls/%d", s.api(p), i.Number), "merged_at": orNull(i.Pull.MergedAt)}
	}
	return addresses(o, base, "comments", "events", "labels")
}

func (s *Server) renderComment(p *repo, c *Comment) object {
	issue := fmt.Sprintf("%s/issues/%d", s.api(p), c.Issue)
	return object{
		"id": c.ID, "node_id": node("IC", c.ID), "body": c.Body, "user": s.user(c.Author), "author_association": "MEMBER",
		"created_at": stamp(c.CreatedAt), "updated_at": stamp(c.UpdatedAt), "issue_url": issue,
		"url":      fmt.Sprintf("%s/issues/comments/%d", s.api(p), c.ID),
		"html_url": fmt.Sprintf("%s/issues/%d#issuecomment-%d", s.web(p), c.Issue, c.ID),
	}
}

func (s *Server) renderLabel(p *repo, l Label) object {
	return object{
		"id": l.id, "node_id": node("LA", l.id), "url": s.api(p) + "/labels/" + l.Name, "name": l.Name,
		"description": l.Description, "color": l.Color, "default": false,
	}
}

func (s *Server) renderPull(p *repo, i *Issue, full bool) object {
	o := s.renderIssue(p, i)
	for _, name := range []string{"events_url", "labels_url", "repository_url", "pull_request", "state_reason", "comments"} {
		delete(o, name)
	}
	base := fmt.Sprintf("%s/pulls/%d", s.api(p), i.Number)
	var merge any
	if i.Pull.MergeSHA != "" {
		merge = i.Pull.MergeSHA
	}
	side := func(ref string) object {
		hash, _ := p.resolve(ref)
		return object{"label": p.owner + ":" + ref, "ref": ref, "sha": hash, "user": s.user(p.owner), "repo": s.renderRepo(p)}
	}
	o["url"], o["html_url"] = base, fmt.Sprintf("%s/pull/%d", s.web(p), i.Number)
	o["issue_url"] = fmt.Sprintf("%s/issues/%d", s.api(p), i.Number)
	o["head"], o["base"], o["merge_commit_sha"], o["merged_at"] = side(i.Pull.Head), side(i.Pull.Base), merge, orNull(i.Pull.MergedAt)
	o["auto_merge"], o["_links"], o["draft"] = nil, object{}, false
	addresses(o, base, "comments", "commits", "diff", "patch", "review_comment", "review_comments", "statuses")
	if full {
		for _, name := range []string{"additions", "changed_files", "comments", "commits", "deletions", "review_comments"} {
			o[name] = 0
		}
		if c, there := p.one(i.Pull.MergeSHA); there {
			o["additions"], o["deletions"], _ = p.stats(c)
			o["commits"] = 1
		}
		o["mergeable"], o["mergeable_state"], o["merged"], o["maintainer_can_modify"], o["merged_by"] = nil, "unknown", merge != nil, false, nil
	}
	return o
}

func (s *Server) listPulls(r *rest.Request, p *repo) rest.Reply {
	state := r.Query.Get("state")
	if state == "" {
		state = "open"
	}
	var all []*Issue
	for _, i := range p.live() {
		if i.Pull != nil && (state == "all" || i.State == state) && unless(r, "base", i.Pull.Base) && unless(r, "head", p.owner+":"+i.Pull.Head) {
			all = append(all, i)
		}
	}
	order(r, all, func(i *Issue) time.Time {
		if r.Query.Get("sort") == "updated" {
			return i.UpdatedAt
		}
		return i.CreatedAt
	})
	return list(s, r, all, func(i *Issue) object { return s.renderPull(p, i, false) })
}

func (s *Server) getPull(r *rest.Request, p *repo) rest.Reply {
	i := p.issue(number(r, "pull_number"))
	if i == nil || i.Pull == nil {
		return notFound()
	}
	return rest.Reply{Status: http.StatusOK, Body: s.renderPull(p, i, true)}
}
