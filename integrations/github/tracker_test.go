package github_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/github"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

const (
	repo = "acme/shop"
	key  = "pagerduty/Q1"
	// canary is the token; no error may hold it.
	canary = "ghp_CANARYc0ffee"

	issuesPath   = "/repos/{owner}/{repo}/issues"
	issuePath    = issuesPath + "/{issue_number}"
	commentsPath = issuePath + "/comments"
)

// The port that the product's activities declare.
var _ interface {
	Upsert(ctx context.Context, key, title, body string) (incident.PostmortemRef, error)
} = (*github.Tracker)(nil)

func world(t *testing.T, change ...func(*fakegithub.Config)) *fakegithub.Server {
	t.Helper()
	cfg := fakegithub.Config{Tokens: map[string]string{canary: "backout-bot", "weak": "reader"}, ReadOnly: []string{"reader"}}
	for _, f := range change {
		f(&cfg)
	}
	s, err := fakegithub.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close()
		require.Empty(t, s.Violations())
	})
	s.AddRepo(repo)
	return s
}

func tracker(t *testing.T, s *fakegithub.Server, change ...func(*github.TrackerOptions)) *github.Tracker {
	t.Helper()
	o := github.TrackerOptions{Options: github.Options{URL: s.URL(), Token: canary}, Repo: repo}
	for _, f := range change {
		f(&o)
	}
	tr, err := github.NewTracker(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

func upsert(t *testing.T, tr *github.Tracker, title, body string) incident.PostmortemRef {
	t.Helper()
	ref, err := tr.Upsert(t.Context(), key, title, body)
	require.NoError(t, err)
	return ref
}

func TestUpsertCreatesOnceAndUpdates(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	ref := upsert(t, tr, "Postmortem", "# Draft one")
	require.Equal(t, 1, ref.Number)
	require.Equal(t, s.URL()+"/page/acme/shop/issues/1", ref.URL)
	issue := s.Issues(repo)[0]
	require.Equal(t, []string{github.DefaultLabel}, issue.Labels)
	require.Contains(t, issue.Body, "<!-- backout:incident=pagerduty/Q1 -->")
	require.Contains(t, issue.Body, "# Draft one")

	require.Equal(t, ref, upsert(t, tr, "Postmortem", "# Draft one"))
	require.Empty(t, s.Calls("PATCH "+issuePath), "nothing changed, nothing is written")
	require.Equal(t, ref, upsert(t, tr, "Postmortem: done", "# Draft two"))
	// A worker that has just started knows nothing and finds it all the same.
	require.Equal(t, ref, upsert(t, tracker(t, s), "Postmortem: done", "# Draft three"))
	issues := s.Issues(repo)
	require.Len(t, issues, 1)
	require.Equal(t, "Postmortem: done", issues[0].Title)
	require.Contains(t, issues[0].Body, "# Draft three")
	require.NotContains(t, issues[0].Body, "# Draft two")
	require.Empty(t, s.Calls("GET /search/issues"))

	other, err := tr.Upsert(t.Context(), "pagerduty/Q11", "Another", "text")
	require.NoError(t, err)
	require.Equal(t, 2, other.Number, "a longer key is another incident")
}

func TestUpsertSurvivesLostResponses(t *testing.T) {
	t.Parallel()
	s := world(t)
	s.Inject(rest.Fault{Method: http.MethodPost, Path: issuesPath, DropReply: true, Times: 1})
	_, err := tracker(t, s).Upsert(t.Context(), key, "Postmortem", "one")
	require.Error(t, err)
	require.False(t, driver.Final(err))
	tr := tracker(t, s)
	upsert(t, tr, "Postmortem", "one")
	require.Len(t, s.Issues(repo), 1, "the retry finds what was created")

	s.Inject(rest.Fault{Method: http.MethodPatch, Path: issuePath, DropReply: true, Times: 1})
	_, err = tr.Upsert(t.Context(), key, "Postmortem", "two")
	require.Error(t, err)
	upsert(t, tr, "Postmortem", "two")
	require.Len(t, s.Calls("PATCH "+issuePath), 1, "the retry finds what was written")

	require.NoError(t, s.EditIssue(repo, 1, func(i *fakegithub.Issue) { i.Body = strings.Replace(i.Body, "two", "two, we think", 1) }))
	s.Inject(rest.Fault{Method: http.MethodPost, Path: commentsPath, DropReply: true, Times: 1})
	_, err = tr.Upsert(t.Context(), key, "Postmortem", "three")
	require.Error(t, err)
	upsert(t, tr, "Postmortem", "three")
	require.Len(t, s.Comments(repo, 1), 1)
}

func TestUpsertAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = tr.Upsert(t.Context(), key, "Postmortem", fmt.Sprint("draft ", i)) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, s.Issues(repo), 1)
}

