package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/backout/backout/integrations/driver"
)

// countKind is the name of the counter.
const countKind = "postgres.count"

func init() {
	driver.RegisterCounter(countKind, systemType, func(s *server) driver.Counter { return counter{s} })
}

// wholeTypes are the types of columns that hold whole numbers: int8, int2, int4 and
// numeric, which is what sums of int8 are. Text that reads as a number is no count.
// Source: https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
var wholeTypes = []uint32{20, 21, 23, 1700}

// wholeForm is how the server spells a whole number from zero up, of at most 18 digits.
var wholeForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`)

// counter counts in transactions that are read-only and rolled back, as the collector
// reads.
type counter struct{ server *server }

// CheckCount reports what keeps SQL from being a count that the database is asked for:
// it has to be one SELECT that reads something and does nothing else. What it yields is
// known only when it is asked.
func CheckCount(sql string) error {
	if _, problem := fit(sql); problem != "" {
		return errors.New(problem)
	}
	found, err := parse(sql)
	if err != nil {
		return err
	}
	reads := false
	node{found[0].kind: map[string]any(found[0].tree)}.each(func(kind string, _ node) {
		reads = reads || kind == "RangeVar" || kind == "RangeFunction"
	})
	if !reads {
		return errors.New("it reads from no table, so its answer would always be the same")
	}
	return nil
}

// Count asks one SELECT and returns the number in its one row. The server refuses to
// write, ends it after 5 seconds, and refuses where policies for rows would hide some
// of them: a count of what is left would look like less divergence than there is.
func (c counter) Count(ctx context.Context, sql string) (int64, error) {
	if err := CheckCount(sql); err != nil {
		return 0, fmt.Errorf("count: %w: %w", driver.ErrInvalid, err)
	}
	var n int64
	err := c.server.with(ctx, func(s *session) error {
		return reading(ctx, s, statementTimeout, func() error {
			// Source: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
			if _, err := s.run(ctx, "SET LOCAL row_security = off"); err != nil {
				return err
			}
			var err error
			n, err = s.one(ctx, sql)
			return err
		})
	})
	switch {
	case err == nil:
		return n, nil
	case isState(err, codeCancelled) && ctx.Err() == nil:
		return 0, fmt.Errorf("count: it took longer than %s: %w", statementTimeout, err)
	default:
		return 0, fmt.Errorf("count: %w", err)
	}
}

// one is the one whole number that a SELECT yields. It is read through a cursor, which
// takes nothing but a SELECT, and never more than two rows of it.
func (c *session) one(ctx context.Context, sql string) (int64, error) {
	// The message with parameters takes one statement only.
	if _, err := c.query(ctx, "DECLARE counted NO SCROLL CURSOR FOR "+sql); err != nil {
		return 0, err
	}
	got := c.conn.ExecParams(ctx, "FETCH 2 FROM counted", nil, nil, nil, nil).Read()
	if got.Err != nil {
		return 0, refusal(got.Err)
	}
	wrong := func(format string, args ...any) (int64, error) {
		return 0, fmt.Errorf("%w: %s", driver.ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case len(got.Rows) == 0: // Its columns are not known then.
		return wrong("the query yields no row, and one is needed: count rows, with count(*)")
	case len(got.FieldDescriptions) != 1:
		return wrong("the query yields %d columns, and one is needed", len(got.FieldDescriptions))
	case !slices.Contains(wholeTypes, got.FieldDescriptions[0].DataTypeOID):
		return wrong("the query yields no whole number: count rows, with count(*)")
	case len(got.Rows) > 1:
		return wrong("the query yields more than one row, and one is needed: count rows, with count(*)")
	case got.Rows[0][0] == nil:
		return wrong("the query yields NULL, which is no count")
	case !wholeForm.Match(got.Rows[0][0]):
		return wrong("the query yields a number that is not whole, is below zero or is too high")
	}
	return strconv.ParseInt(string(got.Rows[0][0]), 10, 64)
}
