package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backout/backout/integrations/driver"
)

// SQLSTATE codes that the driver tells apart.
// Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeUndefinedTable   = "42P01"
	codeUndefinedSchema  = "3F000"
	codeUndefinedObject  = "42704"
	codeDenied           = "42501"
	codeNoDatabase       = "3D000"
	codeLockNotAvailable = "55P03"
	codeReadOnly         = "25006"
)

// SQLSTATE codes of the driver's own, raised inside its transactions. PostgreSQL
// uses no class that begins with B.
const (
	// codeBusy means that the tool's lock is held.
	codeBusy = "BO001"
	// codeMoved means that the target is not what was compared with.
	codeMoved = "BO002"
)

var (
	// errBusy means that somebody else is changing the target right now.
	errBusy = errors.New("a change of it is under way")
	// errMoved means that the target changed between the observation and the
	// write.
	errMoved = errors.New("the target changed meanwhile")
)

// serverError is what the server refused, without its words: they may quote
// data.
type serverError struct {
	code string
	// where are the names of the table, column and constraint, as far as the
	// server named them.
	where []string
}

// Error says the code and the names.
func (e *serverError) Error() string {
	text := "the server refused with SQLSTATE " + e.code
	if meaning := meanings[e.code]; meaning != "" {
		text += " (" + meaning + ")"
	}
	if len(e.where) > 0 {
		text += " at " + strings.Join(e.where, ", ")
	}
	return text
}

// meanings are the codes that people meet.
var meanings = map[string]string{
	codeDenied: "insufficient privilege", codeUndefinedTable: "undefined table", codeUndefinedSchema: "undefined schema",
	codeUndefinedObject: "undefined object", codeNoDatabase: "undefined database", codeLockNotAvailable: "lock not available",
	"28P01": "invalid password", "28000": "invalid authorization", "42601": "syntax error", "42703": "undefined column",
	"42P07": "duplicate table", "42701": "duplicate column", "42710": "duplicate object", "2BP01": "dependent objects still exist",
	"23502": "not null violation", "23503": "foreign key violation", "23505": "unique violation", "23514": "check violation",
	"25001": "active transaction", codeReadOnly: "read-only transaction", "40001": "serialization failure", "40P01": "deadlock",
	"53300": "too many connections", "55006": "object in use", "57014": "cancelled", "57P01": "server shutting down", "57P03": "server starting up",
}

// errInterrupted means that the connection broke, or was never made: what was
// asked may have had its effect, or not.
var errInterrupted = errors.New("no answer from the server")

// refusal makes an error of the client one of the driver: final where trying again
// can not help, and without the server's words.
func refusal(err error) error {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
			if errors.Is(err, end) {
				return fmt.Errorf("%w: %w", errInterrupted, end)
			}
		}
		return errInterrupted
	}
	said := &serverError{code: answer.Code}
	for _, name := range []string{answer.TableName, answer.ColumnName, answer.ConstraintName} {
		if name != "" {
			said.where = append(said.where, printable(name, maxShown))
		}
	}
	switch class := answer.Code[:min(2, len(answer.Code))]; {
	case answer.Code == codeBusy:
		return errBusy
	case answer.Code == codeMoved:
		return errMoved
	case answer.Code == codeDenied, class == "28":
		return fmt.Errorf("%w: %w", driver.ErrDenied, said)
	case answer.Code == codeUndefinedTable, answer.Code == codeUndefinedSchema, answer.Code == codeNoDatabase:
		return fmt.Errorf("%w: %w", driver.ErrNotFound, said)
	case answer.Code == codeReadOnly: // A standby, until it is promoted.
	case strings.Contains(lasting, " "+class+" "):
		return fmt.Errorf("%w: %w", driver.ErrInvalid, said)
	}
	return said
}

// lasting are the classes of errors that the same request meets again: of data,
// constraints, syntax, objects that depend, and what is not supported.
const lasting = " 0A 21 22 23 25 2B 2F 38 39 42 44 P0 "
