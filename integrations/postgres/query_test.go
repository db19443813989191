package postgres

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	realpg "github.com/backout/backout/test/postgres"
	"github.com/backout/backout/workflows/incident"
)

// asker is a connection of the collector's to the real server, as the superuser: who
// may do anything is kept from writing all the same.
type asker struct {
	collector driver.Collector
	schema    string
	admin     func(statements string)
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	server := realpg.Require(t)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(server.AdminPassword()), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "db", Type: systemType, Decode: drivertest.Settings(Settings{
		Host: server.Host, Port: server.Port, Database: "postgres", User: realpg.Admin, PasswordFile: password, TLS: TLS{Off: true},
	})}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	a := &asker{schema: realpg.Name("query")}
	a.collector, err = set.Collector(queryKind, "db")
	require.NoError(t, err)
	conn := server.Connect(t, "postgres")
	a.admin = func(statements string) {
		_, err := conn.PgConn().Exec(t.Context(), statements).ReadAll()
		require.NoError(t, err)
	}
	a.admin("CREATE SCHEMA " + a.schema)
	return a
}

func (a *asker) ask(t *testing.T, name string, params map[string]string) (answer, string, error) {
	t.Helper()
	docs, err := a.collector.Collect(t.Context(), driver.CollectRequest{Target: incident.Target{System: "db", Path: name}, Params: params})
	if err != nil {
		require.Empty(t, docs)
		return answer{}, "", err
	}
	require.Len(t, docs, 1)
	require.Equal(t, "application/json", docs[0].MediaType)
	require.Equal(t, "postgres.query "+name, docs[0].Name)
	var got answer
	require.NoError(t, json.Unmarshal(docs[0].Content, &got))
	require.Equal(t, name, got.Query)
	return got, string(docs[0].Content), nil
}

func TestQueriesOfBackoutsOwn(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	for name := range questions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := a.ask(t, name, nil)
			require.NoError(t, err)
			require.NotEmpty(t, got.Columns)
		})
	}
}

// TestLocksAndTransactions has one transaction wait for another, and both are seen,
// without the literals of what they asked.
func TestLocksAndTransactions(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.admin("CREATE TABLE " + a.schema + ".orders (id int, note text)")
	canary := "canary-" + rand.Text()
	server := realpg.Require(t)
	holder, waiter := server.Connect(t, "postgres"), server.Connect(t, "postgres")
	_, err := holder.PgConn().Exec(t.Context(), fmt.Sprintf("SET application_name = 'h%s'; BEGIN; LOCK TABLE %s.orders; SELECT '%s', 4711", a.schema, a.schema, canary)).ReadAll()
	require.NoError(t, err)
	waited := make(chan error, 1)
	go func() {
		_, err := waiter.PgConn().Exec(t.Context(), fmt.Sprintf("SET application_name = 'w%s'; UPDATE %s.orders SET note = '%s' WHERE id = 4711", a.schema, a.schema, canary)).ReadAll()
		waited <- err
	}()
	var locks, all string
	require.Eventually(t, func() bool {
		_, locks, err = a.ask(t, "locks", nil)
		return err == nil && strings.Contains(locks, "w"+a.schema)
	}, 20*time.Second, 20*time.Millisecond)
	require.Contains(t, locks, a.schema+".orders")
	require.Contains(t, locks, fmt.Sprintf(`"{%d}"`, holder.PgConn().PID()), "it says who is in the way")
	_, all, err = a.ask(t, "transactions", nil)
	require.NoError(t, err)
	require.Contains(t, all, "h"+a.schema)
	for _, text := range []string{locks, all} {
		require.NotContains(t, text, canary)
		require.NotContains(t, text, "4711")
	}
	_, err = holder.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
	require.NoError(t, err)
	require.NoError(t, <-waited)
}

