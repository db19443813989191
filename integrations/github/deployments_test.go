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
	"github.com/backout/backout/test/fakes/pagerduty/rest"
	"github.com/backout/backout/workflows/incident"
)

// source opens the registered change source the way the product does.
func source(t *testing.T, s *fakegithub.Server) driver.ChangeSource {
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
	src, err := set.Source("github.deployments", "gh")
	require.NoError(t, err)
	return src
}

func question(since, until time.Time) driver.ChangeQuery {
	return driver.ChangeQuery{Service: "checkout", Target: incident.Target{System: "gh", Path: repo + "/production"}, Since: since, Until: until}
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func sha(digit string) string { return strings.Repeat(digit, 40) }

func deploy(hash, creator string, created time.Time, statuses ...fakegithub.DeploymentStatus) fakegithub.Deployment {
	return fakegithub.Deployment{Ref: "main", SHA: hash, Environment: "production", Creator: creator, CreatedAt: created, Statuses: statuses}
}

func status(state string, at time.Time) fakegithub.DeploymentStatus {
	return fakegithub.DeploymentStatus{State: state, CreatedAt: at}
}

func TestDeploymentsAsChanges(t *testing.T) {
	t.Parallel()
	s := world(t)
	old := deploy(sha("1"), "ada", noon.AddDate(0, 0, -3), status("success", noon.AddDate(0, 0, -3)), status("inactive", noon))
	s.AddDeployment(repo, old)
	good := deploy(sha("2"), "ada", noon.Add(-2*time.Hour),
		status("in_progress", noon.Add(-90*time.Minute)),
		fakegithub.DeploymentStatus{State: "success", CreatedAt: noon.Add(-80 * time.Minute), Description: "rolled\nout", LogURL: "https://ci.example.com/2"},
		status("inactive", noon))
	good.Description = "Discounts"
	id := s.AddDeployment(repo, good)
	failed := s.AddDeployment(repo, deploy(sha("3"), "bob", noon.Add(-time.Hour), status("failure", noon.Add(-50*time.Minute))))
	s.AddDeployment(repo, deploy(sha("4"), "bob", noon.Add(-40*time.Minute), status("in_progress", noon.Add(-39*time.Minute))))
	s.AddDeployment(repo, deploy(sha("5"), "bob", noon.Add(-30*time.Minute)))
	staging := deploy(sha("6"), "bob", noon.Add(-20*time.Minute), status("success", noon.Add(-20*time.Minute)))
	staging.Environment = "staging"
	s.AddDeployment(repo, staging)
	s.AddDeployment(repo, deploy(sha("7"), "eve", noon.Add(time.Minute), status("success", noon.Add(time.Minute))))

	q := question(noon.Add(-100*time.Minute), noon)
	got, err := source(t, s).Changes(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, []incident.Change{
		{
			ID: fmt.Sprintf("acme/shop/deployments/%d", id), Source: "github.deployments", Kind: incident.ChangeDeploy, Service: "checkout", Target: q.Target,
			At: noon.Add(-80 * time.Minute), Author: "ada", From: "main (1111111111)", To: "main (2222222222)",
			Summary: "Discounts; rolled out", URL: "https://ci.example.com/2",
		},
		{
			ID: fmt.Sprintf("acme/shop/deployments/%d", failed), Source: "github.deployments", Kind: incident.ChangeDeploy, Service: "checkout", Target: q.Target,
			At: noon.Add(-50 * time.Minute), Author: "bob", From: "main (2222222222)", To: "main (3333333333)", Summary: "this deployment failed",
		},
	}, got, "by when they took effect; not what is still running, never started, elsewhere or later")

	q.Kind = incident.ChangeConfig
	got, err = source(t, s).Changes(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, incident.ChangeConfig, got[0].Kind)
}

func TestDeploymentByAMachineNamesTheCommitsAuthor(t *testing.T) {
	t.Parallel()
	s := world(t)
	hash := s.AddCommit(repo, fakegithub.Commit{Message: "Add discount", Author: "ada", At: noon})
	s.AddDeployment(repo, deploy(hash, "deployer[bot]", noon, status("success", noon)))
	s.AddDeployment(repo, deploy(sha("f"), "deployer[bot]", noon.Add(time.Second), status("success", noon.Add(time.Second))))
	got, err := source(t, s).Changes(t.Context(), question(noon, noon.Add(time.Hour)))
	require.NoError(t, err)
	require.Equal(t, "ada", got[0].Author)
	require.Equal(t, "deployer[bot]", got[1].Author, "the commit is gone")
	require.Empty(t, got[0].From, "nothing is known before it")
	s.Inject(rest.Fault{Path: "/repos/{owner}/{repo}/commits/{ref}", Status: 500})
	_, err = source(t, s).Changes(t.Context(), question(noon, noon.Add(time.Hour)))
	require.Error(t, err)
}

func TestDeploymentsOverPages(t *testing.T) {
	t.Parallel()
	s := world(t)
	start := noon.AddDate(0, 0, -10)
	for i := range 75 {
		at := start.Add(time.Duration(i) * 3 * time.Hour)
		s.AddDeployment(repo, deploy(fmt.Sprintf("%040d", i), "ada", at, status("success", at)))
	}
	got, err := source(t, s).Changes(t.Context(), question(start.Add(30*time.Hour), noon))
	require.NoError(t, err)
	require.Len(t, got, 65)
	require.Equal(t, "main (0000000000)", got[0].To)
	require.NotEmpty(t, got[0].From)
	_, err = source(t, s).Changes(t.Context(), question(noon.Add(-time.Hour), noon))
	require.NoError(t, err)
	statuses := len(s.Calls("GET /repos/{owner}/{repo}/deployments/{deployment_id}/statuses"))
	require.LessOrEqual(t, statuses, 75+30, "a short window reads one page")

	s.Inject(rest.Fault{Path: "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses", Status: 500, Times: 1})
	_, err = source(t, s).Changes(t.Context(), question(start, noon))
	require.Error(t, err, "a partial answer is an error")
}

func TestDeploymentTargets(t *testing.T) {
	t.Parallel()
	s := world(t)
	src := source(t, s)
	for _, path := range []string{"", "acme/shop", "acme/shop/", "acme//production", "../shop/production", "acme/sh op/x", "acme/../x"} {
		q := question(noon, noon)
		q.Target.Path = path
		_, err := src.Changes(t.Context(), q)
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
	require.Empty(t, s.Calls(""))
	q := question(noon.Add(-time.Hour), noon)
	q.Target.Path = repo + "/eu/production"
	d := deploy(sha("a"), "ada", noon, status("success", noon))
	d.Environment = "eu/production"
	s.AddDeployment(repo, d)
	got, err := src.Changes(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, got, 1, "an environment may hold slashes")
}
