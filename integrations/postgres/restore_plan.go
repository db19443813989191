package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	// restoreTime is what a restore takes beside the rows, and restoreRate how many
	// bytes of a dump go into a copy in a second, for want of a measure.
	restoreTime = 5 * time.Second
	restoreRate = 10 << 20
)

// Plan finds the dump, reads its table of contents, and asks the server what stands
// in the way.
func (i restores) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	blocked := func() driver.Planned { return driver.Planned{Preflight: checks} }
	r, err := i.find(req.Target)
	if err != nil {
		checks.Block("restore exists", "The settings have no restore that is called %q.", printable(req.Target.Path, maxShown))
		return blocked(), nil
	}
	var planned driver.Planned
	err = i.server.with(ctx, func(c *session) error {
		planned, err = r.plan(ctx, c, &checks, req)
		return err
	})
	switch {
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not connect to the server, or not read what it needs there.")
		return blocked(), nil
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("permission", "The database that Backout connects to does not have the table backout.restores.")
		return blocked(), nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case checks.Blocked():
		return blocked(), nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (r Restore) plan(ctx context.Context, c *session, checks *driver.Findings, req driver.PlanRequest) (driver.Planned, error) {
	found, err := c.databases(ctx, r.Database)
	if err != nil {
		return driver.Planned{}, err
	}
	present := found[r.Database]
	if present == nil {
		checks.Block("database exists", "The database %s does not exist.", r.Database)
		return driver.Planned{}, nil
	}
	from := present.state()
	checks.Pass("database exists", "%s is %s.", r.Database, from.Label)
	if err := r.inFlight(ctx, c, checks); err != nil {
		return driver.Planned{}, err
	}
	planned := driver.Planned{From: from, Reversible: present.sum == "", ExpectedTime: restoreTime, WontRevert: restoreWontRevert}
	if strings.HasPrefix(req.Revision, oidRevision) {
		planned.To, err = r.kept(ctx, c, checks, req.Revision)
	} else {
		err = r.planDump(ctx, c, checks, req, &planned)
	}
	if err != nil || planned.To.Digest == "" {
		return driver.Planned{}, err
	}
	if planned.To.Digest == from.Digest {
		checks.Block("not there already", "%s is %s already.", r.Database, from.Label)
		return driver.Planned{}, nil
	}
	if !planned.Reversible {
		checks.Warn("way back", "%s is itself a copy of the dump %s: the way back is a new copy of it, without what was written since.", r.Database, present.dump)
	}
	aside := r.asideName(present.oid)
	if found, err = c.databases(ctx, aside); err != nil {
		return driver.Planned{}, err
	}
	if found[aside] != nil {
		checks.Block("name is free", "There is a database %s already, which is what the present one would be called.", aside)
		return driver.Planned{}, nil
	}
	if err := r.sessions(ctx, c, checks, present); err != nil {
		return driver.Planned{}, err
	}
	return planned, r.permitted(ctx, c, checks, present)
}

// sessions asks who is in the database, and has to leave it.
func (r Restore) sessions(ctx context.Context, c *session, checks *driver.Findings, present *database) error {
	const name = "sessions can end"
	rows, err := c.query(ctx, `SELECT pg_catalog.count(*)::text, (pg_catalog.count(*) FILTER (WHERE u.rolsuper))::text,
		(SELECT pg_catalog.count(*)::text FROM pg_catalog.pg_prepared_xacts x WHERE x.database = $2::name)
		FROM pg_catalog.pg_stat_activity s JOIN pg_catalog.pg_roles u ON u.oid = s.usesysid WHERE s.datid = $1::oid`, strconv.FormatUint(uint64(present.oid), 10), r.Database)
	if err != nil {
		return err
	}
	switch all, supers, prepared := rows[0][0].text, rows[0][1].text, rows[0][2].text; {
	case prepared != "0":
		checks.Block(name, "%s has prepared transactions (%s), which keep its name from being changed until they are committed or rolled back.", r.Database, prepared)
	case supers != "0":
		checks.Warn(name, "Of %s sessions in %s %s are of superusers, which Backout may not end: the switch waits for them.", all, r.Database, supers)
	default:
		checks.Pass(name, "The sessions in %s, now %s, end with the switch.", r.Database, all)
	}
	return nil
}

// kept finds a database that was in place before.
func (r Restore) kept(ctx context.Context, c *session, checks *driver.Findings, revision string) (incident.State, error) {
	const exists = "revision exists"
	oid, err := strconv.ParseUint(strings.TrimPrefix(revision, oidRevision), 10, 32)
	if err != nil {
		checks.Block(exists, "%q is not the object identifier of a database.", printable(revision, maxShown))
		return incident.State{}, nil
	}
	aside := r.asideName(uint32(oid))
	found, err := c.databases(ctx, aside)
	if err != nil {
		return incident.State{}, err
	}
	d := found[aside]
	if d == nil || uint64(d.oid) != oid {
		checks.Block(exists, "The server has no database %s with that object identifier any more.", aside)
		return incident.State{}, nil
	}
	if d.sum != "" {
		checks.Block(exists, "%s is an older copy of the dump %s: name the dump, of which a new copy is made.", aside, d.dump)
		return incident.State{}, nil
	}
	checks.Pass(exists, "%s is kept on the server.", aside)
	return d.state(), nil
}

// planDump finds the dump and says what is at risk.
func (r Restore) planDump(ctx context.Context, c *session, checks *driver.Findings, req driver.PlanRequest, planned *driver.Planned) error {
	const exists = "dump exists"
	name := req.Revision
	if name == "" {
		shown := req.Before.UTC().Format(time.RFC3339)
		best, err := r.before(ctx, req.Before)
		if err != nil {
			checks.Block(exists, "The dumps of %s can not be read (%s).", r.Database, printable(err.Error(), 2*maxShown))
			return nil
		}
		if best == nil {
			checks.Block(exists, "The dumps of %s do not reach back before %s.", r.Database, shown)
			return nil
		}
		name = best.name
	}
	d, err := r.open(name)
	switch {
	case errors.Is(err, driver.ErrNotFound), errors.Is(err, driver.ErrInvalid):
		checks.Block(exists, "The folder has no dump that is called %q.", printable(name, maxShown))
		return nil
	case err != nil:
		checks.Block(exists, "The dump %s can not be read (%s).", name, printable(err.Error(), 2*maxShown))
		return nil
	}
	defer d.close()
	is, err := r.list(ctx, d)
	if err != nil {
		checks.Block(exists, "The dump %s can not be read (%s).", name, printable(err.Error(), 2*maxShown))
		return nil
	}
	sum, err := d.sum()
	if err != nil {
		return err
	}
	info, err := d.file.Stat()
	if err != nil {
		return fmt.Errorf("read dump %q: %w", name, err)
	}
	made := is.created.Format(time.RFC3339)
	if major := c.major(); is.server > major {
		checks.Block(exists, "The dump %s is of PostgreSQL %d, which is newer than the server, version %d.", name, is.server, major)
		return nil
	}
	checks.Pass(exists, "The dump %s was made at %s and has %d bytes.", name, made, info.Size())
	if is.database != r.Database {
		checks.Warn("dump is of the database", "The dump %s is of a database that is called %s.", name, is.database)
	}
	if r.Check == "" {
		checks.Warn("copy is checked", "The settings have no check for a copy of %s: that all of it can be restored is all that is known then.", r.Database)
	}
	checks.Warn("keeps data", "What was written to %s since %s is not in the dump: it stays in the database that is put aside.", r.Database, made)
	planned.To = dumpState(name, sum)
	planned.ExpectedTime += time.Duration(info.Size()/restoreRate) * time.Second
	planned.WontRevert = append([]string{"everything that was written to " + r.Database + " since " + made + ", which clients do not see any more"}, restoreWontRevert...)
	return nil
}

// inFlight asks whether a copy is being made.
func (r Restore) inFlight(ctx context.Context, c *session, checks *driver.Findings) error {
	const name = "no deploy in flight"
	rows, err := c.query(ctx, `SELECT pg_catalog.count(*)::text FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND d.datname = pg_catalog.current_database()
		AND ((l.classid::bigint << 32) | l.objid::bigint) = $1::bigint`, strconv.FormatInt(r.lock(), 10))
	if err != nil {
		return err
	}
	if held, err := rows[0][0].whole(); err != nil || held > 0 {
		checks.Block(name, "A restore of %s is in flight.", r.Database)
		return nil
	}
	checks.Pass(name, "No restore of %s is under way.", r.Database)
	return nil
}

// permitted asks the server what the credential may do, and as whom.
func (r Restore) permitted(ctx context.Context, c *session, checks *driver.Findings, present *database) error {
	const name = "permission"
	right := "MEMBER"
	if c.major() >= 16 { // Since then a membership says itself whether the role may be taken on.
		right = "SET"
	}
	rows, err := c.query(ctx, `SELECT pg_catalog.pg_has_role(current_user, r.oid, $2::text)::text, r.rolcreatedb OR r.rolsuper, d.datdba = r.oid OR r.rolsuper,
		pg_catalog.pg_has_role(r.oid, 'pg_signal_backend', 'USAGE')::text, pg_catalog.has_table_privilege('backout.restores', 'INSERT')::text
		FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE r.rolname = $1::text AND d.oid = $3::oid`, r.Owner, right, strconv.FormatUint(uint64(present.oid), 10))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		checks.Block(name, "The role %s, which is to own the copy, does not exist.", printable(r.Owner, maxShown))
		return nil
	}
	for n, missing := range []string{
		"Backout may not take on the role %s.",
		"The role %s may not create databases.",
		"The role %s does not own the database.",
		"The role %s may not end the sessions of others.",
	} {
		if !rows[0][n].yes() {
			checks.Block(name, missing, printable(r.Owner, maxShown))
		}
	}
	if !rows[0][4].yes() {
		checks.Block(name, "Backout may not record the switch in backout.restores.")
	}
	if !checks.Blocked() {
		checks.Pass(name, "Backout may make a copy as %s and switch to it.", printable(r.Owner, maxShown))
	}
	return nil
}

// restoreChanges reads the switches that were made through Backout. PostgreSQL
// itself records none.
type restoreChanges struct{ server *server }

// Changes lists the switches in the window.
func (s restoreChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	r, err := restores(s).find(q.Target)
	if err != nil {
		return nil, err
	}
	var rows []row
	err = s.server.with(ctx, func(c *session) error {
		rows, err = c.query(ctx, "SELECT id::text, extract(epoch FROM at)::text, author::text, old_revision, new_revision FROM backout.restores WHERE database = $1::name ORDER BY id", r.Database)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeMigration
	}
	var found []incident.Change
	for _, row := range rows {
		at, err := row[1].moment()
		if err != nil {
			return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
		}
		if at.Before(q.Since) || at.After(q.Until) {
			continue
		}
		to := printable(row[4].text, maxShown)
		found = append(found, incident.Change{
			ID: r.Database + "@" + row[0].text, Source: restoreKind, Kind: kind, Service: q.Service, Target: q.Target,
			At: at, Author: printable(row[2].text, maxShown), From: printable(row[3].text, maxShown), To: to,
			Summary: fmt.Sprintf("database %s switched to %s", r.Database, to),
		})
	}
	return found, nil
}