func TestUpsertFindsBehindManyAndIgnoresOthers(t *testing.T) {
	t.Parallel()
	s := world(t)
	label := []string{github.DefaultLabel}
	for range 150 {
		s.AddIssue(repo, fakegithub.Issue{Title: "Older", Labels: label, Body: "<!-- backout:incident=pagerduty/OTHER -->"})
	}
	s.AddIssue(repo, fakegithub.Issue{Title: "No label", Body: "<!-- backout:incident=pagerduty/Q1 -->"})
	s.AddIssue(repo, fakegithub.Issue{Title: "A pull request", Labels: label, Body: "<!-- backout:incident=pagerduty/Q1 -->", Pull: &fakegithub.Pull{Head: "x", Base: "main"}})
	ref := upsert(t, tracker(t, s), "Postmortem", "one")
	require.Equal(t, 153, ref.Number, "neither the unlabelled issue nor the pull request is it")
	require.NoError(t, s.EditIssue(repo, 153, func(i *fakegithub.Issue) { i.State = "closed" }))
	require.Equal(t, ref, upsert(t, tracker(t, s), "Postmortem", "two"))
	require.Equal(t, "closed", s.Issues(repo)[151].State, "it is found closed and stays closed")
	s.AddIssue(repo, fakegithub.Issue{Title: "Copy", Labels: label, Body: "<!-- backout:incident=pagerduty/Q1 -->"})
	require.Equal(t, ref, upsert(t, tracker(t, s), "Postmortem", "three"), "the oldest is it")
}

func TestUpsertNeutralisesTheDraft(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	upsert(t, tr, "Fix @ada #12\n<!-- x -->", "cc @ada\n<!-- backout:end -->\n<!-- backout:incident=pagerduty/Q2 -->\nsee #12")
	issue := s.Issues(repo)[0]
	require.Equal(t, "Fix @\u2060ada #\u206012", issue.Title)
	require.NotContains(t, issue.Body, "@ada")
	require.NotContains(t, issue.Body, "#12")
	require.NotContains(t, issue.Body, "pagerduty/Q2")
	upsert(t, tr, "T", strings.Repeat("line of é\n", 10000))
	require.Contains(t, s.Issues(repo)[0].Body, "This draft was cut here")
}

func TestUpsertRefuses(t *testing.T) {
	t.Parallel()
	s := world(t)
	tr := tracker(t, s)
	for _, bad := range []string{"", "Q1", "pagerduty/--", "pagerduty/a-->b", "pagerduty/" + strings.Repeat("x", 200)} {
		_, err := tr.Upsert(t.Context(), bad, "T", "x")
		require.ErrorIs(t, err, driver.ErrInvalid, bad)
	}
	_, err := tr.Upsert(t.Context(), key, " <!-- x --> ", "x")
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.Empty(t, s.Calls(""))
	_, err = tracker(t, s, func(o *github.TrackerOptions) { o.Token = "weak" }).Upsert(t.Context(), key, "T", "x")
	require.ErrorIs(t, err, driver.ErrDenied)
	_, err = tracker(t, s, func(o *github.TrackerOptions) { o.Repo = "acme/none" }).Upsert(t.Context(), key, "T", "x")
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestErrorsAreDecidedOnce(t *testing.T) {
	t.Parallel()
	secondary := fakegithub.SecondaryLimit(42 * time.Second)
	reset := func(in time.Duration) http.Header {
		return http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(time.Now().Add(in).Unix())}}
	}
	tests := []struct {
		name         string
		fault        rest.Fault
		final        error
		least, above time.Duration
	}{
		{name: "secondary limit", fault: rest.Fault{Status: 403, Header: secondary.Header, Body: secondary.Body}, least: 41 * time.Second, above: 43 * time.Second},
		{name: "secondary limit as 429", fault: rest.Fault{Status: 429, RetryAfter: 30 * time.Second}, least: 30 * time.Second, above: 31 * time.Second},
		{name: "429 with nothing", fault: rest.Fault{Status: 429, Body: map[string]any{"message": "slow down"}, Header: http.Header{"Retry-After": {""}}}, least: time.Minute, above: 2 * time.Minute},
		{name: "secondary limit until a moment", fault: rest.Fault{Status: 429, Body: secondary.Body, Header: http.Header{"Retry-After": {""}, "X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": reset(3 * time.Minute)["X-Ratelimit-Reset"]}}, least: 90 * time.Second, above: 181 * time.Second},
		{name: "403 with Retry-After", fault: rest.Fault{Status: 403, RetryAfter: 9 * time.Second}, least: 9 * time.Second, above: 10 * time.Second},
		{name: "primary limit", fault: rest.Fault{Status: 403, Header: reset(10 * time.Minute)}, least: 5 * time.Minute, above: 11 * time.Minute},
		{name: "absurd limit", fault: rest.Fault{Status: 403, Header: reset(100 * time.Hour)}, least: time.Hour, above: 61 * time.Minute},
		{name: "broken", fault: rest.Fault{Status: 500}, above: 1},
		{name: "away", fault: rest.Fault{Status: 503, RetryAfter: 5 * time.Second}, least: 5 * time.Second, above: 6 * time.Second},
		{name: "dropped", fault: rest.Fault{Drop: true}, above: 1},
		{name: "unauthorized", fault: rest.Fault{Status: 401}, final: driver.ErrDenied, above: 1},
		{name: "forbidden", fault: rest.Fault{Status: 403}, final: driver.ErrDenied, above: 1},
		{name: "gone", fault: rest.Fault{Status: 404}, final: driver.ErrNotFound, above: 1},
		{name: "refused", fault: rest.Fault{Status: 422}, final: driver.ErrInvalid, above: 1},
		{name: "echo of the token", fault: rest.Fault{Status: 500, Body: map[string]any{"message": "bad token\n" + canary}}, above: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			s.Inject(tt.fault)
			_, upsertErr := tracker(t, s).Upsert(t.Context(), key, "T", "x")
			_, changesErr := source(t, s).Changes(t.Context(), question(time.Now().Add(-time.Hour), time.Now()))
			for _, err := range []error{upsertErr, changesErr} {
				require.Error(t, err)
				require.NotContains(t, fmt.Sprintf("%+v %#v", err, err), canary)
				require.NotContains(t, err.Error(), "\n")
				if tt.final != nil {
					require.ErrorIs(t, err, tt.final)
				} else {
					require.False(t, driver.Final(err), err)
				}
				var later interface{ RetryAfter() time.Duration }
				require.ErrorAs(t, err, &later)
				require.GreaterOrEqual(t, later.RetryAfter(), tt.least)
				require.Less(t, later.RetryAfter(), tt.above)
			}
			require.Empty(t, s.Issues(repo))
		})
	}
}

