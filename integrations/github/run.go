package github

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	// runPages bounds how many pages of runs are read for the past; GitHub lists
	// no more than 1,000.
	// Source: https://docs.github.com/rest/actions/workflow-runs
	runPages = 10
	// dispatchEvent is the event of a run that was asked for.
	dispatchEvent = "workflow_dispatch"
	// workflowFolder is where GitHub looks for workflows.
	workflowFolder = ".github/workflows/"
)

// pipeline is a workflow of a repository on a branch.
type pipeline struct{ owner, name, file, branch string }

// pipelineForm is how a target that is a workflow is spelled.
const pipelineForm = "<owner>/<repo>/<workflow file>/<branch>"

// pipelineOf reads a target that is a workflow; a branch may hold slashes.
func pipelineOf(t incident.Target) (pipeline, error) {
	parts := strings.SplitN(t.Path, "/", 4)
	if len(parts) != 4 || !plainName(parts[0]) || !plainName(parts[1]) || !plainName(parts[2]) || !branchName(parts[3]) ||
		(!strings.HasSuffix(parts[2], ".yml") && !strings.HasSuffix(parts[2], ".yaml")) {
		return pipeline{}, fmt.Errorf("read target %q: %w: want %s", t.Path, driver.ErrInvalid, pipelineForm)
	}
	return pipeline{owner: parts[0], name: parts[1], file: parts[2], branch: parts[3]}, nil
}

// branchName accepts the names of branches that need no escape in an address.
func branchName(s string) bool {
	return s != "" && len(s) <= 200 && !strings.Contains(s, "..") && !strings.Contains(s, "//") &&
		!strings.HasPrefix(s, "/") && !strings.HasSuffix(s, "/") && !isHash(s) &&
		strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_./") == ""
}

func (p pipeline) repo() string { return p.owner + "/" + p.name }

// run is a run of a workflow with what it stands for.
type run struct {
	*gh.WorkflowRun
	// commit is what it brought: the commit that was asked for, or that of the
	// branch.
	commit string
	phase  phase
}

// requested finds the commit in the title of a run that was asked for.
var requested = regexp.MustCompile(`(?:^|[^0-9A-Za-z])([0-9a-f]{40})(?:[^0-9A-Za-z]|$)`)

// runOf judges a run. It reports false for what brought nothing: a run that was
// skipped or could not start, and one for a pull request.
func runOf(r *gh.WorkflowRun) (run, bool) {
	out := run{WorkflowRun: r, commit: r.GetHeadSHA(), phase: phaseOpen}
	if strings.HasPrefix(r.GetEvent(), "pull_request") || r.GetEvent() == "merge_group" {
		return run{}, false
	}
	if found := requested.FindStringSubmatch(r.GetDisplayTitle()); found != nil && r.GetEvent() == dispatchEvent {
		out.commit = found[1]
	}
	if r.GetStatus() != "completed" {
		return out, true
	}
	switch r.GetConclusion() {
	case "success":
		out.phase = phaseLive
	case "skipped", "startup_failure", "stale", "action_required", "neutral":
		return run{}, false
	default:
		out.phase = phaseFailed // Also what GitHub may add: it is no success.
	}
	return out, true
}

// started is when the newest attempt of the run began.
func (r run) started() time.Time {
	if at := r.GetRunStartedAt().Time; !at.IsZero() {
		return at
	}
	return r.GetCreatedAt().Time
}

func (r run) state() incident.State {
	form := "commit " + r.commit
	if r.phase == phaseFailed {
		form = "failed " + r.commit
	}
	return incident.State{Revision: strconv.FormatInt(r.GetID(), 10), Digest: incident.DigestOf([]byte(form)), Label: shorten(r.commit)}
}

// title is the run for people.
func (r run) title() string { return fmt.Sprintf("run %d of %s", r.GetID(), shorten(r.commit)) }

