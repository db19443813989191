package helm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	// kind is the name of the inverse, and of the change source beside it.
	kind = "helm.release"
	// fieldManager is who the API server says has written a field.
	fieldManager = "backout"
	// description begins what Helm's history says of a revision that Backout made.
	// The number of the old revision and the key of the action follow.
	description = "Backout rollback to "
	// maxKey is how much of the key of an action is kept, in runes.
	maxKey = 64
)

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "Helm",
		TargetForm: targetForm,
		Reversible: true,
		OneWay:     "a release whose latest revision failed with the very content that is wanted",
		WontRevert: []string{
			"data in volumes, such as those that a StatefulSet keeps for its pods",
			"CustomResourceDefinitions of the chart, which Helm never changes once they are there",
			"what hooks have done, and hooks of the old revision, which are not run",
			"Jobs that ran",
			"objects that the chart tells Helm to keep",
			"databases and their migrations",
			"what the version wrote or sent while it ran",
		},
		Permission: "in the release's namespace: list, create and update secrets, in which Helm keeps the revisions; get and patch on every resource that the chart has, create and delete on those that only one of the two revisions has",
	}, func(c cluster) driver.Inverse { return inverse{dial: dial(c), now: time.Now} })
}

// inverse takes a release back to a revision of its own history.
type inverse struct {
	dial func() (*clients, error)
	now  func() time.Time
}

// Observe reads which content the objects have, and how far the workloads among them
// have taken it on.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	c, err := i.dial()
	if err != nil {
		return driver.Observation{}, err
	}
	seen, err := c.observe(ctx, ref, action)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return seen, nil
}

func (c *clients) observe(ctx context.Context, ref reference, action incident.Action) (driver.Observation, error) {
	past, err := c.recordsOf(ctx, ref).history()
	if err != nil {
		return driver.Observation{}, err
	}
	p := past.present(action.To.Digest)
	if why := p.gone(); why != "" {
		return driver.Observation{}, fmt.Errorf("%w: the release %s", driver.ErrNotFound, why)
	}
	seen := driver.Observation{State: p.state()}
	done, drift := p.compare(c, action)
	switch {
	case drift != nil:
		seen.Detail = p.drifted(c, action)
	case p.unfinished != nil:
		seen.Detail = fmt.Sprintf("a rollback was begun as revision %d and is not finished", p.unfinished.Version)
	case p.pending():
		seen.Detail = fmt.Sprintf("%s is in status %s", p.name(), p.Info.Status)
	case done:
		seen.Settled, seen.Detail, err = c.rolledOut(ctx, p.revision)
	default:
		seen.Settled, seen.Detail = true, p.name()+" is "+p.Info.Status.String()
	}
	return seen, err
}

// rolledOut reports whether all workloads of a revision run it.
func (c *clients) rolledOut(ctx context.Context, rev revision) (settled bool, detail string, err error) {
	all, err := objects(rev.Release)
	if err != nil {
		return false, "", err
	}
	var workloads []object
	for _, o := range all {
		if o.kind.Group == "apps" {
			workloads = append(workloads, o)
		}
	}
	points, err := c.mapped(ctx, workloads)
	if err != nil {
		return false, "", err
	}
	settled, detail = true, rev.name()+" is deployed"
	for _, e := range points {
		live, err := c.read(ctx, e)
		if errors.Is(err, driver.ErrNotFound) {
			return false, e.String() + " is missing", nil
		}
		if err != nil {
			return false, "", err
		}
		progressed, said, err := c.Rollout(live)
		if err != nil {
			return false, "", err
		}
		if !progressed {
			return false, e.String() + ": " + said, nil
		}
	}
	return settled, detail, nil
}

// Apply makes a revision with the content of the one that action.To names, and writes
// its objects. The API server lets exactly one of all that try make the revision
// behind the observed one.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	ref, err := parseTarget(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	c, err := i.dial()
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, c, ref, action, key)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, c *clients, ref reference, action incident.Action, key string) (driver.Receipt, error) {
	kept := c.recordsOf(ctx, ref)
	past, err := kept.history()
	if err != nil {
		return driver.Receipt{}, err
	}
	p := past.present(action.To.Digest)
	if why := p.gone(); why != "" {
		return driver.Receipt{}, fmt.Errorf("%w: the release %s", driver.ErrNotFound, why)
	}
	if done, err := p.compare(c, action); done || err != nil {
		return driver.Receipt{Detail: "the release has that content already"}, err
	}
	switch other, busy := p.busy(); {
	case busy:
		return driver.Receipt{}, fmt.Errorf("wait for %s: it is in status %s", other.name(), other.Info.Status)
	case p.astray(action.To.Digest):
		return driver.Receipt{}, fmt.Errorf("%w: a rollback that made %s is not finished", driver.ErrInvalid, p.name())
	case past.undone(action, key):
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: p.state(), Difference: "somebody changed it back after this very action was applied"}
	}
	wanted, ok := past.find(action.To)
	if !ok {
		return driver.Receipt{}, fmt.Errorf("find revision %s (%s) in the history: %w", action.To.Revision, incident.ShortDigest(action.To.Digest), driver.ErrNotFound)
	}
	// The objects are read before the revision is made: whoever changes them with Helm
	// after that makes a later one.
	steps, err := c.steps(ctx, ref, p, wanted)
	if err != nil {
		return driver.Receipt{}, refused(err)
	}
	mine := p.unfinished
	if mine == nil {
		made, exists, err := kept.create(i.next(ref, p, wanted, key))
		if err != nil {
			return driver.Receipt{}, err
		}
		if exists {
			return driver.Receipt{}, c.beaten(ctx, ref, action)
		}
		mine = &made
	} else if err := c.leads(ctx, ref, *mine); err != nil {
		return c.overtaken(ctx, kept, *mine, action, err)
	}
	for _, s := range steps {
		if err := c.carryOut(ctx, ref, *mine, s); err != nil {
			return c.overtaken(ctx, kept, *mine, action, err)
		}
	}
	return c.finish(ctx, kept, past, *mine, action)
}

