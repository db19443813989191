package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
)

// workflowTime is what a run is expected to take; GitHub does not say.
const workflowTime = 10 * time.Minute

// maxWorkflowFile bounds the file of a workflow, in bytes: Backout's own bound.
const maxWorkflowFile = 1 << 20

// Plan finds the earlier commit and what stands in its way.
func (i workflow) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := pipelineOf(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	planned, err := i.plan(ctx, at, req)
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	return planned, nil
}

func (i workflow) plan(ctx context.Context, at pipeline, req driver.PlanRequest) (driver.Planned, error) {
	var checks driver.Findings
	blocked := func() driver.Planned { return driver.Planned{Preflight: checks} }
	if err := i.conn.usable(ctx, &checks, at.owner, at.name); err != nil || checks.Blocked() {
		return blocked(), err
	}
	if err := i.takesCommits(ctx, at, &checks); err != nil || checks.Blocked() {
		return blocked(), err
	}
	all, err := i.conn.standing(ctx, at)
	if err != nil {
		return driver.Planned{}, err
	}
	if len(all) == 0 {
		checks.Block("earlier run", "The workflow %s has no run on %s.", at.file, at.branch)
		return blocked(), nil
	}
	present := all[0]
	const flight = "no run in flight"
	switch present.phase {
	case phaseOpen:
		checks.Block(flight, "A run of %s is in flight: %s.", at.file, present.detail())
	case phaseLive:
		checks.Pass(flight, "No run of %s is in flight: %s.", at.file, present.detail())
	case phaseFailed, phaseWithdrawn, phaseRetired:
		checks.Warn(flight, "What %s applies may be half-way: %s.", at.file, present.detail())
	default:
		checks.Block(flight, "The newest run of %s is in a phase that Backout does not know.", at.file)
	}
	wanted, found, err := i.resolve(ctx, at, req, &checks)
	if err != nil || !found {
		return blocked(), err
	}
	if wanted.state().Digest == present.state().Digest {
		checks.Block("not there already", "The newest run of %s was for the commit %s already.", at.file, shorten(wanted.commit))
		return blocked(), nil
	}
	checks.Pass("not there already", "The %s differs from the %s.", present.title(), wanted.title())
	if err := i.conn.commitExists(ctx, &checks, at.owner, at.name, wanted.commit); err != nil {
		return driver.Planned{}, err
	}
	resp, err := i.request(ctx, at, nowhere, wanted.commit, "backout-preflight")
	mayWrite(&checks, "dispatch workflows in "+at.repo(), resp, err, limited(err))
	if checks.Blocked() {
		return blocked(), nil
	}
	return driver.Planned{
		From: present.state(), To: wanted.state(), Reversible: present.phase == phaseLive, ExpectedTime: workflowTime,
		WontRevert: slices.Clone(workflowWontRevert), Preflight: checks,
	}, nil
}

// request asks for a run on a ref. On a ref that does not exist GitHub refuses
// it, after it has judged whether the credential may ask.
func (i workflow) request(ctx context.Context, at pipeline, ref, commit, marker string) (*gh.Response, error) {
	req, err := i.conn.api.NewRequest(http.MethodPost, fmt.Sprintf("repos/%s/%s/actions/workflows/%s/dispatches", at.owner, at.name, at.file), gh.CreateWorkflowDispatchEventRequest{
		Ref: ref, Inputs: map[string]any{inputCommit: commit, inputMarker: marker},
	})
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return i.conn.api.Do(ctx, req, nil)
}

