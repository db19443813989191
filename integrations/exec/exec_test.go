package exec

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/exec/exectest"
	"github.com/backout/backout/workflows/incident"
)

// The states that the hostile program knows, and the action between them.
var (
	badState  = incident.State{Revision: "2", Digest: "sha256:" + strings.Repeat("b", 64), Label: "v2"}
	goodState = incident.State{Revision: "1", Digest: "sha256:" + strings.Repeat("a", 64), Label: "v1"}
)

func hostileAction() incident.Action {
	return incident.Action{
		Kind: kind, Target: incident.Target{System: "hostile", Path: "thing"}, From: badState, To: goodState,
		MaxTime: 20 * time.Second, OnFailure: incident.OnFailureStop, Reversible: true,
	}
}

// hostile is a hostile program with its canary and the file that it writes.
type hostile struct {
	inverse inverse
	canary  string
	file    string
}

func newHostile(t *testing.T, mode string, over map[string]any) hostile {
	t.Helper()
	dir := t.TempDir()
	h := hostile{canary: "canary-" + rand.Text(), file: filepath.Join(dir, "file")}
	secretFile := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secretFile, []byte(h.canary), 0o600))
	settings := map[string]any{
		"program": exectest.Build(t, "hostile"), "args": []string{mode, h.file},
		"environment_files": map[string]string{"HOSTILE_SECRET": secretFile},
	}
	maps.Copy(settings, over)
	h.inverse = inverse{opened(t, settings)}
	return h
}

func opened(t *testing.T, settings map[string]any) *program {
	t.Helper()
	p, err := open(t.Context(), driver.System{Name: "hostile", Type: systemType, Decode: drivertest.Settings(settings)})
	require.NoError(t, err)
	return p
}

// execute runs the action on the engine.
func (h hostile) execute(t *testing.T, maxTime time.Duration) (driver.Outcome, error) {
	t.Helper()
	action := hostileAction()
	action.MaxTime = maxTime
	return driver.Execute(t.Context(), h.inverse, action, "key", driver.Hooks{
		BeforeApply: func(context.Context, driver.Observation) error { return nil },
	})
}

func TestHonestProgram(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "honest", nil)
	require.NoError(t, h.inverse.program.Reach(t.Context()))
	plan, err := h.inverse.Plan(t.Context(), driver.PlanRequest{Target: hostileAction().Target, Revision: "1"})
	require.NoError(t, err)
	require.False(t, plan.Blocked(), "%v", plan.Preflight)
	require.Equal(t, []incident.State{badState, goodState}, []incident.State{plan.From, plan.To})
	require.Equal(t, "All is well.", plan.Preflight[0].Reason)
	require.Equal(t, []string{"nothing", wontRevert[0]}, plan.WontRevert)
	out, err := h.execute(t, 20*time.Second)
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.FileExists(t, h.file)
}

// TestBrokenProtocol shows that an answer that is not one is none: a plan or an
// observation ends with it, and an effect is only believed when it is observed.
func TestBrokenProtocol(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ mode, want string }{
		{"silent", "it wrote no answer"},
		{"not-json", "not one JSON document"},
		{"not-utf8", "not UTF-8"},
		{"cut-short", "not one JSON document"},
		{"two-documents", "not one JSON document"},
		{"flood", "it wrote more than 1048576 bytes"},
		{"extra-key", "does not match the schema"},
		{"extra-key-inside", "does not match the schema at /"},
		{"other-case", "does not match the schema"},
		{"other-id", "to another question"},
		{"other-protocol", "does not match the schema at /protocol"},
		{"other-verb", "to another verb"},
		{"short-digest", "/digest"},
		{"no-digest", "does not match the schema"},
		{"no-revision", "/revision"},
		{"content-as-digest", "/digest"},
		{"secret-in-text", "holds a secret"},
		{"secret-encoded", "holds a secret"},
		{"error-with-secret", "holds a secret"},
		{"unknown-code", "/error/code"},
		{"fork-holding", "left a child behind"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, test.mode, nil)
			action := hostileAction()
			_, err := h.inverse.Plan(t.Context(), driver.PlanRequest{Target: action.Target, Revision: "1"})
			h.requireFinal(t, err, test.want)
			_, err = h.inverse.Observe(t.Context(), action)
			h.requireFinal(t, err, test.want)
			receipt, err := h.inverse.Apply(t.Context(), action, "key")
			require.ErrorIs(t, err, errProtocol)
			require.ErrorContains(t, err, test.want)
			require.False(t, driver.Final(err), "whether there was an effect is not known")
			require.Zero(t, receipt)
			require.NotContains(t, err.Error(), h.canary)
			out, err := h.execute(t, 20*time.Second)
			h.requireFinal(t, err, test.want)
			require.False(t, out.Applied)
		})
	}
}

