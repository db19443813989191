package gitopstest

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/test/controlplane"
)

const (
	// patience bounds the wait for the API server to serve a new resource; poll is the
	// time between looks.
	patience = time.Minute
	poll     = 10 * time.Millisecond
)

// definition is what is used here of the definition of a resource.
type definition struct {
	of   schema.GroupVersionResource
	kind string
	// spec and status are schemas.
	spec, status map[string]any
	// top are the schemas of fields beside them.
	top map[string]any
	// apart says that the status is written apart from the rest.
	apart bool
}

func object(properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "properties": properties}
}

func loose() map[string]any {
	return map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
}

var (
	boolean = map[string]any{"type": "boolean"}
	text    = map[string]any{"type": "string"}
)

// conditions are those of every object of Flux.
func conditions() map[string]any {
	return map[string]any{"type": "array", "items": object(map[string]any{
		"type": text, "reason": text, "message": text, "lastTransitionTime": text,
		"status": map[string]any{"type": "string", "enum": []any{"True", "False", "Unknown"}},
	})}
}

// definitions are parts of the real definitions.
// Sources: https://github.com/argoproj/argo-cd/tree/master/manifests/crds,
// https://fluxcd.io/flux/components/kustomize/api/v1/,
// https://fluxcd.io/flux/components/helm/api/v2/
var definitions = []definition{
	{
		of: Applications, kind: "Application",
		spec: object(map[string]any{
			"project": text, "source": loose(), "destination": loose(),
			"syncPolicy": object(map[string]any{
				"automated":   object(map[string]any{"prune": boolean, "selfHeal": boolean, "allowEmpty": boolean, "enabled": boolean}),
				"syncOptions": map[string]any{"type": "array", "items": text},
			}),
		}),
		status: object(map[string]any{
			"sync": loose(), "health": loose(),
			"operationState": object(map[string]any{"phase": text, "message": text}),
		}),
		top: map[string]any{"operation": loose()},
	},
	{
		of: ApplicationSets, kind: "ApplicationSet",
		spec: object(map[string]any{
			"syncPolicy":                   object(map[string]any{"applicationsSync": text}),
			"ignoreApplicationDifferences": map[string]any{"type": "array", "items": object(map[string]any{"name": text, "jsonPointers": map[string]any{"type": "array", "items": text}})},
		}),
		status: loose(), apart: true,
	},
	{
		of: Kustomizations, kind: "Kustomization",
		spec: object(map[string]any{
			"suspend": boolean, "interval": text, "path": text, "prune": boolean, "sourceRef": loose(), "postBuild": loose(),
		}),
		status: object(map[string]any{"conditions": conditions(), "lastAppliedRevision": text, "lastAttemptedRevision": text}), apart: true,
	},
	{
		of: HelmReleases, kind: "HelmRelease",
		spec: object(map[string]any{
			"suspend": boolean, "interval": text, "chart": loose(), "values": loose(),
		}),
		status: object(map[string]any{"conditions": conditions(), "lastAttemptedRevision": text}), apart: true,
	},
}

// The resources of the cases.
var (
	Applications    = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	ApplicationSets = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}
	Kustomizations  = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	HelmReleases    = schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}
)

var defining sync.Mutex

// Define makes the API server serve the resources of Argo CD and Flux.
func Define(tb testing.TB, plane *controlplane.Plane) dynamic.Interface {
	tb.Helper()
	client, err := dynamic.NewForConfig(plane.Config(tb, "admin"))
	require.NoError(tb, err)
	defining.Lock()
	defer defining.Unlock()
	all := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, d := range definitions {
		if _, err := all.Create(tb.Context(), d.manifest(), metav1.CreateOptions{}); err != nil {
			require.True(tb, apierrors.IsAlreadyExists(err), "define %s: %v", d.kind, err)
		}
	}
	for _, d := range definitions {
		require.Eventually(tb, func() bool { return serves(tb.Context(), client, d) }, patience, poll, "the API server does not serve %s", d.kind)
	}
	return client
}

// serves reports whether objects of a definition can be written.
func serves(ctx context.Context, client dynamic.Interface, d definition) bool {
	trial := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": d.of.GroupVersion().String(), "kind": d.kind, "metadata": map[string]any{"name": "trial"},
	}}
	_, err := client.Resource(d.of).Namespace("default").Create(ctx, trial, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err == nil
}

// manifest is the object that defines the resource.
func (d definition) manifest() *unstructured.Unstructured {
	properties := map[string]any{"spec": d.spec, "status": d.status}
	maps.Copy(properties, d.top)
	version := map[string]any{
		"name": d.of.Version, "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": object(properties)},
	}
	if d.apart {
		version["subresources"] = map[string]any{"status": map[string]any{}}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": d.of.Resource + "." + d.of.Group},
		"spec": map[string]any{
			"group": d.of.Group, "scope": "Namespaced",
			"names":    map[string]any{"kind": d.kind, "listKind": d.kind + "List", "plural": d.of.Resource, "singular": toSingular(d.of.Resource)},
			"versions": []any{version},
		},
	}}
}

func toSingular(plural string) string { return plural[:len(plural)-1] }
