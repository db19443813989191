package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

const (
	// maxDatabase is how long the name of a database that is restored may be, in
	// bytes: those of its copies are longer.
	maxDatabase = 40
	// maxDumps is how many dumps a folder may have.
	maxDumps = 10_000
	// maxListing is how much of the table of contents of a dump is read, in bytes.
	maxListing = 16 << 10
	// listTimeout bounds the reading of a table of contents.
	listTimeout = 10 * time.Second
	// snapshotDelay is how long after the time in a dump its snapshot may have been
	// taken: pg_dump notes the time before it connects.
	snapshotDelay = time.Minute
	// killDelay is how long a program may go on after it was told to end.
	killDelay = time.Second
)

// Restore is a database and the folder with its dumps.
type Restore struct {
	// Name is the path of the target.
	Name string `yaml:"name" json:"name"`
	// Database is what clients connect to. Backout connects to another one, because
	// no session can be in a database that changes its name.
	Database string `yaml:"database" json:"database"`
	// Folder holds the dumps, in the custom format of pg_dump; their names end with
	// ".dump".
	Folder string `yaml:"folder" json:"folder"`
	// Owner is the role that owns the database and is taken on.
	Owner string `yaml:"owner" json:"owner"`
	// Check is a query that has to return one true boolean in the copy, such as
	// "SELECT count(*) > 1000 FROM orders".
	Check string `yaml:"check" json:"check"`
	// Programs is the folder with pg_restore; empty looks in the PATH.
	Programs string `yaml:"programs" json:"programs"`
}

func (s *Settings) checkRestores() error {
	seen := map[string]bool{}
	for _, r := range s.Restores {
		if !setName.MatchString(r.Name) || seen[r.Name] {
			return fmt.Errorf("read settings: name %q of a restore is malformed or used twice", printable(r.Name, maxShown))
		}
		seen[r.Name] = true
		switch {
		case r.Database == "" || len(r.Database) > maxDatabase || strings.ContainsRune(r.Database, 0):
			return fmt.Errorf("read settings: restore %q: the name of the database is empty or longer than %d bytes", r.Name, maxDatabase)
		case r.Database == s.Database:
			return fmt.Errorf("read settings: restore %q: the database of the system must be another one than %q", r.Name, r.Database)
		case r.Folder == "" || r.Owner == "" || len(r.Owner) > maxName:
			return fmt.Errorf("read settings: restore %q: folder and owner must be set", r.Name)
		}
	}
	return nil
}

// lock is the advisory lock that is held while a copy is made.
func (r Restore) lock() int64 { return RestoreLock(r.Database) }

// RestoreLock is the number of the advisory lock that Backout holds in the database
// that it connects to, while it restores another one: a tool that does the same can
// take it.
func RestoreLock(database string) int64 {
	return int64(crc32.ChecksumIEEE([]byte(database)))<<16 | 0xb0
}

// dump is one open file. It is opened once, so that what is hashed is what is
// restored.
type dump struct {
	name string
	file *os.File
}

