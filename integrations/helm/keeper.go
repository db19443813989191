package helm

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
)

// What Flux and Argo CD write on the objects that they keep.
// Sources: https://fluxcd.io/flux/components/helm/helmreleases/,
// https://fluxcd.io/flux/components/kustomize/kustomizations/,
// https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
const (
	fluxHelmName           = "helm.toolkit.fluxcd.io/name"
	fluxHelmNamespace      = "helm.toolkit.fluxcd.io/namespace"
	fluxKustomizeName      = "kustomize.toolkit.fluxcd.io/name"
	fluxKustomizeNamespace = "kustomize.toolkit.fluxcd.io/namespace"
	argoTracking           = "argocd.argoproj.io/tracking-id"
	argoInstance           = "argocd.argoproj.io/instance"
)

const (
	// keeperCheck is the name of the check.
	keeperCheck = "stays as it is put"
	// holdExpires is the annotation in which "gitops.hold" says how long it is good.
	holdExpires = "backout.dev/hold-expires"
)

// The resources of Flux that say whether it is held.
var (
	fluxReleases       = schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}
	fluxKustomizations = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
)

// keeper warns of whoever would undo the rollback.
func (c *clients) keeper(ctx context.Context, f *driver.Findings, steps []step, now time.Time) {
	told := map[string]bool{}
	for _, s := range steps {
		for _, o := range []*unstructured.Unstructured{s.live, s.content} {
			if o == nil {
				continue
			}
			labels, annotations := o.GetLabels(), o.GetAnnotations()
			application, _, _ := strings.Cut(annotations[argoTracking], ":")
			if application == "" {
				application = labels[argoInstance]
			}
			application = oneLine(application, maxLabel)
			switch {
			case labels[fluxHelmName] != "":
				if by := "HelmRelease " + oneLine(labels[fluxHelmNamespace]+"/"+labels[fluxHelmName], 2*maxLabel); !told[by] {
					told[by] = true
					c.fluxKeeps(ctx, f, now, by, fluxReleases, labels[fluxHelmNamespace], labels[fluxHelmName])
				}
			case labels[fluxKustomizeName] != "":
				if by := "Kustomization " + oneLine(labels[fluxKustomizeNamespace]+"/"+labels[fluxKustomizeName], 2*maxLabel); !told[by] {
					told[by] = true
					c.fluxKeeps(ctx, f, now, by, fluxKustomizations, labels[fluxKustomizeNamespace], labels[fluxKustomizeName])
				}
			case application != "" && !told[application]:
				told[application] = true
				f.Warn(keeperCheck, "Argo CD keeps objects of the release as its Application %s says, and puts that back unless it is held.", application)
			}
		}
	}
	if len(told) == 0 {
		f.Pass(keeperCheck, "Nothing on the objects of the release says that Argo CD or Flux would put the present state back.")
	}
}

// fluxKeeps says whether Flux would put the present state back.
func (c *clients) fluxKeeps(ctx context.Context, f *driver.Findings, now time.Time, by string, resource schema.GroupVersionResource, namespace, object string) {
	live, err := c.objects.Resource(resource).Namespace(namespace).Get(ctx, object, metav1.GetOptions{})
	if err != nil {
		f.Warn(keeperCheck, "Flux keeps the release as its %s says, and puts that back unless it is held, which Backout can not see.", by)
		return
	}
	held, _, _ := unstructured.NestedBool(live.Object, "spec", "suspend") // Absent and malformed are both not held.
	if expires, err := time.Parse(time.RFC3339, live.GetAnnotations()[holdExpires]); held && err == nil && !now.Before(expires) {
		f.Warn(keeperCheck, "The %s of Flux is suspended, by a hold of Backout's that expired at %s.", by, expires.UTC().Format(time.RFC3339))
		return
	}
	if held {
		f.Pass(keeperCheck, "The %s of Flux is suspended, so that the release stays as it is put.", by)
		return
	}
	f.Warn(keeperCheck, "Flux keeps the release as its %s says, which is not suspended, and puts that back.", by)
}
