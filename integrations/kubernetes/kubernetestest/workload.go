package kubernetestest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
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
	"k8s.io/client-go/tools/clientcmd"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/kubernetes" // The kinds under test.
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
)

const (
	goodImage  = "registry.example/shop:v1"
	newImage   = "registry.example/shop:v2"
	otherImage = "registry.example/shop:v3"
	badImage   = "registry.example/shop:v3-bad" // Never becomes ready.

	name = "shop"

	// patience bounds each wait for a controller; poll is the time between looks.
	patience = time.Minute
	poll     = 10 * time.Millisecond
)

// The users of the test control plane, by credential.
var users = map[drivertest.Credential]string{
	drivertest.Owner:  "backout",
	drivertest.Reader: "reader",
}

func init() {
	for _, form := range []form{deployment, statefulSet, daemonSet} {
		drivertest.Register(workloads(form))
	}
}

// form is one kind of workload.
type form struct {
	// path is the first part of a target's path.
	path, kind string
	resource   schema.GroupVersionResource
	// history keeps the templates.
	history schema.GroupVersionResource
	// spec is what the kind needs beside the fields that all have.
	spec map[string]any
}

func apps(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}
}

// The forms of a workload.
var (
	deployment = form{
		path: "deployment", kind: "Deployment", resource: apps("deployments"), history: apps("replicasets"),
		spec: map[string]any{"replicas": int64(1)},
	}
	statefulSet = form{
		path: "statefulset", kind: "StatefulSet", resource: apps("statefulsets"), history: apps("controllerrevisions"),
		spec: map[string]any{"replicas": int64(1), "serviceName": name},
	}
	daemonSet = form{
		path: "daemonset", kind: "DaemonSet", resource: apps("daemonsets"), history: apps("controllerrevisions"),
	}
)

// workloads is the case of one form.
func workloads(form form) drivertest.Case {
	return drivertest.Case{
		Kind:  "kubernetes.workload",
		Form:  form.kind,
		Start: func(tb testing.TB) *drivertest.Target { tb.Helper(); return start(tb, form) },
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {
				Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					request := target.Request
					request.Target.Path += "-absent"
					return request, drivertest.Owner
				},
				Says: "does not exist",
			},
			drivertest.MissingRevision: {
				Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					tb.Helper()
					workloadOf(tb, form, target).forget()
					return target.Request, drivertest.Owner
				},
				Says: "is not in the history",
			},
			drivertest.DeployInFlight: {
				Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					tb.Helper()
					workloadOf(tb, form, target).deploy(badImage)
					return target.Request, drivertest.Owner
				},
				Says:  "is in flight",
				Warns: true, // To stop a bad rollout half way is when a rollback helps most.
			},
			drivertest.ClosedWindow: {
				NotApplicable: "a revision can be gone back to for as long as it is in the history",
			},
			drivertest.MissingPermission: {
				Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					return target.Request, drivertest.Reader
				},
				Says: "may not patch",
			},
		},
	}
}

// workload is one workload in a namespace of its own, seen with all rights.
type workload struct {
	form
	tb        testing.TB
	client    dynamic.Interface
	namespace string
}

// workloadOf finds the workload of a target that start has made.
func workloadOf(tb testing.TB, form form, target *drivertest.Target) *workload {
	tb.Helper()
	parts := strings.Split(target.Request.Target.Path, "/")
	require.Len(tb, parts, 3)
	return &workload{form: form, tb: tb, client: objects(tb, controlplane.Require(tb)), namespace: parts[1]}
}

// objects is a client with all rights.
func objects(tb testing.TB, plane *controlplane.Plane) dynamic.Interface {
	tb.Helper()
	client, err := dynamic.NewForConfig(plane.Config(tb, "admin"))
	require.NoError(tb, err)
	return client
}

// start deploys v1 and v2, and asks for revision 1.
func start(tb testing.TB, form form) *drivertest.Target {
	tb.Helper()
	plane := controlplane.Require(tb)
	w := &workload{form: form, tb: tb, client: objects(tb, plane), namespace: plane.Namespace(tb)}
	reading := []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{form.resource.Resource}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{form.history.Resource}, Verbs: []string{"list"}},
	}
	plane.Grant(tb, w.namespace, users[drivertest.Reader], reading...)
	plane.Grant(tb, w.namespace, users[drivertest.Owner], append(reading,
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{form.resource.Resource}, Verbs: []string{"patch"}})...)

	password := rand.Text()
	_, err := w.all().Create(tb.Context(), form.manifest(goodImage, password), metav1.CreateOptions{})
	require.NoError(tb, err)
	require.NoError(tb, w.observed(tb.Context()))
	w.deploy(newImage)

	front, connect := connected(tb, plane)
	return &drivertest.Target{
		Request:    driver.PlanRequest{Target: incident.Target{Path: form.path + "/" + w.namespace + "/" + name}, Revision: "1"},
		Upstream:   front.address(),
		Connect:    connect,
		Digest:     w.digest,
		Mutations:  w.mutations,
		Interfere:  w.interfere,
		Difference: "image of shop: " + newImage + " to " + otherImage,
		Throttle:   front.throttle,
		Canaries:   []string{password, token(tb, plane, drivertest.Owner), token(tb, plane, drivertest.Reader)},
	}
}

