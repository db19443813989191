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

// redeployTime is what a deployment is expected to take; GitHub does not say.
const redeployTime = 5 * time.Minute

// nowhere is a hash that no commit has: Git uses it for "none".
const nowhere = "0000000000000000000000000000000000000000"

// Plan finds the earlier deployment and what stands in its way.
func (i redeploy) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := settingOf(req.Target)
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

func (i redeploy) plan(ctx context.Context, at setting, req driver.PlanRequest) (driver.Planned, error) {
	var checks driver.Findings
	blocked := func() driver.Planned { return driver.Planned{Preflight: checks} }
	if err := i.conn.usable(ctx, &checks, at.owner, at.name); err != nil || checks.Blocked() {
		return blocked(), err
	}
	present, found, err := i.conn.newest(ctx, at)
	switch {
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the deployments of %s.", at.repo())
		return blocked(), nil
	case err != nil:
		return driver.Planned{}, err
	case !found:
		checks.Block("environment", "Nothing was ever deployed to %s of %s.", at.environment, at.repo())
		return blocked(), nil
	}
	standing(&checks, at, present)
	wanted, err := i.resolve(ctx, at, req, &checks)
	if err != nil || wanted == nil {
		return blocked(), err
	}
	to := stateOf(wanted)
	if to.Digest == present.state().Digest {
		checks.Block("not there already", "%s runs the commit of deployment %d already.", at.environment, wanted.GetID())
		return blocked(), nil
	}
	checks.Pass("not there already", "The %s differs from the deployment %d of %s.", present.name(), wanted.GetID(), label(wanted))
	if _, ok := withMark(wanted, mark{}); !ok {
		checks.Block("payload", "The payload of deployment %d is no object, so that a repeated request could not be told from the first.", wanted.GetID())
	}
	if err := i.conn.commitExists(ctx, &checks, at.owner, at.name, wanted.GetSHA()); err != nil {
		return driver.Planned{}, err
	}
	i.permitted(ctx, &checks, at)
	if checks.Blocked() {
		return blocked(), nil
	}
	return driver.Planned{
		From: present.state(), To: to, Reversible: present.phase == phaseLive, ExpectedTime: redeployTime,
		WontRevert: slices.Clone(redeployWontRevert), Preflight: checks,
	}, nil
}

// standing judges the present deployment.
func standing(checks *driver.Findings, at setting, present release) {
	const name = "no deployment in flight"
	switch present.phase {
	case phaseOpen:
		checks.Block(name, "A deployment to %s is in flight: %s.", at.environment, present.detail())
	case phaseRetired:
		checks.Block(name, "Nothing is deployed to %s: %s.", at.environment, present.detail())
	case phaseFailed:
		checks.Warn(name, "The environment %s may be half-way: %s.", at.environment, strings.TrimRight(present.detail(), "."))
	case phaseLive:
		checks.Pass(name, "In %s, %s.", at.environment, present.detail())
	case phaseWithdrawn:
		checks.Block(name, "The newest deployment to %s was withdrawn.", at.environment)
	default:
		checks.Block(name, "The newest deployment to %s is in a phase that Backout does not know.", at.environment)
	}
}

// resolve finds the deployment to do again: nil when a finding says why not.
func (i redeploy) resolve(ctx context.Context, at setting, req driver.PlanRequest, checks *driver.Findings) (*gh.Deployment, error) {
	const exists = "earlier deployment"
	switch {
	case req.Revision == "":
		return i.before(ctx, at, req.Before, checks)
	case isHash(req.Revision):
		return i.ofCommit(ctx, at, req.Revision, checks)
	}
	id, err := strconv.ParseInt(req.Revision, 10, 64)
	if err != nil || id <= 0 {
		checks.Block(exists, "%q is neither the number of a deployment nor the full hash of a commit.", plain(req.Revision, 60))
		return nil, nil //nolint:nilnil // The finding says why.
	}
	d, err := i.conn.deployment(ctx, at, id)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(exists, "The deployment %d is gone from %s.", id, at.repo())
		return nil, nil //nolint:nilnil // The finding says why.
	case err != nil:
		return nil, err
	case d.GetEnvironment() != at.environment:
		checks.Block(exists, "The deployment %d went to %s and not to %s.", id, plain(d.GetEnvironment(), 60), at.environment)
		return nil, nil //nolint:nilnil // The finding says why.
	}
	outcome, err := deployments(i).outcome(ctx, at.owner, at.name, &d.Deployment)
	if err != nil {
		return nil, err
	}
	if !outcome.succeeded {
		checks.Block(exists, "The deployment %d of %s never succeeded.", id, label(&d.Deployment))
		return nil, nil //nolint:nilnil // The finding says why.
	}
	checks.Pass(exists, "The deployment %d of %s succeeded at %s.", id, label(&d.Deployment), outcome.at.UTC().Format(time.RFC3339))
	return &d.Deployment, nil
}

