package githubtest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Redeploy())
}

// environment is where the case of "github.redeploy" deploys to.
const environment = "production"

// worlds are the stand-ins by the address that a target has, so that a scenario
// can change what Start has made.
var worlds sync.Map

// worldOf is the stand-in of a target.
func worldOf(tb testing.TB, t *drivertest.Target) *world {
	tb.Helper()
	found, ok := worlds.Load(t.Upstream)
	w, is := found.(*world)
	if !ok || !is {
		tb.Fatalf("no stand-in listens at %s", t.Upstream)
	}
	return w
}

// Redeploy is the case of "github.redeploy": an environment with three
// deployments, to go back to the second.
func Redeploy() drivertest.Case {
	return drivertest.Case{
		Kind:   "github.redeploy",
		Start:  func(tb testing.TB) *drivertest.Target { return startRedeploy(tb, "success") },
		OneWay: func(tb testing.TB) *drivertest.Target { return startRedeploy(tb, "failure") },
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "Nothing was ever deployed to", Arrange: elsewhere(repo + "/nowhere")},
			drivertest.MissingRevision: {Says: "is gone from", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				id, err := strconv.ParseInt(t.Request.Revision, 10, 64)
				if err != nil {
					tb.Fatal(err)
				}
				worldOf(tb, t).RemoveDeployment(repo, id)
				return t.Request, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "is in flight", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				w := worldOf(tb, t)
				w.deploy("Under way", "in_progress", time.Now())
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow:      {Says: "succeeded before", Arrange: longAgo},
			drivertest.MissingPermission: {Says: "may not create deployments", Arrange: asReader},
		},
	}
}

// deploy records a deployment of a new commit.
func (w *world) deploy(message, outcome string, at time.Time) int64 {
	hash := w.AddCommit(repo, fakegithub.Commit{Message: message, Author: "ada", At: at})
	return w.AddDeployment(repo, fakegithub.Deployment{
		Ref: "main", SHA: hash, Environment: environment, Creator: "ada", Production: true, CreatedAt: at,
		Payload:  map[string]any{"region": "eu", "key": w.secret},
		Statuses: []fakegithub.DeploymentStatus{{State: outcome, CreatedAt: at}},
	})
}

// startRedeploy makes the environment, with the outcome of its newest deployment.
func startRedeploy(tb testing.TB, outcome string) *drivertest.Target {
	w := start(tb, "deployments: write", "contents: read", "metadata: read")
	now := time.Now()
	w.deploy("First", "success", now.Add(-3*time.Hour))
	good := w.deploy("Good", "success", now.Add(-2*time.Hour))
	w.deploy("Bad", outcome, now.Add(-time.Hour))
	worlds.Store(w.address(), w)
	tb.Cleanup(func() { worlds.Delete(w.address()) })
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: repo + "/" + environment}, Revision: strconv.FormatInt(good, 10)},
		Upstream: w.address(),
		Connect:  w.system,
		Digest: func(context.Context) (string, error) {
			for _, d := range slices.Backward(w.standing()) {
				return d.SHA, nil
			}
			return "", errors.New("nothing is deployed")
		},
		Mutations: func(context.Context) (int, error) { return len(w.standing()), nil },
		Interfere: func(context.Context) error {
			w.deploy("Newer", "success", time.Now())
			return nil
		},
		Difference: "by ada succeeded at",
		Throttle:   w.throttle,
		Canaries:   w.canaries(),
	}
}

// standing are the deployments to the environment that were not withdrawn,
// oldest first.
func (w *world) standing() []fakegithub.Deployment {
	return slices.DeleteFunc(w.Deployments(repo), func(d fakegithub.Deployment) bool {
		return d.Environment != environment || d.Withdrawn()
	})
}