func (h hostile) requireFinal(t *testing.T, err error, want string) {
	t.Helper()
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.ErrorIs(t, err, errProtocol)
	require.ErrorContains(t, err, want)
	for _, spelling := range spellings(h.canary) {
		require.NotContains(t, err.Error(), spelling)
	}
}

// TestFailedRuns shows what happens when a program ends badly: nothing that it
// wrote is repeated, and it may be asked again.
func TestFailedRuns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ mode, want string }{
		{"status", "exit status 3"},
		{"crash", "signal: killed"},
		{"secret-on-stderr", "exit status 1"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, test.mode, nil)
			_, err := h.inverse.Observe(t.Context(), hostileAction())
			require.ErrorContains(t, err, test.want)
			require.False(t, driver.Final(err))
			require.NotContains(t, err.Error(), h.canary)
			out, err := h.execute(t, 300*time.Millisecond)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.False(t, out.Applied)
			require.NoFileExists(t, h.file)
		})
	}
}

// TestHarmlessNoise shows what does not keep a good answer from being one.
func TestHarmlessNoise(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"flood-stderr", "closed-input"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, mode, nil)
			_, err := h.inverse.Observe(t.Context(), hostileAction())
			if mode == "closed-input" {
				require.ErrorIs(t, err, errProtocol, "it knows no id, so that it can not answer")
				return
			}
			require.NoError(t, err)
		})
	}
}

// TestTextIsCleaned shows that text from a program can be shown.
func TestTextIsCleaned(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "control-characters", nil)
	seen, err := h.inverse.Observe(t.Context(), hostileAction())
	require.NoError(t, err)
	require.Equal(t, "v1[31m v2", seen.State.Label)
}

// TestLies shows that a program that contradicts itself gets nowhere.
func TestLies(t *testing.T) {
	t.Parallel()
	action := hostileAction()
	for _, test := range []struct {
		mode  string
		final bool
		want  string
	}{
		{"plans-from-elsewhere", false, "observes another state"},
		{"plans-nowhere", true, "leads nowhere"},
		{"plans-nothing", true, "lacks a state"},
		{"plans-unchecked", true, "/plan/checks"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, test.mode, nil)
			if test.mode == "plans-nowhere" {
				require.NoError(t, os.WriteFile(h.file, nil, 0o600))
			}
			planned, err := h.inverse.Plan(t.Context(), driver.PlanRequest{Target: action.Target, Revision: "1"})
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.final, driver.Final(err))
			require.Zero(t, planned)
		})
	}
	t.Run("says-applied", func(t *testing.T) {
		t.Parallel()
		h := newHostile(t, "says-applied", nil)
		out, err := h.execute(t, 20*time.Second)
		var drift *driver.DriftError
		require.ErrorAs(t, err, &drift, "it is believed that it was applied")
		require.Equal(t, badState, out.Last.State)
	})
	for _, mode := range []string{"says-already", "says-applied-elsewhere", "says-drift-at-to"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, mode, nil)
			out, err := h.execute(t, 5*time.Second)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.False(t, out.Applied)
			require.Equal(t, badState, out.Last.State)
		})
	}
}

