package unleashtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/unleash" // The kind under test.
	"github.com/backout/backout/test/unleash"
	"github.com/backout/backout/workflows/incident"
)

func init() { drivertest.Register(Rollout()) }

// created is before every flag that a test makes.
var created = time.Unix(1_700_000_000, 0)

// permissions are what the kind's descriptor asks for.
var permissions = []string{"UPDATE_FEATURE_ENVIRONMENT", "CREATE_FEATURE_STRATEGY", "UPDATE_FEATURE_STRATEGY", "DELETE_FEATURE_STRATEGY"}

// Rollout is the case of "flag.unleash": a gradual rollout that was raised from 10 to
// 100 percent.
func Rollout() drivertest.Case {
	return drivertest.Case{
		Kind:  "flag.unleash",
		Start: startRollout,
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "does not exist in the project", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: unleash.Project + "/no-such-flag/" + unleash.Environment}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "is not among those that changed", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				tb.Helper()
				parts := strings.Split(t.Request.Target.Path, "/")
				id, err := strconv.Atoi(t.Request.Revision)
				require.NoError(tb, err)
				unleash.Require(tb).Events(tb, "DELETE FROM events WHERE feature_name = $1 AND id <= $2", parts[1], id)
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "was not there before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				request := t.Request
				request.Revision, request.Before = "", created
				return request, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "lacks UPDATE_FEATURE_STRATEGY", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "a flag changes in one step, so that no change is ever under way"},
		},
	}
}

// Flag is a flag of its own on the shared server, with the means to change it as
// people do.
type Flag struct {
	Name   string
	Server *unleash.Server
	// Owner and Reader are tokens of users that all tests of the process share.
	Owner, Reader string
	dir           string
}

// The users that all flags of the process are changed and read by.
var (
	usersOnce     sync.Once
	owner, reader string
)

// NewFlag makes a flag that is off and has no strategy.
func NewFlag(tb testing.TB) *Flag {
	tb.Helper()
	f := &Flag{Name: "flag-" + strings.ToLower(rand.Text()[:14]), Server: unleash.Require(tb), dir: tb.TempDir()}
	usersOnce.Do(func() { owner, reader = f.Server.User(tb, permissions...), f.Server.User(tb) })
	f.Owner, f.Reader = owner, reader
	for as, token := range map[drivertest.Credential]string{drivertest.Owner: f.Owner, drivertest.Reader: f.Reader} {
		require.NoError(tb, os.WriteFile(f.tokenFile(as), []byte(token+"\n"), 0o600))
	}
	require.NoError(tb, f.Server.Call(tb.Context(), http.MethodPost, "/api/admin/projects/"+unleash.Project+"/features", map[string]any{"name": f.Name}, nil))
	return f
}

func (f *Flag) tokenFile(as drivertest.Credential) string {
	return filepath.Join(f.dir, fmt.Sprintf("token-%d", as))
}

// Target is the flag in an environment.
func (f *Flag) Target() incident.Target {
	return incident.Target{System: "flags", Path: unleash.Project + "/" + f.Name + "/" + unleash.Environment}
}

// System is the configuration of a connection to the server at an address.
func (f *Flag) System(address string, as drivertest.Credential) driver.System {
	return driver.System{Name: "flags", Type: "unleash", Decode: drivertest.Settings(map[string]string{
		"url": "http://" + address, "token_file": f.tokenFile(as),
	})}
}

// Do makes a request below the flag's environment with all rights, as a third party.
func (f *Flag) Do(ctx context.Context, method, path string, body, into any) error {
	return f.Server.Call(ctx, method, "/api/admin/projects/"+unleash.Project+"/features/"+f.Name+"/environments/"+unleash.Environment+path, body, into)
}

// Turn turns the flag on or off.
func (f *Flag) Turn(tb testing.TB, word string) {
	tb.Helper()
	require.NoError(tb, f.Do(tb.Context(), http.MethodPost, "/"+word, nil, nil))
}

