package postgrestest

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/postgres"
	realpg "github.com/backout/backout/test/postgres"
	"github.com/backout/backout/workflows/incident"
)

func init() { drivertest.Register(Migration("golang-migrate"), Migration("goose")) }

// change is one migration of the case.
type change struct{ title, up, down string }

// changes are the migrations, from version 1 on. The steps above the first destroy
// nothing, so that there is a way back.
func changes(canary string) []change {
	return []change{
		{"orders", "CREATE TABLE orders (id bigint PRIMARY KEY, note text DEFAULT '" + canary + "');", "DROP TABLE orders;"},
		{"note_index", "CREATE INDEX orders_note ON orders (note);", "DROP INDEX orders_note;"},
		{"remark", "ALTER TABLE orders RENAME COLUMN note TO remark; -- " + canary, "ALTER TABLE orders RENAME COLUMN remark TO note; -- " + canary},
		{"required", "ALTER TABLE orders ALTER COLUMN remark SET NOT NULL;", "ALTER TABLE orders ALTER COLUMN remark DROP NOT NULL;"},
	}
}

// Where the case begins and what it goes back to; the last version is what a third
// party migrates to.
const (
	presentVersion = 3
	wantedVersion  = 1
)

// Migration is the case of "postgres.migration" with the tables of a tool: a schema
// with four migrations, of which three are applied, to go down to the first.
func Migration(tool string) drivertest.Case {
	c := drivertest.Case{
		Kind:  "postgres.migration",
		Form:  tool,
		Start: func(tb testing.TB) *drivertest.Target { return startMigration(tb, tool, "") },
		OneWay: func(tb testing.TB) *drivertest.Target {
			return startMigration(tb, tool, "ALTER TABLE orders DROP COLUMN remark")
		},
		NeverThrottled: "PostgreSQL has no quota of requests; too many connections are refused with an error that is retried as any other is",
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "have no migrations", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: incident.Target{Path: "no-such-set"}, Revision: t.Request.Revision}, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "has no migration of version", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return driver.PlanRequest{Target: t.Request.Target, Revision: "99"}, drivertest.Owner
			}},
			drivertest.DeployInFlight: {Says: "is in flight", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				p := &schema{place: &place{server: realpg.Require(tb), name: t.Request.Target.Path}, tool: tool}
				conn := p.server.Connect(tb, database)
				_, err := conn.Exec(tb.Context(), "SELECT pg_advisory_lock($1)", p.lock())
				require.NoError(tb, err)
				return t.Request, drivertest.Owner
			}},
			drivertest.ClosedWindow: {NotApplicable: "golang-migrate keeps no times; a version can be gone back to for as long as its steps are in the folder"},
			drivertest.MissingPermission: {Says: "may not take on the role", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
		},
	}
	if tool == "goose" {
		c.Preflight[drivertest.ClosedWindow] = drivertest.Scenario{Says: "does not reach back before", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
			return driver.PlanRequest{Target: t.Request.Target, Before: time.Now().Add(-time.Hour)}, drivertest.Owner
		}}
	}
	return c
}

// schema is a migrated schema of its own.
type schema struct {
	*place
	tool    string
	changes []change
}

// startMigration makes a schema; destructive is the down step of the present version
// in place of one that destroys nothing, unless it is empty.
func startMigration(tb testing.TB, tool, destructive string) *drivertest.Target {
	tb.Helper()
	postgres.StartGrammar() // Not in the time that the suite gives to a plan.
	canary := "canary-" + rand.Text()
	s := &schema{place: newPlace(tb), tool: tool, changes: changes(canary)}
	if destructive != "" {
		// The index goes with its column.
		s.changes[presentVersion-1].down = destructive + ";"
		s.changes[presentVersion-2].down = "DROP INDEX IF EXISTS orders_note;"
	}
	s.exec(tb, strings.NewReplacer("@", s.name, "#", s.table(), "%", s.columns()).Replace(`
		CREATE ROLE @_ddl NOLOGIN;
		GRANT @_ddl TO @_owner;
		CREATE SCHEMA @ AUTHORIZATION @_ddl;
		GRANT USAGE ON SCHEMA @ TO @_owner, @_reader;
		SET ROLE @_ddl;
		CREATE TABLE # (%);
		GRANT SELECT ON # TO @_owner, @_reader;
		RESET ROLE;
		CREATE TABLE @.seen (transaction bigint PRIMARY KEY);
		CREATE FUNCTION @.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN
			INSERT INTO @.seen VALUES (txid_current()) ON CONFLICT DO NOTHING; RETURN NULL; END';
		CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON # EXECUTE FUNCTION @.note()`))
	if tool == "goose" {
		s.exec(tb, "INSERT INTO "+s.table()+" (version_id, is_applied) VALUES (0, true)")
	}
	for version := 1; version <= presentVersion; version++ {
		require.NoError(tb, s.migrate(tb.Context(), version))
	}
	folder := tb.TempDir()
	for n, c := range s.changes {
		s.write(tb, folder, n+1, c)
	}
	set := postgres.MigrationSet{Name: s.name, Tool: tool, Folder: folder, Schema: s.name, Role: s.name + "_ddl"}
	if tool == "goose" {
		set.Lock = s.lock()
	}
	settings := postgres.Settings{Migrations: []postgres.MigrationSet{set}}
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: s.name}, Revision: strconv.Itoa(wantedVersion)},
		Upstream: s.server.Address(),
		Connect: func(address string, as drivertest.Credential) driver.System {
			return s.system(tb, address, as, settings)
		},
		Digest: s.digest,
		Mutations: func(ctx context.Context) (int, error) {
			return s.count(ctx, "SELECT count(*) FROM "+s.name+".seen")
		},
		Interfere:  func(ctx context.Context) error { return s.migrate(ctx, len(s.changes)) },
		Difference: fmt.Sprintf("the database is at version %d", len(s.changes)),
		Canaries:   append([]string{canary}, s.passwords...),
	}
}

