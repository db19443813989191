package vault

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take: a few round trips.
const expectedTime = time.Second

// defaultKeep is how many versions are kept where neither the secret nor the engine
// says otherwise.
// Source: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
const defaultKeep = 10

// Plan finds the wanted version, and what stands in its way.
func (i secrets) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseSecret(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	planned, err := i.plan(ctx, &checks, at, req)
	if errors.Is(err, driver.ErrDenied) {
		checks.Block("permission", "Backout may not read the secret %s and its versions.", at.name())
		err = nil
	}
	switch {
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case checks.Blocked():
		return driver.Planned{Preflight: checks}, nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (i secrets) plan(ctx context.Context, checks *driver.Findings, at location, req driver.PlanRequest) (driver.Planned, error) {
	if _, err := i.conn.digestKey(); err != nil {
		checks.Block("digest key", "The settings name no digest_key_file that can be read, without which the digest of a secret would help to guess it.")
		return driver.Planned{}, nil
	}
	if ok, err := i.versioned(ctx, checks, at); !ok || err != nil {
		return driver.Planned{}, err
	}
	kept, err := i.conn.history(ctx, at)
	var present content
	if err == nil {
		present, err = i.conn.read(ctx, at, 0)
	}
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("secret exists", "There is no secret %s.", at.name())
		return driver.Planned{}, nil
	case err != nil:
		return driver.Planned{}, err
	}
	from, err := i.conn.state(present)
	if err != nil {
		return driver.Planned{}, err
	}
	checks.Pass("secret exists", "The secret %s is at %s.", at.name(), from.Label)
	number, ok := resolve(checks, at, kept, req)
	if !ok {
		return driver.Planned{}, nil
	}
	wanted, err := i.conn.read(ctx, at, number)
	if errors.Is(err, driver.ErrNotFound) {
		wanted, err = content{destroyed: true}, nil // It was removed since the history was read.
	}
	if err != nil {
		return driver.Planned{}, err
	}
	if wanted.data == nil {
		checks.Block("version exists", "Version %d of %s is gone.", number, at.name())
		return driver.Planned{}, nil
	}
	to, err := i.conn.state(wanted)
	if err != nil {
		return driver.Planned{}, err
	}
	if to.Digest == from.Digest {
		checks.Block("not there already", "The secret %s has the data of version %d already.", at.name(), number)
		return driver.Planned{}, nil
	}
	checks.Pass("version exists", "Version %d of %s was written at %s.", number, at.name(), wanted.created.UTC().Format(time.RFC3339))
	back := wayBack(checks, at, kept, present)
	if err := i.permitted(ctx, checks, at); err != nil {
		return driver.Planned{}, err
	}
	return driver.Planned{From: from, To: to, Reversible: back, ExpectedTime: expectedTime, WontRevert: slices.Clone(kvWontRevert)}, nil
}

// versioned checks that the secret is in an engine with versions.
func (i secrets) versioned(ctx context.Context, checks *driver.Findings, at location) (bool, error) {
	const name = "engine has versions"
	var mount struct {
		Path    string            `json:"path"`
		Type    string            `json:"type"`
		Options map[string]string `json:"options"`
	}
	err := i.conn.call(ctx, http.MethodGet, "sys/internal/ui/mounts/"+at.name(), nil, nil, &mount)
	switch {
	case errors.Is(err, driver.ErrDenied), errors.Is(err, driver.ErrNotFound):
		checks.Block("secret exists", "There is no engine at %s, or Backout may not use the secret %s.", at.mount, at.name())
		return false, nil
	case err != nil:
		return false, err
	case mount.Path != at.mount+"/" || mount.Type != "kv" && mount.Type != "generic":
		checks.Block(name, "There is no engine for secrets at %s.", at.mount)
		return false, nil
	case mount.Options["version"] != "2":
		checks.Block(name, "The engine at %s keeps no versions, so that there is nothing to go back to.", at.mount)
		return false, nil
	}
	checks.Pass(name, "The engine at %s keeps versions.", at.mount)
	return true, nil
}

// resolve is the number of the wanted version.
func resolve(checks *driver.Findings, at location, kept history, req driver.PlanRequest) (int, bool) {
	const name = "version exists"
	numbers := slices.Sorted(maps.Keys(kept.Versions))
	number := 0
	if req.Revision != "" {
		var err error
		if number, err = strconv.Atoi(req.Revision); err != nil || number <= 0 {
			checks.Block(name, "%q is not a version: versions of a secret are whole numbers above zero.", printable(req.Revision))
			return 0, false
		}
	} else {
		moment := req.Before.UTC().Format(time.RFC3339)
		for _, n := range numbers {
			if kept.Versions[n].Created.Before(req.Before) {
				number = n
			}
		}
		if number == 0 {
			checks.Block(name, "The versions of %s that are kept do not reach back before %s.", at.name(), moment)
			return 0, false
		}
		checks.Pass("was in place", "Version %d was in place before %s.", number, moment)
	}
	v, ok := kept.Versions[number]
	switch {
	case !ok && len(numbers) > 0:
		checks.Block(name, "Version %d of %s is not kept: those from %d to %d are.", number, at.name(), numbers[0], numbers[len(numbers)-1])
	case !ok:
		checks.Block(name, "No version of %s is kept.", at.name())
	case v.Destroyed:
		checks.Block(name, "Version %d of %s is destroyed.", number, at.name())
	case !v.Deleted.IsZero() && v.Deleted.Before(time.Now()):
		checks.Block("window is open", "Version %d of %s was deleted at %s: undelete it first, if that is meant.", number, at.name(), v.Deleted.UTC().Format(time.RFC3339))
	default:
		return number, true
	}
	return 0, false
}

// wayBack tells whether what is there now can be come back to.
func wayBack(checks *driver.Findings, at location, kept history, present content) bool {
	const name = "way back"
	keep := kept.Keep
	if keep == 0 {
		keep = defaultKeep
	}
	switch {
	case present.data == nil:
		checks.Warn(name, "The newest version of %s is deleted: Backout deletes nothing, so that there is no way back to that.", at.name())
		return false
	case keep == 1:
		checks.Warn(name, "One version of %s is kept, so that there is no way back to version %d.", at.name(), present.version)
		return false
	case len(kept.Versions) >= keep:
		checks.Warn(name, "%d versions of %s are kept: the oldest of them is removed by the one that is written.", keep, at.name())
	default:
		checks.Pass(name, "Version %d of %s stays as it is.", present.version, at.name())
	}
	return true
}

// permitted asks Vault what this token may do.
func (i secrets) permitted(ctx context.Context, checks *driver.Findings, at location) error {
	const name = "permission"
	switch allowed, err := i.conn.may(ctx, at.data(), "update"); {
	case ctx.Err() != nil:
		return err
	case err != nil:
		checks.Unknown(name, "Vault did not say whether Backout may write the secret %s.", at.name())
	case !allowed:
		checks.Block(name, "Backout may not write the secret %s.", at.name())
	default:
		checks.Pass(name, "Backout may write the secret %s.", at.name())
	}
	return nil
}