func TestWritesWaitForTheSecondaryLimit(t *testing.T) {
	t.Parallel()
	s := world(t, func(c *fakegithub.Config) { c.WritesPerMinute = 1 })
	tr := tracker(t, s)
	upsert(t, tr, "T", "one")
	_, err := tr.Upsert(t.Context(), key, "T", "two")
	var later interface{ RetryAfter() time.Duration }
	require.ErrorAs(t, err, &later)
	require.Greater(t, later.RetryAfter(), time.Second)
	require.False(t, driver.Final(err))
}

func TestNewTrackerRefuses(t *testing.T) {
	t.Parallel()
	good := github.Options{Token: canary}
	tests := []struct {
		name string
		opts github.TrackerOptions
	}{
		{name: "no repository", opts: github.TrackerOptions{Options: good}},
		{name: "repository that is a path", opts: github.TrackerOptions{Options: good, Repo: "acme/../x"}},
		{name: "repository of dots", opts: github.TrackerOptions{Options: good, Repo: "acme/.."}},
		{name: "label with a comma", opts: github.TrackerOptions{Options: good, Repo: repo, Label: "a,b"}},
		{name: "long label", opts: github.TrackerOptions{Options: good, Repo: repo, Label: strings.Repeat("x", 51)}},
		{name: "no token", opts: github.TrackerOptions{Repo: repo}},
		{name: "two tokens", opts: github.TrackerOptions{Options: github.Options{Token: canary, TokenFile: "x"}, Repo: repo}},
		{name: "no such file", opts: github.TrackerOptions{Options: github.Options{TokenFile: "/no/such/file"}, Repo: repo}},
		{name: "clear text to a far host", opts: github.TrackerOptions{Options: github.Options{Token: canary, URL: "http://github.example.com"}, Repo: repo}},
		{name: "credential in the address", opts: github.TrackerOptions{Options: github.Options{Token: canary, URL: "https://x:" + canary + "@github.example.com"}, Repo: repo}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := github.NewTracker(tt.opts)
			require.Error(t, err)
			require.NotContains(t, err.Error(), canary)
		})
	}
}

func TestRedirectDoesNotCarryTheToken(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 4)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Header.Get("Authorization") }))
	t.Cleanup(thief.Close)
	s := world(t)
	s.Inject(rest.Fault{Status: 307, Header: http.Header{"Location": {thief.URL}}})
	_, err := tracker(t, s).Upsert(t.Context(), key, "T", "x")
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.Empty(t, reached)
}

func TestEndlessAnswerIsRefused(t *testing.T) {
	t.Parallel()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, "[")
		for chunk := strings.Repeat(" ", 1<<20); err == nil; {
			_, err = io.WriteString(w, chunk)
		}
	}))
	t.Cleanup(endless.Close)
	tr, err := github.NewTracker(github.TrackerOptions{Options: github.Options{URL: endless.URL, Token: canary}, Repo: repo})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	_, err = tr.Upsert(t.Context(), key, "T", "x")
	require.Error(t, err)
	require.False(t, driver.Final(err))
}

func TestTokenFileIsReadAgain(t *testing.T) {
	t.Parallel()
	s := world(t)
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte("old\n"), 0o600))
	tr := tracker(t, s, func(o *github.TrackerOptions) { o.Token, o.TokenFile = "", path })
	_, err := tr.Upsert(t.Context(), key, "T", "x")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NoError(t, os.WriteFile(path, []byte(canary+"\n"), 0o600))
	upsert(t, tr, "T", "x")
}

func TestTimeoutIsRetryable(t *testing.T) {
	t.Parallel()
	s := world(t)
	s.Inject(rest.Fault{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := tracker(t, s).Upsert(ctx, key, "T", "x")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, driver.Final(err))
}
