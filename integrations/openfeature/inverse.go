package openfeature

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the recorder beside
// it.
const kind = "flag.openfeature"

// expectedTime is what a rollback is expected to take until the evaluators of the
// flag have seen it.
const expectedTime = 5 * time.Second

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "feature flag",
		TargetForm: targetForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: "in the object's namespace: get and patch on featureflags.core.openfeature.dev; list and create controllerrevisions.apps, which hold the captured states",
	}, func(c cluster) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"the other flags of the FeatureFlag object",
	"the evaluators that its flags share, which targeting may refer to",
	"FeatureFlag objects of other namespaces and clusters, which stand for other environments",
	"what services did while they saw the newer state",
}

// inverse takes a flag back to a captured state of it.
type inverse struct{ cluster cluster }

// errMoved means that the API server found something else than was tested for.
var errMoved = errors.New("patch refused: the flag is not what was observed, or is not valid")

// Observe reads the present state. A flag is settled at once.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseTarget(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	f, err := read(ctx, i.cluster, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	seen := driver.Observation{State: f.state(), Settled: true, Detail: f.now().name()}
	if _, err := f.compare(action); err != nil {
		seen.Detail = f.drifted(action)
	}
	return seen, nil
}

// state is the flag's present state, under the number that it was captured with.
func (f flag) state() incident.State {
	if kept, ok := f.byDigest(f.now().digest); ok {
		return kept.state()
	}
	return f.now().state()
}

// compare is done when the flag is at "to", and a *driver.DriftError when it is at
// neither.
func (f flag) compare(action incident.Action) (done bool, err error) {
	switch f.now().digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: f.state(), Difference: f.drifted(action)}
}

// drifted says in one line what is there in place of "from".
func (f flag) drifted(action incident.Action) string {
	if from, ok := f.byDigest(action.From.Digest); ok {
		return difference(from.content, f.now().content)
	}
	if to, ok := f.byDigest(action.To.Digest); ok {
		return "the expected state was not captured; against the wanted one: " + difference(to.content, f.now().content)
	}
	return "another state was written, and neither the expected nor the wanted one is captured"
}

// Apply replaces the flag by the captured one whose digest is that of action.To. The
// API server compares the flag with the one that was observed, and writes, as one
// step. The state to leave is captured first, so that there is a way back.
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
	f, err := read(ctx, i.cluster, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := f.compare(action); done || err != nil {
		return driver.Receipt{Detail: "the captured state was there already"}, err
	}
	if f.live.GetAnnotations()[appliedAnnotation] == at.applied(key, action) {
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: f.state(), Difference: "somebody changed it back after this very action was applied"}
	}
	if f.live.GetDeletionTimestamp() != nil {
		return driver.Receipt{}, fmt.Errorf("%w: the object is being deleted", driver.ErrInvalid)
	}
	wanted, ok := f.byDigest(action.To.Digest)
	if !ok {
		return driver.Receipt{}, fmt.Errorf("find captured state %s (%s): %w", action.To.Revision, incident.ShortDigest(action.To.Digest), driver.ErrNotFound)
	}
	if _, kept := f.byDigest(f.now().digest); !kept {
		if err := i.cluster.CaptureObject(ctx, at.path()); err != nil {
			return driver.Receipt{}, err
		}
	}
	operations := append(f.replaceBy(wanted.content), f.mark(at.applied(key, action))...)
	err = i.patch(ctx, at, operations, false)
	if errors.Is(err, errMoved) {
		return i.explain(ctx, f, action, err)
	}
	if err != nil {
		return driver.Receipt{}, err
	}
	return driver.Receipt{Mutated: true, Detail: wanted.name() + " written"}, nil
}

