package argo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// systemType is the type of the systems that Rollouts live on.
const systemType = "kubernetes"

// pageSize is how many objects one list request asks for.
const pageSize = 500

// The resources that are read and written. A part of a resource has rights of its
// own.
var (
	rollouts      = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
	rolloutStatus = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts/status"}
	replicaSets   = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
)

// cluster is what the kind needs of a connection to a cluster.
type cluster interface {
	// Objects returns the client that reads and writes objects of any resource.
	Objects() dynamic.Interface
	// Classify says what an error of that client means.
	Classify(err error) error
	// Allowed asks whether the credential may use a verb on an object.
	Allowed(ctx context.Context, verb string, resource schema.GroupVersionResource, namespace, name string) (bool, error)
	// Template reads the digest of a pod template, and what people call it.
	Template(object *unstructured.Unstructured) (digest, label string, err error)
	// TemplateDifference says in one line how two pod templates differ.
	TemplateDifference(from, to *unstructured.Unstructured) string
	// TemplateReferences lists what a pod template names.
	TemplateReferences(object *unstructured.Unstructured) (configMaps, secrets []string)
	// TemplateChanged is when the present template was written; zero when that is not
	// recorded.
	TemplateChanged(object *unstructured.Unstructured) time.Time
	// Author is who deployed an object; empty when that is not recorded.
	Author(object *unstructured.Unstructured) string
}

func get(ctx context.Context, c cluster, ref reference) (*unstructured.Unstructured, error) {
	object, err := c.Objects().Resource(rollouts).Namespace(ref.namespace).Get(ctx, ref.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Rollout %q in namespace %q: %w", ref.name, ref.namespace, c.Classify(err))
	}
	return object, nil
}

// list returns all ReplicaSets of a namespace that the selector matches.
func list(ctx context.Context, c cluster, namespace, selector string) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		page, err := c.Objects().Resource(replicaSets).Namespace(namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list replicasets in namespace %q: %w", namespace, c.Classify(err))
		}
		all = append(all, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

// operation is one step of a JSON Patch. A test for null holds for what is absent.
// Source: https://www.rfc-editor.org/rfc/rfc6902
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch applies a JSON Patch to a Rollout, or to its status, as one step. Its error is
// that of the client, for Classify.
func patch(ctx context.Context, c cluster, resource schema.GroupVersionResource, ref reference, operations []operation) error {
	body, err := json.Marshal(operations)
	if err != nil {
		return fmt.Errorf("encode patch of %q: %w", ref.name, err)
	}
	var parts []string
	if _, part, ok := strings.Cut(resource.Resource, "/"); ok {
		parts = append(parts, part)
	}
	_, err = c.Objects().Resource(rollouts).Namespace(ref.namespace).
		Patch(ctx, ref.name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: "backout"}, parts...)
	return err
}
