package exec

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

// TestOverdue shows that a program that does not end is ended, also when it
// ignores that it is asked to.
func TestOverdue(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hang", "ignore-sigterm"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, mode, map[string]any{"timeout": 2 * time.Second})
			began := time.Now()
			_, err := h.inverse.Observe(t.Context(), hostileAction())
			require.ErrorIs(t, err, errOverdue)
			require.False(t, driver.Final(err))
			require.NotErrorIs(t, err, context.DeadlineExceeded, "it was not the action whose time was over")
			require.Less(t, time.Since(began), 10*time.Second)
			if mode == "ignore-sigterm" {
				require.FileExists(t, h.file, "it was killed before it ignored anything")
				requireGone(t, h.file)
			}
		})
	}
}

// TestMaximumTime shows that the time of an action ends a program too.
func TestMaximumTime(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "ignore-sigterm", nil)
	began := time.Now()
	_, err := h.execute(t, 300*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), 5*time.Second)
}

// TestChildrenEnd shows that what a program leaves behind is killed.
func TestChildrenEnd(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"fork-silently", "fork-holding"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, mode, nil)
			_, err := h.inverse.Observe(t.Context(), hostileAction())
			if mode == "fork-silently" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, errProtocol)
			}
			requireGone(t, h.file)
		})
	}
}

// requireGone waits until the process whose number is in a file has ended: a
// kill takes effect soon, and whoever adopted the process may take its time to
// bury it.
func requireGone(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(string(content))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return syscall.Kill(pid, 0) != nil
		}
		_, rest, _ := strings.Cut(string(status), ") ")
		return strings.HasPrefix(rest, "Z")
	}, 10*time.Second, 5*time.Millisecond, "the process is still there")
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

// TestEnvironmentAndArguments shows that nothing of Backout's own environment
// gets through, and that no shell reads the arguments.
func TestEnvironmentAndArguments(t *testing.T) {
	t.Parallel()
	said, err := run(t.Context(), command{path: "/usr/bin/env", directory: "/", environment: []string{"ONLY=this one"}, timeout: 20 * time.Second})
	require.NoError(t, err)
	require.Equal(t, "ONLY=this one\n", string(said))
	said, err = run(t.Context(), command{path: "/usr/bin/env", directory: "/", environment: []string{}, timeout: 20 * time.Second})
	require.NoError(t, err)
	require.Empty(t, said)
	word := "$(id) `id` ; id > /tmp/none * \"'"
	said, err = run(t.Context(), command{path: "/bin/echo", args: []string{word, "$HOME"}, directory: "/", environment: []string{"HOME=/"}, timeout: 20 * time.Second})
	require.NoError(t, err)
	require.Equal(t, word+" $HOME\n", string(said))
}

// TestUnfitPrograms shows which executables are not run.
func TestUnfitPrograms(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(exectest.Build(t, "hostile"))
	require.NoError(t, err)
	link := func(t *testing.T, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "program")
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/false\n"), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	for _, test := range []struct {
		name  string
		over  func(t *testing.T) map[string]any
		want  string
		final bool
	}{
		{"missing", func(t *testing.T) map[string]any {
			t.Helper()
			return map[string]any{"program": filepath.Join(t.TempDir(), "none")}
		}, "there is no such program", false},
		{"folder", func(t *testing.T) map[string]any { t.Helper(); return map[string]any{"program": t.TempDir()} }, "no regular file", true},
		{"group may write", func(t *testing.T) map[string]any { t.Helper(); return map[string]any{"program": link(t, 0o775)} }, "may write to it", true},
		{"others may write", func(t *testing.T) map[string]any { t.Helper(); return map[string]any{"program": link(t, 0o757)} }, "may write to it", true},
		{"not executable", func(t *testing.T) map[string]any { t.Helper(); return map[string]any{"program": link(t, 0o600)} }, "permission denied", false},
		{"other digest", func(t *testing.T) map[string]any {
			t.Helper()
			return map[string]any{"digest": incident.DigestOf([]byte("other"))}
		}, "digest is not the one", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, "honest", test.over(t))
			err := h.inverse.program.Reach(t.Context())
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.final, driver.Final(err))
		})
	}
	h := newHostile(t, "honest", map[string]any{"digest": incident.DigestOf(good)})
	require.NoError(t, h.inverse.program.Reach(t.Context()), "the digest is the one")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	for _, test := range []struct {
		name     string
		settings map[string]any
		want     string
	}{
		{"unknown key", map[string]any{"program": "/bin/true", "shell": true}, "shell"},
		{"no program", map[string]any{}, "no absolute path"},
		{"program to be searched", map[string]any{"program": "true"}, "no absolute path"},
		{"program that climbs", map[string]any{"program": "/bin/../bin/true"}, "no absolute path"},
		{"relative directory", map[string]any{"program": "/bin/true", "directory": "here"}, "no absolute path"},
		{"zero byte", map[string]any{"program": "/bin/true", "args": []string{"a\x00b"}}, "zero byte"},
		{"malformed name", map[string]any{"program": "/bin/true", "environment": map[string]string{"A=B": "c"}}, "malformed"},
		{"malformed secret name", map[string]any{"program": "/bin/true", "environment_files": map[string]string{"A B": file("ok", "canary-1234")}}, "malformed"},
		{"set twice", map[string]any{"program": "/bin/true", "environment": map[string]string{"A": "b"}, "environment_files": map[string]string{"A": file("twice", "canary-1234")}}, "set twice"},
		{"short secret", map[string]any{"program": "/bin/true", "environment_files": map[string]string{"A": file("short", "canary\n")}}, "one line of 8 bytes"},
		{"two lines", map[string]any{"program": "/bin/true", "environment_files": map[string]string{"A": file("lines", "canary-1\ncanary-2")}}, "one line of 8 bytes"},
		{"missing secret", map[string]any{"program": "/bin/true", "environment_files": map[string]string{"A": filepath.Join(dir, "none")}}, "no such file"},
		{"malformed digest", map[string]any{"program": "/bin/true", "digest": "sha256:abc"}, "digest is not"},
		{"long timeout", map[string]any{"program": "/bin/true", "timeout": time.Hour}, "not between"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t.Context(), driver.System{Name: "p", Type: systemType, Decode: drivertest.Settings(test.settings)})
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "canary")
		})
	}
	p := opened(t, map[string]any{"program": "/nowhere/at/all"})
	require.Equal(t, defaultTimeout, p.settings.Timeout)
	require.Equal(t, "/", p.settings.Directory)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path string
		ok   bool
	}{
		{"checkout", true},
		{"shop/checkout@eu-1", true},
		{"a.b", true},
		{"", false},
		{"/etc/passwd", false},
		{"a//b", false},
		{"..", false},
		{"a/../b", false},
		{"a/.b", false},
		{"a b", false},
		{"a\nb", false},
		{"a/", false},
		{"ü", false},
		{strings.Repeat("a", maxPath+1), false},
	} {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			err := checkTarget(incident.Target{System: "p", Path: test.path})
			require.Equal(t, test.ok, err == nil)
			if !test.ok {
				require.ErrorIs(t, err, driver.ErrInvalid)
				require.NotContains(t, err.Error(), "\n")
			}
		})
	}
}

