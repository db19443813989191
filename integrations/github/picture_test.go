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

const contentsPath = "/repos/{owner}/{repo}/contents/{path}"

func charts(o *github.TrackerOptions) { o.Charts = true }

// chartPath is where a picture is.
func chartPath(of string, png []byte) string {
	return "charts/" + of + "/" + strings.TrimPrefix(incident.DigestOf(png), "sha256:") + ".png"
}

func TestPictureIsPutOnceOnABranchOfItsOwn(t *testing.T) {
	t.Parallel()
	png := []byte("\x89PNG\r\n\x1a\n\x00binary")
	for _, tt := range []struct {
		name  string
		fault *rest.Fault
	}{
		{"good day", nil},
		{"lost answer to the picture", &rest.Fault{Method: http.MethodPut, Path: contentsPath, DropReply: true, Times: 1}},
		{"lost answer to the branch", &rest.Fault{Method: http.MethodPost, Path: "/repos/{owner}/{repo}/git/refs", DropReply: true, Times: 1}},
		{"lost answer to the tree", &rest.Fault{Method: http.MethodPost, Path: "/repos/{owner}/{repo}/git/trees", DropReply: true, Times: 1}},
		{"lost look", &rest.Fault{Method: http.MethodGet, Path: contentsPath, Drop: true, Times: 1}},
		{"server error", &rest.Fault{Method: http.MethodPut, Path: contentsPath, Status: http.StatusBadGateway, Times: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := history(t)
			main := s.History(repo, "main")
			if tt.fault != nil {
				s.Inject(*tt.fault)
				if _, err := tracker(t, s, charts).Picture(t.Context(), key, png); err != nil {
					require.False(t, driver.Final(err), "it can be tried again: %v", err)
				}
			}
			tr := tracker(t, s, charts)
			address, err := tr.Picture(t.Context(), key, png)
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(address, "/acme/shop/blob/backout-charts/"+chartPath("pagerduty-Q1", png)+"?raw=true"), address)
			again, err := tracker(t, s, charts).Picture(t.Context(), key, png)
			require.NoError(t, err)
			require.Equal(t, address, again)

			content, found := s.File(repo, github.ChartsBranch, chartPath("pagerduty-Q1", png))
			require.True(t, found)
			require.Equal(t, string(png), content)
			require.Len(t, s.History(repo, github.ChartsBranch), 2, "one commit makes the branch, one has the picture")
			require.Equal(t, main, s.History(repo, "main"), "nothing else is touched")
			_, mixed := s.File(repo, github.ChartsBranch, "limits")
			require.False(t, mixed, "the branch shares nothing with main")
		})
	}
}

func TestAPictureThatWasReplacedIsPutBack(t *testing.T) {
	t.Parallel()
	s, _ := history(t)
	png := []byte("\x89PNG\r\n\x1a\nthe chart")
	tr := tracker(t, s, charts)
	_, err := tr.Picture(t.Context(), key, png)
	require.NoError(t, err)
	_, err = s.Push(repo, fakegithub.Push{Branch: github.ChartsBranch, Author: "eve", Message: "A better one", Write: map[string]string{chartPath("pagerduty-Q1", png): "another"}})
	require.NoError(t, err)
	_, err = tr.Picture(t.Context(), key, png)
	require.NoError(t, err)
	content, _ := s.File(repo, github.ChartsBranch, chartPath("pagerduty-Q1", png))
	require.Equal(t, string(png), content)
}

func TestPictureKeysStayInTheirFolder(t *testing.T) {
	t.Parallel()
	s, _ := history(t)
	for of, key := range map[string]string{"pagerduty-__": "pagerduty/..", "cli-a_b_c": "cli/a.b_c"} {
		png := []byte("\x89PNG\r\n\x1a\n of " + key)
		_, err := tracker(t, s, charts).Picture(t.Context(), key, png)
		require.NoError(t, err)
		_, found := s.File(repo, github.ChartsBranch, chartPath(of, png))
		require.True(t, found, key)
	}
}

func TestPictureRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config func(*fakegithub.Config)
		key    string
		png    []byte
		want   error
	}{
		{"a page", nil, key, []byte("<!DOCTYPE html><html></html>"), driver.ErrInvalid},
		{"a drawing that can carry a program", nil, key, []byte(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), driver.ErrInvalid},
		{"no key", nil, "pagerduty/a/b", []byte("\x89PNG\r\n\x1a\n"), driver.ErrInvalid},
		{"nothing", nil, key, nil, driver.ErrInvalid},
		{"huge", nil, key, make([]byte, 1<<20+1), driver.ErrInvalid},
		{"a token without the right", func(c *fakegithub.Config) {
			c.Grants = map[string][]string{"backout-bot": {"issues: write", "contents: read"}}
		}, key, []byte("\x89PNG\r\n\x1a\n"), driver.ErrDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var change []func(*fakegithub.Config)
			if tt.config != nil {
				change = append(change, tt.config)
			}
			s := world(t, change...)
			require.NoError(t, s.UseGit(repo, t.TempDir()))
			_, err := s.Push(repo, fakegithub.Push{Branch: "main", Author: "ada", Message: "One", Write: map[string]string{"a": "b"}})
			require.NoError(t, err)
			_, err = tracker(t, s, charts).Picture(t.Context(), tt.key, tt.png)
			require.ErrorIs(t, err, tt.want)
			require.NotContains(t, err.Error(), canary)
			require.Empty(t, s.History(repo, github.ChartsBranch))
		})
	}
}

func TestPicturesAreOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	s, _ := history(t)
	address, err := tracker(t, s).Picture(t.Context(), key, []byte("\x89PNG\r\n\x1a\n"))
	require.NoError(t, err)
	require.Empty(t, address)
	require.Empty(t, s.History(repo, github.ChartsBranch))
}

// The first bytes say what a picture is, and its file is called so.
func TestPicturesOfEveryKind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, content, ending string }{
		{"png", "\x89PNG\r\n\x1a\n....", ".png"},
		{"jpeg", "\xff\xd8\xff\xe0....", ".jpg"},
		{"gif", "GIF89a....", ".gif"},
		{"webp", "RIFF....WEBPVP8 ....", ".webp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, _ := history(t)
			tr := tracker(t, s, charts)
			require.True(t, tr.Keeps())
			address, err := tr.Picture(t.Context(), key, []byte(tt.content))
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(address, tt.ending+"?raw=true"), address)
			require.False(t, tracker(t, s).Keeps())
		})
	}
}
