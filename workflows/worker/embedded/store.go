package embedded

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"go.temporal.io/server/common/config"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/schema"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"
	sqlitedriver "modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

const (
	databaseFile = "temporal.db"
	// visibilityFile is what lists are read from. It is a file of its own because a
	// file has one connection: nobody's click waits for the entry of a list.
	visibilityFile = "temporal-visibility.db"
	lockFile       = "temporal.lock"

	// applicationID marks a file as ours in its header: "BKTL" in ASCII.
	// Source: https://www.sqlite.org/pragma.html#pragma_application_id
	applicationID = 0x424b544c

	// busyTimeout is how long a statement waits for another connection, in
	// milliseconds. There is one connection, so only the checks before the
	// start and the checkpoint at the end can ever wait.
	busyTimeout = 10_000
)

// Synchronous is what a committed transaction survives.
type Synchronous int

const (
	// SyncNormal survives the death of the process at any moment. A loss of
	// power can take the last commits: a page or click that was acknowledged
	// may be forgotten. About 2.6 times faster; for sandboxes and tests.
	// Source: SQLite, PRAGMA synchronous=NORMAL under WAL.
	SyncNormal Synchronous = iota + 1
	// SyncFull survives a loss of power too. It is the default.
	SyncFull
)

func (s Synchronous) valid() bool { return s == SyncNormal || s == SyncFull }

// files are the SQLite files of the server, which belong together.
type files struct {
	executions, visibility *store
}

// store is one SQLite file and the server's schema for it.
type store struct {
	path   string
	schema string
	config *config.SQL
}

func newFiles(dir string, s Synchronous) files {
	return files{
		executions: newStore(dir, databaseFile, "sqlite/v3/temporal/schema.sql", s),
		// What a loss of power takes from a list, the incident's next phase gives back.
		visibility: newStore(dir, visibilityFile, "sqlite/v3/visibility/schema.sql", SyncNormal),
	}
}

func newStore(dir, file, schema string, s Synchronous) *store {
	path := filepath.Join(dir, file)
	return &store{path: path, schema: schema, config: sqlConfig(path, s)}
}

// prepare creates the files when they are absent and checks them when they are
// there. The executions come last, so that lists without executions are what a start
// left behind that did not end, or somebody who began without history.
func (f files) prepare(ctx context.Context) error {
	there, err := f.executions.exists()
	if err != nil {
		return err
	}
	if !there {
		if err := f.visibility.remove(); err != nil {
			return err
		}
		if err := f.visibility.create(ctx); err != nil {
			return err
		}
		return f.executions.create(ctx)
	}
	if there, err = f.visibility.exists(); err != nil {
		return err
	}
	if !there {
		return &DatabaseError{Path: f.visibility.path, Reason: "is missing and belongs to " + databaseFile + "; " + wayOut}
	}
	if err := f.executions.check(ctx); err != nil {
		return err
	}
	return f.visibility.check(ctx)
}

// sqlConfig opens path through the server's plugin, on one connection only:
// with more, writers fail with SQLITE_BUSY even under WAL.
func sqlConfig(path string, s Synchronous) *config.SQL {
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: uriPath(path),
		ConnectAttributes: map[string]string{
			"mode":         "rw",
			"journal_mode": "wal",
			"synchronous":  strconv.Itoa(int(s)),
			"busy_timeout": strconv.Itoa(busyTimeout),
		},
		MaxConns:     1,
		MaxIdleConns: 1,
	}
}

func (s *store) exists() (bool, error) {
	_, err := os.Lstat(s.path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("look for temporal database: %w", err)
	}
}

// remove removes the file and what SQLite keeps beside it.
func (s *store) remove() error { return removeDatabase(s.path) }

func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove unfinished temporal database: %w", err)
		}
	}
	return nil
}

// create builds the schema in a file of another name and renames it, so that
// a file of the right name always has the whole schema.
func (s *store) create(ctx context.Context) error {
	draft := s.path + ".new"
	if err := removeDatabase(draft); err != nil {
		return err
	}
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create temporal database: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("create temporal database: %w", err)
	}
	if err := s.writeSchema(ctx, draft); err != nil {
		return fmt.Errorf("create temporal database %q: %w", draft, err)
	}
	if err := os.Rename(draft, s.path); err != nil {
		return fmt.Errorf("create temporal database: %w", err)
	}
	return nil
}

