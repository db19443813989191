package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// The administrative state of a server is a set of bits; these are set by commands
// and by the configuration. The others come from elsewhere, such as a server that
// is tracked, and can not be changed here.
// Source: https://docs.haproxy.org/2.6/management.html#9.3-show%20servers%20state
const (
	forcedMaint     = 0x01
	configuredMaint = 0x04
	forcedDrain     = 0x08
)

// The operational states of a server that is not up.
const (
	stopped  = 0
	stopping = 3
)

// errNoBackend is what HAProxy says of a backend that it does not have.
const errNoBackend = "Can't find backend."

// errDenied is what HAProxy says at a level that is too low.
const errDenied = "Permission denied"

// columns are those of the server states that are read.
// Source: https://docs.haproxy.org/2.6/management.html#9.3-show%20servers%20state
const (
	nameColumn      = "srv_name"
	operationColumn = "srv_op_state"
	adminColumn     = "srv_admin_state"
	weightColumn    = "srv_uweight"
	initialColumn   = "srv_iweight"
)

// servers is what HAProxy knows of the servers of a target.
type servers struct {
	// present is the state, and config what the configuration file says.
	present, config routes
	// down are the servers that health checks found not to answer. A server in
	// maintenance is never among them: it is not checked.
	down []string
}

// showState is the command for the servers of a backend.
func showState(at location) string { return "show servers state " + at.backend }

// servers reads the present state. It returns driver.ErrNotFound when the backend or
// the server does not exist.
func (c *connection) servers(ctx context.Context, at location) (servers, error) {
	answer, err := c.ask(ctx, showState(at))
	if err != nil {
		return servers{}, err
	}
	return parseServers(answer, at)
}

// parseServers reads one answer to showState.
func parseServers(answer string, at location) (servers, error) {
	lines := strings.Split(strings.TrimRight(answer, "\n"), "\n")
	if len(lines) < 2 || lines[0] != "1" || !strings.HasPrefix(lines[1], "# ") {
		switch said := strings.TrimSpace(answer); said {
		case errNoBackend:
			return servers{}, fmt.Errorf("%w: no such backend", driver.ErrNotFound)
		case errDenied:
			return servers{}, driver.ErrDenied
		default:
			return servers{}, fmt.Errorf("read the servers: unexpected answer %q", printable(said))
		}
	}
	header := strings.Fields(lines[1][2:])
	var out servers
	for _, line := range lines[2:] {
		fields := strings.Fields(line)
		if len(fields) != len(header) {
			return servers{}, errors.New("read the servers: a line has another number of fields than the header")
		}
		if err := out.add(header, fields); err != nil {
			return servers{}, err
		}
	}
	out.present, out.config = out.present.canonical().of(at), out.config.canonical().of(at)
	switch {
	case at.server != "" && len(out.present) == 0:
		return servers{}, fmt.Errorf("%w: no such server", driver.ErrNotFound)
	case len(out.present) == 0:
		return servers{}, fmt.Errorf("%w: the backend has no servers", driver.ErrNotFound)
	case len(out.present) > maxServers:
		return servers{}, fmt.Errorf("read the servers: %w: the backend has %d, and at most %d are taken; name one server", driver.ErrInvalid, len(out.present), maxServers)
	}
	return out, nil
}

// add reads one line.
func (s *servers) add(header, fields []string) error {
	var failed error
	number := func(column string) int {
		n := slices.Index(header, column)
		if n < 0 {
			failed = fmt.Errorf("read the servers: the column %s is missing", column)
			return 0
		}
		value, err := strconv.Atoi(fields[n])
		if err != nil {
			failed = fmt.Errorf("read the servers: the column %s holds no number", column)
		}
		return value
	}
	at := slices.Index(header, nameColumn)
	if at < 0 || !namePattern.MatchString(fields[at]) {
		return errors.New("read the servers: a server has no proper name")
	}
	bits := number(adminColumn)
	now := route{name: fields[at], weight: number(weightColumn), mode: ready}
	was := route{name: fields[at], weight: number(initialColumn), mode: ready}
	switch {
	case bits&forcedMaint != 0:
		now.mode = maint
	case bits&forcedDrain != 0:
		now.mode = drain
	}
	if bits&configuredMaint != 0 {
		was.mode = maint
	}
	operation := number(operationColumn)
	if now.mode != maint && (operation == stopped || operation == stopping) {
		s.down = append(s.down, now.name)
	}
	s.present, s.config = append(s.present, now), append(s.config, was)
	return failed
}

// started reads when the process started.
func (c *connection) started(ctx context.Context) (time.Time, error) {
	const field = "Start_time_sec: "
	answer, err := c.ask(ctx, "show info")
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.SplitSeq(answer, "\n") {
		if text, ok := strings.CutPrefix(line, field); ok {
			seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			if err != nil {
				break
			}
			return time.Unix(seconds, 0).UTC(), nil
		}
	}
	return time.Time{}, errors.New("read when HAProxy started: it does not say")
}
