package postgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	realpg "github.com/backout/backout/test/postgres"
	"github.com/backout/backout/workflows/incident"
)

// shop is a schema of its own on the real server, and a connection of Backout's as
// the superuser: what may be done is the business of the laws.
type shop struct {
	t       *testing.T
	name    string
	folder  string
	admin   *pgx.Conn
	set     *driver.Set
	inverse driver.Inverse
}

func newShop(t *testing.T, tool string, content map[string]string, statements ...string) *shop {
	t.Helper()
	server := realpg.Require(t)
	s := &shop{t: t, name: realpg.Name("shop"), folder: files(t, content), admin: server.Connect(t, "postgres")}
	s.exec("CREATE SCHEMA " + s.name + "; SET search_path TO " + s.name)
	if tool == goose {
		s.exec("CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp DEFAULT now())")
	} else {
		s.exec("CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)")
	}
	for _, statement := range statements {
		s.exec(statement)
	}
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(server.AdminPassword()), 0o600))
	settings := Settings{
		Host: server.Host, Port: server.Port, Database: "postgres", User: realpg.Admin, PasswordFile: password, TLS: TLS{Off: true},
		Migrations: []MigrationSet{{Name: "shop", Tool: tool, Folder: s.folder, Schema: s.name, Lock: time.Now().UnixNano()}},
	}
	var err error
	s.set, err = driver.Open(t.Context(), []driver.System{{Name: "db", Type: systemType, Decode: drivertest.Settings(settings)}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.set.Close()) })
	s.inverse, err = s.set.Inverse(migrationKind, "db")
	require.NoError(t, err)
	return s
}

func (s *shop) exec(statements string) {
	s.t.Helper()
	_, err := s.admin.PgConn().Exec(s.t.Context(), statements).ReadAll()
	require.NoError(s.t, err)
}

func (s *shop) plan(req driver.PlanRequest) driver.Planned {
	s.t.Helper()
	req.Target = incident.Target{System: "db", Path: "shop"}
	planned, err := s.inverse.Plan(s.t.Context(), req)
	require.NoError(s.t, err)
	return planned
}

func (s *shop) action(p driver.Planned) incident.Action {
	return incident.Action{
		Kind: migrationKind, Target: incident.Target{System: "db", Path: "shop"}, From: p.From, To: p.To,
		MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: p.Reversible,
	}
}

func reasons(p driver.Planned, result incident.PreflightResult) string {
	var lines []string
	for _, check := range p.Preflight {
		if check.Result == result {
			lines = append(lines, check.Reason)
		}
	}
	return strings.Join(lines, "\n")
}

// pair is the two files of one migration of golang-migrate.
func pair(content map[string]string, version int, up, down string) map[string]string {
	content[fmt.Sprintf("%d_m.up.sql", version)] = up
	content[fmt.Sprintf("%d_m.down.sql", version)] = down
	return content
}

const first = "CREATE TABLE orders (id bigint, note text)"

