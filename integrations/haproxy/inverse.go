package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector
// beside it.
const kind = "route.haproxy"

// backoutAuthor is the author of what Backout changes, as the extension calls it.
const backoutAuthor = "backout"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "network and traffic",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: "with the extension: a stats socket of level \"user\" and the token of backout.lua, whose BACKOUT_BACKENDS names the backend; without it: a stats socket of level \"admin\"",
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"connections and sessions that are open to a server already",
	"the weights in the configuration file, which are in force again after a reload",
	"other HAProxy processes with the same backend",
}

// inverse takes the weights of a backend back to an absolute state.
type inverse struct{ conn *connection }

// Observe reads the present state. Weights are in force at once.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	now, err := i.conn.servers(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: now.present.state(""), Settled: true, Detail: now.detail()}, nil
}

// detail is one line for people.
func (s servers) detail() string {
	line := "the weights are " + s.present.label()
	if len(s.down) > 0 {
		line += "; health checks fail for " + strings.Join(s.down, ", ")
	}
	return line
}

// Apply sets the weights of action.To if those of action.From are in force.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action, key)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, at location, action incident.Action, key string) (driver.Receipt, error) {
	from, err := spelled(action.From)
	if err != nil {
		return driver.Receipt{}, err
	}
	to, err := spelled(action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	now, err := i.conn.servers(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := compare(now, action); done || err != nil {
		return driver.Receipt{Detail: "the weights were there already"}, err
	}
	var mutated bool
	if i.conn.guarded() {
		mutated, err = i.conn.swapGuarded(ctx, at, from, to, key)
	} else {
		mutated, err = i.conn.swapInWindow(ctx, at, from, to)
	}
	var lost *overwrittenError
	switch {
	case errors.As(err, &lost):
		return driver.Receipt{}, drifted(action, lost.found, lost.Error()+": "+lost.found.words())
	case errors.Is(err, errChangedBack):
		return driver.Receipt{}, drifted(action, now.present, err.Error())
	case errors.Is(err, errMoved):
		return i.explain(ctx, at, action, mutated)
	case err != nil:
		return driver.Receipt{Mutated: mutated}, err
	}
	if !mutated {
		return driver.Receipt{Detail: "the weights were there already"}, nil
	}
	return driver.Receipt{Mutated: true, Detail: "the weights were set to " + to.label()}, nil
}

// spelled reads a state from its revision and checks that the digest is its own.
func spelled(state incident.State) (routes, error) {
	parsed, err := parseRoutes(state.Revision)
	if err != nil {
		return nil, fmt.Errorf("read revision: %w: %w", driver.ErrInvalid, err)
	}
	if parsed.digest() != state.Digest {
		return nil, fmt.Errorf("read revision %q: %w: it is not the state of the digest", printable(state.Revision), driver.ErrInvalid)
	}
	return parsed, nil
}

// compare is done when the target is at "to", and a *driver.DriftError when it is at
// neither.
func compare(now servers, action incident.Action) (done bool, err error) {
	switch now.present.digest() {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, drifted(action, now.present, now.detail())
}

// explain finds out what a lost compare-and-set means: somebody was faster, with the
// same state or another.
func (i inverse) explain(ctx context.Context, at location, action incident.Action, mutated bool) (driver.Receipt, error) {
	receipt := driver.Receipt{Mutated: mutated, Detail: "somebody else changed the weights in the same moment"}
	now, err := i.conn.servers(ctx, at)
	if err != nil {
		return receipt, err
	}
	if done, err := compare(now, action); done || err != nil {
		return receipt, err
	}
	return receipt, errMoved // "from" is there once more: the next try sees it.
}
