package varnish_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/varnish/varnishtest"
	"github.com/backout/backout/workflows/incident"
)

const kind = "edge.varnish"

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

func request(path, revision string) driver.PlanRequest {
	return driver.PlanRequest{Target: incident.Target{System: "cache", Path: path}, Revision: revision}
}

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

// TestTheWindow shows what becomes of a change that arrives at each moment of a
// switch, which has no compare-and-set: it is in force in the end, always.
func TestTheWindow(t *testing.T) {
	t.Parallel()
	overwritten := 0
	for nth := 1; ; nth++ {
		s := varnishtest.Start(t)
		proxy := drivertest.NewProxy(t, s.Gate())
		_, inverse := connect(t, s.System(proxy.Address(), drivertest.Owner))
		action := planned(t, inverse, request("label/"+s.Label, s.Good))
		var failed error
		proxy.Pause(nth, func() { failed = s.Do(t.Context(), "vcl.label "+s.Label+" "+s.Newer) })
		receipt, err := inverse.Apply(t.Context(), action, "key")
		if !proxy.Disarm() {
			require.NoError(t, err)
			break
		}
		require.NoError(t, failed)
		var drift *driver.DriftError
		require.ErrorAs(t, err, &drift)
		require.False(t, receipt.Mutated)
		require.Equal(t, s.Newer, drift.Observed.Revision)
		now, err := s.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, s.Newer, now, "the change of somebody else is not in force")
		if strings.Contains(drift.Difference, "put back") {
			overwritten++
		}
	}
	require.Equal(t, 1, overwritten, "the switch alone can overwrite")
}

// TestALabelThatIsDiscardedMeanwhile shows that it is not made again.
func TestALabelThatIsDiscardedMeanwhile(t *testing.T) {
	t.Parallel()
	for nth := 1; ; nth++ {
		s := varnishtest.Start(t)
		proxy := drivertest.NewProxy(t, s.Gate())
		_, inverse := connect(t, s.System(proxy.Address(), drivertest.Owner))
		action := planned(t, inverse, request("label/"+s.Label, s.Good))
		var failed error
		proxy.Pause(nth, func() { failed = s.Do(t.Context(), "vcl.discard "+s.Label) })
		_, err := inverse.Apply(t.Context(), action, "key")
		if !proxy.Disarm() {
			require.NoError(t, err)
			return
		}
		require.NoError(t, failed)
		require.True(t, driver.Final(err), "%v", err)
		now, err := s.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, "none", now)
	}
}

func TestBan(t *testing.T) {
	t.Parallel()
	s := varnishtest.Start(t)
	_, inverse := connect(t, s.System(s.Gate(), drivertest.Owner))
	banned := func() bool {
		answers, err := s.Ask(t.Context(), "ban.list")
		require.NoError(t, err)
		return strings.Contains(answers[0], "obj.http.x-site == "+s.Label)
	}
	action := planned(t, inverse, request("label/"+s.Label, s.Good))
	_, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.False(t, banned(), "banned without being asked to")
	p, err := inverse.Plan(t.Context(), request("label/"+s.Label+"/ban/site", s.First))
	require.NoError(t, err)
	require.Contains(t, reasons(p), "which can not be undone")
	require.Contains(t, p.WontRevert, "the cached objects that the ban removes")
	receipt, err := inverse.Apply(t.Context(), planned(t, inverse, request("label/"+s.Label+"/ban/site", s.First)), "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	require.True(t, banned())
	p, err = inverse.Plan(t.Context(), request("label/"+s.Label+"/ban/other", s.First))
	require.NoError(t, err)
	require.Contains(t, reasons(p), "blocked ban: The settings have no ban other.")
}

func TestPlan(t *testing.T) {
	t.Parallel()
	s := varnishtest.Start(t)
	_, inverse := connect(t, s.System(s.Gate(), drivertest.Owner))
	load := func(name, source string, after ...string) string {
		name += strings.ToLower(s.Label)
		require.NoError(t, s.Load(t.Context(), name, source))
		for _, command := range after {
			_, err := s.Ask(t.Context(), fmt.Sprintf(command, name))
			require.NoError(t, err)
		}
		return name
	}
	cold := load("cold", varnishtest.Source("nothing", "cold"), "vcl.state %s cold")
	sick := load("sick", "vcl 4.1;\nbackend default { .host = \"127.0.0.1\"; .port = \"9\"; .probe = { .interval = 1s; .initial = 0; } }")
	path := "label/" + s.Label
	for _, tt := range []struct {
		name string
		req  driver.PlanRequest
		says string
	}{
		{"by hand", request(path, s.Newer), "ok revision exists"},
		{"already there", request(path, s.Bad), "blocked not there already"},
		{"cold", request(path, cold), "blocked revision exists: The VCL " + cold + " was set cold"},
		{"label", request(path, s.Label), "blocked revision exists: " + s.Label + " is a label"},
		{"injection", request(path, "boot\nvcl.use boot"), "blocked revision exists: Varnish has no VCL \"boot vcl.use boot\""},
		{"no backend answers", request(path, sick), "blocked backends answer: No backend of " + sick + " answers its probe."},
		{"first", driver.PlanRequest{Target: incident.Target{System: "cache", Path: path}, Before: s.Loaded.Add(-10 * time.Minute)}, "ok history: " + s.First + " was loaded last before"},
		{"no VCL is in flight", request(path, s.Good), "ok deploy in flight"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := inverse.Plan(t.Context(), tt.req)
			require.NoError(t, err)
			require.Contains(t, reasons(p), tt.says)
		})
	}
	require.NoError(t, s.Do(t.Context(), "vcl.label "+s.Label+" "+s.Newer))
	p, err := inverse.Plan(t.Context(), request(path, s.Good))
	require.NoError(t, err)
	require.Contains(t, reasons(p), "unknown deploy in flight: The name of byhand does not tell")

	// A label whose names say nothing has no history.
	set, inverse := connect(t, varnishtest.System(map[string]any{"address": s.Address, "secret_file": s.SecretFile}))
	p, err = inverse.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "cache", Path: path}, Before: time.Now()})
	require.NoError(t, err)
	require.Contains(t, reasons(p), "blocked history: No VCL of the label "+s.Label+" has a name that tells when it was loaded.")
	source, err := set.Source(kind, "cache")
	require.NoError(t, err)
	_, err = source.Changes(t.Context(), driver.ChangeQuery{Target: incident.Target{System: "cache", Path: path}})
	require.ErrorIs(t, err, driver.ErrInvalid, "no knowledge is not no change")
}