// connected is a front before the API server, and the configuration of a connection
// to it.
func connected(tb testing.TB, plane *controlplane.Plane) (*front, func(address string, as drivertest.Credential) driver.System) {
	tb.Helper()
	front := newFront(tb, plane)
	return front, func(address string, as drivertest.Credential) driver.System {
		return system(plane.KubeconfigTo(tb, users[as], "https://"+address, front.authority()))
	}
}

func system(kubeconfig string) driver.System {
	return driver.System{Name: "cluster", Type: "kubernetes", Decode: drivertest.Settings(map[string]string{"kubeconfig": kubeconfig})}
}

// token is the bearer token of a user.
func token(tb testing.TB, plane *controlplane.Plane, as drivertest.Credential) string {
	tb.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", plane.UserKubeconfig(tb, users[as]))
	require.NoError(tb, err)
	return cfg.BearerToken
}

func (f form) manifest(image, password string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec": map[string]any{
				// No controller takes the taint off with which every Node begins.
				"tolerations": []any{map[string]any{"operator": "Exists"}},
				"containers": []any{map[string]any{
					"name": name, "image": image, "args": []any{"--password=" + password},
					"env": []any{map[string]any{"name": "PASSWORD", "value": password}},
				}},
			},
		},
	}
	maps.Copy(spec, f.spec)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": f.resource.GroupVersion().String(), "kind": f.kind, "metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

// all are the workloads of the form in the namespace.
func (w *workload) all() dynamic.ResourceInterface {
	return w.client.Resource(w.resource).Namespace(w.namespace)
}

// digest is of the pod template.
func (w *workload) digest(ctx context.Context) (string, error) {
	d, err := w.read(ctx)
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(d.Object["spec"].(map[string]any)["template"])
	if err != nil {
		return "", fmt.Errorf("encode pod template: %w", err)
	}
	return incident.DigestOf(content), nil
}

// mutations is how often the specification was changed since it was created: the
// API server counts that as the generation.
func (w *workload) mutations(ctx context.Context) (int, error) {
	d, err := w.read(ctx)
	if err != nil {
		return 0, err
	}
	return int(d.GetGeneration()), nil
}

func (w *workload) read(ctx context.Context) (*unstructured.Unstructured, error) {
	d, err := w.all().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read workload: %w", err)
	}
	return d, nil
}

func (w *workload) patch(ctx context.Context, patch string) error {
	_, err := w.all().Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch workload: %w", err)
	}
	return nil
}

func (w *workload) setImage(ctx context.Context, image string) error {
	return w.patch(ctx, `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"`+image+`"}]`)
}

// interfere deploys what nobody planned with. It may be called beside the test's
// own goroutine.
func (w *workload) interfere(ctx context.Context) error {
	if err := w.setImage(ctx, otherImage); err != nil {
		return err
	}
	return w.observed(ctx)
}

// deploy sets the image and waits until the controller has recorded it.
func (w *workload) deploy(image string) {
	w.tb.Helper()
	require.NoError(w.tb, w.setImage(w.tb.Context(), image))
	require.NoError(w.tb, w.observed(w.tb.Context()))
}

// observed returns when the controller has recorded the present template.
func (w *workload) observed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		d, err := w.read(ctx)
		if err != nil {
			return err
		}
		seen, _, _ := unstructured.NestedInt64(d.Object, "status", "observedGeneration") // Absent is 0.
		if seen >= d.GetGeneration() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the controller: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// forget drops all old revisions, once the present one is available.
func (w *workload) forget() {
	w.tb.Helper()
	require.NoError(w.tb, w.patch(w.tb.Context(), `[{"op":"replace","path":"/spec/revisionHistoryLimit","value":0}]`))
	require.Eventually(w.tb, func() bool {
		kept, err := w.client.Resource(w.history).Namespace(w.namespace).List(w.tb.Context(), metav1.ListOptions{})
		return err == nil && len(kept.Items) == 1
	}, patience, poll, "the old revisions stay")
}
