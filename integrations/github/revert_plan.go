package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
)

const (
	// revertTime is what a revert is expected to take when nobody has to review
	// it.
	revertTime = 30 * time.Second
	// maxTouched bounds how many files a revert may touch: Backout's own bound,
	// for one request that GitHub takes.
	maxTouched = 1000
	// commitPages bounds how many pages of commits are read for the past.
	commitPages = 10
	// namedPaths is how many files a finding names.
	namedPaths = 3
)

// Plan finds the commit to revert and what stands in its way. A revision is the
// full hash of a commit on the branch, or "#" and the number of a pull request
// that was merged into it; a moment means the commit that changed the branch
// first from then on.
func (i revert) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := lineOf(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	planned, err := i.plan(ctx, at, req)
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	return planned, nil
}

func (i revert) plan(ctx context.Context, at line, req driver.PlanRequest) (driver.Planned, error) {
	var checks driver.Findings
	blocked := func() driver.Planned { return driver.Planned{Preflight: checks} }
	if err := i.conn.usable(ctx, &checks, at.owner, at.name); err != nil || checks.Blocked() {
		return blocked(), err
	}
	present, err := i.conn.tip(ctx, at)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("branch", "There is no branch %s in %s.", at.branch, at.repo())
		return blocked(), nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the contents of %s.", at.repo())
		return blocked(), nil
	case err != nil:
		return driver.Planned{}, err
	}
	checks.Pass("branch", "The branch %s is at %s.", at.branch, shorten(present.commit))
	commit, err := i.resolve(ctx, at, present, req, &checks)
	if err != nil || commit == "" {
		return blocked(), err
	}
	ch, err := i.conn.change(ctx, at, commit)
	switch {
	case errors.Is(err, errFirst):
		checks.Block("state before", "There is nothing before the commit %s: it is the first of %s.", shorten(commit), at.repo())
		return blocked(), nil
	case errors.Is(err, errHuge):
		checks.Block("state before", "The tree of %s has more files than GitHub lists.", at.repo())
		return blocked(), nil
	case err != nil:
		return driver.Planned{}, err
	}
	content, err := i.conn.tree(ctx, at, present.tree)
	if err != nil {
		return driver.Planned{}, err
	}
	conflicts(&checks, at, ch, content)
	if err := i.idle(ctx, at, &checks); err != nil {
		return driver.Planned{}, err
	}
	i.permitted(ctx, &checks, at)
	if checks.Blocked() {
		return blocked(), nil
	}
	if present.protected {
		checks.Warn("branch rules", "The branch %s is protected: the revert waits until its reviews and checks allow a merge.", at.branch)
	}
	return driver.Planned{
		From: stateAt(ch, present.commit, content), To: stateAt(ch, ch.parent, ch.before), Reversible: true, ExpectedTime: revertTime,
		WontRevert: slices.Clone(revertWontRevert), Preflight: checks,
	}, nil
}

// resolve finds the commit to revert: empty when a finding says why not.
func (i revert) resolve(ctx context.Context, at line, present tip, req driver.PlanRequest, checks *driver.Findings) (string, error) {
	const exists = "commit exists"
	if req.Revision == "" {
		return i.first(ctx, at, present, req.Before, checks)
	}
	commit := req.Revision
	if number, ok := strings.CutPrefix(req.Revision, "#"); ok {
		n, err := strconv.Atoi(number)
		if err != nil || n <= 0 {
			checks.Block(exists, "%q is not the number of a pull request.", plain(req.Revision, 60))
			return "", nil
		}
		if commit, err = i.merged(ctx, at, n, checks); err != nil || commit == "" {
			return "", err
		}
	}
	if !isHash(commit) {
		checks.Block(exists, "%q is neither the full hash of a commit nor # and the number of a pull request.", plain(req.Revision, 60))
		return "", nil
	}
	compared, resp, err := i.conn.api.Repositories.CompareCommits(ctx, at.owner, at.name, commit, present.commit, &gh.ListOptions{PerPage: 1})
	switch {
	case err == nil && (compared.GetStatus() == "ahead" || compared.GetStatus() == "identical"):
		checks.Pass(exists, "The commit %s is on %s.", shorten(commit), at.branch)
		return commit, nil
	case err == nil:
		checks.Block(exists, "The commit %s is not on %s.", shorten(commit), at.branch)
		return "", nil
	case resp != nil && resp.Response != nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusUnprocessableEntity):
		checks.Block(exists, "The commit %s is not in %s.", shorten(commit), at.repo())
		return "", nil
	}
	return "", i.conn.classify(ctx, fmt.Sprintf("compare commits of %s", at.repo()), resp, err)
}

