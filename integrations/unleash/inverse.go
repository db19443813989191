package unleash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector
// beside it.
const kind = "flag.unleash"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "feature flag",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: "the root role Viewer, and in the project for the one environment: " + strings.Join([]string{mayToggle, mayAdd, mayChange, mayRemove}, ", ") + " (and " + mayVary + " where flags have variants of their own); in the open-source edition, which has no roles of one's own, the project role Member",
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"the flag in every other environment",
	"segments, context fields and parent flags that the strategies refer to",
	"name, type, tags, staleness and dependencies of the flag",
	"what services did while they saw the newer state, and what clients have cached until they ask again",
}

// inverse takes a flag in one environment back to a state that it had.
type inverse struct{ conn *connection }

// Observe reads the present state. A state of which only a part was written, and by
// nobody but Backout, is told as action.From. A flag is settled at once.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	now, err := i.conn.now(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	if now.digest == action.From.Digest || now.digest == action.To.Digest {
		return driver.Observation{State: now.state(), Settled: true, Detail: now.detail()}, nil
	}
	h, err := i.conn.history(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	seen := driver.Observation{State: h.now().state(), Settled: true, Detail: h.now().detail()}
	if seen.State.Digest == action.From.Digest || seen.State.Digest == action.To.Digest {
		return seen, nil // It came there between the two looks.
	}
	half, err := i.halfWay(ctx, h, action)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	if half != "" {
		return driver.Observation{State: action.From, Settled: true, Detail: half}, nil
	}
	seen.Detail = drifted(h, action)
	return seen, nil
}

// halfWay says how far a rollback of several steps came; empty when the flag is not
// on that way, or somebody else was there.
func (i inverse) halfWay(ctx context.Context, h history, action incident.Action) (string, error) {
	from, okFrom := h.byDigest(action.From.Digest)
	to, okTo := h.byDigest(action.To.Digest)
	if !okFrom || !okTo {
		return "", nil
	}
	me, err := i.conn.me(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range h.moments {
		if m.id <= from.id {
			break
		}
		if m.by != me {
			return "", nil
		}
	}
	now, err := h.unsorted().digest()
	if err != nil {
		return "", err
	}
	steps := route(from.content, to.content)
	for n, s := range steps {
		digest, err := s.after.unsorted().digest()
		if err != nil {
			return "", err
		}
		if digest == now {
			return fmt.Sprintf("%d of %d steps are done: %s", n+1, len(steps), difference(from.content, h.content)), nil
		}
	}
	return "", nil
}

// drifted says in one line what is there in place of "from".
func drifted(h history, action incident.Action) string {
	said := h.now().detail()
	if from, ok := h.byDigest(action.From.Digest); ok {
		said = difference(from.content, h.content) + "; " + said
	}
	return said
}

// Apply takes the flag to action.To, step by step. It returns once the server has
// the last of them.
func (i inverse) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, at location, action incident.Action) (driver.Receipt, error) {
	h, err := i.conn.history(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch h.now().digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "the flag was there already"}, nil
	case action.From.Digest:
		if err := i.notYetApplied(ctx, h, action); err != nil {
			return driver.Receipt{}, err
		}
	default:
		half, err := i.halfWay(ctx, h, action)
		if err != nil {
			return driver.Receipt{}, err
		}
		if half == "" {
			return driver.Receipt{}, &driver.DriftError{Action: action, Observed: h.now().state(), Difference: drifted(h, action)}
		}
	}
	wanted, ok := h.byDigest(action.To.Digest)
	if !ok {
		return driver.Receipt{}, fmt.Errorf("find event %s (%s) in the log: %w", action.To.Revision, incident.ShortDigest(action.To.Digest), driver.ErrNotFound)
	}
	me, err := i.conn.me(ctx)
	if err != nil {
		return driver.Receipt{}, err
	}
	return i.walk(ctx, at, action, h, wanted.content, me)
}

