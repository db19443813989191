package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take: a few round trips.
const expectedTime = time.Second

// configRevision is the name of the state that the configuration file describes.
const configRevision = "config"

// staticAlgorithms take no weights but 0 and the configured one.
// Source: https://docs.haproxy.org/2.6/configuration.html#4.2-balance
var staticAlgorithms = []string{"static-rr"}

// dynamicAlgorithms take every weight. All others do so with "hash-type consistent".
var dynamicAlgorithms = []string{"roundrobin", "leastconn", "first", "random"}

// Plan resolves the wanted state and checks that it can be had.
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
	now, err := i.conn.servers(ctx, at)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("target exists", "HAProxy has no servers %s.", at.path())
		return blocked()
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not use the runtime socket of HAProxy.")
		return blocked()
	case errors.Is(err, driver.ErrInvalid):
		checks.Block("target exists", "The backend %s has more than %d servers: name one of them.", at.backend, maxServers)
		return blocked()
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	checks.Pass("target exists", "The weights of %s are %s.", at.path(), now.present.words())

	var past history
	if i.conn.guarded() {
		past, err = i.conn.history(ctx, at)
		switch {
		case errors.Is(err, driver.ErrInvalid):
			checks.Block("extension", "HAProxy has not loaded the extension of Backout.")
			return blocked()
		case errors.Is(err, driver.ErrNotFound):
			checks.Block("extension", "The extension of HAProxy was not given the backend %s.", at.backend)
			return blocked()
		case err != nil:
			return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
		}
	}
	wanted, label, ok, err := i.resolve(ctx, &checks, at, now, past, req)
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if !ok {
		return blocked()
	}
	healthy(&checks, now, wanted)
	weighable(&checks, past.algorithm, now, wanted)
	if err := i.permitted(ctx, &checks, at); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if checks.Blocked() {
		return blocked()
	}
	return driver.Planned{
		From:         now.present.state(""),
		To:           wanted.state(label),
		Reversible:   true,
		ExpectedTime: expectedTime,
		WontRevert:   slices.Clone(wontRevert),
		Preflight:    checks,
	}, nil
}

// resolve finds the wanted state and checks that going there changes something.
func (i inverse) resolve(ctx context.Context, checks *driver.Findings, at location, now servers, past history, req driver.PlanRequest) (wanted routes, label string, ok bool, err error) {
	if req.Revision != "" {
		wanted, label, ok = i.revision(checks, at, now, req.Revision)
	} else {
		wanted, ok, err = i.before(ctx, checks, at, now, past, req.Before)
	}
	if !ok || err != nil {
		return nil, "", false, err
	}
	if !sameServers(checks, now.present, wanted) {
		return nil, "", false, nil
	}
	if wanted.String() == now.present.String() {
		checks.Block("not there already", "The weights of %s are %s already.", at.path(), wanted.words())
		return nil, "", false, nil
	}
	checks.Pass("not there already", "The weights go from %s to %s.", now.present.words(), wanted.words())
	return wanted, label, true, nil
}

// revision reads a revision: "config", a name of the settings, or a state.
func (i inverse) revision(checks *driver.Findings, at location, now servers, text string) (wanted routes, label string, ok bool) {
	const exists = "revision exists"
	if text == configRevision {
		checks.Pass(exists, "HAProxy remembers the weights of its configuration file.")
		return now.config, configRevision, true
	}
	for _, named := range i.conn.settings.States {
		if named.Name != text || named.Target != at.path() {
			continue
		}
		wanted, err := parseRoutes(named.State)
		if err != nil {
			break // The settings were checked when they were read.
		}
		checks.Pass(exists, "The settings have a state %q of %s.", text, at.path())
		return wanted, text, true
	}
	wanted, err := parseRoutes(text)
	if err != nil {
		checks.Block(exists, "%q is no state of %s: want %q, a state of the settings, or a weight for each server such as %q.", printable(text), at.path(), configRevision, now.config)
		return nil, "", false
	}
	checks.Pass(exists, "The revision spells the weights out.")
	return wanted, "", true
}

