package gitops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// expectedTime is what a switch is expected to take with the end of an application
// that is running.
const expectedTime = 10 * time.Second

var applicationSets = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}

// Plan works out how to hold a target, or how to resume one as it was configured. The
// revision is "held", with a slash and a time when the default of a day does not do,
// or the name of the state before the hold: "reconciling", or "suspended" where
// somebody else had suspended it.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	c := i.client
	p, err := c.present(ctx, ref)
	var checks driver.Findings
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("target exists", "%s does not exist.", ref)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read %s in namespace %s.", ref.resource.Resource, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	now := i.now()
	p.ready(&checks, now)
	to, ok := p.resolve(&checks, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	if err := c.possible(ctx, &checks, p, to, now); err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	return driver.Planned{
		From: p.state(), To: to, Reversible: true, ExpectedTime: expectedTime,
		WontRevert: p.wontRevert(to), Preflight: checks,
	}, nil
}

// ready says what the target is, and what is under way.
func (p present) ready(f *driver.Findings, now time.Time) {
	const exists, flight = "target exists", "no deploy in flight"
	switch {
	case p.live.GetDeletionTimestamp() != nil:
		f.Block(exists, "%s is being deleted.", p.reference)
	case p.hold != nil && (p.hold.broken || p.hold.overdue(now)):
		f.Warn(exists, "%s %s.", p.reference, p.says(now))
	default:
		f.Pass(exists, "%s %s.", p.reference, p.says(now))
	}
	if running := p.running(p.live); running != "" {
		f.Warn(flight, "A deploy by %s is in flight: %s, and the hold has not settled before it ends.", p.reference, running)
	} else {
		f.Pass(flight, "%s applies nothing right now.", p.reference)
	}
}

// resolve finds the wanted state.
func (p present) resolve(f *driver.Findings, req driver.PlanRequest) (to incident.State, ok bool) {
	const exists, already = "state exists", "not there already"
	wanted := req.Revision
	if wanted == "" {
		moment := stamp(req.Before)
		if p.hold == nil || p.hold.broken {
			f.Block(exists, "Neither Argo CD nor Flux records when it was switched, so that nothing says what %s was before %s.", p.reference, moment)
			return incident.State{}, false
		}
		if p.hold.since.Before(req.Before) {
			f.Block(already, "%s was held before %s already.", p.reference, moment)
			return incident.State{}, false
		}
		wanted = p.named(p.hold.before, false)
	}
	if isHeld(wanted) {
		if _, err := lengthOf(wanted); err != nil {
			f.Block(exists, "Backout can not hold that long: %s.", sentence(err))
			return incident.State{}, false
		}
		if p.hold != nil {
			f.Block(already, "%s is held by Backout already.", p.reference)
			return incident.State{}, false
		}
		if !p.reconciles(p.setting) {
			f.Warn(already, "Somebody suspended %s already; Backout would hold it too, and put back that it was suspended.", p.reference)
		} else {
			f.Pass(already, "%s applies what is in Git, which would undo a rollback.", p.reference)
		}
		d, err := digest(p.holding(), true)
		if err != nil {
			f.Block(exists, "The state of %s can not be written down.", p.reference)
			return incident.State{}, false
		}
		return incident.State{Revision: wanted, Digest: d, Label: held}, true
	}
	switch present := p.named(p.setting, p.hold != nil); {
	case wanted != reconciling && wanted != suspended:
		f.Block(exists, "%q is not a state: want %q, %q or %q.", oneLine(wanted, maxText), held, reconciling, suspended)
		return incident.State{}, false
	case present == wanted:
		f.Block(already, "%s is %s already.", p.reference, wanted)
		return incident.State{}, false
	case p.hold == nil:
		f.Block(exists, "%s is not held by Backout, so that there is nothing to put back.", p.reference)
		return incident.State{}, false
	case p.hold.broken:
		f.Block(exists, "The annotations of the hold on %s are broken, so that nothing says how it was configured.", p.reference)
		return incident.State{}, false
	case p.named(p.hold.before, false) != wanted:
		f.Block(exists, "%s was not %s before Backout held it, but %s.", p.reference, wanted, p.named(p.hold.before, false))
		return incident.State{}, false
	}
	d, err := digest(p.hold.before, false)
	if err != nil {
		f.Block(exists, "The state of %s can not be written down.", p.reference)
		return incident.State{}, false
	}
	f.Pass(exists, "The hold keeps how %s was configured.", p.reference)
	if wanted == reconciling {
		f.Warn("revert is in Git", "%s applies what is in Git as soon as it is resumed, and Backout does not see whether the revert is merged.", p.reference)
	}
	return incident.State{Revision: wanted, Digest: d, Label: wanted}, true
}

