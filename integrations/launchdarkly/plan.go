package launchdarkly

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take: a few requests, and clients
// are told in a moment.
const expectedTime = 5 * time.Second

// Plan resolves the wanted configuration against the audit log, and lets
// LaunchDarkly try it without keeping the result.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	now, err := i.conn.flag(ctx, at)
	switch {
	case errors.Is(err, errNoEnvironment):
		checks.Block("flag exists", "The flag %s has no environment %s.", at.flag, at.environment)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("flag exists", "The flag %s does not exist in the project %s.", at.flag, at.project)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the flag %s.", at.flag)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if now.archived {
		checks.Block("flag exists", "The flag %s is archived.", at.flag)
		return driver.Planned{Preflight: checks}, nil
	}
	checks.Pass("flag exists", "The flag %s is at %s in %s.", at.flag, now.name(), at.environment)
	if err := i.approvals(ctx, &checks, at, now); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if err := i.scheduled(ctx, &checks, at); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	wanted, ok, err := i.resolve(ctx, &checks, at, now, req)
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if !ok || checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	if err := i.accepted(ctx, &checks, at, now, wanted); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	from, errFrom := now.state()
	to, errTo := wanted.state()
	if err := errors.Join(errFrom, errTo); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	return driver.Planned{
		From: from, To: to, Reversible: true, ExpectedTime: expectedTime,
		WontRevert: slices.Clone(wontRevert), Preflight: checks,
	}, nil
}

// approvals asks whether people have to approve changes of the environment. Nothing
// else of the answer is read: it holds the keys of clients.
// Source: https://launchdarkly.com/docs/home/releases/approvals
func (i inverse) approvals(ctx context.Context, f *driver.Findings, at location, now flag) error {
	const name = "no approval needed"
	type settings struct {
		Required bool     `json:"required"`
		Tags     []string `json:"requiredApprovalTags"`
	}
	var answer struct {
		All       settings            `json:"approvalSettings"`
		Resources map[string]settings `json:"resourceApprovalSettings"`
	}
	err := i.conn.call(ctx, http.MethodGet, "read environment "+at.environment, "/api/v2/projects/"+at.project+"/environments/"+at.environment, nil, nil, &answer)
	switch {
	case errors.Is(err, driver.ErrDenied), errors.Is(err, driver.ErrNotFound):
		f.Unknown(name, "Backout may not read whether changes in %s have to be approved.", at.environment)
		return nil
	case err != nil:
		return err
	}
	for _, s := range []settings{answer.All, answer.Resources["flag"]} {
		concerns := len(s.Tags) == 0 || slices.ContainsFunc(s.Tags, func(tag string) bool { return slices.Contains(now.tags, tag) })
		if s.Required && concerns {
			f.Block(name, "Changes of %s in %s have to be requested and approved in LaunchDarkly.", at.flag, at.environment)
			return nil
		}
	}
	f.Pass(name, "Changes in %s need no approval.", at.environment)
	return nil
}

// scheduled asks for changes that LaunchDarkly will make by itself.
// Source: https://launchdarkly.com/docs/api/scheduled-changes
func (i inverse) scheduled(ctx context.Context, f *driver.Findings, at location) error {
	const name = "no change scheduled"
	type planned struct {
		At json.Number `json:"executionDate"`
	}
	var answer struct {
		Items []planned `json:"items"`
	}
	path := "/api/v2/projects/" + at.project + "/flags/" + at.flag + "/environments/" + at.environment + "/scheduled-changes"
	err := i.conn.call(ctx, http.MethodGet, "read scheduled changes of flag "+at.flag, path, nil, nil, &answer)
	switch {
	case errors.Is(err, driver.ErrDenied), errors.Is(err, driver.ErrNotFound):
		f.Unknown(name, "Backout may not read whether changes of %s are scheduled.", at.flag)
		return nil
	case err != nil:
		return err
	}
	if len(answer.Items) == 0 {
		f.Pass(name, "No change of %s is scheduled in %s.", at.flag, at.environment)
		return nil
	}
	next := slices.MinFunc(answer.Items, func(a, b planned) int { return cmp.Compare(whole(a.At), whole(b.At)) })
	f.Warn(name, "%d changes of %s are scheduled in %s, the next at %s: LaunchDarkly makes them on top of the rollback.", len(answer.Items), at.flag, at.environment, time.UnixMilli(whole(next.At)).UTC().Format(time.RFC3339))
	return nil
}

