package exec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/exec/exectest"
	"github.com/backout/backout/workflows/incident"
)

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
