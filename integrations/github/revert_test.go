package github_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

// branch is the target of these tests.
var branch = incident.Target{System: "gh", Path: repo + "/main"}

// history is a repository of Git's with a first commit, a bad one to a file, a
// new file and a deleted one, and a newer one elsewhere.
func history(t *testing.T) (s *fakegithub.Server, bad string) {
	t.Helper()
	s = world(t)
	require.NoError(t, s.UseGit(repo, t.TempDir()))
	pushed(t, s, "One", noon.Add(-3*time.Hour), map[string]string{"limits": "10\n", "old": "old\n", "other": "1\n"})
	bad = pushed(t, s, "Raise the limit @ada", noon.Add(-2*time.Hour), map[string]string{"limits": "1\n", "dir/new": "new\n"}, "old")
	pushed(t, s, "Elsewhere", noon.Add(-time.Hour), map[string]string{"other": "2\n"})
	return s, bad
}

func pushed(t *testing.T, s *fakegithub.Server, message string, at time.Time, write map[string]string, remove ...string) string {
	t.Helper()
	hash, err := s.Push(repo, fakegithub.Push{Branch: "main", Author: "ada", Message: message, At: at, Write: write, Delete: remove})
	require.NoError(t, err)
	return hash
}

func requireFile(t *testing.T, s *fakegithub.Server, path, want string) {
	t.Helper()
	content, found := s.File(repo, "main", path)
	require.Equal(t, want != "", found, path)
	require.Equal(t, want, content)
}

func plannedRevert(t *testing.T, inv driver.Inverse, req driver.PlanRequest) incident.Action {
	t.Helper()
	req.Target = branch
	planned, err := inv.Plan(t.Context(), req)
	require.NoError(t, err)
	require.False(t, planned.Blocked(), planned.Preflight)
	return actionOf("github.revert", branch.Path, planned)
}

func TestRevertBefore(t *testing.T) {
	t.Parallel()
	s, bad := history(t)
	inv, _ := inverse(t, s, "github.revert")
	action := plannedRevert(t, inv, driver.PlanRequest{Before: noon.Add(-2 * time.Hour)})
	require.Contains(t, action.To.Revision, "@"+bad, "the first commit from that moment on is not the one to revert")
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	requireFile(t, s, "limits", "10\n")
	requireFile(t, s, "old", "old\n")
	requireFile(t, s, "dir/new", "")
	requireFile(t, s, "other", "2\n")
	pulls := s.Pulls(repo)
	require.Len(t, pulls, 1)
	require.Equal(t, "Revert Raise the limit @\u2060ada", pulls[0].Title, "the title calls people")
	require.False(t, pulls[0].Pull.MergedAt.IsZero(), "GitHub does not count it as merged")
	require.Equal(t, s.History(repo, "main")[0], pulls[0].Pull.MergeSHA)
}

func TestRevertConflicts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		write map[string]string
		gone  []string
		says  string
	}{
		{name: "changed again", write: map[string]string{"limits": "5\n"}, says: "Newer commits changed what"},
		{name: "deleted since", gone: []string{"dir/new"}, write: map[string]string{"limits": "7\n"}, says: "limits"},
		{name: "a folder in its place", write: map[string]string{"old/deep": "x\n"}, says: "made a folder where old"},
		{name: "all back already", write: map[string]string{"limits": "10\n", "old": "old\n"}, gone: []string{"dir/new"}, says: "already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, bad := history(t)
			pushed(t, s, "Newer", noon, tt.write, tt.gone...)
			inv, _ := inverse(t, s, "github.revert")
			planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: branch, Revision: bad})
			require.NoError(t, err)
			require.True(t, planned.Blocked())
			require.Contains(t, reasons(planned, incident.PreflightBlocked), tt.says)
			require.Empty(t, s.Pulls(repo))
		})
	}
}

