package postgres

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	realpg "github.com/backout/backout/test/postgres"
	"github.com/backout/backout/workflows/incident"
)

func TestUnframed(t *testing.T) {
	t.Parallel()
	const body = "CREATE FUNCTION f() AS $$\n\\restrict x\nSET transaction_timeout = 0;\n\\unrestrict k\n$$;\n"
	for _, tt := range []struct{ name, script, want string }{
		{"nothing", "", ""},
		{"no frame", "--\n\nSET a = 1;\nCREATE TABLE a ();\n", "--\n\nSET a = 1;\nCREATE TABLE a ();\n"},
		{"a frame", "-- x\n\\restrict k\n\nSET transaction_timeout = 0;\nSET a = 1;\n" + body + "\n\\unrestrict k\n\n", "-- x\n\nSET a = 1;\n" + body + "\n"},
		{"a frame around nothing", "\\restrict k\n\n\\unrestrict k\n", "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, unframed(tt.script))
		})
	}
}

// TestRowBlock shows that a block of rows ends at its mark and nowhere else, whatever
// the buffer, and that one that does not end is an error.
func TestRowBlock(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100)
	for _, tt := range []struct {
		name, script, want, rest string
		rows                     int64
		fails                    bool
	}{
		{name: "empty", script: "\\.\nSELECT 1;\n", rest: "SELECT 1;\n"},
		{name: "rows", script: "1\ta\n2\tb\n\\.\n\n", want: "1\ta\n2\tb\n", rest: "\n", rows: 2},
		{name: "a row longer than the buffer", script: long + "\n2\n\\.\n", want: long + "\n2\n", rows: 2},
		{name: "a mark at the end of a part", script: long[:14] + "\\.\n3\n\\.\n", want: long[:14] + "\\.\n3\n", rows: 2},
		{name: "an empty row", script: "\n\\.\n", want: "\n", rows: 1},
		{name: "cut off", script: "1\n2\n", fails: true},
		{name: "cut off in the mark", script: "1\n\\.", fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := bufio.NewReaderSize(strings.NewReader(tt.script), 16)
			block := &rowBlock{script: in}
			got, err := io.ReadAll(iotest.OneByteReader(block))
			if tt.fails {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, string(got))
			require.Equal(t, tt.rows, block.rows)
			rest, err := io.ReadAll(in)
			require.NoError(t, err)
			require.Equal(t, tt.rest, string(rest))
		})
	}
}

func TestReadContents(t *testing.T) {
	t.Parallel()
	c, err := readContents("a.dump", ";\n; Archive created at 2026-11-01 03:00:05 UTC\n;     dbname: shop\n;     Dumped from database version: 15.14 (Debian 15.14-0)\n;\n")
	require.NoError(t, err)
	require.Equal(t, contents{created: time.Date(2026, 11, 1, 3, 0, 5, 0, time.UTC), database: "shop", server: 15}, c)
	_, err = readContents("a.dump", "; dbname: shop\n")
	require.ErrorContains(t, err, "when it was made")
	_, err = readContents("a.dump", "; Archive created at yesterday\n")
	require.ErrorContains(t, err, "malformed")
}

// depot is a database on the real server, the dumps of it, and a connection of
// Backout's as the superuser: what may be done is the business of the laws.
type depot struct {
	t       *testing.T
	server  *realpg.Server
	name    string
	folder  string
	admin   *pgx.Conn
	set     *driver.Set
	inverse driver.Inverse
}

// createTable is held while the table is created: PostgreSQL does not let two
// sessions create one schema at once, whatever IF NOT EXISTS says.
var createTable sync.Mutex

func newDepot(t *testing.T, check string, statements string) *depot {
	t.Helper()
	server := realpg.Require(t)
	d := &depot{t: t, server: server, name: realpg.Name("depot"), folder: t.TempDir(), admin: server.Connect(t, "postgres")}
	d.exec("CREATE DATABASE " + d.name)
	createTable.Lock()
	d.exec(RestoreTable)
	createTable.Unlock()
	t.Cleanup(d.drop)
	d.in(d.name, statements)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(server.AdminPassword()), 0o600))
	settings := Settings{
		Host: server.Host, Port: server.Port, Database: "postgres", User: realpg.Admin, PasswordFile: password, TLS: TLS{Off: true},
		Restores: []Restore{{Name: "depot", Database: d.name, Folder: d.folder, Owner: realpg.Admin, Check: check, Programs: server.Programs}},
	}
	var err error
	d.set, err = driver.Open(t.Context(), []driver.System{{Name: "db", Type: systemType, Decode: drivertest.Settings(settings)}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.set.Close()) })
	d.inverse, err = d.set.Inverse(restoreKind, "db")
	require.NoError(t, err)
	return d
}

func (d *depot) exec(statements string) {
	d.t.Helper()
	_, err := d.admin.PgConn().Exec(d.t.Context(), statements).ReadAll()
	require.NoError(d.t, err)
}

