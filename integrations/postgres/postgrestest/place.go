package postgrestest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/postgres"
	realpg "github.com/backout/backout/test/postgres"
)

// database is the database that all places but those of a restore are in.
const database = "postgres"

// place is a part of the server that no other test touches: a name for a schema
// and for roles, and the two users that Backout connects as.
type place struct {
	server *realpg.Server
	// name is the name of the schema, and what the names of roles begin with.
	name string
	// files hold the passwords of the users.
	files map[drivertest.Credential]string
	// passwords are canaries.
	passwords []string
}

// newPlace makes the two users, without any rights.
func newPlace(tb testing.TB) *place {
	tb.Helper()
	p := &place{server: realpg.Require(tb), name: realpg.Name("law"), files: make(map[drivertest.Credential]string)}
	dir := tb.TempDir()
	for _, as := range []drivertest.Credential{drivertest.Owner, drivertest.Reader} {
		password := "canary-" + rand.Text()
		p.passwords = append(p.passwords, password)
		p.files[as] = filepath.Join(dir, fmt.Sprintf("password-%d", as))
		require.NoError(tb, os.WriteFile(p.files[as], []byte(password+"\n"), 0o600))
		p.exec(tb, fmt.Sprintf("CREATE ROLE %s LOGIN NOINHERIT PASSWORD '%s'", p.user(as), password))
	}
	return p
}

// user is the name of a user.
func (p *place) user(as drivertest.Credential) string {
	return p.name + map[drivertest.Credential]string{drivertest.Owner: "_owner", drivertest.Reader: "_reader"}[as]
}

// with does something as the superuser, on a connection of its own, so that it may
// be called from everywhere.
func (p *place) with(ctx context.Context, do func(conn *pgx.Conn) error) error {
	return p.in(ctx, database, do)
}

// in does the same in a database by its name.
func (p *place) in(ctx context.Context, name string, do func(conn *pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, p.server.URL(realpg.Admin, p.server.AdminPassword(), name))
	if err != nil {
		return fmt.Errorf("connect past the driver: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // It is gone either way.
	return do(conn)
}

// setup keeps statements apart that write the same rows of the catalogue, such as
// grants on one table: PostgreSQL refuses the second of two at once.
var setup sync.Mutex

// exec runs statements as the superuser.
func (p *place) exec(tb testing.TB, statements string) {
	tb.Helper()
	setup.Lock()
	defer setup.Unlock()
	require.NoError(tb, p.with(tb.Context(), func(conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(tb.Context(), statements).ReadAll()
		return err
	}))
}

// text asks for one value as the superuser.
func (p *place) text(ctx context.Context, query string, args ...any) (found string, err error) {
	err = p.with(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, query, args...).Scan(&found) })
	return found, err
}

// count asks for one number as the superuser.
func (p *place) count(ctx context.Context, query string, args ...any) (found int, err error) {
	err = p.with(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, query, args...).Scan(&found) })
	return found, err
}

// system is the configuration of a connection at an address, with what may be
// changed through it.
func (p *place) system(tb testing.TB, address string, as drivertest.Credential, settings postgres.Settings) driver.System {
	tb.Helper()
	settings.Host, settings.Port = split(tb, address)
	settings.Database, settings.User, settings.PasswordFile = database, p.user(as), p.files[as]
	settings.TLS = postgres.TLS{Off: true}
	return driver.System{Name: "db", Type: "postgres", Decode: drivertest.Settings(settings)}
}
