package launchdarklytest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/launchdarkly" // The kind under test.
	fakelaunchdarkly "github.com/backout/backout/test/fakes/launchdarkly"
	"github.com/backout/backout/workflows/incident"
)

func init() { drivertest.Register(Rollout()) }

// The flag of the case. Other is an environment that has to stay as it is.
const (
	Project     = "shop"
	Key         = "checkout.fast-path"
	Environment = "production"
	Other       = "staging"
)

// path is the target's.
const path = Project + "/" + Key + "/" + Environment

// ada is who changes flags by hand.
const ada = "ada@example.com"

// World is a stand-in with one flag and two tokens.
type World struct {
	*fakelaunchdarkly.Server
	// Owner has exactly what the kind's descriptor asks for, Reader reads.
	Owner, Reader string
	dir           string
}

// Start starts a stand-in that ends with the test. Its flag is off.
func Start(tb testing.TB) *World {
	tb.Helper()
	return StartAt(tb, time.Now)
}

// StartAt is Start with a clock.
func StartAt(tb testing.TB, now func() time.Time) *World {
	tb.Helper()
	w := &World{Owner: "api-canary-" + rand.Text(), Reader: "api-canary-" + rand.Text(), dir: tb.TempDir()}
	server, err := fakelaunchdarkly.New(fakelaunchdarkly.Config{Now: now, Tokens: map[string]fakelaunchdarkly.Token{
		w.Owner: {Name: "backout", Actions: []string{
			"updateOn", "updateFallthrough", "updateOffVariation", "updateRules", "updateTargets", "updatePrerequisites", "updateTrackEvents",
		}},
		w.Reader: {Name: "reader"},
	}})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		server.Close()
		require.Empty(tb, server.Violations(), "the stand-in broke LaunchDarkly's document")
	})
	w.Server = server
	for as, token := range map[drivertest.Credential]string{drivertest.Owner: w.Owner, drivertest.Reader: w.Reader} {
		require.NoError(tb, os.WriteFile(w.tokenFile(as), []byte(token+"\n"), 0o600))
	}
	w.AddFlag(Project, Key, Environment, Other)
	return w
}

func (w *World) tokenFile(as drivertest.Credential) string {
	return filepath.Join(w.dir, fmt.Sprintf("token-%d", as))
}

// Address is host:port.
func (w *World) Address() string { return strings.TrimPrefix(w.URL(), "http://") }

// System is the configuration of a connection to the stand-in at an address.
func (w *World) System(address string, as drivertest.Credential) driver.System {
	return driver.System{Name: "flags", Type: "launchdarkly", Decode: drivertest.Settings(map[string]string{
		"url": "http://" + address, "token_file": w.tokenFile(as),
	})}
}

// Target is the flag in its environment.
func (w *World) Target() incident.Target { return incident.Target{System: "flags", Path: path} }

// Change changes the flag as a person does.
func (w *World) Change(edit func(config map[string]any)) {
	w.Update(Project, Key, Environment, ada, edit)
}

// Digest is a digest of what is served in an environment.
func (w *World) Digest(environment string) (string, error) {
	config := w.Configuration(Project, Key, environment)
	for _, field := range []string{"version", "lastModified"} {
		delete(config, field)
	}
	rules, _ := config["rules"].([]any)
	for _, rule := range rules {
		fields := rule.(map[string]any)
		delete(fields, "_id")
		clauses, _ := fields["clauses"].([]any)
		for _, clause := range clauses {
			delete(clause.(map[string]any), "_id")
		}
	}
	content, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("encode configuration: %w", err)
	}
	return incident.DigestOf(content), nil
}

// Shares is what is served by default: the variations with their weights.
func Shares(first, second int) map[string]any {
	return map[string]any{"rollout": map[string]any{"contextKind": "user", "variations": []any{
		map[string]any{"variation": 0, "weight": first}, map[string]any{"variation": 1, "weight": second},
	}}}
}

// Rule serves a variation to some users.
func Rule(variation int, users ...string) map[string]any {
	values := make([]any, 0, len(users))
	for _, user := range users {
		values = append(values, user)
	}
	return map[string]any{"variation": variation, "trackEvents": false, "clauses": []any{
		map[string]any{"attribute": "key", "op": "in", "contextKind": "user", "negate": false, "values": values},
	}}
}

// Rollout is the case of "flag.launchdarkly": a flag that was opened from 10 to 100
// percent, and got another rule in the same change.
func Rollout() drivertest.Case {
	return drivertest.Case{
		Kind:  "flag.launchdarkly",
		Start: startRollout,
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "does not exist in the project", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: Project + "/no-such-flag/" + Environment}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "does not hold version 2", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				tb.Helper()
				require.NoError(tb, t.Interfere(tb.Context()))
				worldOf(tb, t).Forget(Project, Key, Environment, 1)
				return t.Request, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "are scheduled", Warns: true, Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				tb.Helper()
				worldOf(tb, t).Schedule(Project, Key, Environment, time.Now().Add(time.Hour))
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "was not there before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				request := t.Request
				request.Revision, request.Before = "", time.Now().Add(-time.Hour)
				return request, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not change", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
		},
	}
}

// worlds are the stand-ins of targets, by the address of each.
var worlds sync.Map

func worldOf(tb testing.TB, t *drivertest.Target) *World {
	tb.Helper()
	found, ok := worlds.Load(t.Upstream)
	require.True(tb, ok)
	return found.(*World)
}

func startRollout(tb testing.TB) *drivertest.Target {
	tb.Helper()
	w := Start(tb)
	worlds.Store(w.Address(), w)
	tb.Cleanup(func() { worlds.Delete(w.Address()) })
	canary := "canary-" + rand.Text()
	w.Change(func(config map[string]any) {
		config["on"], config["fallthrough"] = true, Shares(10_000, 90_000)
		config["rules"] = []any{Rule(0, canary)}
	})
	w.Change(func(config map[string]any) {
		config["fallthrough"] = map[string]any{"variation": 0}
		config["rules"] = append([]any{Rule(1, canary, "guest")}, config["rules"].([]any)...)
	})
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: path}, Revision: "2"},
		Upstream: w.Address(),
		Connect:  w.System,
		Digest:   func(context.Context) (string, error) { return w.Digest(Environment) },
		Mutations: func(context.Context) (int, error) {
			return w.Entries(Project, Key, Environment), nil
		},
		Interfere: func(context.Context) error {
			w.Change(func(config map[string]any) { config["fallthrough"] = Shares(50_000, 50_000) })
			return nil
		},
		Difference: "default changed: variation 0 to variations 0 50%, 1 50%",
		Throttle: func(context.Context) error {
			w.Throttle(throttled)
			return nil
		},
		Canaries: append([]string{canary, w.Owner, w.Reader}, w.ClientKeys(Project, Environment)...),
	}
}

// throttled is how long a request that is throttled is told to wait.
const throttled = 50 * time.Millisecond