func TestDestructiveStepsAreAOneWayDoor(t *testing.T) {
	t.Parallel()
	content := pair(pair(map[string]string{}, 1, first, "DROP TABLE orders"), 2, "ALTER TABLE orders ADD COLUMN paid boolean", "ALTER TABLE orders DROP COLUMN paid")
	s := newShop(t, golangMigrate, content, first, "ALTER TABLE orders ADD COLUMN paid boolean", "INSERT INTO schema_migrations VALUES (2, false)")
	planned := s.plan(driver.PlanRequest{Revision: "1"})
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	require.False(t, planned.Reversible, "what destroys a column is offered as reversible")
	require.Contains(t, planned.WontRevert, "the down step of version 2 (m) drops the column paid of orders")
	require.Contains(t, reasons(planned, incident.PreflightWarning), "drops the column paid of orders")

	all := s.plan(driver.PlanRequest{Revision: "0"})
	require.Contains(t, strings.Join(all.WontRevert, "\n"), "drops the table orders")
	receipt, err := s.inverse.Apply(t.Context(), s.action(all), "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	var left int
	require.NoError(t, s.admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = $1", s.name).Scan(&left))
	require.Equal(t, 1, left, "only the version table is left")
	require.NoError(t, s.admin.QueryRow(t.Context(), "SELECT count(*) FROM schema_migrations").Scan(&left))
	require.Zero(t, left, "golang-migrate spells no migration as no row")
}

// TestUpAgain shows that a way down that destroyed nothing is undone by a plan that
// names the version it came from, and that a way up that rewrites rows is a one-way
// door too.
func TestUpAgain(t *testing.T) {
	t.Parallel()
	content := pair(pair(pair(map[string]string{}, 1, first, "DROP TABLE orders"), 2, "CREATE INDEX i ON orders (id)", "DROP INDEX i"),
		3, "UPDATE orders SET note = ''", "COMMENT ON TABLE orders IS 'as it was'")
	s := newShop(t, golangMigrate, content, first, "CREATE INDEX i ON orders (id)", "INSERT INTO schema_migrations VALUES (2, false)")
	down := s.plan(driver.PlanRequest{Revision: "1"})
	require.True(t, down.Reversible)
	_, err := s.inverse.Apply(t.Context(), s.action(down), "key")
	require.NoError(t, err)
	up := s.plan(driver.PlanRequest{Revision: "2"})
	require.False(t, up.Blocked(), "%v", up.Preflight)
	require.True(t, up.Reversible)
	require.Equal(t, down.From, up.To)
	_, err = s.inverse.Apply(t.Context(), s.action(up), "key")
	require.NoError(t, err)
	require.Equal(t, down.From, s.plan(driver.PlanRequest{Revision: "1"}).From)

	rewrites := s.plan(driver.PlanRequest{Revision: "3"})
	require.False(t, rewrites.Reversible)
	require.Contains(t, rewrites.WontRevert, "the up step of version 3 (m) overwrites values in orders")
}

func TestPlanIsBlocked(t *testing.T) {
	t.Parallel()
	good := func() map[string]string {
		return pair(pair(map[string]string{}, 1, first, "DROP TABLE orders"), 2, "CREATE INDEX i ON orders (id)", "DROP INDEX i")
	}
	tests := []struct {
		name    string
		content map[string]string
		row     string
		request driver.PlanRequest
		says    string
	}{
		{"dirty", good(), "(2, true)", driver.PlanRequest{Revision: "1"}, "began and did not end"},
		{"newer than the folder", good(), "(3, false)", driver.PlanRequest{Revision: "1"}, "which the folder of the migrations does not have"},
		{"there already", good(), "(2, false)", driver.PlanRequest{Revision: "2"}, "already"},
		{"no number", good(), "(2, false)", driver.PlanRequest{Revision: "latest"}, "is not a version"},
		{"no change since", good(), "(2, false)", driver.PlanRequest{Before: time.Now().Add(time.Hour)}, "No migration was applied since"},
		{"concurrently", pair(good(), 2, "CREATE INDEX i ON orders (id)", "DROP INDEX CONCURRENTLY i"), "(2, false)", driver.PlanRequest{Revision: "1"}, "works concurrently"},
		{"empty step", pair(good(), 2, "CREATE INDEX i ON orders (id)", "-- later"), "(2, false)", driver.PlanRequest{Revision: "1"}, "is empty"},
		{"not understood", pair(good(), 2, "CREATE INDEX i ON orders (id)", "DROP INDEX 'i"), "(2, false)", driver.PlanRequest{Revision: "1"}, "can not be taken apart"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, golangMigrate, tt.content, first, "INSERT INTO schema_migrations VALUES "+tt.row)
			planned := s.plan(tt.request)
			require.True(t, planned.Blocked())
			require.Contains(t, reasons(planned, incident.PreflightBlocked), tt.says)
		})
	}
}

