package postgres

import (
	"context"
	_ "embed" // For RestoreTable.
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// restoreKind is the name of the inverse and of the change source beside it.
const restoreKind = "postgres.restore"

// RestoreTable is the script that a superuser runs once in the database that
// Backout connects to, before "postgres.restore" can be used there.
//
//go:embed restore.sql
var RestoreTable string

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       restoreKind,
		System:     systemType,
		Layer:      "database",
		TargetForm: "<name of the restore>",
		Reversible: true,
		OneWay:     "a database that is itself a copy of a dump: the way back is a new copy, without what was written since",
		WontRevert: restoreWontRevert,
		Permission: "the table of integrations/postgres/restore.sql; CREATE ROLE backout LOGIN NOINHERIT; GRANT USAGE ON SCHEMA backout TO backout; GRANT SELECT, INSERT ON backout.restores TO backout; GRANT <owner of the database> TO backout; ALTER ROLE <owner of the database> CREATEDB; GRANT pg_signal_backend TO <owner of the database>",
	}, func(s *server) driver.Inverse { return restores{s} })
	driver.RegisterSource(restoreKind, systemType, func(s *server) driver.ChangeSource { return restoreChanges{s} })
}

// restoreWontRevert lists what stays as it is.
var restoreWontRevert = []string{
	"the database that is in place now: it is kept beside the copy, with all its rows, until a person drops it",
	"what is written after the switch, should the switch be taken back: it stays in the copy",
	"all sessions of the database, which end; transactions under way are rolled back",
	"settings of single roles in the database (ALTER ROLE ... IN DATABASE), publications' subscribers and replication slots",
	"what other systems took from the rows that are not in the dump, such as queues, caches and mail",
}

// restores puts a verified copy of a dump in the place of a database, by their
// names. The original is never written to.
type restores struct{ server *server }

// database is one database as the server lists it.
type database struct {
	oid  uint32
	name string
	// dump and sum are of the dump that it is a verified copy of; empty when it is
	// none.
	dump, sum string
}

// verified is the comment of a copy, which is put on it when it is complete.
const verified = "backout: restored from %s %s"

var verifiedForm = regexp.MustCompile(`^backout: restored from ([A-Za-z0-9._-]{1,63}) (sha256:[0-9a-f]{64})$`)

// oidRevision begins the revision of a database that is no copy of a dump.
const oidRevision = "oid:"

// state is the identity of a database: the dump that it was restored from, or its
// object identifier. What is in it changes with every write.
func (d *database) state() incident.State {
	if d == nil {
		return incident.State{Revision: "absent", Digest: incident.DigestOf([]byte("absent")), Label: "no database"}
	}
	if d.sum != "" {
		return dumpState(d.dump, d.sum)
	}
	oid := strconv.FormatUint(uint64(d.oid), 10)
	return incident.State{Revision: oidRevision + oid, Digest: incident.DigestOf([]byte("oid " + oid)), Label: "the database with oid " + oid}
}

func dumpState(name, sum string) incident.State {
	return incident.State{Revision: name, Digest: incident.DigestOf([]byte("dump " + sum)), Label: "a copy of the dump " + name}
}

// asideName is what a database is called that was in place.
func (r Restore) asideName(oid uint32) string { return fmt.Sprintf("%s_was_%d", r.Database, oid) }

// copyName is what a copy is called before it is in place.
func (r Restore) copyName(sum string) string {
	return r.Database + "_bo_" + incident.ShortDigest(sum)
}

// find returns the restore that a target names.
func (i restores) find(t incident.Target) (Restore, error) {
	for _, r := range i.server.settings.Restores {
		if r.Name == t.Path {
			return r, nil
		}
	}
	return Restore{}, fmt.Errorf("find restore %q: %w: the settings have no such restore", printable(t.Path, maxShown), driver.ErrInvalid)
}