// patch applies a JSON Patch as one step. With try the API server does all but keep
// the result.
func (i inverse) patch(ctx context.Context, at location, operations []operation, try bool) error {
	body, err := json.Marshal(operations)
	if err != nil {
		return fmt.Errorf("encode patch of %q: %w", at.object, err)
	}
	options := metav1.PatchOptions{FieldManager: "backout"}
	if try {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err = i.cluster.Objects().Resource(featureFlags).Namespace(at.namespace).Patch(ctx, at.object, types.JSONPatchType, body, options)
	switch {
	case err == nil:
		return nil
	case apierrors.IsInvalid(err), apierrors.IsConflict(err):
		return fmt.Errorf("patch FeatureFlag %q in namespace %q: %w", at.object, at.namespace, errMoved)
	default:
		return fmt.Errorf("patch FeatureFlag %q in namespace %q: %w", at.object, at.namespace, i.cluster.Classify(err))
	}
}

// explain finds out what a refused patch means: another writer was faster, with the
// same state or another, or the API server does not accept the state.
func (i inverse) explain(ctx context.Context, before flag, action incident.Action, refusal error) (driver.Receipt, error) {
	after, err := read(ctx, i.cluster, before.location)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := after.compare(action); done || err != nil {
		return driver.Receipt{Detail: "the state was written by another writer"}, err
	}
	if after.live.GetResourceVersion() != before.live.GetResourceVersion() {
		return driver.Receipt{}, refusal // The object was busy: the next try sees it.
	}
	return driver.Receipt{}, fmt.Errorf("%w: %w", driver.ErrInvalid, refusal)
}

// Plan resolves the wanted state against those that were captured, and lets the API
// server try it without keeping the result.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	f, err := read(ctx, i.cluster, at)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("object exists", "The FeatureFlag %s in namespace %s does not exist.", at.object, at.namespace)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the FeatureFlag %s and what was captured of it in namespace %s.", at.object, at.namespace)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if f.live.GetDeletionTimestamp() != nil {
		checks.Block("object exists", "The FeatureFlag %s is being deleted.", at.object)
	} else {
		checks.Pass("object exists", "The flag %s is in %s.", at.flag, f.now().name())
	}
	if keeper := f.keeper(); keeper != "" {
		checks.Warn("stays as it is put", "%s keeps %s as it is, and puts that back unless it is held.", keeper, at.object)
	}
	wanted, ok := f.resolve(&checks, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	i.permitted(ctx, &checks, f)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	if err := i.accepted(ctx, &checks, f, wanted); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	return driver.Planned{
		From: f.state(), To: wanted.state(), Reversible: true, ExpectedTime: expectedTime,
		WontRevert: slices.Clone(wontRevert), Preflight: checks,
	}, nil
}

// resolve finds the wanted state and checks that it differs.
func (f flag) resolve(checks *driver.Findings, req driver.PlanRequest) (wanted moment, ok bool) {
	const exists = "captured state exists"
	if req.Revision != "" {
		number, err := strconv.ParseInt(req.Revision, 10, 64)
		if err != nil || number <= 0 {
			checks.Block(exists, "%q is not a revision: captured states have whole numbers.", oneLine(req.Revision))
			return moment{}, false
		}
		if wanted, ok = f.kept[number]; !ok {
			checks.Block(exists, "No state %d was captured of %s, of which %d are kept.", number, f.object, len(f.kept))
			return moment{}, false
		}
		checks.Pass(exists, "The flag %s was in %s.", f.flag, wanted.name())
	} else {
		when := req.Before.UTC().Format(time.RFC3339)
		wanted, ok = f.before(req.Before)
		switch {
		case !ok:
			checks.Block(exists, "No state of %s was captured before %s.", f.object, when)
			return moment{}, false
		case !wanted.captured:
			checks.Block(exists, "What %s was before %s is what it is now, and was not captured.", f.flag, when)
			return moment{}, false
		case wanted.bound:
			checks.Unknown(exists, "It is not recorded when %s was put in place, so that it may not have been there at %s.", wanted.name(), when)
		default:
			checks.Pass(exists, "The flag %s was in %s before %s.", f.flag, wanted.name(), when)
		}
	}
	if wanted.digest == f.now().digest {
		checks.Block("not there already", "The flag %s is in %s already.", f.flag, wanted.name())
		return moment{}, false
	}
	checks.Pass("not there already", "The flag %s differs: %s.", f.flag, difference(f.now().content, wanted.content))
	if !equal(wanted.evaluators, f.now().evaluators) {
		checks.Warn("shared rules are the same", "The evaluators that the flags of %s share were changed since, and stay as they are.", f.object)
	}
	return wanted, true
}

// permitted asks for the right to write, and for that to capture the state to leave.
func (i inverse) permitted(ctx context.Context, checks *driver.Findings, f flag) {
	const name = "permission"
	type need struct {
		verb     string
		resource schema.GroupVersionResource
		object   string
	}
	needed := []need{{"patch", featureFlags, f.object}}
	if _, kept := f.byDigest(f.now().digest); !kept {
		needed = append(needed, need{"create", controllerRevisions, ""})
	}
	for _, n := range needed {
		switch allowed, err := i.cluster.Allowed(ctx, n.verb, n.resource, f.namespace, n.object); {
		case err != nil:
			checks.Unknown(name, "The API server did not say whether Backout may %s %s.", n.verb, n.resource.Resource)
		case !allowed:
			checks.Block(name, "Backout may not %s %s in namespace %s.", n.verb, n.resource.Resource, f.namespace)
		default:
			checks.Pass(name, "Backout may %s %s in namespace %s.", n.verb, n.resource.Resource, f.namespace)
		}
	}
}

// accepted lets the API server, with its admission policies, carry the change out
// without keeping it.
func (i inverse) accepted(ctx context.Context, checks *driver.Findings, f flag, wanted moment) error {
	const name = "accepted by the API server"
	err := i.patch(ctx, f.location, f.replaceBy(wanted.content), true)
	switch {
	case err == nil:
		checks.Pass(name, "The API server accepts %s.", wanted.name())
	case errors.Is(err, errMoved), errors.Is(err, driver.ErrDenied), errors.Is(err, driver.ErrInvalid):
		checks.Block(name, "The API server does not accept %s.", wanted.name())
	default:
		return err
	}
	return nil
}
