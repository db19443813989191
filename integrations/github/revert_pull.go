package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// revertPrefix begins the names of the branches that Backout makes.
const revertPrefix = "backout/"

// revertBranch is the one branch of an action, so that a repeated request finds
// what the first one made.
func revertBranch(key string) string {
	sum := sha256.Sum256([]byte(key))
	return revertPrefix + hex.EncodeToString(sum[:10])
}

// pullOf finds the pull request of a branch of Backout's, open or not, or nil.
func (i revert) pullOf(ctx context.Context, at line, branch string) (*gh.PullRequest, error) {
	found, resp, err := i.conn.api.PullRequests.List(ctx, at.owner, at.name, &gh.PullRequestListOptions{
		State: "all", Head: at.owner + ":" + branch, Base: at.branch, ListOptions: gh.ListOptions{PerPage: pageSize},
	})
	if err != nil {
		return nil, i.conn.classify(ctx, fmt.Sprintf("find the pull request of %s of %s", branch, at.repo()), resp, err)
	}
	for _, p := range found {
		if p.GetHead().GetRef() == branch {
			return p, nil
		}
	}
	return nil, nil //nolint:nilnil // There is none, which is no error.
}

// prepared makes sure that the branch of an action has one commit on top of the
// target branch, with the wanted files, and returns that commit.
func (i revert) prepared(ctx context.Context, s scene, action incident.Action, branch string) (string, error) {
	there, err := i.refOf(ctx, s.at, branch)
	if err != nil {
		return "", err
	}
	if there != "" {
		fits, err := i.fits(ctx, s, action, there)
		if err != nil {
			return "", err
		}
		if fits {
			return there, nil
		}
	}
	commit, err := i.commit(ctx, s, action)
	if err != nil {
		return "", err
	}
	ref := &gh.Reference{Ref: new("refs/heads/" + branch), Object: &gh.GitObject{SHA: &commit}}
	what := fmt.Sprintf("write branch %s of %s", branch, s.at.repo())
	if there != "" {
		_, resp, err := i.conn.api.Git.UpdateRef(ctx, s.at.owner, s.at.name, ref, true)
		return commit, i.conn.classify(ctx, what, resp, err)
	}
	_, resp, err := i.conn.api.Git.CreateRef(ctx, s.at.owner, s.at.name, ref)
	if err != nil && resp != nil && resp.Response != nil && resp.StatusCode == http.StatusUnprocessableEntity {
		if now, again := i.refOf(ctx, s.at, branch); again == nil && now != "" {
			return "", fmt.Errorf("%s: %w: it was made at the same moment", what, errMoved)
		}
	}
	return commit, i.conn.classify(ctx, what, resp, err)
}

// refOf is the commit of a branch, empty when there is no such branch.
func (i revert) refOf(ctx context.Context, at line, branch string) (string, error) {
	ref, resp, err := i.conn.api.Git.GetRef(ctx, at.owner, at.name, "heads/"+branch)
	err = i.conn.classify(ctx, fmt.Sprintf("read branch %s of %s", branch, at.repo()), resp, err)
	if errors.Is(err, driver.ErrNotFound) {
		return "", nil
	}
	return ref.GetObject().GetSHA(), err
}

// fits reports whether a commit stands on the present tip and has the wanted
// files.
func (i revert) fits(ctx context.Context, s scene, action incident.Action, commit string) (bool, error) {
	content, found, err := i.conn.treeOf(ctx, s.at, commit)
	if err != nil {
		return false, err
	}
	return len(found.Parents) == 1 && found.Parents[0].GetSHA() == s.tip.commit && digestOf(content, s.change.touched) == action.To.Digest, nil
}

// commit makes the commit that reverts: the present tree with the touched files
// as they were. Nothing refers to it yet.
func (i revert) commit(ctx context.Context, s scene, action incident.Action) (string, error) {
	to, err := parsePoint(action.To.Revision)
	if err != nil {
		return "", err
	}
	old := s.change.before
	if to.content != s.change.parent {
		if old, _, err = i.conn.treeOf(ctx, s.at, to.content); err != nil {
			return "", err
		}
	}
	if digestOf(old, s.change.touched) != action.To.Digest {
		return "", fmt.Errorf("read commit %s: %w: it has other files than planned", shorten(to.content), driver.ErrNotFound)
	}
	var entries []*gh.TreeEntry
	for _, path := range s.change.touched {
		f, ok := old[path]
		present, there := s.content[path]
		switch {
		case ok:
			entries = append(entries, &gh.TreeEntry{Path: &path, Mode: &f.mode, Type: &f.kind, SHA: &f.hash})
		case there:
			// Without a hash the path is taken out.
			entries = append(entries, &gh.TreeEntry{Path: &path, Mode: &present.mode, Type: &present.kind})
		}
	}
	tree, resp, err := i.conn.api.Git.CreateTree(ctx, s.at.owner, s.at.name, s.tip.tree, entries)
	if err != nil {
		return "", i.conn.classify(ctx, "write a tree to "+s.at.repo(), resp, err)
	}
	made, err := i.conn.tree(ctx, s.at, tree.GetSHA())
	if err != nil {
		return "", err
	}
	if len(differing(made, replaced(s.content, old, s.change.touched))) > 0 {
		return "", fmt.Errorf("write a tree to %s: %w: GitHub made another one", s.at.repo(), driver.ErrInvalid)
	}
	commit, resp, err := i.conn.api.Git.CreateCommit(ctx, s.at.owner, s.at.name, &gh.Commit{
		Message: new(title(s, action) + "\n\n" + story(s, action)),
		Tree:    &gh.Tree{SHA: tree.SHA},
		Parents: []*gh.Commit{{SHA: &s.tip.commit}},
	}, nil)
	if err != nil {
		return "", i.conn.classify(ctx, "write a commit to "+s.at.repo(), resp, err)
	}
	return commit.GetSHA(), nil
}

