package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/backout/backout/workflows/incident"
)

// MaxBatch is how many entries AppendAll takes at a time: as many as the head file
// may be behind the ledger.
const MaxBatch = 64

// Append writes an entry durably before it returns. An entry whose ID is there
// with the same content (all fields but At) is left as it is with its first
// At, and Recorded.Existed says so.
//
// Errors: ErrConflict when the ID is there with other content, ErrInvalid for
// an entry that can not be recorded, ErrTampered, ErrReadOnly. After any other
// error the entry may or may not be there, and the same call can be repeated.
func (l *Ledger) Append(ctx context.Context, e incident.Entry) (incident.Recorded, error) {
	recorded, err := l.AppendAll(ctx, []incident.Entry{e})
	if err != nil {
		return incident.Recorded{}, err
	}
	return recorded[0], nil
}

// AppendAll is Append for several entries, at most MaxBatch, in one transaction: all
// of them are written or none.
func (l *Ledger) AppendAll(ctx context.Context, entries []incident.Entry) ([]incident.Recorded, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if len(entries) > MaxBatch {
		return nil, fmt.Errorf("append %d entries: %w: at most %d at a time", len(entries), ErrInvalid, MaxBatch)
	}
	first := entries[0].ID
	if l.write == nil {
		return nil, fmt.Errorf("append entry %q: %w", first, ErrReadOnly)
	}
	rows := make([]row, len(entries))
	for i, e := range entries {
		want, err := newRow(e)
		if err != nil {
			return nil, fmt.Errorf("append entry %q: %w", e.ID, err)
		}
		rows[i] = want
	}
	return l.group.commit(ctx, rows, l.insert)
}

// insert commits the rows of several callers in one transaction, each caller's all or
// none, and brings up the head file. The error is that of the transaction.
func (l *Ledger) insert(ctx context.Context, asked []*request) error {
	tx, err := l.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer rollback(tx)
	end, err := l.settleHead(ctx, tx)
	if err != nil {
		return err
	}
	for _, r := range asked {
		if _, err := tx.ExecContext(ctx, "SAVEPOINT caller"); err != nil {
			return err
		}
		last, err := insertAll(ctx, tx, r, end)
		if err != nil {
			r.err = err
			if _, err := tx.ExecContext(ctx, "ROLLBACK TO caller"); err != nil {
				return err
			}
		} else {
			end = last
		}
		if _, err := tx.ExecContext(ctx, "RELEASE caller"); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	l.appended()
	return l.publish(ctx)
}

// insertAll puts the rows of one caller after the end, and returns the new end.
func insertAll(ctx context.Context, tx *sql.Tx, r *request, end Head) (Head, error) {
	r.recorded = make([]incident.Recorded, len(r.rows))
	for i, want := range r.rows {
		got, existed, err := insertOne(ctx, tx, want, end)
		if err == nil {
			r.recorded[i], err = got.recorded(existed)
		}
		if err != nil {
			return end, fmt.Errorf("append entry %q: %w", want.id, err)
		}
		if !existed {
			end = Head{Seq: got.seq, Hash: got.hash}
		}
	}
	return end, nil
}

// insertOne puts a row after the end, or finds the one that is there.
func insertOne(ctx context.Context, tx *sql.Tx, want row, end Head) (got row, existed bool, err error) {
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
	_, err = tx.ExecContext(ctx, "INSERT INTO entries ("+columns+") VALUES (?,?,?,?,?,?,?,?,?,?)",
		want.seq, want.id, want.incident, want.kind, want.at, want.actor, want.text, want.payload, want.prev, want.hash)
	return want, false, err
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
// lock and brings it up when it is one transaction behind. It returns the end.
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
	}
	behind, err := follows(ctx, tx, kept, end)
	switch {
	case err != nil:
		return Head{}, err
	case behind:
		return end, writeHead(l.path, end)
	default:
		return Head{}, fmt.Errorf("the ledger ends with entry %d, and its head file names entry %d: %w", last.seq, kept.Seq, ErrTampered)
	}
}

// follows reports whether the entries after a head lead to the end, in at most one
// transaction.
func follows(ctx context.Context, tx *sql.Tx, kept, end Head) (bool, error) {
	if kept.Seq >= end.Seq || end.Seq-kept.Seq > MaxBatch {
		return false, nil
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+columns+" FROM entries WHERE seq > ? ORDER BY seq", kept.Seq)
	if err != nil {
		return false, err
	}
	defer closeRows(rows)
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return false, err
		}
		if r.seq != kept.Seq+1 || r.prev != kept.Hash || r.hash != r.digest() {
			return false, nil
		}
		kept = Head{Seq: r.seq, Hash: r.hash}
	}
	return kept == end, rows.Err()
}