// databases reads the databases that bear one of some names; of what is not there
// nothing is returned.
func (c *session) databases(ctx context.Context, names ...string) (map[string]*database, error) {
	quoted := make([]string, 0, len(names))
	for _, name := range names {
		quoted = append(quoted, quoteText(name))
	}
	rows, err := c.query(ctx, "SELECT oid::text, datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname IN ("+strings.Join(quoted, ", ")+")")
	if err != nil {
		return nil, err
	}
	found := map[string]*database{}
	for _, row := range rows {
		oid, err := strconv.ParseUint(row[0].text, 10, 32)
		if err != nil {
			return nil, errors.New("read answer: an object identifier was expected")
		}
		d := &database{oid: uint32(oid), name: row[1].text}
		if parts := verifiedForm.FindStringSubmatch(row[2].text); parts != nil {
			d.dump, d.sum = parts[1], parts[2]
		}
		found[d.name] = d
	}
	return found, nil
}

// detail is one line for people about what was observed.
func (r Restore) detail(present *database) string {
	return fmt.Sprintf("%s is %s", r.Database, present.state().Label)
}

// Observe reads which database bears the name. It has settled at once.
func (i restores) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	r, err := i.find(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	var present *database
	err = i.server.with(ctx, func(c *session) error {
		found, err := c.databases(ctx, r.Database)
		present = found[r.Database]
		return err
	})
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(), Settled: true, Detail: r.detail(present)}, nil
}

// Apply makes a verified copy of the dump, unless there is one or the way back is
// taken, and then lets it and the database in place change their names, in one
// transaction with the comparison.
func (i restores) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	r, err := i.find(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	var receipt driver.Receipt
	for range 2 { // The second time explains what a lost comparison meant.
		err = i.server.with(ctx, func(c *session) error {
			receipt, err = i.apply(ctx, c, r, action)
			return err
		})
		if !errors.Is(err, errMoved) {
			break
		}
	}
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i restores) apply(ctx context.Context, c *session, r Restore, action incident.Action) (driver.Receipt, error) {
	found, err := c.databases(ctx, r.Database)
	if err != nil {
		return driver.Receipt{}, err
	}
	present := found[r.Database]
	switch state := present.state(); state.Digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "the database was in place already"}, nil
	case action.From.Digest:
	default:
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: state, Difference: r.detail(present)}
	}
	if present == nil {
		return driver.Receipt{}, fmt.Errorf("find database %q: %w", r.Database, driver.ErrNotFound)
	}
	rows, err := c.query(ctx, "SELECT pg_catalog.pg_try_advisory_lock($1::bigint)::text", strconv.FormatInt(r.lock(), 10))
	if err != nil {
		return driver.Receipt{}, err
	}
	if !rows[0][0].yes() {
		return driver.Receipt{}, errBusy
	}
	wanted, err := i.wanted(ctx, c, r, present, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	if _, err := c.run(ctx, r.change(present, wanted)); err != nil {
		return driver.Receipt{}, err
	}
	return driver.Receipt{Mutated: true, Detail: fmt.Sprintf("%s is %s; what it was before is kept as %s", r.Database, wanted.state().Label, r.asideName(present.oid))}, nil
}

// wanted is the database that a state stands for, which is made where it has to be.
func (i restores) wanted(ctx context.Context, c *session, r Restore, present *database, state incident.State) (*database, error) {
	gone := fmt.Errorf("find %q (%s): %w", printable(state.Revision, maxShown), incident.ShortDigest(state.Digest), driver.ErrNotFound)
	if text, ok := strings.CutPrefix(state.Revision, oidRevision); ok {
		oid, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read revision %q: %w", printable(state.Revision, maxShown), driver.ErrInvalid)
		}
		aside := r.asideName(uint32(oid))
		found, err := c.databases(ctx, aside)
		if err != nil {
			return nil, err
		}
		if d := found[aside]; d != nil && d.state().Digest == state.Digest {
			return d, nil
		}
		return nil, gone
	}
	dump, err := r.open(state.Revision)
	if err != nil {
		return nil, err
	}
	defer dump.close()
	sum, err := dump.sum()
	if err != nil {
		return nil, err
	}
	if dumpState(dump.name, sum).Digest != state.Digest {
		return nil, gone
	}
	name := r.copyName(sum)
	found, err := c.databases(ctx, name)
	if err != nil {
		return nil, err
	}
	if d := found[name]; d != nil && d.sum == sum {
		return d, nil // Made by an attempt that ended before the switch.
	}
	if err := i.copy(ctx, c, r, present, found[name] != nil, dump, sum); err != nil {
		if driver.Final(err) {
			_, _ = c.run(ctx, "DROP DATABASE IF EXISTS "+quoteName(name)+" WITH (FORCE)") // It would be dropped by the next attempt.
		}
		return nil, err
	}
	if found, err = c.databases(ctx, name); err != nil {
		return nil, err
	}
	if d := found[name]; d != nil && d.sum == sum {
		return d, nil
	}
	return nil, errMoved
}

