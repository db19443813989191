package flagger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// fresh is the Canary of these tests: initialized, and analysed in ten checks.
func fresh(t *testing.T, change func(spec, status map[string]any)) canary {
	t.Helper()
	spec := map[string]any{
		"targetRef": map[string]any{"kind": "Deployment", "name": "cart"},
		"analysis":  map[string]any{"interval": "30s", "iterations": int64(10)},
	}
	status := map[string]any{"phase": "Initialized"}
	if change != nil {
		change(spec, status)
	}
	c := canary{reference: reference{namespace: "shop", name: "cart"}}
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"spec": spec, "status": status}, &c.fields))
	return c
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(spec, status map[string]any)
		says   string // Empty when it is fit.
	}{
		{name: "initialized"},
		{name: "failed", change: func(_, status map[string]any) { status["phase"] = "Failed" }},
		{name: "new", change: func(_, status map[string]any) { status["phase"] = "" }, says: "is not initialized"},
		{name: "initializing", change: func(_, status map[string]any) { status["phase"] = "Initializing" }, says: "is not initialized"},
		{name: "terminating", change: func(_, status map[string]any) { status["phase"] = "Terminating" }, says: "is being deleted"},
		{name: "daemon set", change: func(spec, _ map[string]any) { spec["targetRef"] = map[string]any{"kind": "DaemonSet", "name": "cart"} }, says: "is a DaemonSet"},
		{name: "target elsewhere", change: func(spec, _ map[string]any) {
			spec["targetRef"] = map[string]any{"kind": "Deployment", "name": "cart/../x"}
		}, says: "has no target"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			why := fresh(t, test.change).unfit()
			require.Equal(t, test.says == "", why == "", why)
			require.Contains(t, why, test.says)
		})
	}
}

func TestAnalysisTakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		a      analysis
		checks int64
		every  time.Duration
	}{
		{"iterations", analysis{Interval: "30s", Iterations: 10, StepWeight: 5}, 10, 30 * time.Second},
		{"steps to a greatest weight", analysis{Interval: "1m", StepWeight: 20, MaxWeight: 50}, 3, time.Minute},
		{"steps to everything", analysis{Interval: "1m", StepWeight: 30}, 4, time.Minute},
		{"steps by name", analysis{Interval: "1m", StepWeights: []int64{1, 10, 50}}, 3, time.Minute},
		{"too short an interval", analysis{Interval: "1s", Iterations: 1}, 1, 10 * time.Second},
		{"no interval", analysis{}, 1, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.checks, test.a.checks())
			require.Equal(t, test.every, test.a.every())
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	p := pair{known: true, serves: past{number: 1, digest: "d1", label: "v1"}}
	served, other := incident.State{Revision: "1", Digest: "d1"}, incident.State{Revision: "3", Digest: "d3"}
	for _, test := range []struct {
		name   string
		change func(spec, status map[string]any)
		to     incident.State
		result incident.PreflightResult
		says   string
		took   time.Duration
	}{
		{name: "the primary runs it", to: served, result: incident.PreflightOK, says: "begins no analysis"},
		{name: "the primary runs it, suspended", change: func(spec, _ map[string]any) { spec["suspend"] = true }, to: served, result: incident.PreflightWarning, says: "keep the share of the traffic"},
		{name: "promoted", to: other, result: incident.PreflightWarning, says: "takes 6m0s if all 10 checks succeed", took: 6 * time.Minute},
		{name: "promoted, suspended", change: func(spec, _ map[string]any) { spec["suspend"] = true }, to: other, result: incident.PreflightBlocked, says: "would not take on revision 3"},
		{name: "promoted, without analysis", change: func(spec, _ map[string]any) { spec["skipAnalysis"] = true }, to: other, result: incident.PreflightOK, says: "skipAnalysis", took: time.Minute},
		{name: "a gate", change: func(spec, _ map[string]any) {
			spec["analysis"].(map[string]any)["webhooks"] = []any{map[string]any{"type": "confirm-promotion"}, map[string]any{"type": "rollout"}}
		}, to: other, result: incident.PreflightWarning, says: "has 1 webhooks that can hold it", took: 6 * time.Minute},
		{name: "in flight", change: func(_, status map[string]any) { status["phase"], status["canaryWeight"] = "Progressing", int64(20) }, to: served, result: incident.PreflightWarning, says: "in flight: Progressing, 20 % of the traffic"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var checks driver.Findings
			require.Equal(t, test.took, fresh(t, test.change).judge(&checks, p, test.to))
			require.Equal(t, test.result == incident.PreflightBlocked, checks.Blocked())
			for _, check := range checks {
				if check.Result == test.result {
					require.Contains(t, checks[len(checks)-1].Reason+check.Reason, test.says)
					return
				}
			}
			require.Fail(t, "no such check", "%v", checks)
		})
	}
}

