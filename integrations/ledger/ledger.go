package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the database driver

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Errors that callers branch on.
var (
	// ErrConflict means that an entry with this ID is there with other
	// content. It is final: it wraps driver.ErrInvalid.
	ErrConflict = fmt.Errorf("%w: the ledger holds another entry under this ID", driver.ErrInvalid)
	// ErrTampered means that the end of the ledger does not agree with its
	// head file or with itself, so that nothing is appended to it.
	ErrTampered = errors.New("the ledger was tampered with")
	// ErrInvalid means that an entry is not fit to be recorded. It is final: it
	// wraps driver.ErrInvalid.
	ErrInvalid = fmt.Errorf("%w: the entry is not fit to be recorded", driver.ErrInvalid)
	// ErrReadOnly means that the ledger was opened by OpenReadOnly.
	ErrReadOnly = errors.New("the ledger is open for reading only")
	// ErrNotFound means that no entry has that ID.
	ErrNotFound = errors.New("no such entry")
)

// busyTimeout is how long a write waits for another process's.
const busyTimeout = 10 * time.Second

// readers is how many reads may run beside each other and beside a write.
const readers = 2

// schemaVersion is the layout this package writes. A file with any other is
// refused.
const schemaVersion = 1

// schema makes the table and the triggers that keep it append-only. The insert
// trigger refuses a number out of order and a broken chain.
const schema = `
CREATE TABLE IF NOT EXISTS entries (
	seq      INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	incident TEXT NOT NULL,
	kind     TEXT NOT NULL,
	at       TEXT NOT NULL,
	actor    TEXT NOT NULL,
	text     TEXT NOT NULL,
	payload  TEXT NOT NULL,
	prev     TEXT NOT NULL,
	hash     TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS entries_incident ON entries (incident, seq);
CREATE TRIGGER IF NOT EXISTS entries_no_update BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_no_delete BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS entries_in_order BEFORE INSERT ON entries
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entries)
	OR NEW.prev IS NOT coalesce((SELECT hash FROM entries ORDER BY seq DESC LIMIT 1), '')
	OR EXISTS (SELECT 1 FROM entries WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
`

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	path string
	// write is one connection; nil when opened for reading only.
	write *sql.DB
	read  *sql.DB
	// group is who waits for the next transaction.
	group group
	// listeners are told of every append, and never waited for.
	mu        sync.Mutex
	listeners []chan struct{}
}

// Open opens the ledger at path and creates it when there is none. Its folder
// must exist.
func Open(ctx context.Context, path string) (*Ledger, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger %q: %w", path, err)
	}
	if err := private(path); err != nil {
		return nil, fmt.Errorf("open ledger %q: %w", path, err)
	}
	write, err := sql.Open("sqlite", source(path, "rwc", "journal_mode(wal)", "synchronous(full)"))
	if err != nil {
		return nil, fmt.Errorf("open ledger %q: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	if err := create(ctx, write); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %q: %w", path, err), write.Close())
	}
	read, err := openReaders(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %q: %w", path, err), write.Close())
	}
	return &Ledger{path: path, write: write, read: read}, nil
}

// OpenReadOnly opens an existing ledger to look at and verify, while others
// write to it.
func OpenReadOnly(ctx context.Context, path string) (*Ledger, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger %q: %w", path, err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open ledger %q: %w", path, err)
	}
	read, err := openReaders(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger %q: %w", path, err)
	}
	if err := checkVersion(ctx, read); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %q: %w", path, err), read.Close())
	}
	return &Ledger{path: path, read: read}, nil
}

// Close closes the ledger's files.
func (l *Ledger) Close() error {
	var errs []error
	errs = append(errs, l.read.Close())
	if l.write != nil {
		errs = append(errs, l.write.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close ledger %q: %w", l.path, err)
	}
	return nil
}

// listen returns a channel that holds a token after an append.
func (l *Ledger) listen() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{}, 1)
	l.listeners = append(l.listeners, c)
	return c
}

func (l *Ledger) unlisten(c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listeners = slices.DeleteFunc(l.listeners, func(have chan struct{}) bool { return have == c })
}

// appended wakes whoever listens.
func (l *Ledger) appended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.listeners {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// private makes the file, if there is none, for its owner only: the record says who
// decided what. SQLite gives its own files beside it the same permissions.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func openReaders(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", source(path, "ro", "query_only(true)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	return db, nil
}

// source spells a file and its pragmas the way the driver wants them. Every
// transaction takes the write lock at once: one that took it later could find
// that its snapshot is too old to write.
func source(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}}
	if mode == "ro" {
		q.Set("_txlock", "deferred")
	}
	for _, p := range append([]string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())}, pragmas...) {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

func create(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer rollback(tx)
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	if version != 0 && version != schemaVersion {
		return fmt.Errorf("the file has layout %d, and this program knows %d", version, schemaVersion)
	}
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("create tables: %w", err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)); err != nil {
		return fmt.Errorf("write version: %w", err)
	}
	return tx.Commit()
}

func checkVersion(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	if version != schemaVersion {
		return fmt.Errorf("the file has layout %d, and this program knows %d", version, schemaVersion)
	}
	return nil
}

// rollback ends a transaction that was not committed; after a commit it does
// nothing.
func rollback(tx *sql.Tx) { _ = tx.Rollback() }

// closeRows ends a reading; what went wrong with it is in rows.Err.
func closeRows(rows *sql.Rows) { _ = rows.Close() }

// Entries returns the entries of an incident in the order recorded; all
// entries for an empty key.
func (l *Ledger) Entries(ctx context.Context, incidentKey string) ([]Record, error) {
	return l.list(ctx, incidentKey, "SELECT "+columns+" FROM entries WHERE ?1 = '' OR incident = ?1 ORDER BY seq", incidentKey)
}

// Kind returns the entries of one kind of an incident in the order recorded.
func (l *Ledger) Kind(ctx context.Context, incidentKey string, kind incident.EventKind) ([]Record, error) {
	return l.list(ctx, incidentKey, "SELECT "+columns+" FROM entries WHERE incident = ? AND kind = ? ORDER BY seq", incidentKey, string(kind))
}

func (l *Ledger) list(ctx context.Context, incidentKey, query string, args ...any) ([]Record, error) {
	rows, err := l.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list entries of %q: %w", incidentKey, err)
	}
	defer closeRows(rows)
	var out []Record
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list entries of %q: %w", incidentKey, err)
		}
		rec, err := r.record()
		if err != nil {
			return nil, fmt.Errorf("list entries of %q: %w", incidentKey, err)
		}
		out = append(out, rec)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list entries of %q: %w", incidentKey, err)
	}
	return out, nil
}

// Get returns the entry with an ID, or an error wrapping ErrNotFound.
func (l *Ledger) Get(ctx context.Context, id string) (Record, error) {
	r, err := scan(l.read.QueryRowContext(ctx, "SELECT "+columns+" FROM entries WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return Record{}, fmt.Errorf("get entry %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return Record{}, fmt.Errorf("get entry %q: %w", id, err)
	}
	return r.record()
}

// Record is an entry as it stands in the ledger.
type Record struct {
	Entry incident.Entry `json:"entry"`
	// Seq counts from 1.
	Seq int64 `json:"seq"`
	// Prev is the hash of the entry before, empty for the first, and Hash this
	// entry's; both as "sha256:" and 64 hexadecimal digits.
	Prev string `json:"prev,omitempty"`
	Hash string `json:"hash"`
}
