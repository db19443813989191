package compensate

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	secret := file("secret", "whsec_"+base64.StdEncoding.EncodeToString([]byte("canary-canary-canary-canary")))
	good := func(over map[string]any) map[string]any {
		host := map[string]any{"url": "https://payments.example.org/backout/", "secret_files": []string{secret}}
		maps.Copy(host, over)
		return map[string]any{"payments": host}
	}
	for _, test := range []struct {
		name  string
		hosts map[string]any
		want  string
	}{
		{"no host", map[string]any{}, "hosts is empty"},
		{"name with a slash", map[string]any{"a/b": good(nil)["payments"]}, "not made of lower-case"},
		{"unknown key", good(map[string]any{"follow_redirects": true}), "follow_redirects"},
		{"no url", good(map[string]any{"url": ""}), "malformed"},
		{"malformed url", good(map[string]any{"url": "https://canary-canary@[::1"}), "malformed"},
		{"plain http", good(map[string]any{"url": "http://payments.example.org"}), "not https"},
		{"credential in the url", good(map[string]any{"url": "https://canary-canary@payments.example.org"}), "holds a credential"},
		{"query", good(map[string]any{"url": "https://payments.example.org/?a=b"}), "query"},
		{"no secret", good(map[string]any{"secret_files": []string{}}), "secret_files is empty"},
		{"secret without prefix", good(map[string]any{"secret_files": []string{file("bare", "canary-canary-canary")}}), "begins with whsec_"},
		{"secret is missing", good(map[string]any{"secret_files": []string{filepath.Join(dir, "none")}}), "no such file"},
		{"token of two lines", good(map[string]any{"token_file": file("lines", "canary-1\r\ncanary-2")}), "one word"},
		{"short token", good(map[string]any{"token_file": file("short", "canary\n")}), "one word"},
		{"authority is none", good(map[string]any{"ca_file": secret}), "holds no certificate"},
		{"network", good(map[string]any{"networks": []string{"private"}}), "is malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t.Context(), system(test.hosts))
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "canary")
		})
	}
	conn := opened(t, system(good(nil)))
	require.Equal(t, "https://payments.example.org/backout", conn.hosts["payments"].base.String())
}

func TestPaths(t *testing.T) {
	t.Parallel()
	s := &services{hosts: map[string]*host{"payments": {name: "payments"}}}
	for _, test := range []struct {
		path string
		ok   bool
	}{
		{"payments/batches/2026-11", true},
		{"payments/a.b~c", true},
		{"refunds/batches/1", false},
		{"payments", false},
		{"payments/", false},
		{"payments//a", false},
		{"payments/a/../b", false},
		{"payments/..", false},
		{"payments/a?view=plan", false},
		{"payments/a%2fb", false},
		{"payments/a#b", false},
		{"payments/a b", false},
		{"payments/a\r\nHost: b", false},
		{"payments.example.org/a", false},
		{"https://payments.example.org/a", false},
		{"payments@example.org/a", false},
		{"", false},
		{"//", false},
		{"payments/" + strings.Repeat("a", maxPath), false},
	} {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			h, _, err := s.find(incident.Target{System: "compensations", Path: test.path})
			if test.ok {
				require.NoError(t, err)
				require.Equal(t, "payments", h.name)
				return
			}
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}
