package postgres

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// The tools whose version tables are known.
const (
	golangMigrate = "golang-migrate"
	goose         = "goose"
)

// applied is one migration that is in the database.
type applied struct {
	version int64
	// at is when it was applied; zero when the tool did not record it.
	at time.Time
}

// history is what a version table says.
type history struct {
	// applied are the migrations in the database, in the order of application.
	applied []applied
	// version is the highest of them; 0 when there is none.
	version int64
	// dirty says that a migration began and did not end.
	dirty bool
	// began is when the table was made; zero when the tool did not record it.
	began time.Time
	// exact are all rows as the server spells them, for the comparison in the
	// transaction.
	exact string
}

func (h history) has(version int64) bool {
	return slices.ContainsFunc(h.applied, func(a applied) bool { return a.version == version })
}

// digest is of the versions that are in the database, and of the files that say
// what these are: a step that was rewritten is another step.
func (h history) digest(t tool, f folder) string {
	versions := make([]int64, 0, len(h.applied))
	for _, a := range h.applied {
		versions = append(versions, a.version)
	}
	slices.Sort(versions)
	var b strings.Builder
	fmt.Fprintf(&b, "%s dirty=%t\n", t.name, h.dirty)
	for _, v := range versions {
		m, _ := f.find(v)
		b.WriteString(m.digest())
	}
	return incident.DigestOf([]byte(b.String()))
}

func (h history) state(t tool, f folder) incident.State {
	m, _ := f.find(h.version)
	label := m.label()
	if h.dirty {
		label += ", dirty"
	}
	return incident.State{Revision: strconv.FormatInt(h.version, 10), Digest: h.digest(t, f), Label: label}
}

// at is the history with everything up to a version, and nothing above it.
func (h history) at(version int64, f folder) history {
	to := history{version: version, began: h.began}
	for _, a := range h.applied {
		if a.version <= version {
			to.applied = append(to.applied, a)
		}
	}
	if version > h.version {
		for _, m := range f {
			if m.version <= version && !h.has(m.version) {
				to.applied = append(to.applied, applied{version: m.version})
			}
		}
	}
	return to
}