// switchAttempts is how often the sessions of a database are ended. A session that
// begins between the end of the others and the lock makes PostgreSQL wait for five
// seconds and refuse.
// Source: CountOtherDBBackends in the server's procarray.c.
const switchAttempts = 2

// goneTicks is how often, every 5 ms, the ended sessions are looked for before the
// change of names: PostgreSQL itself waits in steps of 100 ms, with new sessions
// locked out.
const goneTicks = 100

// change is the one message that puts a database in the place of another. New
// sessions wait while it runs, and then find the database that bears the name.
func (r Restore) change(present, wanted *database) string {
	aside := r.asideName(present.oid)
	is := func(name string, oid uint32) string {
		return fmt.Sprintf("(SELECT oid FROM pg_catalog.pg_database WHERE datname = %s) IS DISTINCT FROM %d::oid", quoteText(name), oid)
	}
	body := fmt.Sprintf(`BEGIN
IF %[1]s OR %[2]s THEN RAISE SQLSTATE '%[3]s'; END IF;
FOR attempt IN 1..%[4]d LOOP
  PERFORM pg_catalog.pg_stat_clear_snapshot();
  PERFORM pg_catalog.pg_terminate_backend(s.pid) FROM pg_catalog.pg_stat_activity s JOIN pg_catalog.pg_roles u ON u.oid = s.usesysid
    WHERE s.datid IN (%[5]d, %[6]d) AND s.pid <> pg_catalog.pg_backend_pid() AND NOT u.rolsuper;
  FOR tick IN 1..%[12]d LOOP
    PERFORM pg_catalog.pg_stat_clear_snapshot();
    EXIT WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity s WHERE s.datid IN (%[5]d, %[6]d));
    PERFORM pg_catalog.pg_sleep(0.005);
  END LOOP;
  BEGIN
    ALTER DATABASE %[7]s RENAME TO %[8]s;
    ALTER DATABASE %[9]s RENAME TO %[7]s;
    EXIT;
  EXCEPTION WHEN object_in_use THEN
    IF attempt = %[4]d THEN RAISE; END IF;
  END;
END LOOP;
IF %[10]s OR %[11]s THEN RAISE SQLSTATE '%[3]s'; END IF;
END`, is(r.Database, present.oid), is(wanted.name, wanted.oid), codeMoved, switchAttempts, present.oid, wanted.oid,
		quoteName(r.Database), quoteName(aside), quoteName(wanted.name), is(r.Database, wanted.oid), is(aside, present.oid), goneTicks)
	values := []string{quoteText(r.Database), strconv.FormatUint(uint64(present.oid), 10), quoteText(present.state().Revision), strconv.FormatUint(uint64(wanted.oid), 10), quoteText(wanted.state().Revision)}
	return strings.Join(slices.Concat(r.begin(), []string{
		"DO " + quoteText(body),
		"SET LOCAL ROLE NONE",
		"INSERT INTO backout.restores (database, old_oid, old_revision, new_oid, new_revision) VALUES (" + strings.Join(values, ", ") + ")",
		"COMMIT",
	}), ";\n")
}

// begin starts a transaction of the owner.
func (r Restore) begin() []string {
	return []string{"BEGIN", fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds()), "SET LOCAL ROLE " + quoteName(r.Owner)}
}