// TestBeforeLast shows that golang-migrate's one row leads to the version below it,
// and that this is not sold as certain.
func TestBeforeLast(t *testing.T) {
	t.Parallel()
	content := pair(pair(map[string]string{}, 1, first, "DROP TABLE orders"), 2, "CREATE INDEX i ON orders (id)", "DROP INDEX i")
	s := newShop(t, golangMigrate, content, first, "CREATE INDEX i ON orders (id)", "INSERT INTO schema_migrations VALUES (2, false)")
	planned := s.plan(driver.PlanRequest{Before: time.Now().Add(-time.Minute)})
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	require.Equal(t, "1", planned.To.Revision)
	require.Contains(t, reasons(planned, incident.PreflightUnknown), "does not say whether version 1")
}

// TestFailingStep shows that a step that the server refuses leaves nothing behind,
// not even the steps before it, and that its data are not quoted.
func TestFailingStep(t *testing.T) {
	t.Parallel()
	content := pair(pair(pair(map[string]string{}, 1, first, "DROP TABLE orders"),
		2, "CREATE INDEX i ON orders (id)", "INSERT INTO orders VALUES ('canary-in-a-value', 'x')"),
		3, "ALTER TABLE orders ALTER note SET NOT NULL", "ALTER TABLE orders ALTER note DROP NOT NULL")
	s := newShop(t, golangMigrate, content, first, "ALTER TABLE orders ALTER note SET NOT NULL", "INSERT INTO schema_migrations VALUES (3, false)")
	action := s.action(s.plan(driver.PlanRequest{Revision: "1"}))
	_, err := s.inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrInvalid, "what can never succeed is tried again")
	require.ErrorContains(t, err, "run the down step of version 2")
	require.NotContains(t, err.Error(), "canary")
	seen, err := s.inverse.Observe(t.Context(), action)
	require.NoError(t, err)
	require.Equal(t, action.From, seen.State)
	var nullable string
	require.NoError(t, s.admin.QueryRow(t.Context(), "SELECT is_nullable FROM information_schema.columns WHERE table_schema = $1 AND column_name = 'note'", s.name).Scan(&nullable))
	require.Equal(t, "NO", nullable, "a step of a change that failed is in place")
}

// TestChangedFile shows that what is run is what was approved.
func TestChangedFile(t *testing.T) {
	t.Parallel()
	content := pair(pair(map[string]string{}, 1, first, "DROP TABLE orders"), 2, "CREATE INDEX i ON orders (id)", "DROP INDEX i")
	s := newShop(t, golangMigrate, content, first, "CREATE INDEX i ON orders (id)", "INSERT INTO schema_migrations VALUES (2, false)")
	action := s.action(s.plan(driver.PlanRequest{Revision: "1"}))
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "2_m.down.sql"), []byte("DROP TABLE orders"), 0o600))
	_, err := s.inverse.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "whose files are not those of the plan")
}