// detail says on one line how far the run came.
func (r run) detail() string {
	by := plain(cmp.Or(r.GetTriggeringActor().GetLogin(), r.GetActor().GetLogin(), "nobody known"), 60)
	if r.phase == phaseOpen {
		return fmt.Sprintf("%s by %s is %s", r.title(), by, plain(r.GetStatus(), 20))
	}
	return fmt.Sprintf("%s by %s ended with %s at %s", r.title(), by, plain(r.GetConclusion(), 20), r.GetUpdatedAt().UTC().Format(time.RFC3339))
}

// mentions reports whether a run carries a marker in its title.
func (r run) mentions(marker string) bool {
	return r.GetEvent() == dispatchEvent && slices.Contains(strings.FieldsFunc(r.GetDisplayTitle(), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	}), marker)
}

// runMarker is what marks the run of an action, as one word.
func runMarker(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "backout-" + hex.EncodeToString(sum[:10])
}

// runs reads a page of runs, the one that started last first; a run that is
// tried again moves to the front.
func (c *connection) runs(ctx context.Context, at pipeline, page int) (found []run, next int, err error) {
	opts := &gh.ListWorkflowRunsOptions{Branch: at.branch, ListOptions: gh.ListOptions{PerPage: pageSize, Page: page}}
	list, resp, err := c.api.Actions.ListWorkflowRunsByFileName(ctx, at.owner, at.name, at.file, opts)
	if err != nil {
		return nil, 0, c.classify(ctx, fmt.Sprintf("list runs of %s of %s", at.file, at.repo()), resp, err)
	}
	for _, r := range list.WorkflowRuns {
		judged, counts := runOf(r)
		if counts && r.GetHeadBranch() == at.branch {
			found = append(found, judged)
		}
	}
	slices.SortStableFunc(found, func(a, b run) int {
		return cmp.Or(b.started().Compare(a.started()), cmp.Compare(b.GetID(), a.GetID()))
	})
	return found, resp.NextPage, nil
}

// withdrawn reports whether a run was cancelled before a runner took up any of
// its jobs, so that it brought nothing.
func (c *connection) withdrawn(ctx context.Context, at pipeline, r run) (bool, error) {
	if r.GetConclusion() != "cancelled" {
		return false, nil
	}
	jobs, resp, err := c.api.Actions.ListWorkflowJobs(ctx, at.owner, at.name, r.GetID(), &gh.ListWorkflowJobsOptions{ListOptions: gh.ListOptions{PerPage: pageSize}})
	if err != nil {
		return false, c.classify(ctx, fmt.Sprintf("list jobs of run %d of %s", r.GetID(), at.repo()), resp, err)
	}
	if resp.NextPage != 0 {
		return false, nil // With so many jobs it is safer to suppose that one began.
	}
	return !slices.ContainsFunc(jobs.Jobs, func(j *gh.WorkflowJob) bool {
		return j.GetRunnerID() != 0 || j.GetRunnerName() != "" || len(j.Steps) > 0
	}), nil
}

// standing are the runs of the newest page that were not withdrawn. Only the
// newest ones are asked about: cancelled ones that are older brought nothing new.
func (c *connection) standing(ctx context.Context, at pipeline) ([]run, error) {
	all, _, err := c.runs(ctx, at, 1)
	if err != nil {
		return nil, err
	}
	for len(all) > 0 {
		gone, err := c.withdrawn(ctx, at, all[0])
		if err != nil {
			return nil, err
		}
		if !gone {
			return all, nil
		}
		all = all[1:]
	}
	return nil, nil
}

// pastRun finds the newest success that a condition holds for, or none.
func (c *connection) pastRun(ctx context.Context, at pipeline, holds func(run) bool) (run, bool, error) {
	for page, read := 1, 0; read < runPages; read++ {
		batch, next, err := c.runs(ctx, at, page)
		if err != nil {
			return run{}, false, err
		}
		for _, r := range batch {
			if r.phase == phaseLive && holds(r) {
				return r, true, nil
			}
		}
		if next == 0 {
			return run{}, false, nil
		}
		page = next
	}
	return run{}, false, nil
}
