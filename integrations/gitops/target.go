package gitops

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// form is one kind of object that applies Git.
type form struct {
	// name is the first part of a target's path; noun and keeper are words for people.
	name, noun, keeper string
	resource           schema.GroupVersionResource
	// path leads to the field that switches reconciliation, and held is its value when
	// nothing is applied any more; nil is for a field that is absent.
	path []string
	held any
	// reconciles reports whether Git is applied by itself with a setting.
	reconciles func(s setting) bool
	// running says which application of Git is under way; it is empty when none is.
	running func(live *unstructured.Unstructured) string
}

// forms are the kinds of object that a target can name.
var forms = []form{
	{
		// Source: https://argo-cd.readthedocs.io/en/stable/user-guide/auto_sync/
		name: "application", noun: "Application", keeper: "Argo CD",
		resource:   schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"},
		path:       []string{"spec", "syncPolicy", "automated"},
		reconciles: syncs, running: syncing,
	},
	{
		// Source: https://fluxcd.io/flux/components/kustomize/kustomizations/#suspend
		name: "kustomization", noun: "Kustomization", keeper: "Flux",
		resource: schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"},
		path:     []string{"spec", "suspend"}, held: true,
		reconciles: applies, running: applying,
	},
	{
		// Source: https://fluxcd.io/flux/components/helm/helmreleases/#suspend
		name: "helmrelease", noun: "HelmRelease", keeper: "Flux",
		resource: schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"},
		path:     []string{"spec", "suspend"}, held: true,
		reconciles: applies, running: applying,
	},
}

// targetForm shows how a target's path is spelled.
const targetForm = "application|kustomization|helmrelease/<namespace>/<name>"

// reference names one target of a cluster.
type reference struct {
	form
	namespace, name string
}

// String is what people call the target.
func (r reference) String() string { return r.noun + " " + r.namespace + "/" + r.name }

// parseTarget reads "<form>/<namespace>/<name>".
func parseTarget(target incident.Target) (reference, error) {
	parts := strings.Split(target.Path, "/")
	if len(parts) != 3 || len(validation.IsDNS1123Label(parts[1])) > 0 || len(validation.IsDNS1123Subdomain(parts[2])) > 0 {
		return reference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	for _, f := range forms {
		if f.name == parts[0] {
			return reference{form: f, namespace: parts[1], name: parts[2]}, nil
		}
	}
	return reference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
}

// skipAnnotation makes Argo CD leave an Application alone altogether.
// Source: https://argo-cd.readthedocs.io/en/stable/user-guide/skip_reconcile/
const skipAnnotation = "argocd.argoproj.io/skip-reconcile"

// syncs reports whether Argo CD syncs by itself.
func syncs(s setting) bool {
	automated, ok := s.Value.(map[string]any)
	if !ok || s.Skip == "true" {
		return false
	}
	enabled, found := automated["enabled"].(bool)
	return enabled || !found
}

// syncing says which sync of Argo CD is under way.
// Source: https://argo-cd.readthedocs.io/en/stable/operator-manual/application.yaml
func syncing(live *unstructured.Unstructured) string {
	if asked, found, _ := unstructured.NestedMap(live.Object, "operation"); found && len(asked) > 0 {
		return "a sync was asked for and has not begun"
	}
	switch phase, _, _ := unstructured.NestedString(live.Object, "status", "operationState", "phase"); phase {
	case "Running":
		return "a sync is running"
	case "Terminating":
		return "a sync is being ended"
	default:
		return ""
	}
}

// applies reports whether Flux applies by itself.
func applies(s setting) bool {
	suspended, _ := s.Value.(bool)
	return !suspended
}

// applying says which application of Flux is under way. It waits for its next try with
// another reason.
// Source: https://fluxcd.io/flux/components/kustomize/kustomizations/#conditions
func applying(live *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions") // Absent before the first time.
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		if condition["type"] == "Reconciling" && condition["status"] == "True" && condition["reason"] == "Progressing" {
			return "a reconciliation is running"
		}
	}
	return ""
}