// walk makes the steps, and looks behind each whether anybody came between.
func (i inverse) walk(ctx context.Context, at location, action incident.Action, h history, wanted content, me int) (driver.Receipt, error) {
	steps := route(h.content, wanted)
	last := h.last
	for n, s := range steps {
		undo, err := s.run(ctx, i.conn, at)
		switch {
		case errors.Is(err, errMoved):
			return i.moved(ctx, at, action, n)
		case err != nil:
			return driver.Receipt{Mutated: n > 0 && driver.Final(err)}, fmt.Errorf("step %d of %d, %s: %w", n+1, len(steps), s.name, err)
		}
		events, err := i.conn.log(ctx, at, maxEvents)
		if err != nil {
			return driver.Receipt{Mutated: n == len(steps)-1}, err
		}
		if other, ok := between(events, last, me); ok {
			return i.yield(ctx, at, action, undo, other)
		}
		last = newest(events, me, last)
	}
	done := driver.Receipt{Mutated: true, Detail: detailOf(steps)}
	now, err := i.conn.flag(ctx, at)
	if err != nil {
		return done, err
	}
	if digest, err := now.digest(); err != nil || digest == action.To.Digest {
		return done, err
	}
	after, err := i.conn.history(ctx, at)
	if err != nil {
		return done, err
	}
	return done, &driver.DriftError{Action: action, Observed: after.now().state(), Difference: "the flag was changed again right after: " + drifted(after, action)}
}

func detailOf(steps []step) string {
	names := make([]string, 0, len(steps))
	for _, s := range steps {
		names = append(names, s.name)
	}
	return strings.Join(names, ", then ")
}

// between finds the first change of somebody else after an event and before
// Backout's own newest one.
func between(events []event, last int64, me int) (event, bool) {
	own := newest(events, me, last)
	for _, e := range slices.Backward(events) {
		if e.ID > last && e.ID < own && e.By != me {
			return e, true
		}
	}
	return event{}, false
}

// newest is the ID of Backout's own newest event, last if there is none.
func newest(events []event, me int, last int64) int64 {
	at := slices.IndexFunc(events, func(e event) bool { return e.By == me && e.ID > last })
	if at < 0 {
		return last
	}
	return events[at].ID
}

// yield takes Backout's own step back, so that the change that came between stands.
func (i inverse) yield(ctx context.Context, at location, action incident.Action, undo takeBack, other event) (driver.Receipt, error) {
	said := fmt.Sprintf("event %d by %s came between reading and writing", other.ID, oneLine(other.Author, maxLabel))
	if err := undo(ctx); err != nil {
		said += "; what was written over it could not be taken back"
	} else {
		said += "; what was written over it was taken back"
	}
	h, err := i.conn.history(ctx, at)
	if err != nil {
		return driver.Receipt{Mutated: true}, errors.Join(&driver.DriftError{Action: action, Difference: said}, err)
	}
	return driver.Receipt{Mutated: true}, &driver.DriftError{Action: action, Observed: h.now().state(), Difference: said + "; " + h.now().detail()}
}

// moved finds out what a failed test means: another writer was faster, with the same
// state or another.
func (i inverse) moved(ctx context.Context, at location, action incident.Action, done int) (driver.Receipt, error) {
	h, err := i.conn.history(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch h.now().digest {
	case action.To.Digest:
		return driver.Receipt{Mutated: done > 0, Detail: "the state was written by another writer"}, nil
	case action.From.Digest:
		return driver.Receipt{}, errMoved // "from" was written once more: the next try sees it.
	}
	return driver.Receipt{Mutated: done > 0}, &driver.DriftError{Action: action, Observed: h.now().state(), Difference: drifted(h, action)}
}

// notYetApplied refuses to apply an action twice: when Backout has brought the flag
// to "to" since the plan and somebody else has put "from" back.
func (i inverse) notYetApplied(ctx context.Context, h history, action incident.Action) error {
	since, err := strconv.ParseInt(action.From.Revision, 10, 64)
	if err != nil || h.now().id == since {
		return nil //nolint:nilerr // A state that the log does not know, or nothing happened since the plan.
	}
	me, err := i.conn.me(ctx)
	if err != nil {
		return err
	}
	if h.now().by == me {
		return nil
	}
	for _, m := range h.moments {
		if m.id > since && m.by == me && m.digest == action.To.Digest {
			return &driver.DriftError{Action: action, Observed: h.now().state(), Difference: "somebody changed it back after this very action was applied: " + h.now().detail()}
		}
	}
	return nil
}

// jsonOf encodes what was decoded before.
func jsonOf(v any) (json.RawMessage, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode strategy: %w", err)
	}
	return content, nil
}
