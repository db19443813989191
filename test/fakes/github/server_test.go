package fakegithub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
	"github.com/stretchr/testify/require"

	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

const repo = "acme/shop"

// start runs a stand-in with one repository and asserts at the end that none
// of its answers broke GitHub's document.
func start(t *testing.T, cfg fakegithub.Config) *fakegithub.Server {
	t.Helper()
	s, err := fakegithub.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.Close()
		require.Empty(t, s.Violations())
	})
	s.AddRepo(repo)
	return s
}

func client(t *testing.T, s *fakegithub.Server) *github.Client {
	t.Helper()
	c := github.NewClient(nil).WithAuthToken("gh-token")
	base, err := url.Parse(s.URL() + "/")
	require.NoError(t, err)
	c.BaseURL = base
	return c
}

func TestRealClientIssues(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{})
	c, ctx := client(t, s), t.Context()
	issue, _, err := c.Issues.Create(ctx, "acme", "shop", &github.IssueRequest{
		Title: new("Postmortem"), Body: new("# Summary"), Labels: &[]string{"postmortem", "sev1"},
	})
	require.NoError(t, err)
	require.Equal(t, 1, issue.GetNumber())
	require.Equal(t, "backout-bot", issue.GetUser().GetLogin())
	require.Len(t, issue.Labels, 2)

	issue, _, err = c.Issues.Edit(ctx, "acme", "shop", 1, &github.IssueRequest{Body: new("changed"), State: new("closed"), StateReason: new("completed")})
	require.NoError(t, err)
	require.Equal(t, "closed", issue.GetState())
	require.False(t, issue.GetClosedAt().IsZero())
	issue, _, err = c.Issues.Get(ctx, "acme", "shop", 1)
	require.NoError(t, err)
	require.Equal(t, "changed", issue.GetBody())
	require.Equal(t, "Postmortem", issue.GetTitle())

	comment, _, err := c.Issues.CreateComment(ctx, "acme", "shop", 1, &github.IssueComment{Body: new("one")})
	require.NoError(t, err)
	_, _, err = c.Issues.EditComment(ctx, "acme", "shop", comment.GetID(), &github.IssueComment{Body: new("two")})
	require.NoError(t, err)
	comments, _, err := c.Issues.ListComments(ctx, "acme", "shop", 1, nil)
	require.NoError(t, err)
	require.Equal(t, "two", comments[0].GetBody())

	s.AddIssue(repo, fakegithub.Issue{Title: "A pull", Labels: []string{"postmortem"}, Pull: &fakegithub.Pull{Head: "fix", Base: "main"}})
	found, _, err := c.Issues.ListByRepo(ctx, "acme", "shop", &github.IssueListByRepoOptions{State: "all", Labels: []string{"Postmortem"}})
	require.NoError(t, err)
	require.Len(t, found, 2, "pull requests are issues too, and labels have no case")
	require.True(t, found[0].IsPullRequest(), "newest first")
	found, _, err = c.Issues.ListByRepo(ctx, "acme", "shop", &github.IssueListByRepoOptions{State: "closed", Creator: "backout-bot", Labels: []string{"postmortem", "sev1"}})
	require.NoError(t, err)
	require.Len(t, found, 1)
	labels, _, err := c.Issues.ListLabels(ctx, "acme", "shop", nil)
	require.NoError(t, err)
	require.Len(t, labels, 2)
	_, _, err = c.Issues.CreateLabel(ctx, "acme", "shop", &github.Label{Name: new("new"), Color: new("ff0000")})
	require.NoError(t, err)
	_, _, err = c.Issues.CreateLabel(ctx, "acme", "shop", &github.Label{Name: new("NEW"), Color: new("ff0000")})
	require.ErrorContains(t, err, "already_exists")
}

func TestSearchLags(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := start(t, fakegithub.Config{Now: func() time.Time { return now }})
	s.AddIssue(repo, fakegithub.Issue{Title: "Old marker", CreatedAt: now.Add(-time.Hour)})
	s.AddIssue(repo, fakegithub.Issue{Title: "New marker"})
	result, _, err := client(t, s).Search.Issues(t.Context(), "repo:acme/shop is:issue marker", nil)
	require.NoError(t, err)
	require.Equal(t, 1, result.GetTotal())
	require.Equal(t, "Old marker", result.Issues[0].GetTitle())
}

