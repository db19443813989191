package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// migrationTime is what a change of a schema is expected to take, for want of a
// measure: the statements of a catalogue are quick, those that rewrite a table are
// not.
const migrationTime = 10 * time.Second

// Plan resolves the wanted version, takes all steps in between apart, and asks the
// server what stands in the way. It runs none of them.
func (i migrations) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	blocked := func() driver.Planned { return driver.Planned{Preflight: checks} }
	name := printable(req.Target.Path, maxShown)
	if _, ok := i.find(req.Target); !ok {
		checks.Block("migrations exist", "The settings have no migrations that are called %q.", name)
		return blocked(), nil
	}
	t, err := i.target(req.Target)
	if err != nil {
		checks.Block("migrations exist", "The folder with the migrations %s can not be read (%s).", name, printable(err.Error(), 2*maxShown))
		return blocked(), nil
	}
	var planned driver.Planned
	err = i.server.with(ctx, func(c *session) error {
		planned, err = t.plan(ctx, c, &checks, i.server.settings.Database, req)
		return err
	})
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("version table exists", "The version table %s.%s does not exist, so that no migration is known to have been run.", t.set.Schema, t.set.Table)
		return blocked(), nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the version table %s.%s.", t.set.Schema, t.set.Table)
		return blocked(), nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case checks.Blocked():
		return blocked(), nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (t migrationTarget) plan(ctx context.Context, c *session, checks *driver.Findings, database string, req driver.PlanRequest) (driver.Planned, error) {
	present, err := t.read(ctx, c)
	if err != nil {
		return driver.Planned{}, err
	}
	from := present.state(t.tool, t.folder)
	switch _, known := t.folder.find(present.version); {
	case present.dirty:
		checks.Block("version is clean", "The database is at %s: a migration of it began and did not end, and a person has to mend that first.", from.Label)
	case !known:
		checks.Block("version is known", "The database is at version %d, which the folder of the migrations does not have.", present.version)
	default:
		checks.Pass("version is clean", "The database is at %s.", from.Label)
	}
	if err := t.inFlight(ctx, c, checks, database); err != nil {
		return driver.Planned{}, err
	}
	wanted, ok := t.resolve(checks, present, req)
	if !ok || checks.Blocked() {
		return driver.Planned{}, nil
	}
	to := present.at(wanted, t.folder)
	steps, err := way(present, to, t.folder)
	if err != nil {
		return driver.Planned{}, blockObstacle(checks, err)
	}
	checks.Pass("steps exist", "%s to be run in one transaction: %s.", counted(len(steps), "step"), names(steps))
	lost := destruction(steps)
	reversible := t.wayBack(checks, present, to) && len(lost) == 0
	if len(lost) > 0 {
		checks.Warn("keeps data", "The way there destroys something, and the way back does not bring it back: %s.", lost[0])
	} else {
		checks.Pass("keeps data", "Every statement of the way there is known to destroy nothing.")
	}
	if err := t.permitted(ctx, c, checks, steps); err != nil {
		return driver.Planned{}, err
	}
	return driver.Planned{
		From: from, To: to.state(t.tool, t.folder),
		Reversible:   reversible,
		ExpectedTime: migrationTime,
		WontRevert:   append(lost, migrationWontRevert...),
	}, nil
}

// blockObstacle notes why a step can not be run; any other error is returned.
func blockObstacle(checks *driver.Findings, err error) error {
	obstacle, ok := errors.AsType[*obstacleError](err)
	if !ok {
		return err
	}
	checks.Block("steps exist", "%s.", obstacle.reason)
	return nil
}

// wayBack says whether the swapped action could be run.
func (t migrationTarget) wayBack(checks *driver.Findings, present, to history) bool {
	const name = "way back"
	again := to.at(present.version, t.folder)
	if again.digest(t.tool, t.folder) != present.digest(t.tool, t.folder) {
		checks.Warn(name, "The folder has migrations below %d that were never run, so that going up again would lead elsewhere.", present.version)
		return false
	}
	if _, err := way(to, again, t.folder); err != nil {
		if obstacle, ok := errors.AsType[*obstacleError](err); ok {
			checks.Warn(name, "%s.", obstacle.reason)
		}
		return false
	}
	return true
}

