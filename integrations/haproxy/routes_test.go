package haproxy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func TestParseRoutes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text, want string
	}{
		{"one", "blue=100", "blue=100"},
		{"sorted", "green=0,blue=100", "blue=100,green=0"},
		{"modes", "a=1/maint,b=2/drain,c=3", "a=1/maint,b=2/drain,c=3"},
		{"drained without weight is ready without weight", "a=0/drain", "a=0"},
		{"maintenance without weight stays", "a=0/maint", "a=0/maint"},
		{"largest weight", "a=256", "a=256"},
		{"strange name", "a.b:c-d_e=1", "a.b:c-d_e=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseRoutes(tt.text)
			require.NoError(t, err)
			require.Equal(t, tt.want, got.String())
			again, err := parseRoutes(got.String())
			require.NoError(t, err)
			require.Equal(t, got.digest(), again.digest())
		})
	}
	for _, text := range []string{"", "blue", "blue=", "=1", "blue=-1", "blue=257", "blue=01", "blue=+1", "blue=1/up", "blue=1/", "blue=1,", "blue=1,blue=2", "bl ue=1", "blue=1;stop=1", strings.Repeat("a", maxRevision) + "=1", "a=1\n"} {
		t.Run("refuses "+text[:min(len(text), 20)], func(t *testing.T) {
			t.Parallel()
			_, err := parseRoutes(text)
			require.Error(t, err)
		})
	}
}

func TestLabelIsShort(t *testing.T) {
	t.Parallel()
	few, err := parseRoutes("blue=100,green=0,grey=5/maint")
	require.NoError(t, err)
	require.Equal(t, "blue 100, green 0, grey 5 in maintenance", few.label())
	parts := make([]string, maxServers)
	for n := range parts {
		parts[n] = "server" + strings.Repeat("x", n) + "=1"
	}
	many, err := parseRoutes(strings.Join(parts, ","))
	require.NoError(t, err)
	require.Contains(t, many.label(), "64 of 64 servers")
	require.LessOrEqual(t, len(many.label()), maxLabel)
	_, err = parseRoutes(strings.Join(append(parts, "one=1"), ","))
	require.Error(t, err, "more servers than are taken")
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"shop", "shop/blue"} {
		at, err := parsePath(path)
		require.NoError(t, err)
		require.Equal(t, path, at.path())
	}
	for _, path := range []string{"", "/", "//", "shop/", "/blue", "shop/blue/1", "shop blue", "shop;quit", "shop\n"} {
		_, err := parseTarget(incident.Target{System: "edge", Path: path})
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}

func TestParseServersRefuses(t *testing.T) {
	t.Parallel()
	const header = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight\n"
	good, err := parseServers(header+"1 shop 1 blue 127.0.0.1 2 12 7 100\n\n", location{backend: "shop"})
	require.NoError(t, err)
	require.Equal(t, "blue=7/drain", good.present.String())
	require.Equal(t, "blue=100/maint", good.config.String(), "the configuration has it in maintenance")
	for _, tt := range []struct {
		name, answer, says string
		want               error
	}{
		{"no backend", "Can't find backend.\n\n", "no such backend", driver.ErrNotFound},
		{"no server", header + "1 shop 1 green 127.0.0.1 2 0 1 1\n\n", "no such server", driver.ErrNotFound},
		{"denied", "Permission denied\n\n", "", driver.ErrDenied},
		{"another form", "2\n# a b\n\n", "unexpected answer", nil},
		{"a field is missing", header + "1 shop 1 blue 127.0.0.1 2 0 1\n\n", "number of fields", nil},
		{"a column is missing", "1\n# srv_name\nblue\n\n", "is missing", nil},
		{"no number", header + "1 shop 1 blue 127.0.0.1 2 0 x 1\n\n", "holds no number", nil},
		{"a false name", header + "1 shop 1 bl=ue 127.0.0.1 2 0 1 1\n\n", "no proper name", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseServers(tt.answer, location{backend: "shop", server: "blue"})
			require.ErrorContains(t, err, tt.says)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			} else {
				require.False(t, driver.Final(err))
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	token, short := write("token", "0123456789abcdef\n"), write("short", "secret\n")
	open := func(s Settings) error {
		_, err := open(t.Context(), driver.System{Name: "edge", Type: systemType, Decode: func(into any) error {
			content, err := json.Marshal(s)
			if err != nil {
				return err
			}
			return json.Unmarshal(content, into)
		}})
		return err
	}
	for _, tt := range []struct {
		name string
		s    Settings
		says string
	}{
		{"socket", Settings{Address: "unix:/run/haproxy.sock", TokenFile: token}, ""},
		{"tcp", Settings{Address: "tcp://127.0.0.1:9999"}, ""},
		{"tls", Settings{Address: "tls://haproxy.example.org:9999", TLS: TLS{ServerName: "haproxy"}}, ""},
		{"states", Settings{Address: "unix:/s", States: []NamedState{{"blue", "shop", "blue=1,green=0"}, {"blue", "shop/blue", "blue=1"}}}, ""},
		{"empty", Settings{}, "malformed"},
		{"no path", Settings{Address: "unix:"}, "is a path"},
		{"another scheme", Settings{Address: "http://h:1"}, "malformed"},
		{"credential", Settings{Address: "tcp://user:password@h:1"}, "malformed"},
		{"tls without tls", Settings{Address: "tcp://h:1", TLS: TLS{CAFile: "x"}}, "without it"},
		{"no ca", Settings{Address: "tls://h:1", TLS: TLS{CAFile: token}}, "no certificate"},
		{"half a pair", Settings{Address: "tls://h:1", TLS: TLS{CertFile: token}}, "belong together"},
		{"no pair", Settings{Address: "tls://h:1", TLS: TLS{CertFile: token, KeyFile: token}}, "no pair"},
		{"no token", Settings{Address: "unix:/s", TokenFile: filepath.Join(dir, "none")}, "no such file"},
		{"short token", Settings{Address: "unix:/s", TokenFile: short}, "holds no token"},
		{"name is taken", Settings{Address: "unix:/s", States: []NamedState{{"config", "shop", "blue=1"}}}, "taken"},
		{"name like a state", Settings{Address: "unix:/s", States: []NamedState{{"a=1", "shop", "blue=1"}}}, "spelled like a state"},
		{"state twice", Settings{Address: "unix:/s", States: []NamedState{{"a", "shop", "blue=1"}, {"a", "shop", "blue=2"}}}, "twice"},
		{"false state", Settings{Address: "unix:/s", States: []NamedState{{"a", "shop", "blue"}}}, "want <server>=<weight>"},
		{"false target", Settings{Address: "unix:/s", States: []NamedState{{"a", "", "blue=1"}}}, "want <backend>"},
		{"other server", Settings{Address: "unix:/s", States: []NamedState{{"a", "shop/green", "blue=1"}}}, "other servers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := open(tt.s)
			if tt.says == "" {
				require.NoError(t, err, "a system that is away does not keep Backout from starting")
				return
			}
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), "password")
			require.NotContains(t, err.Error(), "secret")
		})
	}
}
