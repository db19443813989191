package postgres

import (
	"context"
	_ "embed" // For RoleFunctions.
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// roleKind is the name of the inverse and of the change source beside it.
const roleKind = "postgres.role"

// RoleFunctions is the script that a superuser runs once in the database that
// Backout connects to, before "postgres.role" can be used there.
//
//go:embed role.sql
var RoleFunctions string

// roleTime is what a rotation is expected to take: a few round trips.
const roleTime = 2 * time.Second

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       roleKind,
		System:     systemType,
		Layer:      "security",
		TargetForm: "<role>",
		Reversible: true,
		OneWay:     "a role whose present secret is no known version",
		WontRevert: roleWontRevert,
		Permission: "the functions of integrations/postgres/role.sql; INSERT INTO backout.roles VALUES ('<role>'); GRANT USAGE ON SCHEMA backout TO backout; GRANT EXECUTE ON FUNCTION backout.role_secret, backout.role_history, backout.set_role_secret, backout.end_role_sessions TO backout",
	}, func(s *server) driver.Inverse { return roles{s} })
	driver.RegisterSource(roleKind, systemType, func(s *server) driver.ChangeSource { return roleChanges{s} })
}

// roleWontRevert lists what stays as it is.
var roleWontRevert = []string{
	"what was read or written by whoever held the other secret",
	"the sessions of the role, which all end; transactions under way are rolled back",
	"the copies of the secret that clients hold: they have to be given the version that is set",
}

// roles changes the credential of a role to a version of its secret.
type roles struct{ server *server }

// roleState is what the server says about a role.
type roleState struct {
	there bool
	// salt and digest are of the verifier.
	salt, digest string
	// version is the one that the verifier was made for; nil when it is none.
	version *secretVersion
	// sessions is how many there are, older how many were opened before the
	// credential was changed; -1 when the server does not know.
	sessions, older int64
}

// find returns the settings of a target.
func (i roles) find(t incident.Target) (RoleSecrets, bool) {
	for _, r := range i.server.settings.Roles {
		if r.Name == t.Path {
			return r, true
		}
	}
	return RoleSecrets{}, false
}

func (i roles) target(t incident.Target) (RoleSecrets, []secretVersion, error) {
	r, ok := i.find(t)
	if !ok {
		return RoleSecrets{}, nil, fmt.Errorf("find role %q: %w: the settings have no such role", printable(t.Path, maxShown), driver.ErrInvalid)
	}
	versions, err := r.versions()
	return r, versions, err
}

// read asks for the present state.
func (r RoleSecrets) read(ctx context.Context, c *session, versions []secretVersion) (roleState, error) {
	rows, err := c.query(ctx, "SELECT salt, digest, sessions::text, older::text FROM backout.role_secret($1::name)", r.Name)
	if err != nil || len(rows) == 0 {
		return roleState{}, err
	}
	found := roleState{there: true, salt: rows[0][0].text, digest: rows[0][1].text, older: -1}
	if found.sessions, err = rows[0][2].whole(); err != nil {
		return roleState{}, err
	}
	if !rows[0][3].null {
		if found.older, err = rows[0][3].whole(); err != nil {
			return roleState{}, err
		}
	}
	for n := range versions {
		same, err := versions[n].matches(found.salt, found.digest)
		if err != nil {
			return roleState{}, err
		}
		if same {
			found.version = &versions[n]
			break
		}
	}
	return found, nil
}

// state of a secret that is no known version is told by its verifier.
func (s roleState) state(role string) (incident.State, error) {
	if s.version == nil {
		digest := incident.DigestOf([]byte("unknown\x00" + s.digest))
		return incident.State{Revision: "unknown", Digest: digest, Label: "a secret that is no known version"}, nil
	}
	return s.version.state(role)
}

func (v secretVersion) state(role string) (incident.State, error) {
	digest, err := v.digest(role)
	return incident.State{Revision: v.version, Digest: digest, Label: "secret version " + v.version}, err
}

// detail is one line for people about what was observed.
func (s roleState) detail(role string) string {
	line := "the role " + role + " has "
	if s.version == nil {
		line += "a secret that is no known version"
	} else {
		line += "secret version " + s.version.version
	}
	line += fmt.Sprintf(" and %s", counted(int(s.sessions), "session"))
	if s.older > 0 {
		line += fmt.Sprintf(", of which %d were opened before it was changed", s.older)
	}
	return line
}

// Observe reads which version of the secret the role has. It has settled when no
// session is left that was opened with another.
func (i roles) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	r, versions, err := i.target(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	var seen driver.Observation
	err = i.server.with(ctx, func(c *session) error {
		present, err := r.read(ctx, c, versions)
		if err != nil {
			return err
		}
		if !present.there {
			return driver.ErrNotFound
		}
		seen = driver.Observation{Settled: present.older <= 0, Detail: present.detail(r.Name)}
		seen.State, err = present.state(r.Name)
		return err
	})
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return seen, nil
}

// Apply sets the verifier of a version if the present one is still there, and ends
// all sessions of the role once that is committed.
func (i roles) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	r, versions, err := i.target(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	var receipt driver.Receipt
	for range 2 { // The second time explains what a lost comparison meant.
		err = i.server.with(ctx, func(c *session) error {
			receipt, err = r.apply(ctx, c, versions, action)
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

func (r RoleSecrets) apply(ctx context.Context, c *session, versions []secretVersion, action incident.Action) (driver.Receipt, error) {
	present, err := r.read(ctx, c, versions)
	if err != nil {
		return driver.Receipt{}, err
	}
	if !present.there {
		return driver.Receipt{}, driver.ErrNotFound
	}
	state, err := present.state(r.Name)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch state.Digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "the role had that version already"}, nil
	case action.From.Digest:
	default:
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: state, Difference: present.detail(r.Name)}
	}
	wanted, err := r.wanted(versions, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	text, err := wanted.own(r.Name)
	if err != nil {
		return driver.Receipt{}, err
	}
	arguments := []string{r.Name, present.digest, text, state.Revision, wanted.version}
	for n, a := range arguments {
		arguments[n] = quoteText(a)
	}
	// The sessions end after the commit: one that ended before it could come back
	// with the old secret. The server goes through with it whoever has left.
	_, err = c.run(ctx, strings.Join([]string{
		"BEGIN",
		fmt.Sprintf("SET LOCAL lock_timeout = %d", lockTimeout.Milliseconds()),
		"SELECT backout.set_role_secret(" + strings.Join(arguments, ", ") + ")",
		"COMMIT",
		"SELECT backout.end_role_sessions(" + quoteText(r.Name) + ")",
	}, ";\n"))
	if err != nil {
		return driver.Receipt{}, err
	}
	return driver.Receipt{Mutated: true, Detail: fmt.Sprintf("secret version %s set, and all sessions of the role ended", wanted.version)}, nil
}

// wanted finds the version that a state stands for.
func (r RoleSecrets) wanted(versions []secretVersion, state incident.State) (secretVersion, error) {
	at := slices.IndexFunc(versions, func(v secretVersion) bool { return v.version == state.Revision })
	if at >= 0 {
		digest, err := versions[at].digest(r.Name)
		if err != nil || digest == state.Digest {
			return versions[at], err
		}
	}
	return secretVersion{}, fmt.Errorf("find secret version %q (%s): %w", printable(state.Revision, maxShown), incident.ShortDigest(state.Digest), driver.ErrNotFound)
}
