package fakegithub

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// maxInline is the largest file whose content an answer has, in bytes.
// Source: https://docs.github.com/rest/repos/contents#get-repository-content
const maxInline = 1 << 20

// getGitContents shows a file of a branch, tag or commit; folders are not done.
func (s *Server) getGitContents(r *rest.Request, p *repo, file string) rest.Reply {
	ref := r.Query.Get("ref")
	if ref == "" {
		ref = "main"
	}
	hash, found := p.lookUp(ref)
	if !found {
		return message(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	blob, found := p.blobAt(hash, file)
	if !found {
		return notFound()
	}
	content, err := p.ask(nil, nil, "cat-file", "blob", blob)
	if err != nil {
		return notFound()
	}
	o := s.renderFile(p, ref, file, blob, len(content))
	o["encoding"], o["content"] = "base64", base64.StdEncoding.EncodeToString([]byte(content))
	if len(content) > maxInline {
		o["encoding"], o["content"] = "none", ""
	}
	return ok(o)
}

// blobAt is the hash of a file of a commit.
func (p *repo) blobAt(commit, file string) (string, bool) {
	out, err := p.ask(nil, nil, "rev-parse", "--verify", "--quiet", commit+":"+file)
	if err != nil {
		return "", false
	}
	kind, err := p.ask(nil, nil, "cat-file", "-t", strings.TrimSpace(out))
	return strings.TrimSpace(out), err == nil && strings.TrimSpace(kind) == "blob"
}

// renderFile shows a file without its content.
func (s *Server) renderFile(p *repo, ref, file, blob string, size int) object {
	url := s.api(p) + "/contents/" + file + "?ref=" + ref
	html := s.web(p) + "/blob/" + ref + "/" + file
	git := s.api(p) + "/git/blobs/" + blob
	return object{
		"type": "file", "size": size, "name": path.Base(file), "path": file, "sha": blob,
		"url": url, "git_url": git, "html_url": html, "download_url": s.web(p) + "/raw/" + ref + "/" + file,
		"_links": object{"self": url, "git": git, "html": html},
	}
}

// putContents writes a file of a branch as one commit. A file that is there is
// replaced only by who names its blob.
// Source: https://docs.github.com/rest/repos/contents#create-or-update-file-contents
func (s *Server) putContents(r *rest.Request, p *repo) rest.Reply {
	file := unslash(r.Vars["path"])
	text, _ := r.Body["message"].(string)
	encoded, _ := r.Body["content"].(string)
	branch, _ := r.Body["branch"].(string)
	given, _ := r.Body["sha"].(string)
	if branch == "" {
		branch = "main"
	}
	content, err := base64.StdEncoding.DecodeString(encoded)
	_, protected := p.protected[branch]
	tip, found := p.lookUp(branch)
	switch {
	case err != nil:
		return unprocessable("content is not valid Base64")
	case strings.HasPrefix(file, "/") || path.Clean(file) != file || strings.HasPrefix(file, ".."):
		return unprocessable("path contains a malformed path component")
	case !found || sha.MatchString(branch):
		return message(http.StatusNotFound, "Branch "+branch+" not found")
	case protected:
		return message(http.StatusConflict, "Repository rule violations found\n\nChanges must be made through a pull request.")
	}
	have, there := p.blobAt(tip, file)
	switch {
	case there && given == "":
		return unprocessable("Invalid request.\n\n\"sha\" wasn't supplied.")
	case given != "" && given != have:
		return message(http.StatusConflict, file+" does not match "+given)
	}
	written, err := p.ask(content, nil, "hash-object", "-w", "--stdin")
	if err != nil {
		return unprocessable("The file could not be written")
	}
	blob := strings.TrimSpace(written)
	base, _ := p.one(tip)
	tree, err := p.writeTree(base.tree, fmt.Appendf(nil, "100644 %s\t%s\n", blob, file))
	if err != nil {
		return unprocessable("The file could not be written")
	}
	hash, err := p.writeCommit(tree, text, r.Actor, s.cfg.Now(), tip)
	c, made := p.one(hash)
	if err != nil || !made {
		return unprocessable("The commit could not be made")
	}
	if _, err := p.ask(nil, nil, "update-ref", "refs/heads/"+branch, hash, tip); err != nil {
		return message(http.StatusConflict, "is at another commit but expected "+tip)
	}
	status := http.StatusCreated
	if there {
		status = http.StatusOK
	}
	return rest.Reply{Status: status, Body: object{"content": s.renderFile(p, branch, file, blob, len(content)), "commit": s.renderObject(p, c)}}
}
