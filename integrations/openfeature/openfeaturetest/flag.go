package openfeaturetest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/kubernetes" // The type of its systems.
	"github.com/backout/backout/integrations/kubernetes/kubernetestest"
	_ "github.com/backout/backout/integrations/openfeature" // The kind under test.
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
)

func init() { drivertest.Register(Switched()) }

// The names of what every test works on. Neighbour is a flag of the same object that
// has to stay as it is.
const (
	Object    = "shop"
	Flag      = "checkout.fast-path"
	Neighbour = "banner"
)

// Switched is the case of "flag.openfeature": a flag whose default was switched, and
// which got another targeting in the same change.
func Switched() drivertest.Case {
	return drivertest.Case{
		Kind:  "flag.openfeature",
		Start: startSwitched,
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {Says: "does not exist", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				request := t.Request
				request.Target.Path = strings.Replace(request.Target.Path, "/"+Object+"/", "/absent/", 1)
				return request, drivertest.Owner
			}},
			drivertest.MissingRevision: {Says: "No state 1 was captured", Arrange: func(tb testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				tb.Helper()
				worldOf(tb, t).Forget(tb, t.Request.Revision)
				return t.Request, drivertest.Owner
			}},
			drivertest.MissingPermission: {Says: "may not patch", Arrange: func(_ testing.TB, t *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				return t.Request, drivertest.Reader
			}},
			drivertest.DeployInFlight: {NotApplicable: "a write of a FeatureFlag is one step, and nothing says whether the evaluators have seen it"},
			drivertest.ClosedWindow:   {NotApplicable: "a captured state can be gone back to for as long as it is kept"},
		},
	}
}

// World is a FeatureFlag object in a namespace of its own, seen with all rights.
type World struct {
	Namespace string
	client    dynamic.Interface
}

// worldOf finds the object of a target that startSwitched has made.
func worldOf(tb testing.TB, t *drivertest.Target) *World {
	tb.Helper()
	namespace, _, _ := strings.Cut(t.Request.Target.Path, "/")
	return &World{Namespace: namespace, client: kubernetestest.Objects(tb, controlplane.Require(tb))}
}

// Start makes a FeatureFlag object with two flags, and grants the users what the
// kind's descriptor asks for.
func Start(tb testing.TB, secret string) *World {
	tb.Helper()
	plane := controlplane.Require(tb)
	Define(tb, plane)
	w := &World{Namespace: plane.Namespace(tb), client: kubernetestest.Objects(tb, plane)}
	reading := []rbacv1.PolicyRule{
		{APIGroups: []string{FeatureFlags.Group}, Resources: []string{FeatureFlags.Resource}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"list"}},
	}
	plane.Grant(tb, w.Namespace, kubernetestest.User(drivertest.Reader), reading...)
	plane.Grant(tb, w.Namespace, kubernetestest.User(drivertest.Owner), append(reading,
		rbacv1.PolicyRule{APIGroups: []string{FeatureFlags.Group}, Resources: []string{FeatureFlags.Resource}, Verbs: []string{"patch"}},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"create"}},
	)...)
	variants := map[string]any{"on": true, "off": false, "message": secret}
	_, err := w.all().Create(tb.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": FeatureFlags.GroupVersion().String(), "kind": "FeatureFlag", "metadata": map[string]any{"name": Object},
		"spec": map[string]any{"flagSpec": map[string]any{"flags": map[string]any{
			Flag: map[string]any{
				"state": "ENABLED", "variants": variants, "defaultVariant": "off",
				"targeting": map[string]any{"if": []any{map[string]any{"==": []any{map[string]any{"var": "email"}, secret}}, "on"}},
			},
			Neighbour: map[string]any{"state": "ENABLED", "variants": map[string]any{"on": true}, "defaultVariant": "on"},
		}}},
	}}, metav1.CreateOptions{})
	require.NoError(tb, err)
	return w
}

func (w *World) all() dynamic.ResourceInterface {
	return w.client.Resource(FeatureFlags).Namespace(w.Namespace)
}

// Target is a flag of the object.
func (w *World) Target(flag string) incident.Target {
	return incident.Target{System: "cluster", Path: w.Namespace + "/" + Object + "/" + flag}
}

