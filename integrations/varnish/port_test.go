package varnish

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	a, err := readAnswer(bufio.NewReader(strings.NewReader("200 5       \nhello\n")))
	require.NoError(t, err)
	require.Equal(t, answer{status: statusOK, text: "hello"}, a)
	for _, tt := range []struct{ name, raw, says string }{
		{"nothing", "", errInterrupted.Error()},
		{"half a header", "200 5", errInterrupted.Error()},
		{"half a text", "200 5       \nhel", errInterrupted.Error()},
		{"no line end", "200 5       \nhello", errInterrupted.Error()},
		{"no number", "abc 5       \nhello\n", "malformed header"},
		{"negative", "200 -5      \nhello\n", "malformed header"},
		{"too long", "200 99999999\nhello\n", "malformed header"},
		{"no header", "HTTP/1.1 400 Bad Request\r\n\r\n", "malformed header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := readAnswer(bufio.NewReader(strings.NewReader(tt.raw)))
			require.ErrorContains(t, err, tt.says)
			require.False(t, driver.Final(err))
		})
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	require.NoError(t, answer{status: 200}.problem())
	require.ErrorIs(t, answer{status: 201, text: "cut"}.problem(), driver.ErrInvalid, "a source that is cut off has no digest")
	require.ErrorIs(t, answer{status: 106, text: "No VCL named nope known\n"}.problem(), driver.ErrNotFound)
	require.ErrorIs(t, answer{status: 106, text: "No VCL named 'nope'"}.problem(), driver.ErrNotFound)
	err := answer{status: 400, text: "CLI communication error\x1b[31m\n"}.problem()
	require.False(t, driver.Final(err))
	require.EqualError(t, err, "varnish answers 400: CLI communication error[31m")
}

func TestParsePrograms(t *testing.T) {
	t.Parallel()
	list, err := parsePrograms(answer{status: 200, text: `[ 2, ["vcl.list", "-j"], 1.5,
		{"status": "available", "state": "auto", "name": "boot"},
		{"status": "discarded", "state": "auto", "name": "old"},
		{"status": "active", "state": "label", "name": "prod", "label": {"name": "boot"}}]`})
	require.NoError(t, err)
	require.Len(t, list, 2, "what is discarded can not be gone back to")
	name, ok := list.pointed(location{})
	require.True(t, ok)
	require.Equal(t, "prod", name)
	name, ok = list.pointed(location{label: "prod"})
	require.True(t, ok)
	require.Equal(t, "boot", name)
	_, ok = list.pointed(location{label: "boot"})
	require.False(t, ok, "a VCL is no label")
	for _, text := range []string{"", "[]", `[3, [], 1]`, `[2, [], 1, {"name": "a b"}]`, `[2, [], 1, {"name": ""}]`, `[2, [], 1, 7]`, `{}`} {
		_, err := parsePrograms(answer{status: 200, text: text})
		require.Error(t, err, text)
	}
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]location{
		"active": {}, "label/shop": {label: "shop"}, "active/ban/all": {ban: "all"}, "label/shop/ban/shop": {label: "shop", ban: "shop"},
	} {
		at, err := parsePath(path)
		require.NoError(t, err)
		require.Equal(t, want, at)
	}
	for _, path := range []string{"", "//", "label/", "label", "shop", "active/", "active/ban/", "label/a b", "label/a\nvcl.use b", "label/-a", "active/ban/a/ban/b"} {
		_, err := parseTarget(incident.Target{System: "cache", Path: path})
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}

func TestSickBackends(t *testing.T) {
	t.Parallel()
	sick, total, ok := sickBackends(answer{status: 200, text: `[3, [], 1, {
		"a.probed": {"admin_health": "probe", "probe_message": [2, 8, "sick"]},
		"a.good": {"admin_health": "probe", "probe_message": [8, 8, "good"]},
		"a.none": {"admin_health": "probe", "probe_message": [0, 0, "healthy"]},
		"a.forced": {"admin_health": "sick", "probe_message": [8, 8, "good"]}}]`})
	require.True(t, ok)
	require.Equal(t, 4, total)
	require.Equal(t, []string{"a.forced", "a.probed"}, sick)
	for _, a := range []answer{{status: 106}, {status: 200, text: "[]"}, {status: 200, text: `[3, [], 1, 5]`}} {
		_, _, ok := sickBackends(a)
		require.False(t, ok)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret-canary\n"), 0o600))
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	ban := func(expression string) Settings {
		return Settings{Address: "h:1", Bans: []Ban{{"b", expression}}}
	}
	for _, tt := range []struct {
		name string
		s    Settings
		says string
	}{
		{"all", Settings{Address: "127.0.0.1:6082", SecretFile: secret, Names: []Naming{{"label/shop", "shop_20060102150405"}, {"active", "v2006-01-02T15-04"}}, Bans: []Ban{{"shop", "req.http.host == shop && req.url ~ ^/a"}, {"b", "obj.status >= 500"}}}, ""},
		{"empty", Settings{}, "malformed"},
		{"no port", Settings{Address: "h"}, "malformed"},
		{"no secret", Settings{Address: "h:1", SecretFile: filepath.Join(dir, "none")}, "no such file"},
		{"empty secret", Settings{Address: "h:1", SecretFile: empty}, "is empty"},
		{"names of nothing", Settings{Address: "h:1", Names: []Naming{{"shop", "shop_20060102"}}}, "want active or label/<label>"},
		{"names with a ban", Settings{Address: "h:1", Names: []Naming{{"active/ban/b", "shop_20060102"}}}, "want active or label/<label>"},
		{"names without a time", Settings{Address: "h:1", Names: []Naming{{"active", "shop_"}}}, "holds no time"},
		{"names twice", Settings{Address: "h:1", Names: []Naming{{"active", "20060102"}, {"active", "20060102"}}}, "twice"},
		{"ban with a command", ban("req.url ~ /\nvcl.use boot"), "want <field>"},
		{"ban with a quote", ban(`req.url ~ "/a b"`), "want <field>"},
		{"ban of another field", ban("client.ip == 1.2.3.4"), "want <field>"},
		{"ban without a value", ban("req.url =="), "want <field>"},
		{"ban twice", Settings{Address: "h:1", Bans: []Ban{{"b", "req.url ~ /"}, {"b", "req.url ~ /"}}}, "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t.Context(), driver.System{Name: "cache", Type: systemType, Decode: func(into any) error {
				content, err := json.Marshal(tt.s)
				if err != nil {
					return err
				}
				return json.Unmarshal(content, into)
			}})
			if tt.says == "" {
				require.NoError(t, err, "a system that is away does not keep Backout from starting")
				return
			}
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), "s3cret")
		})
	}
}
