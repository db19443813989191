package haproxy

import (
	"context"
	"crypto/sha256"
	_ "embed" // The extension.
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Script is the extension of HAProxy: a Lua file for its directive "lua-load", whose
// head says how.
//
//go:embed backout.lua
var Script string

// What the extension answers to a swap.
const (
	swapped       = "swapped"
	alreadyThere  = "there"
	moved         = "moved"
	changedBack   = "back"
	refusedToken  = "denied"
	unknownTarget = "unknown"
	invalidState  = "invalid"
)

// unknownCommand begins what HAProxy says of a command that it does not have.
const unknownCommand = "Unknown command"

// errMoved means that a compare-and-set lost: the target is not at the state that
// was observed.
var errMoved = errors.New("the servers have other weights")

// guarded reports whether the extension is used.
func (c *connection) guarded() bool { return c.settings.TokenFile != "" }

// guard gives the extension a command that needs the token and returns its answer of
// one line.
func (c *connection) guard(ctx context.Context, verb string, words ...string) (string, error) {
	token, err := c.settings.token()
	if err != nil {
		return "", err
	}
	answer, err := c.ask(ctx, strings.Join(append([]string{"backout", verb, token}, words...), " "))
	if err != nil {
		return "", err
	}
	return line(answer)
}

// line is an answer of the extension. It is told when HAProxy has not loaded it.
func line(answer string) (string, error) {
	text := strings.TrimSpace(answer)
	if strings.HasPrefix(text, unknownCommand) {
		return "", fmt.Errorf("%w: HAProxy has not loaded the extension", driver.ErrInvalid)
	}
	return text, nil
}

// swapGuarded lets the extension compare and set.
func (c *connection) swapGuarded(ctx context.Context, at location, from, to routes, key string) (mutated bool, err error) {
	sum := sha256.Sum256([]byte(key)) // One word, whatever the key looks like.
	answer, err := c.guard(ctx, "swap", hex.EncodeToString(sum[:16]), at.path(), from.String(), to.String())
	if err != nil {
		return false, err
	}
	switch answer {
	case swapped:
		return true, nil
	case alreadyThere:
		return false, nil
	case moved:
		return false, errMoved
	case changedBack:
		return false, errChangedBack
	case refusedToken:
		return false, fmt.Errorf("%w: the extension does not take the token", driver.ErrDenied)
	case unknownTarget:
		return false, fmt.Errorf("%w: the extension does not know the backend", driver.ErrNotFound)
	case invalidState:
		return false, fmt.Errorf("%w: the extension does not take the state", driver.ErrInvalid)
	}
	if text, ok := strings.CutPrefix(answer, "failed "); ok {
		return false, fmt.Errorf("%w: HAProxy says %q", driver.ErrInvalid, printable(text))
	}
	return false, fmt.Errorf("unexpected answer of the extension: %q", printable(answer))
}

// errChangedBack means that this very action was applied and somebody has put
// "from" back since.
var errChangedBack = errors.New("somebody changed it back after this very action was applied")

// noted is one state in the history that the extension keeps.
type noted struct {
	at time.Time
	// author is "backout", or empty for everybody else: HAProxy does not know.
	author string
	routes routes
}

// history is what the extension remembers of a target, oldest first: the state that
// it found when the process started, and each one since.
type history struct {
	// algorithm is how the backend balances.
	algorithm string
	states    []noted
}

// history asks the extension. The backend exists, as far as is known.
func (c *connection) history(ctx context.Context, at location) (history, error) {
	answer, err := c.ask(ctx, "backout read "+at.backend)
	if err != nil {
		return history{}, err
	}
	text, err := line(answer)
	if err != nil {
		return history{}, err
	}
	if text == unknownTarget {
		return history{}, fmt.Errorf("%w: the extension does not know the backend", driver.ErrNotFound)
	}
	var out history
	for entry := range strings.SplitSeq(text, "\n") {
		words := strings.Fields(entry)
		switch {
		case len(words) == 2 && words[0] == "algorithm":
			out.algorithm = words[1]
		case len(words) == 4 && words[0] == "state":
			one, err := parseNoted(words[1], words[2], words[3])
			if err != nil {
				return history{}, err
			}
			one.routes = one.routes.of(at)
			if last := len(out.states) - 1; last >= 0 && out.states[last].routes.String() == one.routes.String() {
				continue // Another server of the backend was changed.
			}
			out.states = append(out.states, one)
		default:
			return history{}, fmt.Errorf("read the history: unexpected answer %q", printable(entry))
		}
	}
	return out, nil
}

func parseNoted(at, author, text string) (noted, error) {
	seconds, fraction, _ := strings.Cut(at, ".")
	s, err := strconv.ParseInt(seconds, 10, 64)
	us, fractionErr := strconv.ParseInt(fraction, 10, 64)
	parsed, routesErr := parseRoutes(text)
	if err := errors.Join(err, fractionErr, routesErr); err != nil {
		return noted{}, errors.New("read the history: malformed entry")
	}
	if author != backoutAuthor {
		author = ""
	}
	return noted{at: time.Unix(s, us*int64(time.Microsecond)).UTC(), author: author, routes: parsed}, nil
}

// before is the last state that was noted before a moment. A change is noted within
// a second after it was made, never before.
func (h history) before(moment time.Time) (noted, bool) {
	found, ok := noted{}, false
	for _, one := range h.states {
		if one.at.Before(moment) {
			found, ok = one, true
		}
	}
	return found, ok
}

// drifted is the refusal of an action whose target is elsewhere.
func drifted(action incident.Action, present routes, difference string) error {
	return &driver.DriftError{Action: action, Observed: present.state(""), Difference: difference}
}
