package github

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// redeployKind is the name of the inverse that deploys an earlier version again.
const redeployKind = "github.redeploy"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       redeployKind,
		System:     systemType,
		Layer:      "Git and CI/CD",
		TargetForm: environmentForm,
		Reversible: true,
		OneWay:     "an environment whose newest deployment failed",
		WontRevert: redeployWontRevert,
		Permission: "fine-grained token or app installation on the repository alone: deployments: write, contents: read, metadata: read",
	}, func(c *connection) driver.Inverse { return redeploy{c} })
}

// redeployWontRevert lists what stays as it is.
var redeployWontRevert = []string{
	"data that the newer version has written, and migrations that it has run",
	"secrets and variables that the deployment reads when it runs",
	"the branch: the next deployment from it brings the newer version again",
	"other environments of the repository",
}

// redeploy takes an environment back to the commit of an earlier deployment, by
// a new deployment of that very commit.
//
// GitHub creates a deployment without a condition. So one that is created is
// checked against its neighbours at once: when another deployment came between
// the observed one and it, it is withdrawn, before anybody has begun it as far
// as GitHub knows, and the action is refused.
type redeploy struct{ conn *connection }

// Observe reads the newest deployment that was not withdrawn. It is settled when
// its outcome is known.
func (i redeploy) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := settingOf(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, err := i.present(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(), Settled: present.phase != phaseOpen, Detail: present.detail()}, nil
}

// Apply creates a deployment of the commit of action.To, unless one is there. It
// returns when GitHub has it; the deployment's statuses say how it goes on.
func (i redeploy) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	at, err := settingOf(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action, key)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

// errBusy means that a deployment is under way, which has to end first.
var errBusy = errors.New("a deployment is under way")

func (i redeploy) apply(ctx context.Context, at setting, action incident.Action, key string) (driver.Receipt, error) {
	present, err := i.present(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch present.state().Digest {
	case action.To.Digest:
		// It may be this very action's, of a process that died before it looked.
		if m, ok := markOf(present.Deployment); ok && m.Action == key && present.phase == phaseOpen {
			return i.defend(ctx, at, action, present.Deployment, m.From, driver.Receipt{Detail: "it was deployed already"})
		}
		return driver.Receipt{Detail: "it was deployed already"}, nil
	case action.From.Digest:
	default:
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: present.state(), Difference: present.detail()}
	}
	if err := i.notYetApplied(ctx, at, action, key, present); err != nil {
		return driver.Receipt{}, err
	}
	if present.phase == phaseOpen {
		return driver.Receipt{}, fmt.Errorf("deploy %s: %w: %s", action.To.Label, errBusy, present.detail())
	}
	wanted, err := i.wanted(ctx, at, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	made, err := i.create(ctx, at, wanted, mark{Action: key, From: present.GetID(), To: wanted.GetID()})
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt := driver.Receipt{Mutated: true, Detail: fmt.Sprintf("deployment %d of %s created", made.GetID(), action.To.Label)}
	return i.defend(ctx, at, action, made, present.GetID(), receipt)
}

// present is the newest deployment; an environment without one is not found.
func (i redeploy) present(ctx context.Context, at setting) (release, error) {
	present, found, err := i.conn.newest(ctx, at)
	if err == nil && !found {
		err = fmt.Errorf("find a deployment to %q: %w", at.environment, driver.ErrNotFound)
	}
	return present, err
}

// notYetApplied refuses to apply an action twice: when its own deployment is in
// the history and the environment is at "from" all the same, somebody has put
// "from" back.
func (i redeploy) notYetApplied(ctx context.Context, at setting, action incident.Action, key string, present release) error {
	from, err := strconv.ParseInt(action.From.Revision, 10, 64)
	if err != nil {
		return fmt.Errorf("read revision %q: %w", action.From.Revision, driver.ErrInvalid)
	}
	if present.GetID() == from {
		return nil // Nothing was deployed since the plan.
	}
	newer, err := i.conn.since(ctx, at, from)
	if err != nil {
		return err
	}
	for _, d := range newer {
		if m, ok := markOf(d); !ok || m.Action != key {
			continue
		}
		if r, err := i.conn.release(ctx, at, d); err != nil {
			return err
		} else if r.phase != phaseWithdrawn {
			return &driver.DriftError{Action: action, Observed: present.state(), Difference: "somebody deployed over this very action: " + present.detail()}
		}
	}
	return nil
}

// wanted reads the deployment of a state again and checks it.
func (i redeploy) wanted(ctx context.Context, at setting, state incident.State) (*full, error) {
	id, err := strconv.ParseInt(state.Revision, 10, 64)
	if err != nil || id <= 0 {
		return nil, fmt.Errorf("read revision %q: %w", state.Revision, driver.ErrInvalid)
	}
	d, err := i.conn.deployment(ctx, at, id)
	if err == nil && stateOf(&d.Deployment).Digest == state.Digest && d.GetEnvironment() == at.environment {
		return d, nil
	}
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return nil, err
	}
	return nil, fmt.Errorf("find deployment %d of %s (%s): %w", id, state.Label, incident.ShortDigest(state.Digest), driver.ErrNotFound)
}

