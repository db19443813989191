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
	lockFile     = "temporal.lock"

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

// store is the SQLite file of the server.
type store struct {
	path   string
	config *config.SQL
}

func newStore(dir string, s Synchronous) *store {
	path := filepath.Join(dir, databaseFile)
	return &store{path: path, config: sqlConfig(path, s)}
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

// prepare creates the file when it is absent and checks it when it is there.
func (s *store) prepare(ctx context.Context) error {
	_, err := os.Lstat(s.path)
	if err == nil {
		return s.check(ctx)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for temporal database: %w", err)
	}
	return s.create(ctx)
}

// create builds the schema in a file of another name and renames it, so that
// a file of the right name always has the whole schema.
func (s *store) create(ctx context.Context) error {
	draft := s.path + ".new"
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(draft + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove unfinished temporal database: %w", err)
		}
	}
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create temporal database: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("create temporal database: %w", err)
	}
	if err := writeSchema(ctx, draft); err != nil {
		return fmt.Errorf("create temporal database %q: %w", draft, err)
	}
	if err := os.Rename(draft, s.path); err != nil {
		return fmt.Errorf("create temporal database: %w", err)
	}
	return nil
}

// writeSchema runs the server's schema in an empty file, in one transaction,
// on a connection of its own that is closed before the file is renamed.
func writeSchema(ctx context.Context, path string) (err error) {
	script, version, err := schemaScript()
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

// schemaScript returns the linked server's schema and the number that stands
// for it in the file's header: 31 bits of its SHA-256.
func schemaScript() (script string, version int64, err error) {
	for _, name := range []string{"sqlite/v3/temporal/schema.sql", "sqlite/v3/visibility/schema.sql"} {
		part, err := fs.ReadFile(schema.Assets(), name)
		if err != nil {
			return "", 0, fmt.Errorf("read schema %q: %w", name, err)
		}
		script += string(part) + "\n"
	}
	sum := sha256.Sum256([]byte(script))
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
	_, want, err := schemaScript()
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
			"go back to that version until its incidents are closed, then move the file away", nil)
	}
	return nil
}

// wayOut is what is left to do with a file that SQLite cannot read.
const wayOut = "restore it from a backup, or move it away to start without history"

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
