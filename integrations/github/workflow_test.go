package github_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

const applyFile = ".github/workflows/apply.yml"

const applyWorkflow = `name: Apply
run-name: Apply ${{ inputs.commit || github.sha }} ${{ inputs.backout }}
on:
  push: { branches: [main] }
  workflow_dispatch:
    inputs:
      commit: { type: string }
      backout: { type: string }
`

// applied is the target of these tests.
var applied = incident.Target{System: "gh", Path: repo + "/apply.yml/main"}

func ran(s *fakegithub.Server, message, conclusion string, at time.Time) (id int64, hash string) {
	hash = s.AddCommit(repo, fakegithub.Commit{Message: message, Author: "ada", At: at})
	return s.AddRun(repo, fakegithub.Run{Workflow: applyFile, Event: "push", Branch: "main", SHA: hash, Title: message, Actor: "ada", Status: "completed", Conclusion: conclusion, CreatedAt: at}), hash
}

func TestWorkflowBefore(t *testing.T) {
	t.Parallel()
	s := world(t, deploys)
	s.PutFile(repo, applyFile, applyWorkflow)
	_, good := ran(s, "Good", "success", noon.Add(-2*time.Hour))
	ran(s, "Broken", "failure", noon.Add(-90*time.Minute))
	_, bad := ran(s, "Bad", "success", noon.Add(-time.Hour))
	inv, set := inverse(t, s, "github.workflow")
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: applied, Before: noon.Add(-time.Hour)})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), planned.Preflight)
	require.Equal(t, good[:10], planned.To.Label)
	require.Equal(t, bad[:10], planned.From.Label)
	action := actionOf("github.workflow", applied.Path, planned)
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	runs := s.Runs(repo)
	made := runs[len(runs)-1]
	require.Equal(t, good, made.Inputs["commit"])
	require.Equal(t, bad, made.SHA, "the workflow's own file is that of the branch")

	source, err := set.Source("github.workflow", "gh")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Target: applied, Since: noon.Add(-100 * time.Minute), Until: noon})
	require.NoError(t, err)
	require.Len(t, changes, 2)
	require.Contains(t, changes[0].Summary, "this run ended with failure")
	require.Equal(t, good[:10], changes[1].From, "what was before a success is the success before")
	require.Equal(t, bad[:10], changes[1].To)
}

func TestWorkflowPreflight(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file, says string
		off              bool
		conclusion       string
		warns            bool
	}{
		{name: "no inputs", file: "name: Apply\non:\n  workflow_dispatch:\n", says: "has no input commit"},
		{name: "no dispatch", file: "name: Apply\non: push\n", says: "workflow_dispatch"},
		{name: "no marker", file: strings.Replace(applyWorkflow, "      backout: { type: string }\n", "", 1), says: "has no input backout"},
		{name: "name without the marker", file: strings.Replace(applyWorkflow, " ${{ inputs.backout }}", "", 1), says: "does not show its inputs"},
		{name: "name without the commit", file: strings.Replace(applyWorkflow, "inputs.commit || ", "", 1), says: "does not show its inputs"},
		{name: "turned off", file: applyWorkflow, off: true, says: "is turned off"},
		{name: "half-way", file: applyWorkflow, conclusion: "failure", says: "half-way", warns: true},
		{name: "cancelled after it began", file: applyWorkflow, conclusion: "cancelled", says: "half-way", warns: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			s.PutFile(repo, applyFile, tt.file)
			good, _ := ran(s, "Good", "success", noon)
			if tt.conclusion == "" {
				tt.conclusion = "success"
			}
			ran(s, "Bad", tt.conclusion, noon)
			if tt.off {
				s.DisableWorkflow(repo, applyFile)
			}
			inv, _ := inverse(t, s, "github.workflow")
			planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: applied, Revision: fmt.Sprint(good)})
			require.NoError(t, err)
			require.Equal(t, !tt.warns, planned.Blocked(), planned.Preflight)
			result := incident.PreflightBlocked
			if tt.warns {
				result = incident.PreflightWarning
				require.False(t, planned.Reversible, "nobody can go back to a failure")
			}
			require.Contains(t, reasons(planned, result), tt.says)
		})
	}
}

// TestWorkflowRepeatedRequest shows that of two runs for one action the second is
// cancelled: GitHub lists a run some time after it took the request, so that a
// retry may have come too early to see the first.
func TestWorkflowRepeatedRequest(t *testing.T) {
	t.Parallel()
	s := world(t)
	s.PutFile(repo, applyFile, applyWorkflow)
	good, hash := ran(s, "Good", "success", noon.Add(-2*time.Hour))
	ran(s, "Bad", "success", noon.Add(-time.Hour))
	inv, _ := inverse(t, s, "github.workflow")
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: applied, Revision: fmt.Sprint(good)})
	require.NoError(t, err)
	action := actionOf("github.workflow", applied.Path, planned)
	_, err = inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	first := s.Runs(repo)[2]
	again := first
	again.ID, again.Inputs = 0, map[string]string{"commit": hash}
	s.AddRun(repo, again)
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.False(t, receipt.Mutated)
	runs := s.Runs(repo)
	require.Equal(t, "queued", runs[2].Status)
	require.Equal(t, "cancelled", runs[3].Conclusion)
	require.Len(t, s.Calls("POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches"), 2, "the preflight and one request")
}

func TestTargetsThatAreNone(t *testing.T) {
	t.Parallel()
	s := world(t)
	s.Inject(rest.Fault{Status: http.StatusTeapot})
	for kind, paths := range map[string][]string{
		"github.redeploy": {"", "acme", "acme/shop", "acme/shop/", "../shop/production", "acme/a?b/production"},
		"github.workflow": {"acme/shop/apply.yml", "acme/shop/apply/main", "acme/shop/../main", "acme/shop/apply.yml/a..b", "acme/shop/apply.yml/a b"},
		"github.revert":   {"acme/shop", "acme/shop/a..b", "acme/shop//x", "acme/shop/a?b", "acme/shop/" + strings.Repeat("a", 40)},
	} {
		inv, _ := inverse(t, s, kind)
		for _, path := range paths {
			_, err := inv.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "gh", Path: path}, Revision: "1"})
			require.ErrorIs(t, err, driver.ErrInvalid, "%s %q", kind, path)
		}
		_, err := inv.Plan(t.Context(), driver.PlanRequest{Target: branch})
		require.ErrorIs(t, err, driver.ErrInvalid)
	}
	require.Empty(t, s.Calls(""), "GitHub was asked for a target that is none")
}