// way is the steps from one history to another, in the order to be run.
func way(from, to history, f folder) ([]step, error) {
	var steps []step
	for _, a := range slices.Backward(from.applied) {
		if to.has(a.version) {
			continue
		}
		m, _ := f.find(a.version)
		s, err := takeApart(m, "down")
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	for _, a := range to.applied {
		if from.has(a.version) {
			continue
		}
		m, _ := f.find(a.version)
		s, err := takeApart(m, "up")
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// tool is how one tool keeps its files and its table.
type tool struct {
	name string
	// table is the name of the version table by default.
	table string
	// file matches the names of files: version, title, and what load wants.
	file *regexp.Regexp
	load func(m *migration, path, part string) error
	// columns reads the table, and exact spells all rows as history.exact does;
	// both have %s for the table.
	columns, exact string
	read           func(rows []row, f folder) (history, error)
	// locks are the advisory locks that the tool may hold while it works.
	locks func(database string, m MigrationSet) []int64
	// record writes the version table for a way from one history to another.
	record func(table string, from, to history) string
	// rights are what has to be granted on the table.
	rights []string
}

var tools = map[string]tool{
	golangMigrate: {
		name: golangMigrate, table: "schema_migrations", file: golangMigrateFile, load: loadGolangMigrate,
		columns: `SELECT version::text, dirty::text, CASE WHEN pg_catalog.current_setting('track_commit_timestamp') = 'on' THEN extract(epoch FROM pg_catalog.pg_xact_commit_timestamp(xmin))::text END FROM %s ORDER BY version`,
		exact:   `SELECT pg_catalog.string_agg(version::text || ':' || dirty::text, ',' ORDER BY version) FROM %s`,
		read:    readGolangMigrate, locks: golangMigrateLocks, record: recordGolangMigrate,
		rights: []string{"SELECT", "INSERT", "UPDATE", "DELETE"},
	},
	goose: {
		name: goose, table: "goose_db_version", file: gooseFile, load: loadGoose,
		columns: `SELECT version_id::text, is_applied::text, extract(epoch FROM tstamp::timestamptz)::text FROM %s ORDER BY id`,
		exact:   `SELECT pg_catalog.string_agg(version_id::text || ':' || is_applied::text, ',' ORDER BY id) FROM %s`,
		read:    readGoose, locks: gooseLocks, record: recordGoose,
		rights: []string{"SELECT", "INSERT", "DELETE"},
	},
}

// entry is one row of a version table.
type entry struct {
	version int64
	flag    bool
	at      time.Time
}

// entries reads rows, and their exact spelling.
func entries(rows []row) (found []entry, exact string, err error) {
	spelled := make([]string, 0, len(rows))
	for _, r := range rows {
		if len(r) != 3 {
			return nil, "", fmt.Errorf("read version table: %d columns, want 3", len(r))
		}
		version, err := r[0].whole()
		if err != nil {
			return nil, "", fmt.Errorf("read version table: %w", err)
		}
		at, err := r[2].moment()
		if err != nil {
			return nil, "", fmt.Errorf("read version table: %w", err)
		}
		found = append(found, entry{version: version, flag: r[1].yes(), at: at})
		spelled = append(spelled, r[0].text+":"+r[1].text)
	}
	return found, strings.Join(spelled, ","), nil
}

// readGolangMigrate reads the one row that golang-migrate keeps. It is taken for
// applying everything in the folder up to its version, as the tool does.
func readGolangMigrate(rows []row, f folder) (history, error) {
	found, exact, err := entries(rows)
	if err != nil || len(found) == 0 {
		return history{}, err
	}
	if len(found) > 1 {
		return history{}, fmt.Errorf("read version table: it has %d rows, want one", len(found))
	}
	h := history{version: max(found[0].version, 0), dirty: found[0].flag, exact: exact}
	for _, m := range f {
		if m.version < h.version {
			h.applied = append(h.applied, applied{version: m.version})
		}
	}
	if h.version > 0 {
		h.applied = append(h.applied, applied{version: h.version, at: found[0].at})
	}
	return h, nil
}

// readGoose reads the rows of goose, of which the last one of each version counts.
// The row of version 0 is written when the table is made.
func readGoose(rows []row, _ folder) (history, error) {
	found, exact, err := entries(rows)
	if err != nil {
		return history{}, err
	}
	h := history{exact: exact}
	for n, e := range found {
		if e.version == 0 {
			h.began = e.at
			continue
		}
		later := slices.ContainsFunc(found[n+1:], func(l entry) bool { return l.version == e.version })
		if !later && e.flag {
			h.applied = append(h.applied, applied{version: e.version, at: e.at})
			h.version = max(h.version, e.version)
		}
	}
	return h, nil
}

// golangMigrateSalt is what golang-migrate multiplies the checksum of names with.
// Source: https://github.com/golang-migrate/migrate/blob/master/database/util.go
const golangMigrateSalt = 1486364155

// golangMigrateLocks are the locks of golang-migrate: it puts the database into
// the name as its URL has it, with a slash, or as the server says it, without.
func golangMigrateLocks(database string, m MigrationSet) []int64 {
	if m.Lock != 0 {
		return []int64{m.Lock}
	}
	var ids []int64
	for _, name := range []string{database, "/" + database} {
		sum := crc32.ChecksumIEEE([]byte(strings.Join([]string{m.Schema, m.Table, name}, "\x00")))
		ids = append(ids, int64(sum*uint32(golangMigrateSalt)))
	}
	return ids
}

// gooseLock is the lock of goose where it is told to take one.
// Source: https://github.com/pressly/goose/blob/main/lock/postgres.go
const gooseLock = 5887940537704921958

func gooseLocks(_ string, m MigrationSet) []int64 {
	if m.Lock != 0 {
		return []int64{m.Lock}
	}
	return []int64{gooseLock}
}

func recordGolangMigrate(table string, from, to history) string {
	switch {
	case to.version == 0:
		return fmt.Sprintf("DELETE FROM %s", table)
	case from.exact == "":
		return fmt.Sprintf("INSERT INTO %s (version, dirty) VALUES (%d, false)", table, to.version)
	}
	return fmt.Sprintf("UPDATE %s SET version = %d, dirty = false", table, to.version)
}

func recordGoose(table string, from, to history) string {
	var changes []string
	for _, a := range from.applied {
		if !to.has(a.version) {
			changes = append(changes, fmt.Sprintf("DELETE FROM %s WHERE version_id = %d", table, a.version))
		}
	}
	added := make([]int64, 0, len(to.applied))
	for _, a := range to.applied {
		if !from.has(a.version) {
			added = append(added, a.version)
		}
	}
	slices.SortFunc(added, cmp.Compare[int64])
	for _, v := range added {
		changes = append(changes, fmt.Sprintf("INSERT INTO %s (version_id, is_applied) VALUES (%d, true)", table, v))
	}
	return strings.Join(changes, ";\n")
}
