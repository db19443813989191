package flaggertest

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
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/flagger" // The kind under test.
	"github.com/backout/backout/integrations/kubernetes/kubernetestest"
	"github.com/backout/backout/workflows/incident"
)

const (
	goodImage  = "registry.example/shop:v1"
	newImage   = "registry.example/shop:v2"
	otherImage = "registry.example/shop:v3"

	name = "shop"

	// patience bounds each wait for a controller, and poll is the time between looks.
	patience = 3 * time.Minute
	poll     = 10 * time.Millisecond
	// turn is the time that Flagger gets to look after a canary where it may have to
	// wait for pods, and recovery where its first look is enough unless it failed.
	turn     = 250 * time.Millisecond
	recovery = 20 * time.Second
	// maxTime bounds a rollback on a busy machine.
	maxTime = time.Minute
)

var (
	canaries    = schema.GroupVersionResource{Group: "flagger.app", Version: "v1beta1", Resource: "canaries"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
)

func init() { drivertest.Register(Case()) }

// Case is the case of "flagger.canary": v2 is being analysed and goes back to v1, which
// the primary runs.
func Case() drivertest.Case {
	return drivertest.Case{
		Kind:  "flagger.canary",
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
					canaryOf(tb, target).forget()
					return target.Request, drivertest.Owner
				},
				Says: "is not in the history",
			},
			drivertest.DeployInFlight: {
				Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					return target.Request, drivertest.Owner
				},
				Says:  "which is in flight: Progressing",
				Warns: true, // To stop a bad version half way is when a rollback helps most.
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

// canary is one canary in a namespace of its own, seen with all rights.
type canary struct {
	tb        testing.TB
	client    dynamic.Interface
	namespace string
	// since is the resource version from which mutations are counted, and was what the
	// target ran then.
	since string
	was   string
}

// canaryOf finds the canary of a target that start has made.
func canaryOf(tb testing.TB, target *drivertest.Target) *canary {
	tb.Helper()
	namespace, _, ok := strings.Cut(target.Request.Target.Path, "/")
	require.True(tb, ok)
	return &canary{tb: tb, client: kubernetestest.Objects(tb, Require(tb)), namespace: namespace}
}

// start has Flagger take v1 over and begin the analysis of v2, and asks for v1 again.
func start(tb testing.TB) *drivertest.Target {
	tb.Helper()
	plane := Require(tb)
	c := &canary{tb: tb, client: kubernetestest.Objects(tb, plane), namespace: plane.Namespace(tb)}
	reading := []rbacv1.PolicyRule{
		{APIGroups: []string{canaries.Group}, Resources: []string{"canaries"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list"}},
	}
	plane.Grant(tb, c.namespace, kubernetestest.User(drivertest.Reader), reading...)
	plane.Grant(tb, c.namespace, kubernetestest.User(drivertest.Owner), append(reading,
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"patch"}})...)

	password := rand.Text()
	_, err := c.deployments().Create(tb.Context(), manifest(goodImage, password), metav1.CreateOptions{})
	require.NoError(tb, err)
	_, err = c.canaries().Create(tb.Context(), definition(), metav1.CreateOptions{})
	require.NoError(tb, err)
	// One look initializes a canary without an analysis, and a second one finds the new
	// version. A look that overlaps another could take the new version for the one that
	// the canary began with, and never find it.
	c.await("Initialized", recovery)
	c.primaryAvailable()
	require.NoError(tb, c.deploy(tb.Context(), newImage))
	c.change(`{"spec":{"skipAnalysis":false,"analysis":{"interval":"61m"}}}`)
	c.await("Progressing", recovery)
	live, err := c.target(tb.Context())
	require.NoError(tb, err)
	c.since, c.was = live.GetResourceVersion(), template(live)

	connection := kubernetestest.Connect(tb, plane)
	return &drivertest.Target{
		Request:    driver.PlanRequest{Target: incident.Target{Path: c.namespace + "/" + name}, Revision: "1"},
		Upstream:   connection.Upstream,
		Connect:    connection.Connect,
		Digest:     c.digest,
		Mutations:  c.mutations,
		Interfere:  func(ctx context.Context) error { return c.deploy(ctx, otherImage) },
		Difference: "image of shop: " + newImage + " to " + otherImage,
		Throttle:   connection.Throttle,
		Canaries:   append(connection.Tokens, password),
		MaxTime:    maxTime,
	}
}

func manifest(image, password string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"replicas": int64(1),
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec": map[string]any{
					// No controller takes the taint off with which every Node begins.
					"tolerations": []any{map[string]any{"operator": "Exists"}},
					"containers": []any{map[string]any{
						"name": name, "image": image, "args": []any{"--password=" + password},
						"ports": []any{map[string]any{"containerPort": int64(8080)}},
						"env":   []any{map[string]any{"name": "PASSWORD", "value": password}},
					}},
				},
			},
		},
	}}
}

// definition is a canary that Flagger looks after when a test says so, that needs no
// analysis yet, and whose analysis never ends.
func definition() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": canaries.GroupVersion().String(), "kind": "Canary", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"targetRef":    map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
			"service":      map[string]any{"port": int64(80), "targetPort": int64(8080)},
			"skipAnalysis": true,
			"analysis":     map[string]any{"interval": "60m", "threshold": int64(1000), "iterations": int64(1000)},
		},
	}}
}