// in runs statements in a database, and returns the first value of the last one.
func (d *depot) in(database, statements string) string {
	d.t.Helper()
	conn := d.server.Connect(d.t, database)
	defer func() { require.NoError(d.t, conn.Close(d.t.Context())) }()
	results, err := conn.PgConn().Exec(d.t.Context(), statements).ReadAll()
	require.NoError(d.t, err)
	if last := results[len(results)-1]; len(last.Rows) > 0 {
		return string(last.Rows[0][0])
	}
	return ""
}

func (d *depot) dump(name string, args ...string) {
	d.t.Helper()
	args = append([]string{"--format=custom", "--host=" + d.server.Host, fmt.Sprintf("--port=%d", d.server.Port), "--username=" + realpg.Admin, "--file=" + filepath.Join(d.folder, name)}, args...)
	cmd := exec.CommandContext(d.t.Context(), filepath.Join(d.server.Programs, "pg_dump"), append(args, d.name)...)
	cmd.Env = []string{"PGPASSWORD=" + d.server.AdminPassword()}
	said, err := cmd.CombinedOutput()
	require.NoError(d.t, err, "%s", said)
}

func (d *depot) databases() string {
	d.t.Helper()
	var names string
	require.NoError(d.t, d.admin.QueryRow(d.t.Context(), "SELECT coalesce(string_agg(replace(datname, $1, '@'), ' ' ORDER BY datname), '') FROM pg_database WHERE datname LIKE $1 || '%'", d.name).Scan(&names))
	return names
}

func (d *depot) drop() {
	ctx := context.WithoutCancel(d.t.Context())
	conn, err := pgx.Connect(ctx, d.server.URL(realpg.Admin, d.server.AdminPassword(), "postgres"))
	require.NoError(d.t, err)
	defer func() { require.NoError(d.t, conn.Close(ctx)) }()
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database WHERE datname LIKE $1 || '%'", d.name)
	require.NoError(d.t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(d.t, err)
	for _, name := range names {
		_, err := conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		require.NoError(d.t, err)
	}
}

func (d *depot) plan(req driver.PlanRequest) driver.Planned {
	d.t.Helper()
	req.Target = incident.Target{System: "db", Path: "depot"}
	planned, err := d.inverse.Plan(d.t.Context(), req)
	require.NoError(d.t, err)
	return planned
}

func (d *depot) action(p driver.Planned) incident.Action {
	d.t.Helper()
	require.False(d.t, p.Blocked(), "%v", p.Preflight)
	return incident.Action{
		Kind: restoreKind, Target: incident.Target{System: "db", Path: "depot"}, From: p.From, To: p.To,
		MaxTime: time.Minute, OnFailure: incident.OnFailureStop, Reversible: p.Reversible,
	}
}

// TestRestoreKeepsTheOriginal goes to a dump and back. The dump has what is easily
// restored wrongly; the database has rights and settings that no dump has.
func TestRestoreKeepsTheOriginal(t *testing.T) {
	t.Parallel()
	d := newDepot(t, "SELECT (SELECT total FROM totals) = 5001", `
		CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
		INSERT INTO orders (note) SELECT 'row ' || n FROM generate_series(1, 5000) n;
		INSERT INTO orders (note) VALUES (E'\\.\nCOPY orders (note) FROM stdin;\n\\.\t\\N');
		CREATE TABLE "a ""strange"" name" (big text);
		INSERT INTO "a ""strange"" name" SELECT repeat('x', 3000000);
		CREATE FUNCTION script() RETURNS text LANGUAGE sql AS $$ SELECT '
COPY orders FROM stdin;
\.
\unrestrict
' $$;
		CREATE VIEW totals AS SELECT count(*) AS total FROM orders;
		CREATE INDEX orders_note ON orders (note);
		SELECT lo_from_bytea(77777, 'large object');`)
	d.exec("CREATE ROLE " + d.name + "_app LOGIN PASSWORD 'app'; REVOKE ALL ON DATABASE " + d.name + " FROM PUBLIC; GRANT CONNECT ON DATABASE " + d.name + " TO " + d.name + "_app")
	d.exec("ALTER DATABASE " + d.name + ` SET search_path TO "$user", public, "odd one"`)
	d.dump("good.dump")
	d.in(d.name, "DELETE FROM orders WHERE id < 4000; DROP TABLE \"a \"\"strange\"\" name\"")

	client := d.server.ConnectAs(t, d.name+"_app", "app", d.name)
	action := d.action(d.plan(driver.PlanRequest{Revision: "good.dump"}))
	receipt, err := d.inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	require.Error(t, client.Ping(t.Context()), "a session of the original goes on")
	oid := strings.TrimPrefix(action.From.Revision, oidRevision)
	require.Equal(t, "@ @_was_"+oid, d.databases())
	require.Equal(t, "5001", d.in(d.name, "SELECT count(*) FROM orders"))
	require.Equal(t, "3000000", d.in(d.name, `SELECT length(big) FROM "a ""strange"" name"`))
	require.Equal(t, "5002", d.in(d.name, "INSERT INTO orders (note) VALUES ('new') RETURNING id"), "a sequence was not restored")
	require.Equal(t, "large object", d.in(d.name, "SELECT convert_from(lo_get(77777), 'UTF8')"))
	require.Equal(t, `"$user", public, "odd one"`, d.in(d.name, "SHOW search_path"), "a setting of the database was lost")
	require.Equal(t, "false", d.in(d.name, "SELECT has_database_privilege('public', current_database(), 'CONNECT')::text"), "the copy lets everybody in")
	require.Equal(t, "true", d.in(d.name, "SELECT has_database_privilege('"+d.name+"_app', current_database(), 'CONNECT')::text"))
	require.Equal(t, "1002", d.in(d.name+"_was_"+oid, "SELECT count(*) FROM orders"), "the original was written to")

	back := d.plan(driver.PlanRequest{Revision: action.From.Revision})
	require.Equal(t, action.From, back.To)
	receipt, err = d.inverse.Apply(t.Context(), action.Swapped(), "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	require.Equal(t, "1002", d.in(d.name, "SELECT count(*) FROM orders"))

	// A dump means a copy of it as it was, not one that was written to.
	_, err = d.inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.Equal(t, "5001", d.in(d.name, "SELECT count(*) FROM orders"))
}

// TestRestoreRefusesABadCopy shows that nothing is switched to a copy that is not
// whole, or does not pass the check, and that none is left behind.
func TestRestoreRefusesABadCopy(t *testing.T) {
	t.Parallel()
	d := newDepot(t, "SELECT count(*) = 3 FROM orders", "CREATE TABLE orders (id bigint); INSERT INTO orders VALUES (1), (2)")
	d.dump("two.dump")
	whole, err := os.ReadFile(filepath.Join(d.folder, "two.dump"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.folder, "text.dump"), []byte("SELECT 1;\n"), 0o600))

	action := d.action(d.plan(driver.PlanRequest{Revision: "two.dump"}))
	_, err = d.inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.ErrorContains(t, err, "does not hold")
	require.Equal(t, "@", d.databases(), "a copy that is not good was left behind")

	blocked := d.plan(driver.PlanRequest{Revision: "text.dump"})
	require.Contains(t, reasons(blocked, incident.PreflightBlocked), "can not be read")

	d.in(d.name, "INSERT INTO orders VALUES (3)")
	d.dump("three.dump")
	action = d.action(d.plan(driver.PlanRequest{Revision: "three.dump"}))
	require.NoError(t, os.WriteFile(filepath.Join(d.folder, "three.dump"), whole, 0o600))
	_, err = d.inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrNotFound, "another file under the name of the dump was taken for it")
	require.Equal(t, "@", d.databases())
}

