package caddy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/caddy/caddytest"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

const kind = "route.caddy"

// connect opens a connection.
func connect(t *testing.T, system driver.System) (*driver.Set, driver.Inverse) {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{system})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse(kind, system.Name)
	require.NoError(t, err)
	return set, inverse
}

func target(path string) incident.Target { return incident.Target{System: "edge", Path: path} }

// planned makes the action that a request leads to.
func planned(t *testing.T, inverse driver.Inverse, req driver.PlanRequest) incident.Action {
	t.Helper()
	p, err := inverse.Plan(t.Context(), req)
	require.NoError(t, err)
	require.False(t, p.Blocked(), "%v", p.Preflight)
	return incident.Action{Kind: kind, Target: req.Target, From: p.From, To: p.To, MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: p.Reversible}
}

// reasons are all that a plan says, one check a line.
func reasons(p driver.Planned) string {
	var text strings.Builder
	for _, c := range p.Preflight {
		fmt.Fprintf(&text, "%s %s: %s\n", c.Result, c.Name, c.Reason)
	}
	return text.String()
}

// write writes a state into a file.
func write(t *testing.T, state any) string {
	t.Helper()
	content, err := json.Marshal(state)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestNamedStates(t *testing.T) {
	t.Parallel()
	s := caddytest.Start(t, caddytest.Route("canary", 1, 1))
	id := "id/" + caddytest.ID
	refused := caddytest.Route("canary", 1, 1)
	refused["handle"] = []any{map[string]any{"handler": "canary_handler"}}
	named := func(name, file string) map[string]string {
		return map[string]string{"name": name, "target": id, "file": file}
	}
	_, inverse := connect(t, caddytest.System(map[string]any{
		"url": "http://" + s.Address(), "history_folder": s.History,
		"states": []map[string]string{
			named("night", write(t, caddytest.Route("canary", 5, 1))), named("same", write(t, caddytest.Route("canary", 1, 1))),
			named("gone", "/no/such/file"), named("refused", write(t, refused)),
		},
	}))
	for _, tt := range []struct {
		name string
		req  driver.PlanRequest
		says string
	}{
		{"named", driver.PlanRequest{Target: target(id), Revision: "night"}, "ok revision exists: The settings have a state \"night\"."},
		{"already there", driver.PlanRequest{Target: target(id), Revision: "same"}, "blocked not there already"},
		{"file is gone", driver.PlanRequest{Target: target(id), Revision: "gone"}, "blocked revision exists: The file of the state \"gone\" can not be read"},
		{"no such name", driver.PlanRequest{Target: target(id), Revision: "day"}, "blocked revision exists: The settings have no state of that name"},
		{"name of another target", driver.PlanRequest{Target: target(id + "/handle"), Revision: "night"}, "blocked revision exists"},
		{"not captured", driver.PlanRequest{Target: target(id), Revision: "0123456789abcdef"}, "blocked revision exists: Revision 0123456789abcdef of id/shop was not captured."},
		{"no history", driver.PlanRequest{Target: target(id), Before: time.Now()}, "blocked revision exists: The captured states of id/shop do not reach back"},
		{"no key", driver.PlanRequest{Target: target("config/apps/http/servers/none"), Revision: "night"}, "blocked target exists"},
		{"no path", driver.PlanRequest{Target: target("config/apps/http/none/deeper"), Revision: "night"}, "blocked target exists"},
		{"no index", driver.PlanRequest{Target: target("config/apps/http/servers/edge/routes/7"), Revision: "night"}, "blocked target exists"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := inverse.Plan(t.Context(), tt.req)
			require.NoError(t, err)
			require.Contains(t, reasons(p), tt.says)
		})
	}
	_, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: target(id)})
	require.ErrorIs(t, err, driver.ErrInvalid)

	// There and back: the state that is left is captured on the way.
	there := planned(t, inverse, driver.PlanRequest{Target: target(id), Revision: "night"})
	require.Equal(t, "night", there.To.Label)
	again := planned(t, inverse, driver.PlanRequest{Target: target(id), Revision: there.To.Revision})
	require.Equal(t, there.To, again.To, "planned again by its revision")
	for _, action := range []incident.Action{there, there.Swapped()} {
		receipt, err := inverse.Apply(t.Context(), action, "key")
		require.NoError(t, err)
		require.True(t, receipt.Mutated)
	}

	// What Caddy does not take changes nothing, and is not quoted.
	before, err := s.Ask(t.Context(), http.MethodGet, "/config/", nil)
	require.NoError(t, err)
	_, err = inverse.Apply(t.Context(), planned(t, inverse, driver.PlanRequest{Target: target(id), Revision: "refused"}), "key")
	require.ErrorContains(t, err, "its log says why")
	require.NotContains(t, err.Error(), "canary")
	after, err := s.Ask(t.Context(), http.MethodGet, "/config/", nil)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
}

