package product

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const loginConfig = `url: http://localhost:8420
login: { oidc: { issuer: "https://id.example.com", client_id: backout, client_secret_file: secret, domains: [example.com] } }
people:
  - { id: ada, name: Ada, logins: [ada@example.com] }
`

func TestLoginConfigIsReadStrictly(t *testing.T) {
	t.Parallel()
	c, err := LoadConfig(write(t, "backout.yaml", loginConfig), nil)
	require.NoError(t, err)
	require.True(t, c.Login.configured())
	require.Equal(t, filepath.Join(c.Data, "login.key"), c.Login.KeyFile)
	require.Equal(t, filepath.Join(c.Data, "login.db"), c.Login.PasskeysFile)
	require.True(t, filepath.IsAbs(c.Login.OIDC.ClientSecretFile))
	for _, tt := range []struct{ name, from, to, want string }{
		{"an address for a host", "localhost:8420", "127.0.0.1:8420", "a passkey is bound to a name"},
		{"no https", "localhost:8420", "backout.example.com", "is not https"},
		{"no https at the provider", "https://id.", "http://id.", "is not https"},
		{"no client", "client_id: backout, ", "", "login.oidc.client_id"},
		{"no secret", "client_secret_file: secret, ", "", "client_secret_file"},
		{"no issuer", `issuer: "https://id.example.com", `, "", "login.oidc.issuer is missing"},
		{"an unknown key", "domains:", "domain:", `unknown key "domain"`},
		{"a long session", "login: {", "login: { session: 48h,", "login.session is 48h0m0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, loginConfig, tt.from)
			_, err := LoadConfig(write(t, "backout.yaml", strings.Replace(loginConfig, tt.from, tt.to, 1)), nil)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestOpenLogin(t *testing.T) {
	t.Parallel()
	path := write(t, "backout.yaml", loginConfig)
	c, err := LoadConfig(path, nil)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(c.Data, 0o700))
	s := &Server{}
	_, err = s.openLogin(t.Context(), c)
	require.ErrorContains(t, err, "read OpenID Connect client secret")
	require.Error(t, checkLogin(t.Context(), c))
	require.NoError(t, os.WriteFile(c.Login.OIDC.ClientSecretFile, []byte("canary"), 0o600))
	entry, err := s.openLogin(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, "id.example.com", entry.Issuer())
	require.NoError(t, s.Stop(t.Context()))

	c.Login.DatabaseURLFile = write(t, "address", "postgres://backout:canary@127.0.0.1:1/none?connect_timeout=1")
	_, err = s.openLogin(t.Context(), c)
	require.ErrorContains(t, err, "login.database_url_file")
	require.NotContains(t, err.Error(), "canary")

	entry, err = s.openLogin(t.Context(), Config{})
	require.NoError(t, err)
	require.Nil(t, entry, "no login is a choice")
}

func TestLoginCommands(t *testing.T) {
	t.Parallel()
	path := write(t, "backout.yaml", loginConfig)
	run := func(args ...string) (status int, stdout, stderr string) {
		var out, errs bytes.Buffer
		status = Main(t.Context(), "backout", append([]string{"-c", path, "login"}, args...), nil, &out, &errs, nil)
		return status, out.String(), errs.String()
	}
	status, code, note := run("enrol", "ada@example.com")
	require.Equal(t, ExitOK, status, note)
	require.Regexp(t, `^([A-Z2-7]{5}-){5}[A-Z2-7]\n`, code)
	require.Contains(t, code, "http://localhost:8420/login/passkeys")
	require.Empty(t, note)
	status, _, note = run("enrol", "nobody@example.com")
	require.Equal(t, ExitOK, status)
	require.Contains(t, note, "among the logins of nobody")
	status, out, _ := run("passkeys")
	require.Equal(t, ExitOK, status)
	require.Equal(t, "0 passkeys\n", out)
	status, _, note = run("revoke", "ada@example.com")
	require.Equal(t, ExitFailed, status)
	require.Contains(t, note, "has no such passkey")
	status, _, _ = run("enrol")
	require.Equal(t, ExitUsage, status)

	info, err := os.Stat(filepath.Join(filepath.Dir(path), "data", "login.db"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	path = write(t, "backout.yaml", "{}\n")
	status, _, note = run("passkeys")
	require.Equal(t, ExitFailed, status)
	require.Contains(t, note, "no login is configured")
}
