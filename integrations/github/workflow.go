package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// workflowKind is the name of the inverse that runs a workflow for an earlier
// commit.
const workflowKind = "github.workflow"

// The inputs that a workflow must have and show in its run's name.
const (
	// inputCommit is the full hash of the commit to check out and apply.
	inputCommit = "commit"
	// inputMarker is one word by which the run is found again.
	inputMarker = "backout"
)

// How long a run that was accepted may take to appear, and how often it is
// looked for.
const (
	appearTime  = 30 * time.Second
	appearPause = time.Second
)

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       workflowKind,
		System:     systemType,
		Layer:      "infrastructure",
		TargetForm: pipelineForm,
		Reversible: true,
		OneWay:     "a workflow whose newest run failed",
		WontRevert: workflowWontRevert,
		Permission: "fine-grained token or app installation on the repository alone: actions: write, contents: read, metadata: read",
	}, func(c *connection) driver.Inverse { return workflow{c} })
}

// workflowWontRevert lists what stays as it is.
var workflowWontRevert = []string{
	"data in resources that the newer commit made and that the earlier one deletes",
	"what was changed by hand, past the workflow, unless the workflow sets it",
	"secrets and variables that the workflow reads when it runs",
	"the branch: the next run on it brings the newer commit again",
}

// workflow takes what a workflow applies back to an earlier commit, by a run of
// the workflow that is told the commit.
//
// GitHub dispatches without a condition. So a run that was dispatched is checked
// against its neighbours at once: it is cancelled when another one came first,
// before a runner has taken it up as far as GitHub knows.
type workflow struct{ conn *connection }

// Observe reads the newest run. It is settled when that has ended.
func (i workflow) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := pipelineOf(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, _, err := i.present(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(), Settled: present.phase != phaseOpen, Detail: present.detail()}, nil
}

// Apply dispatches the workflow for the commit of action.To, unless a run is
// there. It returns when the run is there; the run's conclusion says how it ended.
func (i workflow) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	at, err := pipelineOf(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action, runMarker(key))
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i workflow) apply(ctx context.Context, at pipeline, action incident.Action, marker string) (driver.Receipt, error) {
	present, all, err := i.present(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	from, err := strconv.ParseInt(action.From.Revision, 10, 64)
	if err != nil {
		return driver.Receipt{}, fmt.Errorf("read revision %q: %w", action.From.Revision, driver.ErrInvalid)
	}
	switch present.state().Digest {
	case action.To.Digest:
		receipt := driver.Receipt{Detail: "it was run already"}
		if present.mentions(marker) && present.phase == phaseOpen {
			// A process that died may not have looked.
			return i.defend(ctx, at, action, marker, from, receipt)
		}
		return receipt, nil
	case action.From.Digest:
	default:
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: present.state(), Difference: present.detail()}
	}
	for _, r := range all {
		if r.mentions(marker) {
			return driver.Receipt{}, &driver.DriftError{Action: action, Observed: present.state(), Difference: "somebody ran it over this very action: " + present.detail()}
		}
	}
	if present.phase == phaseOpen {
		return driver.Receipt{}, fmt.Errorf("run for %s: %w: %s", action.To.Label, errBusy, present.detail())
	}
	wanted, err := i.wanted(ctx, at, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	if err := i.dispatch(ctx, at, wanted.commit, marker); err != nil {
		return driver.Receipt{}, err
	}
	receipt := driver.Receipt{Mutated: true, Detail: fmt.Sprintf("%s dispatched for %s", at.file, shorten(wanted.commit))}
	if err := i.appears(ctx, at, marker); err != nil {
		return receipt, err
	}
	return i.defend(ctx, at, action, marker, present.GetID(), receipt)
}

// present is the newest run and all of its page; a workflow without one is not
// found.
func (i workflow) present(ctx context.Context, at pipeline) (run, []run, error) {
	all, err := i.conn.standing(ctx, at)
	if err != nil {
		return run{}, nil, err
	}
	if len(all) == 0 {
		return run{}, nil, fmt.Errorf("find a run of %s on %s: %w", at.file, at.branch, driver.ErrNotFound)
	}
	return all[0], all, nil
}

// wanted finds the run of a state again, or another success of the same commit.
func (i workflow) wanted(ctx context.Context, at pipeline, state incident.State) (run, error) {
	found, ok, err := i.conn.pastRun(ctx, at, func(r run) bool { return r.state().Digest == state.Digest })
	if err == nil && !ok {
		err = fmt.Errorf("find run %s of %s (%s): %w", state.Revision, state.Label, incident.ShortDigest(state.Digest), driver.ErrNotFound)
	}
	return found, err
}

// dispatch asks for a run. GitHub answers with its number or with nothing,
// depending on its version: the run is found by its marker either way.
func (i workflow) dispatch(ctx context.Context, at pipeline, commit, marker string) error {
	resp, err := i.request(ctx, at, at.branch, commit, marker)
	return i.conn.classify(ctx, fmt.Sprintf("dispatch %s of %s for %s", at.file, at.repo(), shorten(commit)), resp, err)
}

// errHidden means that a run was accepted and is not listed yet.
var errHidden = errors.New("the run has not appeared")

// appears waits until the run is listed. Whoever returned before would dispatch
// a second one.
func (i workflow) appears(ctx context.Context, at pipeline, marker string) error {
	ctx, cancel := context.WithTimeout(ctx, appearTime)
	defer cancel()
	for {
		all, _, err := i.conn.runs(ctx, at, 1)
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.mentions(marker) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("find the run of %s: %w: %w", at.file, errHidden, ctx.Err())
		case <-time.After(appearPause):
		}
	}
}

