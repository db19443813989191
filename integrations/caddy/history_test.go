package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestHistory(t *testing.T) {
	t.Parallel()
	h, at := history{folder: filepath.Join(t.TempDir(), "history"), system: "edge"}, location{path: "id/shop"}
	entries, err := h.list(at)
	require.NoError(t, err)
	require.Empty(t, entries, "a history that nobody began")
	a, b := content(`{"a":1}`), content(`{"b":1}`)
	for n, state := range []content{a, a, b, b, a} {
		require.NoError(t, h.capture(at, state, start.Add(time.Duration(n)*time.Minute), seen))
	}
	entries, err = h.list(at)
	require.NoError(t, err)
	require.Len(t, entries, 3, "capturing twice is capturing once")
	require.Equal(t, []string{a.digest(), b.digest(), a.digest()}, []string{entries[0].digest, entries[1].digest, entries[2].digest})
	found, ok := before(entries, start.Add(2*time.Minute))
	require.True(t, ok)
	require.Equal(t, a.digest(), found.digest, "a moment is before what was captured at it")
	found, ok = before(entries, start.Add(2*time.Minute+1))
	require.True(t, ok)
	require.Equal(t, b.digest(), found.digest)
	_, ok = before(entries, start)
	require.False(t, ok)
	again, err := found.read()
	require.NoError(t, err)
	require.Equal(t, b, again)

	other, err := history{folder: h.folder, system: "other"}.list(at)
	require.NoError(t, err)
	require.Empty(t, other, "systems share states")

	// A clock that is behind does not move a state before another.
	require.NoError(t, h.capture(at, b, start.Add(-time.Hour), backoutAuthor))
	entries, err = h.list(at)
	require.NoError(t, err)
	require.Equal(t, b.digest(), entries[len(entries)-1].digest)
	require.Equal(t, backoutAuthor, entries[len(entries)-1].author)

	require.NoError(t, filepath.WalkDir(h.folder, func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "%s may be read by others", path)
		return nil
	}))
	require.NoError(t, os.WriteFile(entries[0].file, []byte(`{"a":2}`), 0o600))
	_, err = entries[0].read()
	require.ErrorIs(t, err, driver.ErrNotFound, "a state that was altered")
	require.NoError(t, os.Remove(entries[0].file))
	_, err = entries[0].read()
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestHistoryForgets(t *testing.T) {
	t.Parallel()
	h, at := history{folder: t.TempDir(), system: "edge"}, location{path: "id/shop"}
	for n := range keptStates + 5 {
		require.NoError(t, h.capture(at, content(fmt.Sprintf(`{"n":%d}`, n)), start.Add(time.Duration(n)*time.Second), seen))
	}
	require.NoError(t, os.WriteFile(filepath.Join(h.place(at), "somebody else's"), nil, 0o600))
	entries, err := h.list(at)
	require.NoError(t, err)
	require.Len(t, entries, keptStates)
	require.Equal(t, start.Add(5*time.Second), entries[0].at)
}

func TestContent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"sorted", ` {"b": 1, "a": [1, 2.50, "<x>"]}` + "\n", `{"a":[1,2.50,"<x>"],"b":1}`},
		{"large number", `{"n":12345678901234567890}`, `{"n":12345678901234567890}`},
		{"null", "null\n", "null"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseContent([]byte(tt.text))
			require.NoError(t, err)
			require.Equal(t, tt.want, string(got))
		})
	}
	for _, text := range []string{"", "{", `{"secret-canary"`, "{} {}", "{}x"} {
		_, err := parseContent([]byte(text))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	}
}

