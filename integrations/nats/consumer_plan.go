package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// Plan resolves the wanted setting and looks for what stands in its way.
func (i consumers) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseFeed(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	planned, err := i.plan(ctx, &checks, at, req)
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (i consumers) plan(ctx context.Context, checks *driver.Findings, at feed, req driver.PlanRequest) (driver.Planned, error) {
	present, err := i.read(ctx, at)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("consumer exists", "The stream %s has no consumer %s.", at.stream, at.consumer)
		return driver.Planned{}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the consumer %s.", at.name())
		return driver.Planned{}, nil
	case err != nil:
		return driver.Planned{}, err
	}
	from := present.setting(at.aspect)
	checks.Pass("consumer exists", "The consumer %s is at %s.", at.name(), from)
	if ok, err := i.guarded(ctx, checks, at); !ok || err != nil {
		return driver.Planned{}, err
	}
	wanted, ok, err := i.wanted(ctx, checks, at, req)
	if !ok || err != nil {
		return driver.Planned{}, err
	}
	if wanted == from {
		checks.Block("not there already", "The consumer %s is at %s already.", at.name(), from)
		return driver.Planned{}, nil
	}
	fits(checks, at, present, wanted)
	again(checks, at, present, wanted)
	i.mayChange(ctx, checks, at)
	return driver.Planned{
		From:         present.state(from),
		To:           present.state(wanted),
		Reversible:   true,
		ExpectedTime: expectedTime,
		WontRevert:   slices.Clone(consumerWontRevert),
	}, nil
}

// guarded checks that a change can be made on a condition.
func (i consumers) guarded(ctx context.Context, checks *driver.Findings, at feed) (bool, error) {
	const name = "change is guarded"
	settings, err := i.conn.logStream(ctx)
	switch {
	case errors.Is(err, errNoLog):
		checks.Block(name, "The settings of Backout name no consumer_log, without which a change of a consumer can not be guarded.")
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(name, "The consumer log %s does not exist.", i.conn.log)
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the consumer log %s.", i.conn.log)
	case err != nil:
		return false, err
	default:
		if problem := settings.problem(i.conn.log, at); problem != "" {
			checks.Block(name, "%s", problem)
			return false, nil
		}
		checks.Pass(name, "A change of %s that comes meanwhile is not overwritten.", at.name())
		return true, nil
	}
	return false, nil
}

// wanted finds the setting to go to.
func (i consumers) wanted(ctx context.Context, checks *driver.Findings, at feed, req driver.PlanRequest) (setting, bool, error) {
	const name = "state exists"
	if req.Revision != "" {
		s, err := parseSetting(at.aspect, req.Revision)
		if err != nil {
			checks.Block(name, "%q is no state of %s: %s.", printable(req.Revision, maxLabel), at.aspect, err)
			return setting{}, false, nil
		}
		checks.Pass(name, "The wanted state is %s.", s)
		return s, true, nil
	}
	moment := req.Before.UTC().Format(time.RFC3339)
	turns, err := i.conn.turns(ctx, at)
	if errors.Is(err, errLongLog) {
		checks.Block(name, "The consumer log %s holds more than %d entries, which is too many to look for the state before %s.", i.conn.log, maxLog, moment)
		return setting{}, false, nil
	}
	if err != nil {
		return setting{}, false, err
	}
	found := -1
	for n, t := range turns {
		if t.at.Before(req.Before) {
			found = n
		}
	}
	if found < 0 {
		checks.Block(name, "The consumer log %s does not reach back before %s.", i.conn.log, moment)
		return setting{}, false, nil
	}
	for _, t := range turns[found+1:] {
		if t.first {
			checks.Block(name, "The consumer %s was made anew at %s, so that there is nothing to go back to before %s.", at.name(), t.at.Format(time.RFC3339), moment)
			return setting{}, false, nil
		}
	}
	checks.Pass(name, "The consumer was at %s before %s.", turns[found].setting, moment)
	return turns[found].setting, true, nil
}

// fits checks that the consumer can be at the wanted setting.
func fits(checks *driver.Findings, at feed, present reading, wanted setting) {
	const name = "state fits"
	switch {
	case at.aspect == delivery && !wanted.until.IsZero() && !wanted.until.After(present.Time):
		checks.Block("window is open", "The time to pause until is over: it was %s.", wanted.until.Format(time.RFC3339))
	case wanted.bits > 0 && present.Config.Deliver == "":
		checks.Block(name, "The consumer %s is pulled from, so that it has no rate limit: set max_ack_pending alone.", at.name())
	case at.aspect == throttle && present.Config.AckPolicy == "none":
		checks.Block(name, "The consumer %s awaits no acknowledgement, so that max_ack_pending does not throttle it.", at.name())
	default:
		checks.Pass(name, "The consumer %s can be at %s.", at.name(), wanted)
	}
}

// again tells what is delivered a second time, and what happens to what waits.
func again(checks *driver.Findings, at feed, present reading, wanted setting) {
	const name = "nothing is delivered twice"
	switch {
	case at.aspect == throttle && wanted.pending > 0 && present.Unacked > wanted.pending:
		checks.Warn(name, "%d messages are delivered and not acknowledged, which is more than %d: no other is delivered until they are fewer.", present.Unacked, wanted.pending)
	case present.Unacked > 0 && present.Config.AckPolicy != "none":
		checks.Warn(name, "%d messages are delivered and not acknowledged: each is delivered once more unless it is acknowledged within %s.", present.Unacked, present.Config.AckWait)
	default:
		checks.Pass(name, "No message is delivered and not acknowledged.")
	}
	if at.aspect == delivery && wanted.until.IsZero() && present.Waiting > 0 {
		checks.Warn("backlog", "%d messages wait and are delivered at once up to %s: throttle the consumer first where that is too many.", present.Waiting, present.Config.setting(throttle, present.Time))
	}
}

// mayChange asks the server what this credential may publish.
func (i consumers) mayChange(ctx context.Context, checks *driver.Findings, at feed) {
	const name = "permission"
	switch allowed, err := i.conn.mayPublish(ctx, at.gate()); {
	case err != nil:
		checks.Unknown(name, "The server did not say whether Backout may change the consumer %s.", at.name())
	case !allowed:
		checks.Block(name, "Backout may not change the %s of the consumer %s.", at.aspect, at.name())
	default:
		checks.Pass(name, "Backout may change the %s of the consumer %s.", at.aspect, at.name())
	}
}
