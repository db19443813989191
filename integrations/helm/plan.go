package helm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback with its rollout is expected to take, for want of a
// measure: a few batches of pods that each take some seconds.
const expectedTime = time.Minute

// Plan resolves the wanted revision against the history of the release, and lets the
// API server try every write without keeping the result.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	c, err := i.dial()
	if err != nil {
		return driver.Planned{}, err
	}
	planned, err := c.plan(ctx, ref, req, i.now())
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	return planned, nil
}

func (c *clients) plan(ctx context.Context, ref reference, req driver.PlanRequest, now time.Time) (driver.Planned, error) {
	past, err := c.recordsOf(ctx, ref).history()
	var checks driver.Findings
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("release exists", "Helm has no release %s in namespace %s.", ref.name, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not list Secrets in namespace %s, in which Helm keeps the revisions of %s.", ref.namespace, ref.name)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, err
	}
	wanted, ok := past.resolve(&checks, ref, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	p := past.present(wanted.digest)
	if p.ready(&checks, ref, wanted); checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	checks.Pass("not there already", "%s differs: %s.", capital(wanted.name()), difference(c, p.Release, wanted.Release))
	healthy(&checks, wanted)
	steps, err := c.steps(ctx, ref, p, wanted)
	switch {
	case errors.Is(err, errUnserved):
		checks.Block("objects can be written", "The cluster no longer serves what %s is made of: %s.", wanted.name(), sentence(err))
	case errors.Is(err, errForeign):
		checks.Block("objects can be written", "An object of %s is there and does not belong to the release: %s.", wanted.name(), sentence(err))
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read all objects of %s: %s.", ref.name, sentence(err))
	case errors.Is(err, driver.ErrInvalid):
		checks.Block("objects can be written", "The objects of %s can not be read: %s.", ref.name, sentence(err))
	case err != nil:
		return driver.Planned{}, err
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	c.permitted(ctx, &checks, ref)
	c.accepted(ctx, &checks, ref, steps)
	c.edited(ctx, &checks, ref, steps)
	c.keeper(ctx, &checks, steps, now)
	hooks(&checks, wanted)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	return driver.Planned{
		From: p.state(), To: wanted.state(),
		// There is no way to fail with a content on purpose.
		Reversible:   p.digest == p.revision.digest,
		ExpectedTime: expectedTime, WontRevert: wontRevert(p, wanted, steps), Preflight: checks,
	}, nil
}

// resolve finds the wanted revision.
func (h history) resolve(f *driver.Findings, ref reference, req driver.PlanRequest) (wanted revision, ok bool) {
	const exists = "revision exists"
	if req.Revision != "" {
		number, err := strconv.Atoi(req.Revision)
		if err != nil || number <= 0 {
			f.Block(exists, "%q is not a revision: revisions of a release are whole numbers.", oneLine(req.Revision, maxLabel))
			return revision{}, false
		}
		if wanted, ok = h.byNumber(number); !ok {
			f.Block(exists, "Revision %d is not in the history of %s, which keeps %d revisions from %d on.", number, ref.name, len(h), h[0].Version)
			return revision{}, false
		}
		f.Pass(exists, "The history of %s keeps %s.", ref.name, wanted.name())
		return wanted, true
	}
	moment := req.Before.UTC().Format(time.RFC3339)
	failed := 0
	for _, r := range h {
		if !r.Info.LastDeployed.Time.Before(req.Before) {
			break
		}
		switch r.Info.Status {
		case release.StatusDeployed, release.StatusSuperseded:
			wanted, ok, failed = r, true, 0
		case release.StatusFailed:
			failed++
		case release.StatusUnknown, release.StatusUninstalled, release.StatusUninstalling,
			release.StatusPendingInstall, release.StatusPendingUpgrade, release.StatusPendingRollback:
		}
	}
	switch {
	case !ok:
		f.Block(exists, "The history of %s, which keeps %d revisions from %d on, has none that was deployed before %s.", ref.name, len(h), h[0].Version, moment)
	case failed > 0:
		f.Warn(exists, "%s was the last that did not fail before %s.", capital(wanted.name()), moment)
	default:
		f.Pass(exists, "%s was in place before %s.", capital(wanted.name()), moment)
	}
	return wanted, ok
}

// ready checks that the release can be taken from where it is to the wanted revision.
func (p present) ready(f *driver.Findings, ref reference, wanted revision) {
	const exists, flight = "release exists", "no deploy in flight"
	if why := p.gone(); why != "" {
		f.Block(exists, "The release %s %s.", ref.name, why)
		return
	}
	f.Pass(exists, "The release %s is at %s.", ref.name, p.name())
	other, busy := p.busy()
	switch {
	case busy:
		f.Block(flight, "A change of %s is in flight: %s is in status %s since %s; when no Helm runs any more that would finish it, \"helm rollback\" by hand ends it.",
			ref.name, other.name(), other.Info.Status, other.Info.LastDeployed.Time.UTC().Format(time.RFC3339))
	case p.astray(wanted.digest):
		f.Block(flight, "A rollback of Backout's that made %s is not finished, and %s is neither where it was going nor where it came from.", p.name(), wanted.name())
	case p.unfinished != nil:
		f.Warn(flight, "A rollback of Backout's to the same content, begun as revision %d, is not finished, and is completed.", p.unfinished.Version)
	case p.pending():
		f.Warn(flight, "A rollback of Backout's that made %s is not finished, and is taken back.", p.name())
	case p.Info.Status == release.StatusFailed:
		f.Warn(flight, "%s failed, so that objects may not be as it says.", capital(p.name()))
	default:
		f.Pass(flight, "%s is %s.", capital(p.name()), p.Info.Status)
	}
	if wanted.digest == p.digest {
		f.Block("not there already", "%s has the content of %s already.", ref.name, wanted.name())
	}
}

// healthy says what Helm remembers of how the wanted revision went.
func healthy(f *driver.Findings, wanted revision) {
	const name = "was healthy"
	if wanted.Info.Status == release.StatusFailed {
		f.Warn(name, "Helm says that %s failed when it was deployed.", wanted.name())
		return
	}
	f.Unknown(name, "Helm says that %s was deployed, and keeps no record of whether it was healthy.", wanted.name())
}

// permitted asks for the rights on the Secrets that Helm keeps the revisions in.
func (c *clients) permitted(ctx context.Context, f *driver.Findings, ref reference) {
	const name = "permission"
	for _, verb := range []string{"create", "update"} {
		switch allowed, err := c.Allowed(ctx, verb, secrets, ref.namespace, ""); {
		case err != nil:
			f.Unknown(name, "The API server did not say whether Backout may %s Secrets in namespace %s.", verb, ref.namespace)
		case !allowed:
			f.Block(name, "Backout may not %s Secrets in namespace %s, in which Helm keeps the revisions.", verb, ref.namespace)
		default:
			f.Pass(name, "Backout may %s Secrets in namespace %s, in which Helm keeps the revisions.", verb, ref.namespace)
		}
	}
}

// accepted lets the API server, with its admission policies, carry out every step
// without keeping the result.
func (c *clients) accepted(ctx context.Context, f *driver.Findings, ref reference, steps []step) {
	const name = "accepted by the API server"
	changed, unsure := 0, []string(nil)
	for _, s := range steps {
		if s.verb == nothing {
			continue
		}
		changed++
		err := s.send(ctx, ref, true)
		switch {
		case err == nil:
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			f.Block("permission", "The API server does not let Backout %s %s: %s.", s.verb, s.endpoint, sentence(c.Classify(err)))
		case apierrors.IsInvalid(err), apierrors.IsMethodNotSupported(err), apierrors.IsRequestEntityTooLargeError(err):
			f.Block(name, "The API server does not accept the %s of %s: %s.", s.verb, s.endpoint, sentence(c.Classify(err)))
		default:
			unsure = append(unsure, s.String())
		}
	}
	switch {
	case f.Blocked():
	case len(unsure) > 0:
		f.Unknown(name, "The API server could not try what would become of %s.", enumerate(unsure))
	default:
		f.Pass(name, "The API server accepts the changes of %d objects.", changed)
	}
}

// edited warns of what was changed past Helm, which the rollback overwrites. Whether an
// object is as its revision wrote it is left to the API server, which spells some
// values in its own way.
func (c *clients) edited(ctx context.Context, f *driver.Findings, ref reference, steps []step) {
	const name = "as Helm wrote it"
	var found, unsure []string
	for _, s := range steps {
		if s.former == nil || s.live == nil {
			continue
		}
		former := s.marked(ref, s.former)
		body, patchType, err := merged(former, former, s.live)
		if err == nil && string(body) == "{}" {
			continue
		}
		if err != nil {
			unsure = append(unsure, s.String())
			continue
		}
		options := metav1.PatchOptions{FieldManager: fieldManager, DryRun: []string{metav1.DryRunAll}}
		switch back, err := s.client.Patch(ctx, s.name, patchType, body, options); {
		case err != nil:
			unsure = append(unsure, s.String())
		case !reflect.DeepEqual(said(back), said(s.live)):
			found = append(found, s.String())
		}
	}
	switch {
	case len(found) > 0:
		f.Warn(name, "Somebody changed past Helm what the rollback overwrites: %s.", enumerate(found))
	case len(unsure) > 0:
		f.Unknown(name, "The API server did not say whether anybody changed %s past Helm.", enumerate(unsure))
	default:
		f.Pass(name, "The objects are as the present revision wrote them.")
	}
}

// said is what an object says, without what the API server and controllers add.
func said(o *unstructured.Unstructured) map[string]any {
	all := maps.Clone(o.Object)
	delete(all, "metadata")
	delete(all, "status")
	return map[string]any{"content": all, "labels": o.GetLabels(), "annotations": o.GetAnnotations()}
}

// hooks warns of what would be run by Helm and is not run by Backout.
func hooks(f *driver.Findings, wanted revision) {
	var names []string
	for _, h := range wanted.Hooks {
		if slices.Contains(h.Events, release.HookPreRollback) || slices.Contains(h.Events, release.HookPostRollback) {
			names = append(names, oneLine(h.Kind+" "+h.Name, maxLabel))
		}
	}
	if len(names) > 0 {
		f.Warn("hooks", "%s has hooks for rollbacks, which Backout does not run: %s.", capital(wanted.name()), enumerate(names))
	}
}

// wontRevert lists what stays as it is, as concretely as it can be read.
func wontRevert(p present, wanted revision, steps []step) []string {
	var stays, kept, jobs, volumes []string
	for _, s := range steps {
		switch s.kind.Kind {
		case "StatefulSet":
			volumes = append(volumes, s.String())
		case "PersistentVolumeClaim":
			volumes = append(volumes, s.String())
		case "Job":
			jobs = append(jobs, s.name)
		}
		if !s.wanted && s.verb == nothing && s.live != nil {
			kept = append(kept, s.String())
		}
	}
	if len(volumes) > 0 {
		stays = append(stays, "data in volumes, and whatever format the newer version left it in: "+enumerate(volumes))
	}
	if len(jobs) > 0 {
		stays = append(stays, "what Jobs have done: "+enumerate(jobs))
	}
	if len(kept) > 0 {
		stays = append(stays, "objects that are kept: "+enumerate(kept))
	}
	var ran []string
	for _, h := range p.Hooks {
		ran = append(ran, oneLine(h.Kind+" "+h.Name, maxLabel))
	}
	if len(ran) > 0 {
		stays = append(stays, "what the hooks of "+p.name()+" have done: "+enumerate(ran))
	}
	if wanted.Chart != nil && len(wanted.Chart.CRDObjects()) > 0 || p.Chart != nil && len(p.Chart.CRDObjects()) > 0 {
		stays = append(stays, "CustomResourceDefinitions of the chart, and the objects of their kinds")
	}
	return append(stays,
		"objects that were made or changed past Helm",
		"databases and their migrations",
		"what the version wrote or sent while it ran",
	)
}
