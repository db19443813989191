package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Plan finds the wanted version of the secret.
func (i roles) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	blocked := func() driver.Planned { return driver.Planned{Preflight: checks} }
	name := printable(req.Target.Path, maxShown)
	if _, ok := i.find(req.Target); !ok {
		checks.Block("role exists", "The settings have no role that is called %q.", name)
		return blocked(), nil
	}
	r, versions, err := i.target(req.Target)
	if err != nil {
		checks.Block("secrets exist", "The versions of the secret of %s can not be read (%s).", name, printable(err.Error(), 2*maxShown))
		return blocked(), nil
	}
	var planned driver.Planned
	err = i.server.with(ctx, func(c *session) error {
		planned, err = r.plan(ctx, c, &checks, versions, req)
		return err
	})
	switch {
	case errors.Is(err, driver.ErrNotFound), errors.Is(err, driver.ErrInvalid):
		checks.Block("permission", "The database does not have the functions of Backout for roles.")
		return blocked(), nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read which secret the role %s has.", r.Name)
		return blocked(), nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case checks.Blocked():
		return blocked(), nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (r RoleSecrets) plan(ctx context.Context, c *session, checks *driver.Findings, versions []secretVersion, req driver.PlanRequest) (driver.Planned, error) {
	present, err := r.read(ctx, c, versions)
	if err != nil {
		return driver.Planned{}, err
	}
	if !present.there {
		checks.Block("role exists", "The role %s does not exist, or is not one that Backout may change.", r.Name)
		return driver.Planned{}, nil
	}
	from, err := present.state(r.Name)
	if err != nil {
		return driver.Planned{}, err
	}
	checks.Pass("role exists", "The role %s has %s and %s.", r.Name, from.Label, counted(int(present.sessions), "session"))
	version, err := r.resolve(ctx, c, checks, present, req)
	if err != nil || version == "" {
		return driver.Planned{}, err
	}
	at := slices.IndexFunc(versions, func(v secretVersion) bool { return v.version == version })
	if at < 0 {
		checks.Block("version exists", "The secret of %s has no version %s.", r.Name, printable(version, maxShown))
		return driver.Planned{}, nil
	}
	to, err := versions[at].state(r.Name)
	if err != nil {
		return driver.Planned{}, err
	}
	if to.Digest == from.Digest {
		checks.Block("not there already", "The role %s has %s already.", r.Name, to.Label)
		return driver.Planned{}, nil
	}
	if present.version != nil && present.version.password == versions[at].password {
		checks.Block("not there already", "Versions %s and %s of the secret are the same.", present.version.version, version)
		return driver.Planned{}, nil
	}
	checks.Pass("version exists", "The secret of %s has version %s.", r.Name, version)
	if present.version == nil {
		checks.Warn("way back", "The present secret of %s is no known version, so that there is no way back to it.", r.Name)
	}
	for _, function := range []string{"set_role_secret(name, text, text, text, text)", "end_role_sessions(name)"} {
		rows, err := c.query(ctx, "SELECT pg_catalog.has_function_privilege($1::text, 'EXECUTE')::text", "backout."+function)
		if err != nil {
			return driver.Planned{}, err
		}
		if !rows[0][0].yes() {
			checks.Block("permission", "Backout may not call backout.%s.", function)
			return driver.Planned{}, nil
		}
	}
	checks.Pass("permission", "Backout may change the secret of %s and end its sessions.", r.Name)
	return driver.Planned{From: from, To: to, Reversible: present.version != nil, ExpectedTime: roleTime, WontRevert: roleWontRevert}, nil
}

// resolve is the name of the wanted version; empty when a check says why there is
// none.
func (r RoleSecrets) resolve(ctx context.Context, c *session, checks *driver.Findings, present roleState, req driver.PlanRequest) (string, error) {
	if req.Revision != "" {
		return req.Revision, nil
	}
	const name = "version exists"
	shown := req.Before.UTC().Format(time.RFC3339)
	rotations, err := r.history(ctx, c)
	if err != nil {
		return "", err
	}
	switch {
	case len(rotations) == 0:
		checks.Block(name, "PostgreSQL keeps no history of secrets, and that of Backout does not reach back before %s: name the version.", shown)
		return "", nil
	case rotations[len(rotations)-1].digest != present.digest:
		checks.Block(name, "The secret of %s was changed past the history of Backout, so that it does not say what was in place at %s.", r.Name, shown)
		return "", nil
	}
	version := rotations[0].from
	for _, rotation := range rotations {
		if rotation.at.Before(req.Before) {
			version = rotation.to
		}
	}
	checks.Pass("was in place", "Version %s was in place before %s.", printable(version, maxShown), shown)
	return version, nil
}

// rotation is one change of a secret that was made through the functions.
type rotation struct {
	id               string
	at               time.Time
	author, from, to string
	digest           string
}

func (r RoleSecrets) history(ctx context.Context, c *session) ([]rotation, error) {
	rows, err := c.query(ctx, "SELECT id::text, extract(epoch FROM at)::text, author::text, old_version, new_version, new_digest FROM backout.role_history($1::name)", r.Name)
	if err != nil {
		return nil, err
	}
	var found []rotation
	for _, row := range rows {
		at, err := row[1].moment()
		if err != nil {
			return nil, err
		}
		found = append(found, rotation{id: row[0].text, at: at, author: printable(row[2].text, maxShown), from: row[3].text, to: row[4].text, digest: row[5].text})
	}
	return found, nil
}

// roleChanges reads the rotations that were made through the functions. PostgreSQL
// itself records none.
type roleChanges struct{ server *server }

// Changes lists the rotations in the window.
func (s roleChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	r, ok := roles(s).find(q.Target)
	if !ok {
		return nil, fmt.Errorf("list changes of %s: %w: the settings have no such role", q.Target, driver.ErrInvalid)
	}
	var rotations []rotation
	err := s.server.with(ctx, func(c *session) (err error) {
		rotations, err = r.history(ctx, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeAccess
	}
	var found []incident.Change
	for _, rotation := range rotations {
		if rotation.at.Before(q.Since) || rotation.at.After(q.Until) {
			continue
		}
		to := "secret version " + printable(rotation.to, maxShown)
		found = append(found, incident.Change{
			ID: r.Name + "@" + rotation.id, Source: roleKind, Kind: kind, Service: q.Service, Target: q.Target,
			At: rotation.at, Author: rotation.author, From: "secret version " + printable(rotation.from, maxShown), To: to,
			Summary: fmt.Sprintf("role %s given %s", r.Name, to),
		})
	}
	return found, nil
}