// writeSchema runs the server's schema in an empty file, in one transaction,
// on a connection of its own that is closed before the file is renamed.
func (s *store) writeSchema(ctx context.Context, path string) (err error) {
	script, version, err := s.script()
	if err != nil {
		return err
	}
	db, err := openFile(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, fmt.Sprintf(
		"PRAGMA synchronous=2; BEGIN; PRAGMA application_id=%d; PRAGMA user_version=%d; %s; COMMIT",
		applicationID, version, script))
	return err
}

// script returns the linked server's schema and the number that stands for it in
// the file's header: 31 bits of its SHA-256.
func (s *store) script() (script []byte, version int64, err error) {
	script, err = fs.ReadFile(schema.Assets(), s.schema)
	if err != nil {
		return nil, 0, fmt.Errorf("read schema %q: %w", s.schema, err)
	}
	sum := sha256.Sum256(script)
	return script, int64(binary.BigEndian.Uint32(sum[:]) &^ (1 << 31)), nil
}

// check refuses a file that is not ours, not intact or of another schema. The
// file is only ever opened through SQLite: closing it by another way would
// drop the locks of a connection that this process still has.
func (s *store) check(ctx context.Context) (err error) {
	refuse := func(reason string, err error) error {
		return &DatabaseError{Path: s.path, Reason: reason, Err: err}
	}
	info, err := os.Lstat(s.path)
	if err != nil {
		return refuse("cannot be read", err)
	}
	if !info.Mode().IsRegular() {
		return refuse("is not a regular file", nil)
	}
	db, err := openFile(s.path)
	if err != nil {
		return refuse("cannot be opened", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	var application, version int64
	var verdict string
	for query, target := range map[string]any{
		"PRAGMA application_id": &application,
		"PRAGMA user_version":   &version,
		"PRAGMA quick_check(1)": &verdict,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(target); err != nil {
			return refuse(reasonFor(err), err)
		}
	}
	_, want, err := s.script()
	if err != nil {
		return err
	}
	switch {
	case application != applicationID:
		return refuse("was not created by this product; move it away", nil)
	case verdict != "ok":
		return refuse("is damaged ("+verdict+"); "+wayOut, nil)
	case version != want:
		return refuse("was written by another version of the server, and such files cannot be migrated; "+
			"go back to that version until its incidents are closed, then move the files away", nil)
	}
	return nil
}

// wayOut is what is left to do with a file that SQLite cannot read.
const wayOut = "restore both files from a backup, or move both away to start without history"

func reasonFor(err error) string {
	if sqlErr, ok := errors.AsType[*sqlitedriver.Error](err); ok {
		// The low byte is the primary result code.
		// Source: https://www.sqlite.org/rescode.html
		switch sqlErr.Code() & 0xff {
		case sqlitelib.SQLITE_NOTADB, sqlitelib.SQLITE_CORRUPT:
			return "is damaged; " + wayOut
		}
	}
	return "cannot be read"
}

// createNamespace writes the namespace into the file when it is not there yet,
// with its retention and search attributes, so that a new server can use both
// at once. For a namespace that exists it does nothing.
func (s *store) createNamespace(opts Options) error {
	ns, err := sqlite.NewNamespaceConfig(clusterName, opts.Namespace, false, opts.SearchAttributes)
	if err != nil {
		return fmt.Errorf("compose namespace %q: %w", opts.Namespace, err)
	}
	ns.Detail.Config.Retention = durationpb.New(opts.Retention)
	if err := sqlite.CreateNamespaces(s.config, ns); err != nil {
		return fmt.Errorf("create namespace %q: %w", opts.Namespace, err)
	}
	return nil
}

// checkpoint moves the write-ahead log into the file, so that a stopped
// server leaves one file that can be copied.
func (s *store) checkpoint() (err error) {
	db, err := openFile(s.path)
	if err != nil {
		return fmt.Errorf("checkpoint temporal database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("checkpoint temporal database: %w", err)
	}
	return nil
}

// openFile opens an existing SQLite file on one connection.
func openFile(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?mode=rw&_pragma=busy_timeout=%d", uriPath(path), busyTimeout))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// uriPath escapes a path for a SQLite URI, in which "?", "#" and "%" mean
// something. Source: https://www.sqlite.org/uri.html
func uriPath(path string) string {
	return (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
}
