package postgrestest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

func init() { drivertest.Register(Restore()) }

// dumpFile is the dump that the case goes back to.
const dumpFile = "nightly.dump"

// Restore is the case of "postgres.restore": a database to be replaced by a copy of
// a dump.
func Restore() drivertest.Case {
	return drivertest.Case{
		Kind:           "postgres.restore",
		Start:          startRestore,
		OneWay:         startRestoreOfCopy,
		NeverThrottled: "PostgreSQL has no quota of requests; too many connections are refused with an error that is retried as any other is",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "have no restore", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "no-such-restore"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "has no dump", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: "weekly.dump"}, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "is in flight", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				conn := realpg.Require(tb).Connect(tb, database)
				_, err := conn.Exec(tb.Context(), "SELECT pg_advisory_lock($1)", postgres.RestoreLock(t.Request.Target.Path))
				require.NoError(tb, err)
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {Says: "do not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-24 * time.Hour)}, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not take on the role", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
		},
	}
}

// templates are what all databases of the case are made from: making one by itself
// takes longer. They live as long as the server does.
type templates struct {
	// present and third are databases with other content than the dump.
	present, third string
	dump           []byte
	canary         string
}

var prepared struct {
	sync.Mutex
	*templates
}

// prepare makes the templates and the dump at the first call.
func prepare(tb testing.TB) *templates {
	tb.Helper()
	prepared.Lock()
	defer prepared.Unlock()
	if prepared.templates != nil {
		return prepared.templates
	}
	p := &place{server: realpg.Require(tb)}
	p.exec(tb, postgres.RestoreTable)
	t := &templates{canary: "canary-" + rand.Text()}
	for _, d := range []struct {
		name  *string
		title string
	}{{&t.present, "present"}, {&t.third, "third"}, {nil, "dumped"}} {
		name := realpg.Name("law_" + d.title)
		p.exec(tb, "CREATE DATABASE "+name)
		require.NoError(tb, p.in(tb.Context(), name, func(conn *pgx.Conn) error {
			_, err := conn.PgConn().Exec(tb.Context(), fmt.Sprintf(`CREATE TABLE orders (id bigint PRIMARY KEY, note text);
				INSERT INTO orders VALUES (1, '%[1]s'), (2, '%[2]s')`, d.title, t.canary)).ReadAll()
			return err
		}))
		if d.name != nil {
			*d.name = name
			continue
		}
		// Rows as INSERT arrive in one message. Those of COPY arrive in several, which a
		// network joins as it likes, so that the suite could not count them.
		var out, said bytes.Buffer
		dump := exec.CommandContext(tb.Context(), filepath.Join(p.server.Programs, "pg_dump"), "--format=custom", "--inserts", "--host="+p.server.Host, fmt.Sprintf("--port=%d", p.server.Port), "--username="+realpg.Admin, name)
		dump.Env, dump.Stdout, dump.Stderr = []string{"PGPASSWORD=" + p.server.AdminPassword()}, &out, &said
		require.NoError(tb, dump.Run(), said.String())
		t.dump = out.Bytes()
		p.exec(tb, "DROP DATABASE "+name+" WITH (FORCE)")
	}
	prepared.templates = t
	return t
}

// startRestoreOfCopy makes the database one that was restored before.
func startRestoreOfCopy(tb testing.TB) *drivertest.Target {
	tb.Helper()
	t := startRestore(tb)
	p := &place{server: realpg.Require(tb)}
	p.exec(tb, fmt.Sprintf("COMMENT ON DATABASE %s IS 'backout: restored from old.dump %s'", t.Request.Target.Path, incident.DigestOf(nil)))
	return t
}

func startRestore(tb testing.TB) *drivertest.Target {
	tb.Helper()
	t := prepare(tb)
	p := newPlace(tb)
	owner := p.name + "_own"
	p.exec(tb, strings.NewReplacer("@", p.name, "#", owner).Replace(`
		CREATE ROLE # NOLOGIN CREATEDB;
		GRANT pg_signal_backend TO #;
		GRANT # TO @_owner;
		GRANT USAGE ON SCHEMA backout TO @_owner, @_reader;
		GRANT SELECT ON backout.restores TO @_owner, @_reader;
		GRANT INSERT ON backout.restores TO @_owner`))
	tb.Cleanup(func() { p.dropAll(tb) })
	require.NoError(tb, p.create(tb.Context(), p.name, t.present, owner))
	folder := tb.TempDir()
	require.NoError(tb, os.WriteFile(filepath.Join(folder, dumpFile), t.dump, 0o600))
	settings := postgres.Settings{Restores: []postgres.Restore{{
		Name: p.name, Database: p.name, Folder: folder, Owner: owner, Programs: p.server.Programs,
		Check: fmt.Sprintf("SELECT count(*) = 2 AND bool_or(note = '%s') FROM orders", t.canary),
	}}}
	var interfered atomic.Int64
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: p.name}, Revision: dumpFile},
		Upstream: p.server.Address(),
		Connect: func(address string, as drivertest.Credential) driver.System {
			return p.system(tb, address, as, settings)
		},
		Digest: func(ctx context.Context) (content string, err error) {
			err = p.in(ctx, p.name, func(conn *pgx.Conn) error {
				return conn.QueryRow(ctx, "SELECT string_agg(note, ',' ORDER BY id) FROM orders").Scan(&content)
			})
			return content, err
		},
		Mutations: func(ctx context.Context) (int, error) {
			n, err := p.count(ctx, "SELECT count(*) FROM backout.restores WHERE database = $1", p.name)
			return n + int(interfered.Load()), err
		},
		Interfere: func(ctx context.Context) error {
			third := fmt.Sprintf("%s_third_%d", p.name, interfered.Load())
			if err := p.create(ctx, third, t.third, owner); err != nil {
				return err
			}
			for _, rename := range [][2]string{{p.name, third + "_aside"}, {third, p.name}} {
				if err := p.rename(ctx, rename[0], rename[1]); err != nil {
					return err
				}
			}
			interfered.Add(1)
			return nil
		},
		Difference: "the database with oid",
		Canaries:   append([]string{t.canary}, p.passwords...),
		MaxTime:    time.Minute,
	}
}

// create makes a database from a template.
func (p *place) create(ctx context.Context, name, template, owner string) error {
	return p.with(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s STRATEGY file_copy", name, template, owner))
		return err
	})
}

// rename changes the name of a database, from which the suite's own sessions may
// still be going away.
func (p *place) rename(ctx context.Context, from, to string) error {
	return p.with(ctx, func(conn *pgx.Conn) error {
		for {
			_, err := conn.Exec(ctx, "ALTER DATABASE "+from+" RENAME TO "+to)
			var refused *pgconn.PgError
			if !errors.As(err, &refused) || refused.Code != "55006" {
				return err
			}
		}
	})
}

// dropAll drops all databases whose names begin with that of the place.
func (p *place) dropAll(tb testing.TB) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	require.NoError(tb, p.with(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "SELECT datname FROM pg_database WHERE datname LIKE $1", p.name+"%")
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
				return err
			}
		}
		return nil
	}))
}