// possible checks that the target can be switched and stays switched.
func (c *client) possible(ctx context.Context, f *driver.Findings, p present, to incident.State, now time.Time) error {
	switch allowed, err := c.Allowed(ctx, "patch", p.resource, p.namespace, p.name); {
	case err != nil:
		f.Unknown("permission", "The API server did not say whether Backout may patch %s.", p.reference)
	case !allowed:
		f.Block("permission", "Backout may not patch %s in namespace %s.", p.resource.Resource, p.namespace)
		return nil
	default:
		f.Pass("permission", "Backout may patch %s.", p.reference)
	}
	if isHeld(to.Revision) {
		c.keepers(ctx, f, p)
	}
	operations, _, err := p.operations(to, "trial", now)
	if err != nil {
		return err
	}
	const accepted = "accepted by the API server"
	switch err := c.patch(ctx, p.reference, operations, true); {
	case err == nil:
		f.Pass(accepted, "The API server accepts the change of %s.", p.reference)
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		f.Block(accepted, "The API server does not accept the change of %s: %s.", p.reference, sentence(c.Classify(err)))
	default:
		f.Unknown(accepted, "The API server could not try the change of %s: %s.", p.reference, sentence(c.Classify(err)))
	}
	return nil
}

// keepers finds who keeps the target itself as it is in Git, and would take the hold
// away.
// Source: https://argo-cd.readthedocs.io/en/stable/user-guide/auto_sync/#temporarily-toggling-auto-sync-for-applications-managed-by-applicationsets
func (c *client) keepers(ctx context.Context, f *driver.Findings, p present) {
	const name = "stays as it is put"
	labels, annotations := p.live.GetLabels(), p.live.GetAnnotations()
	application, _, _ := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":")
	owner := metav1.GetControllerOf(p.live)
	switch {
	case owner != nil && owner.Kind == "ApplicationSet":
		c.generated(ctx, f, name, p, owner.Name)
	case application != "":
		f.Warn(name, "Argo CD keeps %s itself, as its Application %s says, and may take the hold away.", p.reference, oneLine(application, maxText))
	case labels["kustomize.toolkit.fluxcd.io/name"] != "":
		f.Warn(name, "Flux keeps %s itself, as its Kustomization %s says: the hold is taken away if Git says there whether it is suspended.", p.reference, oneLine(labels["kustomize.toolkit.fluxcd.io/name"], maxText))
	case labels["helm.toolkit.fluxcd.io/name"] != "":
		f.Warn(name, "Flux keeps %s itself, as its HelmRelease %s says, whose next upgrade may take the hold away.", p.reference, oneLine(labels["helm.toolkit.fluxcd.io/name"], maxText))
	default:
		f.Pass(name, "Nothing on %s says that somebody would take the hold away.", p.reference)
	}
}

// generated looks whether an ApplicationSet leaves the switch of its Applications to
// others.
// Source: https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/Controlling-Resource-Modification/
func (c *client) generated(ctx context.Context, f *driver.Findings, name string, p present, set string) {
	set = oneLine(set, maxText)
	live, err := c.objects.Resource(applicationSets).Namespace(p.namespace).Get(ctx, set, metav1.GetOptions{})
	if err != nil {
		f.Unknown(name, "The ApplicationSet %s makes %s and may take the hold away; Backout could not read it.", set, p.reference)
		return
	}
	policy, _, _ := unstructured.NestedString(live.Object, "spec", "syncPolicy", "applicationsSync") // Absent is to update.
	if policy == "create-only" || policy == "create-delete" || ignoresSwitch(live) {
		f.Pass(name, "The ApplicationSet %s leaves the sync policy of %s to others.", set, p.reference)
		return
	}
	f.Block(name, "The ApplicationSet %s makes %s and takes the hold away at once: let it ignore differences of spec.syncPolicy.", set, p.reference)
}

// ignoresSwitch reports whether an ApplicationSet ignores differences of the whole sync
// policy or of what switches it. An entry for one Application alone is not read.
func ignoresSwitch(set *unstructured.Unstructured) bool {
	entries, _, _ := unstructured.NestedSlice(set.Object, "spec", "ignoreApplicationDifferences") // Absent is none.
	for _, item := range entries {
		entry, _ := item.(map[string]any)
		if name, _, _ := unstructured.NestedString(entry, "name"); name != "" {
			continue
		}
		paths, _, _ := unstructured.NestedStringSlice(entry, "jsonPointers")
		if slices.Contains(paths, "/spec/syncPolicy") || slices.Contains(paths, "/spec/syncPolicy/automated") {
			return true
		}
	}
	return false
}

// wontRevert lists what stays as it is.
func (p present) wontRevert(to incident.State) []string {
	if isHeld(to.Revision) {
		return []string{
			"what " + p.String() + " has applied already, and what it is applying",
			"what is in Git: it is applied as soon as the target is resumed, so the revert has to be merged before",
			"other targets that apply the same objects",
			"syncs that somebody starts by hand",
		}
	}
	return []string{
		"the objects: they are made what is in Git by then",
		"commits that came meanwhile: they are applied together",
	}
}
