package fakegithub

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// Run is a snapshot of a run of a workflow.
type Run struct {
	ID int64
	// Workflow is the path of the workflow's file.
	Workflow string
	// Event is push, workflow_dispatch or another.
	Event string
	// Branch and SHA are what the run was started on.
	Branch, SHA string
	// Title is what the page shows; Inputs are those of a dispatch.
	Title  string
	Inputs map[string]string
	Actor  string
	// Status is queued, in_progress or completed; Conclusion is empty until it
	// is completed.
	Status, Conclusion string
	// Begun says that a job of it has started.
	Begun     bool
	CreatedAt time.Time
	// StartedAt is when the newest attempt was asked for.
	StartedAt time.Time
	UpdatedAt time.Time
	// requested says that it was dispatched through the API.
	requested bool
	reads     int
}

// AddRun records a run and returns its number. A run with no status is a
// success.
func (s *Server) AddRun(full string, run Run) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run.Status == "" {
		run.Status, run.Conclusion = "completed", "success"
	}
	if run.Status != "queued" {
		run.Begun = true
	}
	return s.addRun(s.repo(full), run).ID
}

// Runs returns snapshots of a repository's runs, oldest first.
func (s *Server) Runs(full string) []Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Run
	for _, r := range s.repo(full).runs {
		out = append(out, *r)
	}
	return out
}

// RemoveRun takes a run out of the history.
func (s *Server) RemoveRun(full string, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.repo(full)
	p.runs = slices.DeleteFunc(p.runs, func(r *Run) bool { return r.ID == id })
}

// Withdrawn reports whether a run was cancelled before a job of it began.
func (r *Run) Withdrawn() bool { return r.Conclusion == "cancelled" && !r.Begun }

func (s *Server) addRun(p *repo, run Run) *Run {
	run.ID = s.newID()
	if run.CreatedAt.IsZero() {
		run.CreatedAt = s.cfg.Now()
	}
	if run.StartedAt.IsZero() {
		run.StartedAt = run.CreatedAt
	}
	if run.UpdatedAt.IsZero() {
		run.UpdatedAt = run.StartedAt
	}
	p.runs = append(p.runs, &run)
	return &run
}

// workflowFile is the part of a workflow's file that GitHub's API looks at.
type workflowFile struct {
	Name    string `yaml:"name"`
	RunName string `yaml:"run-name"`
	On      struct {
		Dispatch *struct {
			Inputs map[string]struct {
				Required bool   `yaml:"required"`
				Default  string `yaml:"default"`
			} `yaml:"inputs"`
		} `yaml:"workflow_dispatch"`
	} `yaml:"on"`
}

// workflow finds the file of a workflow by its name or number.
func (p *repo) workflow(r *rest.Request) (path string, file workflowFile, found bool) {
	for candidate, content := range p.files {
		name, under := strings.CutPrefix(candidate, ".github/workflows/")
		if !under || (name != r.Vars["workflow_id"] && strconv.Itoa(workflowID(candidate)) != r.Vars["workflow_id"]) {
			continue
		}
		if yaml.Unmarshal([]byte(content), &file) != nil {
			file = workflowFile{} // Such as one whose triggers are a list: it takes no dispatch.
		}
		return candidate, file, true
	}
	return "", workflowFile{}, false
}

// workflowID is a number that stands for a path.
func workflowID(path string) int {
	id := 7
	for _, b := range []byte(path) {
		id = (id*31 + int(b)) % 1_000_003
	}
	return id
}

func (s *Server) getWorkflow(r *rest.Request, p *repo) rest.Reply {
	path, file, found := p.workflow(r)
	if !found {
		return notFound()
	}
	id := workflowID(path)
	state := "active"
	if p.disabled[path] {
		state = "disabled_manually"
	}
	url := fmt.Sprintf("%s/actions/workflows/%d", s.api(p), id)
	return ok(object{
		"id": id, "node_id": node("W", int64(id)), "name": file.Name, "path": path, "state": state,
		"created_at": stamp(time.Unix(0, 0)), "updated_at": stamp(time.Unix(0, 0)),
		"url": url, "html_url": s.web(p) + "/blob/main/" + path, "badge_url": s.web(p) + "/badge.svg",
	})
}