// title is that of the commit and of the pull request.
func title(s scene, action incident.Action) string {
	verb := "Revert"
	if to, err := parsePoint(action.To.Revision); err == nil && to.content != s.change.parent {
		verb = "Bring back"
	}
	return neutralTitle(fmt.Sprintf("%s %s", verb, plain(firstLine(s.change.message), 150)))
}

// story says what the commit does, for people.
func story(s scene, action incident.Action) string {
	return fmt.Sprintf("Backout takes the %d files that commit %s touched to what they are at %s.", len(s.change.touched), s.change.commit, action.To.Label)
}

// open opens the pull request.
func (i revert) open(ctx context.Context, s scene, action incident.Action, branch string) (*gh.PullRequest, error) {
	made, resp, err := i.conn.api.PullRequests.Create(ctx, s.at.owner, s.at.name, &gh.NewPullRequest{
		Title: new(title(s, action)), Head: &branch, Base: &s.at.branch, Body: new(story(s, action)),
	})
	if err != nil && resp != nil && resp.Response != nil && resp.StatusCode == http.StatusUnprocessableEntity {
		if there, again := i.pullOf(ctx, s.at, branch); again == nil && there != nil {
			return there, nil
		}
	}
	return made, i.conn.classify(ctx, fmt.Sprintf("open a pull request in %s", s.at.repo()), resp, err)
}

// close gives up a pull request that can not be merged any more. What fails of
// it leaves it to people, who see why in the refusal.
func (i revert) close(ctx context.Context, at line, number int, branch string) {
	_, _, _ = i.conn.api.PullRequests.Edit(ctx, at.owner, at.name, number, &gh.PullRequest{State: new("closed")})
	_, _ = i.conn.api.Git.DeleteRef(ctx, at.owner, at.name, "heads/"+branch)
}

// merge brings the commit to the branch. Without protection the branch is moved
// forward to it, which GitHub takes only as long as nobody else has moved it, and
// counts as a merge of the pull request. A protected branch takes a merge, which
// keeps what came meanwhile; until its rules allow one, nothing happens.
func (i revert) merge(ctx context.Context, s scene, number int, head string) (driver.Receipt, error) {
	done := driver.Receipt{Mutated: true, Detail: fmt.Sprintf("pull request #%d merged", number)}
	if !s.tip.protected {
		moved, err := i.forward(ctx, s, head)
		if moved || err != nil {
			return driver.Receipt{Mutated: moved, Detail: done.Detail}, err
		}
		// A rule that does not show as protection forbids it.
	}
	method, err := i.method(ctx, s.at)
	if err != nil {
		return driver.Receipt{}, err
	}
	_, resp, err := i.conn.api.PullRequests.Merge(ctx, s.at.owner, s.at.name, number, "", &gh.PullRequestOptions{SHA: head, MergeMethod: method})
	if err == nil {
		return done, nil
	}
	if resp != nil && resp.Response != nil && resp.StatusCode == http.StatusMethodNotAllowed {
		return driver.Receipt{Detail: fmt.Sprintf("pull request #%d waits: %s", number, plain(i.conn.auth.redact(reason(err)), maxReason))}, nil
	}
	return driver.Receipt{}, i.conn.classify(ctx, fmt.Sprintf("merge pull request #%d of %s", number, s.at.repo()), resp, err)
}

// forward moves an unprotected branch to the commit that reverts. It reports
// false when GitHub refuses although nobody has moved the branch.
func (i revert) forward(ctx context.Context, s scene, head string) (moved bool, err error) {
	what := fmt.Sprintf("move branch %q of %s", s.at.branch, s.at.repo())
	ref := &gh.Reference{Ref: new("refs/heads/" + s.at.branch), Object: &gh.GitObject{SHA: &head}}
	_, resp, err := i.conn.api.Git.UpdateRef(ctx, s.at.owner, s.at.name, ref, false)
	if err == nil {
		return true, nil
	}
	if resp == nil || resp.Response == nil || resp.StatusCode != http.StatusUnprocessableEntity {
		return false, i.conn.classify(ctx, what, resp, err)
	}
	now, err := i.conn.tip(ctx, s.at)
	if err == nil && now.commit != s.tip.commit {
		err = fmt.Errorf("%s: %w", what, errMoved)
	}
	return false, err
}

// method is a way to merge that the repository allows.
func (i revert) method(ctx context.Context, at line) (string, error) {
	found, resp, err := i.conn.api.Repositories.Get(ctx, at.owner, at.name)
	if err != nil {
		return "", i.conn.classify(ctx, "read repository "+at.repo(), resp, err)
	}
	for _, m := range []struct {
		allowed *bool
		name    string
	}{{found.AllowSquashMerge, "squash"}, {found.AllowMergeCommit, "merge"}, {found.AllowRebaseMerge, "rebase"}} {
		if m.allowed != nil && *m.allowed {
			return m.name, nil
		}
	}
	return "merge", nil // GitHub's own default, where it does not say.
}

// ours reports whether a branch was made by Backout.
func ours(branch string) bool { return strings.HasPrefix(branch, revertPrefix) }
