package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

const (
	// maxScript is the largest migration that is read, in bytes.
	maxScript = 1 << 20
	// maxFiles is how many files a folder of migrations may have.
	maxFiles = 20_000
)

// migration is one version of a schema: how to reach it and how to leave it.
type migration struct {
	version int64
	// name is what the file calls it.
	name     string
	up, down script
}

// script is one direction of a migration.
type script struct {
	// there says that a file, or a section of one, is there.
	there bool
	text  string
	// obstacle completes the sentence "The step ...", when it can not be run;
	// empty when it can.
	obstacle string
}

// label is what people call a version.
func (m migration) label() string {
	if m.version == 0 {
		return "no migration"
	}
	if m.name == "" {
		return fmt.Sprintf("version %d", m.version)
	}
	return fmt.Sprintf("version %d (%s)", m.version, m.name)
}

// folder is a folder of migrations, by version.
type folder []migration

// find returns a version of the folder.
func (f folder) find(version int64) (migration, bool) {
	at, ok := slices.BinarySearchFunc(f, version, func(m migration, v int64) int { return cmp.Compare(m.version, v) })
	if !ok {
		return migration{version: version}, version == 0
	}
	return f[at], true
}

// readFolder reads all migrations of a folder as a tool does.
func readFolder(path string, t tool) (folder, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("read migrations: the folder has %d files, more than %d", len(entries), maxFiles)
	}
	found := map[int64]*migration{}
	for _, entry := range entries {
		parts := t.file.FindStringSubmatch(entry.Name())
		if parts == nil {
			continue
		}
		version, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil || version == 0 {
			return nil, fmt.Errorf("read migration %q: the version is not a whole number from 1 on", entry.Name())
		}
		if found[version] == nil {
			found[version] = &migration{version: version, name: printable(parts[2], maxShown)}
		}
		if err := t.load(found[version], filepath.Join(path, entry.Name()), parts[3]); err != nil {
			return nil, fmt.Errorf("read migration %q: %w", entry.Name(), err)
		}
	}
	var all folder
	for _, m := range found {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b migration) int { return cmp.Compare(a.version, b.version) })
	return all, nil
}

// errTwice means that two files have the same version.
var errTwice = errors.New("the version is used twice")

func readScript(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Size() > maxScript {
		return "", fmt.Errorf("it has %d bytes, more than %d", info.Size(), maxScript)
	}
	content, err := os.ReadFile(path)
	return string(content), err
}

// golangMigrateFile is how golang-migrate names a file: version, title and
// direction.
// Source: https://github.com/golang-migrate/migrate/blob/master/MIGRATIONS.md
var golangMigrateFile = regexp.MustCompile(`^([0-9]+)_(.*)\.(down|up)\.[^.]+$`)

// loadGolangMigrate reads one direction.
func loadGolangMigrate(m *migration, path, direction string) error {
	text, err := readScript(path)
	if err != nil {
		return err
	}
	side := &m.up
	if direction == "down" {
		side = &m.down
	}
	if side.there {
		return errTwice
	}
	*side = script{there: true, text: text}
	return nil
}

// gooseFile is how goose names a file: version and title.
// Source: https://pressly.github.io/goose/documentation/annotations/
var gooseFile = regexp.MustCompile(`^([0-9]+)_(.*)\.(sql|go)$`)

// loadGoose reads both sections of a file.
func loadGoose(m *migration, path, extension string) error {
	if m.up.there || m.down.there {
		return errTwice
	}
	if extension == "go" {
		if strings.HasSuffix(path, "_test.go") {
			return nil
		}
		const program = "is a program in Go, which only goose can run"
		m.up, m.down = script{there: true, obstacle: program}, script{there: true, obstacle: program}
		return nil
	}
	text, err := readScript(path)
	if err != nil {
		return err
	}
	var section *script
	obstacle := ""
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "--" || words[1] != "+goose" {
			if section != nil {
				section.text += line
			}
			continue
		}
		switch command := strings.ToUpper(strings.Join(words[2:], " ")); command {
		case "UP":
			m.up.there, section = true, &m.up
		case "DOWN":
			m.down.there, section = true, &m.down
		case "STATEMENTBEGIN", "STATEMENTEND", "ENVSUB OFF":
			// The scanner knows where statements end.
		case "NO TRANSACTION":
			obstacle = "asks not to be run in a transaction"
		default:
			obstacle = "has an annotation of goose that Backout does not follow"
		}
	}
	m.up.obstacle, m.down.obstacle = obstacle, obstacle
	return nil
}

// digest is of both directions of a migration.
func (m migration) digest() string {
	side := func(s script) string {
		if !s.there {
			return "none"
		}
		return incident.DigestOf([]byte(s.obstacle + "\x00" + s.text))
	}
	return fmt.Sprintf("%d up %s down %s\n", m.version, side(m.up), side(m.down))
}
