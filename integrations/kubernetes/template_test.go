package kubernetes

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func TestParseTarget(t *testing.T) {
	t.Parallel()
	ref, err := parseTarget(incident.Target{System: "prod", Path: "deployment/shop/checkout"})
	require.NoError(t, err)
	require.Equal(t, "deployment/shop/checkout", ref.String())
	for _, path := range []string{"", "deployment/shop", "deployment//checkout", "deployment/shop/", "deployment/shop/checkout/extra", "Deployment/shop/checkout", "pod/shop/checkout"} {
		_, err := parseTarget(incident.Target{System: "prod", Path: path})
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}

func TestImageTag(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"shop":                              "",
		"shop:v1":                           "v1",
		"registry.example:5000/shop":        "",
		"registry.example:5000/team/shop:2": "2",
		"shop:v1@sha256:0123456789abcdef":   "v1",
		"shop@sha256:0123456789abcdef":      "01234567",
	} {
		require.Equal(t, want, imageTag(image), image)
	}
}

func TestDigestIsOfTheContentAlone(t *testing.T) {
	t.Parallel()
	base := func() map[string]any {
		return map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": "shop"}},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "shop", "image": "shop:v1"}}},
		}
	}
	digest := func(change func(template map[string]any)) string {
		fields := base()
		change(fields)
		read, err := templateOf(&unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": fields}}})
		require.NoError(t, err)
		sum, err := read.digest()
		require.NoError(t, err)
		return sum
	}
	plain := digest(func(map[string]any) {})
	require.True(t, incident.ValidDigest(plain))
	same := map[string]func(map[string]any){
		"hash label of a ReplicaSet": func(f map[string]any) {
			f["metadata"].(map[string]any)["labels"].(map[string]any)[hashLabel] = "abc"
		},
		"null": func(f map[string]any) { f["metadata"].(map[string]any)["creationTimestamp"] = nil },
	}
	for name, change := range same {
		require.Equal(t, plain, digest(change), name)
	}
	other := map[string]func(map[string]any){
		"label":                func(f map[string]any) { f["metadata"].(map[string]any)["labels"].(map[string]any)["tier"] = "web" },
		"field of a newer API": func(f map[string]any) { f["spec"].(map[string]any)["fromTheFuture"] = true },
		"annotation by a restart": func(f map[string]any) {
			f["metadata"].(map[string]any)["annotations"] = map[string]any{"restarted": "now"}
		},
		"a container more": func(f map[string]any) {
			f["spec"].(map[string]any)["initContainers"] = []any{map[string]any{"name": "a"}}
		},
		"an empty list, not absent": func(f map[string]any) { f["spec"].(map[string]any)["containers"] = []any{} },
	}
	for name, change := range other {
		require.NotEqual(t, plain, digest(change), name)
	}
	_, err := templateOf(&unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}})
	require.Error(t, err)
}

func TestReferences(t *testing.T) {
	t.Parallel()
	read := template{"spec": map[string]any{
		"containers": []any{map[string]any{
			"envFrom": []any{map[string]any{"configMapRef": map[string]any{"name": "settings"}}, map[string]any{"secretRef": map[string]any{"name": "keys"}}},
			"env": []any{
				map[string]any{"valueFrom": map[string]any{"configMapKeyRef": map[string]any{"name": "settings", "key": "a"}}},
				map[string]any{"valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "token", "key": "a"}}},
			},
		}},
		"volumes": []any{
			map[string]any{"configMap": map[string]any{"name": "files"}},
			map[string]any{"secret": map[string]any{"secretName": "tls"}},
			map[string]any{"projected": map[string]any{"sources": []any{map[string]any{"secret": map[string]any{"name": "mixed"}}}}},
		},
	}}
	configMaps, secrets := read.references()
	require.Equal(t, []string{"files", "settings"}, configMaps)
	require.Equal(t, []string{"keys", "mixed", "tls", "token"}, secrets)
}

func TestHistoryBefore(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	// v1 on the 1st, v2 on the 5th, v1 again at a time that nobody recorded, v3 on
	// the 10th.
	h := newHistory([]revision{
		{number: 3, former: []int64{1}, digest: "v1", created: day(1)},
		{number: 4, digest: "v3", created: day(10)},
		{number: 2, digest: "v2", created: day(5)},
	}, day(11))
	tests := []struct {
		name    string
		moment  time.Time
		want    int64
		certain bool
	}{
		{name: "before everything", moment: day(1)},
		{name: "in the time of the first", moment: day(3), want: 1, certain: true},
		{name: "when the second came", moment: day(5), want: 1, certain: true},
		{name: "between the second and the third, which may have come back by then", moment: day(7), want: 3},
		{name: "when the last came", moment: day(10), want: 3, certain: true},
		{name: "now", moment: day(12), want: 4, certain: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			act, certain, ok := h.before(test.moment)
			require.Equal(t, test.want != 0, ok)
			if ok {
				require.Equal(t, test.want, act.number)
				require.Equal(t, test.certain, certain)
			}
		})
	}
}
