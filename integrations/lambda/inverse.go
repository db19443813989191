package lambda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector
// beside it.
const kind = "lambda.alias"

// expectedTime is what a rollback is expected to take. Lambda applies an update of an
// alias within seconds.
const expectedTime = 5 * time.Second

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "serverless",
		TargetForm: aliasForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: `{"Effect": "Allow", "Action": ["lambda:GetAlias", "lambda:ListVersionsByFunction", "lambda:GetFunctionConfiguration", "lambda:UpdateAlias"], "Resource": ["arn:aws:lambda:<region>:<account>:function:<function>", "arn:aws:lambda:<region>:<account>:function:<function>:*"]}`,
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"invocations under way, and events that wait to be retried",
	"triggers, permissions and concurrency of the alias and of the function",
	"$LATEST: the next deployment starts from the newer code again",
	"what the newer version has written",
}

// inverse points an alias to a version.
type inverse struct{ conn *connection }

// Observe reads where the alias points to. An update of it is settled at once as far
// as Lambda tells.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, err := i.conn.read(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(), Settled: true, Detail: present.detail()}, nil
}

// Apply points the alias to the version of action.To, if it still has the RevisionId
// that it is found with.
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
	wanted, err := parsePointing(action.To.Revision)
	if err != nil || wanted.state().Digest != action.To.Digest {
		return driver.Receipt{}, fmt.Errorf("read revision %q: %w", printable(action.To.Revision), driver.ErrInvalid)
	}
	present, done, err := i.compare(ctx, at, action)
	if done || err != nil {
		return driver.Receipt{Detail: "the alias pointed there already"}, err
	}
	err = i.conn.update(ctx, at, wanted, present.revision)
	if errors.Is(err, errMoved) {
		// Another writer was faster, with the same version or another. Where it changed
		// only the description, the next try sees it.
		if _, done, drift := i.compare(ctx, at, action); done || drift != nil {
			return driver.Receipt{Detail: "another writer pointed the alias there"}, drift
		}
	}
	if err != nil {
		return driver.Receipt{}, err
	}
	return driver.Receipt{Mutated: true, Detail: fmt.Sprintf("alias %s pointed to %s", at.name(), wanted.label())}, nil
}

// compare is done when the alias is at "to", and a *driver.DriftError when it is at
// neither.
func (i inverse) compare(ctx context.Context, at location, action incident.Action) (present reading, done bool, err error) {
	if present, err = i.conn.read(ctx, at); err != nil {
		return reading{}, false, err
	}
	switch present.state().Digest {
	case action.To.Digest:
		return present, true, nil
	case action.From.Digest:
		return present, false, nil
	}
	return present, false, &driver.DriftError{Action: action, Observed: present.state(), Difference: present.detail()}
}

// Plan finds the wanted version, and what stands in its way.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	planned, err := i.plan(ctx, &checks, at, req)
	if errors.Is(err, errForbidden) {
		checks.Block("permission", "Backout may not read the alias %s and the versions of its function.", at.name())
		err = nil
	}
	switch {
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case checks.Blocked():
		return driver.Planned{Preflight: checks}, nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (i inverse) plan(ctx context.Context, checks *driver.Findings, at location, req driver.PlanRequest) (driver.Planned, error) {
	present, err := i.conn.read(ctx, at)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("alias exists", "There is no function %s with an alias %s.", at.function, at.alias)
		return driver.Planned{}, nil
	case errors.Is(err, errLatest):
		checks.Block("alias exists", "The alias %s points to $LATEST, which is no version and can not be come back to.", at.name())
		return driver.Planned{}, nil
	case err != nil:
		return driver.Planned{}, err
	}
	checks.Pass("alias exists", "The alias %s points to %s.", at.name(), present.label())
	wanted, ok, err := i.resolve(ctx, checks, at, present, req)
	if err != nil || !ok {
		return driver.Planned{}, err
	}
	if wanted == present.pointing {
		checks.Block("not there already", "The alias %s points to %s already.", at.name(), wanted.label())
		return driver.Planned{}, nil
	}
	for _, number := range wanted.versions() {
		if err := i.runs(ctx, checks, at, number); err != nil {
			return driver.Planned{}, err
		}
	}
	if present.second > 0 {
		checks.Warn("traffic stands", "Traffic is being shifted: %s. Whatever shifts it may do so again, and has to be stopped.", strings.ToUpper(present.label()[:1])+present.label()[1:])
	}
	if err := i.permitted(ctx, checks, at, present); err != nil {
		return driver.Planned{}, err
	}
	return driver.Planned{
		From:         present.state(),
		To:           wanted.state(),
		Reversible:   true,
		ExpectedTime: expectedTime,
		WontRevert:   slices.Clone(wontRevert),
	}, nil
}

