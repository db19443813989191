package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
)

// objectTime is what a change of an object is expected to take until its controller
// has taken it up.
const objectTime = 5 * time.Second

// Plan resolves the wanted state against those that were captured of the object, and
// lets the API server try it without keeping the result.
func (o objects) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	ref, err := parseObject(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	present, err := o.cluster.object(ctx, ref)
	var checks driver.Findings
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("object exists", "%s %s in namespace %s does not exist.", capital(ref.resource.Resource), ref.name, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read %s %s and what was captured of it in namespace %s.", ref.resource.Resource, ref.name, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if present.live.GetDeletionTimestamp() != nil {
		checks.Block("object exists", "%s is being deleted.", ref.name)
	} else {
		checks.Pass("object exists", "%s is in %s.", ref.name, present.name())
	}
	if settled, detail := takenUp(present.live); settled {
		checks.Pass("no deploy in flight", "The present state of %s is %s.", ref.name, detail)
	} else {
		checks.Warn("no deploy in flight", "A change of %s is in flight: %s.", ref.name, detail)
	}
	keeper(&checks, present)
	wanted, ok := present.resolve(&checks, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	o.permitted(ctx, &checks, present)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	if o.accepted(ctx, &checks, present, wanted); checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	return driver.Planned{
		From: present.state(), To: wanted.state(), Reversible: true, ExpectedTime: objectTime,
		WontRevert: present.wontRevert(), Preflight: checks,
	}, nil
}

// keeper warns of whoever would put the present state back.
// Sources: https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/,
// https://fluxcd.io/flux/components/kustomize/kustomizations/,
// https://fluxcd.io/flux/components/helm/helmreleases/
func keeper(f *driver.Findings, o object) {
	const name = "stays as it is put"
	labels, annotations := o.live.GetLabels(), o.live.GetAnnotations()
	switch owner := metav1.GetControllerOf(o.live); {
	case owner != nil:
		f.Warn(name, "%s belongs to %s %s, whose controller may write it again.", o.objectReference.name, oneLine(owner.Kind, maxLabel), oneLine(owner.Name, maxLabel))
	case annotations["argocd.argoproj.io/tracking-id"] != "" || labels["argocd.argoproj.io/instance"] != "":
		f.Warn(name, "Argo CD keeps %s as it is in Git, and puts that back unless it is held.", o.objectReference.name)
	case labels["kustomize.toolkit.fluxcd.io/name"] != "" || labels["helm.toolkit.fluxcd.io/name"] != "":
		f.Warn(name, "Flux keeps %s as it is in Git, and puts that back unless it is held.", o.objectReference.name)
	default:
		f.Pass(name, "Nothing on %s says that a controller or a Git repository would put the present state back.", o.objectReference.name)
	}
}

// resolve finds the wanted state and checks that it differs.
func (o object) resolve(f *driver.Findings, req driver.PlanRequest) (wanted captured, ok bool) {
	const exists = "captured state exists"
	name := o.objectReference.name
	if req.Revision != "" {
		number, err := strconv.ParseInt(req.Revision, 10, 64)
		if err != nil || number <= 0 {
			f.Block(exists, "%q is not a revision: captured states have whole numbers.", oneLine(req.Revision, maxLabel))
			return captured{}, false
		}
		if wanted, ok = o.past.byNumber(number); !ok {
			f.Block(exists, "No state %d was captured of %s, of which %d are kept.", number, name, len(o.past.states))
			return captured{}, false
		}
		f.Pass(exists, "%s is kept in ControllerRevision %s.", capital(wanted.name()), wanted.holder)
	} else {
		when := req.Before.UTC().Format(time.RFC3339)
		m, certain, found := o.before(req.Before)
		switch {
		case !found:
			f.Block(exists, "No state of %s was captured before %s.", name, when)
			return captured{}, false
		case !m.kept:
			f.Block(exists, "What %s said before %s is what it says now, and was not captured.", name, when)
			return captured{}, false
		case !certain:
			f.Unknown(exists, "It is not recorded when %s was put in place, so that it may not have been there at %s.", m.name(), when)
		default:
			f.Pass(exists, "%s was in place before %s.", capital(m.name()), when)
		}
		wanted = m.state
	}
	if wanted.digest == o.digest {
		f.Block("not there already", "%s is in %s already.", name, wanted.name())
		return captured{}, false
	}
	f.Pass("not there already", "%s differs: %s.", capital(wanted.name()), o.difference(o.content, wanted.content))
	f.Unknown("was healthy", "Kubernetes keeps no record of whether %s was healthy with it.", name)
	return wanted, true
}

// permitted asks for the right to write, and for that to capture the state to leave.
func (o objects) permitted(ctx context.Context, f *driver.Findings, present object) {
	const name = "permission"
	needed := []struct {
		verb     string
		resource schema.GroupVersionResource
		object   string
	}{{"patch", present.resource, present.objectReference.name}}
	if _, kept := present.past.byDigest(present.digest); !kept {
		needed = append(needed, struct {
			verb     string
			resource schema.GroupVersionResource
			object   string
		}{"create", controllerRevisions, ""})
	}
	for _, need := range needed {
		switch allowed, err := o.cluster.allowed(ctx, need.verb, need.resource, present.namespace, need.object); {
		case err != nil:
			f.Unknown(name, "The API server did not say whether Backout may %s %s.", need.verb, need.resource.Resource)
		case !allowed:
			f.Block(name, "Backout may not %s %s in namespace %s.", need.verb, need.resource.Resource, present.namespace)
		default:
			f.Pass(name, "Backout may %s %s in namespace %s.", need.verb, need.resource.Resource, present.namespace)
		}
	}
}

// accepted lets the API server, with its admission policies, carry the change out
// without keeping it.
func (o objects) accepted(ctx context.Context, f *driver.Findings, present object, wanted captured) {
	const name = "accepted by the API server"
	tried, err := o.cluster.patch(ctx, present.resource, present.namespace, present.objectReference.name, present.content.replaceBy(wanted.content), true)
	switch {
	case errors.Is(err, driver.ErrDenied):
		f.Block(name, "The API server does not let Backout write %s: %s.", wanted.name(), sentence(err))
		return
	case errors.Is(err, errInvalid):
		f.Block(name, "The API server does not accept %s: %s.", wanted.name(), sentence(err))
		return
	case err != nil:
		f.Unknown(name, "The API server could not try %s: %s.", wanted.name(), sentence(err))
		return
	}
	if digest, err := contentOf(tried).digest(); err != nil || digest != wanted.digest {
		f.Block(name, "The API server would make something else of %s: %s.", wanted.name(), present.difference(wanted.content, contentOf(tried)))
		return
	}
	f.Pass(name, "The API server accepts %s.", wanted.name())
}

// sentence is what an error says, as the end of a sentence.
func sentence(err error) string {
	return strings.TrimRight(oneLine(err.Error(), maxAnswer), ". ")
}

// stays are what a rollback of certain resources leaves as it is.
var stays = map[schema.GroupResource][]string{
	{Resource: "configmaps"}: {"pods that read it only when they start: they keep the newer values until they are replaced", "data that was written under the newer values"},
	{Resource: "services"}:   {"connections that are open to the pods that it selected", "the pods themselves: what it selects now has to run"},
	{Group: "autoscaling", Resource: "horizontalpodautoscalers"}: {"the replica count, until the autoscaler has adjusted it", "what the replicas have cost"},
	{Group: "networking.k8s.io", Resource: "networkpolicies"}:    {"connections that were made or refused meanwhile"},
	{Group: rbacGroup, Resource: "roles"}:                        {"what was done with the newer rights, and tokens that were made with them"},
	{Group: rbacGroup, Resource: "rolebindings"}:                 {"what was done with the newer rights, and tokens that were made with them"},
	{Group: gatewayGroup, Resource: "httproutes"}:                {"requests that were answered or lost on the newer route"},
	{Group: gatewayGroup, Resource: "grpcroutes"}:                {"requests that were answered or lost on the newer route"},
}

// The API groups of resources that have more than one line.
const (
	rbacGroup    = "rbac.authorization.k8s.io"
	gatewayGroup = "gateway.networking.k8s.io"
)

func (o object) wontRevert() []string {
	return append(append([]string(nil), stays[o.resource.GroupResource()]...),
		"labels, annotations and status of the object",
		"other objects that were changed together with it",
	)
}
