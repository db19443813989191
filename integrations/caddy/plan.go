package caddy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take: Caddy takes on a configuration
// in less than a second.
const expectedTime = 2 * time.Second

// Plan resolves the wanted state against those that were captured.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	blocked := func() (driver.Planned, error) { return driver.Planned{Preflight: checks}, nil }
	now, err := i.conn.read(ctx, at)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("target exists", "Caddy has no configuration at %s.", at.path)
		return blocked()
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the configuration at %s.", at.path)
		return blocked()
	case errors.Is(err, driver.ErrInvalid):
		checks.Block("target exists", "What answers at %s is too large, or no admin API with ETags.", at.path)
		return blocked()
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	present := now.content.state("")
	checks.Pass("target exists", "The configuration at %s is %s.", at.path, present.Label)
	wanted, label, ok, err := i.resolve(&checks, at, req)
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if !ok {
		return blocked()
	}
	to := wanted.state(label)
	if to.Digest == present.Digest {
		checks.Block("not there already", "The configuration at %s is %s already.", at.path, to.Label)
		return blocked()
	}
	checks.Pass("not there already", "%s differs from %s.", to.Revision, present.Revision)
	allowed, err := i.conn.may(ctx, now)
	switch {
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case !allowed:
		checks.Block("permission", "Backout may not change the configuration at %s.", at.path)
		return blocked()
	}
	checks.Pass("permission", "Backout may change the configuration at %s.", at.path)
	return driver.Planned{
		From:         present,
		To:           to,
		Reversible:   true,
		ExpectedTime: expectedTime,
		WontRevert:   slices.Clone(wontRevert),
		Preflight:    checks,
	}, nil
}

// resolve finds the wanted state: a name of the settings, a revision, or what was
// captured last before a moment.
func (i inverse) resolve(checks *driver.Findings, at location, req driver.PlanRequest) (wanted content, label string, ok bool, err error) {
	const exists = "revision exists"
	for _, named := range i.conn.settings.States {
		if req.Revision == "" || named.Name != req.Revision || named.Target != at.path {
			continue
		}
		wanted, err := i.conn.named(named)
		if err != nil {
			checks.Block(exists, "The file of the state %q can not be read, or is no JSON.", named.Name)
			return nil, "", false, nil //nolint:nilerr // It stands in the way of the rollback, and of nothing else.
		}
		checks.Pass(exists, "The settings have a state %q.", named.Name)
		return wanted, named.Name, true, nil
	}
	entries, err := i.conn.history.list(at)
	if err != nil {
		return nil, "", false, err
	}
	var found entry
	if req.Revision != "" {
		n := slices.IndexFunc(entries, func(e entry) bool { return revision(e.digest) == req.Revision })
		if n < 0 {
			return i.fromFiles(checks, at, req.Revision)
		}
		found = entries[n]
		checks.Pass(exists, "%s was captured at %s.", req.Revision, found.at.Format(time.RFC3339))
	} else {
		moment := req.Before.UTC().Format(time.RFC3339)
		if found, ok = before(entries, req.Before); !ok {
			checks.Block(exists, "The captured states of %s do not reach back before %s.", at.path, moment)
			return nil, "", false, nil
		}
		checks.Pass(exists, "%s was in force before %s, as far as it was recorded.", revision(found.digest), moment)
	}
	wanted, err = found.read()
	if errors.Is(err, driver.ErrNotFound) {
		checks.Block(exists, "The captured state %s was forgotten or altered.", revision(found.digest))
		return nil, "", false, nil
	}
	return wanted, "", err == nil, err
}

// fromFiles looks for a revision among the files that the settings name.
func (i inverse) fromFiles(checks *driver.Findings, at location, wanted string) (found content, label string, ok bool, err error) {
	const exists = "revision exists"
	for _, named := range i.conn.settings.States {
		if named.Target != at.path {
			continue
		}
		if state, err := i.conn.named(named); err == nil && revision(state.digest()) == wanted {
			checks.Pass(exists, "The settings have it as the state %q.", named.Name)
			return state, named.Name, true, nil
		}
	}
	if !revisionPattern.MatchString(wanted) {
		checks.Block(exists, "The settings have no state of that name for %s, and it is no revision.", at.path)
		return nil, "", false, nil
	}
	checks.Block(exists, "Revision %s of %s was not captured.", wanted, at.path)
	return nil, "", false, nil
}
