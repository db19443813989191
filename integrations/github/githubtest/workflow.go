package githubtest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Workflow())
}

// The workflow of the case: what the comment of the runbook template asks for.
const (
	workflowPath = ".github/workflows/apply.yml"
	workflowText = `name: Apply
run-name: Apply ${{ inputs.commit || github.sha }} ${{ inputs.backout }}
on:
  push:
    branches: [main]
  workflow_dispatch:
    inputs:
      commit: { description: Commit to apply, type: string, default: "" }
      backout: { description: Marker of a rollback, type: string, default: "" }
concurrency: apply
jobs:
  apply:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: { ref: "${{ inputs.commit || github.sha }}" }
      - run: ./apply
`
)

// Workflow is the case of "github.workflow": a workflow with three runs, to run
// again for the commit of the second.
func Workflow() drivertest.Case {
	return drivertest.Case{
		Kind:   "github.workflow",
		Start:  func(tb testing.TB) *drivertest.Target { return startWorkflow(tb, "success") },
		OneWay: func(tb testing.TB) *drivertest.Target { return startWorkflow(tb, "failure") },
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "There is no workflow", Arrange: elsewhere(repo + "/none.yml/main")},
			drivertest.MissingRevision: {Says: "is gone, or was no success", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				id, err := strconv.ParseInt(t.Request.Revision, 10, 64)
				if err != nil {
					tb.Fatal(err)
				}
				worldOf(tb, t).RemoveRun(repo, id)
				return t.Request, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "is in flight", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				worldOf(tb, t).push("Under way", "in_progress", time.Now())
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow:      {Says: "succeeded before", Arrange: longAgo},
			drivertest.MissingPermission: {Says: "may not dispatch workflows", Arrange: asReader},
		},
	}
}

// push records a run for a new commit of main.
func (w *world) push(message, status string, at time.Time) int64 {
	hash := w.AddCommit(repo, fakegithub.Commit{Message: message, Author: "ada", At: at})
	run := fakegithub.Run{Workflow: workflowPath, Event: "push", Branch: "main", SHA: hash, Title: "Apply " + hash, Actor: "ada", CreatedAt: at}
	switch status {
	case "success": // As a run is that nothing else is said of.
	case "failure":
		run.Status, run.Conclusion = "completed", status
	default:
		run.Status = status
	}
	return w.AddRun(repo, run)
}

// startWorkflow makes the workflow, with the outcome of its newest run.
func startWorkflow(tb testing.TB, outcome string) *drivertest.Target {
	w := start(tb, "actions: write", "contents: read", "metadata: read")
	w.PutFile(repo, workflowPath, workflowText+"# "+w.secret+"\n")
	now := time.Now()
	w.push("First", "success", now.Add(-3*time.Hour))
	good := w.push("Good", "success", now.Add(-2*time.Hour))
	w.push("Bad", outcome, now.Add(-time.Hour))
	worlds.Store(w.address(), w)
	tb.Cleanup(func() { worlds.Delete(w.address()) })
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: repo + "/apply.yml/main"}, Revision: strconv.FormatInt(good, 10)},
		Upstream: w.address(),
		Connect:  w.system,
		Digest: func(context.Context) (string, error) {
			for _, r := range slices.Backward(w.effective()) {
				if commit := r.Inputs["commit"]; commit != "" {
					return commit, nil
				}
				return r.SHA, nil
			}
			return "", errors.New("nothing has run")
		},
		Mutations: func(context.Context) (int, error) { return len(w.effective()), nil },
		Interfere: func(context.Context) error {
			w.push("Newer", "success", time.Now())
			return nil
		},
		Difference: "by ada ended with success",
		Throttle:   w.throttle,
		Canaries:   w.canaries(),
	}
}

// effective are the runs that were not withdrawn, oldest first.
func (w *world) effective() []fakegithub.Run {
	return slices.DeleteFunc(w.Runs(repo), func(r fakegithub.Run) bool { return r.Withdrawn() })
}
