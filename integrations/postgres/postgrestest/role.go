package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/postgres"
	realpg "github.com/backout/backout/test/postgres"
	"github.com/backout/backout/workflows/incident"
)

func init() { drivertest.Register(Role()) }

// Role is the case of "postgres.role": a role whose secret is at version 2, to go
// back to version 1.
func Role() drivertest.Case {
	return drivertest.Case{
		Kind:           "postgres.role",
		Start:          startRole,
		OneWay:         startUnknownRole,
		NeverThrottled: "PostgreSQL has no quota of requests; too many connections are refused with an error that is retried as any other is",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "does not exist", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: t.Request.Target.Path + ".absent"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "has no version", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: "9"}, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "does not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not call", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "a credential changes in one statement, so that no change is ever under way"},
		},
	}
}

// installed says whether the functions are on the shared server.
var installed = struct {
	sync.Mutex
	done bool
}{}

// installRoleFunctions runs the script that a superuser runs once.
func installRoleFunctions(tb testing.TB) {
	tb.Helper()
	installed.Lock()
	defer installed.Unlock()
	if !installed.done {
		(&place{server: realpg.Require(tb)}).exec(tb, postgres.RoleFunctions)
		installed.done = true
	}
}

// startUnknownRole gives the role a secret that is no known version.
func startUnknownRole(tb testing.TB) *drivertest.Target {
	tb.Helper()
	t := startRole(tb)
	require.NoError(tb, t.Interfere(tb.Context()))
	mutations := t.Mutations
	t.Mutations = func(ctx context.Context) (int, error) {
		n, err := mutations(ctx)
		return n - 1, err // Without the one that made it unknown.
	}
	return t
}

func startRole(tb testing.TB) *drivertest.Target {
	tb.Helper()
	installRoleFunctions(tb)
	p := newPlace(tb)
	role := p.name + "_app"
	secrets := map[string]string{}
	folder := tb.TempDir()
	for _, version := range []string{"1", "2"} {
		secrets[version] = "canary-" + rand.Text()
		require.NoError(tb, os.WriteFile(filepath.Join(folder, version), []byte(secrets[version]+"\n"), 0o600))
	}
	third := "canary-" + rand.Text()
	p.exec(tb, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s';
		INSERT INTO backout.roles VALUES ('%[1]s'), ('%[1]s.absent');
		GRANT USAGE ON SCHEMA backout TO %[3]s, %[4]s;
		GRANT EXECUTE ON FUNCTION backout.role_secret, backout.role_history TO %[3]s, %[4]s;
		GRANT EXECUTE ON FUNCTION backout.set_role_secret, backout.end_role_sessions TO %[3]s`,
		role, secrets["2"], p.user(drivertest.Owner), p.user(drivertest.Reader)))
	settings := postgres.Settings{Roles: []postgres.RoleSecrets{{Name: role, Folder: folder}, {Name: role + ".absent", Folder: folder}}}
	var interfered atomic.Int64
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: role}, Revision: "1"},
		Upstream: p.server.Address(),
		Connect: func(address string, as drivertest.Credential) driver.System {
			return p.system(tb, address, as, settings)
		},
		Digest: func(ctx context.Context) (string, error) {
			for _, name := range []string{"1", "2", "third"} {
				password := secrets[name]
				if name == "third" {
					password = third
				}
				switch in, err := p.login(ctx, role, password); {
				case err != nil:
					return "", err
				case in:
					return name, nil
				}
			}
			return "none", nil
		},
		Mutations: func(ctx context.Context) (int, error) {
			n, err := p.count(ctx, "SELECT count(*) FROM backout.role_changes WHERE name = $1", role)
			return n + int(interfered.Load()), err
		},
		Interfere: func(ctx context.Context) error {
			return p.with(ctx, func(conn *pgx.Conn) error {
				if _, err := conn.Exec(ctx, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, third)); err != nil {
					return err
				}
				interfered.Add(1)
				return nil
			})
		},
		Difference: "no known version",
		Canaries:   append([]string{secrets["1"], secrets["2"], third}, p.passwords...),
	}
}

// login reports whether a password lets a role in.
func (p *place) login(ctx context.Context, role, password string) (bool, error) {
	conn, err := pgx.Connect(ctx, p.server.URL(role, password, database))
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return true, conn.Close(ctx)
	case errors.As(err, &refused) && refused.Code == "28P01":
		return false, nil
	}
	return false, fmt.Errorf("log in past the driver: %w", err)
}
