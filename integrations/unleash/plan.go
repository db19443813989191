package unleash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take until clients have asked
// again, which they do every 15 seconds.
// Source: https://docs.getunleash.io/understanding-unleash/unleash-overview
const expectedTime = 15 * time.Second

// Plan resolves the wanted state against the event log.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	h, err := i.conn.history(ctx, at)
	switch {
	case errors.Is(err, errNoEnvironment):
		checks.Block("flag exists", "The flag %s has no environment %s.", at.flag, at.environment)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("flag exists", "The flag %s does not exist in the project %s, or is archived.", at.flag, at.project)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the flag %s.", at.flag)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	checks.Pass("flag exists", "The flag %s is at %s in %s.", at.flag, h.now().name(), at.environment)
	if h.stale {
		checks.Warn("still in use", "The flag %s is marked as stale.", at.flag)
	}
	if h.plan {
		checks.Block("not kept by a release plan", "A release plan keeps the strategies of %s in %s: it has to be taken back there.", at.flag, at.environment)
	}
	if err := i.approvals(ctx, &checks, at); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	wanted, ok := h.resolve(&checks, at, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	steps := route(h.content, wanted.content)
	reachable(&checks, at, steps, wanted)
	if err := i.segments(ctx, &checks, h.content, wanted.content); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	i.permitted(ctx, &checks, at, steps)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	return driver.Planned{
		From: h.now().state(), To: wanted.state(), Reversible: true, ExpectedTime: expectedTime,
		WontRevert: h.stays(at), Preflight: checks,
	}, nil
}

// stays names the other environments.
func (h history) stays(at location) []string {
	lines := slices.Clone(wontRevert)
	if len(h.others) > 0 {
		lines[0] = fmt.Sprintf("the flag %s in %s", at.flag, strings.Join(h.others, ", "))
	}
	return lines
}

// approvals asks whether changes of the environment have to be requested, which the
// paid edition knows.
// Source: https://docs.getunleash.io/reference/change-requests
func (i inverse) approvals(ctx context.Context, f *driver.Findings, at location) error {
	const name = "no change request needed"
	var environments []struct {
		Environment string `json:"environment"`
		Enabled     bool   `json:"changeRequestEnabled"`
	}
	err := i.conn.call(ctx, http.MethodGet, "read change request settings", "/projects/"+at.project+"/change-requests/config", nil, nil, &environments)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		f.Pass(name, "This edition of Unleash has no change requests.")
		return nil
	case errors.Is(err, driver.ErrDenied):
		f.Unknown(name, "Backout may not read whether %s needs change requests.", at.environment)
		return nil
	case err != nil:
		return err
	}
	for _, e := range environments {
		if e.Environment == at.environment && e.Enabled {
			f.Block(name, "Changes in %s have to be requested and approved in Unleash.", at.environment)
			return nil
		}
	}
	f.Pass(name, "Changes in %s need no request.", at.environment)
	return nil
}

// resolve finds the wanted state and checks that it differs.
func (h history) resolve(f *driver.Findings, at location, req driver.PlanRequest) (wanted moment, ok bool) {
	const exists = "state is known"
	if req.Revision != "" {
		id, err := strconv.ParseInt(req.Revision, 10, 64)
		if err != nil || id <= 0 {
			f.Block(exists, "%q is not a revision: states are named by whole numbers of the event log.", oneLine(req.Revision, maxLabel))
			return moment{}, false
		}
		if wanted, ok = h.byEvent(id); !ok {
			f.Block(exists, "Event %d is not among those that changed %s in %s%s.", id, at.flag, at.environment, h.limits())
			return moment{}, false
		}
		f.Pass(exists, "The log knows %s.", wanted.name())
	} else {
		when := req.Before.UTC().Format(time.RFC3339)
		if wanted, ok = h.before(req.Before); !ok && h.whole {
			f.Block(exists, "The flag %s was not there before %s.", at.flag, when)
			return moment{}, false
		}
		if !ok {
			f.Block(exists, "What %s was before %s can not be known%s.", at.flag, when, h.limits())
			return moment{}, false
		}
		f.Pass(exists, "%s was in force before %s.", capital(wanted.name()), when)
	}
	if wanted.digest == h.now().digest {
		f.Block("not there already", "The flag %s is in the state of %s already.", at.flag, wanted.name())
		return moment{}, false
	}
	f.Pass("not there already", "%s differs: %s.", capital(wanted.name()), difference(h.content, wanted.content))
	return wanted, true
}

// limits says why the history ends where it does.
func (h history) limits() string {
	if h.end == "" {
		return ""
	}
	return ": " + h.end
}

// reachable checks that the server can be brought to the state: it adds a strategy
// of its own to a flag that is turned on without one.
func reachable(f *driver.Findings, at location, steps []step, wanted moment) {
	const name = "state can be written"
	if wanted.enabled && !wanted.active() {
		f.Block(name, "%s has %s on without an active strategy, and Unleash would add one.", capital(wanted.name()), at.flag)
		return
	}
	names := make([]string, 0, len(steps))
	for _, s := range steps {
		names = append(names, s.name)
	}
	if len(steps) > 1 {
		f.Warn(name, "The rollback takes %d steps, between which %s is neither as it was nor as it shall be: %s.", len(steps), at.flag, strings.Join(names, ", then "))
		return
	}
	f.Pass(name, "The rollback is one step: %s.", strings.Join(names, ""))
}

// segments checks that the segments of the wanted state are still there.
func (i inverse) segments(ctx context.Context, f *driver.Findings, now, wanted content) error {
	const name = "segments exist"
	known := map[int64]bool{}
	for _, s := range now.strategies {
		for _, id := range s.Segments {
			known[id] = true
		}
	}
	needed := map[int64]bool{}
	for _, s := range wanted.strategies {
		for _, id := range s.Segments {
			needed[id] = true
			if known[id] {
				continue
			}
			err := i.conn.call(ctx, http.MethodGet, "read segment", fmt.Sprintf("/segments/%d", id), nil, nil, nil)
			if errors.Is(err, driver.ErrNotFound) {
				f.Block(name, "Segment %d, which the state refers to, does not exist any more.", id)
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	if len(needed) > 0 {
		f.Warn(name, "The state refers to %d segments, which are taken as they are now.", len(needed))
		return nil
	}
	f.Pass(name, "The state refers to no segment.")
	return nil
}

// permitted asks the server what the token may do.
func (i inverse) permitted(ctx context.Context, f *driver.Findings, at location, steps []step) {
	const name = "permission"
	grants, err := i.conn.user(ctx)
	if err != nil {
		f.Unknown(name, "Unleash did not say what Backout may do.")
		return
	}
	var missing []string
	for _, s := range steps {
		if !slices.ContainsFunc(grants, func(g grant) bool { return g.covers(s.permission, at) }) && !slices.Contains(missing, s.permission) {
			missing = append(missing, s.permission)
		}
	}
	if len(missing) > 0 {
		f.Block(name, "Backout may not change %s in %s: it lacks %s.", at.flag, at.environment, strings.Join(missing, " and "))
		return
	}
	f.Pass(name, "Backout may change %s in %s.", at.flag, at.environment)
	if self, err := i.conn.me(ctx); err == nil && self < 0 {
		// All admin tokens are one in the event log.
		f.Warn("changes can be told apart", "The token is an admin token, under whose name others may change %s too: a change of theirs at the same moment would not be noticed.", at.flag)
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
