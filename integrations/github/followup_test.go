package github_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/github"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

const sectioned = "Drafted.\n\n## Summary\n\nit broke\n\n## Action items\n\n- [ ] mend it\n- [ ] review it"

// A section that people edited stays, and one comment says what it would be, as long as
// it would be something else.
func TestUpsertTellsWhatItLeavesAlone(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	upsert(t, tr, "Postmortem", sectioned)
	require.NoError(t, s.EditIssue(repo, 1, func(i *fakegithub.Issue) { i.Body = strings.Replace(i.Body, "it broke", "the discounts did it", 1) }))
	upsert(t, tr, "Postmortem", sectioned)
	require.Empty(t, s.Comments(repo, 1), "there is nothing new to say")
	upsert(t, tr, "Postmortem", strings.ReplaceAll(sectioned, "it broke", "it broke twice")+"\n- [ ] tell them")
	body := s.Issues(repo)[0].Body
	require.Contains(t, body, "the discounts did it")
	require.NotContains(t, body, "it broke twice")
	require.Contains(t, body, "tell them", "the other section goes on")
	require.Len(t, s.Comments(repo, 1), 1)
	require.Contains(t, s.Comments(repo, 1)[0].Body, "## Summary\n\nit broke twice")
	require.NotContains(t, s.Comments(repo, 1)[0].Body, "tell them")
	upsert(t, tracker(t, s), "Postmortem", sectioned)
	require.Len(t, s.Comments(repo, 1), 1)
	require.NotContains(t, s.Comments(repo, 1)[0].Body, "it broke twice")
}

// Whatever people do with the issue as a whole, it stays the one.
func TestUpsertFollowsTheIssue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(i *fakegithub.Issue)
		want func(t *testing.T, i fakegithub.Issue)
	}{
		{"closed", func(i *fakegithub.Issue) { i.State = "closed" }, func(t *testing.T, i fakegithub.Issue) {
			t.Helper()
			require.Equal(t, "closed", i.State, "it is not opened again")
		}},
		{"reopened", func(i *fakegithub.Issue) { i.State, i.Reason = "open", "reopened" }, func(t *testing.T, i fakegithub.Issue) {
			t.Helper()
			require.Equal(t, "open", i.State)
		}},
		{"renamed", func(i *fakegithub.Issue) { i.Title = "The day the discounts died" }, func(t *testing.T, i fakegithub.Issue) {
			t.Helper()
			require.Equal(t, "The day the discounts died", i.Title)
		}},
		{"locked", func(i *fakegithub.Issue) {
			i.Locked = true
			i.Body = strings.Replace(i.Body, "mend it", "mend it well", 1)
		}, func(t *testing.T, i fakegithub.Issue) {
			t.Helper()
			require.Contains(t, i.Body, "mend it well")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			ref := upsert(t, tracker(t, s), "Postmortem", sectioned)
			require.NoError(t, s.EditIssue(repo, 1, tt.edit))
			for _, tr := range []*github.Tracker{tracker(t, s), tracker(t, s)} {
				require.Equal(t, ref, upsert(t, tr, "Postmortem, later", strings.ReplaceAll(sectioned, "it broke", "it is over")+"\n- [ ] more"))
			}
			require.Len(t, s.Issues(repo), 1)
			require.Contains(t, s.Issues(repo)[0].Body, "it is over")
			tt.want(t, s.Issues(repo)[0])
		})
	}
}

func TestStands(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	_, err := tr.Stands(t.Context(), key)
	require.ErrorIs(t, err, driver.ErrNotFound)
	upsert(t, tr, "Postmortem", sectioned)
	stands := func() incident.PostmortemState {
		got, err := tr.Stands(t.Context(), key)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, incident.PostmortemState{Open: true, Items: 2}, stands())
	require.NoError(t, s.EditIssue(repo, 1, func(i *fakegithub.Issue) {
		i.State, i.Body = "closed", strings.Replace(i.Body, "- [ ] mend", "- [X] mend", 1)
	}))
	require.Equal(t, incident.PostmortemState{Items: 1}, stands())
	_, err = tr.Stands(t.Context(), "pagerduty/a--b")
	require.ErrorIs(t, err, driver.ErrInvalid)
}

func TestRemarkIsSaidOnce(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	require.ErrorIs(t, tr.Remark(t.Context(), key, "r1", "hello"), driver.ErrNotFound, "no issue is made for it")
	require.Empty(t, s.Issues(repo))
	upsert(t, tr, "Postmortem", sectioned)
	s.Inject(rest.Fault{Method: http.MethodPost, Path: commentsPath, DropReply: true, Times: 1})
	require.Error(t, tr.Remark(t.Context(), key, "pagerduty/Q1/postmortem/1", "due, @ada, see #1 <!-- backout:end -->"))
	require.NoError(t, tr.Remark(t.Context(), key, "pagerduty/Q1/postmortem/1", "due, @ada, see #1"))
	require.NoError(t, tracker(t, s).Remark(t.Context(), key, "pagerduty/Q1/postmortem/1", "due"))
	require.Len(t, s.Comments(repo, 1), 1)
	require.NotContains(t, s.Comments(repo, 1)[0].Body, "@ada")
	require.NotContains(t, s.Comments(repo, 1)[0].Body, "backout:end")
	require.NoError(t, tr.Remark(t.Context(), key, "pagerduty/Q1/postmortem/2", "due still"))
	require.Len(t, s.Comments(repo, 1), 2)
	for _, id := range []string{"", "a b", "a-->b", "<x"} {
		require.ErrorIs(t, tr.Remark(t.Context(), key, id, "x"), driver.ErrInvalid)
	}
	require.NoError(t, s.EditIssue(repo, 1, func(i *fakegithub.Issue) { i.Locked = true }))
	require.ErrorIs(t, tr.Remark(t.Context(), key, "r3", "x"), driver.ErrDenied)
}
