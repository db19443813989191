package argo

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// said is a template as people write it, and held as a ReplicaSet holds it.
func said() map[string]any {
	return map[string]any{
		"metadata": map[string]any{"creationTimestamp": nil, "labels": map[string]any{"app": "cart"}},
		"spec": map[string]any{
			"hostNetwork": false,
			"containers": []any{map[string]any{
				"name": "cart", "image": "registry.example:5000/cart:v2", "args": []any{"--fast"}, "env": []any{},
				"ports":         []any{map[string]any{"containerPort": int64(80)}},
				"resources":     map[string]any{"limits": map[string]any{"cpu": 0.5, "memory": "1024Mi"}},
				"livenessProbe": map[string]any{"httpGet": map[string]any{"port": int64(80)}},
			}},
			"serviceAccountName": "cart",
			"volumes":            []any{map[string]any{"name": "settings", "configMap": map[string]any{"name": "settings"}}},
		},
	}
}

func held() map[string]any {
	return map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"app": "cart"}},
		"spec": map[string]any{
			"containers": []any{map[string]any{
				"name": "cart", "image": "registry.example:5000/cart:v2", "args": []any{"--fast"}, "imagePullPolicy": "IfNotPresent",
				"ports":     []any{map[string]any{"containerPort": int64(80), "protocol": "TCP"}},
				"resources": map[string]any{"limits": map[string]any{"cpu": "500m", "memory": "1Gi"}},
				"livenessProbe": map[string]any{
					"httpGet":        map[string]any{"port": int64(80), "path": "/", "scheme": "HTTP"},
					"timeoutSeconds": int64(1), "periodSeconds": int64(10), "successThreshold": int64(1), "failureThreshold": int64(3),
				},
				"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
			}},
			"serviceAccountName": "cart", "serviceAccount": "cart",
			"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
			"terminationGracePeriodSeconds": int64(30), "securityContext": map[string]any{},
			"volumes": []any{map[string]any{"name": "settings", "configMap": map[string]any{"name": "settings", "defaultMode": int64(420)}}},
		},
	}
}

func TestSameTemplate(t *testing.T) {
	t.Parallel()
	of := func(template map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": template}}}
	}
	container := func(template map[string]any) map[string]any {
		return template["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
	}
	for _, test := range []struct {
		name   string
		change func(template map[string]any)
		want   bool
	}{
		{name: "defaults filled in", change: func(map[string]any) {}, want: true},
		{name: "a default that is said", change: func(template map[string]any) { template["spec"].(map[string]any)["dnsPolicy"] = "ClusterFirst" }, want: true},
		{name: "another image", change: func(template map[string]any) { container(template)["image"] = "registry.example:5000/cart:v3" }},
		{name: "an argument removed", change: func(template map[string]any) { delete(container(template), "args") }},
		{name: "a limit removed", change: func(template map[string]any) { delete(container(template), "resources") }},
		{name: "a volume removed", change: func(template map[string]any) { delete(template["spec"].(map[string]any), "volumes") }},
		{name: "a label removed", change: func(template map[string]any) { delete(template, "metadata") }},
		{name: "another policy", change: func(template map[string]any) { container(template)["imagePullPolicy"] = "Always" }},
		{name: "no template", change: func(template map[string]any) { template["spec"] = "none" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			template := said()
			test.change(template)
			require.Equal(t, test.want, sameTemplate(of(template), of(held())))
		})
	}
	require.False(t, sameTemplate(&unstructured.Unstructured{Object: map[string]any{}}, of(held())))
}

func TestPullPolicy(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"cart": "Always", "cart:latest": "Always", "registry.example:5000/cart": "Always",
		"cart:v1": "IfNotPresent", "registry.example:5000/cart:v1": "IfNotPresent",
		"cart@sha256:abc": "IfNotPresent", "cart:latest@sha256:abc": "Always",
	} {
		require.Equal(t, want, string(pullPolicy(image)), image)
	}
}
