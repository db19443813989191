package github_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

const elsewhere = "acme/archive"

// An issue that people moved to another repository is the incident's still: it is
// written, remarked on and looked at there, also by a process that never saw it, and
// the issue that has its number meanwhile is left alone.
func TestAnIssueThatWasMovedIsFollowed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fresh bool
	}{{"by the process that made it", false}, {"by a process that never saw it", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			s.AddRepo(elsewhere)
			// Numbers there are not those here.
			require.Equal(t, 1, s.AddIssue(elsewhere, fakegithub.Issue{Title: "Another", Body: "not Backout's"}))
			tr := tracker(t, s)
			made := upsert(t, tr, "Postmortem", "## Status\n\none")
			other := s.AddIssue(repo, fakegithub.Issue{Title: "A stranger", Body: "with the number that it has there"})
			number, err := s.Transfer(repo, made.Number, elsewhere)
			require.NoError(t, err)
			require.Equal(t, other, number, "the trap is set")
			if tt.fresh {
				tr = tracker(t, s)
				tr.Made(key, made)
			}
			ref := upsert(t, tr, "Postmortem: done", "## Status\n\ntwo")
			require.Equal(t, number, ref.Number)
			require.Contains(t, ref.URL, elsewhere)
			require.Len(t, s.Issues(repo), 1, "no other is made")
			require.Equal(t, "with the number that it has there", s.Issues(repo)[0].Body)
			moved := s.Issues(elsewhere)[1]
			require.Equal(t, "Postmortem: done", moved.Title)
			require.Contains(t, moved.Body, "two")

			require.NoError(t, tr.Remark(t.Context(), key, "pagerduty/Q1/postmortem/e1", "it is due"))
			require.NoError(t, tr.Remark(t.Context(), key, "pagerduty/Q1/postmortem/e1", "it is due"))
			require.Len(t, s.Comments(elsewhere, number), 1)
			require.Empty(t, s.Comments(repo, other))
			require.NoError(t, s.EditIssue(elsewhere, number, func(i *fakegithub.Issue) { i.State = "closed" }))
			stands, err := tr.Stands(t.Context(), key)
			require.NoError(t, err)
			require.False(t, stands.Open)
		})
	}
}

// An issue that is gone, or where the token may not read, is said to be, and no other
// is made in its place.
func TestAnIssueThatIsGoneIsSaidToBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose func(t *testing.T, s *fakegithub.Server, number int)
	}{
		{"deleted", func(t *testing.T, s *fakegithub.Server, number int) {
			t.Helper()
			require.NoError(t, s.DeleteIssue(repo, number))
		}},
		{"moved to where the token may not read", func(t *testing.T, s *fakegithub.Server, number int) {
			t.Helper()
			s.AddRepo(elsewhere)
			_, err := s.Transfer(repo, number, elsewhere)
			require.NoError(t, err)
			s.Hide(elsewhere)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			made := upsert(t, tracker(t, s), "Postmortem", "one")
			tt.lose(t, s, made.Number)
			tr := tracker(t, s)
			tr.Made(key, made)
			for range 2 {
				_, err := tr.Upsert(t.Context(), key, "Postmortem", "two")
				require.ErrorIs(t, err, driver.ErrNotFound)
				require.ErrorContains(t, err, "deleted, or moved to where the token may not read")
				_, err = tr.Stands(t.Context(), key)
				require.ErrorIs(t, err, driver.ErrNotFound)
				require.ErrorIs(t, tr.Remark(t.Context(), key, "e1", "due"), driver.ErrNotFound)
			}
			require.Empty(t, s.Issues(repo))
		})
	}
}

// Where an issue was made is believed only of an issue's address.
func TestWhatNamesNoIssueIsIgnored(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		ref  incident.PostmortemRef
	}{
		{"no address", incident.PostmortemRef{Number: 7}},
		{"another number", incident.PostmortemRef{Number: 7, URL: "https://github.com/acme/shop/issues/8"}},
		{"a pull request", incident.PostmortemRef{Number: 7, URL: "https://github.com/acme/shop/pull/7"}},
		{"a path", incident.PostmortemRef{Number: 7, URL: "https://github.com/../../issues/7"}},
		{"nothing of an address", incident.PostmortemRef{Number: 7, URL: "://"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			tr := tracker(t, s)
			tr.Made(key, tt.ref)
			require.Equal(t, 1, upsert(t, tr, "Postmortem", "one").Number)
		})
	}
}

// A write that is sent elsewhere is not taken for done: it would be a read there.
func TestAWriteIsNotRedirectedIntoARead(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	upsert(t, tr, "Postmortem", "one")
	s.Inject(rest.Fault{
		Method: http.MethodPatch, Path: issuePath, Status: http.StatusMovedPermanently, Times: 1,
		Header: http.Header{"Location": {s.URL() + "/repos/acme/shop/issues/1"}},
	})
	_, err := tr.Upsert(t.Context(), key, "Postmortem", "two")
	require.Error(t, err)
	require.False(t, driver.Final(err), "the next attempt looks where it is")
	upsert(t, tr, "Postmortem", "two")
	require.Contains(t, s.Issues(repo)[0].Body, "two")
}
