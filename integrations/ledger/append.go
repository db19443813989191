package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/backout/backout/workflows/incident"
)

// Append writes an entry durably before it returns. An entry whose ID is there
// with the same content (all fields but At) is left as it is with its first
// At, and Recorded.Existed says so.
//
// Errors: ErrConflict when the ID is there with other content, ErrInvalid for
// an entry that can not be recorded, ErrTampered, ErrReadOnly. After any other
// error the entry may or may not be there, and the same call can be repeated.
func (l *Ledger) Append(ctx context.Context, e incident.Entry) (incident.Recorded, error) {
	if l.write == nil {
		return incident.Recorded{}, fmt.Errorf("append entry %q: %w", e.ID, ErrReadOnly)
	}
	want, err := newRow(e)
	if err != nil {
		return incident.Recorded{}, fmt.Errorf("append entry %q: %w", e.ID, err)
	}
	got, existed, err := l.insert(ctx, want)
	if err != nil {
		return incident.Recorded{}, fmt.Errorf("append entry %q: %w", e.ID, err)
	}
	l.appended()
	if err := l.publish(ctx); err != nil {
		return incident.Recorded{}, fmt.Errorf("append entry %q: %w", e.ID, err)
	}
	return got.recorded(existed)
}

// insert commits the row, or finds the one that is there.
func (l *Ledger) insert(ctx context.Context, want row) (got row, existed bool, err error) {
	tx, err := l.write.BeginTx(ctx, nil)
	if err != nil {
		return row{}, false, err
	}
	defer rollback(tx)
	end, err := l.settleHead(ctx, tx)
	if err != nil {
		return row{}, false, err
	}
	got, err = scan(tx.QueryRowContext(ctx, "SELECT "+columns+" FROM entries WHERE id = ?", want.id))
	switch {
	case err == nil && got.hash != got.digest():
		return row{}, false, fmt.Errorf("entry %d does not match its hash: %w", got.seq, ErrTampered)
	case err == nil && !got.sameContent(want):
		return row{}, false, fmt.Errorf("entry %d: %w", got.seq, ErrConflict)
	case err == nil:
		return got, true, nil
	case !errors.Is(err, sql.ErrNoRows):
		return row{}, false, err
	}
	want.seq, want.prev = end.Seq+1, end.Hash
	want.hash = want.digest()
	if _, err := tx.ExecContext(ctx, "INSERT INTO entries ("+columns+") VALUES (?,?,?,?,?,?,?,?,?,?)",
		want.seq, want.id, want.incident, want.kind, want.at, want.actor, want.text, want.payload, want.prev, want.hash); err != nil {
		return row{}, false, err
	}
	if err := tx.Commit(); err != nil {
		return row{}, false, err
	}
	return want, false, nil
}

// publish brings the head file up to the end of the ledger after a commit.
func (l *Ledger) publish(ctx context.Context) error {
	tx, err := l.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer rollback(tx)
	_, err = l.settleHead(ctx, tx)
	return err
}

// settleHead compares the head file with the end of the ledger under the write
// lock and brings it up when it is one entry behind. It returns the end.
func (l *Ledger) settleHead(ctx context.Context, tx *sql.Tx) (Head, error) {
	kept, found, err := readHead(l.path)
	if err != nil {
		return Head{}, err
	}
	last, err := scan(tx.QueryRowContext(ctx, "SELECT "+columns+" FROM entries ORDER BY seq DESC LIMIT 1"))
	if errors.Is(err, sql.ErrNoRows) {
		if found && kept.Seq != 0 {
			return Head{}, fmt.Errorf("entries 1 to %d are missing: %w", kept.Seq, ErrTampered)
		}
		if found {
			return Head{}, nil
		}
		return Head{}, writeHead(l.path, Head{})
	}
	if err != nil {
		return Head{}, err
	}
	end := Head{Seq: last.seq, Hash: last.hash}
	switch {
	case !found:
		return Head{}, fmt.Errorf("the head file is missing: %w", ErrTampered)
	case last.hash != last.digest():
		return Head{}, fmt.Errorf("entry %d does not match its hash: %w", last.seq, ErrTampered)
	case kept == end:
		return end, nil
	case kept.Seq == last.seq-1 && kept.Hash == last.prev:
		return end, writeHead(l.path, end)
	default:
		return Head{}, fmt.Errorf("the ledger ends with entry %d, and its head file names entry %d: %w", last.seq, kept.Seq, ErrTampered)
	}
}
