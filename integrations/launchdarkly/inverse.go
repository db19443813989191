package launchdarkly

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector
// beside it.
const kind = "flag.launchdarkly"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "feature flag",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: `a service token with the role [{"effect":"allow","actions":["viewProject"],"resources":["proj/<project>"]},{"effect":"allow","actions":["updateOn","updateFallthrough","updateOffVariation","updateRules","updateTargets","updatePrerequisites","updateTrackEvents"],"resources":["proj/<project>:env/<environment>:flag/<flag>"]}]`,
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"the flag in every other environment",
	"variations, name, tags and availability of the flag, which all environments share",
	"segments and prerequisite flags that the configuration refers to",
	"IDs of rules that were removed meanwhile: they come back with new ones, and their statistics begin anew",
	"what services did while they saw the newer configuration",
}

// inverse takes a flag in one environment back to a configuration that it had.
type inverse struct{ conn *connection }

// Observe reads the present configuration. A flag is settled at once.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	now, err := i.conn.flag(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	state, err := now.state()
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	seen := driver.Observation{State: state, Settled: true, Detail: now.name()}
	if state.Digest != action.From.Digest && state.Digest != action.To.Digest {
		if seen.Detail, err = i.drifted(ctx, at, action, now); err != nil {
			return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
		}
	}
	return seen, nil
}

// Apply writes the configuration of action.To, if the flag is still at the version
// that it finds there.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action, key)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, at location, action incident.Action, key string) (driver.Receipt, error) {
	now, err := i.conn.flag(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := i.compare(ctx, at, action, now); done || err != nil {
		return driver.Receipt{Detail: "the configuration was there already"}, err
	}
	if err := i.notYetApplied(ctx, at, action, key, now); err != nil {
		return driver.Receipt{}, err
	}
	wanted, err := i.wanted(ctx, at, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	written, err := i.conn.write(ctx, at, now.replaceBy(at, wanted.config), comment(key), false)
	if refusedPatch(err) {
		return i.explain(ctx, at, action, now, err)
	}
	if err != nil {
		return driver.Receipt{}, err
	}
	done := driver.Receipt{Mutated: true, Detail: fmt.Sprintf("version %d written with the configuration of version %s", written.version(), action.To.Revision)}
	digest, err := written.digest()
	if err != nil {
		return done, err
	}
	if digest != action.To.Digest {
		// LaunchDarkly made something else of it, and says so in its answer.
		return done, fmt.Errorf("%w: LaunchDarkly keeps another configuration than was written: %s", driver.ErrInvalid, difference(wanted.config, written.config))
	}
	return done, nil
}

// comment names the action in the audit log.
func comment(key string) string { return "Rollback by Backout, action " + key }

// compare is done when the flag is at "to", and a *driver.DriftError when it is at
// neither.
func (i inverse) compare(ctx context.Context, at location, action incident.Action, now flag) (done bool, err error) {
	state, err := now.state()
	if err != nil {
		return false, err
	}
	switch state.Digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	said, err := i.drifted(ctx, at, action, now)
	if err != nil {
		return false, err
	}
	return false, &driver.DriftError{Action: action, Observed: state, Difference: said}
}

// drifted says in one line what is there in place of "from".
func (i inverse) drifted(ctx context.Context, at location, action incident.Action, now flag) (string, error) {
	version, err := strconv.ParseInt(action.From.Revision, 10, 64)
	if err != nil {
		return now.name(), nil //nolint:nilerr // What is there can be told all the same.
	}
	from, ok, err := i.conn.byVersion(ctx, at, version)
	if err != nil {
		return "", err
	}
	if !ok {
		return now.name(), nil
	}
	return difference(from.config, now.config) + "; " + now.name(), nil
}

// wanted reads the configuration of a state again from the audit log and checks it.
func (i inverse) wanted(ctx context.Context, at location, state incident.State) (flag, error) {
	version, err := strconv.ParseInt(state.Revision, 10, 64)
	if err != nil || version <= 0 {
		return flag{}, fmt.Errorf("read revision %q: %w", state.Revision, driver.ErrInvalid)
	}
	found, ok, err := i.conn.byVersion(ctx, at, version)
	if err != nil {
		return flag{}, err
	}
	if ok {
		digest, err := found.digest()
		if err != nil {
			return flag{}, err
		}
		ok = digest == state.Digest
	}
	if !ok {
		return flag{}, fmt.Errorf("find version %d (%s) in the audit log: %w", version, incident.ShortDigest(state.Digest), driver.ErrNotFound)
	}
	return found, nil
}

// notYetApplied refuses to apply an action twice: when its own write is in the log
// and the flag is at "from" all the same, somebody has put "from" back.
func (i inverse) notYetApplied(ctx context.Context, at location, action incident.Action, key string, now flag) error {
	since, err := strconv.ParseInt(action.From.Revision, 10, 64)
	if err != nil {
		return fmt.Errorf("read revision %q: %w", action.From.Revision, driver.ErrInvalid)
	}
	if now.version() == since {
		return nil // Nothing was written since the plan.
	}
	again := false
	_, err = i.conn.log(ctx, at, func(ch change) bool {
		again = again || strings.Contains(ch.Comment, comment(key))
		return !again && (!ch.known || !ch.made && ch.before.version() > since)
	})
	if err != nil {
		return err
	}
	if again {
		state, err := now.state()
		if err != nil {
			return err
		}
		return &driver.DriftError{Action: action, Observed: state, Difference: "somebody changed it back after this very action was applied: " + now.name()}
	}
	return nil
}

// explain finds out what a refused patch means: another writer was faster, with the
// same configuration or another, or what was asked for is not accepted.
func (i inverse) explain(ctx context.Context, at location, action incident.Action, before flag, refusal error) (driver.Receipt, error) {
	now, err := i.conn.flag(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := i.compare(ctx, at, action, now); done || err != nil {
		return driver.Receipt{Detail: "the configuration was written by another writer"}, err
	}
	if now.version() != before.version() {
		// "from" was written once more: the next try sees it. The refusal may be of a
		// class that is final, so that only its words are kept.
		return driver.Receipt{}, fmt.Errorf("the flag has another version: %v", refusal) //nolint:errorlint // See above.
	}
	return driver.Receipt{}, refusal
}
