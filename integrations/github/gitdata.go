package github

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// line is a branch of a repository.
type line struct{ owner, name, branch string }

// lineForm is how a target that is a branch is spelled.
const lineForm = "<owner>/<repo>/<branch>"

// lineOf reads a target that is a branch, which may hold slashes.
func lineOf(t incident.Target) (line, error) {
	parts := strings.SplitN(t.Path, "/", 3)
	if len(parts) != 3 || !plainName(parts[0]) || !plainName(parts[1]) || !branchName(parts[2]) {
		return line{}, fmt.Errorf("read target %q: %w: want %s", t.Path, driver.ErrInvalid, lineForm)
	}
	return line{parts[0], parts[1], parts[2]}, nil
}

func (l line) repo() string { return l.owner + "/" + l.name }

// tip is the newest commit of a branch.
type tip struct {
	commit, tree string
	// author and title are for people.
	author, title string
	protected     bool
}

// tip reads a branch.
func (c *connection) tip(ctx context.Context, at line) (tip, error) {
	what := fmt.Sprintf("read branch %q of %s", at.branch, at.repo())
	req, err := c.api.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/branches/%s", at.owner, at.name, url.PathEscape(at.branch)), nil)
	if err != nil {
		return tip{}, fmt.Errorf("%s: %w", what, err)
	}
	var b gh.Branch
	resp, err := c.api.Do(ctx, req, &b)
	if err != nil {
		return tip{}, c.classify(ctx, what, resp, err)
	}
	commit := b.GetCommit()
	found := tip{
		commit: commit.GetSHA(), tree: commit.GetCommit().GetTree().GetSHA(), protected: b.GetProtected(),
		author: plain(authorOf(commit), 60), title: plain(firstLine(commit.GetCommit().GetMessage()), 100),
	}
	if !isHash(found.commit) || !isHash(found.tree) {
		return tip{}, fmt.Errorf("%s: the answer has no commit", what)
	}
	return found, nil
}

// authorOf is the login of who wrote a commit, or the name in it.
func authorOf(c *gh.RepositoryCommit) string {
	if login := c.GetAuthor().GetLogin(); login != "" {
		return login
	}
	return c.GetCommit().GetAuthor().GetName()
}

func firstLine(message string) string {
	first, _, _ := strings.Cut(message, "\n")
	return first
}

// file is one entry of a tree that is no folder.
type file struct{ mode, kind, hash string }

// files are those of a tree by their path.
type files map[string]file

// errHuge means that GitHub can not list a tree in one answer.
var errHuge = errors.New("the tree is too large to be listed")

// tree reads all files of a tree.
// Source of the bound: https://docs.github.com/rest/git/trees says 100,000
// entries or 7 MB, above which the answer is cut and says so.
func (c *connection) tree(ctx context.Context, at line, hash string) (files, error) {
	tree, resp, err := c.api.Git.GetTree(ctx, at.owner, at.name, hash, true)
	what := fmt.Sprintf("read tree %s of %s", shorten(hash), at.repo())
	if err != nil {
		return nil, c.classify(ctx, what, resp, err)
	}
	if tree.GetTruncated() {
		return nil, fmt.Errorf("%s: %w: %w", what, driver.ErrInvalid, errHuge)
	}
	found := files{}
	for _, e := range tree.Entries {
		if e.GetType() != "tree" {
			found[e.GetPath()] = file{mode: e.GetMode(), kind: e.GetType(), hash: e.GetSHA()}
		}
	}
	return found, nil
}

// treeOf reads all files of a commit, and the commit.
func (c *connection) treeOf(ctx context.Context, at line, commit string) (files, *gh.Commit, error) {
	found, resp, err := c.api.Git.GetCommit(ctx, at.owner, at.name, commit)
	if err != nil {
		return nil, nil, c.classify(ctx, fmt.Sprintf("read commit %s of %s", shorten(commit), at.repo()), resp, err)
	}
	content, err := c.tree(ctx, at, found.GetTree().GetSHA())
	return content, found, err
}

// change is what a commit did to its first parent.
type change struct {
	commit, parent string
	message        string
	// merge says that the commit has several parents.
	merge bool
	// before and after are the whole trees; touched the paths that differ, sorted.
	before, after files
	touched       []string
}

// errFirst means that a commit has nothing before it.
var errFirst = errors.New("the commit has no parent")

// change reads a commit and its first parent.
func (c *connection) change(ctx context.Context, at line, commit string) (change, error) {
	after, found, err := c.treeOf(ctx, at, commit)
	if err != nil {
		return change{}, err
	}
	if len(found.Parents) == 0 {
		return change{}, fmt.Errorf("read commit %s of %s: %w: %w", shorten(commit), at.repo(), driver.ErrInvalid, errFirst)
	}
	parent := found.Parents[0].GetSHA()
	before, _, err := c.treeOf(ctx, at, parent)
	if err != nil {
		return change{}, err
	}
	return change{
		commit: found.GetSHA(), parent: parent, message: found.GetMessage(), merge: len(found.Parents) > 1,
		before: before, after: after, touched: differing(before, after),
	}, nil
}

// differing lists the paths that are not the same in two trees, sorted.
func differing(a, b files) []string {
	paths := map[string]bool{}
	for path, f := range a {
		if b[path] != f {
			paths[path] = true
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			paths[path] = true
		}
	}
	return slices.Sorted(maps.Keys(paths))
}

// digestOf is that of some paths of a tree: their modes and hashes, no content.
func digestOf(content files, paths []string) string {
	var form strings.Builder
	for _, path := range paths {
		f, ok := content[path]
		if !ok {
			fmt.Fprintf(&form, "absent\x00%s\x00", path)
			continue
		}
		fmt.Fprintf(&form, "%s %s %s\x00%s\x00", f.mode, f.kind, f.hash, path)
	}
	return incident.DigestOf([]byte(form.String()))
}

// replaced is a tree with some paths as they are in another one.
func replaced(content, from files, paths []string) files {
	out := maps.Clone(content)
	for _, path := range paths {
		if f, ok := from[path]; ok {
			out[path] = f
		} else {
			delete(out, path)
		}
	}
	return out
}

// clash finds a path that would be a file and a folder at once.
func clash(content files) (path string, found bool) {
	for path := range content {
		for at := strings.LastIndexByte(path, '/'); at > 0; at = strings.LastIndexByte(path[:at], '/') {
			if _, ok := content[path[:at]]; ok {
				return path[:at], true
			}
		}
	}
	return "", false
}