// write makes the files of one migration. Scripts often hold a transaction of their
// own: the third one does.
func (s *schema) write(tb testing.TB, folder string, version int, c change) {
	tb.Helper()
	up, down := c.up, c.down
	if version == presentVersion {
		up, down = "BEGIN;\n"+up+"\nCOMMIT;\n", "BEGIN;\n"+down+"\nCOMMIT;\n"
	}
	files := map[string]string{
		fmt.Sprintf("%04d_%s.up.sql", version, c.title):   up,
		fmt.Sprintf("%04d_%s.down.sql", version, c.title): down,
	}
	if s.tool == "goose" {
		files = map[string]string{
			fmt.Sprintf("%05d_%s.sql", version, c.title): "-- +goose Up\n" + up + "\n\n-- +goose Down\n" + down + "\n",
		}
	}
	for name, text := range files {
		require.NoError(tb, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
}

func (s *schema) table() string {
	if s.tool == "goose" {
		return s.name + ".goose_db_version"
	}
	return s.name + ".schema_migrations"
}

// columns are those that the tools make.
func (s *schema) columns() string {
	if s.tool == "goose" {
		return "id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now()"
	}
	return "version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL"
}

// lock is the advisory lock that the tool takes. That of goose is one for the whole
// database, so that each schema of this suite has another.
func (s *schema) lock() int64 {
	sum := crc32.ChecksumIEEE([]byte(s.name + "\x00schema_migrations\x00" + database))
	if s.tool == "goose" {
		return int64(sum)<<8 | 1
	}
	return int64(sum * 1486364155)
}

// migrate goes up to a version as the tool would: under its lock, and with its
// table.
func (s *schema) migrate(ctx context.Context, to int) error {
	return s.with(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", s.lock()); err != nil {
				return fmt.Errorf("lock: %w", err)
			}
			if _, err := tx.Conn().PgConn().Exec(ctx, "SET LOCAL ROLE "+s.name+"_ddl; SET LOCAL search_path TO "+s.name).ReadAll(); err != nil {
				return fmt.Errorf("take on role: %w", err)
			}
			column := map[bool]string{true: "version_id", false: "version"}[s.tool == "goose"]
			var present int
			if err := tx.QueryRow(ctx, "SELECT coalesce(max("+column+"), 0) FROM "+s.table()).Scan(&present); err != nil {
				return fmt.Errorf("read version: %w", err)
			}
			for version := present + 1; version <= to; version++ {
				record := fmt.Sprintf("TRUNCATE %s; INSERT INTO %s VALUES (%d, false)", s.table(), s.table(), version)
				if s.tool == "goose" {
					record = fmt.Sprintf("INSERT INTO %s (version_id, is_applied) VALUES (%d, true)", s.table(), version)
				}
				if _, err := tx.Conn().PgConn().Exec(ctx, s.changes[version-1].up+"\n;"+record).ReadAll(); err != nil {
					return fmt.Errorf("migrate to %d: %w", version, err)
				}
			}
			return nil
		})
	})
}

// digest is of the versions, the columns and the indexes.
func (s *schema) digest(ctx context.Context) (string, error) {
	versions := "SELECT string_agg(version::text || dirty::text, ',') FROM " + s.table()
	if s.tool == "goose" {
		versions = "SELECT string_agg(version_id::text, ',' ORDER BY version_id) FROM " + s.table() + " WHERE is_applied"
	}
	return s.text(ctx, `SELECT concat_ws(';', (`+versions+`),
		(SELECT string_agg(concat_ws(' ', column_name, data_type, is_nullable, column_default), ',' ORDER BY ordinal_position)
			FROM information_schema.columns WHERE table_schema = $1 AND table_name = 'orders'),
		(SELECT string_agg(indexname, ',' ORDER BY indexname) FROM pg_indexes WHERE schemaname = $1 AND tablename = 'orders'))`, s.name)
}

func split(tb testing.TB, address string) (host string, port int) {
	tb.Helper()
	host, text, err := net.SplitHostPort(address)
	require.NoError(tb, err)
	port, err = strconv.Atoi(text)
	require.NoError(tb, err)
	return host, port
}