// resolve is the state to go to.
func (i inverse) resolve(ctx context.Context, checks *driver.Findings, at location, present reading, req driver.PlanRequest) (pointing, bool, error) {
	const name = "version is known"
	if req.Revision != "" {
		wanted, err := parsePointing(req.Revision)
		if err != nil {
			checks.Block(name, "%q is no state of an alias: %s.", printable(req.Revision), err)
			return pointing{}, false, nil
		}
		return wanted, true, nil
	}
	moment := req.Before.UTC().Format(time.RFC3339)
	versions, err := i.conn.versions(ctx, at)
	if err != nil {
		return pointing{}, false, err
	}
	found := 0
	for _, v := range versions {
		if v.at.Before(req.Before) {
			found = v.version
		}
	}
	if found == 0 {
		checks.Block(name, "No version of %s that is still there was published before %s.", at.function, moment)
		return pointing{}, false, nil
	}
	if found > present.version {
		checks.Block(name, "The newest version that was published before %s is %d, which is newer than what the alias points to: name the version.", moment, found)
		return pointing{}, false, nil
	}
	checks.Warn(name, "Lambda keeps no history of an alias: version %d is the newest that was published before %s.", found, moment)
	return pointing{version: found}, true, nil
}

// runs checks that a version is there and can be invoked.
func (i inverse) runs(ctx context.Context, checks *driver.Findings, at location, number int) error {
	const name = "version exists"
	found, err := i.conn.version(ctx, at, number)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(name, "The function %s has no version %d any more.", at.function, number)
		return nil
	case err != nil:
		return err
	}
	checks.Pass(name, "Version %d of %s was published at %s.", number, at.function, found.at.Format(time.RFC3339))
	switch found.state {
	case types.StateActive, "":
		checks.Pass("version runs", "Version %d of %s is active.", number, at.function)
	case types.StateInactive:
		checks.Warn("version runs", "Version %d of %s was idle for so long that Lambda has to prepare it again: its first invocations fail.", number, at.function)
	case types.StatePending:
		checks.Block("version runs", "Version %d of %s is still being prepared by Lambda.", number, at.function)
	case types.StateFailed:
		checks.Block("version runs", "Version %d of %s has failed and can not be invoked.", number, at.function)
	case types.StateDeactivating, types.StateDeactivated, types.StateActiveNonInvocable, types.StateDeleting:
		fallthrough
	default:
		checks.Block("version runs", "Version %d of %s is in the state %q, in which it may not be invoked.", number, at.function, printable(string(found.state)))
	}
	return nil
}

// noRevision is a RevisionId that no alias has.
const noRevision = "00000000-0000-0000-0000-000000000000"

// permitted asks Lambda for an update that can not happen: to what is there, on
// condition of a RevisionId that no alias has.
func (i inverse) permitted(ctx context.Context, checks *driver.Findings, at location, present reading) error {
	const name = "permission"
	switch err := i.conn.update(ctx, at, present.pointing, noRevision); {
	case errors.Is(err, errMoved):
		checks.Pass(name, "Backout may update the alias %s.", at.name())
	case errors.Is(err, driver.ErrDenied):
		checks.Block(name, "Backout may not update the alias %s.", at.name())
	case ctx.Err() != nil:
		return err
	default:
		checks.Unknown(name, "Lambda did not say whether Backout may update the alias %s.", at.name())
	}
	return nil
}