func TestRowCounts(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.admin(fmt.Sprintf(`CREATE TABLE %[1]s.orders AS SELECT g AS id FROM generate_series(1, 42) g; CREATE TABLE %[1]s."Lines" (id int);
		CREATE VIEW %[1]s.slow AS SELECT id FROM %[1]s.orders WHERE pg_sleep(60) IS NULL`, a.schema))
	got, _, err := a.ask(t, rowCounts, map[string]string{paramTables: fmt.Sprintf("%[1]s.orders, %[1]s.Lines,%[1]s.slow, %[1]s.gone", a.schema)})
	require.NoError(t, err)
	require.Len(t, got.Rows, 4)
	require.Equal(t, []string{"table", "rows", "how"}, got.Columns)
	require.Equal(t, "42", *got.Rows[0][1])
	require.Equal(t, "counted", *got.Rows[0][2])
	require.Equal(t, "0", *got.Rows[1][1])
	require.Contains(t, *got.Rows[2][2], "estimated by the server: counting took longer than 2s")
	require.Nil(t, got.Rows[3][1])
	require.Contains(t, *got.Rows[3][2], "undefined table")
}

func TestQueryOfARunbook(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.admin(fmt.Sprintf("CREATE TABLE %[1]s.orders AS SELECT g AS id, NULL::text AS note FROM generate_series(1, 5000) g", a.schema))
	from := " FROM " + a.schema + ".orders"
	for _, test := range []struct {
		name, sql, rows string
		want            int
		note            string
	}{
		{"a few rows", "SELECT id, note" + from + " WHERE id <= 3 ORDER BY id -- the first", "", 3, ""},
		{"none", "SELECT id" + from + " WHERE false", "", 0, ""},
		{"more than are kept", "SELECT id" + from + " ORDER BY id", "", 200, "only the first 200 rows are kept: there are more"},
		{"as many as are asked for", "SELECT id" + from + " ORDER BY id", "2", 2, "only the first 2 rows are kept: there are more"},
		{"long values", "SELECT repeat('x', 900)" + from, "1000", 582, "only the first 582 rows are kept: with the others they are longer than 524288 bytes"},
		{"a common table expression", "WITH o AS (SELECT count(*) AS n" + from + ") SELECT n, pg_size_pretty(1024::bigint) FROM o", "", 1, ""},
		{"VALUES", "VALUES (1), (2)", "", 2, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			params := map[string]string{paramSQL: test.sql}
			if test.rows != "" {
				params[paramRows] = test.rows
			}
			got, _, err := a.ask(t, "stuck-orders", params)
			require.NoError(t, err)
			require.Len(t, got.Rows, test.want)
			require.Equal(t, test.note, got.Note)
		})
	}
	got, _, err := a.ask(t, "null", map[string]string{paramSQL: "SELECT NULL, repeat('ö', 2000)"})
	require.NoError(t, err)
	require.Nil(t, got.Rows[0][0])
	require.Len(t, []rune(*got.Rows[0][1]), 1000)
	require.Equal(t, "values cut to 1000 characters, or left out: 1", got.Note)
}