func TestSource(t *testing.T) {
	t.Parallel()
	s := varnishtest.Start(t)
	set, _ := connect(t, s.System(s.Gate(), drivertest.Owner))
	source, err := set.Source(kind, "cache")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: incident.Target{System: "cache", Path: "label/" + s.Label}, Since: s.Loaded, Until: time.Now()})
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, [3]string{s.Good, s.Bad, "shop"}, [3]string{changes[0].From, changes[0].To, changes[0].Service})
	require.Equal(t, s.Loaded, changes[0].At)
	require.Equal(t, incident.ChangeConfig, changes[0].Kind)
}

// TestAnotherVCLUnderTheName shows that a name is not enough.
func TestAnotherVCLUnderTheName(t *testing.T) {
	t.Parallel()
	s := varnishtest.Start(t)
	_, inverse := connect(t, s.System(s.Gate(), drivertest.Owner))
	name := "again" + s.Label
	require.NoError(t, s.Load(t.Context(), name, varnishtest.Source("nothing", "one")))
	action := planned(t, inverse, request("label/"+s.Label, name))
	require.NoError(t, s.Do(t.Context(), "vcl.discard "+name))
	require.NoError(t, s.Load(t.Context(), name, varnishtest.Source("nothing", "two")))
	_, err := inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrNotFound)
	now, err := s.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, s.Bad, now)
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := varnishtest.Start(t)
	wrong := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(wrong, []byte("canary-wrong"), 0o600))
	_, able := connect(t, s.System(s.Gate(), drivertest.Owner))
	action := planned(t, able, request("label/"+s.Label, s.Good))
	for _, tt := range []struct {
		name     string
		settings map[string]any
		says     string
	}{
		{"wrong", map[string]any{"address": s.Address, "secret_file": wrong}, "does not take the secret"},
		{"none", map[string]any{"address": s.Address}, "asks for a secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, inverse := connect(t, varnishtest.System(tt.settings))
			err := set.Reach(t.Context(), "cache")
			require.ErrorIs(t, err, driver.ErrDenied)
			require.ErrorContains(t, err, tt.says)
			_, err = inverse.Apply(t.Context(), action, "key")
			require.ErrorIs(t, err, driver.ErrDenied)
			require.NotContains(t, err.Error(), "canary")
			p, err := inverse.Plan(t.Context(), request("label/"+s.Label, s.Good))
			require.NoError(t, err)
			require.Contains(t, reasons(p), "blocked permission: Varnish does not take the secret")
		})
	}
}

// TestActive is the only test that changes what is active.
func TestActive(t *testing.T) {
	t.Parallel()
	s := varnishtest.Start(t)
	set, inverse := connect(t, varnishtest.System(map[string]any{"address": s.Address, "secret_file": s.SecretFile}))
	require.NoError(t, set.Reach(t.Context(), "cache"))
	name := time.Now().UTC().Format("reload_20060102_150405") + "_1"
	require.NoError(t, s.Load(t.Context(), name, varnishtest.Source("nothing", "reloaded")))
	_, err := s.Ask(t.Context(), "vcl.use "+name)
	require.NoError(t, err)
	back := planned(t, inverse, driver.PlanRequest{Target: incident.Target{System: "cache", Path: "active"}, Before: time.Now().Add(-time.Minute)})
	require.Equal(t, "boot", back.To.Revision)
	active := func() string {
		answers, err := s.Ask(t.Context(), "vcl.list")
		require.NoError(t, err)
		for line := range strings.SplitSeq(answers[0], "\n") {
			if strings.HasPrefix(line, "active") {
				return strings.Fields(line)[4]
			}
		}
		return ""
	}
	for _, action := range []incident.Action{back, back.Swapped(), back} {
		_, err := driver.Execute(t.Context(), inverse, action, "key", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
		require.NoError(t, err)
		require.Equal(t, action.To.Revision, active())
	}

	// A label can be active too, and is another state than the VCL it points to.
	label := planned(t, inverse, request("active", s.Label))
	_, err = inverse.Apply(t.Context(), label, "key")
	require.NoError(t, err)
	require.Equal(t, s.Label, active())
	require.NoError(t, s.Do(t.Context(), "vcl.label "+s.Label+" "+s.First))
	_, err = inverse.Apply(t.Context(), label.Swapped(), "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift, "the label points elsewhere")
	require.Contains(t, drift.Difference, "a label of "+s.First)
	_, err = s.Ask(t.Context(), "vcl.use boot")
	require.NoError(t, err)
}
