package github

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/workflows/incident"
)

// phase is how far a deployment came. The zero value is invalid.
type phase int

const (
	// phaseOpen means that it has no outcome yet.
	phaseOpen phase = iota + 1
	// phaseLive means that it succeeded.
	phaseLive
	// phaseFailed means that it ended without success, maybe half-way.
	phaseFailed
	// phaseWithdrawn means that it was made inactive before it succeeded.
	phaseWithdrawn
	// phaseRetired means that it succeeded and was made inactive since.
	phaseRetired
)

// release is a deployment with what its statuses say.
type release struct {
	*gh.Deployment
	phase phase
	// began says that whoever deploys has taken it up.
	began bool
	// word is the newest status, empty when there is none; said is its
	// description.
	word, said string
	// at is the time of the newest status, or of the deployment.
	at time.Time
}

// stateOf is the state of an environment that runs the commit of a deployment.
func stateOf(d *gh.Deployment) incident.State { return stateAs("commit", d) }

func stateAs(form string, d *gh.Deployment) incident.State {
	return incident.State{Revision: strconv.FormatInt(d.GetID(), 10), Digest: incident.DigestOf([]byte(form + " " + d.GetSHA())), Label: label(d)}
}

// state is that of the environment when this is the newest deployment. One that
// failed may have left it half-way, and one that was retired has left nothing.
func (r release) state() incident.State {
	switch r.phase {
	case phaseFailed:
		return stateAs("failed", r.Deployment)
	case phaseRetired, phaseWithdrawn:
		return stateAs("inactive", r.Deployment)
	case phaseOpen, phaseLive:
		return stateOf(r.Deployment)
	default:
		return stateAs("unknown", r.Deployment)
	}
}

// label is what people call what a deployment brings.
func label(d *gh.Deployment) string { return plain(version(d), 80) }

// name is a deployment for people.
func (r release) name() string {
	return fmt.Sprintf("deployment %d of %s", r.GetID(), label(r.Deployment))
}

// detail says on one line how far the deployment came.
func (r release) detail() string {
	at := r.at.UTC().Format(time.RFC3339)
	switch r.phase {
	case phaseOpen:
		return fmt.Sprintf("%s is %s", r.name(), cmp.Or(r.word, "waiting"))
	case phaseLive:
		return fmt.Sprintf("%s by %s succeeded at %s", r.name(), plain(r.GetCreator().GetLogin(), 60), at)
	case phaseFailed:
		return fmt.Sprintf("%s ended with %s at %s: %s", r.name(), r.word, at, cmp.Or(plain(r.said, maxReason), "no reason given"))
	case phaseWithdrawn:
		return fmt.Sprintf("%s was withdrawn at %s", r.name(), at)
	case phaseRetired:
		return fmt.Sprintf("%s was made inactive at %s", r.name(), at)
	default:
		return fmt.Sprintf("%s is in an unknown phase", r.name())
	}
}

// release reads the statuses of a deployment.
func (c *connection) release(ctx context.Context, at setting, d *gh.Deployment) (release, error) {
	what := fmt.Sprintf("list statuses of deployment %d of %s", d.GetID(), at.repo())
	var all []*gh.DeploymentStatus
	opts := &gh.ListOptions{PerPage: pageSize}
	for {
		page, resp, err := c.api.Repositories.ListDeploymentStatuses(ctx, at.owner, at.name, d.GetID(), opts)
		if err != nil {
			return release{}, c.classify(ctx, what, resp, err)
		}
		all = append(all, page...)
		if resp.NextPage == 0 {
			return judge(d, all), nil
		}
		opts.Page = resp.NextPage
	}
}

// judge finds the phase from all statuses of a deployment.
func judge(d *gh.Deployment, statuses []*gh.DeploymentStatus) release {
	r := release{Deployment: d, phase: phaseOpen, at: d.GetCreatedAt().Time}
	if len(statuses) == 0 {
		return r
	}
	statuses = slices.Clone(statuses)
	slices.SortFunc(statuses, func(a, b *gh.DeploymentStatus) int { return cmp.Compare(a.GetID(), b.GetID()) })
	succeeded := false
	for _, s := range statuses {
		switch s.GetState() {
		case "success":
			succeeded, r.began = true, true
		case "in_progress", "failure", "error":
			r.began = true
		default:
			// queued, pending and inactive say nothing about a beginning.
		}
	}
	last := statuses[len(statuses)-1]
	r.word, r.said, r.at = plain(last.GetState(), 20), last.GetDescription(), last.GetCreatedAt().Time
	switch {
	case last.GetState() == "inactive" && succeeded:
		r.phase = phaseRetired
	case last.GetState() == "inactive":
		r.phase = phaseWithdrawn
	case last.GetState() == "failure", last.GetState() == "error":
		r.phase = phaseFailed
	case succeeded:
		r.phase = phaseLive
	}
	return r
}