// before finds what was in force before a moment.
func (i inverse) before(ctx context.Context, checks *driver.Findings, at location, now servers, past history, moment time.Time) (wanted routes, ok bool, err error) {
	const reaches = "history"
	text := moment.UTC().Format(time.RFC3339)
	if i.conn.guarded() {
		found, ok := past.before(moment)
		if !ok {
			checks.Block(reaches, "The history of %s does not reach back before %s: it begins with the process of HAProxy and keeps the last states.", at.path(), text)
			return nil, false, nil
		}
		checks.Pass(reaches, "The weights were %s before %s.", found.routes.words(), text)
		return found.routes, true, nil
	}
	started, err := i.conn.started(ctx)
	if err != nil {
		return nil, false, err
	}
	if !started.Before(moment) {
		checks.Block(reaches, "HAProxy was started at %s, so that the weights before %s are not known.", started.Format(time.RFC3339), text)
		return nil, false, nil
	}
	checks.Warn(reaches, "HAProxy keeps no history without the extension: the weights of the configuration file are taken for those before %s.", text)
	return now.config, true, nil
}

// sameServers checks that a state names every server and no other.
func sameServers(checks *driver.Findings, present, wanted routes) bool {
	const name = "servers exist"
	var gone, unnamed []string
	for _, one := range wanted {
		if _, ok := present.find(one.name); !ok {
			gone = append(gone, one.name)
		}
	}
	for _, one := range present {
		if _, ok := wanted.find(one.name); !ok {
			unnamed = append(unnamed, one.name)
		}
	}
	if len(gone) > 0 {
		checks.Block(name, "HAProxy does not have the server %s any more.", strings.Join(gone, ", "))
	}
	if len(unnamed) > 0 {
		checks.Block(name, "The wanted state says nothing about the server %s.", strings.Join(unnamed, ", "))
	}
	if len(gone)+len(unnamed) > 0 {
		return false
	}
	checks.Pass(name, "All servers of the wanted state exist.")
	return true
}

// healthy checks that somebody answers at the servers that get the traffic.
func healthy(checks *driver.Findings, now servers, wanted routes) {
	const name = "servers answer"
	var taking, down, unchecked []string
	for _, one := range wanted {
		if !one.takesTraffic() {
			continue
		}
		taking = append(taking, one.name)
		if slices.Contains(now.down, one.name) {
			down = append(down, one.name)
		}
		if is, _ := now.present.find(one.name); is.mode == maint {
			unchecked = append(unchecked, one.name)
		}
	}
	switch {
	case len(taking) == 0:
		checks.Warn(name, "No server takes traffic in the wanted state.")
	case len(down) == len(taking):
		checks.Block(name, "No server that would take the traffic answers its health check: %s.", strings.Join(down, ", "))
	case len(down) > 0:
		checks.Warn(name, "Health checks fail for %s, which would take traffic.", strings.Join(down, ", "))
	case len(unchecked) > 0:
		checks.Unknown(name, "The health of %s is not known while in maintenance.", strings.Join(unchecked, ", "))
	default:
		checks.Pass(name, "No health check fails where the traffic would go.")
	}
}

// weighable checks that the balancing algorithm takes the weights.
func weighable(checks *driver.Findings, algorithm string, now servers, wanted routes) {
	const name = "weights can change"
	free := true
	for _, one := range wanted {
		configured, _ := now.config.find(one.name)
		free = free && (one.weight == 0 || one.weight == configured.weight)
	}
	switch {
	case free || slices.Contains(dynamicAlgorithms, algorithm):
		checks.Pass(name, "HAProxy takes these weights while it runs.")
	case slices.Contains(staticAlgorithms, algorithm):
		checks.Block(name, "The backend balances by %s, which takes no weights but 0 and the configured one.", algorithm)
	default:
		checks.Unknown(name, "Whether HAProxy takes these weights while it runs depends on how the backend balances.")
	}
}

// permitted asks HAProxy whether the weights may be changed, and says how.
func (i inverse) permitted(ctx context.Context, checks *driver.Findings, at location) error {
	const name = "permission"
	began := time.Now()
	allowed, reason, err := i.conn.may(ctx)
	trip := time.Since(began)
	if err != nil {
		return err
	}
	if !allowed {
		checks.Block(name, "Backout may not change the weights. %s", reason)
		return nil
	}
	checks.Pass(name, "Backout may change the weights of %s.", at.path())
	const set = "compare and set"
	if i.conn.guarded() {
		checks.Pass(set, "The extension of HAProxy changes the weights only if they are what was observed.")
		return nil
	}
	checks.Warn(set, "HAProxy has no compare-and-set without the extension: a change by somebody else in the round trip before the write (%s now) is overwritten, seen, and put back.", trip.Round(time.Microsecond))
	return nil
}
