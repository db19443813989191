package kubernetes_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"github.com/backout/backout/integrations/driver"
	_ "github.com/backout/backout/integrations/kubernetes"
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
)

const (
	kind   = "kubernetes.workload"
	system = "test"
	// patience bounds every wait. A rollout takes half a second when nothing else
	// runs.
	patience = time.Minute
)

// world is one Deployment in a namespace of its own.
type world struct {
	t         *testing.T
	plane     *controlplane.Plane
	admin     kubernetes.Interface
	namespace string
	target    incident.Target
}

func newWorld(t *testing.T) *world {
	t.Helper()
	plane := controlplane.Require(t)
	namespace := plane.Namespace(t)
	return &world{
		t: t, plane: plane, admin: plane.Client(t, "admin"), namespace: namespace,
		target: incident.Target{System: system, Path: "deployment/" + namespace + "/shop"},
	}
}

// connect opens the system with a kubeconfig.
func connect(t *testing.T, kubeconfig string) *driver.Set {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{systemOf(kubeconfig)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	return set
}

func systemOf(kubeconfig string) driver.System {
	return driver.System{Name: system, Type: "kubernetes", Decode: func(into any) error {
		text, err := json.Marshal(map[string]string{"kubeconfig": kubeconfig, "author_annotation": "example.com/author"})
		if err != nil {
			return err
		}
		return json.Unmarshal(text, into)
	}}
}

func inverseOf(t *testing.T, kubeconfig string) driver.Inverse {
	t.Helper()
	inverse, err := connect(t, kubeconfig).Inverse(kind, system)
	require.NoError(t, err)
	return inverse
}

func (w *world) inverse() driver.Inverse {
	w.t.Helper()
	return inverseOf(w.t, w.plane.Kubeconfig)
}

// deploy creates the Deployment or sets its image, and waits until its controller
// has recorded the template.
func (w *world) deploy(image string) {
	w.t.Helper()
	api := w.admin.AppsV1().Deployments(w.namespace)
	if _, err := api.Get(w.t.Context(), "shop", metav1.GetOptions{}); err != nil {
		_, err := api.Create(w.t.Context(), shop(image), metav1.CreateOptions{})
		require.NoError(w.t, err)
	} else {
		w.update(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = image })
	}
	w.await(func(d *appsv1.Deployment) bool { return d.Status.ObservedGeneration >= d.Generation }, "the controller does not see the Deployment")
}

// release deploys a good image and waits until it is available everywhere.
func (w *world) release(image string) {
	w.t.Helper()
	w.deploy(image)
	w.await(func(d *appsv1.Deployment) bool {
		s := d.Status
		return s.UpdatedReplicas == *d.Spec.Replicas && s.Replicas == s.UpdatedReplicas && s.AvailableReplicas == s.UpdatedReplicas
	}, "the rollout of "+image+" does not end")
}

// releaseLater releases in a later second than anything before: Kubernetes keeps
// times to the second only.
func (w *world) releaseLater(image string) {
	w.t.Helper()
	w.clock(time.Now().Truncate(time.Second).Add(time.Second))
	w.release(image)
}

// clock waits until the clock, which the control plane shares, shows a moment.
func (w *world) clock(moment time.Time) {
	w.t.Helper()
	select {
	case <-time.After(time.Until(moment)):
	case <-w.t.Context().Done():
		require.NoError(w.t, w.t.Context().Err())
	}
}

func (w *world) update(change func(*appsv1.Deployment)) {
	w.t.Helper()
	// The controller writes to the same object.
	require.NoError(w.t, retry.RetryOnConflict(wait.Backoff{Steps: 100, Duration: 5 * time.Millisecond}, func() error {
		d := w.deployment()
		change(d)
		_, err := w.admin.AppsV1().Deployments(w.namespace).Update(w.t.Context(), d, metav1.UpdateOptions{})
		return err
	}))
}

