package github_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/github"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/workflows/incident"
)

// inverse opens a registered kind the way the product does.
func inverse(t *testing.T, s *fakegithub.Server, kind string) (driver.Inverse, *driver.Set) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(canary), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "gh", Type: "github", Decode: func(into any) error {
		settings, ok := into.(*github.Settings)
		if !ok {
			return errors.New("unexpected settings")
		}
		settings.URL, settings.TokenFile = s.URL(), path
		return nil
	}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inv, err := set.Inverse(kind, "gh")
	require.NoError(t, err)
	return inv, set
}

// actionOf is what a plan leads to.
func actionOf(kind, path string, planned driver.Planned) incident.Action {
	return incident.Action{
		Kind: kind, Target: incident.Target{System: "gh", Path: path}, From: planned.From, To: planned.To,
		MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

// reasons are the reasons of a plan's checks with a result, as one text.
func reasons(planned driver.Planned, result incident.PreflightResult) string {
	var all []string
	for _, c := range planned.Preflight {
		if c.Result == result {
			all = append(all, c.Reason)
		}
	}
	return strings.Join(all, "\n")
}

func deploys(c *fakegithub.Config) { c.Deploys = true }

// shipped records a deployment of a new commit to production.
func shipped(s *fakegithub.Server, message, outcome string, at time.Time, payload any) int64 {
	hash := s.AddCommit(repo, fakegithub.Commit{Message: message, Author: "ada", At: at})
	d := deploy(hash, "ada", at, status(outcome, at))
	d.Payload = payload
	return s.AddDeployment(repo, d)
}

func TestRedeployBefore(t *testing.T) {
	t.Parallel()
	s := world(t, deploys)
	shipped(s, "One", "success", noon.Add(-3*time.Hour), nil)
	good := shipped(s, "Two", "success", noon.Add(-2*time.Hour), map[string]any{"region": "eu"})
	shipped(s, "Broken", "failure", noon.Add(-90*time.Minute), nil)
	bad := shipped(s, "Three", "success", noon.Add(-time.Hour), nil)
	inv, _ := inverse(t, s, "github.redeploy")
	target := incident.Target{System: "gh", Path: repo + "/production"}
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target, Before: noon.Add(-time.Hour)})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), planned.Preflight)
	require.Equal(t, fmt.Sprint(good), planned.To.Revision, "the failed one was never live")
	require.Equal(t, fmt.Sprint(bad), planned.From.Revision)
	require.True(t, planned.Reversible)

	receipt, err := inv.Apply(t.Context(), actionOf("github.redeploy", target.Path, planned), "key-1")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	all := s.Deployments(repo)
	made, earlier := all[len(all)-1], all[1]
	require.Equal(t, earlier.SHA, made.SHA)
	require.Equal(t, earlier.SHA, made.Ref, "a branch would move on")
	payload, ok := made.Payload.(map[string]any)
	require.True(t, ok)
	require.Equal(t, "eu", payload["region"], "the earlier payload is lost")
	require.Equal(t, map[string]any{"action": "key-1", "from": float64(bad), "to": float64(good)}, payload["backout"])
}

