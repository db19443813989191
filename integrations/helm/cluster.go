package helm

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// systemType is the type of the systems that releases live in.
const systemType = "kubernetes"

// cluster is what is needed of a connection to a cluster.
type cluster interface {
	// ClientConfig returns the configuration of clients, which is the caller's own,
	// and the HTTP client that they share.
	ClientConfig() (*rest.Config, *http.Client)
	// Objects returns the client that reads and writes objects of any resource.
	Objects() dynamic.Interface
	// Classify says what an error of the API server means, without secrets.
	Classify(err error) error
	// Allowed reports whether the credential may use a verb on one object, or on all
	// of a resource when the name is empty.
	Allowed(ctx context.Context, verb string, resource schema.GroupVersionResource, namespace, name string) (bool, error)
	// Rollout says how far a workload has taken on its pod template.
	Rollout(object *unstructured.Unstructured) (settled bool, detail string, err error)
	// TemplateDifference says how the pod templates of two workloads differ.
	TemplateDifference(from, to *unstructured.Unstructured) string
}

// clients are the ways to ask one cluster.
type clients struct {
	cluster
	objects dynamic.Interface
	// records read whole Secrets, heads only their metadata.
	records corev1.CoreV1Interface
	heads   metadata.Interface
	mapper  meta.RESTMapperWithContext
}

// dial makes the clients of a cluster when they are first needed. It sends nothing.
func dial(c cluster) func() (*clients, error) {
	return sync.OnceValues(func() (*clients, error) {
		cfg, client := c.ClientConfig()
		records, err := corev1.NewForConfigAndClient(cfg, client)
		if err != nil {
			return nil, fmt.Errorf("make client: %w", err)
		}
		heads, err := metadata.NewForConfigAndClient(cfg, client)
		if err != nil {
			return nil, fmt.Errorf("make client: %w", err)
		}
		discover, err := discovery.NewDiscoveryClientForConfigAndClient(cfg, client)
		if err != nil {
			return nil, fmt.Errorf("make client: %w", err)
		}
		mapper := restmapper.NewDeferredDiscoveryRESTMapperWithContext(
			memory.NewMemCacheClientWithContext(discover))
		return &clients{cluster: c, objects: c.Objects(), records: records, heads: heads, mapper: mapper}, nil
	})
}
