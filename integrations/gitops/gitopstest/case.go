package gitopstest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/gitops"     // The kind under test.
	_ "github.com/backout/backout/integrations/kubernetes" // The type of its systems.
	"github.com/backout/backout/integrations/kubernetes/kubernetestest"
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
)

func init() { drivertest.Register(Cases()...) }

// Name is the name of every target.
const Name = "shop"

// form is one kind of object that applies Git.
type form struct {
	// path is the first part of a target's path.
	path, kind string
	of         schema.GroupVersionResource
	// spec is what applies Git, with a secret in it.
	spec func(secret string) map[string]any
	// interfere is what a third party merges into the object.
	interfere string
	// difference is what the refusal says then.
	difference string
	// busy is what the controller merges into the object while it applies.
	busy   string
	status string
}

// suspends is what somebody writes who suspends a target, also one that Backout holds,
// without a word.
const suspends = `{"spec":{"suspend":true},"metadata":{"annotations":{"backout.dev/held-by":null,"backout.dev/hold-reason":null,` +
	`"backout.dev/hold-since":null,"backout.dev/hold-expires":null,"backout.dev/hold-before":null}}}`

// The forms of a target.
var forms = []form{
	{
		path: "application", kind: "Application", of: Applications,
		spec: func(secret string) map[string]any {
			return map[string]any{
				"project": "default",
				"source":  map[string]any{"repoURL": "https://git.example/shop", "helm": map[string]any{"parameters": []any{map[string]any{"name": "password", "value": secret}}}},
				"syncPolicy": map[string]any{
					"automated": map[string]any{"prune": true, "selfHeal": true}, "syncOptions": []any{"CreateNamespace=true"},
				},
			}
		},
		interfere: `{"spec":{"syncPolicy":{"automated":{"selfHeal":false}}}}`, difference: "with another spec.syncPolicy.automated than before",
		busy: `{"status":{"operationState":{"phase":"Running"}}}`,
	},
	{
		path: "kustomization", kind: "Kustomization", of: Kustomizations,
		spec: func(secret string) map[string]any {
			return map[string]any{"interval": "10m", "prune": true, "path": "./shop", "postBuild": map[string]any{"substitute": map[string]any{"password": secret}}}
		},
		interfere: suspends, difference: "is suspended by somebody else than Backout",
		busy: `{"status":{"conditions":[{"type":"Reconciling","status":"True","reason":"Progressing"}]}}`, status: "status",
	},
	{
		path: "helmrelease", kind: "HelmRelease", of: HelmReleases,
		spec: func(secret string) map[string]any {
			return map[string]any{"interval": "10m", "suspend": false, "values": map[string]any{"password": secret}}
		},
		interfere: suspends, difference: "is suspended by somebody else than Backout",
		busy: `{"status":{"conditions":[{"type":"Reconciling","status":"True","reason":"Progressing"}]}}`, status: "status",
	},
}

// Cases are the cases of "gitops.hold": an object that applies Git, to be held.
func Cases() []drivertest.Case {
	var all []drivertest.Case
	for _, f := range forms {
		all = append(all, drivertest.Case{
			Kind: "gitops.hold", Form: f.kind,
			Start: func(tb testing.TB) *drivertest.Target { tb.Helper(); return f.start(tb) },
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
					Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
						request := target.Request
						request.Revision = "suspended"
						return request, drivertest.Owner
					},
					Says: "is not held by Backout, so that there is nothing to put back",
				},
				drivertest.DeployInFlight: {
					Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
						tb.Helper()
						require.NoError(tb, f.subject(tb, target).merge(tb.Context(), f.busy, f.status))
						return target.Request, drivertest.Owner
					},
					Says:  "is in flight",
					Warns: true, // The hold settles when it has ended, and so keeps the next action waiting.
				},
				drivertest.ClosedWindow: {
					NotApplicable: "a target can be held, and resumed, at any time",
				},
				drivertest.MissingPermission: {
					Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
						return target.Request, drivertest.Reader
					},
					Says: "may not patch",
				},
			},
		})
	}
	return all
}

// subject is one target in a namespace of its own, seen with all rights.
type subject struct {
	all dynamic.ResourceInterface
	// since is the resource version from which mutations are counted.
	since string
}