// TestBusyTable shows that a change does not queue behind a long query for longer
// than its lock's time, because everybody else would queue behind it.
func TestBusyTable(t *testing.T) {
	t.Parallel()
	content := pair(pair(map[string]string{}, 1, first, "DROP TABLE orders"), 2, "ALTER TABLE orders ALTER note SET NOT NULL", "ALTER TABLE orders ALTER note DROP NOT NULL")
	s := newShop(t, golangMigrate, content, first, "ALTER TABLE orders ALTER note SET NOT NULL", "INSERT INTO schema_migrations VALUES (2, false)")
	action := s.action(s.plan(driver.PlanRequest{Revision: "1"}))
	reader := realpg.Require(t).Connect(t, "postgres")
	tx, err := reader.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT * FROM "+s.name+".orders")
	require.NoError(t, err)
	_, err = s.inverse.Apply(t.Context(), action, "key")
	require.ErrorContains(t, err, codeLockNotAvailable)
	require.False(t, driver.Final(err), "a lock that somebody holds for a while is taken for final")
	require.NoError(t, tx.Rollback(t.Context()))
	out, err := driver.Execute(t.Context(), s.inverse, action, "key", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(t, err)
	require.True(t, out.Applied)
}

func TestGooseBefore(t *testing.T) {
	t.Parallel()
	content := map[string]string{}
	for n := 1; n <= 4; n++ {
		content[fmt.Sprintf("%d_m.sql", n)] = fmt.Sprintf("-- +goose Up\nCREATE VIEW v%d AS SELECT 1;\n-- +goose Down\nDROP VIEW v%d;\n", n, n)
	}
	views := "CREATE VIEW v1 AS SELECT 1; CREATE VIEW v2 AS SELECT 1; CREATE VIEW v3 AS SELECT 1"
	now := time.Now()
	row := func(version int, age time.Duration) string {
		return fmt.Sprintf("(%d, true, to_timestamp(%d))", version, now.Add(-age).Unix())
	}
	insert := "INSERT INTO goose_db_version (version_id, is_applied, tstamp) VALUES "
	base := insert + row(0, 9*time.Hour) + "," + row(1, 8*time.Hour)
	tests := []struct {
		name, rows string
		age        time.Duration
		want, says string
	}{
		{name: "two in one incident", rows: base + "," + row(2, time.Hour) + "," + row(3, time.Hour), age: 2 * time.Hour, want: "1"},
		{name: "the last", rows: base + "," + row(2, 3*time.Hour) + "," + row(3, time.Hour), age: 2 * time.Hour, want: "2"},
		{name: "all", rows: base + "," + row(2, 3*time.Hour) + "," + row(3, time.Hour), age: 8*time.Hour + time.Minute, want: "0"},
		{name: "out of order", rows: base + "," + row(3, 3*time.Hour) + "," + row(2, time.Hour), age: 2 * time.Hour, says: "out of order"},
		{name: "before the table", rows: base, age: 10 * time.Hour, says: "does not reach back"},
		{name: "no time", rows: base + "; INSERT INTO goose_db_version (version_id, is_applied, tstamp) VALUES (2, true, NULL)", age: 2 * time.Hour, says: "does not say when"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, goose, content, views, tt.rows)
			planned := s.plan(driver.PlanRequest{Before: now.Add(-tt.age)})
			if tt.says != "" {
				require.True(t, planned.Blocked())
				require.Contains(t, reasons(planned, incident.PreflightBlocked), tt.says)
				return
			}
			require.False(t, planned.Blocked(), "%v", planned.Preflight)
			require.Equal(t, tt.want, planned.To.Revision)
			require.True(t, planned.Reversible)
			_, err := s.inverse.Apply(t.Context(), s.action(planned), "key")
			require.NoError(t, err)
			source, err := s.set.Source(migrationKind, "db")
			require.NoError(t, err)
			changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: incident.Target{System: "db", Path: "shop"}, Since: now.Add(-24 * time.Hour), Until: now})
			require.NoError(t, err)
			require.Len(t, changes, int(tt.want[0]-'0'))
		})
	}
}

// TestReach shows that a credential that is refused is final, and is not
// told; and that a server that is away is not.
func TestReach(t *testing.T) {
	t.Parallel()
	server := realpg.Require(t)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("canary-wrong"), 0o600))
	settings := Settings{Host: server.Host, Port: server.Port, Database: "postgres", User: realpg.Admin, PasswordFile: password, TLS: TLS{Off: true}}
	reach := func() error {
		set, err := driver.Open(t.Context(), []driver.System{{Name: "db", Type: systemType, Decode: drivertest.Settings(settings)}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, set.Close()) })
		return set.Reach(t.Context(), "db")
	}
	err := reach()
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NotContains(t, err.Error(), "canary")
	require.NoError(t, os.WriteFile(password, []byte(server.AdminPassword()+"\n"), 0o600))
	require.NoError(t, reach())
	settings.Port = 1
	err = reach()
	require.ErrorIs(t, err, errInterrupted)
	require.False(t, driver.Final(err))
}
