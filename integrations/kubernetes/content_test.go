package kubernetes

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func TestParseObject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, path string
		refused    string // Empty for what is good.
	}{
		{name: "core", path: "v1/configmaps/shop/settings"},
		{name: "group", path: "gateway.networking.k8s.io/v1/httproutes/shop/web"},
		{name: "name of a role", path: "rbac.authorization.k8s.io/v1/roles/shop/shop:Reader"},
		{name: "too short", path: "configmaps/shop/settings", refused: "want"},
		{name: "too long", path: "a/v1/configmaps/shop/settings/status", refused: "want"},
		{name: "empty group", path: "/v1/configmaps/shop/settings", refused: "want"},
		{name: "empty name", path: "v1/configmaps/shop/", refused: "want"},
		{name: "up the tree", path: "v1/configmaps/../settings", refused: "want"},
		{name: "name up the tree", path: "v1/configmaps/shop/..", refused: "want"},
		{name: "escaped", path: "v1/configmaps/shop/a%2fb", refused: "want"},
		{name: "query", path: "v1/configmaps?x=y/shop/a", refused: "want"},
		{name: "secret", path: "v1/secrets/shop/password", refused: "rotated"},
		{name: "secret in disguise", path: "v2/secrets/shop/password", refused: "rotated"},
		{name: "workload", path: "apps/v1/deployments/shop/web", refused: "kubernetes.workload"},
		{name: "captured state", path: "apps/v1/controllerrevisions/shop/backout-1", refused: "never changed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ref, err := parseObject(incident.Target{System: "prod", Path: test.path})
			if test.refused != "" {
				require.ErrorIs(t, err, driver.ErrInvalid)
				require.ErrorContains(t, err, test.refused)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.path, ref.String())
		})
	}
}

func TestContentIsAllButTypeMetadataAndStatus(t *testing.T) {
	t.Parallel()
	live := func() *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"},
			"data": map[string]any{"a": "b"}, "immutable": nil,
		}}
	}
	digest := func(object *unstructured.Unstructured) string {
		d, err := contentOf(object).digest()
		require.NoError(t, err)
		return d
	}
	plain := digest(live())
	same := live()
	same.Object["status"] = map[string]any{"a": "b"}
	same.SetLabels(map[string]string{"a": "b"})
	same.SetResourceVersion("7")
	delete(same.Object, "immutable")
	require.Equal(t, plain, digest(same))
	for name, change := range map[string]func(map[string]any){
		"a value":         func(o map[string]any) { o["data"].(map[string]any)["a"] = "c" },
		"a key more":      func(o map[string]any) { o["data"].(map[string]any)["c"] = "" },
		"a field more":    func(o map[string]any) { o["binaryData"] = map[string]any{"a": "AA=="} },
		"an empty object": func(o map[string]any) { o["binaryData"] = map[string]any{} },
	} {
		other := live()
		change(other.Object)
		require.NotEqual(t, plain, digest(other), name)
	}
}