// deploymentsOf reads a page of the deployments to an environment, newest first.
func (c *connection) deploymentsOf(ctx context.Context, at setting, page int) (found []*gh.Deployment, next int, err error) {
	opts := &gh.DeploymentsListOptions{Environment: at.environment, ListOptions: gh.ListOptions{PerPage: deploymentPage, Page: page}}
	found, resp, err := c.api.Repositories.ListDeployments(ctx, at.owner, at.name, opts)
	if err != nil {
		return nil, 0, c.classify(ctx, fmt.Sprintf("list deployments of %s", at.repo()), resp, err)
	}
	slices.SortFunc(found, func(a, b *gh.Deployment) int { return cmp.Compare(b.GetID(), a.GetID()) })
	return found, resp.NextPage, nil
}

// newest reads the newest deployment to an environment that was not withdrawn,
// or none.
func (c *connection) newest(ctx context.Context, at setting) (present release, found bool, err error) {
	for page, read := 1, 0; read < maxDeployments; read += deploymentPage {
		batch, next, err := c.deploymentsOf(ctx, at, page)
		if err != nil {
			return release{}, false, err
		}
		for _, d := range batch {
			r, err := c.release(ctx, at, d)
			if err != nil {
				return release{}, false, err
			}
			if r.phase != phaseWithdrawn {
				return r, true, nil
			}
		}
		if next == 0 {
			return release{}, false, nil
		}
		page = next
	}
	return release{}, false, fmt.Errorf("list deployments of %s: the newest %d were all withdrawn", at.repo(), maxDeployments)
}

// since reads the deployments to an environment that are newer than a given one,
// newest first.
func (c *connection) since(ctx context.Context, at setting, id int64) ([]*gh.Deployment, error) {
	var newer []*gh.Deployment
	for page := 1; len(newer) < maxDeployments; {
		batch, next, err := c.deploymentsOf(ctx, at, page)
		if err != nil {
			return nil, err
		}
		for _, d := range batch {
			if d.GetID() <= id {
				return newer, nil
			}
			newer = append(newer, d)
		}
		if next == 0 {
			return newer, nil
		}
		page = next
	}
	return nil, fmt.Errorf("list deployments of %s: more than %d are newer than deployment %d", at.repo(), maxDeployments, id)
}

// full is a deployment with what the library leaves out.
type full struct {
	gh.Deployment
	Transient  *bool `json:"transient_environment"`
	Production *bool `json:"production_environment"`
}

// deployment reads one deployment to an environment. It is an error that wraps
// driver.ErrNotFound when there is none of that number.
func (c *connection) deployment(ctx context.Context, at setting, id int64) (*full, error) {
	what := fmt.Sprintf("read deployment %d of %s", id, at.repo())
	req, err := c.api.NewRequest("GET", fmt.Sprintf("repos/%s/%s/deployments/%d", at.owner, at.name, id), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var d full
	resp, err := c.api.Do(ctx, req, &d)
	if err != nil {
		return nil, c.classify(ctx, what, resp, err)
	}
	return &d, nil
}

// marker of an action in the payload of a deployment, beside what was there.
const payloadKey = "backout"

// mark is what Backout writes into the payload of a deployment.
type mark struct {
	// Action is the idempotency key.
	Action string `json:"action"`
	// From is the deployment that was the newest one, To the one that is done
	// again.
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// markOf reads the mark of a deployment, if it has one.
func markOf(d *gh.Deployment) (mark, bool) {
	var payload map[string]json.RawMessage
	if json.Unmarshal(d.Payload, &payload) != nil {
		return mark{}, false
	}
	var m mark
	if json.Unmarshal(payload[payloadKey], &m) != nil || m.Action == "" {
		return mark{}, false
	}
	return m, true
}

// withMark is the payload of an earlier deployment with a mark. It reports false
// when the payload is not an object, so that there is no room for one.
func withMark(d *gh.Deployment, m mark) (map[string]any, bool) {
	payload := map[string]any{}
	switch text := string(d.Payload); text {
	case "", "null", `""`:
	default:
		if json.Unmarshal(d.Payload, &payload) != nil || payload == nil {
			return nil, false
		}
	}
	payload[payloadKey] = m
	return payload, true
}
