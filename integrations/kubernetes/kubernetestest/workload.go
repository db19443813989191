package kubernetestest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
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

func init() { drivertest.Register(deployments()) }

// deployments is the case of a Deployment.
func deployments() drivertest.Case {
	return drivertest.Case{
		Kind:  "kubernetes.workload",
		Start: start,
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
					workloadOf(tb, target).forget()
					return target.Request, drivertest.Owner
				},
				Says: "is not in the history",
			},
			drivertest.DeployInFlight: {
				Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					tb.Helper()
					workloadOf(tb, target).deploy(badImage)
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

// workload is one Deployment in a namespace of its own, seen with all rights.
type workload struct {
	tb        testing.TB
	client    kubernetes.Interface
	namespace string
}

// workloadOf finds the workload of a target that start has made.
func workloadOf(tb testing.TB, target *drivertest.Target) *workload {
	tb.Helper()
	parts := strings.Split(target.Request.Target.Path, "/")
	require.Len(tb, parts, 3)
	return &workload{tb: tb, client: controlplane.Require(tb).Client(tb, "admin"), namespace: parts[1]}
}

// start deploys v1 and v2, and asks for revision 1.
func start(tb testing.TB) *drivertest.Target {
	tb.Helper()
	plane := controlplane.Require(tb)
	front := newFront(tb, plane)
	w := &workload{tb: tb, client: plane.Client(tb, "admin"), namespace: plane.Namespace(tb)}
	reading := []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list"}},
	}
	plane.Grant(tb, w.namespace, users[drivertest.Reader], reading...)
	plane.Grant(tb, w.namespace, users[drivertest.Owner], append(reading,
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"patch"}})...)

	password := rand.Text()
	_, err := w.client.AppsV1().Deployments(w.namespace).Create(tb.Context(), manifest(goodImage, password), metav1.CreateOptions{})
	require.NoError(tb, err)
	require.NoError(tb, w.observed(tb.Context()))
	w.deploy(newImage)

	return &drivertest.Target{
		Request:  driver.PlanRequest{Target: incident.Target{Path: "deployment/" + w.namespace + "/" + name}, Revision: "1"},
		Upstream: front.address(),
		Connect: func(address string, as drivertest.Credential) driver.System {
			kubeconfig := plane.KubeconfigTo(tb, users[as], "https://"+address, front.authority())
			return driver.System{Name: "cluster", Type: "kubernetes", Decode: drivertest.Settings(map[string]string{"kubeconfig": kubeconfig})}
		},
		Digest:     w.digest,
		Mutations:  w.mutations,
		Interfere:  w.interfere,
		Difference: "image of shop: " + newImage + " to " + otherImage,
		Throttle:   front.throttle,
		Canaries:   []string{password, token(tb, plane, drivertest.Owner), token(tb, plane, drivertest.Reader)},
	}
}

// token is the bearer token of a user.
func token(tb testing.TB, plane *controlplane.Plane, as drivertest.Credential) string {
	tb.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", plane.UserKubeconfig(tb, users[as]))
	require.NoError(tb, err)
	return cfg.BearerToken
}

func manifest(image, password string) *appsv1.Deployment {
	replicas, labels := int32(1), map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: name, Image: image, Env: []corev1.EnvVar{{Name: "PASSWORD", Value: password}}, Args: []string{"--password=" + password},
				}}},
			},
		},
	}
}

// digest is of the pod template, whose field order is that of its Go type.
func (w *workload) digest(ctx context.Context) (string, error) {
	d, err := w.read(ctx)
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(d.Spec.Template)
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
	return int(d.Generation), nil
}

func (w *workload) read(ctx context.Context) (*appsv1.Deployment, error) {
	d, err := w.client.AppsV1().Deployments(w.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read deployment: %w", err)
	}
	return d, nil
}

func (w *workload) patch(ctx context.Context, patch string) error {
	_, err := w.client.AppsV1().Deployments(w.namespace).Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch deployment: %w", err)
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
		if d.Status.ObservedGeneration >= d.Generation {
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
		sets, err := w.client.AppsV1().ReplicaSets(w.namespace).List(w.tb.Context(), metav1.ListOptions{})
		return err == nil && len(sets.Items) == 1
	}, patience, poll, "the old revisions stay")
}
