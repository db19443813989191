package github

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// The names under which the package registers itself.
const (
	systemType   = "github"
	changeSource = "github.deployments"
)

const (
	// deployTime is how long before the window a deployment may have been
	// created whose outcome falls into it.
	deployTime = 24 * time.Hour
	// maxDeployments bounds how many deployments one question may read.
	maxDeployments = 1000
	// deploymentPage is how many deployments are read at a time, and statusReads
	// how many of their statuses at once: each is a request of its own, and
	// GitHub allows 100 at once.
	// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
	deploymentPage = 30
	statusReads    = 8
	// maxSummary is the longest summary kept of a change, in runes.
	maxSummary = 300
	// shortSHA is how many digits of a commit people are shown.
	shortSHA = 10
)

func init() {
	driver.RegisterSystem(systemType, open)
	driver.RegisterSource(changeSource, systemType, func(c *connection) driver.ChangeSource { return deployments{c} })
}

// Settings are the configuration of one GitHub as a system.
type Settings struct {
	// URL is as in Options.
	URL string `yaml:"url" json:"url"`
	// TokenFile holds a token that may read deployments and contents.
	TokenFile string `yaml:"token_file" json:"token_file"`
}

func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	return connect(Options{URL: settings.URL, TokenFile: settings.TokenFile})
}

// deployments lists the deployments to one environment of a repository.
type deployments struct{ conn *connection }

// deployment is a deployment whose outcome is known.
type deployment struct {
	*gh.Deployment
	// at is when it succeeded first, or when it failed.
	at        time.Time
	succeeded bool
	// said is the description of that status, link where it points to.
	said, link string
}

// Changes lists the deployments of a target "<owner>/<repo>/<environment>"
// that succeeded in the window, and those that failed in it, since they may
// have altered production half-way and say so. Deployments that never started
// are no changes. The state before is the commit of the success before.
func (s deployments) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	owner, name, environment, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	// Times are whole seconds: a window that begins inside one includes it.
	since := q.Since.Truncate(time.Second)
	known, err := s.read(ctx, owner, name, environment, since)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(known, func(a, b deployment) int { return a.at.Compare(b.at) })
	var found []incident.Change
	live := ""
	for _, d := range known {
		if !d.at.Before(since) && !d.at.After(q.Until) {
			change, err := s.change(ctx, q, owner, name, d)
			if err != nil {
				return nil, err
			}
			change.From = live
			found = append(found, change)
		}
		if d.succeeded {
			live = version(d.Deployment)
		}
	}
	return found, nil
}

// read returns the deployments that may matter to a window that begins at
// since, newest first, down to the first success that is safely before it.
func (s deployments) read(ctx context.Context, owner, name, environment string, since time.Time) ([]deployment, error) {
	what := fmt.Sprintf("list deployments of %s/%s", owner, name)
	opts := &gh.DeploymentsListOptions{Environment: environment, ListOptions: gh.ListOptions{PerPage: deploymentPage}}
	var known []deployment
	for read := 0; read < maxDeployments; read += deploymentPage {
		page, resp, err := s.conn.api.Repositories.ListDeployments(ctx, owner, name, opts)
		if err != nil {
			return nil, s.conn.classify(ctx, what, resp, err)
		}
		outcomes, err := s.outcomes(ctx, owner, name, page)
		if err != nil {
			return nil, err
		}
		for _, d := range outcomes {
			if d.at.IsZero() {
				continue
			}
			known = append(known, d)
			if d.succeeded && d.at.Before(since) && d.GetCreatedAt().Before(since.Add(-deployTime)) {
				return known, nil
			}
		}
		if resp.NextPage == 0 {
			return known, nil
		}
		opts.Page = resp.NextPage
	}
	return nil, fmt.Errorf("%s: no success before the window among %d", what, maxDeployments)
}

// outcomes reads the statuses of a page of deployments, in its order.
func (s deployments) outcomes(ctx context.Context, owner, name string, page []*gh.Deployment) ([]deployment, error) {
	out := make([]deployment, len(page))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(statusReads)
	for i, d := range page {
		group.Go(func() error {
			var err error
			out[i], err = s.outcome(ctx, owner, name, d)
			return err
		})
	}
	return out, group.Wait()
}