func (w *world) await(reached func(*appsv1.Deployment) bool, otherwise string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return reached(w.deployment()) }, patience, 10*time.Millisecond, otherwise)
}

func (w *world) deployment() *appsv1.Deployment {
	w.t.Helper()
	d, err := w.admin.AppsV1().Deployments(w.namespace).Get(w.t.Context(), "shop", metav1.GetOptions{})
	require.NoError(w.t, err)
	return d
}

func (w *world) image() string { return w.deployment().Spec.Template.Spec.Containers[0].Image }

// plan plans to go to a revision and requires that nothing forbids it.
func (w *world) plan(inverse driver.Inverse, revision string) incident.Action {
	w.t.Helper()
	planned, err := inverse.Plan(w.t.Context(), driver.PlanRequest{Target: w.target, Revision: revision})
	require.NoError(w.t, err)
	require.False(w.t, planned.Blocked(), "%+v", planned.Preflight)
	return w.action(planned)
}

func (w *world) action(planned driver.Planned) incident.Action {
	return incident.Action{
		Kind: kind, Target: w.target, From: planned.From, To: planned.To,
		MaxTime: patience, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

func execute(ctx context.Context, inverse driver.Inverse, action incident.Action, key string) (driver.Outcome, error) {
	return driver.Execute(ctx, inverse, action, key, driver.Hooks{
		BeforeApply: func(context.Context, driver.Observation) error { return nil },
	})
}

// forbidUpdates installs an admission policy that refuses every update of a
// Deployment in the namespace, and waits until it is in force.
func (w *world) forbidUpdates() {
	w.t.Helper()
	api := w.admin.AdmissionregistrationV1()
	policy, err := api.ValidatingAdmissionPolicies().Create(w.t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"deployments"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "false", Message: "change freeze"}},
		},
	}, metav1.CreateOptions{})
	require.NoError(w.t, err)
	binding, err := api.ValidatingAdmissionPolicyBindings().Create(w.t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}, metav1.CreateOptions{})
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		ctx := context.WithoutCancel(w.t.Context())
		require.NoError(w.t, api.ValidatingAdmissionPolicyBindings().Delete(ctx, binding.Name, metav1.DeleteOptions{}))
		require.NoError(w.t, api.ValidatingAdmissionPolicies().Delete(ctx, policy.Name, metav1.DeleteOptions{}))
	})
	require.Eventually(w.t, func() bool {
		_, err := w.admin.AppsV1().Deployments(w.namespace).Update(w.t.Context(), w.deployment(), metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsInvalid(err)
	}, patience, 20*time.Millisecond, "the policy is not in force")
}

func shop(image string) *appsv1.Deployment {
	replicas, labels := int32(2), map[string]string{"app": "shop"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name:  "shop",
					Image: image,
					Env: []corev1.EnvVar{
						{Name: "PASSWORD", Value: "hunter2"},
						{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
							LocalObjectReference: corev1.LocalObjectReference{Name: "shop-token"}, Key: "token",
						}}},
					},
					Args: []string{"--api-key=sesame"},
				}}},
			},
		},
	}
}

// proxy stands between the driver and the API server, in plain HTTP. It cuts the
// connection in place of the answer to the first cut patches, which the API server
// has by then carried out.
type proxy struct {
	url     string
	cut     atomic.Int32
	patches atomic.Int32
}

func newProxy(t *testing.T, plane *controlplane.Plane) *proxy {
	t.Helper()
	upstream, err := url.Parse(plane.Server)
	require.NoError(t, err)
	transport, err := rest.TransportFor(plane.Config(t, "admin")) // A client sends no token in plain HTTP.
	require.NoError(t, err)
	p := &proxy{}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := transport.RoundTrip(r)
			if r.Method == http.MethodPatch && err == nil {
				p.patches.Add(1)
				if p.cut.Add(-1) >= 0 {
					_ = resp.Body.Close()
					panic(http.ErrAbortHandler)
				}
			}
			return resp, err
		}),
	})
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
