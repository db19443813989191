package etcdtest

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/authpb"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/test/etcdstore"
)

// Place is a part of a store with users of its own.
type Place struct {
	*etcdstore.Store
	// Prefix is that of all keys of the place, and ends with a slash.
	Prefix string
	// Clock is its clock.
	Clock string
	// Passwords are those of the users.
	Passwords []string

	users, files map[drivertest.Credential]string
}

// The keys and the clocks of all places.
const (
	keys   = "/keys/"
	clocks = "/clocks/"
)

// NewPlace makes a place. The users are those of all places: one with exactly the
// permissions that "etcd.key" asks for, and one that lacks the right to write.
func NewPlace(tb testing.TB, s *etcdstore.Store) *Place {
	tb.Helper()
	dir := tb.TempDir()
	name := strings.ToLower(rand.Text())
	p := &Place{Store: s, Prefix: keys + name + "/", Clock: clocks + name, users: make(map[drivertest.Credential]string), files: make(map[drivertest.Credential]string)}
	below := func(kind authpb.Permission_Type, prefix string) *authpb.Permission {
		// A slash is followed by a zero: the range ends behind all keys with the prefix.
		return &authpb.Permission{PermType: kind, Key: []byte(prefix), RangeEnd: []byte(strings.TrimSuffix(prefix, "/") + "0")}
	}
	for _, user := range []struct {
		as   drivertest.Credential
		name string
		kind authpb.Permission_Type
	}{
		{drivertest.Owner, "owner", authpb.Permission_READWRITE},
		{drivertest.Reader, "reader", authpb.Permission_READ},
	} {
		password := s.User(tb, user.name, below(user.kind, keys), below(authpb.Permission_READ, clocks))
		p.Passwords = append(p.Passwords, password)
		p.users[user.as], p.files[user.as] = user.name, filepath.Join(dir, user.name)
		require.NoError(tb, os.WriteFile(p.files[user.as], []byte(password+"\n"), 0o600))
	}
	return p
}

// System is the configuration of a connection to the store at an address.
func (p *Place) System(address string, as drivertest.Credential) driver.System {
	return driver.System{Name: "store", Type: "etcd", Decode: drivertest.Settings(map[string]any{
		"endpoints": []string{"http://" + address}, "user": p.users[as], "password_file": p.files[as], "clock_key": p.Clock,
	})}
}
