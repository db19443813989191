package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// rows are the first rows of one SELECT. It is read through a cursor, so that the
// server never makes more rows than are kept, and refuses all that is not a SELECT. The
// server cuts each value before it sends it, so that none is longer on the wire than it
// is kept.
func (c queryCollector) rows(ctx context.Context, sql string, limit int) (answer, error) {
	got := answer{Columns: []string{}, Rows: [][]*string{}}
	err := c.server.with(ctx, func(s *session) error {
		return reading(ctx, s, statementTimeout, func() error {
			ctx, cancel := context.WithTimeout(ctx, queryTimeout)
			defer cancel()
			described, err := s.conn.Prepare(ctx, "", sql, nil)
			if err != nil {
				return refusal(err)
			}
			for _, f := range described.Fields {
				got.Columns = append(got.Columns, printable(f.Name, maxName))
			}
			n := len(got.Columns)
			if n == 0 || n > maxColumns {
				return fmt.Errorf("%w: the query has %d columns, want 1 to %d", errColumns, n, maxColumns)
			}
			// The message with parameters takes one statement only.
			if _, err := s.query(ctx, "DECLARE evidence NO SCROLL CURSOR FOR "+cutting(sql, n)); err != nil {
				return err
			}
			return got.fetch(ctx, s.conn, limit)
		})
	})
	return got, err
}

// leftOut is how the server begins what it sends in place of a value that is too long.
const leftOut = "(left out: "

// errColumns means that a query can not be shown.
var errColumns = errors.New("too wide or empty")

// cutting is a query whose values are text of at most one character more than is kept.
// A value is spelled by the server, as format does without a call of anything that
// somebody defined. OFFSET 0 keeps the server from working out a value once for each
// time that it is named here.
// Source: https://www.postgresql.org/docs/current/functions-string.html
func cutting(sql string, columns int) string {
	names, values := make([]string, columns), make([]string, columns)
	for i := range columns {
		names[i] = fmt.Sprintf("c%d", i+1)
		values[i] = fmt.Sprintf("CASE WHEN pg_catalog.pg_column_size(%[1]s) > %[2]d THEN pg_catalog.format('"+leftOut+"%%s bytes)', pg_catalog.pg_column_size(%[1]s)) "+
			"WHEN pg_catalog.pg_column_size(%[1]s) IS NOT NULL THEN pg_catalog.left(pg_catalog.format('%%s', %[1]s), %[3]d) END", names[i], maxStored, maxCell+1)
	}
	return "SELECT " + strings.Join(values, ", ") + " FROM (SELECT * FROM (\n" + sql + "\n) AS q(" + strings.Join(names, ", ") + ") OFFSET 0) AS q"
}

// fetch takes over rows until there are enough of them, or no more.
func (a *answer) fetch(ctx context.Context, conn *pgconn.PgConn, limit int) error {
	size, cut, left := 0, 0, ""
	batch := min(limit+1, max(1, maxFetched/len(a.Columns)))
	for more := true; more && left == ""; {
		result := conn.ExecParams(ctx, fmt.Sprintf("FETCH %d FROM evidence", batch), nil, nil, nil, nil).Read()
		if result.Err != nil {
			return refusal(result.Err)
		}
		more = len(result.Rows) == batch
		for _, columns := range result.Rows {
			kept, bytes, shortened := cells(columns)
			if len(a.Rows) == limit {
				left = fmt.Sprintf("only the first %d rows are kept: there are more", limit)
				break
			}
			if size += bytes; size > maxAnswer {
				left = fmt.Sprintf("only the first %d rows are kept: with the others they are longer than %d bytes", len(a.Rows), maxAnswer)
				break
			}
			a.Rows, cut = append(a.Rows, kept), cut+shortened
		}
	}
	if a.Note = left; cut > 0 {
		a.Note = strings.TrimPrefix(fmt.Sprintf("%s; values cut to %d characters, or left out: %d", left, maxCell, cut), "; ")
	}
	return nil
}

// cells are the values of a row as they are kept, with the length of all in bytes and
// how many of them are shortened.
func cells(columns [][]byte) (kept []*string, bytes, shortened int) {
	kept = make([]*string, len(columns))
	for i, column := range columns {
		if column == nil {
			continue
		}
		text := string(column)
		if r := []rune(text); len(r) > maxCell {
			text = string(r[:maxCell-1]) + "…"
			shortened++
		} else if strings.HasPrefix(text, leftOut) {
			shortened++
		}
		bytes += len(text)
		kept[i] = &text
	}
	return kept, bytes, shortened
}
