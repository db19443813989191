package githubtest

import (
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	fakegithub "github.com/backout/backout/test/fakes/github"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// repo is the repository of the cases.
const repo = "acme/shop"

// world is a stand-in with one repository and two tokens.
type world struct {
	*fakegithub.Server
	tokens map[drivertest.Credential]string
	files  map[drivertest.Credential]string
	// secret is planted where the kind comes by.
	secret string
}

// start starts a stand-in whose owner has the permissions that are given, and
// whose reader has the same without writing.
func start(tb testing.TB, grants ...string) *world {
	tb.Helper()
	w := &world{
		tokens: map[drivertest.Credential]string{drivertest.Owner: "ghp_" + rand.Text(), drivertest.Reader: "ghp_" + rand.Text()},
		files:  make(map[drivertest.Credential]string),
		secret: "canary-" + rand.Text(),
	}
	var reads []string
	for _, grant := range grants {
		reads = append(reads, strings.Replace(grant, ": write", ": read", 1))
	}
	server, err := fakegithub.New(fakegithub.Config{
		Tokens:  map[string]string{w.tokens[drivertest.Owner]: "backout[bot]", w.tokens[drivertest.Reader]: "reader[bot]"},
		Grants:  map[string][]string{"backout[bot]": grants, "reader[bot]": reads},
		Deploys: true,
		// The laws write more often than a rollback does.
		WritesPerMinute: 1000,
	})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		server.Close()
		require.Empty(tb, server.Violations(), "the stand-in broke GitHub's contract")
	})
	w.Server = server
	server.AddRepo(repo)
	for as, token := range w.tokens {
		w.files[as] = filepath.Join(tb.TempDir(), "token")
		require.NoError(tb, os.WriteFile(w.files[as], []byte(token+"\n"), 0o600))
	}
	return w
}

// address is where the stand-in listens, as host:port.
func (w *world) address() string { return strings.TrimPrefix(w.URL(), "http://") }

// system is the configuration of a connection to the stand-in at an address.
func (w *world) system(address string, as drivertest.Credential) driver.System {
	return driver.System{Name: "github", Type: "github", Decode: drivertest.Settings(map[string]string{
		"url": "http://" + address, "token_file": w.files[as],
	})}
}

// throttle makes GitHub's secondary limit strike the next request.
func (w *world) throttle(context.Context) error {
	limit := fakegithub.SecondaryLimit(time.Second)
	w.Inject(rest.Fault{Status: http.StatusForbidden, Header: limit.Header, Body: limit.Body, Times: 1})
	return nil
}

// canaries are all secrets of the world.
func (w *world) canaries() []string {
	return []string{w.secret, w.tokens[drivertest.Owner], w.tokens[drivertest.Reader]}
}

// elsewhere makes a scenario that plans another path.
func elsewhere(path string) func(testing.TB, *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
	return func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
		request := t.Request
		request.Target.Path = path
		return request, drivertest.Owner
	}
}

// asReader plans the same with the credential that may not write.
func asReader(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
	return t.Request, drivertest.Reader
}

// longAgo plans what was there an hour before everything.
func longAgo(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
	return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-24 * time.Hour)}, drivertest.Owner
}