// TestRestoreReplacesALeftover shows that what a killed attempt left behind is not
// taken for a copy.
func TestRestoreReplacesALeftover(t *testing.T) {
	t.Parallel()
	d := newDepot(t, "", "CREATE TABLE orders (id bigint); INSERT INTO orders VALUES (1), (2)")
	d.dump("two.dump", "--inserts")
	planned := d.plan(driver.PlanRequest{Revision: "two.dump"})
	require.Contains(t, reasons(planned, incident.PreflightWarning), "have no check")
	action := d.action(planned)
	content, err := os.ReadFile(filepath.Join(d.folder, "two.dump"))
	require.NoError(t, err)
	d.exec("CREATE DATABASE " + d.name + "_bo_" + incident.ShortDigest(incident.DigestOf(content)))
	_, err = d.inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.Equal(t, "2", d.in(d.name, "SELECT count(*) FROM orders"))
	require.Equal(t, "@ @_was_"+strings.TrimPrefix(action.From.Revision, oidRevision), d.databases())
}

func TestRestoreBefore(t *testing.T) {
	t.Parallel()
	d := newDepot(t, "", "CREATE TABLE orders (id bigint)")
	d.dump("one.dump")
	require.NoError(t, os.WriteFile(filepath.Join(d.folder, "README"), nil, 0o600))
	planned := d.plan(driver.PlanRequest{Before: time.Now().Add(time.Hour)})
	require.Equal(t, "one.dump", planned.To.Revision)
	require.Contains(t, strings.Join(planned.WontRevert, "\n"), "everything that was written to "+d.name+" since ")
	require.Contains(t, reasons(planned, incident.PreflightWarning), "is not in the dump")
	blocked := d.plan(driver.PlanRequest{Before: time.Now().Add(-time.Hour)})
	require.Contains(t, reasons(blocked, incident.PreflightBlocked), "do not reach back")
}
