package varnish

import (
	"context"
	"errors"
	"fmt"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector
// beside it.
const kind = "edge.varnish"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "edge and CDN",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: append([]string{"what a ban that goes with the switch removes from the cache: it is fetched again, in both directions"}, wontRevert...),
		Permission: "the secret of the management port (varnishd -S); Varnish knows no lesser right",
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"responses that browsers and other caches have kept",
	"the file that Varnish loads at its next start",
	"requests that are under way, which end under the VCL they began with",
}

// stillCached is what stays where no ban goes with the switch.
const stillCached = "what was cached under the other VCL, until it expires or is banned"

// inverse takes a target back to a VCL that is loaded still.
type inverse struct{ conn *connection }

// Observe reads what the target points to. A switch is in force at once.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	now, _, err := i.conn.present(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: now.state(), Settled: true, Detail: now.detail(at)}, nil
}

// detail is one line for people.
func (v version) detail(at location) string {
	return fmt.Sprintf("the %s is %s (source %s)", at.words(), v.words(), incident.ShortDigest(v.source))
}

// Apply switches the target to action.To if it is at action.From.
func (i inverse) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, at location, action incident.Action) (driver.Receipt, error) {
	for _, state := range []incident.State{action.From, action.To} {
		if !namePattern.MatchString(state.Revision) {
			return driver.Receipt{}, fmt.Errorf("read revision %q: %w: it is no name of a VCL", printable(state.Revision), driver.ErrInvalid)
		}
	}
	var now, wanted version
	var switched bool
	err := i.conn.inSession(ctx, func(s *session) error {
		var err error
		if now, wanted, err = i.look(s, at, action); err != nil || now.digest() == wanted.digest() {
			return err
		}
		switched, err = i.conn.change(ctx, s, at, now, wanted)
		return err
	})
	var lost *overwrittenError
	switch {
	case errors.As(err, &lost):
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: lost.found.state(), Difference: lost.Error() + ": " + lost.found.detail(at)}
	case err != nil:
		return driver.Receipt{Mutated: switched}, err
	case !switched:
		return driver.Receipt{Detail: "it was in use already"}, nil
	}
	detail := fmt.Sprintf("the %s was switched from %s to %s", at.words(), now.name, wanted.name)
	if wanted.ban != "" {
		detail += ", and what was cached banned"
	}
	return driver.Receipt{Mutated: true, Detail: detail}, nil
}

// compare is done when the target is at "to", and a *driver.DriftError when it is at
// neither.
func compare(at location, now version, action incident.Action) (done bool, err error) {
	switch now.digest() {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: now.state(), Difference: now.detail(at)}
}

// look reads the two states of an action, with as little time as can be before the
// switch that may follow. Both are the wanted one when there is nothing to do. What is
// at neither is a *driver.DriftError.
func (i inverse) look(s *session, at location, action incident.Action) (now, wanted version, err error) {
	answers, err := s.ask(listCommand, showCommand(action.From.Revision), showCommand(action.To.Revision))
	if err != nil {
		return version{}, version{}, err
	}
	list, err := parsePrograms(answers[0])
	if err != nil {
		return version{}, version{}, err
	}
	name, ok := list.pointed(at)
	if !ok {
		return version{}, version{}, fmt.Errorf("%w: Varnish has no %s", driver.ErrNotFound, at.words())
	}
	source := answers[1]
	switch name {
	case action.From.Revision:
	case action.To.Revision:
		source = answers[2]
	default:
		more, err := s.ask(showCommand(name))
		if err != nil {
			return version{}, version{}, err
		}
		source = more[0]
	}
	if now, err = i.conn.shown(at, list, name, source); err != nil {
		return version{}, version{}, err
	}
	if done, err := compare(at, now, action); done || err != nil {
		return now, now, err
	}
	wanted, err = i.conn.shown(at, list, action.To.Revision, answers[2])
	if err == nil && wanted.digest() != action.To.Digest {
		err = fmt.Errorf("find VCL %q (%s): %w: another one was loaded under the name", wanted.name, incident.ShortDigest(action.To.Digest), driver.ErrNotFound)
	}
	return now, wanted, err
}