// DisableWorkflow turns a workflow off.
func (s *Server) DisableWorkflow(full, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repo(full).disabled[path] = true
}

// dispatch starts a run of a workflow on a branch or tag, with inputs that its
// file names.
// Source: https://docs.github.com/rest/actions/workflows#create-a-workflow-dispatch-event
func (s *Server) dispatch(r *rest.Request, p *repo) rest.Reply {
	path, file, found := p.workflow(r)
	refused := func(text string) rest.Reply { return message(http.StatusUnprocessableEntity, text) }
	ref, _ := r.Body["ref"].(string)
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
	hash, known := p.resolve(ref)
	switch {
	case !found:
		return notFound()
	case !known || sha.MatchString(ref):
		// A branch or a tag is wanted, and no hash.
		return refused("No ref found for: " + ref)
	case p.disabled[path]:
		return refused("Cannot trigger a 'workflow_dispatch' on a disabled workflow")
	case file.On.Dispatch == nil:
		return refused("Workflow does not have 'workflow_dispatch' trigger")
	}
	inputs := map[string]string{}
	given, _ := r.Body["inputs"].(object)
	for name, value := range given {
		if _, ok := file.On.Dispatch.Inputs[name]; !ok {
			return refused(fmt.Sprintf("Unexpected inputs provided: [%q]", name))
		}
		text, ok := value.(string)
		if !ok {
			return refused(fmt.Sprintf("Provided value %v for input '%s' not in the list of allowed values", value, name))
		}
		inputs[name] = text
	}
	for name, input := range file.On.Dispatch.Inputs {
		if inputs[name] == "" {
			inputs[name] = input.Default
		}
		if input.Required && inputs[name] == "" {
			return refused(fmt.Sprintf("Required input '%s' not provided", name))
		}
	}
	run := s.addRun(p, Run{
		Workflow: path, Event: "workflow_dispatch", Branch: ref, SHA: hash, Inputs: inputs, Actor: r.Actor,
		Status: "queued", requested: true, Title: title(file, inputs, hash),
	})
	if details, _ := r.Body["return_run_details"].(bool); !details {
		return rest.Reply{Status: http.StatusNoContent}
	}
	url := fmt.Sprintf("%s/actions/runs/%d", s.api(p), run.ID)
	return ok(object{"workflow_run_id": run.ID, "run_url": url, "html_url": fmt.Sprintf("%s/actions/runs/%d", s.web(p), run.ID)})
}

// expression is one of GitHub's in a run's name.
var expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)

// title evaluates a run's name: alternatives of inputs and the commit.
func title(file workflowFile, inputs map[string]string, hash string) string {
	if file.RunName == "" {
		return file.Name
	}
	return strings.TrimSpace(expression.ReplaceAllStringFunc(file.RunName, func(found string) string {
		for term := range strings.SplitSeq(expression.FindStringSubmatch(found)[1], "||") {
			term = strings.TrimSpace(term)
			value := ""
			if name, ok := strings.CutPrefix(term, "inputs."); ok {
				value = inputs[name]
			} else if term == "github.sha" {
				value = hash
			}
			if value != "" {
				return value
			}
		}
		return ""
	}))
}

func (s *Server) listRuns(r *rest.Request, p *repo) rest.Reply {
	path, _, found := p.workflow(r)
	if !found {
		return notFound()
	}
	var all []*Run
	for _, run := range slices.Backward(p.runs) {
		status := r.Query.Get("status")
		if run.Workflow == path && unless(r, "branch", run.Branch) && unless(r, "event", run.Event) && unless(r, "head_sha", run.SHA) &&
			(status == "" || status == run.Status || status == run.Conclusion) {
			all = append(all, run)
		}
	}
	page, header := paginate(s, r, all, func(run *Run) object { return s.renderRun(p, run) })
	for _, run := range all {
		s.proceed(run)
	}
	return rest.Reply{Status: http.StatusOK, Header: header, Body: object{"total_count": len(all), "workflow_runs": page}}
}