// undone reports whether this very action was applied before and is so no more.
func (h history) undone(action incident.Action, key string) bool {
	return slices.ContainsFunc(h[:len(h)-1], func(r revision) bool {
		return !r.pending() && r.digest == action.To.Digest && r.ours() && strings.HasSuffix(r.Info.Description, signature(key))
	})
}

// signature ends the description of a revision that was made for an action.
func signature(key string) string { return " [" + oneLine(key, maxKey) + "]" }

// systemLabels are the labels that Helm's storage sets itself.
var systemLabels = []string{"name", "owner", "status", "version", "createdAt", "modifiedAt"}

// next is the revision to make.
func (i inverse) next(ref reference, p present, wanted revision, key string) *release.Release {
	last := p.past.last()
	kept := maps.Clone(wanted.Labels)
	for _, label := range systemLabels {
		delete(kept, label)
	}
	return &release.Release{
		Name: ref.name, Namespace: last.Namespace, Version: last.Version + 1,
		Chart: wanted.Chart, Config: wanted.Config, Manifest: wanted.Manifest, Hooks: wanted.Hooks, Labels: kept,
		Info: &release.Info{
			FirstDeployed: last.Info.FirstDeployed,
			LastDeployed:  helmtime.Time{Time: i.now()},
			Status:        release.StatusPendingRollback,
			Notes:         wanted.Info.Notes,
			Description:   fmt.Sprintf("%s%d%s", description, wanted.Version, signature(key)),
		},
	}
}

// errOvertaken means that a later revision was made meanwhile.
var errOvertaken = errors.New("a later revision was made")

// leads is errOvertaken when a revision is not the latest any more.
func (c *clients) leads(ctx context.Context, ref reference, mine revision) error {
	number, holder, err := c.latest(ctx, ref)
	if err != nil {
		return err
	}
	if number != mine.Version || holder != mine.holder {
		return errOvertaken
	}
	return nil
}

// beaten says what somebody else made of the release in the place of this action. It
// is nil when that is what was wanted.
func (c *clients) beaten(ctx context.Context, ref reference, action incident.Action) error {
	past, err := c.recordsOf(ctx, ref).history()
	if err != nil {
		return err
	}
	p := past.present(action.To.Digest)
	if _, err := p.compare(c, action); err != nil {
		return err
	}
	if p.digest == action.To.Digest {
		return nil
	}
	return fmt.Errorf("wait for %s: somebody else made it at the same moment", past.last().name())
}

// overtaken ends a rollback that can not go on, so that nothing waits for it: the
// revision that was made for it has failed. What can be tried again leaves it as it
// is, for the next try to complete; the objects are between two states then, and the
// release counts as not changed.
func (c *clients) overtaken(ctx context.Context, kept records, mine revision, action incident.Action, cause error) (driver.Receipt, error) {
	passed := errors.Is(cause, errOvertaken)
	if !passed && !driver.Final(cause) {
		return driver.Receipt{}, cause
	}
	said := fmt.Sprintf("%s (failed)", strings.TrimSuffix(mine.Info.Description, " (failed)"))
	receipt := driver.Receipt{Mutated: true, Detail: mine.name() + " was made, and has failed"}
	if err := kept.mark(mine, release.StatusFailed, said); err != nil {
		cause = errors.Join(cause, err)
	}
	if !passed {
		return receipt, cause
	}
	past, err := c.recordsOf(ctx, kept.ref).history()
	if err != nil {
		return receipt, err
	}
	p := past.present(action.To.Digest)
	return receipt, &driver.DriftError{Action: action, Observed: p.state(), Difference: p.drifted(c, action)}
}

// finish says in the records what the objects are by now.
func (c *clients) finish(ctx context.Context, kept records, past history, mine revision, action incident.Action) (driver.Receipt, error) {
	for _, r := range past {
		if r.Version != mine.Version && (r.Info.Status == release.StatusDeployed || r.pending()) {
			// One that has left the history meanwhile says nothing any more.
			if err := kept.mark(r, release.StatusSuperseded, ""); err != nil && !errors.Is(err, driver.ErrNotFound) {
				return driver.Receipt{}, err
			}
		}
	}
	if err := kept.mark(mine, release.StatusDeployed, ""); err != nil {
		return driver.Receipt{}, err
	}
	// Somebody may have made a later one and superseded all that were deployed, just
	// before this one was.
	if err := c.leads(ctx, kept.ref, mine); errors.Is(err, errOvertaken) {
		return c.overtaken(ctx, kept, mine, action, err)
	}
	return driver.Receipt{Mutated: true, Detail: mine.name() + " made of revision " + action.To.Revision}, nil
}
