package varnish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take: a few round trips.
const expectedTime = time.Second

// Plan resolves the wanted VCL against those that are loaded.
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
	if at.ban != "" {
		expression, ok := i.conn.settings.ban(at.ban)
		if !ok {
			checks.Block("ban", "The settings have no ban %s.", at.ban)
			return blocked()
		}
		checks.Warn("ban", "What the cache holds with %q is removed and fetched again, which can not be undone.", expression)
	}
	began := time.Now()
	now, list, err := i.conn.present(ctx, at)
	trip := time.Since(began) / 2 // Two batches.
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("target exists", "Varnish has no %s.", at.words())
		return blocked()
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Varnish does not take the secret of its management port.")
		return blocked()
	case errors.Is(err, driver.ErrInvalid):
		checks.Block("target exists", "Varnish can not show the whole %s: its parameter cli_limit is too low.", at.words())
		return blocked()
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	checks.Pass("target exists", "The %s is %s.", at.words(), now.words())
	wanted, ok, err := i.resolve(ctx, &checks, at, now, list, req)
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if !ok {
		return blocked()
	}
	i.inFlight(&checks, at, now, wanted, list)
	if err := i.healthy(ctx, &checks, wanted); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	checks.Pass("permission", "Varnish takes the secret, which may do everything.")
	checks.Warn("compare and set", "Varnish has no compare-and-set: a change by somebody else in the round trip before the write (%s now) is overwritten, seen, and put back.", trip.Round(time.Microsecond))
	if checks.Blocked() {
		return blocked()
	}
	stays := slices.Clone(wontRevert)
	if at.ban == "" {
		stays = append(stays, stillCached)
	} else {
		stays = append(stays, "the cached objects that the ban removes")
	}
	return driver.Planned{
		From:         now.state(),
		To:           wanted.state(),
		Reversible:   true,
		ExpectedTime: expectedTime,
		WontRevert:   stays,
		Preflight:    checks,
	}, nil
}

// resolve finds the wanted VCL and checks that going there changes something.
func (i inverse) resolve(ctx context.Context, checks *driver.Findings, at location, now version, list programs, req driver.PlanRequest) (wanted version, ok bool, err error) {
	const exists = "revision exists"
	name := req.Revision
	if name == "" {
		if name, ok = i.before(checks, at, list, req.Before); !ok {
			return version{}, false, nil
		}
	}
	found, ok := list.find(name)
	switch {
	case !ok:
		checks.Block(exists, "Varnish has no VCL %q loaded any more.", printable(name))
		return version{}, false, nil
	case found.State == stateLabel && at.label != "":
		checks.Block(exists, "%s is a label, and a label can not point to another.", name)
		return version{}, false, nil
	case found.State == stateCold:
		checks.Block(exists, "The VCL %s was set cold: \"vcl.state %s auto\" makes it fit for use.", name, name)
		return version{}, false, nil
	}
	wanted, err = i.conn.version(ctx, at, list, name)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(exists, "Varnish has no VCL %q loaded any more.", name)
		return version{}, false, nil
	case errors.Is(err, driver.ErrInvalid):
		checks.Block(exists, "Varnish can not show the whole VCL %s: its parameter cli_limit is too low.", name)
		return version{}, false, nil
	case err != nil:
		return version{}, false, err
	}
	checks.Pass(exists, "The VCL %s is loaded.", name)
	if wanted.digest() == now.digest() {
		checks.Block("not there already", "The %s is %s already.", at.words(), wanted.words())
		return version{}, false, nil
	}
	if wanted.source == now.source {
		checks.Warn("not there already", "%s has the same source as %s: only what was looked up when it was loaded can differ.", wanted.name, now.name)
	} else {
		checks.Pass("not there already", "%s differs from %s.", wanted.name, now.name)
	}
	return wanted, true, nil
}

// before finds the VCL that was loaded last before a moment.
func (i inverse) before(checks *driver.Findings, at location, list programs, moment time.Time) (name string, ok bool) {
	const reaches = "history"
	text := moment.UTC().Format(time.RFC3339)
	known := i.conn.dated(at, list)
	if len(known) == 0 {
		checks.Block(reaches, "No VCL of the %s has a name that tells when it was loaded.", at.words())
		return "", false
	}
	var last dated
	for _, one := range known {
		if one.boot || one.at.Before(moment) {
			last = one
		}
	}
	switch {
	case last.name == "":
		checks.Block(reaches, "The loaded VCLs of the %s do not reach back before %s.", at.words(), text)
		return "", false
	case last.boot:
		checks.Warn(reaches, "%s is what Varnish started with, at a time that it does not tell; it is taken for what was in use before %s.", last.name, text)
	default:
		checks.Pass(reaches, "%s was loaded last before %s.", last.name, text)
	}
	return last.name, true
}

// inFlight looks for a VCL that was loaded after the present one and is not in use.
func (i inverse) inFlight(checks *driver.Findings, at location, now, wanted version, list programs) {
	const name = "deploy in flight"
	known := i.conn.dated(at, list)
	last := slices.IndexFunc(known, func(d dated) bool { return d.name == now.name })
	if last < 0 {
		checks.Unknown(name, "The name of %s does not tell when it was loaded, so that a deployment under way can not be told.", now.name)
		return
	}
	if last+1 < len(known) && known[len(known)-1].name != wanted.name {
		checks.Warn(name, "%s was loaded after %s and is not in use: a deployment may be under way.", known[len(known)-1].name, now.name)
		return
	}
	checks.Pass(name, "No VCL was loaded after %s.", now.name)
}

// healthy looks at the backends of the wanted VCL.
func (i inverse) healthy(ctx context.Context, checks *driver.Findings, wanted version) error {
	const name = "backends answer"
	program := wanted.name
	if wanted.behind != "" {
		program = wanted.behind
	}
	answers, err := i.conn.ask(ctx, "backend.list -j "+program+".*")
	if err != nil {
		return err
	}
	sick, total, ok := sickBackends(answers[0])
	switch {
	case !ok:
		checks.Unknown(name, "Varnish does not tell the health of the backends of %s.", wanted.name)
	case len(sick) > 0 && len(sick) == total:
		checks.Block(name, "No backend of %s answers its probe.", wanted.name)
	case len(sick) > 0:
		checks.Warn(name, "Of %d backends of %s, these do not answer their probes: %s.", total, wanted.name, strings.Join(sick, ", "))
	default:
		checks.Pass(name, "No probe of the backends of %s fails.", wanted.name)
	}
	return nil
}

// sickBackends reads an answer to "backend.list -j".
func sickBackends(a answer) (sick []string, total int, ok bool) {
	var parts []json.RawMessage
	if a.problem() != nil || json.Unmarshal([]byte(a.text), &parts) != nil || len(parts) < 4 {
		return nil, 0, false
	}
	var backends map[string]struct {
		Admin string            `json:"admin_health"`
		Probe []json.RawMessage `json:"probe_message"`
	}
	if json.Unmarshal(parts[3], &backends) != nil {
		return nil, 0, false
	}
	for name, b := range backends {
		word := ""
		if len(b.Probe) > 0 {
			_ = json.Unmarshal(b.Probe[len(b.Probe)-1], &word) // Another form is no word.
		}
		if b.Admin == "sick" || b.Admin == "probe" && word == "sick" {
			sick = append(sick, printable(name))
		}
	}
	slices.Sort(sick)
	return sick, len(backends), true
}
