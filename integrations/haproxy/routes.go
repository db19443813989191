package haproxy

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// targetForm shows how a target's path is spelled.
const targetForm = "<backend> or <backend>/<server>"

// maxServers is the largest backend that is taken: comparing and setting has to stay
// below what HAProxy lets the extension do in one go, and a revision readable.
const maxServers = 64

// maxWeight is the largest weight of a server.
// Source: https://docs.haproxy.org/2.6/configuration.html#5.2-weight
const maxWeight = 256

// maxRevision is the longest spelling of a state, in bytes.
const maxRevision = 3 << 10

// namePattern is what the names of backends and servers may look like.
// Source: https://docs.haproxy.org/2.6/configuration.html#4
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

// location names the servers of a target absolutely: one, or all of the backend.
type location struct{ backend, server string }

func parseTarget(target incident.Target) (location, error) {
	at, err := parsePath(target.Path)
	if err != nil {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return at, nil
}

func parsePath(path string) (location, error) {
	backend, server, several := strings.Cut(path, "/")
	if !namePattern.MatchString(backend) || several && !namePattern.MatchString(server) {
		return location{}, errors.New("malformed path")
	}
	return location{backend: backend, server: server}, nil
}

// path is how the target is spelled.
func (l location) path() string {
	if l.server == "" {
		return l.backend
	}
	return l.backend + "/" + l.server
}

// mode is the administrative state of a server. The zero value is invalid.
type mode int

const (
	ready mode = iota + 1
	// drain takes no new sessions. With a weight of 0 it is the same as ready, and
	// is not told from it.
	drain
	maint
)

// suffix is how a mode is spelled behind the weight.
func (m mode) suffix() string {
	switch m {
	case drain:
		return "/drain"
	case maint:
		return "/maint"
	case ready:
	}
	return ""
}

// command is how HAProxy calls a mode.
func (m mode) command() string {
	switch m {
	case drain:
		return "drain"
	case maint:
		return "maint"
	case ready:
	}
	return "ready"
}

// route is what one server is given.
type route struct {
	name   string
	weight int
	mode   mode
}

// takesTraffic reports whether new sessions go to the server.
func (r route) takesTraffic() bool { return r.mode == ready && r.weight > 0 }

// routes is a state: what each server is given, in the order of their names.
type routes []route

// String is the canonical spelling, which is the revision.
func (r routes) String() string {
	parts := make([]string, len(r))
	for n, one := range r {
		parts[n] = one.name + "=" + strconv.Itoa(one.weight) + one.mode.suffix()
	}
	return strings.Join(parts, ",")
}

// canonical sorts the servers and forgets what makes no difference.
func (r routes) canonical() routes {
	out := slices.Clone(r)
	for n := range out {
		if out[n].weight == 0 && out[n].mode == drain {
			out[n].mode = ready
		}
	}
	slices.SortFunc(out, func(a, b route) int { return cmp.Compare(a.name, b.name) })
	return out
}

// parseRoutes reads a revision.
func parseRoutes(text string) (routes, error) {
	if text == "" || len(text) > maxRevision {
		return nil, fmt.Errorf("want <server>=<weight>[/drain|/maint], separated by commas, in %d bytes or less", maxRevision)
	}
	var out routes
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		number, word, several := strings.Cut(value, "/")
		weight, err := strconv.Atoi(number)
		one := route{name: name, weight: weight, mode: ready}
		switch {
		case !several:
		case word == "drain":
			one.mode = drain
		case word == "maint":
			one.mode = maint
		default:
			err = errors.New("unknown mode")
		}
		if err != nil || !namePattern.MatchString(name) || weight < 0 || weight > maxWeight || number != strconv.Itoa(weight) {
			return nil, fmt.Errorf("want <server>=<weight>[/drain|/maint] with a weight of 0 to %d, separated by commas", maxWeight)
		}
		if slices.ContainsFunc(out, func(r route) bool { return r.name == name }) {
			return nil, fmt.Errorf("the server %s is named twice", name)
		}
		out = append(out, one)
	}
	if len(out) > maxServers {
		return nil, fmt.Errorf("more than %d servers", maxServers)
	}
	return out.canonical(), nil
}

// of keeps the server that a location names, or all.
func (r routes) of(at location) routes {
	if at.server == "" {
		return r
	}
	return slices.DeleteFunc(slices.Clone(r), func(one route) bool { return one.name != at.server })
}

func (r routes) find(name string) (route, bool) {
	n := slices.IndexFunc(r, func(one route) bool { return one.name == name })
	if n < 0 {
		return route{}, false
	}
	return r[n], true
}

// state is the state without a word more than its revision says.
func (r routes) state(label string) incident.State {
	if label == "" {
		label = r.label()
	}
	return incident.State{Revision: r.String(), Digest: r.digest(), Label: label}
}

func (r routes) digest() string { return incident.DigestOf([]byte("haproxy routes\x00" + r.String())) }

// maxLabel is the longest list of servers that is a label, in bytes.
const maxLabel = 60

// label is what people call a state that has no name.
func (r routes) label() string {
	if text := r.words(); len(text) <= maxLabel {
		return text
	}
	taking := 0
	for _, one := range r {
		if one.takesTraffic() {
			taking++
		}
	}
	return fmt.Sprintf("%d of %d servers (%s)", taking, len(r), incident.ShortDigest(r.digest()))
}

// words is the state for people.
func (r routes) words() string {
	parts := make([]string, len(r))
	for n, one := range r {
		parts[n] = one.name + " " + strconv.Itoa(one.weight)
		switch one.mode {
		case drain:
			parts[n] += " drained"
		case maint:
			parts[n] += " in maintenance"
		case ready:
		}
	}
	return strings.Join(parts, ", ")
}