func TestRealClientDeployments(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{})
	c, ctx := client(t, s), t.Context()
	hash := s.AddCommit(repo, fakegithub.Commit{Message: "Add discount", Author: "ada"})
	staging := &github.DeploymentRequest{Ref: new("main"), Environment: new("staging"), RequiredContexts: &[]string{}}
	first, _, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", staging)
	require.NoError(t, err)
	require.Equal(t, hash, first.GetSHA())
	second, _, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", staging)
	require.NoError(t, err)
	for _, d := range []*github.Deployment{first, second} {
		_, _, err = c.Repositories.CreateDeploymentStatus(ctx, "acme", "shop", d.GetID(), &github.DeploymentStatusRequest{State: new("success")})
		require.NoError(t, err)
	}
	statuses, _, err := c.Repositories.ListDeploymentStatuses(ctx, "acme", "shop", first.GetID(), nil)
	require.NoError(t, err)
	require.Equal(t, "inactive", statuses[0].GetState(), "newest first, and the later success retired it")
	require.Equal(t, "success", statuses[1].GetState())
	list, _, err := c.Repositories.ListDeployments(ctx, "acme", "shop", &github.DeploymentsListOptions{Environment: "staging"})
	require.NoError(t, err)
	require.Equal(t, second.GetID(), list[0].GetID())
	got, _, err := c.Repositories.GetDeployment(ctx, "acme", "shop", first.GetID())
	require.NoError(t, err)
	require.Equal(t, "backout-bot", got.GetCreator().GetLogin())
	_, _, err = c.Repositories.CreateDeployment(ctx, "acme", "shop", &github.DeploymentRequest{Ref: new("no-such-branch")})
	require.ErrorContains(t, err, "No ref found")
	_, _, err = c.Repositories.CreateDeploymentStatus(ctx, "acme", "shop", first.GetID(), &github.DeploymentStatusRequest{State: new("done")})
	require.ErrorContains(t, err, "422")
}

func TestRealClientCode(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{})
	c, ctx := client(t, s), t.Context()
	one := s.AddCommit(repo, fakegithub.Commit{Message: "One", Author: "ada", Files: []string{"a.go"}})
	two := s.AddCommit(repo, fakegithub.Commit{Message: "Two", Author: "bob", Files: []string{"dir/b.go"}})
	s.AddTag(repo, "v1", one)
	s.AddRelease(repo, fakegithub.Release{Tag: "v1", Name: "One", Author: "ada"})
	s.PutFile(repo, "dir/b.go", "package b\n")
	s.AddIssue(repo, fakegithub.Issue{Title: "Fix", State: "closed", Author: "bob", Pull: &fakegithub.Pull{Head: "fix", Base: "main", MergeSHA: two, MergedAt: time.Now()}})

	commits, _, err := c.Repositories.ListCommits(ctx, "acme", "shop", &github.CommitsListOptions{Path: "dir"})
	require.NoError(t, err)
	require.Equal(t, two, commits[0].GetSHA())
	commit, _, err := c.Repositories.GetCommit(ctx, "acme", "shop", "v1", nil)
	require.NoError(t, err)
	require.Equal(t, one, commit.GetSHA())
	comparison, _, err := c.Repositories.CompareCommits(ctx, "acme", "shop", "v1", "main", nil)
	require.NoError(t, err)
	require.Equal(t, "ahead", comparison.GetStatus())
	require.Equal(t, 1, comparison.GetAheadBy())
	releases, _, err := c.Repositories.ListReleases(ctx, "acme", "shop", nil)
	require.NoError(t, err)
	require.Equal(t, "v1", releases[0].GetTagName())
	file, _, _, err := c.Repositories.GetContents(ctx, "acme", "shop", "dir/b.go", nil)
	require.NoError(t, err)
	content, err := file.GetContent()
	require.NoError(t, err)
	require.Equal(t, "package b\n", content)
	pulls, _, err := c.PullRequests.List(ctx, "acme", "shop", &github.PullRequestListOptions{State: "closed", Base: "main"})
	require.NoError(t, err)
	require.Equal(t, two, pulls[0].GetMergeCommitSHA())
	pull, _, err := c.PullRequests.Get(ctx, "acme", "shop", 1)
	require.NoError(t, err)
	require.True(t, pull.GetMerged())
	r, _, err := c.Repositories.Get(ctx, "acme", "shop")
	require.NoError(t, err)
	require.Equal(t, "main", r.GetDefaultBranch())
	me, _, err := c.Users.Get(ctx, "")
	require.NoError(t, err)
	require.Equal(t, "backout-bot", me.GetLogin())
}

