package fakegithub

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// slash stands for a slash inside of the name of a branch or ref, which is one
// variable of a path.
const slash = "\x1f"

// root maps a request's path to the path of the document: Enterprise clients put
// the API below a prefix, and the names of refs hold slashes.
func root(path string) string {
	path = strings.TrimPrefix(path, "/api/v3")
	for _, before := range []string{"/git/ref/", "/git/refs/", "/branches/", "/contents/"} {
		if head, name, found := strings.Cut(path, before); found {
			return head + before + strings.ReplaceAll(name, "/", slash)
		}
	}
	return path
}

func unslash(name string) string { return strings.ReplaceAll(name, slash, "/") }

// inGit serves what needs a repository of Git's.
func (s *Server) inGit(serve func(*rest.Request, *repo) rest.Reply) func(*rest.Request) rest.Reply {
	return s.in(func(r *rest.Request, p *repo) rest.Reply {
		if p.git == "" {
			return notFound()
		}
		return serve(r, p)
	})
}

func unprocessable(text string) rest.Reply {
	return message(http.StatusUnprocessableEntity, text)
}

func (s *Server) getBranch(r *rest.Request, p *repo) rest.Reply {
	name := unslash(r.Vars["branch"])
	hash, found := p.lookUp(name)
	c, ok1 := p.one(hash)
	if !found || !ok1 || sha.MatchString(name) {
		return message(http.StatusNotFound, "Branch not found")
	}
	_, protected := p.protected[name]
	url := s.api(p) + "/branches/" + name
	return ok(object{
		"name": name, "commit": s.renderGit(p, c, false), "protected": protected, "protection": object{"enabled": protected},
		"protection_url": url + "/protection", "_links": object{"self": url, "html": s.web(p) + "/tree/" + name},
	})
}

// renderGit shows a commit as the repository does.
func (s *Server) renderGit(p *repo, c gitCommit, files bool) object {
	url := s.api(p) + "/commits/" + c.hash
	parents := []object{}
	for _, hash := range c.parents {
		parents = append(parents, object{"sha": hash, "url": s.api(p) + "/commits/" + hash})
	}
	o := object{
		"sha": c.hash, "node_id": node("C", p.id), "url": url, "html_url": s.web(p) + "/commit/" + c.hash, "comments_url": url + "/comments",
		"author": s.user(c.author), "committer": s.user(c.committer), "parents": parents,
		"commit": object{
			"message": c.message, "comment_count": 0, "url": url,
			"author":    object{"name": c.author, "email": address(c.author), "date": stamp(c.authored)},
			"committer": object{"name": c.committer, "email": address(c.committer), "date": stamp(c.committed)},
			"tree":      object{"sha": c.tree, "url": s.api(p) + "/git/trees/" + c.tree},
		},
	}
	if files {
		added, removed, paths := p.stats(c)
		list := []object{}
		for _, path := range paths {
			list = append(list, object{"filename": path, "status": "modified", "additions": 0, "deletions": 0, "changes": 0, "sha": c.hash})
		}
		o["files"], o["stats"] = list, object{"additions": added, "deletions": removed, "total": added + removed}
	}
	return o
}

func (s *Server) getGitCommit(r *rest.Request, p *repo) rest.Reply {
	c, found := p.one(r.Vars["commit_sha"])
	if !found || !sha.MatchString(r.Vars["commit_sha"]) {
		return notFound()
	}
	return ok(s.renderObject(p, c))
}

// renderObject shows a commit as the Git database does.
func (s *Server) renderObject(p *repo, c gitCommit) object {
	full := s.renderGit(p, c, false)
	inner, _ := full["commit"].(object)
	parents := []object{}
	for _, hash := range c.parents {
		url := s.api(p) + "/git/commits/" + hash
		parents = append(parents, object{"sha": hash, "url": url, "html_url": s.web(p) + "/commit/" + hash})
	}
	return object{
		"sha": c.hash, "node_id": node("C", p.id), "url": s.api(p) + "/git/commits/" + c.hash, "html_url": full["html_url"],
		"author": inner["author"], "committer": inner["committer"], "tree": inner["tree"], "message": c.message, "parents": parents,
		"verification": object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil},
	}
}

