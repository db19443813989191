package github

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// revertKind is the name of the inverse that reverts a commit, and of the change
// source beside it.
const revertKind = "github.revert"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       revertKind,
		System:     systemType,
		Layer:      "Git and CI/CD",
		TargetForm: lineForm,
		Reversible: true,
		WontRevert: revertWontRevert,
		Permission: "fine-grained token or app installation on the repository alone: contents: write, pull_requests: write, metadata: read; workflows: write only where files below .github/workflows are reverted",
	}, func(c *connection) driver.Inverse { return revert{c} })
}

// revertWontRevert lists what stays as it is.
var revertWontRevert = []string{
	"what runs: only a deployment from the branch brings the revert there",
	"files that the commit did not touch, and newer commits on the branch",
	"data that the change has written, and migrations that it has run",
	"other branches that have the commit",
}

// revert takes the files that a commit touched back to what they were before it,
// by a pull request that is merged when the branch's rules allow it.
//
// The state of a branch is that of the files which the commit touched. Newer
// commits to other files are no drift and stay; a newer commit to one of these
// files is one, and Plan shows it as a conflict: nobody's work is merged by guess.
type revert struct{ conn *connection }

// point is a revision: the files that a commit touched, as another commit has
// them. It is spelled "<commit>@<commit that touched>".
type point struct{ content, change string }

func (p point) String() string { return p.content + "@" + p.change }

func parsePoint(revision string) (point, error) {
	content, change, ok := strings.Cut(revision, "@")
	if !ok || !isHash(content) || !isHash(change) {
		return point{}, fmt.Errorf("read revision %q: %w: want <commit>@<commit that touched the files>", plain(revision, 100), driver.ErrInvalid)
	}
	return point{content, change}, nil
}

// stateAt is the state of the touched files as a commit has them.
func stateAt(ch change, commit string, content files) incident.State {
	return incident.State{Revision: point{commit, ch.commit}.String(), Digest: digestOf(content, ch.touched), Label: shorten(commit)}
}

// scene is a branch as an action sees it.
type scene struct {
	at      line
	change  change
	tip     tip
	content files
}

func (s scene) state() incident.State { return stateAt(s.change, s.tip.commit, s.content) }

// detail says on one line what is on the branch.
func (s scene) detail() string {
	return fmt.Sprintf("%s is at %s by %s (%s)", s.at.branch, shorten(s.tip.commit), s.tip.author, s.tip.title)
}

// scene reads the branch and the commit that an action is about.
func (i revert) scene(ctx context.Context, action incident.Action) (scene, error) {
	at, err := lineOf(action.Target)
	if err != nil {
		return scene{}, err
	}
	from, err := parsePoint(action.From.Revision)
	if err != nil {
		return scene{}, err
	}
	to, err := parsePoint(action.To.Revision)
	if err != nil {
		return scene{}, err
	}
	if from.change != to.change {
		return scene{}, fmt.Errorf("read revisions: %w: they are about two commits", driver.ErrInvalid)
	}
	ch, err := i.conn.change(ctx, at, to.change)
	if err != nil {
		return scene{}, err
	}
	return i.look(ctx, at, ch)
}

// look reads the branch.
func (i revert) look(ctx context.Context, at line, ch change) (scene, error) {
	present, err := i.conn.tip(ctx, at)
	if err != nil {
		return scene{}, err
	}
	content, err := i.conn.tree(ctx, at, present.tree)
	return scene{at: at, change: ch, tip: present, content: content}, err
}

// Observe reads the files on the branch. A branch is settled at once.
func (i revert) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	s, err := i.scene(ctx, action)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: s.state(), Settled: true, Detail: s.detail()}, nil
}

// Apply opens the pull request that reverts, once, and merges it when the
// branch's rules allow it. While they do not, it changes nothing and returns nil:
// it is called again as long as the branch is at action.From.
func (i revert) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	receipt, err := i.apply(ctx, action, key)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

// errMoved means that somebody else changed the branch meanwhile, and none of
// the files in question.
var errMoved = errors.New("the branch has moved on")

func (i revert) apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	s, err := i.scene(ctx, action)
	if err != nil {
		return driver.Receipt{}, err
	}
	branch := revertBranch(key)
	request, err := i.pullOf(ctx, s.at, branch)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch s.state().Digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "the files were there already"}, nil
	case action.From.Digest:
	default:
		if request != nil && request.GetState() == "open" {
			i.close(ctx, s.at, request.GetNumber(), branch)
		}
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: s.state(), Difference: s.detail()}
	}
	switch {
	case request == nil:
	case request.MergedAt != nil:
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: s.state(), Difference: fmt.Sprintf("somebody changed it back after pull request #%d was merged: %s", request.GetNumber(), s.detail())}
	case request.GetState() != "open":
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: s.state(), Difference: fmt.Sprintf("somebody closed pull request #%d of this action: %s", request.GetNumber(), s.detail())}
	}
	head, err := i.prepared(ctx, s, action, branch)
	if err != nil {
		return driver.Receipt{}, err
	}
	if request == nil {
		if request, err = i.open(ctx, s, action, branch); err != nil {
			return driver.Receipt{}, err
		}
	}
	receipt, err := i.merge(ctx, s, request.GetNumber(), head)
	if errors.Is(err, errMoved) {
		return i.explain(ctx, s, action, request.GetNumber(), branch, err)
	}
	return receipt, err
}

// explain finds out what a lost compare-and-set means: another commit came first,
// to these files or to others.
func (i revert) explain(ctx context.Context, s scene, action incident.Action, number int, branch string, moved error) (driver.Receipt, error) {
	now, err := i.look(ctx, s.at, s.change)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch now.state().Digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "the files were brought there by another commit"}, nil
	case action.From.Digest:
		return driver.Receipt{}, moved // The next try builds on the newer commit.
	}
	i.close(ctx, s.at, number, branch)
	return driver.Receipt{}, &driver.DriftError{Action: action, Observed: now.state(), Difference: now.detail()}
}