func TestRedeployPreflight(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		arrange func(s *fakegithub.Server) (revision string)
		says    string
		blocked bool
		oneWay  bool
	}{
		{name: "never succeeded", says: "never succeeded", blocked: true, arrange: func(s *fakegithub.Server) string {
			id := shipped(s, "Two", "failure", noon, nil)
			shipped(s, "Three", "success", noon, nil)
			return fmt.Sprint(id)
		}},
		{name: "another environment", says: "went to staging", blocked: true, arrange: func(s *fakegithub.Server) string {
			d := deploy(s.AddCommit(repo, fakegithub.Commit{Message: "S", Author: "ada"}), "ada", noon, status("success", noon))
			d.Environment = "staging"
			return fmt.Sprint(s.AddDeployment(repo, d))
		}},
		{name: "commit is gone", says: "is gone from", blocked: true, arrange: func(s *fakegithub.Server) string {
			id := s.AddDeployment(repo, deploy(sha("9"), "ada", noon, status("success", noon)))
			shipped(s, "Three", "success", noon, nil)
			return fmt.Sprint(id)
		}},
		{name: "payload without room for a mark", says: "is no object", blocked: true, arrange: func(s *fakegithub.Server) string {
			id := shipped(s, "Two", "success", noon, "just text")
			shipped(s, "Three", "success", noon, nil)
			return fmt.Sprint(id)
		}},
		{name: "there already", says: "already", blocked: true, arrange: func(s *fakegithub.Server) string {
			return fmt.Sprint(shipped(s, "Two", "success", noon, nil))
		}},
		{name: "made inactive", says: "Nothing is deployed", blocked: true, arrange: func(s *fakegithub.Server) string {
			id := shipped(s, "Two", "success", noon, nil)
			hash := s.AddCommit(repo, fakegithub.Commit{Message: "Three", Author: "ada"})
			s.AddDeployment(repo, deploy(hash, "ada", noon, status("success", noon), status("inactive", noon)))
			return fmt.Sprint(id)
		}},
		{name: "half-way", says: "half-way", oneWay: true, arrange: func(s *fakegithub.Server) string {
			id := shipped(s, "Two", "success", noon, nil)
			shipped(s, "Three", "failure", noon, nil)
			return fmt.Sprint(id)
		}},
		{name: "withdrawn ones do not count", arrange: func(s *fakegithub.Server) string {
			id := shipped(s, "Two", "success", noon, nil)
			shipped(s, "Three", "success", noon, nil)
			shipped(s, "Four", "inactive", noon, nil)
			return fmt.Sprint(id)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := world(t)
			shipped(s, "One", "success", noon.Add(-time.Hour), nil)
			revision := tt.arrange(s)
			inv, _ := inverse(t, s, "github.redeploy")
			planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "gh", Path: repo + "/production"}, Revision: revision})
			require.NoError(t, err)
			require.Equal(t, tt.blocked, planned.Blocked(), planned.Preflight)
			if tt.blocked {
				require.Contains(t, reasons(planned, incident.PreflightBlocked), tt.says)
				return
			}
			require.Contains(t, reasons(planned, incident.PreflightWarning), tt.says)
			require.Equal(t, !tt.oneWay, planned.Reversible, "nobody can go back to a failure")
		})
	}
}

// TestRedeployFollowsAFailure shows that a deployment of our own that fails ends
// the action, and is not waited for.
func TestRedeployFollowsAFailure(t *testing.T) {
	t.Parallel()
	s := world(t)
	good := shipped(s, "One", "success", noon, nil)
	shipped(s, "Two", "success", noon, nil)
	inv, _ := inverse(t, s, "github.redeploy")
	path := repo + "/production"
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "gh", Path: path}, Revision: fmt.Sprint(good)})
	require.NoError(t, err)
	action := actionOf("github.redeploy", path, planned)
	_, err = inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	seen, err := inv.Observe(t.Context(), action)
	require.NoError(t, err)
	require.Equal(t, action.To.Digest, seen.State.Digest)
	require.False(t, seen.Settled, "nobody has deployed it yet")
	all := s.Deployments(repo)
	require.NoError(t, s.SetStatus(repo, all[len(all)-1].ID, fakegithub.DeploymentStatus{State: "failure", Description: "no\x00 room\nleft", Creator: "ci[bot]"}))
	seen, err = inv.Observe(t.Context(), action)
	require.NoError(t, err)
	require.NotEqual(t, action.To.Digest, seen.State.Digest, "a failure is taken for the wanted state")
	require.NotEqual(t, action.From.Digest, seen.State.Digest)
	require.Contains(t, seen.Detail, "ended with failure")
	require.Contains(t, seen.Detail, "no room left")
}