// subject finds the object of a target that start has made.
func (f form) subject(tb testing.TB, target *drivertest.Target) *subject {
	tb.Helper()
	namespace := strings.Split(target.Request.Target.Path, "/")[1]
	return &subject{all: Define(tb, controlplane.Require(tb)).Resource(f.of).Namespace(namespace)}
}

// start makes an object that applies Git, and asks for it to be held for four hours.
func (f form) start(tb testing.TB) *drivertest.Target {
	tb.Helper()
	plane := controlplane.Require(tb)
	client, namespace := Define(tb, plane), plane.Namespace(tb)
	reading := rbacv1.PolicyRule{APIGroups: []string{f.of.Group}, Resources: []string{f.of.Resource}, Verbs: []string{"get"}}
	writing := reading
	writing.Verbs = []string{"patch"}
	plane.Grant(tb, namespace, kubernetestest.User(drivertest.Reader), reading)
	plane.Grant(tb, namespace, kubernetestest.User(drivertest.Owner), reading, writing)

	secret := rand.Text()
	s := &subject{all: client.Resource(f.of).Namespace(namespace)}
	made, err := s.all.Create(tb.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": f.of.GroupVersion().String(), "kind": f.kind, "metadata": map[string]any{"name": Name}, "spec": f.spec(secret),
	}}, metav1.CreateOptions{})
	require.NoError(tb, err)
	s.since = made.GetResourceVersion()

	connection := kubernetestest.Connect(tb, plane)
	return &drivertest.Target{
		Request:    driver.PlanRequest{Target: incident.Target{Path: f.path + "/" + namespace + "/" + Name}, Revision: "held/4h"},
		Upstream:   connection.Upstream,
		Connect:    connection.Connect,
		Digest:     s.digest,
		Mutations:  s.mutations,
		Interfere:  func(ctx context.Context) error { return s.merge(ctx, f.interfere, "") },
		Difference: f.difference,
		Throttle:   connection.Throttle,
		Canaries:   append([]string{secret}, connection.Tokens...),
	}
}

func (s *subject) read(ctx context.Context) (*unstructured.Unstructured, error) {
	live, err := s.all.Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read target: %w", err)
	}
	return live, nil
}

// merge writes into the object, as people with kubectl do, or into its status, as its
// controller does. It may be called beside the test's own goroutine.
func (s *subject) merge(ctx context.Context, content, subresource string) error {
	var parts []string
	if subresource != "" {
		parts = append(parts, subresource)
	}
	if _, err := s.all.Patch(ctx, Name, types.MergePatchType, []byte(content), metav1.PatchOptions{}, parts...); err != nil {
		return fmt.Errorf("patch target: %w", err)
	}
	return nil
}

// digest is of the specification, and of whose hold it says that it is under. Since
// when and until when differs each time.
func (s *subject) digest(ctx context.Context) (string, error) {
	live, err := s.read(ctx)
	if err != nil {
		return "", err
	}
	annotations := maps.Clone(live.GetAnnotations())
	for name := range annotations {
		if strings.HasPrefix(name, "backout.dev/") {
			annotations[name] = "there"
		}
	}
	content, err := json.Marshal([]any{live.Object["spec"], annotations})
	if err != nil {
		return "", fmt.Errorf("encode target: %w", err)
	}
	return incident.DigestOf(content), nil
}

// mutations counts the writes since the target was made, in the API server's own
// stream of events: a generation does not count annotations.
func (s *subject) mutations(ctx context.Context) (int, error) {
	live, err := s.read(ctx)
	if err != nil || live.GetResourceVersion() == s.since {
		return 0, err
	}
	stream, err := s.all.Watch(ctx, metav1.ListOptions{ResourceVersion: s.since, FieldSelector: "metadata.name=" + Name})
	if err != nil {
		return 0, fmt.Errorf("watch target: %w", err)
	}
	defer stream.Stop()
	count := 0
	for event := range stream.ResultChan() {
		now, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			return 0, fmt.Errorf("watch target: %s event: %v", event.Type, event.Object)
		}
		count++
		if now.GetResourceVersion() == live.GetResourceVersion() {
			return count, nil
		}
	}
	return 0, fmt.Errorf("watch target: ended before the present version")
}
