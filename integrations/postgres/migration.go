package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// migrationKind is the name of the inverse and of the change source beside it.
const migrationKind = "postgres.migration"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       migrationKind,
		System:     systemType,
		Layer:      "database",
		TargetForm: "<name of the set of migrations>",
		Forms:      []string{golangMigrate, goose},
		Reversible: true,
		OneWay:     "a way with a statement that destroys something, or is not known to keep what is stored, and one whose steps back can not be run",
		WontRevert: migrationWontRevert,
		Permission: "CREATE ROLE backout LOGIN NOINHERIT; GRANT CONNECT ON DATABASE <database> TO backout; GRANT USAGE ON SCHEMA <schema> TO backout; GRANT SELECT ON <version table> TO backout; GRANT <role that owns the schema> TO backout, which is named in the settings and taken on for the one transaction",
	}, func(s *server) driver.Inverse { return migrations{s} })
	driver.RegisterSource(migrationKind, systemType, func(s *server) driver.ChangeSource { return migrationChanges{s} })
}

// migrationWontRevert lists what stays as it is.
var migrationWontRevert = []string{
	"rows that were written under the newer schema, as far as they still fit",
	"what a migration changed outside the schema, such as rows that an up step rewrote",
	"the code that expects the newer schema: roll it back first",
}

// migrations takes a schema to a version by the steps of its own migrations.
type migrations struct{ server *server }

// migrationTarget is one set of migrations with what the folder holds.
type migrationTarget struct {
	set  MigrationSet
	tool tool
	// table is the version table as SQL spells it.
	table  string
	folder folder
}

// find returns the set that a target names.
func (i migrations) find(t incident.Target) (MigrationSet, bool) {
	for _, m := range i.server.settings.Migrations {
		if m.Name == t.Path {
			return m, true
		}
	}
	return MigrationSet{}, false
}

// target reads the folder of a target.
func (i migrations) target(t incident.Target) (migrationTarget, error) {
	set, ok := i.find(t)
	if !ok {
		return migrationTarget{}, fmt.Errorf("find migrations %q: %w: the settings have no such set", printable(t.Path, maxShown), driver.ErrInvalid)
	}
	found := migrationTarget{set: set, tool: tools[set.Tool], table: quoteName(set.Schema) + "." + quoteName(set.Table)}
	var err error
	found.folder, err = readFolder(set.Folder, found.tool)
	return found, err
}

// read asks for the present history.
func (t migrationTarget) read(ctx context.Context, c *session) (history, error) {
	rows, err := c.query(ctx, fmt.Sprintf(t.tool.columns, t.table))
	if err != nil {
		return history{}, err
	}
	return t.tool.read(rows, t.folder)
}

// Observe reads the version table and the files of the versions in it. A schema
// is settled at once.
func (i migrations) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	t, err := i.target(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	var present history
	err = i.server.with(ctx, func(c *session) error {
		present, err = t.read(ctx, c)
		return err
	})
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(t.tool, t.folder), Settled: true, Detail: t.detail(present, action)}, nil
}

// detail is one line for people about what was observed.
func (t migrationTarget) detail(present history, action incident.Action) string {
	state := present.state(t.tool, t.folder)
	line := "the database is at " + state.Label
	if slices.ContainsFunc([]incident.State{action.From, action.To}, func(expected incident.State) bool {
		return state.Revision == expected.Revision && state.Digest != expected.Digest
	}) {
		line += ", whose migrations or whose files are not those of the plan"
	}
	last := slices.IndexFunc(present.applied, func(a applied) bool { return a.version == present.version })
	if last >= 0 && !present.applied[last].at.IsZero() {
		line += ", which was recorded at " + present.applied[last].at.Format(time.RFC3339)
	}
	return line
}

// Apply runs all steps between the two versions in one transaction, together with
// the tool's lock, the comparison with action.From and the new version.
func (i migrations) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	t, err := i.target(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, t, action)
	if errors.Is(err, errMoved) {
		receipt, err = i.explain(ctx, t, action)
	}
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i migrations) apply(ctx context.Context, t migrationTarget, action incident.Action) (driver.Receipt, error) {
	var receipt driver.Receipt
	err := i.server.with(ctx, func(c *session) error {
		present, err := t.read(ctx, c)
		if err != nil {
			return err
		}
		if done, err := t.compare(present, action); done || err != nil {
			receipt.Detail = "the schema was there already"
			return err
		}
		wanted, err := t.wanted(present, action.To)
		if err != nil {
			return err
		}
		steps, err := way(present, wanted, t.folder)
		if _, ok := errors.AsType[*obstacleError](err); ok {
			return fmt.Errorf("%w: %w", driver.ErrInvalid, err)
		}
		if err != nil {
			return err
		}
		message := t.message(i.server.settings.Database, present, wanted, steps)
		done, err := c.run(ctx, message.text())
		if err != nil {
			return message.blame(done, err)
		}
		receipt = driver.Receipt{Mutated: true, Detail: fmt.Sprintf("%d steps run in one transaction, from version %d to %d", len(steps), present.version, wanted.version)}
		return nil
	})
	return receipt, err
}