func (c *canary) canaries() dynamic.ResourceInterface {
	return c.client.Resource(canaries).Namespace(c.namespace)
}

func (c *canary) deployments() dynamic.ResourceInterface {
	return c.client.Resource(deployments).Namespace(c.namespace)
}

// advance has Flagger look after the canary at once, and again until it is in a phase.
func (c *canary) advance(phase string) {
	c.tb.Helper()
	c.turn()
	c.await(phase, turn)
}

// await returns when the canary is in a phase. Flagger looks after it when it sees it
// first and at each turn, and gets another one each time that it was not done within a
// while. On a busy machine that while grows: the looks must not get into each other's
// way.
func (c *canary) await(phase string, while time.Duration) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(c.tb.Context(), patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	last := time.Now()
	for {
		o, err := c.canaries().Get(ctx, name, metav1.GetOptions{})
		require.NoError(c.tb, err, "wait until the canary is %s", phase)
		if found, _, _ := unstructured.NestedString(o.Object, "status", "phase"); found == phase {
			return
		}
		if time.Since(last) > while {
			c.turn()
			last, while = time.Now(), min(2*while, recovery)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// turn has Flagger look after the canary, which it does at once whenever the interval
// of the analysis has changed.
func (c *canary) turn() {
	c.tb.Helper()
	o, err := c.canaries().Get(c.tb.Context(), name, metav1.GetOptions{})
	require.NoError(c.tb, err)
	next := "62m"
	if interval, _, _ := unstructured.NestedString(o.Object, "spec", "analysis", "interval"); interval == next {
		next = "63m"
	}
	c.change(`{"spec":{"analysis":{"interval":"` + next + `"}}}`)
}

// primaryAvailable returns when the primary that Flagger made has its pods: Flagger
// begins no analysis before.
func (c *canary) primaryAvailable() {
	c.tb.Helper()
	require.Eventually(c.tb, func() bool {
		o, err := c.deployments().Get(c.tb.Context(), name+"-primary", metav1.GetOptions{})
		if err != nil {
			return false
		}
		seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		updated, _, _ := unstructured.NestedInt64(o.Object, "status", "updatedReplicas")
		available, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
		return seen >= o.GetGeneration() && updated > 0 && available >= updated
	}, patience, poll, "the primary has no pods")
}

// change merges a patch into the Canary.
func (c *canary) change(patch string) {
	c.tb.Helper()
	_, err := c.canaries().Patch(c.tb.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	require.NoError(c.tb, err)
}

// deploy sets the image of the target and returns when the Deployment controller has
// recorded it. It may be called beside the test's own goroutine.
func (c *canary) deploy(ctx context.Context, image string) error {
	patch := `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + image + `"}]`
	if _, err := c.deployments().Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch target: %w", err)
	}
	return c.taken(ctx)
}

// taken returns when the Deployment controller has taken up the target's template.
func (c *canary) taken(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		o, err := c.target(ctx)
		if err != nil {
			return err
		}
		if seen, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration"); seen >= o.GetGeneration() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the Deployment controller: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (c *canary) target(ctx context.Context) (*unstructured.Unstructured, error) {
	o, err := c.deployments().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read target: %w", err)
	}
	return o, nil
}

// template is the pod template of a Deployment, as JSON.
func template(o *unstructured.Unstructured) string {
	fields, _, _ := unstructured.NestedMap(o.Object, "spec", "template")
	text, _ := json.Marshal(fields) // It came as JSON.
	return string(text)
}

func (c *canary) digest(ctx context.Context) (string, error) {
	o, err := c.target(ctx)
	if err != nil {
		return "", err
	}
	return incident.DigestOf([]byte(template(o))), nil
}

// mutations counts the changes of the target's pod template, and of the marks of who
// wrote it, since the analysis began; Flagger scales the target meanwhile.
func (c *canary) mutations(ctx context.Context) (int, error) {
	live, err := c.target(ctx)
	if err != nil || live.GetResourceVersion() == c.since {
		return 0, err
	}
	stream, err := c.deployments().Watch(ctx, metav1.ListOptions{ResourceVersion: c.since, FieldSelector: "metadata.name=" + name})
	if err != nil {
		return 0, fmt.Errorf("watch target: %w", err)
	}
	defer stream.Stop()
	count, before, mark := 0, c.was, ""
	for event := range stream.ResultChan() {
		o, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			return 0, fmt.Errorf("watch target: %s event: %v", event.Type, event.Object)
		}
		applied := o.GetAnnotations()["backout.dev/applied"]
		if now := template(o); now != before || applied != mark {
			count, before, mark = count+1, now, applied
		}
		if o.GetResourceVersion() == live.GetResourceVersion() {
			return count, nil
		}
	}
	return 0, fmt.Errorf("watch target: ended before the present version")
}

// forget drops all old revisions of the target, once the present one is rolled out.
func (c *canary) forget() {
	c.tb.Helper()
	_, err := c.deployments().Patch(c.tb.Context(), name, types.MergePatchType, []byte(`{"spec":{"revisionHistoryLimit":0}}`), metav1.PatchOptions{})
	require.NoError(c.tb, err)
	require.Eventually(c.tb, func() bool {
		kept, err := c.client.Resource(replicaSets).Namespace(c.namespace).List(c.tb.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
		return err == nil && len(kept.Items) == 1
	}, patience, poll, "the old revisions stay")
}
