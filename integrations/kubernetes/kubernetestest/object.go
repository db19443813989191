package kubernetestest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
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
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	for _, r := range []resource{configMap, autoscaler, service, networkPolicy, role, roleBinding, route} {
		drivertest.Register(captured(r))
	}
}

// resource is one resource whose objects are taken back.
type resource struct {
	kind string
	of   schema.GroupVersionResource
	// good, bad and other are contents: what to go back to, what is there, and what
	// a third party writes.
	good, bad, other map[string]any
	// difference is what tells other from bad.
	difference string
	// rights are those that restoring needs beside patch.
	rights []rbacv1.PolicyRule
	// define makes the resource known to the API server.
	define func(tb testing.TB, plane *controlplane.Plane)
	// inFlight brings about that a controller has not taken up the present state; nil
	// where there is none that would say so.
	inFlight func(tb testing.TB, o *subject)
}

// captured is the case of one resource.
func captured(r resource) drivertest.Case {
	inFlight := drivertest.Scenario{NotApplicable: "a write of " + r.kind + " is one step, and no controller says whether it has taken it up"}
	if r.inFlight != nil {
		inFlight = drivertest.Scenario{
			Arrange: func(tb testing.TB, target *drivertest.Target) (driver.PlanRequest, drivertest.Credential) {
				tb.Helper()
				r.inFlight(tb, subjectOf(tb, r, target))
				return target.Request, drivertest.Owner
			},
			Says:  "is in flight",
			Warns: true, // The rollback is one more change of the same object, which its controller takes up instead.
		}
	}
	return drivertest.Case{
		Kind:  "kubernetes.object",
		Form:  r.kind,
		Start: func(tb testing.TB) *drivertest.Target { tb.Helper(); return r.start(tb) },
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
					subjectOf(tb, r, target).forget(target.Request.Revision)
					return target.Request, drivertest.Owner
				},
				Says: "No state 1 was captured",
			},
			drivertest.DeployInFlight: inFlight,
			drivertest.ClosedWindow: {
				NotApplicable: "a captured state can be gone back to for as long as it is kept",
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

// subject is one object in a namespace of its own, seen with all rights.
type subject struct {
	resource
	tb        testing.TB
	client    dynamic.Interface
	namespace string
	// since is the resource version from which mutations are counted.
	since string
}

// subjectOf finds the object of a target that start has made.
func subjectOf(tb testing.TB, r resource, target *drivertest.Target) *subject {
	tb.Helper()
	parts := strings.Split(target.Request.Target.Path, "/")
	return &subject{resource: r, tb: tb, client: objects(tb, controlplane.Require(tb)), namespace: parts[len(parts)-2]}
}

// start puts the good state in place and then the bad one, both of which are
// captured, and asks for the first.
func (r resource) start(tb testing.TB) *drivertest.Target {
	tb.Helper()
	plane := controlplane.Require(tb)
	if r.define != nil {
		r.define(tb, plane)
	}
	o := &subject{resource: r, tb: tb, client: objects(tb, plane), namespace: plane.Namespace(tb)}
	reading := []rbacv1.PolicyRule{
		{APIGroups: []string{r.of.Group}, Resources: []string{r.of.Resource}, Verbs: []string{"get"}},
		{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"list"}},
	}
	plane.Grant(tb, o.namespace, users[drivertest.Reader], reading...)
	plane.Grant(tb, o.namespace, users[drivertest.Owner], append(append(reading,
		rbacv1.PolicyRule{APIGroups: []string{r.of.Group}, Resources: []string{r.of.Resource}, Verbs: []string{"patch"}},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"create"}},
	), r.rights...)...)

	path := strings.TrimPrefix(r.of.Group+"/", "/") + r.of.Version + "/" + r.of.Resource + "/" + o.namespace + "/" + name
	set, err := driver.Open(tb.Context(), []driver.System{system(plane.Kubeconfig)})
	require.NoError(tb, err)
	defer func() { require.NoError(tb, set.Close()) }()
	recorder, err := set.Recorder("kubernetes.object", "cluster")
	require.NoError(tb, err)
	itself := incident.Target{System: "cluster", Path: path}
	password := rand.Text()
	_, err = o.all().Create(tb.Context(), o.manifest(password), metav1.CreateOptions{})
	require.NoError(tb, err)
	_, err = recorder.Record(tb.Context(), itself)
	require.NoError(tb, err)
	require.NoError(tb, o.write(tb.Context(), r.bad))
	state, err := recorder.Record(tb.Context(), itself)
	require.NoError(tb, err)
	require.Equal(tb, "2", state.Revision)
	live, err := o.read(tb.Context())
	require.NoError(tb, err)
	o.since = live.GetResourceVersion()

	front, connect := connected(tb, plane)
	return &drivertest.Target{
		Request:    driver.PlanRequest{Target: incident.Target{Path: path}, Revision: "1"},
		Upstream:   front.address(),
		Connect:    connect,
		Digest:     o.digest,
		Mutations:  o.mutations,
		Interfere:  func(ctx context.Context) error { return o.write(ctx, r.other) },
		Difference: r.difference,
		Throttle:   front.throttle,
		Canaries:   []string{password, token(tb, plane, drivertest.Owner), token(tb, plane, drivertest.Reader)},
	}
}