// System is the configuration of a connection with all rights.
func System(tb testing.TB) driver.System {
	tb.Helper()
	return driver.System{Name: "cluster", Type: "kubernetes", Decode: drivertest.Settings(map[string]string{"kubeconfig": controlplane.Require(tb).Kubeconfig})}
}

// Record captures the present state of a flag.
func (w *World) Record(tb testing.TB, flag string) incident.State {
	tb.Helper()
	set, err := driver.Open(tb.Context(), []driver.System{System(tb)})
	require.NoError(tb, err)
	defer func() { require.NoError(tb, set.Close()) }()
	recorder, err := set.Recorder("flag.openfeature", "cluster")
	require.NoError(tb, err)
	state, err := recorder.Record(tb.Context(), w.Target(flag))
	require.NoError(tb, err)
	return state
}

// Write merges fields into a flag, or takes it away when they are nil, as people with
// kubectl do.
func (w *World) Write(ctx context.Context, flag string, fields any) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"flagSpec": map[string]any{"flags": map[string]any{flag: fields}}}})
	if err != nil {
		return fmt.Errorf("encode flag: %w", err)
	}
	if _, err := w.all().Patch(ctx, Object, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch FeatureFlag: %w", err)
	}
	return nil
}

// Read is a flag as it is now; nil when there is none.
func (w *World) Read(ctx context.Context, flag string) (map[string]any, error) {
	live, err := w.all().Get(ctx, Object, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read FeatureFlag: %w", err)
	}
	said, _, err := unstructured.NestedMap(live.Object, "spec", "flagSpec", "flags", flag)
	if err != nil {
		return nil, fmt.Errorf("read flag: %w", err)
	}
	return said, nil
}

// Changes is how often the specification was changed since it was created: the API
// server counts that as the generation.
func (w *World) Changes(ctx context.Context) (int, error) {
	live, err := w.all().Get(ctx, Object, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("read FeatureFlag: %w", err)
	}
	return int(live.GetGeneration()), nil
}

// Age is how long ago the object was made, as far as whole seconds tell.
func (w *World) Age(tb testing.TB) time.Duration {
	tb.Helper()
	live, err := w.all().Get(tb.Context(), Object, metav1.GetOptions{})
	require.NoError(tb, err)
	return time.Since(live.GetCreationTimestamp().Time)
}

// Forget deletes a captured state of the object.
func (w *World) Forget(tb testing.TB, revision string) {
	tb.Helper()
	all := w.client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "controllerrevisions"}).Namespace(w.Namespace)
	kept, err := all.List(tb.Context(), metav1.ListOptions{})
	require.NoError(tb, err)
	for _, state := range kept.Items {
		if number, _, _ := unstructured.NestedInt64(state.Object, "revision"); fmt.Sprint(number) == revision {
			require.NoError(tb, all.Delete(tb.Context(), state.GetName(), metav1.DeleteOptions{}))
		}
	}
}

// startSwitched captures the good state and the bad one, and asks for the first.
func startSwitched(tb testing.TB) *drivertest.Target {
	tb.Helper()
	secret := "canary-" + rand.Text()
	w := Start(tb, secret)
	require.Equal(tb, "1", w.Record(tb, Flag).Revision)
	require.NoError(tb, w.Write(tb.Context(), Flag, map[string]any{"defaultVariant": "on", "targeting": nil}))
	require.Equal(tb, "2", w.Record(tb, Flag).Revision)
	connection := kubernetestest.Connect(tb, controlplane.Require(tb))
	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: w.Target(Flag).Path}, Revision: "1"},
		Upstream: connection.Upstream,
		Connect:  connection.Connect,
		Throttle: connection.Throttle,
		Digest: func(ctx context.Context) (string, error) {
			flag, err := w.Read(ctx, Flag)
			if err != nil {
				return "", err
			}
			content, err := json.Marshal(flag)
			if err != nil {
				return "", fmt.Errorf("encode flag: %w", err)
			}
			return incident.DigestOf(content), nil
		},
		Mutations:  w.Changes,
		Interfere:  func(ctx context.Context) error { return w.Write(ctx, Flag, map[string]any{"state": "DISABLED"}) },
		Difference: "state changed: ENABLED to DISABLED",
		Canaries:   append([]string{secret}, connection.Tokens...),
	}
}
