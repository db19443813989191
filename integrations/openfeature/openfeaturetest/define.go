package openfeaturetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/kubernetes/kubernetestest"
	"github.com/backout/backout/test/controlplane"
)

const (
	// patience bounds the wait for the API server to serve a new resource; poll is the
	// time between looks.
	patience = time.Minute
	poll     = 10 * time.Millisecond
)

// FeatureFlags are the objects of the operator.
var FeatureFlags = schema.GroupVersionResource{Group: "core.openfeature.dev", Version: "v1beta1", Resource: "featureflags"}

// defining keeps the definition from being made by several tests at once.
var defining sync.Mutex

// Define makes the API server serve FeatureFlags, with what the operator's own
// definition demands of them.
// Source: https://github.com/open-feature/open-feature-operator/blob/main/docs/crds.md
func Define(tb testing.TB, plane *controlplane.Plane) {
	tb.Helper()
	defining.Lock()
	defer defining.Unlock()
	loose := func() map[string]any {
		return map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	}
	text := map[string]any{"type": "string"}
	flag := map[string]any{
		"type": "object", "required": []any{"defaultVariant", "state", "variants"},
		"properties": map[string]any{
			"defaultVariant": text, "metadata": loose(), "targeting": loose(), "variants": loose(),
			"state": map[string]any{"type": "string", "enum": []any{"ENABLED", "DISABLED"}},
		},
	}
	flagSpec := map[string]any{
		"type": "object", "required": []any{"flags"},
		"properties": map[string]any{
			"$evaluators": loose(), "metadata": loose(), "flags": map[string]any{"type": "object", "additionalProperties": flag},
		},
	}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": FeatureFlags.Resource + "." + FeatureFlags.Group},
		"spec": map[string]any{
			"group": FeatureFlags.Group, "scope": "Namespaced",
			"names": map[string]any{"kind": "FeatureFlag", "listKind": "FeatureFlagList", "plural": FeatureFlags.Resource, "singular": "featureflag", "shortNames": []any{"ff"}},
			"versions": []any{map[string]any{
				"name": FeatureFlags.Version, "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec": map[string]any{"type": "object", "properties": map[string]any{"flagSpec": flagSpec}}, "status": map[string]any{"type": "object"},
				}}},
			}},
		},
	}}
	client := kubernetestest.Objects(tb, plane)
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	if _, err := client.Resource(definitions).Create(ctx, definition, metav1.CreateOptions{}); err != nil {
		require.True(tb, apierrors.IsAlreadyExists(err), "define FeatureFlag: %v", err)
	}
	require.Eventually(tb, func() bool {
		_, err := client.Resource(FeatureFlags).Namespace("default").List(ctx, metav1.ListOptions{})
		return err == nil
	}, patience, poll, "the API server does not serve FeatureFlags")
}