func TestLabel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"weights", `{"handle":[{"load_balancing":{"selection_policy":{"weights":[9,1]}}}]}`, "weights 9:1"},
		{"two lists", `[{"weights":[9,1]},{"weights":[1,9]}]`, ""},
		{"none", `{"handler":"secret-canary"}`, ""},
		{"no numbers", `{"weights":["secret-canary"]}`, ""},
		{"no whole numbers", `{"weights":[1.5]}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parsed, err := parseContent([]byte(tt.text))
			require.NoError(t, err)
			if tt.want == "" {
				tt.want = revision(parsed.digest())
			}
			require.Equal(t, tt.want, parsed.label())
		})
	}
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"id/shop", "id/shop/handle/0", "config/apps/http/servers/edge/routes/0"} {
		_, err := parsePath(path)
		require.NoError(t, err)
	}
	for _, path := range []string{"", "/", "//", "id", "id/", "config//apps", "config/../stop", "config/apps/...", "load", "stop", "id/a?b", "id/a b", "config/" + strings.Repeat("a", maxPath)} {
		_, err := parseTarget(incident.Target{System: "edge", Path: path})
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}

// opened is a connection with settings.
func opened(t *testing.T, s Settings) (*connection, error) {
	t.Helper()
	return open(t.Context(), driver.System{Name: "edge", Type: systemType, Decode: func(into any) error {
		content, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return json.Unmarshal(content, into)
	}})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte("secret-canary"), 0o600))
	for _, tt := range []struct {
		name string
		s    Settings
		says string
	}{
		{"http", Settings{URL: "http://127.0.0.1:2019/", HistoryFolder: dir}, ""},
		{"https", Settings{URL: "https://caddy.example.org:2021", HistoryFolder: dir, TLS: TLS{ServerName: "caddy"}}, ""},
		{"unix", Settings{URL: "unix:/run/caddy.sock", HistoryFolder: dir, States: []NamedState{{"night", "id/shop", "/etc/night.json"}}}, ""},
		{"empty", Settings{HistoryFolder: dir}, "malformed"},
		{"another scheme", Settings{URL: "ftp://h", HistoryFolder: dir}, "malformed"},
		{"credential", Settings{URL: "http://user:secret@h:1", HistoryFolder: dir}, "holds a credential"},
		{"path", Settings{URL: "http://h:1/config", HistoryFolder: dir}, "more than a host"},
		{"no socket", Settings{URL: "unix:", HistoryFolder: dir}, "is a path"},
		{"no folder", Settings{URL: "http://h:1"}, "history_folder"},
		{"relative folder", Settings{URL: "http://h:1", HistoryFolder: "history"}, "history_folder"},
		{"tls without tls", Settings{URL: "http://h:1", HistoryFolder: dir, TLS: TLS{CAFile: text}}, "without it"},
		{"no ca", Settings{URL: "https://h:1", HistoryFolder: dir, TLS: TLS{CAFile: text}}, "no certificate"},
		{"half a pair", Settings{URL: "https://h:1", HistoryFolder: dir, TLS: TLS{CertFile: text}}, "belong together"},
		{"no pair", Settings{URL: "https://h:1", HistoryFolder: dir, TLS: TLS{CertFile: text, KeyFile: text}}, "no pair"},
		{"false target", Settings{URL: "http://h:1", HistoryFolder: dir, States: []NamedState{{"night", "shop", "/f"}}}, "want id/<@id>"},
		{"name like a revision", Settings{URL: "http://h:1", HistoryFolder: dir, States: []NamedState{{"0123456789abcdef", "id/shop", "/f"}}}, "spelled like a revision"},
		{"relative file", Settings{URL: "http://h:1", HistoryFolder: dir, States: []NamedState{{"night", "id/shop", "f"}}}, "absolute path"},
		{"twice", Settings{URL: "http://h:1", HistoryFolder: dir, States: []NamedState{{"night", "id/shop", "/f"}, {"night", "id/shop", "/g"}}}, "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := opened(t, tt.s)
			if tt.says == "" {
				require.NoError(t, err, "a system that is away does not keep Backout from starting")
				return
			}
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

// TestAnswers reads what an admin API, and what is none, may answer.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		etag   string
		body   string
		want   error
		final  bool
	}{
		{"unauthorized", http.StatusUnauthorized, "", "canary", driver.ErrDenied, true},
		{"forbidden", http.StatusForbidden, "", "canary", driver.ErrDenied, true},
		{"not found", http.StatusNotFound, "", "canary", driver.ErrNotFound, true},
		{"no path", http.StatusBadRequest, "", "canary", driver.ErrNotFound, true},
		{"nothing there", http.StatusOK, `"/config/a 1"`, "null\n", driver.ErrNotFound, true},
		{"no etag", http.StatusOK, "", "{}", driver.ErrInvalid, true},
		{"another etag", http.StatusOK, `"abc"`, "{}", driver.ErrInvalid, true},
		{"no json", http.StatusOK, `"/config/a 1"`, "canary", nil, false},
		{"throttled", http.StatusTooManyRequests, "", "canary", nil, false},
		{"broken", http.StatusInternalServerError, "", "canary", nil, false},
		{"redirect", http.StatusFound, "", "canary", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Etag", tt.etag)
				w.Header().Set("Location", "http://127.0.0.1:9/")
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			c, err := opened(t, Settings{URL: server.URL, HistoryFolder: t.TempDir()})
			require.NoError(t, err)
			_, err = c.read(t.Context(), location{path: "id/shop"})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "canary")
			require.Equal(t, tt.final, driver.Final(err))
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			allowed, err := c.may(t.Context(), part{path: "/config/a", content: content("{}")})
			require.False(t, allowed)
			require.Equal(t, errors.Is(tt.want, driver.ErrDenied), err == nil, "only a denial is an answer")
		})
	}
}
