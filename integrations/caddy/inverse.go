package caddy

import (
	"context"
	"errors"
	"fmt"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source, the collector and the
// recorder beside it.
const kind = "route.caddy"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "network and traffic",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: `admin.remote.access_control: {"public_keys": ["<certificate of Backout>"], "permissions": [{"methods": ["GET", "PATCH"], "paths": ["/config/apps/http/servers", "/id"]}]}; the local admin endpoint asks for nothing`,
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"other parts of the configuration",
	"the Caddyfile or JSON that Caddy loads at its next start or reload",
	"requests that are under way, and connections that were upgraded",
	"other instances of Caddy",
}

// inverse takes a part of the configuration back to a captured state.
type inverse struct{ conn *connection }

// Observe reads the present state. A configuration that Caddy shows is in force.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	now, err := i.conn.read(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: now.content.state(""), Settled: true, Detail: now.detail()}, nil
}

// detail is one line for people.
func (p part) detail() string {
	state := p.content.state("")
	if state.Label == state.Revision {
		return "the configuration is " + state.Revision
	}
	return fmt.Sprintf("the configuration is %s (%s)", state.Revision, state.Label)
}

// Apply replaces the part by the content of action.To, if it is that of action.From
// under the ETag that it was read with. The state that it leaves is captured before.
func (i inverse) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action)
	if errors.Is(err, errMoved) {
		receipt, err = i.explain(ctx, at, action)
	}
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, at location, action incident.Action) (driver.Receipt, error) {
	now, err := i.conn.read(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := compare(now, action); done || err != nil {
		return driver.Receipt{Detail: "it was there already"}, err
	}
	wanted, err := i.conn.find(at, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	if err := i.conn.history.capture(at, now.content, i.conn.now(), seen); err != nil {
		return driver.Receipt{}, err
	}
	if err := i.conn.write(ctx, now, wanted); err != nil {
		if driver.Final(err) || errors.Is(err, errMoved) {
			return driver.Receipt{}, err
		}
		// Whether it had an effect is not known; that somebody else was faster may be.
		if seen, readErr := i.conn.read(ctx, at); readErr == nil {
			if _, drift := compare(seen, action); drift != nil {
				return driver.Receipt{}, drift
			}
		}
		return driver.Receipt{}, err
	}
	receipt := driver.Receipt{Mutated: true, Detail: fmt.Sprintf("the configuration was set to %s", wanted.state("").Label)}
	if err := i.conn.history.capture(at, wanted, i.conn.now(), backoutAuthor); err != nil {
		receipt.Detail += ", which the history does not tell yet"
	}
	return receipt, nil
}

// compare is done when the part is at "to", and a *driver.DriftError when it is at
// neither.
func compare(now part, action incident.Action) (done bool, err error) {
	switch now.content.digest() {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: now.content.state(""), Difference: now.detail()}
}

// explain finds out what a lost compare-and-set means: another writer was faster,
// with the same content or another.
func (i inverse) explain(ctx context.Context, at location, action incident.Action) (driver.Receipt, error) {
	now, err := i.conn.read(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := compare(now, action); done || err != nil {
		return driver.Receipt{Detail: "it was set by another writer"}, err
	}
	return driver.Receipt{}, errMoved // "from" is there once more: the next try sees it.
}
