package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const (
	// systemType is the type of the systems that targets live in.
	systemType = "kubernetes"
	// fieldManager is who the API server says has written a field. Flux takes back what
	// kubectl has written, and leaves what others have.
	// Source: https://fluxcd.io/flux/faq/#why-are-kubectl-edits-rolled-back-by-flux
	fieldManager = "backout"
)

// cluster is what is needed of a connection to a cluster.
type cluster interface {
	// Objects returns the client that reads and writes objects of any resource.
	Objects() dynamic.Interface
	// Classify says what an error of the API server means, without secrets.
	Classify(err error) error
	// Allowed reports whether the credential may use a verb on one object.
	Allowed(ctx context.Context, verb string, resource schema.GroupVersionResource, namespace, name string) (bool, error)
}

// client is a way to ask one cluster.
type client struct {
	cluster
	objects dynamic.Interface
}

func dial(c cluster) *client { return &client{cluster: c, objects: c.Objects()} }

// get reads a target.
func (c *client) get(ctx context.Context, ref reference) (*unstructured.Unstructured, error) {
	live, err := c.objects.Resource(ref.resource).Namespace(ref.namespace).Get(ctx, ref.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ref, c.Classify(err))
	}
	return live, nil
}

// operation is one step of a JSON Patch.
// Source: https://www.rfc-editor.org/rfc/rfc6902
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch applies a JSON Patch as one step. On trial the API server does all but keep
// the result. The error is the API server's own.
func (c *client) patch(ctx context.Context, ref reference, operations []operation, trial bool) error {
	body, err := json.Marshal(operations)
	if err != nil {
		return fmt.Errorf("encode patch of %s: %w", ref, err)
	}
	options := metav1.PatchOptions{FieldManager: fieldManager}
	if trial {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err = c.objects.Resource(ref.resource).Namespace(ref.namespace).Patch(ctx, ref.name, types.JSONPatchType, body, options)
	return err
}

// pointer spells names as a JSON Pointer.
// Source: https://www.rfc-editor.org/rfc/rfc6901#section-3
func pointer(names ...string) string {
	var path strings.Builder
	for _, name := range names {
		path.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
	}
	return path.String()
}
