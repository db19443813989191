package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	realpg "github.com/backout/backout/test/postgres"
)

// reader is a real schema with orders, and a counter of a role that may read it and no
// more.
type reader struct {
	schema, role string
	counter      driver.Counter
	admin        func(statements string)
}

func newReader(t *testing.T) *reader {
	t.Helper()
	server := realpg.Require(t)
	s := &reader{schema: realpg.Name("count"), role: realpg.Name("reader")}
	conn := server.Connect(t, "postgres")
	s.admin = func(statements string) {
		_, err := conn.PgConn().Exec(t.Context(), statements).ReadAll()
		require.NoError(t, err)
	}
	const password = "reader-of-orders"
	s.admin(fmt.Sprintf(`CREATE ROLE %[2]s LOGIN PASSWORD '%[3]s'; CREATE SCHEMA %[1]s;
		CREATE TABLE %[1]s.orders (id int, paid bool, note text);
		INSERT INTO %[1]s.orders SELECT g, g > 37, 'x' FROM generate_series(1, 100) g;
		CREATE TABLE %[1]s.hidden (id int);
		CREATE FUNCTION %[1]s.sneak() RETURNS int LANGUAGE sql AS 'DELETE FROM %[1]s.orders RETURNING 1';
		CREATE FUNCTION %[1]s.doze() RETURNS int LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN 1; END';
		GRANT USAGE ON SCHEMA %[1]s TO %[2]s; GRANT SELECT, DELETE ON %[1]s.orders TO %[2]s`, s.schema, s.role, password))
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(password), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "db", Type: systemType, Decode: drivertest.Settings(Settings{
		Host: server.Host, Port: server.Port, Database: "postgres", User: s.role, PasswordFile: file, TLS: TLS{Off: true},
	})}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	s.counter, err = set.Counter("db")
	require.NoError(t, err)
	return s
}

func (s *reader) count(t *testing.T, sql string) (int64, error) {
	t.Helper()
	return s.counter.Count(t.Context(), fmt.Sprintf(sql, s.schema))
}

// TestCountFollowsTheRepair counts what a bad version left, before and after people
// repair it.
func TestCountFollowsTheRepair(t *testing.T) {
	t.Parallel()
	s := newReader(t)
	const unpaid = "SELECT count(*) FROM %s.orders WHERE NOT paid -- without a payment"
	n, err := s.count(t, unpaid)
	require.NoError(t, err)
	require.EqualValues(t, 37, n)
	s.admin("UPDATE " + s.schema + ".orders SET paid = true WHERE id < 37")
	n, err = s.count(t, unpaid)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	s.admin("UPDATE " + s.schema + ".orders SET paid = true")
	n, err = s.count(t, unpaid)
	require.NoError(t, err)
	require.Zero(t, n)
}

// TestCountTakesNothingForACount tries each answer that is not one whole number, and
// what writes, waits or acts. None is a number, and nothing has changed.
func TestCountTakesNothingForACount(t *testing.T) {
	t.Parallel()
	s := newReader(t)
	for _, test := range []struct {
		name, sql, want string
		is              error
	}{
		{"no row", "SELECT id FROM %s.orders WHERE false", "yields no row", driver.ErrInvalid},
		{"two rows", "SELECT id FROM %s.orders LIMIT 2", "more than one row", driver.ErrInvalid},
		{"two columns", "SELECT count(*), max(id) FROM %s.orders", "2 columns", driver.ErrInvalid},
		{"NULL", "SELECT max(id) FROM %s.orders WHERE false", "yields NULL", driver.ErrInvalid},
		{"text that reads as a number", "SELECT '37' FROM %s.orders LIMIT 1", "no whole number", driver.ErrInvalid},
		{"a yes", "SELECT bool_and(paid) FROM %s.orders", "no whole number", driver.ErrInvalid},
		{"a floating point number", "SELECT count(*)::float8 FROM %s.orders", "no whole number", driver.ErrInvalid},
		{"a part", "SELECT avg(id) FROM %s.orders", "is not whole", driver.ErrInvalid},
		{"below zero", "SELECT -count(*) FROM %s.orders", "below zero", driver.ErrInvalid},
		{"too high", "SELECT count(*) + 1e18::numeric(19) FROM %s.orders", "too high", driver.ErrInvalid},
		{"not a number", "SELECT 'NaN'::numeric FROM %s.orders LIMIT 1", "is not whole", driver.ErrInvalid},
		{"a constant", "SELECT 0 /* %s */", "reads from no table", driver.ErrInvalid},
		{"a constant row", "VALUES (0) /* %s */", "reads from no table", driver.ErrInvalid},
		{"a write", "DELETE FROM %s.orders", "is not one SELECT", driver.ErrInvalid},
		{"a write behind a SELECT", "SELECT count(*) FROM %s.orders; DELETE FROM orders", "is not one SELECT", driver.ErrInvalid},
		{"a write in a function", "SELECT %[1]s.sneak() FROM %[1]s.orders LIMIT 1", "read-only transaction", nil},
		{"a nap", "SELECT count(pg_sleep(60)) FROM %s.orders", "calls pg_sleep", driver.ErrInvalid},
		{"a nap in a function", "SELECT %[1]s.doze() FROM %[1]s.orders LIMIT 1", "it took longer than 5s", nil},
		{"a table that it may not see", "SELECT count(*) FROM %s.hidden", "insufficient privilege", driver.ErrDenied},
		{"a table that is not there", "SELECT count(*) FROM %s.gone", "undefined table", driver.ErrNotFound},
		{"no SQL", "COUNT ALL THE ORDERS OF %s", "not understood", driver.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, err := s.count(t, test.sql)
			require.ErrorContains(t, err, test.want)
			require.Zero(t, n)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
		})
	}
	n, err := s.count(t, "SELECT sum(c)::bigint FROM (SELECT count(*) AS c FROM %s.orders) o")
	require.NoError(t, err)
	require.EqualValues(t, 100, n, "nothing is gone")
	n, err = s.count(t, "SELECT sum(c) FROM (SELECT count(*) AS c FROM %s.orders) o")
	require.NoError(t, err)
	require.EqualValues(t, 100, n, "a sum is numeric")
}

// TestCountRefusesWhatIsHidden gives the reader a policy that hides the rows which
// diverge. Counting the others would look as if they had been repaired.
func TestCountRefusesWhatIsHidden(t *testing.T) {
	t.Parallel()
	s := newReader(t)
	s.admin(fmt.Sprintf("ALTER TABLE %[1]s.orders ENABLE ROW LEVEL SECURITY; CREATE POLICY paid ON %[1]s.orders FOR SELECT TO %[2]s USING (paid)", s.schema, s.role))
	n, err := s.count(t, "SELECT count(*) FROM %s.orders WHERE NOT paid")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.Zero(t, n)
	s.admin("ALTER ROLE " + s.role + " BYPASSRLS")
	n, err = s.count(t, "SELECT count(*) FROM %s.orders WHERE NOT paid")
	require.NoError(t, err)
	require.EqualValues(t, 37, n)
}

func TestCountOfADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("secret"), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "db", Type: systemType, Decode: drivertest.Settings(Settings{
		Host: "127.0.0.1", Port: 1, Database: "postgres", User: "reader", PasswordFile: file, TLS: TLS{Off: true},
	})}})
	require.NoError(t, err)
	c, err := set.Counter("db")
	require.NoError(t, err)
	_, err = c.Count(t.Context(), "SELECT count(*) FROM orders")
	require.ErrorContains(t, err, "no answer from the server")
}
