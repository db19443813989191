package vaulttest

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	fakevault "github.com/backout/backout/test/fakes/vault"
)

const (
	// Path is the secret of a World.
	Path = "shop/checkout"
	// Secret is the target that it is.
	Secret = fakevault.Mount + "/" + Path
	// Prefix is that of the leases of a World.
	Prefix = "database/creds/checkout/"
)

// World is a stand-in that knows two tokens: one with exactly the policies that the
// kinds ask for, and one that lacks the right to write and to revoke.
type World struct {
	*fakevault.Server
	// Secrets are everything that must not be shown.
	Secrets []string

	tokens map[drivertest.Credential]string
	key    string
}

// Start starts a stand-in that ends with the test.
func Start(tb testing.TB) *World {
	tb.Helper()
	dir := tb.TempDir()
	w := &World{tokens: make(map[drivertest.Credential]string)}
	secret := func(name string) (value, file string) {
		value, file = "canary-"+rand.Text()+rand.Text(), filepath.Join(dir, name)
		require.NoError(tb, os.WriteFile(file, []byte(value+"\n"), 0o600))
		w.Secrets = append(w.Secrets, value)
		return value, file
	}
	var owner, reader string
	owner, w.tokens[drivertest.Owner] = secret("owner")
	reader, w.tokens[drivertest.Reader] = secret("reader")
	_, w.key = secret("key")
	data, metadata := fakevault.Mount+"/data/", fakevault.Mount+"/metadata/"
	w.Server = fakevault.New(nil, map[string]fakevault.Policy{
		owner: {
			data + "*": {"read", "update"}, metadata + "*": {"read"},
			"sys/leases/lookup/" + Prefix + "*": {"list", "sudo"}, "sys/leases/lookup": {"update"}, "sys/leases/revoke": {"update"},
		},
		reader: {
			data + "*": {"read"}, metadata + "*": {"read"},
			"sys/leases/lookup/" + Prefix + "*": {"list", "sudo"}, "sys/leases/lookup": {"update"},
		},
	})
	tb.Cleanup(w.Close)
	return w
}

// System is the configuration of a connection to the stand-in at an address.
func (w *World) System(address string, as drivertest.Credential) driver.System {
	return driver.System{Name: "vault", Type: "vault", Decode: drivertest.Settings(map[string]string{
		"url": "http://" + address, "token_file": w.tokens[as], "digest_key_file": w.key,
	})}
}

// worlds finds the stand-in of a target, for what a Target has no function for.
var worlds sync.Map

func remember(tb testing.TB, t *drivertest.Target, w *World) {
	worlds.Store(t, w)
	tb.Cleanup(func() { worlds.Delete(t) })
}

func of(tb testing.TB, t *drivertest.Target) *World {
	tb.Helper()
	w, ok := worlds.Load(t)
	require.True(tb, ok, "the target is not of this package")
	return w.(*World)
}