// manifest is the object in its good state. A ConfigMap holds a password too.
func (o *subject) manifest(password string) *unstructured.Unstructured {
	made := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": o.of.GroupVersion().String(), "kind": o.kind, "metadata": map[string]any{"name": name},
	}}
	maps.Copy(made.Object, o.good)
	made = made.DeepCopy()
	if o.kind == configMap.kind {
		made.Object["data"].(map[string]any)["password"] = password
	}
	return made
}

// all are the objects of the resource in the namespace.
func (o *subject) all() dynamic.ResourceInterface {
	return o.client.Resource(o.of).Namespace(o.namespace)
}

func (o *subject) read(ctx context.Context) (*unstructured.Unstructured, error) {
	live, err := o.all().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.kind, err)
	}
	return live, nil
}

// write merges a content into the object, as people with kubectl do. It may be called
// beside the test's own goroutine.
func (o *subject) write(ctx context.Context, content map[string]any) error {
	patch, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encode %s: %w", o.kind, err)
	}
	if _, err := o.all().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch %s: %w", o.kind, err)
	}
	return nil
}

// said is all of an object but its type, its metadata and its status.
func said(live *unstructured.Unstructured) map[string]any {
	all := map[string]any{}
	for field, value := range live.Object {
		switch field {
		case "apiVersion", "kind", "metadata", "status":
		default:
			all[field] = value
		}
	}
	return all
}

func (o *subject) digest(ctx context.Context) (string, error) {
	live, err := o.read(ctx)
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(said(live))
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", o.kind, err)
	}
	return incident.DigestOf(content), nil
}

// mutations counts the changes of the content, the labels and the annotations since
// the target was made. Most resources have no generation, so that they are counted in
// the API server's own stream of events.
func (o *subject) mutations(ctx context.Context) (int, error) {
	live, err := o.read(ctx)
	if err != nil || live.GetResourceVersion() == o.since {
		return 0, err
	}
	stream, err := o.all().Watch(ctx, metav1.ListOptions{ResourceVersion: o.since, FieldSelector: "metadata.name=" + name})
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", o.kind, err)
	}
	defer stream.Stop()
	count := 0
	var before *unstructured.Unstructured
	for event := range stream.ResultChan() {
		now, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			return 0, fmt.Errorf("watch %s: %s event: %v", o.kind, event.Type, event.Object)
		}
		if before == nil || !reflect.DeepEqual(said(before), said(now)) ||
			!reflect.DeepEqual(before.GetAnnotations(), now.GetAnnotations()) || !reflect.DeepEqual(before.GetLabels(), now.GetLabels()) {
			count++
		}
		before = now
		if now.GetResourceVersion() == live.GetResourceVersion() {
			return count, nil
		}
	}
	return 0, fmt.Errorf("watch %s: ended before the present version", o.kind)
}

// forget deletes a captured state.
func (o *subject) forget(revision string) {
	o.tb.Helper()
	all := o.client.Resource(apps("controllerrevisions")).Namespace(o.namespace)
	kept, err := all.List(o.tb.Context(), metav1.ListOptions{})
	require.NoError(o.tb, err)
	for _, state := range kept.Items {
		if number, _, _ := unstructured.NestedInt64(state.Object, "revision"); fmt.Sprint(number) == revision {
			require.NoError(o.tb, all.Delete(o.tb.Context(), state.GetName(), metav1.DeleteOptions{}))
		}
	}
}
