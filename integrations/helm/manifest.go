package helm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
)

// Labels and annotations that Helm puts on the objects of a release, or reads there.
// Source: https://helm.sh/docs/howto/charts_tips_and_tricks/
const (
	managedByLabel      = "app.kubernetes.io/managed-by"
	managedByHelm       = "Helm"
	nameAnnotation      = "meta.helm.sh/release-name"
	namespaceAnnotation = "meta.helm.sh/release-namespace"
	policyAnnotation    = "helm.sh/resource-policy"
	policyKeep          = "keep"
)

// errUnserved means that the API server serves no such kind.
var errUnserved = errors.New("not served")

// object is one object of a manifest.
type object struct {
	content *unstructured.Unstructured
	kind    schema.GroupVersionKind
	// namespace is empty in the manifest where the release's own is meant, and for
	// what has none.
	namespace, name string
}

// String is what people call the object.
func (o object) String() string { return o.kind.Kind + " " + o.name }

// identity tells objects apart, whatever version of the API they are written in.
type identity struct {
	kind            schema.GroupKind
	namespace, name string
}

func (o object) identity() identity {
	return identity{kind: o.kind.GroupKind(), namespace: o.namespace, name: o.name}
}

// objects reads a manifest, in its order. Objects without a namespace are given that
// of the release; whoever maps them takes it off what has none.
func objects(rel *release.Release) ([]object, error) {
	var all []object
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader([]byte(rel.Manifest))))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read manifest of revision %d: %w: not YAML", rel.Version, driver.ErrInvalid)
		}
		text, err := utilyaml.ToJSON(document)
		if err != nil {
			// What the parser says may quote a secret.
			return nil, fmt.Errorf("read manifest of revision %d: %w: not YAML", rel.Version, driver.ErrInvalid)
		}
		if string(text) == "null" || string(text) == "{}" {
			continue
		}
		found, err := decoded(text)
		if err != nil {
			return nil, fmt.Errorf("read manifest of revision %d: %w: %w", rel.Version, driver.ErrInvalid, err)
		}
		for _, content := range found {
			o := object{content: content, kind: content.GroupVersionKind(), namespace: content.GetNamespace(), name: content.GetName()}
			if o.name == "" || o.kind.Kind == "" {
				return nil, fmt.Errorf("read manifest of revision %d: %w: an object has no kind or no name", rel.Version, driver.ErrInvalid)
			}
			if o.namespace == "" {
				o.namespace = rel.Namespace
			}
			all = append(all, o)
		}
	}
}

// decoded is the object of a document, or those of a list.
func decoded(text []byte) ([]*unstructured.Unstructured, error) {
	content := &unstructured.Unstructured{}
	if err := content.UnmarshalJSON(text); err != nil {
		return nil, errors.New("a document is no object")
	}
	if !content.IsList() {
		return []*unstructured.Unstructured{content}, nil
	}
	list, err := content.ToList()
	if err != nil {
		return nil, errors.New("a list holds what is no object")
	}
	var all []*unstructured.Unstructured
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	return all, nil
}

// mapped finds out what the API server calls the objects, and takes the namespace off
// those that have none. The error wraps errUnserved and names the kind.
func (c *clients) mapped(ctx context.Context, all []object) ([]endpoint, error) {
	points := make([]endpoint, 0, len(all))
	for _, o := range all {
		mapping, err := c.mapper.RESTMappingWithContext(ctx, o.kind.GroupKind(), o.kind.Version)
		switch {
		case meta.IsNoMatchError(err):
			return nil, fmt.Errorf("%w: %s of %s", errUnserved, o.kind.Kind, o.kind.GroupVersion())
		case err != nil:
			return nil, fmt.Errorf("find out what the API server serves: %w", c.Classify(err))
		}
		point := endpoint{object: o, resource: mapping.Resource, client: c.objects.Resource(mapping.Resource)}
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			point.client = c.objects.Resource(mapping.Resource).Namespace(o.namespace)
		} else {
			point.namespace = ""
		}
		points = append(points, point)
	}
	return points, nil
}

// endpoint is an object and the way to it.
type endpoint struct {
	object
	resource schema.GroupVersionResource
	client   dynamic.ResourceInterface
}

// difference says in one line how two revisions differ: which objects, and which
// images; never any other content, which may be a secret.
func difference(c cluster, from, to *release.Release) string {
	before, err := objects(from)
	if err != nil {
		return "its manifest can not be read"
	}
	after, err := objects(to)
	if err != nil {
		return "its manifest can not be read"
	}
	var found []string
	for _, o := range after {
		i := slices.IndexFunc(before, func(b object) bool { return b.identity() == o.identity() })
		switch {
		case i < 0:
			found = append(found, o.String()+" added")
		case !reflect.DeepEqual(before[i].content.Object, o.content.Object):
			said := o.String() + " changed"
			if images := c.TemplateDifference(before[i].content, o.content); strings.HasPrefix(images, "image ") || strings.HasPrefix(images, "container ") {
				said += " (" + oneLine(images, maxSaid) + ")"
			}
			found = append(found, said)
		}
	}
	for _, o := range before {
		if !slices.ContainsFunc(after, func(a object) bool { return a.identity() == o.identity() }) {
			found = append(found, o.String()+" removed")
		}
	}
	if len(found) == 0 {
		return "no object changed"
	}
	return oneLine(enumerate(found), maxSaid)
}