// defend checks that no run came between the one that was observed and the one
// that was dispatched, and that the latter is the only one of its marker.
func (i workflow) defend(ctx context.Context, at pipeline, action incident.Action, marker string, observed int64, receipt driver.Receipt) (driver.Receipt, error) {
	all, _, err := i.conn.runs(ctx, at, 1)
	if err != nil {
		return receipt, err
	}
	var mine *run
	for n := range all {
		// The oldest: a repeated request may have made others.
		if all[n].mentions(marker) && (mine == nil || all[n].GetID() < mine.GetID()) {
			mine = &all[n]
		}
	}
	if mine == nil {
		return receipt, nil
	}
	for _, r := range all {
		switch {
		case r.mentions(marker) && r.GetID() != mine.GetID() && r.phase == phaseOpen:
			if err := i.cancel(ctx, at, r); err != nil {
				return receipt, err
			}
		case r.mentions(marker), r.GetID() <= observed, r.GetID() > mine.GetID():
			// What came later wins, as it should.
		default:
			gone, err := i.conn.withdrawn(ctx, at, r)
			if err != nil {
				return receipt, err
			}
			if !gone {
				return i.withdraw(ctx, at, action, *mine, r, receipt)
			}
		}
	}
	return receipt, nil
}

// withdraw cancels a run that no runner has taken up, in favour of another.
func (i workflow) withdraw(ctx context.Context, at pipeline, action incident.Action, mine, other run, receipt driver.Receipt) (driver.Receipt, error) {
	drift := &driver.DriftError{Action: action, Observed: other.state(), Difference: other.detail()}
	if mine.GetStatus() == "in_progress" || mine.GetStatus() == "completed" {
		drift.Difference += fmt.Sprintf("; run %d of this action, made at the same moment, had begun and was not cancelled", mine.GetID())
		return receipt, drift
	}
	if err := i.cancel(ctx, at, mine); err != nil {
		return receipt, err
	}
	return driver.Receipt{Detail: "another run came first"}, drift
}

func (i workflow) cancel(ctx context.Context, at pipeline, r run) error {
	resp, err := i.conn.api.Actions.CancelWorkflowRunByID(ctx, at.owner, at.name, r.GetID())
	if resp != nil && resp.Response != nil && resp.StatusCode == http.StatusAccepted {
		return nil // The library takes 202 for an error.
	}
	return i.conn.classify(ctx, fmt.Sprintf("cancel run %d of %s", r.GetID(), at.repo()), resp, err)
}