// TestBefore shows that the author of a runbook types no revision.
func TestBefore(t *testing.T) {
	t.Parallel()
	r := exectest.NewReleases(t)
	for _, version := range []string{"v1", "v2", "v3"} {
		require.NoError(t, r.Deploy(version, "", "ada"))
	}
	p := opened(t, r.Settings(drivertest.Owner, nil))
	target := incident.Target{System: "releases", Path: r.Service}
	changes, err := source{p}.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: target, Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	require.Len(t, changes, 3)
	require.Equal(t, []string{"v2", "v3", "ada", "checkout@3", "v3 released"}, []string{changes[2].From, changes[2].To, changes[2].Author, changes[2].ID, changes[2].Summary})
	planned, err := inverse{p}.Plan(t.Context(), driver.PlanRequest{Target: target, Before: changes[2].At})
	require.NoError(t, err)
	require.Equal(t, "v2", planned.To.Label)
	changes, err = source{p}.Changes(t.Context(), driver.ChangeQuery{Target: target, Since: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.Empty(t, changes)

	// What a program lists outside the window is left out.
	h := newHostile(t, "honest", nil)
	changes, err = source{h.inverse.program}.Changes(t.Context(), driver.ChangeQuery{Target: hostileAction().Target, Since: time.Now().Add(-time.Hour), Until: time.Now()})
	require.NoError(t, err)
	require.Empty(t, changes)
}

// TestDeniedProgram shows that a token that is not known is a denial, in a plan
// and when the program is reached for.
func TestDeniedProgram(t *testing.T) {
	t.Parallel()
	r := exectest.NewReleases(t)
	require.NoError(t, r.Deploy("v1", "", "ada"))
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("canary-of-nobody"), 0o600))
	p := opened(t, r.Settings(drivertest.Owner, map[string]any{"environment_files": map[string]string{"RELEASES_TOKEN": file}}))
	require.ErrorIs(t, p.Reach(t.Context()), driver.ErrDenied)
	planned, err := inverse{p}.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "releases", Path: r.Service}, Revision: "1"})
	require.NoError(t, err)
	require.True(t, planned.Blocked())
	require.Equal(t, "permission", planned.Preflight[0].Name)
	require.Regexp(t, `^[^\n]+\.$`, planned.Preflight[0].Reason)
}

// TestSchema holds the questions that are asked against the schema that is
// published.
func TestSchema(t *testing.T) {
	t.Parallel()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource(schemaID, document))
	questions := compiler.MustCompile(schemaID + "#/$defs/question")
	_ = compiler.MustCompile(schemaID)
	id := strings.Repeat("a", 32)
	action := &actionOf{From: badState, To: goodState}
	keyed := &actionOf{From: badState, To: goodState, Key: "key"}
	for _, test := range []struct {
		name string
		q    question
		ok   bool
	}{
		{"about", question{Verb: verbAbout}, true},
		{"about a path", question{Verb: verbAbout, Path: "p"}, false},
		{"plan to a revision", question{Verb: verbPlan, Path: "p", Plan: &planOf{Revision: "1"}}, true},
		{"plan to a moment", question{Verb: verbPlan, Path: "p", Plan: &planOf{Before: time.Now().UTC()}}, true},
		{"plan to both", question{Verb: verbPlan, Path: "p", Plan: &planOf{Revision: "1", Before: time.Now().UTC()}}, false},
		{"plan to neither", question{Verb: verbPlan, Path: "p", Plan: &planOf{}}, false},
		{"observe", question{Verb: verbObserve, Path: "p", Action: action}, true},
		{"observe nothing", question{Verb: verbObserve, Path: "p"}, false},
		{"apply", question{Verb: verbApply, Path: "p", Action: keyed}, true},
		{"apply without a key", question{Verb: verbApply, Path: "p", Action: action}, false},
		{"changes", question{Verb: verbChanges, Path: "p", Window: &windowOf{Since: time.Now().UTC(), Until: time.Now().UTC()}}, true},
		{"collect", question{Verb: verbCollect, Path: "p", Window: &windowOf{Since: time.Now().UTC(), Until: time.Now().UTC()}, Params: map[string]string{"a": "b"}}, true},
		{"collect without a window", question{Verb: verbCollect, Path: "p"}, false},
		{"changes with settings", question{Verb: verbChanges, Path: "p", Window: &windowOf{Since: time.Now().UTC(), Until: time.Now().UTC()}, Params: map[string]string{"a": "b"}}, false},
		{"observe with settings", question{Verb: verbObserve, Path: "p", Action: action, Params: map[string]string{"a": "b"}}, false},
		{"unknown verb", question{Verb: "destroy", Path: "p"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			q := test.q
			q.Protocol, q.ID, q.System = Protocol, id, "s"
			content, err := json.Marshal(q)
			require.NoError(t, err)
			instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
			require.NoError(t, err)
			err = questions.Validate(instance)
			require.Equal(t, test.ok, err == nil, "%v", err)
		})
	}
}