// template is an object with a pod template.
func template(change func(metadata, spec map[string]any)) *unstructured.Unstructured {
	metadata := map[string]any{"labels": map[string]any{"app": "cart"}}
	spec := map[string]any{
		"containers": []any{map[string]any{"name": "cart", "image": "cart:v1", "envFrom": []any{map[string]any{"configMapRef": map[string]any{"name": "settings"}}}}},
		"volumes":    []any{map[string]any{"name": "tmp", "emptyDir": map[string]any{}}},
	}
	if change != nil {
		change(metadata, spec)
	}
	return &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": metadata, "spec": spec}}}}
}

func container(spec map[string]any) map[string]any {
	return spec["containers"].([]any)[0].(map[string]any)
}

func TestPromotes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		target, primary func(metadata, spec map[string]any)
		want            bool
	}{
		{name: "the same", want: true},
		{name: "as Flagger writes it", primary: func(metadata, spec map[string]any) {
			metadata["labels"] = map[string]any{"app": "cart-primary", "pod-template-hash": "x"}
			metadata["annotations"] = map[string]any{"flagger-id": "1"}
			container(spec)["envFrom"] = []any{map[string]any{"configMapRef": map[string]any{"name": "settings-primary"}}}
		}, want: true},
		{name: "annotations that Flagger leaves out", target: func(metadata, _ map[string]any) {
			metadata["annotations"] = map[string]any{"kustomize.toolkit.fluxcd.io/checksum": "1"}
			metadata["creationTimestamp"] = nil
		}, want: true},
		{name: "another image", primary: func(_, spec map[string]any) { container(spec)["image"] = "cart:v2" }},
		{name: "an image with the suffix", primary: func(_, spec map[string]any) { container(spec)["image"] = "cart:v1-primary" }},
		{name: "an image that is said to be the primary's", target: func(_, spec map[string]any) { container(spec)["image"] = "cart:v1-primary" }},
		{name: "another annotation", primary: func(metadata, _ map[string]any) { metadata["annotations"] = map[string]any{"a": "b"} }},
		{name: "one container more", primary: func(_, spec map[string]any) {
			spec["containers"] = append(spec["containers"].([]any), map[string]any{"name": "proxy"})
		}},
		{name: "another volume", primary: func(_, spec map[string]any) {
			spec["volumes"] = []any{map[string]any{"name": "tmp", "hostPath": map[string]any{}}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, promotes(template(test.target), template(test.primary)))
		})
	}
	require.False(t, promotes(&unstructured.Unstructured{Object: map[string]any{}}, template(nil)), "no template is like one")
}

func TestForward(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, from, to string
		want           bool
	}{
		{"a rollback", "12", "9", false},
		{"its way back", "9", "12", true},
		{"a state that is not recorded", "unrecorded", "12", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, forward(incident.Action{From: incident.State{Revision: test.from}, To: incident.State{Revision: test.to}}))
		})
	}
}

func TestBefore(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return began.Add(time.Duration(minutes) * time.Minute) }
	version := func(image string) *unstructured.Unstructured {
		return template(func(_, spec map[string]any) { container(spec)["image"] = image })
	}
	p := pair{
		// v2 was deployed and failed its analysis: the primary never ran it.
		target: deployment{object: named("cart"), past: []past{
			{number: 1, label: "v1", set: version("cart:v1"), created: at(0)},
			{number: 2, label: "v2", set: version("cart:v2"), created: at(10)},
			{number: 3, label: "v3", set: version("cart:v3"), created: at(20)},
		}},
		primary: deployment{object: named("cart-primary"), past: []past{
			{number: 1, set: version("cart:v0"), created: at(-10)},
			{number: 2, set: version("cart:v1"), created: at(1)},
			{number: 3, set: version("cart:v3"), created: at(25)},
		}},
	}
	for _, test := range []struct {
		name   string
		before time.Time
		want   int64
		says   string
	}{
		{"before a version that failed first", at(20), 1, "served revision 1 (v1)"},
		{"before a version that is analysed", at(25), 1, "served revision 1 (v1)"},
		{"after its promotion", at(26), 3, "served revision 3 (v3)"},
		{"what has left the history of the target", at(0), 0, "is not in the history of cart, which keeps 3 revisions"},
		{"before everything", at(-10), 0, "does not reach back"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var checks driver.Findings
			got, ok := p.before(&checks, test.before)
			require.Equal(t, test.want != 0, ok)
			require.Equal(t, test.want, got.number)
			require.Equal(t, !ok, checks.Blocked())
			require.Contains(t, checks[0].Reason, test.says)
		})
	}
}

func named(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": name}}}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	ref, err := parseTarget(incident.Target{Path: "shop/cart"})
	require.NoError(t, err)
	require.Equal(t, "shop/cart", ref.String())
	for _, path := range []string{"", "shop", "shop/", "/cart", "shop/cart/status", "shop/c%2Fart", "a%2f/b"} {
		_, err := parseTarget(incident.Target{Path: path})
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}