// TestValuesAreCutOnTheServer shows that a value of many bytes does not come over the
// wire, and what is said in its place, for types of all sorts.
func TestValuesAreCutOnTheServer(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.admin(fmt.Sprintf(`CREATE TABLE %[1]s.blobs (id int, body text, raw bytea); ALTER TABLE %[1]s.blobs ALTER body SET STORAGE EXTERNAL;
		INSERT INTO %[1]s.blobs SELECT g, repeat('x', g * 1000), convert_to(repeat('y', g * 1000), 'UTF8') FROM generate_series(1, 3) g;
		INSERT INTO %[1]s.blobs VALUES (4, repeat('x', 24 << 20), NULL)`, a.schema))
	server := newWire(t, realpg.Require(t))
	a.collector = server.collector(t)
	got, _, err := a.ask(t, "blobs", map[string]string{paramSQL: "SELECT id, body, raw FROM " + a.schema + ".blobs ORDER BY id;"})
	require.NoError(t, err)
	require.Equal(t, []string{"id", "body", "raw"}, got.Columns)
	require.Len(t, got.Rows, 4)
	require.Equal(t, strings.Repeat("x", 1000), *got.Rows[0][1])
	require.Equal(t, strings.Repeat("x", 999)+"…", *got.Rows[1][1])
	require.Equal(t, `\x7979`, (*got.Rows[0][2])[:6])
	require.Equal(t, "(left out: 25165824 bytes)", *got.Rows[3][1])
	require.Nil(t, got.Rows[3][2])
	require.Equal(t, "values cut to 1000 characters, or left out: 6", got.Note)
	require.Less(t, server.received.Load(), int64(64<<10), "it came over the wire")

	got, _, err = a.ask(t, "sorts", map[string]string{paramSQL: `SELECT true AS a, '{"b":1}'::json AS a, ROW(1, NULL), ARRAY[1, NULL], 'c'::char(3), now() - now(), NULL::int, 1.50, ROW(NULL, NULL) -- and no more`})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "a", "row", "array", "bpchar", "?column?", "int4", "?column?", "row"}, got.Columns)
	var values []string
	for _, v := range got.Rows[0] {
		if v == nil {
			values = append(values, "NULL")
			continue
		}
		values = append(values, *v)
	}
	require.Equal(t, []string{"t", `{"b":1}`, "(1,)", "{1,NULL}", "c  ", "00:00:00", "NULL", "1.50", "(,)"}, values)
	require.Empty(t, got.Note)

	// Many columns come in several parts, and stop coming when there is enough.
	wide := "SELECT " + strings.TrimSuffix(strings.Repeat("repeat('w', 999), ", 100), ", ") + " FROM generate_series(1, 900)"
	before := server.received.Load()
	got, _, err = a.ask(t, "wide", map[string]string{paramSQL: wide, paramRows: "900"})
	require.NoError(t, err)
	require.Len(t, got.Rows, 5)
	require.Contains(t, got.Note, "only the first 5 rows are kept: with the others they are longer than 524288 bytes")
	require.Less(t, server.received.Load()-before, int64(4<<20))
	for _, sql := range []string{"SELECT", "SELECT 1" + strings.Repeat(", 1", 100)} {
		_, _, err = a.ask(t, "columns", map[string]string{paramSQL: sql})
		require.ErrorContains(t, err, "columns, want 1 to 100")
	}
}

// wire counts what a server sends.
type wire struct {
	address  string
	received atomic.Int64
}

// newWire is a way to the server that counts.
func newWire(t *testing.T, server *realpg.Server) *wire {
	t.Helper()
	w := &wire{}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.address = l.Addr().String()
	var serving sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		serving.Wait()
	})
	serving.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Address())
			if err != nil {
				_ = near.Close()
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(far, near) // Until the driver hangs up.
				_ = far.Close()
			})
			serving.Go(func() {
				_, _ = io.Copy(near, io.TeeReader(far, w))
				_ = near.Close()
			})
		}
	})
	return w
}

// Write counts.
func (w *wire) Write(p []byte) (int, error) {
	w.received.Add(int64(len(p)))
	return len(p), nil
}