// Strategy is what a gradual rollout to a share of some users says.
func Strategy(share int, user string) map[string]any {
	return map[string]any{
		"name": "flexibleRollout", "parameters": map[string]any{"rollout": strconv.Itoa(share), "stickiness": "default", "groupId": "checkout"},
		"constraints": []any{map[string]any{"contextName": "userId", "operator": "IN", "values": []any{user}}},
	}
}

// Add adds a strategy and returns its ID.
func (f *Flag) Add(tb testing.TB, strategy map[string]any) string {
	tb.Helper()
	var made struct {
		ID string `json:"id"`
	}
	require.NoError(tb, f.Do(tb.Context(), http.MethodPost, "/strategies", strategy, &made))
	return made.ID
}

// Share sets the share of a gradual rollout.
func (f *Flag) Share(ctx context.Context, id string, share int) error {
	return f.Do(ctx, http.MethodPatch, "/strategies/"+id, []map[string]any{{"op": "replace", "path": "/parameters/rollout", "value": strconv.Itoa(share)}}, nil)
}

// Last is the ID of the flag's newest event.
func (f *Flag) Last(tb testing.TB) string {
	tb.Helper()
	events, err := f.Events(tb.Context())
	require.NoError(tb, err)
	require.NotEmpty(tb, events)
	return strconv.FormatInt(events[0].ID, 10)
}

// Event is one line of the flag's log.
type Event struct {
	ID    int64  `json:"id"`
	Type  string `json:"type"`
	Group string `json:"groupId"`
}

// Events are all of the flag's log, newest first.
func (f *Flag) Events(ctx context.Context) ([]Event, error) {
	var answer struct {
		Events []Event `json:"events"`
	}
	query := url.Values{"feature": {"IS:" + f.Name}, "limit": {"1000"}}
	err := f.Server.Call(ctx, http.MethodGet, "/api/admin/search/events?"+query.Encode(), nil, &answer)
	return answer.Events, err
}

// Digest is a digest of what clients are told in the environment.
func (f *Flag) Digest(ctx context.Context) (string, error) {
	var answer struct {
		Environments []struct {
			Name       string           `json:"name"`
			Enabled    bool             `json:"enabled"`
			Strategies []map[string]any `json:"strategies"`
		} `json:"environments"`
	}
	if err := f.Server.Call(ctx, http.MethodGet, "/api/admin/projects/"+unleash.Project+"/features/"+f.Name, nil, &answer); err != nil {
		return "", err
	}
	for _, e := range answer.Environments {
		if e.Name != unleash.Environment {
			continue
		}
		for _, s := range e.Strategies {
			delete(s, "id")
			delete(s, "sortOrder")
			if s["title"] == nil {
				s["title"] = ""
			}
		}
		content, err := json.Marshal(e)
		if err != nil {
			return "", fmt.Errorf("encode flag: %w", err)
		}
		return incident.DigestOf(content), nil
	}
	return "none", nil
}

// Requests counts the requests that changed the flag.
func (f *Flag) Requests(ctx context.Context) (int, error) {
	events, err := f.Events(ctx)
	if err != nil {
		return 0, err
	}
	groups := map[string]bool{}
	for _, e := range events {
		groups[e.Group] = true
	}
	return len(groups), nil
}

func startRollout(tb testing.TB) *drivertest.Target {
	tb.Helper()
	f := NewFlag(tb)
	canary := "canary-" + rand.Text()
	id := f.Add(tb, Strategy(10, canary))
	f.Turn(tb, "on")
	good := f.Last(tb)
	require.NoError(tb, f.Share(tb.Context(), id, 100))
	front := newFront(tb, f.Server.Address())
	return &drivertest.Target{
		Request:    driver.PlanRequest{Target: incident.Target{Path: f.Target().Path}, Revision: good},
		Upstream:   front.address(),
		Connect:    f.System,
		Digest:     f.Digest,
		Mutations:  f.Requests,
		Interfere:  func(ctx context.Context) error { return f.Share(ctx, id, 50) },
		Difference: "rollout 100% to 50%",
		Throttle:   front.throttle,
		Canaries:   []string{canary, f.Owner, f.Reader},
	}
}