// merged finds the one commit that a pull request became.
func (i revert) merged(ctx context.Context, at line, number int, checks *driver.Findings) (string, error) {
	const name = "pull request"
	pull, resp, err := i.conn.api.PullRequests.Get(ctx, at.owner, at.name, number)
	err = i.conn.classify(ctx, fmt.Sprintf("read pull request #%d of %s", number, at.repo()), resp, err)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(name, "There is no pull request #%d in %s.", number, at.repo())
		return "", nil
	case err != nil:
		return "", err
	case !pull.GetMerged() || !isHash(pull.GetMergeCommitSHA()):
		checks.Block(name, "The pull request #%d was not merged.", number)
		return "", nil
	case pull.GetBase().GetRef() != at.branch:
		checks.Block(name, "The pull request #%d was merged into %s and not into %s.", number, plain(pull.GetBase().GetRef(), 60), at.branch)
		return "", nil
	}
	commit, resp, err := i.conn.api.Repositories.GetCommit(ctx, at.owner, at.name, pull.GetMergeCommitSHA(), &gh.ListOptions{PerPage: 1})
	if err != nil {
		return "", i.conn.classify(ctx, fmt.Sprintf("read the merge of pull request #%d of %s", number, at.repo()), resp, err)
	}
	// One that was rebased became several commits, of which this is the last.
	whole := commit.GetStats().GetAdditions() == pull.GetAdditions() && commit.GetStats().GetDeletions() == pull.GetDeletions()
	if len(commit.Parents) == 1 && pull.GetCommits() > 1 && !whole {
		checks.Block(name, "The pull request #%d became several commits: name those to revert.", number)
		return "", nil
	}
	checks.Pass(name, "The pull request #%d became the commit %s.", number, shorten(commit.GetSHA()))
	return commit.GetSHA(), nil
}

// first finds the commit that changed the branch first from a moment on.
func (i revert) first(ctx context.Context, at line, present tip, moment time.Time, checks *driver.Findings) (string, error) {
	const exists = "commit exists"
	chain, whole, err := i.conn.chain(ctx, at, present.commit, moment)
	if err != nil {
		return "", err
	}
	when := moment.UTC().Format(time.RFC3339)
	switch {
	case !whole:
		checks.Block(exists, "There are too many commits on %s since %s: name the one to revert.", at.branch, when)
		return "", nil
	case len(chain) == 0:
		checks.Block(exists, "Nothing was committed to %s since %s.", at.branch, when)
		return "", nil
	}
	found := chain[len(chain)-1]
	checks.Pass(exists, "The commit %s by %s was the first on %s since %s.", shorten(found.GetSHA()), plain(authorOf(found), 60), at.branch, when)
	return found.GetSHA(), nil
}

// chain reads the commits that changed a branch itself since a moment, newest
// first: each the first parent of the one before. It reports false when there
// are too many.
func (c *connection) chain(ctx context.Context, at line, from string, since time.Time) (found []*gh.RepositoryCommit, whole bool, err error) {
	known := map[string]*gh.RepositoryCommit{}
	opts := &gh.CommitsListOptions{SHA: from, Since: since.UTC().Truncate(time.Second), ListOptions: gh.ListOptions{PerPage: pageSize}}
	for range commitPages {
		page, resp, err := c.api.Repositories.ListCommits(ctx, at.owner, at.name, opts)
		if err != nil {
			return nil, false, c.classify(ctx, fmt.Sprintf("list commits of %s", at.repo()), resp, err)
		}
		for _, commit := range page {
			known[commit.GetSHA()] = commit
		}
		if whole = resp.NextPage == 0; whole {
			break
		}
		opts.Page = resp.NextPage
	}
	for commit := known[from]; commit != nil; {
		found = append(found, commit)
		if len(commit.Parents) == 0 {
			break
		}
		commit = known[commit.Parents[0].GetSHA()]
	}
	return found, whole, nil
}

