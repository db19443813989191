package github_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/github"
	fakegithub "github.com/backout/backout/test/fakes/github"
)

func TestUpsertKeepsWhatPeopleWrote(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	upsert(t, tr, "Postmortem", "draft one")
	edit := func(f func(*fakegithub.Issue)) { require.NoError(t, s.EditIssue(repo, 1, f)) }
	edit(func(i *fakegithub.Issue) {
		// GitHub's editor sends other line ends.
		i.Body = strings.ReplaceAll("Read this first.\n"+i.Body+"\n\n## Our lessons\n- [ ] buy @ada a cake, see #12", "\n", "\r\n")
		i.Title, i.Labels = "The day the discounts died", append(i.Labels, "sev1")
	})
	upsert(t, tr, "Postmortem, later", "draft two")
	issue := s.Issues(repo)[0]
	require.Equal(t, "The day the discounts died", issue.Title)
	require.Equal(t, []string{github.DefaultLabel, "sev1"}, issue.Labels)
	require.True(t, strings.HasPrefix(issue.Body, "Read this first.\n"))
	require.True(t, strings.HasSuffix(issue.Body, "\n\n## Our lessons\n- [ ] buy @ada a cake, see #12"))
	require.Contains(t, issue.Body, "draft two")
	require.NotContains(t, issue.Body, "draft one")

	// Now somebody corrects the draft itself.
	edit(func(i *fakegithub.Issue) { i.Body = strings.Replace(i.Body, "draft two", "draft two, corrected", 1) })
	before := s.Issues(repo)[0].Body
	upsert(t, tr, "Postmortem", "draft three")
	upsert(t, tr, "Postmortem", "draft three")
	upsert(t, tr, "Postmortem", "draft four")
	require.Equal(t, before, s.Issues(repo)[0].Body)
	comments := s.Comments(repo, 1)
	require.Len(t, comments, 1)
	require.Contains(t, comments[0].Body, "draft four")
	require.NotContains(t, comments[0].Body, "draft three")
	require.Len(t, s.Calls("PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}"), 1)

	// And somebody takes the markers of the draft away, but not the incident's.
	edit(func(i *fakegithub.Issue) { i.Body = "Rewritten. <!-- backout:incident=pagerduty/Q1 -->" })
	upsert(t, tr, "Postmortem", "draft five")
	require.Equal(t, "Rewritten. <!-- backout:incident=pagerduty/Q1 -->", s.Issues(repo)[0].Body)
	require.Contains(t, s.Comments(repo, 1)[0].Body, "draft five")
}

// People tidy up what they can not see the use of. The issue stays the one.
func TestUpsertFindsTheIssueThatPeopleTidiedUp(t *testing.T) {
	t.Parallel()
	top := regexp.MustCompile(`<!-- backout:incident=[^>]*-->\n`)
	start := regexp.MustCompile(`<!-- backout:begin[^>]*-->`)
	for _, tt := range []struct {
		name string
		edit func(i *fakegithub.Issue)
		// restarts says that another process finds it as well, without having known.
		restarts bool
		// inComment says that the next draft goes into a comment.
		inComment bool
	}{
		{name: "top marker removed", restarts: true, edit: func(i *fakegithub.Issue) { i.Body = top.ReplaceAllString(i.Body, "") }},
		{name: "marker of the draft removed", restarts: true, inComment: true, edit: func(i *fakegithub.Issue) { i.Body = start.ReplaceAllString(i.Body, "") }},
		{name: "all rewritten", inComment: true, edit: func(i *fakegithub.Issue) { i.Body = "What really happened." }},
		{name: "all removed", inComment: true, edit: func(i *fakegithub.Issue) { i.Body = "" }},
		{name: "label removed", edit: func(i *fakegithub.Issue) { i.Labels = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			tr := tracker(t, s)
			ref := upsert(t, tr, "Postmortem", "draft one")
			require.NoError(t, s.EditIssue(repo, ref.Number, tt.edit))
			if tt.restarts {
				tr = tracker(t, s)
			}
			require.Equal(t, ref, upsert(t, tr, "Postmortem", "draft two"))
			require.Len(t, s.Issues(repo), 1)
			if !tt.inComment {
				require.Contains(t, s.Issues(repo)[0].Body, "draft two")
				require.Contains(t, s.Issues(repo)[0].Body, "<!-- backout:incident=pagerduty/Q1 -->")
				return
			}
			require.NotContains(t, s.Issues(repo)[0].Body, "draft two")
			require.Len(t, s.Comments(repo, ref.Number), 1)
			// The comment leads the next process to the issue.
			require.Equal(t, ref, upsert(t, tracker(t, s), "Postmortem", "draft three"))
			require.Len(t, s.Issues(repo), 1)
			require.Len(t, s.Comments(repo, ref.Number), 1)
			require.Contains(t, s.Comments(repo, ref.Number)[0].Body, "draft three")
		})
	}
}

// An issue that became another incident's is not the one any more.
func TestUpsertLeavesAnotherIncidentsIssueAlone(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	upsert(t, tr, "Postmortem", "draft one")
	require.NoError(t, s.EditIssue(repo, 1, func(i *fakegithub.Issue) { i.Body = strings.ReplaceAll(i.Body, "pagerduty/Q1", "pagerduty/Q2") }))
	before := s.Issues(repo)[0].Body
	ref := upsert(t, tr, "Postmortem", "draft two")
	require.Equal(t, 2, ref.Number)
	require.Equal(t, before, s.Issues(repo)[0].Body)
}