// resolve finds the run to go back to: false when a finding says why not.
func (i workflow) resolve(ctx context.Context, at pipeline, req driver.PlanRequest, checks *driver.Findings) (run, bool, error) {
	const exists = "earlier run"
	var holds func(run) bool
	var missing string
	id, numeric := strconv.ParseInt(req.Revision, 10, 64)
	switch {
	case req.Revision == "":
		moment := req.Before.UTC().Format(time.RFC3339)
		holds = func(r run) bool { return r.GetUpdatedAt().Before(req.Before) }
		missing = fmt.Sprintf("No run of %s on %s succeeded before %s.", at.file, at.branch, moment)
	case isHash(req.Revision):
		holds = func(r run) bool { return r.commit == req.Revision }
		missing = fmt.Sprintf("No run of %s on %s succeeded for the commit %s.", at.file, at.branch, shorten(req.Revision))
	case numeric == nil && id > 0:
		holds = func(r run) bool { return r.GetID() == id }
		missing = fmt.Sprintf("The run %d of %s on %s is gone, or was no success.", id, at.file, at.branch)
	default:
		checks.Block(exists, "%q is neither the number of a run nor the full hash of a commit.", plain(req.Revision, 60))
		return run{}, false, nil
	}
	found, ok, err := i.conn.pastRun(ctx, at, holds)
	switch {
	case err != nil:
		return run{}, false, err
	case !ok:
		checks.Block(exists, "%s", missing)
		return run{}, false, nil
	}
	checks.Pass(exists, "The %s.", found.detail())
	return found, true, nil
}

// workflowFile is the part of a workflow's file that matters here.
type workflowFile struct {
	RunName string `yaml:"run-name"`
	On      struct {
		Dispatch struct {
			Inputs map[string]any `yaml:"inputs"`
		} `yaml:"workflow_dispatch"`
	} `yaml:"on"`
}

// The expressions that a run's name must hold, so that the run can be found and
// says for which commit it is.
var (
	showsCommit = regexp.MustCompile(`\$\{\{[^}]*\binputs\.` + inputCommit + `\b[^}]*\}\}`)
	showsMarker = regexp.MustCompile(`\$\{\{[^}]*\binputs\.` + inputMarker + `\b[^}]*\}\}`)
)

// takesCommits checks that a workflow is there, turned on, and made for this.
func (i workflow) takesCommits(ctx context.Context, at pipeline, checks *driver.Findings) error {
	const name = "workflow"
	found, resp, err := i.conn.api.Actions.GetWorkflowByFileName(ctx, at.owner, at.name, at.file)
	err = i.conn.classify(ctx, fmt.Sprintf("read workflow %s of %s", at.file, at.repo()), resp, err)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(name, "There is no workflow %s in %s.", at.file, at.repo())
		return nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block(name, "Backout may not read the workflows of %s.", at.repo())
		return nil
	case err != nil:
		return err
	case found.GetState() != "active":
		checks.Block(name, "The workflow %s is turned off in %s.", at.file, at.repo())
		return nil
	}
	file, _, resp, err := i.conn.api.Repositories.GetContents(ctx, at.owner, at.name, workflowFolder+at.file, &gh.RepositoryContentGetOptions{Ref: at.branch})
	err = i.conn.classify(ctx, fmt.Sprintf("read file of workflow %s of %s", at.file, at.repo()), resp, err)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block(name, "The branch %s of %s has no workflow %s.", at.branch, at.repo(), at.file)
		return nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block(name, "Backout may not read the contents of %s.", at.repo())
		return nil
	case err != nil:
		return err
	}
	content, err := file.GetContent()
	var parsed workflowFile
	if err != nil || len(content) > maxWorkflowFile || yaml.Unmarshal([]byte(content), &parsed) != nil {
		checks.Block(name, "The workflow %s can not be understood: it needs a workflow_dispatch with the inputs %s and %s.", at.file, inputCommit, inputMarker)
		return nil
	}
	for _, input := range []string{inputCommit, inputMarker} {
		if _, ok := parsed.On.Dispatch.Inputs[input]; !ok {
			checks.Block(name, "The workflow %s has no input %s for workflow_dispatch.", at.file, input)
			return nil
		}
	}
	if !showsCommit.MatchString(parsed.RunName) || !showsMarker.MatchString(parsed.RunName) {
		checks.Block(name, "The run-name of the workflow %s does not show its inputs %s and %s, so that the run could not be found.", at.file, inputCommit, inputMarker)
		return nil
	}
	checks.Pass(name, "The workflow %s takes a commit and a marker.", at.file)
	return nil
}