// conflicts compares the files that a commit touched with what became of them.
func conflicts(checks *driver.Findings, at line, ch change, content files) {
	const name = "no conflict"
	var changed, back []string
	for _, path := range ch.touched {
		switch content[path] {
		case ch.after[path]:
		case ch.before[path]:
			back = append(back, path)
		default:
			changed = append(changed, path)
		}
	}
	within, clashes := clash(replaced(content, ch.before, ch.touched))
	switch {
	case len(ch.touched) == 0:
		checks.Block(name, "The commit %s touched no file.", shorten(ch.commit))
	case len(ch.touched) > maxTouched:
		checks.Block(name, "The commit %s touched %d files, of which Backout reverts %d at most.", shorten(ch.commit), len(ch.touched), maxTouched)
	case len(changed) > 0:
		checks.Block(name, "Newer commits changed what %s touched: %s.", shorten(ch.commit), listed(changed))
	case len(back) == len(ch.touched):
		checks.Block("not there already", "Everything that %s changed is back to what it was already.", shorten(ch.commit))
	case clashes:
		checks.Block(name, "A newer commit made a folder where %s would be again.", plain(within, 100))
	case len(back) > 0:
		checks.Warn(name, "Some of what %s changed is back already: %s.", shorten(ch.commit), listed(back))
	default:
		checks.Pass(name, "Nobody changed the %d files since that %s touched on %s.", len(ch.touched), shorten(ch.commit), at.branch)
	}
	if slices.ContainsFunc(ch.touched, func(path string) bool { return strings.HasPrefix(path, workflowFolder) }) {
		checks.Warn("workflows", "The commit touched workflows, which a token may write only with the permission workflows.")
	}
}

// listed names a few paths.
func listed(paths []string) string {
	var named []string
	for _, path := range paths[:min(namedPaths, len(paths))] {
		named = append(named, plain(path, 100))
	}
	if more := len(paths) - len(named); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(named, ", "), more)
	}
	return strings.Join(named, ", ")
}

// idle checks that no other rollback of the branch waits for its merge.
func (i revert) idle(ctx context.Context, at line, checks *driver.Findings) error {
	const name = "no revert in flight"
	opts := &gh.PullRequestListOptions{State: "open", Base: at.branch, ListOptions: gh.ListOptions{PerPage: pageSize}}
	for {
		open, resp, err := i.conn.api.PullRequests.List(ctx, at.owner, at.name, opts)
		err = i.conn.classify(ctx, fmt.Sprintf("list pull requests of %s", at.repo()), resp, err)
		if errors.Is(err, driver.ErrDenied) {
			checks.Block("permission", "Backout may not read the pull requests of %s.", at.repo())
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range open {
			if ours(p.GetHead().GetRef()) {
				checks.Block(name, "The pull request #%d of an earlier rollback is in flight: merge or close it first.", p.GetNumber())
				return nil
			}
		}
		if resp.NextPage == 0 {
			checks.Pass(name, "No pull request of an earlier rollback waits.")
			return nil
		}
		opts.Page = resp.NextPage
	}
}

// permitted asks GitHub for a branch at a commit that can not exist, and for a
// pull request of a branch that does not: whoever may not is told so first, and
// for anybody else nothing is made.
func (i revert) permitted(ctx context.Context, checks *driver.Findings, at line) {
	const nothing = revertPrefix + "preflight-of-nothing"
	_, resp, err := i.conn.api.Git.CreateRef(ctx, at.owner, at.name, &gh.Reference{
		Ref: new("refs/heads/" + nothing), Object: &gh.GitObject{SHA: new(nowhere)},
	})
	mayWrite(checks, "write branches of "+at.repo(), resp, err, limited(err))
	_, resp, err = i.conn.api.PullRequests.Create(ctx, at.owner, at.name, &gh.NewPullRequest{
		Title: new("Preflight"), Head: new(nothing), Base: &at.branch,
	})
	mayWrite(checks, "open pull requests in "+at.repo(), resp, err, limited(err))
}
