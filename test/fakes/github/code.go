package fakegithub

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// Commit is a commit on the default branch, main.
type Commit struct {
	// SHA is made up from the rest when it is empty.
	SHA             string
	Message, Author string
	At              time.Time
	// Files are the paths that it changed.
	Files []string
}

// Release is a published release.
type Release struct {
	Tag, Name, Body, Author string
	At                      time.Time
	id                      int64
}

// AddCommit appends a commit to main and returns its hash.
func (s *Server) AddCommit(full string, c Commit) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.repo(full)
	if c.At.IsZero() {
		c.At = s.cfg.Now()
	}
	if c.SHA == "" {
		sum := sha1.Sum(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%s", full, len(p.commits), c.Message, c.Author))
		c.SHA = hex.EncodeToString(sum[:])
	}
	p.commits = append(p.commits, c)
	return c.SHA
}

// AddTag names a commit.
func (s *Server) AddTag(full, tag, hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(full).tags[tag] = hash
}

// AddRelease publishes a release.
func (s *Server) AddRelease(full string, v Release) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.repo(full)
	v.id = s.newID()
	if v.At.IsZero() {
		v.At = s.cfg.Now()
	}
	p.releases = append(p.releases, v)
}

// PutFile sets the content of a file on main.
func (s *Server) PutFile(full, path, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(full).files[path] = content
}

func (s *Server) listCommits(r *rest.Request, p *repo) rest.Reply {
	if p.git != "" {
		return s.listGitCommits(r, p)
	}
	since, bad := sinceOf(r)
	if bad != nil {
		return *bad
	}
	until := s.cfg.Now().AddDate(100, 0, 0)
	if v := r.Query.Get("until"); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return invalid(object{"resource": "Commit", "field": "until", "code": "invalid"})
		}
		until = t
	}
	end := len(p.commits)
	if ref := r.Query.Get("sha"); ref != "" {
		hash, found := p.resolve(ref)
		if !found {
			return notFound()
		}
		end = p.index(hash) + 1
	}
	var all []Commit
	for _, c := range slices.Backward(p.commits[:end]) {
		path := r.Query.Get("path")
		touched := path == "" || slices.ContainsFunc(c.Files, func(f string) bool { return f == path || strings.HasPrefix(f, path+"/") })
		if touched && !c.At.Before(since) && !c.At.After(until) && unless(r, "author", c.Author) {
			all = append(all, c)
		}
	}
	return list(s, r, all, func(c Commit) object { return s.renderCommit(p, c, false) })
}

func (p *repo) index(hash string) int {
	return slices.IndexFunc(p.commits, func(c Commit) bool { return c.SHA == hash })
}

func (s *Server) getCommit(r *rest.Request, p *repo) rest.Reply {
	hash, found := p.resolve(r.Vars["ref"])
	if c, there := p.one(hash); found && there {
		return ok(s.renderGit(p, c, true))
	}
	i := p.index(hash)
	if !found || i < 0 {
		return message(http.StatusUnprocessableEntity, "No commit found for SHA: "+r.Vars["ref"])
	}
	return ok(s.renderCommit(p, p.commits[i], true))
}

// compare serves base...head on the one branch.
func (s *Server) compare(r *rest.Request, p *repo) rest.Reply {
	base, head, cut := strings.Cut(r.Vars["basehead"], "...")
	from, ok1 := p.resolve(base)
	to, ok2 := p.resolve(head)
	if p.git != "" && cut && ok1 && ok2 {
		return s.compareGit(r, p, from, to)
	}
	i, j := p.index(from), p.index(to)
	if !cut || !ok1 || !ok2 || i < 0 || j < 0 {
		return notFound()
	}
	status, commits := "identical", []object{}
	switch {
	case j > i:
		status = "ahead"
		for _, c := range p.commits[i+1 : j+1] {
			commits = append(commits, s.renderCommit(p, c, false))
		}
	case j < i:
		status = "behind"
	}
	o := object{
		"status": status, "ahead_by": max(0, j-i), "behind_by": max(0, i-j), "total_commits": len(commits), "commits": commits,
		"base_commit":       s.renderCommit(p, p.commits[i], false),
		"merge_base_commit": s.renderCommit(p, p.commits[min(i, j)], false),
		"url":               s.api(p) + "/compare/" + r.Vars["basehead"], "html_url": s.web(p) + "/compare/" + r.Vars["basehead"], "files": []object{},
	}
	return ok(addresses(o, s.web(p), "permalink", "diff", "patch"))
}

func (s *Server) renderCommit(p *repo, c Commit, files bool) object {
	who := object{"name": c.Author, "email": c.Author + "@users.noreply.example.com", "date": stamp(c.At)}
	parents := []object{}
	if i := p.index(c.SHA); i > 0 {
		parents = append(parents, object{"sha": p.commits[i-1].SHA, "url": s.api(p) + "/commits/" + p.commits[i-1].SHA})
	}
	url := s.api(p) + "/commits/" + c.SHA
	o := object{
		"sha": c.SHA, "node_id": node("C", p.id), "url": url, "html_url": s.web(p) + "/commit/" + c.SHA, "comments_url": url + "/comments",
		"author": s.user(c.Author), "committer": s.user(c.Author), "parents": parents,
		"commit": object{"message": c.Message, "author": who, "committer": who, "comment_count": 0, "url": url, "tree": object{"sha": c.SHA, "url": url}},
	}
	if files {
		list := []object{}
		for _, f := range c.Files {
			list = append(list, object{"filename": f, "status": "modified", "additions": 1, "deletions": 1, "changes": 2, "sha": c.SHA})
		}
		o["files"], o["stats"] = list, object{"additions": len(list), "deletions": len(list), "total": 2 * len(list)}
	}
	return o
}

func (s *Server) listReleases(r *rest.Request, p *repo) rest.Reply {
	all := slices.Clone(p.releases)
	slices.Reverse(all)
	return list(s, r, all, func(v Release) object {
		url := fmt.Sprintf("%s/releases/%d", s.api(p), v.id)
		o := object{
			"id": v.id, "node_id": node("RE", v.id), "tag_name": v.Tag, "target_commitish": "main", "name": v.Name, "body": v.Body,
			"draft": false, "prerelease": false, "author": s.user(v.Author), "assets": []object{},
			"created_at": stamp(v.At), "published_at": stamp(v.At), "url": url, "html_url": s.web(p) + "/releases/tag/" + v.Tag,
		}
		return addresses(o, url, "assets", "upload", "tarball", "zipball")
	})
}

func (s *Server) getContents(r *rest.Request, p *repo) rest.Reply {
	path := unslash(r.Vars["path"])
	if p.git != "" {
		return s.getGitContents(r, p, path)
	}
	if ref := r.Query.Get("ref"); ref != "" {
		if _, found := p.resolve(ref); !found {
			return message(http.StatusNotFound, "No commit found for the ref "+ref)
		}
	}
	content, found := p.files[path]
	if !found {
		return notFound()
	}
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	url := s.api(p) + "/contents/" + path
	name := path[strings.LastIndexByte(path, '/')+1:]
	return ok(object{
		"type": "file", "encoding": "base64", "size": len(content), "name": name, "path": path,
		"content": base64.StdEncoding.EncodeToString([]byte(content)), "sha": hex.EncodeToString(sum[:]),
		"url": url, "git_url": url, "html_url": s.web(p) + "/blob/main/" + path, "download_url": nil,
		"_links": object{"self": url, "git": url, "html": url},
	})
}