// create asks for a deployment like an earlier one: same commit, task and
// payload. Checks of the commit are not asked for again: it was deployed before.
func (i redeploy) create(ctx context.Context, at setting, wanted *full, m mark) (*gh.Deployment, error) {
	payload, ok := withMark(&wanted.Deployment, m)
	if !ok {
		return nil, fmt.Errorf("deploy %s: %w: the payload of deployment %d is no object", label(&wanted.Deployment), driver.ErrInvalid, wanted.GetID())
	}
	made, resp, err := i.conn.api.Repositories.CreateDeployment(ctx, at.owner, at.name, &gh.DeploymentRequest{
		Ref:                   wanted.SHA,
		Task:                  wanted.Task,
		AutoMerge:             new(false),
		RequiredContexts:      &[]string{},
		Payload:               payload,
		Environment:           &at.environment,
		Description:           new(fmt.Sprintf("Backout: deployment %d of %s again", wanted.GetID(), label(&wanted.Deployment))),
		TransientEnvironment:  wanted.Transient,
		ProductionEnvironment: wanted.Production,
	})
	if err != nil {
		return nil, i.conn.classify(ctx, fmt.Sprintf("deploy %s to %s of %s", label(&wanted.Deployment), at.environment, at.repo()), resp, err)
	}
	if made.GetSHA() != wanted.GetSHA() {
		return nil, fmt.Errorf("deploy %s: %w: GitHub made deployment %d of another commit", label(&wanted.Deployment), driver.ErrInvalid, made.GetID())
	}
	return made, nil
}

// defend checks that nothing came between the deployment that was observed and
// the one that was made, and withdraws the latter otherwise.
func (i redeploy) defend(ctx context.Context, at setting, action incident.Action, made *gh.Deployment, observed int64, receipt driver.Receipt) (driver.Receipt, error) {
	newer, err := i.conn.since(ctx, at, observed)
	if err != nil {
		return receipt, err
	}
	for _, d := range newer {
		if d.GetID() >= made.GetID() {
			continue // What came later wins, as it should.
		}
		other, err := i.conn.release(ctx, at, d)
		if err != nil {
			return receipt, err
		}
		if other.phase != phaseWithdrawn {
			return i.withdraw(ctx, at, action, made, other, receipt)
		}
	}
	return receipt, nil
}

// withdraw takes back a deployment that nobody has begun, in favour of another.
func (i redeploy) withdraw(ctx context.Context, at setting, action incident.Action, made *gh.Deployment, other release, receipt driver.Receipt) (driver.Receipt, error) {
	mine, err := i.conn.release(ctx, at, made)
	if err != nil {
		return receipt, err
	}
	drift := &driver.DriftError{Action: action, Observed: other.state(), Difference: other.detail()}
	if mine.began {
		drift.Difference += fmt.Sprintf("; deployment %d of this action, made at the same moment, had begun and could not be withdrawn", made.GetID())
		return receipt, drift
	}
	what := fmt.Sprintf("withdraw deployment %d of %s", made.GetID(), at.repo())
	_, resp, err := i.conn.api.Repositories.CreateDeploymentStatus(ctx, at.owner, at.name, made.GetID(), &gh.DeploymentStatusRequest{
		State: new("inactive"), Description: new("Backout withdrew it: another deployment came first."),
	})
	if err != nil {
		return receipt, i.conn.classify(ctx, what, resp, err)
	}
	// It counts as withdrawn already; without it the history reads better.
	_, _ = i.conn.api.Repositories.DeleteDeployment(ctx, at.owner, at.name, made.GetID())
	return driver.Receipt{Detail: "another deployment came first"}, drift
}