func (s *Server) createGitCommit(r *rest.Request, p *repo) rest.Reply {
	text, _ := r.Body["message"].(string)
	tree, _ := r.Body["tree"].(string)
	if kind, err := p.ask(nil, nil, "cat-file", "-t", tree); err != nil || strings.TrimSpace(kind) != "tree" {
		return unprocessable("Tree SHA does not exist")
	}
	var parents []string
	given, _ := r.Body["parents"].([]any)
	for _, item := range given {
		parent, _ := item.(string)
		if _, found := p.one(parent); !found {
			return unprocessable("Parent SHA does not exist or is not a commit object")
		}
		parents = append(parents, parent)
	}
	hash, err := p.writeCommit(tree, text, r.Actor, s.cfg.Now(), parents...)
	c, found := p.one(hash)
	if err != nil || !found {
		return unprocessable("The commit could not be made")
	}
	return created(s.renderObject(p, c))
}

func (s *Server) getTree(r *rest.Request, p *repo) rest.Reply {
	args := []string{"ls-tree", "-z", "-l", "--full-tree"}
	if r.Query.Get("recursive") != "" {
		args = append(args, "-r", "-t")
	}
	return s.renderTree(p, r.Vars["tree_sha"], http.StatusOK, args)
}

// renderTree shows a tree by its hash, or that of a commit.
func (s *Server) renderTree(p *repo, hash string, status int, args []string) rest.Reply {
	out, err := p.ask(nil, nil, append(args, hash)...)
	if err != nil || !sha.MatchString(hash) {
		return notFound()
	}
	entries := []object{}
	for row := range strings.SplitSeq(strings.TrimRight(out, "\x00"), "\x00") {
		head, path, found := strings.Cut(row, "\t")
		f := strings.Fields(head)
		if !found || len(f) != 4 {
			continue
		}
		e := object{"path": path, "mode": f[0], "type": f[1], "sha": f[2], "url": s.api(p) + "/git/" + f[1] + "s/" + f[2]}
		if f[1] == "blob" {
			e["size"] = whole(f[3])
		}
		entries = append(entries, e)
	}
	return rest.Reply{Status: status, Body: object{"sha": hash, "url": s.api(p) + "/git/trees/" + hash, "tree": entries, "truncated": false}}
}

// createTree makes a tree of another and changes to it; a null hash takes a path
// out.
// Source: https://docs.github.com/rest/git/trees#create-a-tree
func (s *Server) createTree(r *rest.Request, p *repo) rest.Reply {
	base, _ := r.Body["base_tree"].(string)
	given, _ := r.Body["tree"].([]any)
	if len(given) == 0 {
		return unprocessable("Invalid tree info")
	}
	var changes bytes.Buffer
	for _, item := range given {
		e, _ := item.(object)
		path, _ := e["path"].(string)
		mode, _ := e["mode"].(string)
		hash, isText := e["sha"].(string)
		if text, inline := e["content"].(string); inline {
			if _, both := e["sha"]; both {
				return unprocessable("Must not supply both tree.sha and tree.content")
			}
			out, err := p.ask([]byte(text), nil, "hash-object", "-w", "--stdin")
			if err != nil {
				return unprocessable("tree.content can not be written")
			}
			hash, isText = strings.TrimSpace(out), true
		}
		switch {
		case path == "" || strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\n\t"):
			return unprocessable("tree.path contains a malformed path component")
		case !isText:
			fmt.Fprintf(&changes, "0 %040d\t%s\n", 0, path)
		case !slices.Contains([]string{"100644", "100755", "040000", "160000", "120000"}, mode) || !sha.MatchString(hash):
			return unprocessable("tree.mode must be one of 100644, 100755, 040000, 160000 or 120000")
		default:
			fmt.Fprintf(&changes, "%s %s\t%s\n", mode, hash, path)
		}
	}
	hash, err := p.writeTree(base, changes.Bytes())
	if err != nil {
		return unprocessable("tree.sha is not a valid object")
	}
	return s.renderTree(p, hash, http.StatusCreated, []string{"ls-tree", "-z", "-l", "--full-tree"})
}

func (s *Server) renderRef(p *repo, ref, hash string) object {
	return object{
		"ref": ref, "node_id": node("REF", p.id), "url": s.api(p) + "/git/" + ref,
		"object": object{"type": "commit", "sha": hash, "url": s.api(p) + "/git/commits/" + hash},
	}
}

