package kubernetes

import (
	"context"
	"net/http"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// The methods of a connection that kinds of other packages use, on systems of this
// type: those packages name an interface of what they need and import nothing here.

// ClientConfig returns a copy of the configuration of the cluster's clients, and the
// HTTP client that all of them share.
func (c *cluster) ClientConfig() (*rest.Config, *http.Client) {
	return rest.CopyConfig(c.config), c.http
}

// Classify says what an error of the API server means: it wraps driver.ErrNotFound,
// driver.ErrDenied or driver.ErrInvalid where trying again can not help. What the
// server said of fields is left out, and the rest is one line of bounded length.
func (c *cluster) Classify(err error) error { return classify(err) }

// Allowed asks the API server whether this credential may use a verb on one object,
// or on all of a resource when the name is empty.
func (c *cluster) Allowed(ctx context.Context, verb string, resource schema.GroupVersionResource, namespace, name string) (bool, error) {
	return c.allowed(ctx, verb, resource, namespace, name)
}

// Rollout says how far a Deployment, StatefulSet or DaemonSet has taken on its pod
// template, in one line for people. Any other object has settled and nothing to say.
func (c *cluster) Rollout(object *unstructured.Unstructured) (settled bool, detail string, err error) {
	for _, kind := range workloadKinds {
		if object.GetKind() != kind.noun || object.GroupVersionKind().Group != kind.resource.Group {
			continue
		}
		progress, err := kind.rollout(object)
		return progress.settled, progress.detail, err
	}
	return true, "", nil
}

// TemplateDifference says in one line how the pod templates of two workloads differ.
// It is empty when either has none.
func (c *cluster) TemplateDifference(from, to *unstructured.Unstructured) string {
	before, err := templateOf(from)
	if err != nil {
		return ""
	}
	after, err := templateOf(to)
	if err != nil {
		return ""
	}
	return difference(before, after)
}
