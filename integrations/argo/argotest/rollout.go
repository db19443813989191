package argotest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
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

	_ "github.com/backout/backout/integrations/argo" // The kind under test.
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/kubernetes/kubernetestest"
	"github.com/backout/backout/workflows/incident"
)

const (
	goodImage  = "registry.example/shop:v1"
	newImage   = "registry.example/shop:v2"
	otherImage = "registry.example/shop:v3"
	badImage   = "registry.example/shop:v3-bad" // Never becomes ready.

	name = "shop"

	// patience bounds each wait for the controller; poll is the time between looks.
	patience = time.Minute
	poll     = 10 * time.Millisecond
	// maxTime bounds a rollback on a busy machine.
	maxTime = time.Minute
)

var (
	rollouts    = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
	replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

func init() { drivertest.Register(cases(canary), cases(blueGreen), cases(undo)) }

// form is one way in which a Rollout can go back.
type form struct {
	name     string
	strategy map[string]any
	// abort says that the update to v2 is in flight and is aborted. Otherwise v2 was
	// deployed, and v1 is written back.
	abort bool
	// services are named by the strategy.
	services []string
}

// The forms of a Rollout.
var (
	// canary is an update that waits half way until somebody promotes it.
	canary = form{name: "Canary", abort: true, strategy: map[string]any{"canary": map[string]any{
		"steps": []any{map[string]any{"setWeight": int64(50)}, map[string]any{"pause": map[string]any{}}},
	}}}
	// blueGreen is an update whose pods are all there and take no traffic yet.
	blueGreen = form{name: "BlueGreen", abort: true, services: []string{"active", "preview"}, strategy: map[string]any{"blueGreen": map[string]any{
		"activeService": "active", "previewService": "preview", "autoPromotionEnabled": false,
	}}}
	// undo is of an update that goes on by itself.
	undo = form{name: "Undo", strategy: map[string]any{"canary": map[string]any{}}}
)

// cases is the case of one form.
func cases(form form) drivertest.Case {
	c := drivertest.Case{
		Kind:  "argo.rollout",
		Form:  form.name,
		Start: func(tb testing.TB) *drivertest.Target { tb.Helper(); return form.start(tb) },
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
					request := target.Request
					if form.abort {
						request.Revision = "7-by-abort"
						return request, drivertest.Owner
					}
					rolloutOf(tb, form, target).forget()
					return request, drivertest.Owner
				},
				Says: "is not in the history",
			},
			drivertest.DeployInFlight: {
				Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					tb.Helper()
					if !form.abort {
						require.NoError(tb, rolloutOf(tb, form, target).deploy(tb.Context(), badImage))
					}
					return target.Request, drivertest.Owner
				},
				Says:  "is in flight",
				Warns: true, // To stop a bad update half way is when a rollback helps most.
			},
			drivertest.ClosedWindow: {
				Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					tb.Helper()
					rolloutOf(tb, form, target).promote()
					return target.Request, drivertest.Owner
				},
				Says: "too late to abort",
			},
			drivertest.MissingPermission: {
				Arrange: func(_ testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
					return target.Request, drivertest.Reader
				},
				Says: "may not patch",
			},
		},
	}
	if !form.abort {
		c.Preflight[drivertest.ClosedWindow] = drivertest.Scenario{
			NotApplicable: "a revision can be gone back to for as long as it is in the history",
		}
		c.OneWay = func(tb testing.TB) *drivertest.Target { tb.Helper(); return form.startAborted(tb) }
	}
	return c
}

// rollout is one Rollout in a namespace of its own, seen with all rights.
type rollout struct {
	form
	tb        testing.TB
	client    dynamic.Interface
	namespace string
	// since is the resource version from which mutations are counted, and was what was
	// in force then.
	since string
	was   force
}

// rolloutOf finds the Rollout of a target that start has made.
func rolloutOf(tb testing.TB, form form, target *drivertest.Target) *rollout {
	tb.Helper()
	namespace, _, ok := strings.Cut(target.Request.Target.Path, "/")
	require.True(tb, ok)
	return &rollout{form: form, tb: tb, client: kubernetestest.Objects(tb, Require(tb)), namespace: namespace}
}

