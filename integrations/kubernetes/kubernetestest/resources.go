package kubernetestest

import (
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/test/controlplane"
)

var httpRoutes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// The resources that the laws are tried on.
var (
	configMap = resource{
		kind: "ConfigMap", of: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		good:       map[string]any{"data": map[string]any{"mode": "safe", "limit": "10"}},
		bad:        map[string]any{"data": map[string]any{"mode": "fast", "limit": nil, "extra": "on"}},
		other:      map[string]any{"data": map[string]any{"mode": "faster"}},
		difference: "data.mode changed",
	}
	autoscaler = resource{
		kind: "HorizontalPodAutoscaler", of: schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
		good: map[string]any{"spec": map[string]any{
			"minReplicas": int64(2), "maxReplicas": int64(10),
			"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
		}},
		bad:        map[string]any{"spec": map[string]any{"maxReplicas": int64(400)}},
		other:      map[string]any{"spec": map[string]any{"maxReplicas": int64(500)}},
		difference: "spec.maxReplicas changed: 400 to 500",
	}
	service = resource{
		kind: "Service", of: schema.GroupVersionResource{Version: "v1", Resource: "services"},
		good: map[string]any{"spec": map[string]any{
			"selector": map[string]any{"app": name, "version": "blue"}, "ports": []any{map[string]any{"port": int64(80)}},
		}},
		bad:        map[string]any{"spec": map[string]any{"selector": map[string]any{"version": "green", "track": "canary"}}},
		other:      map[string]any{"spec": map[string]any{"selector": map[string]any{"version": "red"}}},
		difference: "spec.selector.version changed: green to red",
	}
	networkPolicy = resource{
		kind: "NetworkPolicy", of: schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
		good: map[string]any{"spec": map[string]any{
			"podSelector": map[string]any{}, "policyTypes": []any{"Ingress"}, "ingress": []any{map[string]any{}},
		}},
		bad:        map[string]any{"spec": map[string]any{"ingress": nil}},
		other:      map[string]any{"spec": map[string]any{"policyTypes": []any{"Ingress", "Egress"}}},
		difference: "spec.policyTypes changed",
	}
	role = resource{
		kind: "Role", of: schema.GroupVersionResource{Group: rbacv1.GroupName, Version: "v1", Resource: "roles"},
		good:       map[string]any{"rules": rules("get")},
		bad:        map[string]any{"rules": rules("get", "delete")},
		other:      map[string]any{"rules": rules("*")},
		difference: "rules changed",
		rights:     []rbacv1.PolicyRule{{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, Verbs: []string{"escalate"}}},
	}
	roleBinding = resource{
		kind: "RoleBinding", of: schema.GroupVersionResource{Group: rbacv1.GroupName, Version: "v1", Resource: "rolebindings"},
		good: map[string]any{
			"roleRef":  map[string]any{"apiGroup": rbacv1.GroupName, "kind": "Role", "name": name},
			"subjects": subjects("shop"),
		},
		bad:        map[string]any{"subjects": subjects("shop", "everybody")},
		other:      map[string]any{"subjects": subjects("intruder")},
		difference: "subjects changed",
		rights:     []rbacv1.PolicyRule{{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, Verbs: []string{"bind"}}},
	}
	route = resource{
		kind: "HTTPRoute", of: httpRoutes,
		good:       map[string]any{"spec": map[string]any{"hostnames": []any{"shop.example"}, "rules": weights(100, 0)}},
		bad:        map[string]any{"spec": map[string]any{"rules": weights(0, 100)}},
		other:      map[string]any{"spec": map[string]any{"hostnames": []any{"other.example"}}},
		difference: "spec.hostnames changed",
		define:     defineRoute,
		inFlight:   leaveBehind,
	}
)

func rules(verbs ...any) []any {
	return []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"pods"}, "verbs": verbs}}
}

func subjects(names ...string) []any {
	var all []any
	for _, user := range names {
		all = append(all, map[string]any{"apiGroup": rbacv1.GroupName, "kind": rbacv1.UserKind, "name": user})
	}
	return all
}

func weights(blue, green int64) []any {
	return []any{map[string]any{"backendRefs": []any{
		map[string]any{"name": "blue", "port": int64(80), "weight": blue},
		map[string]any{"name": "green", "port": int64(80), "weight": green},
	}}}
}

// defineRoute makes the API server serve HTTPRoutes, with the fields that are used
// here.
// Source: https://gateway-api.sigs.k8s.io/reference/spec/#httproute
func defineRoute(tb testing.TB, plane *controlplane.Plane) {
	tb.Helper()
	client := objects(tb, plane)
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{
			"name":        httpRoutes.Resource + "." + httpRoutes.Group,
			"annotations": map[string]any{"api-approved.kubernetes.io": "unapproved, a part of the real definition for tests"},
		},
		"spec": map[string]any{
			"group": httpRoutes.Group, "scope": "Namespaced",
			"names": map[string]any{"kind": "HTTPRoute", "listKind": "HTTPRouteList", "plural": httpRoutes.Resource, "singular": "httproute"},
			"versions": []any{map[string]any{
				"name": httpRoutes.Version, "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "properties": map[string]any{"spec": anything, "status": anything},
				}},
			}},
		},
	}}
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if _, err := client.Resource(definitions).Create(tb.Context(), definition, metav1.CreateOptions{}); err != nil {
		require.True(tb, apierrors.IsAlreadyExists(err), "define HTTPRoute: %v", err)
	}
	require.Eventually(tb, func() bool {
		_, err := client.Resource(httpRoutes).Namespace("default").List(tb.Context(), metav1.ListOptions{})
		return err == nil
	}, patience, poll, "the API server does not serve HTTPRoutes")
}

// leaveBehind makes a gateway say that it has seen the generation before the present
// one.
func leaveBehind(tb testing.TB, o *subject) {
	tb.Helper()
	live, err := o.read(tb.Context())
	require.NoError(tb, err)
	require.Greater(tb, live.GetGeneration(), int64(1))
	require.NoError(tb, unstructured.SetNestedSlice(live.Object, []any{map[string]any{
		"controllerName": "example.com/gateway",
		"conditions":     []any{map[string]any{"type": "Accepted", "status": "True", "observedGeneration": live.GetGeneration() - 1}},
	}}, "status", "parents"))
	_, err = o.all().UpdateStatus(tb.Context(), live, metav1.UpdateOptions{})
	require.NoError(tb, err)
}