// readsQueued is how often a run is read before a runner takes it up.
const readsQueued = 3

// proceed brings a run that was dispatched one step further.
func (s *Server) proceed(run *Run) {
	if !s.cfg.Deploys || !run.requested || run.Status == "completed" {
		return
	}
	run.reads++
	switch {
	case run.reads < readsQueued:
	case run.Status == "queued":
		run.Status, run.Begun, run.UpdatedAt = "in_progress", true, s.cfg.Now()
	default:
		run.Status, run.Conclusion, run.UpdatedAt = "completed", "success", s.cfg.Now()
	}
}

func (p *repo) run(r *rest.Request) *Run {
	id := int64(number(r, "run_id"))
	if i := slices.IndexFunc(p.runs, func(run *Run) bool { return run.ID == id }); i >= 0 {
		return p.runs[i]
	}
	return nil
}

// listJobs shows the one job that every run here has.
func (s *Server) listJobs(r *rest.Request, p *repo) rest.Reply {
	run := p.run(r)
	if run == nil {
		return notFound()
	}
	url := fmt.Sprintf("%s/actions/jobs/%d", s.api(p), run.ID)
	job := object{
		"id": run.ID, "run_id": run.ID, "run_url": fmt.Sprintf("%s/actions/runs/%d", s.api(p), run.ID), "node_id": node("J", run.ID),
		"head_sha": run.SHA, "head_branch": run.Branch, "url": url, "html_url": url, "check_run_url": url, "name": "apply", "workflow_name": "apply",
		"status": run.Status, "conclusion": orNothing(run.Conclusion), "created_at": stamp(run.CreatedAt), "started_at": stamp(run.StartedAt),
		"completed_at": nil, "labels": []string{}, "steps": []object{},
		"runner_id": nil, "runner_name": nil, "runner_group_id": nil, "runner_group_name": nil,
	}
	if run.Begun {
		job["runner_id"], job["runner_name"] = 1, "runner-1"
	}
	return ok(object{"total_count": 1, "jobs": []object{job}})
}

// cancelRun is refused once the run has ended.
func (s *Server) cancelRun(r *rest.Request, p *repo) rest.Reply {
	run := p.run(r)
	switch {
	case run == nil:
		return notFound()
	case run.Status == "completed":
		return message(http.StatusConflict, "Cannot cancel a workflow run that is completed.")
	}
	run.Status, run.Conclusion, run.UpdatedAt = "completed", "cancelled", s.cfg.Now()
	return rest.Reply{Status: http.StatusAccepted, Body: object{}}
}

func orNothing(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (s *Server) renderRun(p *repo, run *Run) object {
	id := workflowID(run.Workflow)
	url := fmt.Sprintf("%s/actions/runs/%d", s.api(p), run.ID)
	o := object{
		"id": run.ID, "node_id": node("WFR", run.ID), "name": run.Workflow, "path": run.Workflow, "display_title": run.Title,
		"head_branch": run.Branch, "head_sha": run.SHA, "event": run.Event, "status": run.Status, "conclusion": orNothing(run.Conclusion),
		"run_number": run.ID, "run_attempt": 1, "workflow_id": id, "check_suite_id": run.ID, "check_suite_node_id": node("CS", run.ID),
		"created_at": stamp(run.CreatedAt), "updated_at": stamp(run.UpdatedAt), "run_started_at": stamp(run.StartedAt),
		"actor": s.user(run.Actor), "triggering_actor": s.user(run.Actor), "pull_requests": []object{},
		"repository": s.renderRepo(p), "head_repository": s.renderRepo(p), "head_commit": nil,
		"url": url, "html_url": fmt.Sprintf("%s/actions/runs/%d", s.web(p), run.ID),
		"workflow_url": fmt.Sprintf("%s/actions/workflows/%d", s.api(p), id), "previous_attempt_url": nil,
	}
	return addresses(o, url, "jobs", "logs", "check_suite", "artifacts", "cancel", "rerun")
}