// resolve finds the wanted configuration and checks that it differs and still means
// what it meant.
func (i inverse) resolve(ctx context.Context, f *driver.Findings, at location, now flag, req driver.PlanRequest) (wanted flag, ok bool, err error) {
	const exists = "configuration is known"
	if req.Revision != "" {
		version, err := strconv.ParseInt(req.Revision, 10, 64)
		if err != nil || version <= 0 {
			f.Block(exists, "%q is not a revision: configurations have whole numbers.", oneLine(req.Revision, maxLabel))
			return flag{}, false, nil
		}
		if wanted, ok, err = i.conn.byVersion(ctx, at, version); err != nil {
			return flag{}, false, err
		}
		if !ok {
			f.Block(exists, "The audit log does not hold version %d of %s in %s.", version, at.flag, at.environment)
			return flag{}, false, nil
		}
		f.Pass(exists, "The audit log holds %s.", wanted.name())
	} else {
		when := req.Before.UTC().Format(time.RFC3339)
		var made bool
		wanted, made, ok, err = i.conn.before(ctx, at, req.Before, now)
		switch {
		case err != nil:
			return flag{}, false, err
		case made:
			f.Block(exists, "The flag %s was not there before %s.", at.flag, when)
			return flag{}, false, nil
		case !ok:
			f.Block(exists, "The audit log does not hold what %s was in %s before %s.", at.flag, at.environment, when)
			return flag{}, false, nil
		}
		f.Pass(exists, "Version %d (%s) was in force before %s.", wanted.version(), wanted.label(), when)
	}
	if equal(wanted.essence(), now.essence()) {
		f.Block("not there already", "The flag %s has the configuration of %s already.", at.flag, wanted.name())
		return flag{}, false, nil
	}
	f.Pass("not there already", "Version %d differs: %s.", wanted.version(), difference(now.config, wanted.config))
	if !equal(now.values, wanted.values) {
		f.Block("variations are the same", "The variations of %s were changed since: the numbers in version %d mean others now.", at.flag, wanted.version())
		return flag{}, false, nil
	}
	f.Pass("variations are the same", "The variations of %s are as they were.", at.flag)
	if !equal(now.config["salt"], wanted.config["salt"]) {
		f.Warn("same people in a rollout", "The salt of %s was changed since: a share of the same size is of other people.", at.flag)
	}
	return wanted, true, nil
}

// accepted lets LaunchDarkly carry the change out without keeping it, with the rights
// of the token and all its own rules.
func (i inverse) accepted(ctx context.Context, f *driver.Findings, at location, now, wanted flag) error {
	const name = "accepted by LaunchDarkly"
	tried, err := i.conn.write(ctx, at, now.replaceBy(at, wanted.config), "A trial by Backout", true)
	switch {
	case errors.Is(err, errApproval):
		f.Block(name, "Changes of %s in %s have to be requested and approved in LaunchDarkly.", at.flag, at.environment)
		return nil
	case errors.Is(err, driver.ErrDenied):
		f.Block("permission", "Backout may not change %s in %s.", at.flag, at.environment)
		return nil
	case errors.Is(err, driver.ErrInvalid):
		f.Block(name, "LaunchDarkly does not accept version %d again: what it refers to is gone, or a scheduled change or an approval would fail.", wanted.version())
		return nil
	case refusedPatch(err):
		f.Unknown(name, "The flag %s was changed while it was looked at.", at.flag)
		return nil
	case err != nil:
		return err
	}
	f.Pass("permission", "Backout may change %s in %s.", at.flag, at.environment)
	if !equal(tried.essence(), wanted.essence()) {
		f.Block(name, "LaunchDarkly would make something else of version %d: %s.", wanted.version(), difference(wanted.config, tried.config))
		return nil
	}
	f.Pass(name, "LaunchDarkly accepts version %d.", wanted.version())
	return nil
}
