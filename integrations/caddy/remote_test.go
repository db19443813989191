package caddy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/caddy/caddytest"
	"github.com/backout/backout/integrations/driver"
)

// identity is a client certificate in files.
type identity struct{ public, certFile, keyFile string }

func newIdentity(t *testing.T, name string) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	id := identity{public: base64.StdEncoding.EncodeToString(der), certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem")}
	require.NoError(t, os.WriteFile(id.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(id.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return id
}

// TestRemoteAdministration uses Caddy's own remote administration with exactly the
// permissions that the kind asks for, and with less.
func TestRemoteAdministration(t *testing.T) {
	t.Parallel()
	owner, reader, stranger := newIdentity(t, "owner"), newIdentity(t, "reader"), newIdentity(t, "stranger")
	access := func(id identity, methods ...string) map[string]any {
		return map[string]any{"public_keys": []string{id.public}, "permissions": []any{map[string]any{"methods": methods, "paths": []string{"/config/apps/http/servers", "/id"}}}}
	}
	s := caddytest.Start(t, caddytest.Route("canary", 1, 100), func(folder string, config map[string]map[string]any) {
		config["apps"]["pki"] = map[string]any{"certificate_authorities": map[string]any{"local": map[string]any{"install_trust": false}}}
		config["admin"]["identity"] = map[string]any{"identifiers": []string{"caddy.test"}, "issuers": []any{map[string]any{"module": "internal"}}}
		config["admin"]["remote"] = map[string]any{"listen": "unix/" + filepath.Join(folder, "remote.sock"), "access_control": []any{access(owner, "GET", "PATCH"), access(reader, "GET")}}
	})
	address := caddytest.Pipe(t, filepath.Join(s.Folder, "remote.sock"))
	root := filepath.Join(s.Folder, "storage", "pki", "authorities", "local", "root.crt")
	require.Eventually(t, func() bool { _, err := os.Stat(root); return err == nil }, 20*time.Second, 10*time.Millisecond)
	id := "id/" + caddytest.ID
	as := func(id identity) driver.System {
		return caddytest.System(map[string]any{
			"url": "https://" + address, "history_folder": s.History,
			"tls":    map[string]string{"ca_file": root, "cert_file": id.certFile, "key_file": id.keyFile, "server_name": "caddy.test"},
			"states": []map[string]string{{"name": "even", "target": "id/" + caddytest.ID, "file": write(t, caddytest.Route("canary", 50, 50))}},
		})
	}
	set, inverse := connect(t, as(owner))
	// Caddy obtains its own certificate after it has started.
	require.Eventually(t, func() bool { return set.Reach(t.Context(), "edge") == nil }, 20*time.Second, 20*time.Millisecond)
	action := planned(t, inverse, driver.PlanRequest{Target: target(id), Revision: "even"})

	set, reading := connect(t, as(reader))
	require.NoError(t, set.Reach(t.Context(), "edge"))
	p, err := reading.Plan(t.Context(), driver.PlanRequest{Target: target(id), Revision: "even"})
	require.NoError(t, err)
	require.Contains(t, reasons(p), "blocked permission: Backout may not change the configuration at id/shop.")
	_, err = reading.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrDenied)
	writes, err := s.Writes(t.Context())
	require.NoError(t, err)
	require.Zero(t, writes)

	set, _ = connect(t, as(stranger))
	require.ErrorIs(t, set.Reach(t.Context(), "edge"), driver.ErrDenied, "a certificate that Caddy does not know")

	receipt, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	p, err = inverse.Plan(t.Context(), driver.PlanRequest{Target: target("config/admin"), Revision: "even"})
	require.NoError(t, err)
	require.Contains(t, reasons(p), "blocked permission: Backout may not read the configuration at config/admin.")
}