// collector is one that goes this way.
func (w *wire) collector(t *testing.T) driver.Collector {
	t.Helper()
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(realpg.Require(t).AdminPassword()), 0o600))
	host, port, err := net.SplitHostPort(w.address)
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	set, err := driver.Open(t.Context(), []driver.System{{Name: "db", Type: systemType, Decode: drivertest.Settings(Settings{
		Host: host, Port: number, Database: "postgres", User: realpg.Admin, PasswordFile: password, TLS: TLS{Off: true},
	})}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	c, err := set.Collector(queryKind, "db")
	require.NoError(t, err)
	return c
}

// TestQueryChangesNothing tries what writes, waits or acts. It is refused before it is
// asked, by the server, or by the clock, and nothing has changed.
func TestQueryChangesNothing(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	a.admin(fmt.Sprintf(`CREATE TABLE %[1]s.orders AS SELECT g AS id FROM generate_series(1, 10) g; CREATE SEQUENCE %[1]s.seq;
		CREATE FUNCTION %[1]s.sneak() RETURNS int LANGUAGE sql AS 'DELETE FROM %[1]s.orders RETURNING 1';
		CREATE FUNCTION %[1]s.doze() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN 1; END'`, a.schema))
	for _, test := range []struct{ name, sql, want string }{
		{"a write", "DELETE FROM %[1]s.orders", "is not one SELECT"},
		{"a write behind a SELECT", "SELECT 1; DELETE FROM %[1]s.orders", "is not one SELECT"},
		{"the end of the transaction", "COMMIT", "is not one SELECT"},
		{"a write in a common table expression", "WITH d AS (DELETE FROM %[1]s.orders RETURNING 1) SELECT * FROM d", "SQLSTATE"},
		{"a write in a function", "SELECT %[1]s.sneak()", "read-only transaction"},
		{"a new table", "SELECT * INTO %[1]s.copy FROM %[1]s.orders", "leave INTO out"},
		{"locked rows", "SELECT * FROM %[1]s.orders FOR UPDATE", "leave FOR UPDATE"},
		{"a sequence", "SELECT nextval('%[1]s.seq')", "calls nextval"},
		{"an end to other sessions", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE false", "calls pg_terminate_backend"},
		{"the same with its schema", "SELECT PG_CATALOG.Pg_Cancel_Backend(1)", "calls pg_cancel_backend"},
		{"the same in quotes", `SELECT U&"pg\005freload_conf"()`, "calls pg_reload_conf"},
		{"the same deep inside", "SELECT 1 WHERE EXISTS (SELECT (SELECT lo_import('/etc/passwd')))", "calls lo_import"},
		{"a file", "SELECT pg_read_file('/etc/passwd')", "calls pg_read_file"},
		{"a setting", "SELECT set_config('role', 'postgres', false)", "calls set_config"},
		{"a nap", "SELECT pg_sleep(60)", "calls pg_sleep"},
		{"a nap in a function", "SELECT %[1]s.doze()", "57014"},
		{"no SQL", "DROP IT LIKE IT IS HOT", "not understood"},
		{"nothing", "-- nothing", "is not one SELECT"},
		{"too much", "SELECT '" + strings.Repeat("x", 9000) + "'", "longer than 8192 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sql := test.sql
			if strings.Contains(sql, "%[1]s") {
				sql = fmt.Sprintf(sql, a.schema)
			}
			_, _, err := a.ask(t, "own", map[string]string{paramSQL: sql})
			require.ErrorContains(t, err, test.want)
		})
	}
	got, _, err := a.ask(t, rowCounts, map[string]string{paramTables: a.schema + ".orders"})
	require.NoError(t, err)
	require.Equal(t, "10", *got.Rows[0][1])
}

func TestQueryRefusals(t *testing.T) {
	t.Parallel()
	a := newAsker(t)
	for _, test := range []struct {
		name, path string
		params     map[string]string
		want       string
	}{
		{"an unknown name", "lag", nil, "connections, locks, replication, slots, standby, transactions, row-counts"},
		{"a path", "a/b", nil, "the path is the name of a query"},
		{"an unknown parameter", "locks", map[string]string{"limit": "1"}, `parameter "limit": it is unknown: postgres.query knows sql, tables, rows`},
		{"a name of Backout's own", "locks", map[string]string{paramSQL: "SELECT 1"}, "give the one of sql another name"},
		{"tables of another query", "locks", map[string]string{paramTables: "a.b"}, `belongs to the query "row-counts"`},
		{"no rows", "locks", map[string]string{paramRows: ""}, "between 1 and 1000"},
		{"SQL that writes", "orders", map[string]string{paramSQL: "DELETE FROM orders"}, "sql is not one SELECT"},
		{"no tables", rowCounts, nil, "set tables to tables with their schemas"},
		{"a table without a schema", rowCounts, map[string]string{paramTables: "orders"}, `"orders" is none`},
		{"SQL for a table", rowCounts, map[string]string{paramTables: "a.b; DROP TABLE c"}, "is none"},
		{"too many tables", rowCounts, map[string]string{paramTables: strings.TrimSuffix(strings.Repeat("a.b,", 21), ",")}, "at most 20 are counted"},
		{"too many rows", "locks", map[string]string{paramRows: "1001"}, "between 1 and 1000"},
		{"no number of rows", "locks", map[string]string{paramRows: "all"}, "between 1 and 1000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := a.ask(t, test.path, test.params)
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.ErrorContains(t, err, test.want)
		})
	}
}