func TestRevertPreflight(t *testing.T) {
	t.Parallel()
	s, bad := history(t)
	number := s.AddIssue(repo, fakegithub.Issue{Title: "Raise the limit", State: "closed", Pull: &fakegithub.Pull{Head: "topic", Base: "main", MergeSHA: bad, MergedAt: noon}})
	require.Equal(t, 1, number)
	s.AddIssue(repo, fakegithub.Issue{Title: "Open", Pull: &fakegithub.Pull{Head: "open", Base: "main"}})
	s.AddIssue(repo, fakegithub.Issue{Title: "Elsewhere", State: "closed", Pull: &fakegithub.Pull{Head: "x", Base: "next", MergeSHA: bad, MergedAt: noon}})
	first := s.History(repo, "main")[2]
	inv, _ := inverse(t, s, "github.revert")
	tests := []struct {
		name, revision, says string
		blocked              bool
	}{
		{name: "pull request", revision: "#1", says: "The pull request #1 became the commit"},
		{name: "open pull request", revision: "#2", says: "was not merged", blocked: true},
		{name: "pull request into another branch", revision: "#3", says: "was merged into next", blocked: true},
		{name: "no such pull request", revision: "#9", says: "There is no pull request #9", blocked: true},
		{name: "no number", revision: "#x", says: "is not the number", blocked: true},
		{name: "short hash", revision: bad[:10], says: "full hash", blocked: true},
		{name: "first commit", revision: first, says: "nothing before", blocked: true},
		{name: "moment after everything", says: "Nothing was committed", blocked: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := driver.PlanRequest{Target: branch, Revision: tt.revision}
			if tt.revision == "" {
				req.Before = noon
			}
			planned, err := inv.Plan(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, tt.blocked, planned.Blocked(), planned.Preflight)
			result := incident.PreflightOK
			if tt.blocked {
				result = incident.PreflightBlocked
			}
			require.Contains(t, reasons(planned, result), tt.says)
		})
	}
}

func TestRevertWaitsForTheBranchRules(t *testing.T) {
	t.Parallel()
	s, bad := history(t)
	s.Protect(repo, "main", "At least 1 approving review is required by reviewers with write access.")
	inv, _ := inverse(t, s, "github.revert")
	action := plannedRevert(t, inv, driver.PlanRequest{Revision: bad})
	before := s.History(repo, "main")
	for range 3 {
		receipt, err := inv.Apply(t.Context(), action, "key")
		require.NoError(t, err)
		require.False(t, receipt.Mutated)
		require.Contains(t, receipt.Detail, "approving review is required")
	}
	require.Equal(t, before, s.History(repo, "main"))
	require.Len(t, s.Pulls(repo), 1, "it was opened more than once")

	// A newer commit elsewhere is no obstacle: the branch of the revert follows.
	pushed(t, s, "Elsewhere again", noon, map[string]string{"other": "3\n"})
	s.Protect(repo, "main", "")
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	requireFile(t, s, "limits", "10\n")
	requireFile(t, s, "other", "3\n")
	seen, err := inv.Observe(t.Context(), action)
	require.NoError(t, err)
	require.Equal(t, action.To.Digest, seen.State.Digest)
}

// TestRevertByPeople shows that people may merge it, and that closing it ends the
// action.
func TestRevertByPeople(t *testing.T) {
	t.Parallel()
	s, bad := history(t)
	s.Protect(repo, "main", "1 of 1 required status checks are expected.")
	inv, _ := inverse(t, s, "github.revert")
	action := plannedRevert(t, inv, driver.PlanRequest{Revision: bad})
	_, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.NoError(t, s.EditIssue(repo, 1, func(i *fakegithub.Issue) { i.State = "closed" }))
	_, err = inv.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "somebody closed pull request #1")
}

// TestRevertBuildsOnTheNewerCommit shows that a commit to other files that comes
// at the last moment is neither lost nor in the way.
func TestRevertBuildsOnTheNewerCommit(t *testing.T) {
	t.Parallel()
	s, bad := history(t)
	inv, _ := inverse(t, s, "github.revert")
	action := plannedRevert(t, inv, driver.PlanRequest{Revision: bad})
	s.Inject(rest.Fault{Method: http.MethodPatch, Path: "/repos/{owner}/{repo}/git/refs/{ref}", Drop: true, Times: 1})
	_, err := inv.Apply(t.Context(), action, "key")
	require.Error(t, err)
	require.False(t, driver.Final(err))
	pushed(t, s, "Elsewhere again", noon, map[string]string{"other": "3\n"})
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	requireFile(t, s, "limits", "10\n")
	requireFile(t, s, "other", "3\n")
	require.Len(t, s.Pulls(repo), 1)
}

func TestCommitsAsChanges(t *testing.T) {
	t.Parallel()
	s, bad := history(t)
	_, set := inverse(t, s, "github.revert")
	source, err := set.Source("github.revert", "gh")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: branch, Since: noon.Add(-150 * time.Minute), Until: noon.Add(-90 * time.Minute)})
	require.NoError(t, err)
	require.Len(t, changes, 1)
	change := changes[0]
	require.Equal(t, repo+"/commits/"+bad, change.ID)
	require.Equal(t, bad[:10], change.To)
	require.Equal(t, "ada", change.Author)
	require.True(t, noon.Add(-2*time.Hour).Equal(change.At))
	require.Equal(t, "Raise the limit @ada", change.Summary)

	// The moment of a change leads its inverse to that very commit.
	inv, err := set.Inverse("github.revert", "gh")
	require.NoError(t, err)
	require.Contains(t, plannedRevert(t, inv, driver.PlanRequest{Before: change.At}).To.Revision, "@"+bad)
}
