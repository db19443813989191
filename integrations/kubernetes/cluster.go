package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "kubernetes"

const (
	// requestTimeout bounds one request, with reading its answer.
	requestTimeout = 15 * time.Second

	// requestsPerSecond and requestBurst are the client's own limit. client-go's
	// default of 5 and 10 delays a rollback by seconds; the API server's priority
	// and fairness protects it from more.
	// Source: https://pkg.go.dev/k8s.io/client-go/rest#Config
	requestsPerSecond = 50
	requestBurst      = 100

	// defaultKeepStates is how many captured states of an object are kept: more than
	// the changes of any incident, and at their largest, 1 MiB each, still little.
	defaultKeepStates = 30
	// leastKeepStates leaves the present state and the one before it.
	leastKeepStates = 2

	// pageSize is how many objects one list request asks for.
	pageSize = 500
)

// The resources that are read.
var (
	deployments         = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	statefulSets        = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	daemonSets          = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	replicaSets         = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	controllerRevisions = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "controllerrevisions"}
	autoscalers         = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
	reviews             = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// Settings are the configuration of one cluster.
type Settings struct {
	// Kubeconfig is the path of a kubeconfig file. When it is empty the service
	// account of the pod that Backout runs in is used.
	Kubeconfig string `yaml:"kubeconfig" json:"kubeconfig"`
	// Context is the context in the file; its current one when empty.
	Context string `yaml:"context" json:"context"`
	// AuthorAnnotation is the annotation of a workload that says who deployed it,
	// where the pipeline writes one. Kubernetes itself records no person.
	AuthorAnnotation string `yaml:"author_annotation" json:"author_annotation"`
	// KeepStates is how many captured states of an object a recorder keeps; 0 is
	// defaultKeepStates.
	KeepStates int `yaml:"keep_states" json:"keep_states"`
}

// cluster is one connected cluster.
type cluster struct {
	name     string
	settings Settings
	client   dynamic.Interface
	// core reads pods and events in the API server's own encoding, which costs both
	// sides a fraction of JSON: there may be thousands.
	core   corev1client.CoreV1Interface
	http   *http.Client
	config *rest.Config
	now    func() time.Time
}

// open makes the client and sends nothing: a cluster that is down must not keep
// Backout from starting.
func open(_ context.Context, s driver.System) (*cluster, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	switch {
	case settings.KeepStates == 0:
		settings.KeepStates = defaultKeepStates
	case settings.KeepStates < leastKeepStates:
		return nil, fmt.Errorf("read settings: keep_states is %d, want at least %d", settings.KeepStates, leastKeepStates)
	}
	cfg, err := clientConfig(settings)
	if err != nil {
		return nil, err
	}
	cfg.Timeout = requestTimeout
	cfg.QPS, cfg.Burst = requestsPerSecond, requestBurst
	cfg.UserAgent = "backout"
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	objects, err := dynamic.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	compact := rest.CopyConfig(cfg)
	compact.ContentType = runtime.ContentTypeProtobuf
	compact.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	core, err := corev1client.NewForConfigAndClient(compact, client)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return &cluster{name: s.Name, settings: settings, client: objects, core: core, http: client, config: cfg, now: time.Now}, nil
}

func clientConfig(settings Settings) (*rest.Config, error) {
	if settings.Kubeconfig == "" {
		if settings.Context != "" {
			return nil, fmt.Errorf("read settings: context %q needs a kubeconfig", settings.Context)
		}
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("use service account: %w", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: settings.Kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: settings.Context},
	).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %q: %w", settings.Kubeconfig, err)
	}
	return cfg, nil
}

// Reach asks for the version, which every credential may read.
func (c *cluster) Reach(ctx context.Context) error {
	client, err := discovery.NewDiscoveryClientForConfigAndClient(c.config, c.http)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	if _, err := client.RESTClient().Get().AbsPath("/version").DoRaw(ctx); err != nil {
		return fmt.Errorf("read version: %w", classify(err))
	}
	return nil
}

// Close gives up the idle connections.
func (c *cluster) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *cluster) get(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := c.client.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s %q in namespace %q: %w", resource.Resource, name, namespace, classify(err))
	}
	return object, nil
}

// list returns all objects of a namespace that the selector matches, at most
// limit of them; a limit of 0 means all.
func (c *cluster) list(ctx context.Context, resource schema.GroupVersionResource, namespace, selector string, limit int) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		page, err := c.client.Resource(resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list %s in namespace %q: %w", resource.Resource, namespace, classify(err))
		}
		all = append(all, page.Items...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

// operation is one step of a JSON Patch.
// Source: https://www.rfc-editor.org/rfc/rfc6902
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch applies a JSON Patch as one step and returns the object after it. With
// dryRun the API server does all but keep the result.
func (c *cluster) patch(ctx context.Context, resource schema.GroupVersionResource, namespace, name string, operations []operation, dryRun bool) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(operations)
	if err != nil {
		return nil, fmt.Errorf("encode patch of %q: %w", name, err)
	}
	options := metav1.PatchOptions{FieldManager: "backout"}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	patched, err := c.client.Resource(resource).Namespace(namespace).Patch(ctx, name, types.JSONPatchType, body, options)
	if err != nil {
		return nil, fmt.Errorf("patch %s %q in namespace %q: %w", resource.Resource, name, namespace, classify(err))
	}
	return patched, nil
}

// annotate returns the operations that set annotations, without touching those that
// are there.
func annotate(object *unstructured.Unstructured, wanted map[string]string) []operation {
	if object.GetAnnotations() == nil {
		// The map itself is added then, if nobody else adds one meanwhile: the test
		// for null holds for what is absent.
		return []operation{
			{Op: "test", Path: "/metadata/annotations", Value: nil},
			{Op: "add", Path: "/metadata/annotations", Value: wanted},
		}
	}
	var operations []operation
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		operations = append(operations, operation{Op: "add", Path: "/metadata/annotations/" + pointer(name), Value: wanted[name]})
	}
	return operations
}

// pointer spells a name as a part of a JSON Pointer.
// Source: https://www.rfc-editor.org/rfc/rfc6901#section-3
func pointer(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// allowed asks the API server whether this credential may use a verb on one
// object. The resource may be a part of another, such as "rollouts/status".
func (c *cluster) allowed(ctx context.Context, verb string, resource schema.GroupVersionResource, namespace, name string) (bool, error) {
	whole, part, _ := strings.Cut(resource.Resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: reviews.GroupVersion().String(), Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: resource.Group, Version: resource.Version, Resource: whole, Subresource: part, Name: name,
		}},
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(review)
	if err != nil {
		return false, fmt.Errorf("encode access review: %w", err)
	}
	answer, err := c.client.Resource(reviews).Create(ctx, &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("review access: %w", classify(err))
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	if err != nil {
		return false, fmt.Errorf("read access review: %w", err)
	}
	return allowed, nil
}

// decode reads an object into its Go type, for what is looked at and never
// written back.
func decode(object *unstructured.Unstructured, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into); err != nil {
		return fmt.Errorf("decode %s %q: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}