// dumpName is what the file of a dump is called.
var dumpName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,58}\.dump$`)

// open opens a dump by its name.
func (r Restore) open(name string) (*dump, error) {
	if !dumpName.MatchString(name) {
		return nil, fmt.Errorf("open dump %q: %w: that is not the name of a dump", printable(name, maxShown), driver.ErrInvalid)
	}
	file, err := os.Open(filepath.Join(r.Folder, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open dump %q: %w", name, driver.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open dump %q: %w", name, err)
	}
	return &dump{name: name, file: file}, nil
}

func (d *dump) close() { _ = d.file.Close() } // It was only read.

// sum is "sha256:" and the digest of the file.
func (d *dump) sum() (string, error) {
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("read dump %q: %w", d.name, err)
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, d.file); err != nil {
		return "", fmt.Errorf("read dump %q: %w", d.name, err)
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil)), nil
}

// command is pg_restore on the dump, which it reads from its standard input. It
// connects to nothing, and nothing of the environment reaches it.
func (r Restore) command(ctx context.Context, d *dump, args ...string) (*exec.Cmd, error) {
	program := filepath.Join(r.Programs, "pg_restore")
	if r.Programs == "" {
		found, err := exec.LookPath("pg_restore")
		if err != nil {
			return nil, fmt.Errorf("find pg_restore: %w", err)
		}
		program = found
	}
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read dump %q: %w", d.name, err)
	}
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // The program is of the settings, and the arguments are constants.
	cmd.Stdin, cmd.Env, cmd.WaitDelay = d.file, []string{"TZ=UTC", "LC_ALL=C"}, killDelay
	return cmd, nil
}

// contents is what the head of a table of contents says.
type contents struct {
	// created is when pg_dump began.
	created time.Time
	// database is what was dumped, and server the major version that it was on.
	database string
	server   int
}

// list reads the head of the table of contents.
func (r Restore) list(ctx context.Context, d *dump) (contents, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	cmd, err := r.command(ctx, d, "--list")
	if err != nil {
		return contents{}, err
	}
	out := &head{}
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		return contents{}, fmt.Errorf("list dump %q: %w", d.name, ended(err))
	}
	return readContents(d.name, out.text.String())
}

// ended is how a program ended, without its words: they may quote rows.
func ended(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("pg_restore ended with status %d", exit.ExitCode())
	}
	return err
}

// head keeps the beginning of what is written to it.
type head struct{ text bytes.Buffer }

// Write keeps what there is room for.
func (h *head) Write(b []byte) (int, error) {
	h.text.Write(b[:min(len(b), maxListing-h.text.Len())])
	return len(b), nil
}

// listed is the form of time in a table of contents.
// Source: PrintTOCSummary in pg_backup_archiver.c of PostgreSQL.
const listed = "2006-01-02 15:04:05 MST"

func readContents(name, text string) (contents, error) {
	var c contents
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(strings.TrimSpace(line), "; ")
		if stamp, ok := strings.CutPrefix(line, "Archive created at "); ok {
			at, err := time.Parse(listed, stamp)
			if err != nil {
				return contents{}, fmt.Errorf("list dump %q: its time is malformed", name)
			}
			c.created = at.UTC()
		}
		if database, ok := strings.CutPrefix(line, "dbname: "); ok {
			c.database = printable(database, maxShown)
		}
		if version, ok := strings.CutPrefix(line, "Dumped from database version: "); ok {
			major, _, _ := strings.Cut(version, ".")
			if n, err := strconv.Atoi(major); err == nil {
				c.server = n
			}
		}
	}
	if c.created.IsZero() {
		return contents{}, fmt.Errorf("list dump %q: it does not say when it was made", name)
	}
	return c, nil
}

// foundDump is a dump that was looked at.
type foundDump struct {
	name string
	contents
}

// before finds the newest dump that was begun before a moment. A file is never older than the dump in it, so that not all of
// them have to be opened.
func (r Restore) before(ctx context.Context, moment time.Time) (best *foundDump, err error) {
	entries, err := os.ReadDir(r.Folder)
	if err != nil {
		return nil, fmt.Errorf("read dumps: %w", err)
	}
	type file struct {
		name string
		at   time.Time
	}
	var files []file
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && dumpName.MatchString(e.Name()) {
			files = append(files, file{e.Name(), info.ModTime()})
		}
	}
	if len(files) > maxDumps {
		return nil, fmt.Errorf("read dumps: the folder has %d, more than %d", len(files), maxDumps)
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.name, b.name)) })
	for _, f := range files {
		if best != nil && f.at.Before(best.created) {
			break
		}
		d, err := r.open(f.name)
		if err != nil {
			return nil, err
		}
		c, err := r.list(ctx, d)
		d.close()
		if err != nil {
			return nil, err
		}
		if c.created.Add(snapshotDelay).Before(moment) && (best == nil || c.created.After(best.created)) {
			best = &foundDump{f.name, c}
		}
	}
	return best, nil
}
