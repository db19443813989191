package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// queryKind is the name of the collector that asks the database something.
const queryKind = "postgres.query"

// Bounds of what a query may cost and yield. They are Backout's own.
const (
	// statementTimeout ends a statement on the server. A count that takes longer is
	// replaced by an estimate.
	statementTimeout = 5 * time.Second
	// countTimeout is the same for the exact count of one table.
	countTimeout = 2 * time.Second
	// defaultRows and maxRows are how many rows are kept, and how many may be asked
	// for.
	defaultRows = 200
	maxRows     = 1000
	// maxCell bounds one value, in characters, and maxAnswer all of them, in bytes.
	maxCell   = 1000
	maxAnswer = 512 << 10
	// maxStored is how long a value may be as the server stores it, in bytes, to be
	// looked at: of one that is longer the server would need many times its length.
	maxStored = 4 << 20
	// maxColumns is how many columns a query may have.
	maxColumns = 100
	// maxFetched is how many values are asked for at one time: no more come over the
	// wire when those before are enough.
	maxFetched = 2000
	// maxTables is how many tables are counted.
	maxTables = 20
	// maxQuery bounds a query of a runbook, in bytes.
	maxQuery = 8 << 10
)

// rowCounts is the path under which the rows of tables are counted.
const rowCounts = "row-counts"

func init() {
	driver.RegisterCollector(queryKind, systemType, func(s *server) driver.Collector { return queryCollector{s} })
	driver.RegisterParams(queryKind, func(target incident.Target, params map[string]string) error {
		_, err := readQuestion(target.Path, params)
		return err
	})
}

// queryCollector asks the database something, in transactions that are read-only and
// rolled back.
type queryCollector struct{ server *server }

// answer is what was asked, as evidence. A value that is NULL is null, and everything
// else is text as the server spells it.
type answer struct {
	Query   string      `json:"query"`
	Columns []string    `json:"columns"`
	Rows    [][]*string `json:"rows"`
	// Note says what was left out.
	Note string `json:"note,omitempty"`
}

// Collect answers the question that the path of the target names: "replication",
// "standby", "slots", "locks", "transactions" or "connections", which are Backout's
// own; "row-counts" of the tables of the parameter "tables"; or any other name, for
// the one SELECT of the parameter "sql". With "rows" at most so many rows are kept,
// 200 without it.
func (c queryCollector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	q, err := readQuestion(req.Target.Path, req.Params)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	var got answer
	if len(q.tables) > 0 {
		got, err = c.counts(ctx, q.tables)
	} else {
		got, err = c.rows(ctx, q.sql, q.limit)
	}
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	got.Query = q.name
	content, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode answer of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: queryKind + " " + q.name, MediaType: "application/json", Content: content}}, nil
}

// reading does something in a transaction that can not write, and rolls it back.
func reading(ctx context.Context, s *session, timeout time.Duration, do func() error) error {
	begin := fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d",
		timeout.Milliseconds(), timeout.Milliseconds(), 2*timeout.Milliseconds())
	if _, err := s.run(ctx, begin); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	_, err := s.run(ctx, "ROLLBACK")
	return err
}

// counts counts the rows of tables. Where counting takes too long, it is the estimate
// of the server. What can not be counted says why in place of a number.
func (c queryCollector) counts(ctx context.Context, tables []objectName) (answer, error) {
	got := answer{Columns: []string{"table", "rows", "how"}, Rows: [][]*string{}}
	err := c.server.with(ctx, func(s *session) error {
		for _, t := range tables {
			rows, how, err := s.count(ctx, t)
			if err != nil {
				return err
			}
			row := []*string{&t.shown, nil, &how}
			if rows != "" {
				row[1] = &rows
			}
			got.Rows = append(got.Rows, row)
		}
		return nil
	})
	return got, err
}

// count counts the rows of one table, and says how. An error means that the server does
// not answer.
func (c *session) count(ctx context.Context, t objectName) (rows, how string, err error) {
	one := func(sql string, args ...string) error {
		err := reading(ctx, c, countTimeout, func() error {
			found, err := c.query(ctx, sql, args...)
			if err == nil && len(found) == 1 && !found[0][0].null {
				rows = found[0][0].text
			}
			return err
		})
		if err != nil && c.conn.TxStatus() != txIdle {
			if _, back := c.run(ctx, "ROLLBACK"); back != nil {
				return errInterrupted
			}
		}
		return err
	}
	err = one("SELECT pg_catalog.count(*) FROM " + t.quoted)
	switch {
	case err == nil:
		return rows, "counted", nil
	case isState(err, codeCancelled) && ctx.Err() == nil:
		// The count was too slow.
	case isServer(err):
		return "", err.Error(), nil
	default:
		return "", "", err
	}
	if err = one("SELECT nullif(reltuples, -1)::bigint FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)", t.quoted); err != nil {
		return "", "", err
	}
	return rows, fmt.Sprintf("estimated by the server: counting took longer than %s", countTimeout), nil
}