// compare is done when the schema is at "to", and a *driver.DriftError when it is
// at neither.
func (t migrationTarget) compare(present history, action incident.Action) (done bool, err error) {
	switch digest := present.digest(t.tool, t.folder); digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: present.state(t.tool, t.folder), Difference: t.detail(present, action)}
}

// wanted is the history that a state stands for.
func (t migrationTarget) wanted(present history, state incident.State) (history, error) {
	var version int64
	if _, err := fmt.Sscanf(state.Revision, "%d", &version); err != nil || version < 0 {
		return history{}, fmt.Errorf("read version %q: %w", printable(state.Revision, maxShown), driver.ErrInvalid)
	}
	to := present.at(version, t.folder)
	if to.digest(t.tool, t.folder) != state.Digest {
		return history{}, fmt.Errorf("find version %d (%s) in the folder: %w", version, incident.ShortDigest(state.Digest), driver.ErrNotFound)
	}
	return to, nil
}

// explain finds out what a lost comparison means.
func (i migrations) explain(ctx context.Context, t migrationTarget, action incident.Action) (driver.Receipt, error) {
	var receipt driver.Receipt
	err := i.server.with(ctx, func(c *session) error {
		present, err := t.read(ctx, c)
		if err != nil {
			return err
		}
		done, err := t.compare(present, action)
		if err != nil {
			return err
		}
		if !done {
			return errMoved // "from" was put back: the next try sees it.
		}
		receipt.Detail = "the schema was taken there by somebody else"
		return nil
	})
	return receipt, err
}

// message is several statements that are sent as one.
type message struct {
	parts []part
}

// part is some statements of a message, with what they are for.
type part struct {
	sql string
	// statements is how many there are.
	statements int
	// step is set when they are a step of a migration.
	step *step
}

func (m *message) add(format string, args ...any) {
	m.parts = append(m.parts, part{sql: fmt.Sprintf(format, args...) + ";\n", statements: 1})
}

func (m *message) text() string {
	var b strings.Builder
	for _, p := range m.parts {
		b.WriteString(p.sql)
	}
	return b.String()
}

// blame says which step an error belongs to, of which so many statements were
// carried out.
func (m *message) blame(done int, err error) error {
	for _, p := range m.parts {
		if done < p.statements {
			if p.step != nil {
				return fmt.Errorf("run %s: %w", p.step.label(), err)
			}
			return err
		}
		done -= p.statements
	}
	return err
}

// message is the whole change as one transaction. The tool's lock is asked for and
// not waited for; the lock on the table keeps out whoever does not take the other.
func (t migrationTarget) message(database string, from, to history, steps []step) *message {
	m := &message{}
	path := make([]string, 0, len(t.set.SearchPath))
	for _, name := range t.set.SearchPath {
		path = append(path, quoteName(name))
	}
	m.add("BEGIN")
	for _, id := range t.tool.locks(database, t.set) {
		m.add("%s", raise(fmt.Sprintf("NOT pg_catalog.pg_try_advisory_xact_lock(%d)", id), codeBusy))
	}
	m.add("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds())
	if t.set.Role != "" {
		m.add("SET LOCAL ROLE %s", quoteName(t.set.Role))
	}
	m.add("LOCK TABLE %s IN EXCLUSIVE MODE", t.table)
	m.add("%s", raise(fmt.Sprintf("COALESCE((%s), '') <> %s", fmt.Sprintf(t.tool.exact, t.table), quoteText(from.exact)), codeMoved))
	for n := range steps {
		m.add("SET LOCAL search_path TO %s", strings.Join(path, ", "))
		m.parts = append(m.parts, part{sql: steps[n].text(), statements: len(steps[n].statements), step: &steps[n]})
	}
	m.add("%s", t.tool.record(t.table, from, to))
	m.add("COMMIT")
	return m
}

// raise is a statement that fails with a code when a condition holds.
func raise(condition, code string) string {
	body := fmt.Sprintf("BEGIN IF %s THEN RAISE SQLSTATE '%s'; END IF; END", condition, code)
	return "DO " + quoteText(body)
}
