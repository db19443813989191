package varnish

import (
	"context"
	"errors"
	"fmt"

	"github.com/backout/backout/integrations/driver"
)

// overwrittenError means that a change of somebody else arrived after the last look
// and before the batch that switches.
type overwrittenError struct {
	// found is what that change had put in use.
	found version
	// restored is why it could not be put back; nil when it was.
	restored error
}

// Error tells what became of the change.
func (e *overwrittenError) Error() string {
	if e.restored != nil {
		return "a change that came in the moment of the write was overwritten and could not be put back: " + e.restored.Error()
	}
	return "a change that came in the moment of the write was overwritten and put back at once"
}

// use is the command that points a target to a VCL.
func (l location) use(name string) string {
	if l.label == "" {
		return "vcl.use " + name
	}
	return "vcl.label " + l.label + " " + name
}

// change switches a target in one batch between two looks. Varnish runs a batch in
// one go, so that the first look shows exactly what the switch overwrites. Where that
// is not "from", it is put back.
func (c *connection) change(ctx context.Context, s *session, at location, from, to version) (mutated bool, err error) {
	batch := []string{listCommand, showCommand(from.name), showCommand(to.name), at.use(to.name)}
	if to.ban != "" {
		batch = append(batch, "ban "+to.ban)
	}
	answers, err := s.ask(append(batch, listCommand)...)
	if err != nil {
		return false, err
	}
	before, err := parsePrograms(answers[0])
	if err != nil {
		return false, err
	}
	after, err := parsePrograms(answers[len(answers)-1])
	if err != nil {
		return false, err
	}
	was, existed := before.pointed(at)
	is, _ := after.pointed(at)
	if problem := answers[3].problem(); problem != nil {
		// Nothing was switched: the VCL is gone, or cold.
		if answers[3].status == statusCant {
			return false, fmt.Errorf("%w: %w", driver.ErrInvalid, problem)
		}
		return false, problem
	}
	if !existed || was != from.name && was != to.name {
		return false, c.putBack(ctx, at, before, was)
	}
	for n, wanted := range []version{from, to} {
		seen, err := c.shown(at, before, wanted.name, answers[1+n])
		if err == nil && seen.digest() == wanted.digest() {
			continue
		}
		// Another VCL was loaded under the name in that moment.
		if was == to.name {
			return false, err
		}
		return false, c.putBack(ctx, at, before, was)
	}
	if is != to.name {
		return true, errors.New("the switch is not in force")
	}
	if to.ban != "" {
		if problem := answers[4].problem(); problem != nil {
			return was != to.name, fmt.Errorf("%w: the VCL was switched and the ban failed: %w", driver.ErrInvalid, problem)
		}
	}
	return was != to.name, nil
}

// putBack takes a switch back that has overwritten the change of somebody else, and
// tells so. It is finished even when the caller gives up meanwhile.
func (c *connection) putBack(ctx context.Context, at location, list programs, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	lost := &overwrittenError{found: version{name: name}}
	if name == "" {
		// The label had been discarded.
		lost.found.name = "nothing"
		answers, err := c.ask(ctx, "vcl.discard "+at.label)
		if err == nil {
			err = answers[0].problem()
		}
		lost.restored = err
		return lost
	}
	answers, err := c.ask(ctx, at.use(name), showCommand(name))
	if err == nil {
		err = answers[0].problem()
	}
	if lost.restored = err; err == nil {
		if found, err := c.shown(at, list, name, answers[1]); err == nil {
			lost.found = found
		}
	}
	return lost
}
