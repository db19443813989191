package githubtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Revert())
}

// The files that the bad commit of the case touches.
const (
	limits   = "config/limits.yaml"
	features = "config/features.yaml"
	added    = "config/added.yaml"
)

// Revert is the case of "github.revert": a branch in a real Git repository, with
// a bad commit to two files that it changes and one that it adds, and a newer
// commit to another file.
func Revert() drivertest.Case {
	return drivertest.Case{
		Kind:  "github.revert",
		Start: startRevert,
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "There is no branch", Arrange: elsewhere(repo + "/none")},
			drivertest.MissingRevision: {Says: "is not in", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				request := t.Request
				request.Revision = strings.Repeat("f", 40)
				return request, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "is in flight", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				w := worldOf(tb, t)
				w.AddIssue(repo, fakegithub.Issue{Title: "Revert", Author: "backout[bot]", Pull: &fakegithub.Pull{Head: "backout/0123456789", Base: "main"}})
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow:      {Says: "There is nothing before the commit", Arrange: longAgo},
			drivertest.MissingPermission: {Says: "may not write branches", Arrange: asReader},
		},
	}
}

// commit commits to main.
func (w *world) commit(tb testing.TB, author, message string, at time.Time, write map[string]string, remove ...string) string {
	tb.Helper()
	hash, err := w.Push(repo, fakegithub.Push{Branch: "main", Author: author, Message: message, At: at, Write: write, Delete: remove})
	require.NoError(tb, err)
	return hash
}

func startRevert(tb testing.TB) *drivertest.Target {
	w := start(tb, "contents: write", "pull_requests: write", "metadata: read")
	require.NoError(tb, w.UseGit(repo, tb.TempDir()))
	now := time.Now()
	secret := "# " + w.secret + "\n"
	w.commit(tb, "ada", "First", now.Add(-3*time.Hour), map[string]string{limits: "limit: 10\n" + secret, features: "checkout: v1\n" + secret, "README.md": "Shop\n"})
	bad := w.commit(tb, "bob", "Raise the limit", now.Add(-2*time.Hour), map[string]string{limits: "limit: 1\n" + secret, features: "checkout: v2\n" + secret, added: secret})
	w.commit(tb, "ada", "Say more", now.Add(-time.Hour/2), map[string]string{"README.md": "The shop\n"})
	worlds.Store(w.address(), w)
	tb.Cleanup(func() { worlds.Delete(w.address()) })
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: repo + "/main"}, Revision: bad},
		Upstream: w.address(),
		Connect:  w.system,
		Digest: func(context.Context) (string, error) {
			var all strings.Builder
			for _, path := range []string{limits, features, added, "README.md"} {
				content, found := w.File(repo, "main", path)
				all.WriteString(path + "\x00" + content + "\x00")
				if found {
					all.WriteString("there\x00")
				}
			}
			return incident.DigestOf([]byte(all.String())), nil
		},
		Mutations: func(context.Context) (int, error) { return len(w.History(repo, "main")), nil },
		// Somebody takes a part of the change back by hand, or goes elsewhere when
		// all of it is back.
		Interfere: func(context.Context) error {
			limit := "limit: 10\n" + secret
			if present, _ := w.File(repo, "main", limits); present == limit {
				limit = "limit: 5\n" + secret
			}
			_, err := w.Push(repo, fakegithub.Push{
				Branch: "main", Author: "eve", Message: "Another limit", At: time.Now(), Write: map[string]string{limits: limit},
			})
			return err
		},
		Difference: "by eve (Another limit)",
		Throttle:   w.throttle,
		Canaries:   w.canaries(),
	}
}