// TestIDThatMoves shows that an "@id" is followed to where it is.
func TestIDThatMoves(t *testing.T) {
	t.Parallel()
	s := caddytest.Start(t, caddytest.Route("canary", 100, 1))
	moment := s.Switch(t, caddytest.Route("canary", 1, 100))
	proxy := drivertest.NewProxy(t, s.Address())
	_, inverse := connect(t, s.System(proxy.Address(), drivertest.Owner))
	action := planned(t, inverse, driver.PlanRequest{Target: target("id/" + caddytest.ID), Before: moment})
	var failed error
	inserted := map[string]any{"handle": []any{map[string]any{"handler": "static_response", "status_code": 404}}, "match": []any{map[string]any{"path": []string{"/gone"}}}}
	// The second request is the write: the route has another place by then.
	proxy.Pause(2, func() {
		_, failed = s.Ask(t.Context(), http.MethodPut, "/config/apps/http/servers/edge/routes/0", inserted)
	})
	out, err := driver.Execute(t.Context(), inverse, action, "key", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(t, failed)
	require.NoError(t, err)
	require.True(t, out.Applied)
	content, err := s.Ask(t.Context(), http.MethodGet, "/config/apps/http/servers/edge/routes/0", nil)
	require.NoError(t, err)
	require.Contains(t, string(content), "static_response", "the inserted route was overwritten")
	content, err = s.Ask(t.Context(), http.MethodGet, "/config/apps/http/servers/edge/routes/1", nil)
	require.NoError(t, err)
	require.Contains(t, string(content), "[100,1]")
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	s := caddytest.Start(t, caddytest.Route("canary", 1, 1))
	set, inverse := connect(t, s.System(s.Address(), drivertest.Owner))
	recorder, err := set.Recorder(kind, "edge")
	require.NoError(t, err)
	source, err := set.Source(kind, "edge")
	require.NoError(t, err)
	at := target("id/" + caddytest.ID)
	changes := func() []incident.Change {
		found, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: at, Until: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		return found
	}
	require.ErrorContains(t, recorder.Check(t.Context(), at), "not captured")
	require.ErrorIs(t, recorder.Check(t.Context(), target("id/none")), driver.ErrNotFound)
	state, err := recorder.Record(t.Context(), at)
	require.NoError(t, err)
	require.Equal(t, "weights 1:1", state.Label)
	require.NoError(t, recorder.Check(t.Context(), at))
	require.Empty(t, changes(), "what a history begins with is no change")

	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 2)
	go func() { watched <- recorder.Watch(ctx, at) }()
	go func() { watched <- recorder.Watch(ctx, target("id/none")) }()
	require.NoError(t, s.Set(t.Context(), caddytest.Route("canary", 2, 1)))
	require.Eventually(t, func() bool { return len(changes()) == 1 }, 20*time.Second, 20*time.Millisecond)
	stop()
	require.ErrorIs(t, <-watched, context.Canceled)
	require.ErrorIs(t, <-watched, context.Canceled, "a target that is missing is waited for")
	change := changes()[0]
	require.Equal(t, [3]string{"weights 1:1", "weights 2:1", ""}, [3]string{change.From, change.To, change.Author})

	_, err = inverse.Apply(t.Context(), planned(t, inverse, driver.PlanRequest{Target: at, Before: change.At}), "key")
	require.NoError(t, err)
	found := changes()
	require.Len(t, found, 2)
	require.Equal(t, "backout", found[1].Author)
	require.NoError(t, recorder.Check(t.Context(), at), "what Backout puts in force is captured")
	require.ErrorIs(t, recorder.Watch(t.Context(), target("//")), driver.ErrInvalid)
}