func TestDifferenceTellsNoText(t *testing.T) {
	t.Parallel()
	configMap := objectReference{}
	service, err := parseObject(incident.Target{Path: "v1/services/shop/web"})
	require.NoError(t, err)
	tests := []struct {
		name     string
		of       objectReference
		from, to content
		want     string
	}{
		{"text", configMap, content{"data": map[string]any{"password": "hunter2"}}, content{"data": map[string]any{"password": "sesame"}}, "data.password changed"},
		{"keys", configMap, content{"data": map[string]any{"a": "hunter2"}}, content{"data": map[string]any{"b": "sesame"}}, "data.a removed; data.b added"},
		{"whole field", configMap, content{"data": map[string]any{"a": "hunter2"}}, content{}, "data.a removed"},
		{"numbers", configMap, content{"spec": map[string]any{"max": int64(10)}}, content{"spec": map[string]any{"max": int64(2)}}, "spec.max changed: 10 to 2"},
		{"switch", configMap, content{}, content{"immutable": true}, "immutable added: true"},
		{"list", configMap, content{"rules": []any{"hunter2"}}, content{"rules": []any{"sesame"}}, "rules changed"},
		{"selector", service, content{"spec": map[string]any{"selector": map[string]any{"v": "blue"}}}, content{"spec": map[string]any{"selector": map[string]any{"v": "green"}}}, "spec.selector.v changed: blue to green"},
		{"other text of a service", service, content{"spec": map[string]any{"externalName": "a"}}, content{"spec": map[string]any{"externalName": "b"}}, "spec.externalName changed"},
		{"control characters", configMap, content{}, content{"spec": map[string]any{"a\n\x1b[31m": int64(1)}}, "spec.a  [31m added: 1"},
		{
			"many", configMap,
			content{},
			content{"data": map[string]any{"a": "", "b": "", "c": "", "d": "", "e": "", "f": "", "g": "", "h": ""}},
			"data.a added; data.b added; data.c added; data.d added; data.e added; data.f added; and 2 more",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, test.of.difference(test.from, test.to))
		})
	}
}

func TestTakenUp(t *testing.T) {
	t.Parallel()
	object := func(status map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"status": status}}
		o.SetGeneration(3)
		return o
	}
	parent := func(generation int64) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": "Accepted", "observedGeneration": generation}}}
	}
	tests := []struct {
		name    string
		status  map[string]any
		settled bool
	}{
		{"no status", nil, true},
		{"seen", map[string]any{"observedGeneration": int64(3)}, true},
		{"not seen", map[string]any{"observedGeneration": int64(2)}, false},
		{"all parents", map[string]any{"parents": []any{parent(3), parent(4)}}, true},
		{"one parent not", map[string]any{"parents": []any{parent(3), parent(2)}}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			settled, detail := takenUp(object(test.status))
			require.Equal(t, test.settled, settled)
			require.NotEmpty(t, detail)
		})
	}
	settled, _ := takenUp(&unstructured.Unstructured{Object: map[string]any{"data": map[string]any{}}})
	require.True(t, settled, "what has no generation is taken up as it is")
}

// kept is a captured state as it stands in the cluster.
func kept(path, digit string, number int64, annotation string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"name": "backout-" + digit}, "revision": number,
		"data": map[string]any{"object": path, "version": "v1\n", "content": map[string]any{"data": map[string]any{"a": digit}}},
	}}
	if annotation != "" {
		object.SetAnnotations(map[string]string{placedAnnotation: annotation})
	}
	object.SetCreationTimestamp(metav1.Unix(1000, 0))
	return object
}

func TestReadCaptured(t *testing.T) {
	t.Parallel()
	const path = "v1/configmaps/shop/settings"
	ref, err := parseObject(incident.Target{Path: path})
	require.NoError(t, err)

	state, ok, err := readCaptured(ref, kept(path, "1", 7, ""))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "v1 ", state.label)
	require.Len(t, state.placed, 1, "what somebody else captured was put in place then")
	require.EqualValues(t, 1000, state.placed[0].At.Unix())
	require.EqualValues(t, 7, state.placed[0].Number)
	want, err := content{"data": map[string]any{"a": "1"}}.digest()
	require.NoError(t, err)
	require.Equal(t, want, state.digest)

	state, _, err = readCaptured(ref, kept(path, "1", 7, "no JSON"))
	require.NoError(t, err)
	require.Len(t, state.placed, 1, "an annotation that is no list is none")

	_, ok, err = readCaptured(ref, kept("v1/configmaps/shop/other", "1", 7, ""))
	require.NoError(t, err)
	require.False(t, ok, "a captured state of another object")
	broken := kept(path, "1", 7, "")
	broken.Object["data"] = map[string]any{"object": path, "content": "text"}
	_, ok, err = readCaptured(ref, broken)
	require.NoError(t, err)
	require.False(t, ok)
}