// start deploys v1 and then v2, and asks for v1 again.
func (f form) start(tb testing.TB) *drivertest.Target {
	tb.Helper()
	plane := Require(tb)
	r := &rollout{form: f, tb: tb, client: kubernetestest.Objects(tb, plane), namespace: plane.Namespace(tb)}
	argo, status := []string{rollouts.Group}, "rollouts/status"
	reading := []rbacv1.PolicyRule{
		{APIGroups: argo, Resources: []string{"rollouts"}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list"}},
	}
	plane.Grant(tb, r.namespace, kubernetestest.User(drivertest.Reader), reading...)
	plane.Grant(tb, r.namespace, kubernetestest.User(drivertest.Owner), append(reading,
		rbacv1.PolicyRule{APIGroups: argo, Resources: []string{"rollouts", status}, Verbs: []string{"patch"}})...)

	password := rand.Text()
	for _, service := range f.services {
		_, err := r.client.Resource(services).Namespace(r.namespace).Create(tb.Context(), serviceNamed(service), metav1.CreateOptions{})
		require.NoError(tb, err)
	}
	_, err := r.all().Create(tb.Context(), f.manifest(goodImage, password), metav1.CreateOptions{})
	require.NoError(tb, err)
	require.NoError(tb, r.wait(tb.Context(), "v1 is promoted", func(o *unstructured.Unstructured) bool { return phase(o) == "Healthy" }))
	require.NoError(tb, r.deploy(tb.Context(), newImage))
	return r.target(password)
}

// startAborted promotes v2 and aborts an update that came after it. Nobody can bring
// that back from v1.
func (f form) startAborted(tb testing.TB) *drivertest.Target {
	tb.Helper()
	target := f.start(tb)
	r := rolloutOf(tb, f, target)
	require.NoError(tb, r.wait(tb.Context(), "v2 is promoted", func(o *unstructured.Unstructured) bool { return phase(o) == "Healthy" }))
	require.NoError(tb, r.deploy(tb.Context(), badImage))
	_, err := r.all().Patch(tb.Context(), name, types.MergePatchType, []byte(`{"status":{"abort":true}}`), metav1.PatchOptions{}, "status")
	require.NoError(tb, err)
	require.NoError(tb, r.wait(tb.Context(), "the update is aborted", func(o *unstructured.Unstructured) bool { return phase(o) == "Degraded" }))
	return r.target(target.Canaries[len(target.Canaries)-1])
}

// target is the Rollout as it is, with v1 to go back to.
func (r *rollout) target(password string) *drivertest.Target {
	tb, f := r.tb, r.form
	tb.Helper()
	live, err := r.read(tb.Context())
	require.NoError(tb, err)
	r.since, r.was = live.GetResourceVersion(), inForce(live)

	connection := kubernetestest.Connect(tb, Require(tb))
	revision := "1"
	if f.abort {
		revision = "1-by-abort"
	}
	return &drivertest.Target{
		Request:    driver.PlanRequest{Target: incident.Target{Path: r.namespace + "/" + name}, Revision: revision},
		Upstream:   connection.Upstream,
		Connect:    connection.Connect,
		Digest:     r.digest,
		Mutations:  r.mutations,
		Interfere:  func(ctx context.Context) error { return r.deploy(ctx, otherImage) },
		Difference: "image of shop: " + newImage + " to " + otherImage,
		Throttle:   connection.Throttle,
		Canaries:   append(connection.Tokens, password),
		MaxTime:    maxTime,
	}
}

func serviceNamed(service string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": service},
		"spec": map[string]any{"selector": map[string]any{"app": name}, "ports": []any{map[string]any{"port": int64(80)}}},
	}}
}

func (f form) manifest(image, password string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": rollouts.GroupVersion().String(), "kind": "Rollout", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"replicas": int64(1),
			"selector": map[string]any{"matchLabels": labels},
			"strategy": f.strategy,
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
		},
	}}
}

// all are the Rollouts of the namespace.
func (r *rollout) all() dynamic.ResourceInterface {
	return r.client.Resource(rollouts).Namespace(r.namespace)
}

func (r *rollout) read(ctx context.Context) (*unstructured.Unstructured, error) {
	o, err := r.all().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read rollout: %w", err)
	}
	return o, nil
}

// force is what is in force, and the mark of who brought it about.
type force struct {
	template string
	aborted  bool
	mark     string
}

// inForce reads what is in force. The template is what people write of one: the API
// server fills in defaults where the controller wrote it back.
func inForce(o *unstructured.Unstructured) force {
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	var said []any
	for _, item := range containers {
		c, _ := item.(map[string]any)
		said = append(said, []any{c["name"], c["image"], c["args"], c["env"]})
	}
	labels, _, _ := unstructured.NestedMap(o.Object, "spec", "template", "metadata", "labels")
	text, _ := json.Marshal([]any{labels, said}) // It came as JSON.
	aborted, _, _ := unstructured.NestedBool(o.Object, "status", "abort")
	return force{template: string(text), aborted: aborted && observed(o), mark: o.GetAnnotations()["backout.dev/applied"]}
}

