package postgres

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		src  string
		want []string
	}{
		{"nothing", " \n-- only a comment\n/* and /* another */ */ ;;", nil},
		{"two", "SELECT 1; SELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"a comment at the end", "DROP TABLE a -- ; DROP TABLE b\n;SELECT 1 -- end", []string{"DROP TABLE a -- ; DROP TABLE b", "SELECT 1 -- end"}},
		{"semicolon in a string", `SELECT 'a;''b'; SELECT 1`, []string{`SELECT 'a;''b'`, "SELECT 1"}},
		{"backslash in a plain string", `SELECT 'a\'; SELECT 1`, []string{`SELECT 'a\'`, "SELECT 1"}},
		{"backslash in an escaped string", `SELECT e'a\';b'; SELECT 1`, []string{`SELECT e'a\';b'`, "SELECT 1"}},
		{"semicolon in a name", `DROP TABLE "a;""b"; SELECT 1`, []string{`DROP TABLE "a;""b"`, "SELECT 1"}},
		{"a body without quotes", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3", []string{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "SELECT 3"}},
		{"continued string with escapes", "SELECT E'a'\n'b\\';c'; SELECT 1", []string{"SELECT E'a'\n'b\\';c'", "SELECT 1"}},
		{"letters of several bytes", "SELECT 'äöü'; SELECT '€'", []string{"SELECT 'äöü'", "SELECT '€'"}},
		{"dollar quotes", "DO $a$ x; $b$ y; $a$; SELECT 1", []string{"DO $a$ x; $b$ y; $a$", "SELECT 1"}},
		{"dollar in a name", "SELECT a$b$ FROM c; SELECT $$;$$", []string{"SELECT a$b$ FROM c", "SELECT $$;$$"}},
		{"semicolon in parentheses", "CREATE RULE r AS ON DELETE TO a DO (SELECT 1; SELECT 2); SELECT 3", []string{"CREATE RULE r AS ON DELETE TO a DO (SELECT 1; SELECT 2)", "SELECT 3"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found, err := parse(tt.src)
			require.NoError(t, err)
			var texts []string
			for _, s := range found {
				texts = append(texts, s.text)
			}
			require.Equal(t, tt.want, texts)
		})
	}
}

// TestParseRefuses shows that what could be taken apart wrongly is not taken apart.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, src string }{
		{"open string", "SELECT 'a"},
		{"open escaped string", `SELECT E'a\'`},
		{"open name", `SELECT "a`},
		{"open comment", "SELECT 1 /* /* */"},
		{"open dollar quote", "DO $a$ x $b$"},
		{"open parenthesis", "SELECT (1; DROP TABLE a"},
		{"closed parenthesis", "SELECT 1)"},
		{"command of psql", `\copy a from b`},
		{"half a statement", "ALTER TABLE"},
		{"nested beyond the parser", "SELECT " + strings.Repeat("NOT ", 100_000) + "true"},
		{"nested functions", "SELECT " + strings.Repeat("f(", 10_000) + strings.Repeat(")", 10_000)},
		{"set operations with commas", "SELECT 1, 2" + strings.Repeat(" UNION ALL SELECT 1, 2", 10_000)},
		{"zero byte", "SELECT 1\x00"},
		{"not UTF-8", "SELECT '\xff'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(tt.src)
			require.ErrorIs(t, err, errNotUnderstood)
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sql  string
		want effect
		says string
	}{
		{"DROP TABLE IF EXISTS shop.orders", destroys, "drops the table shop.orders"},
		{`drop table "Orders" CASCADE`, destroys, "drops the table Orders and all that depends on it"},
		{"DROP SCHEMA shop", destroys, "drops the schema shop"},
		{"DROP SEQUENCE a", destroys, "drops the sequence a"},
		{"DROP MATERIALIZED VIEW a", destroys, "drops the materialized view a"},
		{"DROP VIEW a CASCADE", destroys, "all that depends on it"},
		{"DROP INDEX a", keeps, ""},
		{"DROP VIEW a, b", keeps, ""},
		{"DROP FUNCTION f(int, text)", keeps, ""},
		{"DROP INDEX CONCURRENTLY a", refused, "concurrently"},
		{"DROP DATABASE a", refused, "drops a database"},
		{"TRUNCATE TABLE ONLY orders", destroys, "empties orders"},
		{"DELETE FROM orders WHERE false", destroys, "deletes rows of orders"},
		{"UPDATE orders SET a = 1", destroys, "overwrites values in orders"},
		{"ALTER TABLE orders DROP COLUMN note", destroys, "drops the column note of orders"},
		{"ALTER TABLE orders DROP note", destroys, "drops the column note of orders"},
		{"ALTER TABLE orders ADD COLUMN a int, DROP COLUMN IF EXISTS b", destroys, "drops the column b of orders"},
		{"ALTER TABLE orders ALTER COLUMN total TYPE integer", destroys, "changes the type of total in orders"},
		{"ALTER TABLE orders ALTER total SET DATA TYPE varchar(10)", destroys, "changes the type of total"},
		{"ALTER TABLE orders ALTER total TYPE text USING left(total, 1)", destroys, "changes the type of total"},
		{"ALTER TABLE orders ALTER total TYPE text", keeps, ""},
		{"ALTER TABLE orders ALTER total SET NOT NULL, ALTER note DROP DEFAULT", keeps, ""},
		{"ALTER TABLE orders ADD COLUMN price numeric(10, 2) DEFAULT 0 NOT NULL", keeps, ""},
		{"ALTER TABLE orders ADD COLUMN price int DEFAULT erase_everything()", destroys, "function whose effects"},
		{"ALTER TABLE orders RENAME COLUMN a TO b", keeps, ""},
		{"ALTER TABLE orders DROP CONSTRAINT a", keeps, ""},
		{"ALTER TABLE orders DROP CONSTRAINT a CASCADE", destroys, "all that depends on it"},
		{"ALTER TABLE orders DETACH PARTITION a", destroys, "does not know"},
		{"ALTER TYPE mood RENAME VALUE 'a' TO 'b'", destroys, "does not know"},
		{"ALTER INDEX a RENAME TO b", keeps, ""},
		{"ALTER SYSTEM SET fsync = off", refused, "alters the system"},
		{"CREATE TABLE a (id bigint PRIMARY KEY, b text DEFAULT now())", keeps, ""},
		{"CREATE TABLE a AS SELECT erase_everything()", destroys, "a query"},
		{"CREATE UNIQUE INDEX a ON orders (b)", keeps, ""},
		{"CREATE INDEX CONCURRENTLY a ON orders (b)", refused, "concurrently"},
		{"CREATE EXTENSION a", destroys, "extension"},
		{"CREATE INDEX a ON orders (erase_everything(b))", destroys, "function whose effects"},
		{"CREATE INDEX a ON orders (lower(b))", keeps, ""},
		{"CREATE SCHEMA a CREATE TABLE b (id int)", keeps, ""},
		{"CREATE RULE a AS ON INSERT TO b DO DELETE FROM c", destroys, "does not know"},
		{"DROP TYPE mood", keeps, ""},
		{"DROP TYPE mood CASCADE", destroys, "drops the type mood and all that depends on it"},
		{"DROP TRIGGER t ON orders", keeps, ""},
		{"ALTER TABLE orders DETACH PARTITION a CONCURRENTLY", refused, "concurrently"},
		{"ALTER TABLE orders ALTER total TYPE text[]", destroys, "changes the type"},
		{"ALTER TABLE orders DROP COLUMN a CASCADE", destroys, "drops the column a of orders and all that depends on it"},
		{"TRUNCATE a, b", destroys, "empties a"},
		{"INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING", keeps, ""},
		{"INSERT INTO a VALUES ((SELECT 1))", destroys, "may change more"},
		{"INSERT INTO a VALUES (other.now())", destroys, "may change more"},
		{"COPY a FROM STDIN", refused, "client"},
		{"ALTER DATABASE a RENAME TO b", refused, "alters a database"},
		{"ANALYZE a", keeps, ""},
		{"GRANT a TO b", refused, "who has a role"},
		{"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END", keeps, ""},
		{"INSERT INTO a (b) VALUES (1, 'x'), (2, now())", keeps, ""},
		{"INSERT INTO a VALUES (erase_everything())", destroys, "may change more than it adds"},
		{"INSERT INTO a VALUES (1) ON CONFLICT (b) DO UPDATE SET c = 1", destroys, "may change more"},
		{"INSERT INTO a SELECT 1", destroys, "may change more"},
		{"SELECT 'down SQL query'", keeps, ""},
		{"SELECT erase_everything()", destroys, "SELECT"},
		{"WITH a AS (DELETE FROM b RETURNING 1) SELECT 1", destroys, "SELECT"},
		{"DO $$ BEGIN DELETE FROM a; END $$", destroys, "DO"},
		{"COMMIT", refused, "controls the transaction"},
		{"ROLLBACK TO a", refused, "controls the transaction"},
		{"SET LOCAL lock_timeout = '1s'", keeps, ""},
		{"SET search_path TO a", keeps, ""},
		{"SET ROLE admin", refused, "setting of the session"},
		{"SET SESSION AUTHORIZATION admin", refused, "setting of the session"},
		{"SET standard_conforming_strings = off", refused, "setting of the session"},
		{"RESET ALL", refused, "setting of the session"},
		{"VACUUM a", refused, "VACUUM"},
		{"COMMENT ON TABLE a IS 'DROP TABLE b'", keeps, ""},
	}
	for _, tt := range tests {
		t.Run(tt.sql, func(t *testing.T) {
			t.Parallel()
			found, err := parse(tt.sql)
			require.NoError(t, err)
			worst := judgement{effect: keeps}
			for _, s := range found {
				for _, j := range judge(s) {
					if j.effect > worst.effect {
						worst = j
					}
				}
			}
			require.Equal(t, tt.want, worst.effect, "%q", worst.what)
			require.Contains(t, worst.what, tt.says)
		})
	}
}

func TestTakeApart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		down script
		want string
		says string
	}{
		{name: "missing", says: "does not exist"},
		{name: "empty", down: script{there: true, text: "-- nothing\n"}, says: "is empty"},
		{name: "a transaction around it", down: script{there: true, text: "begin;\nDROP INDEX a;\nCommit;"}, want: "DROP INDEX a\n;\n"},
		{name: "a transaction in the middle", down: script{there: true, text: "DROP INDEX a; COMMIT; DROP INDEX b"}, says: "controls the transaction"},
		{name: "an isolation level", down: script{there: true, text: "BEGIN ISOLATION LEVEL SERIALIZABLE; DROP INDEX a; COMMIT"}, says: "controls the transaction"},
		{name: "not understood", down: script{there: true, text: "SELECT 'a"}, says: "line 1"},
		{name: "obstacle", down: script{there: true, obstacle: "is a program"}, says: "is a program"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := takeApart(migration{version: 3, name: "x", down: tt.down}, "down")
			if tt.says != "" {
				var obstacle *obstacleError
				require.ErrorAs(t, err, &obstacle)
				require.Contains(t, obstacle.reason, tt.says)
				require.Contains(t, obstacle.reason, "The down step of version 3 (x)")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, s.text())
		})
	}
}