// outcome reads a deployment's statuses. Its time is zero while the outcome is
// open, and when the deployment was never started.
func (s deployments) outcome(ctx context.Context, owner, name string, d *gh.Deployment) (deployment, error) {
	what := fmt.Sprintf("list statuses of deployment %d of %s/%s", d.GetID(), owner, name)
	out := deployment{Deployment: d}
	opts := &gh.ListOptions{PerPage: pageSize}
	for {
		page, resp, err := s.conn.api.Repositories.ListDeploymentStatuses(ctx, owner, name, d.GetID(), opts)
		if err != nil {
			return out, s.conn.classify(ctx, what, resp, err)
		}
		for _, st := range page {
			out.take(st)
		}
		if resp.NextPage == 0 {
			return out, nil
		}
		opts.Page = resp.NextPage
	}
}

// take keeps the first success, or else the last failure.
func (d *deployment) take(st *gh.DeploymentStatus) {
	at := st.GetCreatedAt().Time
	switch st.GetState() {
	case "success":
		if d.succeeded && !at.Before(d.at) {
			return
		}
		d.succeeded = true
	case "failure", "error":
		if d.succeeded || at.Before(d.at) {
			return
		}
	default:
		// queued, pending, in_progress and inactive are no outcomes.
		return
	}
	d.at, d.said, d.link = at, st.GetDescription(), st.GetLogURL()
}

func (s deployments) change(ctx context.Context, q driver.ChangeQuery, owner, name string, d deployment) (incident.Change, error) {
	author, err := s.author(ctx, owner, name, d.Deployment)
	if err != nil {
		return incident.Change{}, err
	}
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeDeploy
	}
	var said []string
	if !d.succeeded {
		said = append(said, "this deployment failed")
	}
	for _, text := range []string{d.GetDescription(), d.said} {
		if text = strings.Join(strings.Fields(text), " "); text != "" {
			said = append(said, text)
		}
	}
	return incident.Change{
		ID: fmt.Sprintf("%s/%s/deployments/%d", owner, name, d.GetID()), Source: changeSource, Kind: kind,
		Service: q.Service, Target: q.Target, At: d.at.UTC(), Author: author, To: version(d.Deployment),
		Summary: cut(strings.Join(said, "; "), maxSummary), URL: webAddress(d.link),
	}, nil
}

// author is who deployed; where a machine did, it is who wrote the commit.
func (s deployments) author(ctx context.Context, owner, name string, d *gh.Deployment) (string, error) {
	creator := d.GetCreator()
	if creator.GetType() != "Bot" && creator.GetLogin() != "" {
		return creator.GetLogin(), nil
	}
	commit, resp, err := s.conn.api.Repositories.GetCommit(ctx, owner, name, d.GetSHA(), nil)
	if err != nil {
		// A commit that is gone leaves the machine's name.
		if resp != nil && (resp.StatusCode == 404 || resp.StatusCode == 422) {
			return creator.GetLogin(), nil
		}
		return "", s.conn.classify(ctx, fmt.Sprintf("read commit of deployment %d of %s/%s", d.GetID(), owner, name), resp, err)
	}
	if login := commit.GetAuthor().GetLogin(); login != "" {
		return login, nil
	}
	return creator.GetLogin(), nil
}

// version is the commit for people, with the branch or tag if that says more.
func version(d *gh.Deployment) string {
	sha := d.GetSHA()
	short := sha[:min(shortSHA, len(sha))]
	if ref := d.GetRef(); ref != "" && ref != sha && !strings.HasPrefix(sha, ref) {
		return cut(ref, 60) + " (" + short + ")"
	}
	return short
}

// parseTarget splits "<owner>/<repo>/<environment>"; an environment may hold
// slashes.
func parseTarget(t incident.Target) (owner, name, environment string, err error) {
	parts := strings.SplitN(t.Path, "/", 3)
	if len(parts) != 3 || !plainName(parts[0]) || !plainName(parts[1]) || parts[2] == "" {
		return "", "", "", fmt.Errorf("read target %q: %w: want <owner>/<repo>/<environment>", t.Path, driver.ErrInvalid)
	}
	return parts[0], parts[1], parts[2], nil
}

// webAddress is an http or https address, or empty.
func webAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return address
}