// TestBusyIsRetried holds the lock of the sample: nothing is final, and once the
// lock is free the action is one change.
func TestBusyIsRetried(t *testing.T) {
	t.Parallel()
	r := exectest.NewReleases(t)
	for _, version := range []string{"v1", "v2"} {
		require.NoError(t, r.Deploy(version, "", "ada"))
	}
	inv := inverse{opened(t, r.Settings(drivertest.Owner, nil))}
	target := incident.Target{System: "releases", Path: r.Service}
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target, Revision: "1"})
	require.NoError(t, err)
	action := incident.Action{Kind: kind, Target: target, From: planned.From, To: planned.To, MaxTime: time.Minute, OnFailure: incident.OnFailureStop}
	unlock, err := r.Lock()
	require.NoError(t, err)
	_, err = inv.Apply(t.Context(), action, "key")
	require.ErrorContains(t, err, "somebody else holds the lock")
	require.False(t, driver.Final(err))
	unlock()
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)

	// Somebody releases the bad version again: the same action is not applied twice.
	require.NoError(t, r.Deploy("v2", "", "ada"))
	_, err = inv.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "changed it back after this very action")
	n, err := r.Changes(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, n)
}

// TestKilledAtAnyMoment ends the sample at a moment that nobody chose, again and
// again: the pointer is always whole and at one of both states, and whoever
// completes the action makes it one change.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for after := time.Duration(0); after < 12*time.Millisecond; after += time.Millisecond {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			r := exectest.NewReleases(t)
			for _, version := range []string{"v1", "v2"} {
				require.NoError(t, r.Deploy(version, "", "ada"))
			}
			inv := inverse{opened(t, r.Settings(drivertest.Owner, nil))}
			target := incident.Target{System: "releases", Path: r.Service}
			planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target, Revision: "1"})
			require.NoError(t, err)
			action := incident.Action{Kind: kind, Target: target, From: planned.From, To: planned.To, MaxTime: time.Minute, OnFailure: incident.OnFailureStop}
			ctx, kill := context.WithTimeout(t.Context(), after)
			_, err = inv.Apply(ctx, action, "key")
			kill()
			require.False(t, driver.Final(err), "%v", err)
			// What an earlier run left behind is in nobody's way.
			require.NoError(t, os.WriteFile(filepath.Join(r.Dir, r.Service+".json.next"), []byte("{"), 0o600))
			_, err = driver.Execute(t.Context(), inv, action, "key", driver.Hooks{
				BeforeApply: func(context.Context, driver.Observation) error { return nil },
			})
			require.NoError(t, err)
			p, err := r.Read()
			require.NoError(t, err)
			require.Len(t, p.Releases, 3)
			require.Equal(t, "v1", p.Releases[2].Version)
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