// before finds what was live just before a moment.
func (i redeploy) before(ctx context.Context, at setting, moment time.Time, checks *driver.Findings) (*gh.Deployment, error) {
	known, err := deployments(i).read(ctx, at.owner, at.name, at.environment, moment)
	if err != nil {
		return nil, err
	}
	var live deployment
	for _, d := range known {
		if d.succeeded && d.at.Before(moment) && (live.Deployment == nil || d.at.After(live.at)) {
			live = d
		}
	}
	if live.Deployment == nil {
		checks.Block("earlier deployment", "No deployment to %s succeeded before %s.", at.environment, moment.UTC().Format(time.RFC3339))
		return nil, nil //nolint:nilnil // The finding says why.
	}
	checks.Pass("earlier deployment", "The deployment %d of %s was live before %s.", live.GetID(), label(live.Deployment), moment.UTC().Format(time.RFC3339))
	return live.Deployment, nil
}

// ofCommit finds the newest success of a commit.
func (i redeploy) ofCommit(ctx context.Context, at setting, hash string, checks *driver.Findings) (*gh.Deployment, error) {
	opts := &gh.DeploymentsListOptions{Environment: at.environment, SHA: hash, ListOptions: gh.ListOptions{PerPage: deploymentPage}}
	page, resp, err := i.conn.api.Repositories.ListDeployments(ctx, at.owner, at.name, opts)
	if err != nil {
		return nil, i.conn.classify(ctx, fmt.Sprintf("list deployments of commit %s of %s", shorten(hash), at.repo()), resp, err)
	}
	known, err := deployments(i).outcomes(ctx, at.owner, at.name, page)
	if err != nil {
		return nil, err
	}
	for _, d := range known {
		if d.succeeded {
			checks.Pass("earlier deployment", "The deployment %d of %s succeeded at %s.", d.GetID(), label(d.Deployment), d.at.UTC().Format(time.RFC3339))
			return d.Deployment, nil
		}
	}
	checks.Block("earlier deployment", "No deployment of the commit %s to %s succeeded.", shorten(hash), at.environment)
	return nil, nil //nolint:nilnil // The finding says why.
}

// permitted asks GitHub for a deployment of a commit that can not exist: whoever
// may not deploy is told so first, and for anybody else nothing is deployed.
func (i redeploy) permitted(ctx context.Context, checks *driver.Findings, at setting) {
	_, resp, err := i.conn.api.Repositories.CreateDeployment(ctx, at.owner, at.name, &gh.DeploymentRequest{
		Ref: new(nowhere), AutoMerge: new(false), RequiredContexts: &[]string{}, Environment: &at.environment,
	})
	mayWrite(checks, "create deployments in "+at.repo(), resp, err, limited(err))
}

// mayWrite reads the answer to a request that is sound but for something that
// does not exist.
func mayWrite(checks *driver.Findings, what string, resp *gh.Response, err error, throttled bool) {
	const name = "permission"
	status := 0
	if resp != nil && resp.Response != nil {
		status = resp.StatusCode
	}
	switch {
	case err == nil || throttled || headerThrottled(resp):
		checks.Unknown(name, "GitHub did not say whether Backout may %s.", what)
	case status == http.StatusUnprocessableEntity:
		checks.Pass(name, "Backout may %s.", what)
	case status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusUnauthorized:
		checks.Block(name, "Backout may not %s.", what)
	default:
		checks.Unknown(name, "GitHub did not say whether Backout may %s.", what)
	}
}

func headerThrottled(resp *gh.Response) bool {
	return resp != nil && resp.Response != nil && headerAfter(resp.Header) > 0
}

// usable checks that a repository is there and takes changes.
func (c *connection) usable(ctx context.Context, checks *driver.Findings, owner, name string) error {
	const check = "repository"
	found, resp, err := c.api.Repositories.Get(ctx, owner, name)
	err = c.classify(ctx, fmt.Sprintf("read repository %s/%s", owner, name), resp, err)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(check, "There is no repository %s/%s that Backout may read.", owner, name)
	case errors.Is(err, driver.ErrDenied):
		checks.Block(check, "Backout may not read the repository %s/%s.", owner, name)
	case err != nil:
		return err
	case found.GetArchived():
		checks.Block(check, "The repository %s/%s is archived and takes no changes.", owner, name)
	default:
		checks.Pass(check, "The repository %s/%s is there.", owner, name)
	}
	return nil
}

// commitExists checks that GitHub still has a commit.
func (c *connection) commitExists(ctx context.Context, checks *driver.Findings, owner, name, hash string) error {
	const check = "commit exists"
	_, resp, err := c.api.Repositories.GetCommit(ctx, owner, name, hash, &gh.ListOptions{PerPage: 1})
	switch {
	case err == nil:
		checks.Pass(check, "The commit %s is in %s/%s.", shorten(hash), owner, name)
	case resp != nil && resp.Response != nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusUnprocessableEntity):
		checks.Block(check, "The commit %s is gone from %s/%s, or Backout may not read it.", shorten(hash), owner, name)
	default:
		return c.classify(ctx, fmt.Sprintf("read commit %s of %s/%s", shorten(hash), owner, name), resp, err)
	}
	return nil
}
