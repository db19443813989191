package helmtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/helm"       // The kind under test.
	_ "github.com/backout/backout/integrations/kubernetes" // The type of its systems.
	"github.com/backout/backout/integrations/kubernetes/kubernetestest"
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
)

func init() { drivertest.Register(Release()) }

// The revisions of the case.
const (
	otherRevision = 1
	goodRevision  = 2
)

// Release is the case of "helm.release": a release with a Deployment and a ConfigMap
// and three revisions, to go back to the second.
func Release() drivertest.Case {
	return drivertest.Case{
		Kind: "helm.release",
		Start: func(tb testing.TB) *drivertest.Target {
			tb.Helper()
			return start(tb, func(w *World, password string) {
				_, err := w.Upgrade(Shop("3.0.0", password, pods))
				require.NoError(tb, err)
			})
		},
		OneWay: func(tb testing.TB) *drivertest.Target {
			tb.Helper()
			return start(tb, func(w *World, password string) {
				rel, err := w.Upgrade(Shop("2.0.0", password, pods), timesOut)
				require.Error(tb, err)
				require.Equal(tb, release.StatusFailed, rel.Info.Status)
			})
		},
		Preflight: map[drivertest.Condition]drivertest.Scenario{
			drivertest.MissingTarget: {
				Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					request := target.Request
					request.Target.Path += "-absent"
					return request, drivertest.Owner
				},
				Says: "Helm has no release",
			},
			drivertest.MissingRevision: {
				Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					tb.Helper()
					_, err := worldOf(tb, target).Upgrade(Shop("4.0.0", "-", pods), func(u *action.Upgrade) { u.MaxHistory = 2 })
					require.NoError(tb, err)
					return target.Request, drivertest.Owner
				},
				Says: "Revision 2 is not in the history of shop, which keeps 2 revisions from 3 on",
			},
			drivertest.DeployInFlight: {
				Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					tb.Helper()
					worldOf(tb, target).Begin(release.StatusPendingUpgrade)
					return target.Request, drivertest.Owner
				},
				Says: "is in flight: revision 4 (shop-3.0.0/v3.0.0) is in status pending-upgrade",
			},
			drivertest.ClosedWindow: {
				NotApplicable: "a revision can be gone back to for as long as it is in the history",
			},
			drivertest.MissingPermission: {
				Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					return target.Request, drivertest.Reader
				},
				Says: "may not create Secrets",
			},
		},
	}
}

// The templates of the case's chart.
const (
	deploymentTemplate = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: {app: shop}
  template:
    metadata:
      labels: {app: shop}
    spec:
      tolerations: [{operator: Exists}]
      containers:
        - name: shop
          image: registry.example/shop:v{{ .Chart.Version }}
          args: ["--password={{ .Values.password }}"]
`
	configTemplate = `apiVersion: v1
kind: ConfigMap
metadata:
  name: shop
data:
  version: "{{ .Chart.Version }}"
  password: "{{ .Values.password }}"
`
)

// Shop is a version of a chart with a Deployment and a ConfigMap.
func Shop(version, password string, replicas int) Version {
	return Version{
		Chart:     version,
		Templates: map[string]string{"deployment.yaml": deploymentTemplate, "config.yaml": configTemplate},
		Values:    map[string]any{"password": password, "replicas": replicas},
	}
}

// pods is how many pods a target of the case has. That pods are waited for is another
// test's business: they would take most of the time of this one.
const pods = 0

// worldOf finds the release of a target that start has made.
func worldOf(tb testing.TB, target *drivertest.Target) *World {
	tb.Helper()
	namespace, _, _ := strings.Cut(target.Request.Target.Path, "/")
	return WorldOf(tb, controlplane.Require(tb), namespace)
}

// Grant gives the users of the credentials the rights that the kind asks for.
func (w *World) Grant() {
	w.TB.Helper()
	rules := func(secrets, objects []string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: secrets},
			{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: objects},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: objects},
		}
	}
	w.Plane.Grant(w.TB, w.Namespace, kubernetestest.User(drivertest.Reader), rules([]string{"list"}, []string{"get"})...)
	w.Plane.Grant(w.TB, w.Namespace, kubernetestest.User(drivertest.Owner), rules([]string{"list", "create", "update"}, []string{"get", "patch"})...)
}

// start installs a release, upgrades it to what is good and makes it bad.
func start(tb testing.TB, spoil func(w *World, password string)) *drivertest.Target {
	tb.Helper()
	w := NewWorld(tb)
	w.Grant()
	password := rand.Text()
	w.Install(Shop("1.0.0", password, pods))
	_, err := w.Upgrade(Shop("2.0.0", password, pods))
	require.NoError(tb, err)
	spoil(w, password)

	connection := kubernetestest.Connect(tb, w.Plane)
	return &drivertest.Target{
		Request:   driver.PlanRequest{Target: incident.Target{Path: w.Namespace + "/" + Name}, Revision: fmt.Sprint(goodRevision)},
		Upstream:  connection.Upstream,
		Connect:   connection.Connect,
		Digest:    w.Digest,
		Mutations: w.Mutations,
		// What Helm allows at any moment, also while another rollback is under way.
		Interfere:  func(context.Context) error { return w.Rollback(otherRevision) },
		Difference: "Deployment shop changed (image of shop: registry.example/shop:v3.0.0 to registry.example/shop:v1.0.0)",
		Throttle:   connection.Throttle,
		Canaries:   append([]string{password}, connection.Tokens...),
	}
}

// objects is a client with all rights.
func (w *World) objects() (dynamic.Interface, error) {
	client, err := dynamic.NewForConfig(w.Plane.Config(w.TB, "admin"))
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return client, nil
}

// Read reads an object past Helm.
func (w *World) Read(ctx context.Context, resource schema.GroupVersionResource, name string) (*unstructured.Unstructured, error) {
	client, err := w.objects()
	if err != nil {
		return nil, err
	}
	live, err := client.Resource(resource).Namespace(w.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", resource.Resource, err)
	}
	return live, nil
}

// The resources of the case's chart.
var (
	Deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	ConfigMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

// Digest is of what the objects say, and of how many revisions Helm says are in place,
// of which there must never be two.
func (w *World) Digest(ctx context.Context) (string, error) {
	deployment, err := w.Read(ctx, Deployments, Name)
	if err != nil {
		return "", err
	}
	config, err := w.Read(ctx, ConfigMaps, Name)
	if err != nil {
		return "", err
	}
	all, err := w.History()
	if err != nil {
		return "", err
	}
	deployed := 0
	for _, r := range all {
		if r.Info.Status == release.StatusDeployed {
			deployed++
		}
	}
	failed := all[len(all)-1].Info.Status == release.StatusFailed
	content, err := json.Marshal([]any{deployment.Object["spec"], config.Object["data"], deployed, failed})
	if err != nil {
		return "", fmt.Errorf("encode release: %w", err)
	}
	return incident.DigestOf(content), nil
}

// Mutations is how many revisions there ever were, or how often the Deployment was
// written, whichever is more: each revision writes it once.
func (w *World) Mutations(ctx context.Context) (int, error) {
	deployment, err := w.Read(ctx, Deployments, Name)
	if err != nil {
		return 0, err
	}
	all, err := w.History()
	if err != nil {
		return 0, err
	}
	last := slices.MaxFunc(all, func(a, b *release.Release) int { return a.Version - b.Version })
	return max(int(deployment.GetGeneration()), last.Version), nil
}
