package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/integrations/driver"
)

// overwrittenError means that a change of somebody else arrived after the last look
// and before the commands that set the weights.
type overwrittenError struct {
	// found is what that change had set.
	found routes
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

// swapInWindow sets the weights by commands of HAProxy, on one line between two looks
// at the state. HAProxy runs the line in one go, so that the first look shows what
// the commands overwrite: where that is not "from", it is put back. What the line
// does not show is a change between two of its own commands.
func (c *connection) swapInWindow(ctx context.Context, at location, from, to routes) (mutated bool, err error) {
	before, after, said, err := c.set(ctx, at, commands(at, from, to))
	if err != nil {
		return false, err
	}
	if said == errDenied {
		return false, fmt.Errorf("%w: weights may be changed at level \"admin\" only", driver.ErrDenied)
	}
	switch before.String() {
	case to.String():
		return false, nil // Every command found its work done.
	case from.String():
	default:
		// The put back is finished even when the caller gives up meanwhile.
		restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		return false, &overwrittenError{found: before, restored: c.putBack(restore, at, after, before)}
	}
	if after.String() == to.String() {
		return true, nil
	}
	if said != "" {
		restore, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
		defer cancel()
		err := fmt.Errorf("%w: HAProxy says %q", driver.ErrInvalid, printable(said))
		return false, errors.Join(err, c.putBack(restore, at, after, from))
	}
	return true, errMoved // Written, and changed again before the second look.
}

// putBack takes what was just set back to what was there before.
func (c *connection) putBack(ctx context.Context, at location, present, wanted routes) error {
	_, after, said, err := c.set(ctx, at, commands(at, present, wanted))
	switch {
	case err != nil:
		return err
	case after.String() != wanted.String():
		return fmt.Errorf("the servers are at %s now; HAProxy says %q", after.words(), printable(said))
	}
	return nil
}

// set runs commands on one line between two looks at the state.
func (c *connection) set(ctx context.Context, at location, set []string) (before, after routes, said string, err error) {
	line := append(append([]string{showState(at)}, set...), showState(at))
	answer, err := c.ask(ctx, strings.Join(line, "; "))
	if err != nil {
		return nil, nil, "", err
	}
	// Each look begins with the number of its form, and ends with an empty line; the
	// commands between them say nothing, or what is wrong.
	const look = "1\n# "
	first, rest, ok := strings.Cut(answer, "\n\n")
	last := strings.LastIndex(rest, look)
	if !ok || last < 0 {
		// The backend may be gone.
		if _, err := parseServers(answer, at); err != nil {
			return nil, nil, "", err
		}
		return nil, nil, "", errInterrupted
	}
	was, err := parseServers(first, at)
	if err != nil {
		return nil, nil, "", err
	}
	is, err := parseServers(rest[last:], at)
	if err != nil {
		return nil, nil, "", err
	}
	for text := range strings.SplitSeq(rest[:last], "\n") {
		if text = strings.TrimSpace(text); text != "" {
			said = text
			break
		}
	}
	return was.present, is.present, said, nil
}

// commands are those that lead from one state to another. What gets more traffic
// comes first, so that some server always takes it.
func commands(at location, from, to routes) []string {
	var more, less []string
	for _, wanted := range to {
		now, ok := from.find(wanted.name)
		if ok && now == wanted {
			continue
		}
		server := at.backend + "/" + wanted.name
		// A server may be drained without its state showing it.
		set := []string{
			fmt.Sprintf("set server %s weight %d", server, wanted.weight),
			fmt.Sprintf("set server %s state %s", server, wanted.mode.command()),
		}
		if wanted.takesTraffic() {
			more = append(more, set...)
		} else {
			less = append(less, set...)
		}
	}
	return slices.Concat(more, less)
}