func TestPagination(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{})
	for i := range 7 {
		s.AddIssue(repo, fakegithub.Issue{Title: fmt.Sprint(i)})
	}
	c := client(t, s)
	opts := &github.IssueListByRepoOptions{ListOptions: github.ListOptions{PerPage: 3}}
	var titles []string
	for range 10 {
		page, resp, err := c.Issues.ListByRepo(t.Context(), "acme", "shop", opts)
		require.NoError(t, err)
		for _, i := range page {
			titles = append(titles, i.GetTitle())
		}
		if resp.NextPage == 0 {
			break
		}
		require.Equal(t, 3, resp.LastPage)
		opts.Page = resp.NextPage
	}
	require.Equal(t, []string{"6", "5", "4", "3", "2", "1", "0"}, titles)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{
		Tokens: map[string]string{"gh-token": "backout-bot", "weak": "reader"}, ReadOnly: []string{"reader"},
	})
	s.AddIssue(repo, fakegithub.Issue{Title: "One"})
	issues := "/repos/acme/shop/issues"
	tests := []struct {
		name, method, path, body, auth string
		status                         int
		detail                         string
	}{
		{name: "no token", method: "GET", path: issues, auth: "-", status: 401, detail: "Requires authentication"},
		{name: "wrong token", method: "GET", path: issues, auth: "Bearer other", status: 401, detail: "Bad credentials"},
		{name: "wrong scheme", method: "GET", path: issues, auth: "Basic gh-token", status: 401},
		{name: "read-only token", method: "POST", path: issues, auth: "Bearer weak", body: `{"title":"x"}`, status: 403, detail: "not accessible"},
		{name: "unknown repository", method: "GET", path: "/repos/acme/other/issues", status: 404},
		{name: "unknown issue", method: "GET", path: issues + "/9", status: 404},
		{name: "issue is not a number", method: "GET", path: issues + "/x", status: 404},
		{name: "unknown path", method: "GET", path: "/nothing", status: 404},
		{name: "no title", method: "POST", path: issues, body: `{"body":"x"}`, status: 422, detail: `"missing_field"`},
		{name: "blank title", method: "POST", path: issues, body: `{"title":" "}`, status: 422, detail: `"missing_field"`},
		{name: "no body", method: "POST", path: issues, status: 422},
		{name: "unknown field", method: "POST", path: issues, body: `{"title":"x","tittle":"y"}`, status: 422, detail: "tittle"},
		{name: "not JSON", method: "POST", path: issues, body: `{`, status: 400, detail: "Problems parsing JSON"},
		{name: "body too long", method: "POST", path: issues, body: `{"title":"x","body":"` + strings.Repeat("é", 65537) + `"}`, status: 422, detail: "too long"},
		{name: "title too long", method: "POST", path: issues, body: `{"title":"` + strings.Repeat("x", 257) + `"}`, status: 422, detail: "too long"},
		{name: "bad state", method: "PATCH", path: issues + "/1", body: `{"state":"done"}`, status: 422},
		{name: "bad state filter", method: "GET", path: issues + "?state=done", status: 422},
		{name: "unknown parameter", method: "GET", path: issues + "?label=x", status: 422},
		{name: "empty search", method: "GET", path: "/search/issues?q=", status: 422},
		{name: "empty comment", method: "POST", path: issues + "/1/comments", body: `{"body":""}`, status: 422},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := request(t, s, tt.method, tt.path, tt.body)
			switch tt.auth {
			case "":
			case "-":
				req.Header.Del("Authorization")
			default:
				req.Header.Set("Authorization", tt.auth)
			}
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, tt.status, resp.StatusCode, string(body))
			var envelope struct {
				Message          string `json:"message"`
				DocumentationURL string `json:"documentation_url"`
			}
			require.NoError(t, json.Unmarshal(body, &envelope))
			require.NotEmpty(t, envelope.Message)
			require.NotEmpty(t, envelope.DocumentationURL)
			require.Contains(t, string(body), tt.detail)
		})
	}
	require.Len(t, s.Issues(repo), 1, "nothing was created")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{WritesPerMinute: 1, RequestsPerHour: 3})
	c, ctx := client(t, s), t.Context()
	_, _, err := c.Issues.Create(ctx, "acme", "shop", &github.IssueRequest{Title: new("a")})
	require.NoError(t, err)
	_, _, err = c.Issues.Create(ctx, "acme", "shop", &github.IssueRequest{Title: new("b")})
	var secondary *github.AbuseRateLimitError
	require.ErrorAs(t, err, &secondary)
	require.NotNil(t, secondary.RetryAfter)
	fresh := client(t, s)
	_, _, err = fresh.Issues.Get(ctx, "acme", "shop", 1)
	require.NoError(t, err)
	_, _, err = fresh.Issues.Get(ctx, "acme", "shop", 1)
	var primary *github.RateLimitError
	require.ErrorAs(t, err, &primary)
	require.Len(t, s.Issues(repo), 1)
}

func TestLostReplyTakesEffect(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{})
	s.Inject(rest.Fault{Method: http.MethodPost, Path: "/repos/{owner}/{repo}/issues", DropReply: true, Times: 1})
	_, _, err := client(t, s).Issues.Create(t.Context(), "acme", "shop", &github.IssueRequest{Title: new("a")})
	require.Error(t, err)
	require.Len(t, s.Issues(repo), 1)
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := start(t, fakegithub.Config{})
	s.AddIssue(repo, fakegithub.Issue{Title: "Postmortem: <b>checkout</b>", Author: "backout-bot", Body: "## Summary\n<script>alert(1)</script>", Labels: []string{"postmortem"}})
	s.AddIssue(repo, fakegithub.Issue{Title: "Another"})
	get := func(path string) (int, string) {
		resp, err := http.DefaultClient.Do(request(t, s, http.MethodGet, path, ""))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, string(body)
	}
	status, body := get("/")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "Postmortem: &lt;b&gt;checkout&lt;/b&gt;")
	status, body = get("/page/acme/shop/issues/1")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "<h2>Summary</h2>")
	require.NotContains(t, body, "<script>")
	status, _ = get("/page/acme/shop/issues/9")
	require.Equal(t, http.StatusNotFound, status)
}

func request(t *testing.T, s *fakegithub.Server, method, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer gh-token")
	return req
}