// resolve finds the wanted version.
func (t migrationTarget) resolve(f *driver.Findings, present history, req driver.PlanRequest) (int64, bool) {
	const exists = "version exists"
	if req.Revision == "" {
		return t.before(f, present, req.Before)
	}
	version, err := strconv.ParseInt(req.Revision, 10, 64)
	m, known := t.folder.find(version)
	switch {
	case err != nil || version < 0:
		f.Block(exists, "%q is not a version: versions are whole numbers, and 0 is no migration at all.", printable(req.Revision, maxShown))
	case version == present.version:
		f.Block("not there already", "The database is at %s already.", m.label())
	case !known:
		f.Block(exists, "The folder has no migration of version %d.", version)
	case version > present.version: // Back up again, after a way down.
		f.Pass(exists, "%s is above the present version %d.", capital(m.label()), present.version)
		return version, true
	case version > 0 && !present.has(version):
		f.Block(exists, "%s was never applied to this database.", capital(m.label()))
	default:
		f.Pass(exists, "%s is below the present version %d.", capital(m.label()), present.version)
		return version, true
	}
	return 0, false
}

// before finds the version that was in place at a moment.
func (t migrationTarget) before(f *driver.Findings, present history, moment time.Time) (int64, bool) {
	const exists = "version exists"
	shown := moment.UTC().Format(time.RFC3339)
	if len(present.applied) == 0 {
		f.Block(exists, "The database has no migration, so that there is none to go back from.")
		return 0, false
	}
	if t.tool.name == golangMigrate {
		return t.beforeLast(f, present, moment)
	}
	var version int64
	for _, a := range present.applied {
		if a.at.IsZero() {
			f.Block(exists, "The version table does not say when version %d was applied.", a.version)
			return 0, false
		}
		if a.at.Before(moment) {
			version = max(version, a.version)
		}
	}
	late := slices.IndexFunc(present.applied, func(a applied) bool { return a.version <= version && !a.at.Before(moment) })
	switch {
	case version == present.version && late < 0:
		f.Block("not there already", "No migration was applied since %s.", shown)
	case late >= 0:
		f.Block(exists, "Version %d was applied out of order, after version %d, so that no version stands for the schema at %s.", present.applied[late].version, version, shown)
	case version == 0 && (present.began.IsZero() || !present.began.Before(moment)):
		f.Block(exists, "The version table does not reach back before %s.", shown)
	default:
		m, _ := t.folder.find(version)
		f.Pass(exists, "%s was the newest before %s.", capital(m.label()), shown)
		return version, true
	}
	return 0, false
}

// beforeLast is for golang-migrate, which keeps no times: the server may know when
// the one row was written.
func (t migrationTarget) beforeLast(f *driver.Findings, present history, moment time.Time) (int64, bool) {
	const exists = "version exists"
	shown := moment.UTC().Format(time.RFC3339)
	last := present.applied[len(present.applied)-1]
	switch {
	case last.at.IsZero():
		f.Block(exists, "Neither golang-migrate nor the server, which does not track the time of commits, knows what was in place at %s: name the version.", shown)
		return 0, false
	case last.at.Before(moment):
		f.Block("not there already", "No migration was applied since %s.", shown)
		return 0, false
	}
	var version int64
	if n := len(present.applied); n > 1 {
		version = present.applied[n-2].version
	}
	m, _ := t.folder.find(version)
	f.Unknown(exists, "The last migration was recorded at %s; golang-migrate does not say whether %s, the one below it, was in place before %s.", last.at.Format(time.RFC3339), m.label(), shown)
	return version, true
}