// refOf reads a ref of the path, such as heads/main.
func (p *repo) refOf(r *rest.Request) (ref, hash string, found bool) {
	ref = "refs/" + unslash(r.Vars["ref"])
	out, err := p.ask(nil, nil, "rev-parse", "--verify", "--quiet", ref)
	return ref, strings.TrimSpace(out), err == nil
}

func (s *Server) getRef(r *rest.Request, p *repo) rest.Reply {
	ref, hash, found := p.refOf(r)
	if !found {
		return notFound()
	}
	return ok(s.renderRef(p, ref, hash))
}

func (s *Server) createRef(r *rest.Request, p *repo) rest.Reply {
	ref, _ := r.Body["ref"].(string)
	hash, _ := r.Body["sha"].(string)
	if !strings.HasPrefix(ref, "refs/") || strings.Count(ref, "/") < 2 {
		return unprocessable("Reference name must start with 'refs' and have at least two slashes.")
	}
	if _, found := p.one(hash); !found || !sha.MatchString(hash) {
		return unprocessable("Object does not exist")
	}
	if _, err := p.ask(nil, nil, "update-ref", ref, hash, strings.Repeat("0", 40)); err != nil {
		return unprocessable("Reference already exists")
	}
	return created(s.renderRef(p, ref, hash))
}

// updateRef refuses what is no step forward, unless it is forced, and protected
// branches either way.
func (s *Server) updateRef(r *rest.Request, p *repo) rest.Reply {
	ref, old, found := p.refOf(r)
	hash, _ := r.Body["sha"].(string)
	force, _ := r.Body["force"].(bool)
	_, protected := p.protected[strings.TrimPrefix(ref, "refs/heads/")]
	_, there := p.one(hash)
	switch {
	case !found:
		return unprocessable("Reference does not exist")
	case !there || !sha.MatchString(hash):
		return unprocessable("Object does not exist")
	case protected:
		return unprocessable("Protected branch update failed for " + ref + ".\n\n1. Changes must be made through a pull request.")
	case !force && !p.ancestor(old, hash):
		return unprocessable("Update is not a fast forward")
	}
	if _, err := p.ask(nil, nil, "update-ref", ref, hash, old); err != nil {
		return unprocessable("Reference cannot be updated")
	}
	s.mergeReached(p, strings.TrimPrefix(ref, "refs/heads/"), hash)
	return ok(s.renderRef(p, ref, hash))
}

func (s *Server) deleteRef(r *rest.Request, p *repo) rest.Reply {
	ref, old, found := p.refOf(r)
	if !found {
		return unprocessable("Reference does not exist")
	}
	if _, err := p.ask(nil, nil, "update-ref", "-d", ref, old); err != nil {
		return unprocessable("Reference cannot be deleted")
	}
	return rest.Reply{Status: http.StatusNoContent}
}

// listGitCommits lists the commits of a branch, newest first.
func (s *Server) listGitCommits(r *rest.Request, p *repo) rest.Reply {
	since, bad := sinceOf(r)
	if bad != nil {
		return *bad
	}
	ref := r.Query.Get("sha")
	if ref == "" {
		ref = "main"
	}
	hash, found := p.lookUp(ref)
	if !found {
		return notFound()
	}
	all, err := p.log(hash)
	if err != nil {
		return notFound()
	}
	all = slices.DeleteFunc(all, func(c gitCommit) bool { return c.committed.Before(since) })
	return list(s, r, all, func(c gitCommit) object { return s.renderGit(p, c, false) })
}

// compareGit says how two commits stand to each other; it lists none of those
// between them.
func (s *Server) compareGit(r *rest.Request, p *repo, from, to string) rest.Reply {
	base, _ := p.one(from)
	status := "diverged"
	switch {
	case from == to:
		status = "identical"
	case p.ancestor(from, to):
		status = "ahead"
	case p.ancestor(to, from):
		status = "behind"
	}
	o := object{
		"status": status, "ahead_by": 0, "behind_by": 0, "total_commits": 0, "commits": []object{}, "files": []object{},
		"base_commit": s.renderGit(p, base, false), "merge_base_commit": s.renderGit(p, base, false),
		"url": s.api(p) + "/compare/" + r.Vars["basehead"], "html_url": s.web(p) + "/compare/" + r.Vars["basehead"],
	}
	return ok(addresses(o, s.web(p), "permalink", "diff", "patch"))
}