func observed(o *unstructured.Unstructured) bool {
	seen, _, _ := unstructured.NestedString(o.Object, "status", "observedGeneration")
	return seen == strconv.FormatInt(o.GetGeneration(), 10)
}

// phase is the controller's word for where the present specification is; empty when
// it has not looked at it.
func phase(o *unstructured.Unstructured) string {
	if !observed(o) {
		return ""
	}
	text, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	return text
}

// digest is of what takes the traffic, when the controller has had its way: the
// template of the stable revision after an abort, and that of the specification
// otherwise.
func (r *rollout) digest(ctx context.Context) (string, error) {
	o, err := r.read(ctx)
	if err != nil {
		return "", err
	}
	now := inForce(o)
	if now.aborted {
		stable, _, _ := unstructured.NestedString(o.Object, "status", "stableRS")
		return incident.DigestOf([]byte("stable " + stable)), nil
	}
	return incident.DigestOf([]byte(now.template)), nil
}

// mutations counts the changes of what is in force since v2 was deployed, in the API
// server's own stream of events.
func (r *rollout) mutations(ctx context.Context) (int, error) {
	live, err := r.read(ctx)
	if err != nil || live.GetResourceVersion() == r.since {
		return 0, err
	}
	stream, err := r.all().Watch(ctx, metav1.ListOptions{ResourceVersion: r.since, FieldSelector: "metadata.name=" + name})
	if err != nil {
		return 0, fmt.Errorf("watch rollout: %w", err)
	}
	defer stream.Stop()
	// Until the controller says what a new template made of it, an abort is that of the
	// one before.
	count, before, stale := 0, r.was, ""
	for event := range stream.ResultChan() {
		o, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			return 0, fmt.Errorf("watch rollout: %s event: %v", event.Type, event.Object)
		}
		now := inForce(o)
		if now.template != before.template {
			stale = podHash(o)
		}
		now.aborted = now.aborted && podHash(o) != stale
		if now != before {
			count, before = count+1, now
		}
		if o.GetResourceVersion() == live.GetResourceVersion() {
			return count, nil
		}
	}
	return 0, fmt.Errorf("watch rollout: ended before the present version")
}

// deploy sets the image and returns when the controller has made a revision of it. It
// may be called beside the test's own goroutine.
func (r *rollout) deploy(ctx context.Context, image string) error {
	patch := `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"` + image + `"}]`
	before, err := r.all().Patch(ctx, name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch rollout: %w", err)
	}
	// The controller says that it has seen the change before it says what that made.
	return r.wait(ctx, image+" is a revision", func(o *unstructured.Unstructured) bool {
		return observed(o) && podHash(o) != podHash(before)
	})
}

func podHash(o *unstructured.Unstructured) string {
	hash, _, _ := unstructured.NestedString(o.Object, "status", "currentPodHash")
	return hash
}

// promote lets an update go on to its end.
func (r *rollout) promote() {
	r.tb.Helper()
	_, err := r.all().Patch(r.tb.Context(), name, types.MergePatchType, []byte(`{"status":{"promoteFull":true}}`), metav1.PatchOptions{}, "status")
	require.NoError(r.tb, err)
	require.NoError(r.tb, r.wait(r.tb.Context(), "the update is promoted", func(o *unstructured.Unstructured) bool { return phase(o) == "Healthy" }))
}

// forget drops all old revisions, once the present one is promoted.
func (r *rollout) forget() {
	r.tb.Helper()
	_, err := r.all().Patch(r.tb.Context(), name, types.MergePatchType, []byte(`{"spec":{"revisionHistoryLimit":0}}`), metav1.PatchOptions{})
	require.NoError(r.tb, err)
	require.Eventually(r.tb, func() bool {
		kept, err := r.client.Resource(replicaSets).Namespace(r.namespace).List(r.tb.Context(), metav1.ListOptions{})
		return err == nil && len(kept.Items) == 1
	}, patience, poll, "the old revisions stay")
}

// wait returns when the Rollout is as wanted.
func (r *rollout) wait(ctx context.Context, what string, is func(*unstructured.Unstructured) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		o, err := r.read(ctx)
		if err != nil {
			return err
		}
		if is(o) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w: it is %q", what, ctx.Err(), phase(o))
		case <-tick.C:
		}
	}
}