// inFlight asks whether the tool is at work.
func (t migrationTarget) inFlight(ctx context.Context, c *session, checks *driver.Findings, database string) error {
	const name = "no deploy in flight"
	ids := t.tool.locks(database, t.set)
	spelled := make([]string, 0, len(ids))
	for _, id := range ids {
		spelled = append(spelled, strconv.FormatInt(id, 10))
	}
	rows, err := c.query(ctx, `SELECT pg_catalog.count(*)::text FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND d.datname = pg_catalog.current_database()
		AND ((l.classid::bigint << 32) | l.objid::bigint) = ANY ($1::bigint[])`, "{"+strings.Join(spelled, ",")+"}")
	if err != nil {
		return err
	}
	if held, err := rows[0][0].whole(); err != nil || held > 0 {
		checks.Block(name, "A migration is in flight: the lock of %s is held.", t.tool.name)
		return nil
	}
	checks.Pass(name, "Nobody holds the lock of %s.", t.tool.name)
	return nil
}

// permitted asks the server what the credential may do, and as whom.
func (t migrationTarget) permitted(ctx context.Context, c *session, checks *driver.Findings, steps []step) error {
	const name = "permission"
	role := t.set.Role
	if role == "" {
		role = c.user
	} else {
		// Since version 16 a membership says itself whether the role may be taken on.
		right := "MEMBER"
		if c.major() >= 16 {
			right = "SET"
		}
		rows, err := c.query(ctx, "SELECT pg_catalog.pg_has_role(current_user, r.oid, $2::text)::text FROM pg_catalog.pg_roles r WHERE r.rolname = $1::text", role, right)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			checks.Block(name, "The role %s, which is to run the steps, does not exist.", printable(role, maxShown))
			return nil
		}
		if !rows[0][0].yes() {
			checks.Block(name, "Backout may not take on the role %s, which is to run the steps.", printable(role, maxShown))
			return nil
		}
	}
	for _, right := range t.tool.rights {
		rows, err := c.query(ctx, "SELECT pg_catalog.has_table_privilege($1::name, $2::text, $3::text)::text", role, t.table, right)
		if err != nil {
			return err
		}
		if !rows[0][0].yes() {
			checks.Block(name, "The role %s may not %s the version table %s.%s.", printable(role, maxShown), strings.ToLower(right), t.set.Schema, t.set.Table)
			return nil
		}
	}
	if err := t.owned(ctx, c, checks, role, steps); err != nil {
		return err
	}
	if !checks.Blocked() {
		checks.Pass(name, "The role %s may run the steps and record the version.", printable(role, maxShown))
	}
	return nil
}

// owned asks whether what the steps alter or drop belongs to the role. What is not
// there yet is made by an earlier step.
func (t migrationTarget) owned(ctx context.Context, c *session, checks *driver.Findings, role string, steps []step) error {
	for _, relation := range relations(steps) {
		spellings := []string{relation}
		if !strings.Contains(relation, ".") {
			spellings = nil
			for _, schema := range t.set.SearchPath {
				spellings = append(spellings, quoteName(schema)+"."+relation)
			}
		}
		for _, spelled := range spellings {
			rows, err := c.query(ctx, "SELECT pg_catalog.pg_has_role($1::name, c.relowner, 'USAGE')::text FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($2::text)", role, spelled)
			if errors.Is(err, driver.ErrDenied) {
				checks.Unknown("permission", "The server did not say to whom %s belongs.", printable(relation, maxShown))
				break
			}
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				continue
			}
			if !rows[0][0].yes() {
				checks.Block("permission", "The role %s does not own %s, which a step alters.", printable(role, maxShown), printable(relation, maxShown))
			}
			break
		}
	}
	return nil
}

func names(steps []step) string {
	const most = 6
	var labels []string
	for _, s := range steps[:min(len(steps), most)] {
		labels = append(labels, s.label())
	}
	if len(steps) > most {
		labels = append(labels, fmt.Sprintf("and %d more", len(steps)-most))
	}
	return strings.Join(labels, ", ")
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
