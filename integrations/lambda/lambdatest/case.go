package lambdatest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	fakelambda "github.com/backout/backout/test/fakes/lambda"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.Register(Alias())
}

// The function and the alias of the case.
const (
	function = "checkout"
	alias    = "live"
)

// World is a stand-in with a function of four versions, whose alias has come to the
// third and shifts traffic to it.
type World struct {
	*fakelambda.Server
	// Secrets are everything that must not be shown.
	Secrets []string

	files map[drivertest.Credential]string
}

// reads are the actions that "lambda.alias" needs to plan.
var reads = []string{"lambda:GetAlias", "lambda:ListVersionsByFunction", "lambda:GetFunctionConfiguration"}

// Start starts a stand-in that ends with the test.
func Start(tb testing.TB) *World {
	tb.Helper()
	dir := tb.TempDir()
	secret := func(name string) (value, file string) {
		value, file = "canary-"+rand.Text(), filepath.Join(dir, name)
		require.NoError(tb, os.WriteFile(file, []byte(value+"\n"), 0o600))
		return value, file
	}
	owner, ownerFile := secret("owner")
	reader, readerFile := secret("reader")
	hidden := "canary-" + rand.Text()
	w := &World{
		Server: fakelambda.New(nil,
			fakelambda.Key{ID: "AKIAOWNER", Secret: owner, Allow: append([]string{"lambda:UpdateAlias"}, reads...)},
			fakelambda.Key{ID: "AKIAREADER", Secret: reader, Allow: reads}),
		Secrets: []string{owner, reader, hidden},
		files:   map[drivertest.Credential]string{drivertest.Owner: ownerFile, drivertest.Reader: readerFile},
	}
	tb.Cleanup(w.Close)
	w.AddFunction(function, map[string]string{"DATABASE_PASSWORD": hidden})
	for n := range 4 {
		w.Publish(function, time.Now().Add(time.Duration(n-5)*time.Minute))
	}
	w.Point(function, alias, hidden, 2, map[string]float64{"3": 0.25})
	return w
}

// System is the configuration of a connection to the stand-in at an address.
func (w *World) System(address string, as drivertest.Credential) driver.System {
	id := map[drivertest.Credential]string{drivertest.Owner: "AKIAOWNER", drivertest.Reader: "AKIAREADER"}[as]
	return driver.System{Name: "aws", Type: "lambda", Decode: drivertest.Settings(map[string]string{
		"region": fakelambda.Region, "url": "http://" + address, "access_key_id": id, "secret_access_key_file": w.files[as],
	})}
}

// Alias is the case of "lambda.alias": an alias whose traffic is being shifted to a
// third version, to go back to the first without a share of any other.
func Alias() drivertest.Case {
	return drivertest.Case{
		Kind:  "lambda.alias",
		Start: start,
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "There is no function", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: function + "/none"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "has no version", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				of(tb, t).Remove(function, 1)
				return t.Request, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "still being prepared", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				of(tb, t).Edit(function, 1, func(v *fakelambda.Version) { v.State = "Pending" })
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "was published before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not update", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
		},
	}
}

func start(tb testing.TB) *drivertest.Target {
	w := Start(tb)
	target := &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: function + "/" + alias}, Revision: "1"},
		Upstream: w.Address(),
		Connect:  w.System,
		Digest: func(context.Context) (string, error) {
			a := w.Alias(function, alias)
			return incident.DigestOf(fmt.Appendf(nil, "%s %v", a.Version, a.Weights)), nil
		},
		Mutations: func(context.Context) (int, error) { return w.Alias(function, alias).Updates, nil },
		Interfere: func(context.Context) error {
			w.Point(function, alias, "by hand", 4, nil)
			return nil
		},
		Difference: "points to version 4",
		Throttle: func(context.Context) error {
			w.Throttle(1)
			return nil
		},
		Canaries: w.Secrets,
	}
	worlds.Store(target, w)
	tb.Cleanup(func() { worlds.Delete(target) })
	return target
}

// worlds finds the stand-in of a target, for what a Target has no function for.
var worlds sync.Map

func of(tb testing.TB, t *drivertest.Target) *World {
	tb.Helper()
	w, ok := worlds.Load(t)
	require.True(tb, ok, "the target is not of this case")
	return w.(*World)
}
