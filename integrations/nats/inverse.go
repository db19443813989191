package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector
// beside it.
const kind = "nats.kv"

// backoutAuthor is the author of what Backout writes.
const backoutAuthor = "backout"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "configuration",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: "publish allow: $JS.API.STREAM.INFO.KV_<bucket>, $JS.API.STREAM.MSG.GET.KV_<bucket>, $KV.<bucket>.<key>, $SYS.REQ.USER.INFO (optional, for the preflight); subscribe allow: <inbox_prefix>.>",
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"other keys of the bucket",
	"a time to live that the old revision had",
	"what services did while they used the value",
}

// inverse takes a key back to a revision of its own history.
type inverse struct{ conn *connection }

// Observe reads the present value. A key is settled at once.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, err := i.conn.latest(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(), Settled: true, Detail: present.detail()}, nil
}

// Apply writes the value of action.To as a new revision, if the key is still at
// the revision that it finds there. A key that was deleted at action.To is
// deleted, not purged.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action, key)
	if errors.Is(err, errMoved) {
		receipt, err = i.explain(ctx, at, action)
	}
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, at location, action incident.Action, key string) (driver.Receipt, error) {
	present, err := i.conn.latest(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := compare(present, action); done || err != nil {
		return driver.Receipt{Detail: "the value was there already"}, err
	}
	if err := i.notYetApplied(ctx, at, action, key, present); err != nil {
		return driver.Receipt{}, err
	}
	wanted, err := i.wanted(ctx, at, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	wanted.author, wanted.action = backoutAuthor, key
	written, err := i.conn.put(ctx, at, wanted, present.revision)
	if err != nil {
		return driver.Receipt{}, err
	}
	return driver.Receipt{Mutated: true, Detail: fmt.Sprintf("revision %d written with the value of revision %s", written, action.To.Revision)}, nil
}

// compare is done when the key is at "to", and a *driver.DriftError when it is
// at neither.
func compare(present entry, action incident.Action) (done bool, err error) {
	switch present.digest() {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: present.state(), Difference: present.detail()}
}

// notYetApplied refuses to apply an action twice: when its own write is in the
// history and the key is at "from" all the same, somebody has put "from" back.
func (i inverse) notYetApplied(ctx context.Context, at location, action incident.Action, key string, present entry) error {
	since, err := strconv.ParseUint(action.From.Revision, 10, 64)
	if err != nil {
		return fmt.Errorf("read revision %q: %w", action.From.Revision, driver.ErrInvalid)
	}
	if present.revision == since {
		return nil // Nothing was written since the plan.
	}
	entries, err := i.conn.history(ctx, at, since)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.action == key {
			return &driver.DriftError{Action: action, Observed: present.state(), Difference: "somebody changed it back after this very action was applied: " + present.detail()}
		}
	}
	return nil
}

// wanted reads the value of a state again from the history and checks it.
func (i inverse) wanted(ctx context.Context, at location, state incident.State) (entry, error) {
	if state.Digest == absent.digest() {
		return absent, nil
	}
	revision, err := strconv.ParseUint(state.Revision, 10, 64)
	if err != nil || revision == 0 {
		return entry{}, fmt.Errorf("read revision %q: %w", state.Revision, driver.ErrInvalid)
	}
	e, err := i.conn.message(ctx, at, messageRequest{Seq: revision})
	if err == nil && e.digest() == state.Digest {
		return e, nil
	}
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return entry{}, err
	}
	// The same value may have been written again since.
	entries, err := i.conn.history(ctx, at, 1)
	if err != nil {
		return entry{}, err
	}
	for _, e := range entries {
		if e.digest() == state.Digest {
			return e, nil
		}
	}
	return entry{}, fmt.Errorf("find revision %s (%s) in the history: %w", state.Revision, incident.ShortDigest(state.Digest), driver.ErrNotFound)
}

// explain finds out what a lost compare-and-set means: another writer was
// faster, with the same value or another.
func (i inverse) explain(ctx context.Context, at location, action incident.Action) (driver.Receipt, error) {
	present, err := i.conn.latest(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := compare(present, action); done || err != nil {
		return driver.Receipt{Detail: "the value was written by another writer"}, err
	}
	return driver.Receipt{}, errMoved // "from" was written once more: the next try sees it.
}
