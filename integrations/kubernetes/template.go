package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/workflows/incident"
)

const (
	// hashLabel is added by the Deployment controller to the template of each
	// ReplicaSet it makes.
	hashLabel = "pod-template-hash"
	// versionLabel is what Kubernetes recommends for the version of an application.
	// Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
	versionLabel = "app.kubernetes.io/version"
)

// template is a pod template as the API server sends it, without hashLabel.
type template map[string]any

// templateOf reads spec.template of a workload or of a ReplicaSet.
func templateOf(object *unstructured.Unstructured) (template, error) {
	fields, found, err := unstructured.NestedMap(object.Object, "spec", "template") // A deep copy.
	if err != nil {
		return nil, fmt.Errorf("read pod template of %q: %w", object.GetName(), err)
	}
	if !found {
		return nil, fmt.Errorf("read pod template of %q: it has none", object.GetName())
	}
	unstructured.RemoveNestedField(fields, "metadata", "labels", hashLabel)
	return fields, nil
}

// digest is taken over the canonical form: JSON with sorted keys, no space and
// no nulls.
func (t template) digest() (string, error) {
	canonical, err := json.Marshal(withoutNulls(map[string]any(t)))
	if err != nil {
		return "", fmt.Errorf("encode pod template: %w", err)
	}
	return incident.DigestOf(canonical), nil
}

// withoutNulls drops fields that are null, such as a creation timestamp that a
// template never has and that some API servers write all the same.
func withoutNulls(value any) any {
	switch value := value.(type) {
	case map[string]any:
		kept := make(map[string]any, len(value))
		for key, field := range value {
			if field != nil {
				kept[key] = withoutNulls(field)
			}
		}
		return kept
	case []any:
		kept := make([]any, len(value))
		for i, item := range value {
			kept[i] = withoutNulls(item)
		}
		return kept
	default:
		return value
	}
}

// label is what people call this template: its version label, or the tags of its
// images.
func (t template) label() string {
	if version, _, _ := unstructured.NestedString(t, "metadata", "labels", versionLabel); version != "" {
		return version
	}
	var tags []string
	for _, container := range t.containers("containers") {
		if tag := imageTag(container.image); tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return strings.Join(tags, ", ")
}

// container is what is told of a container.
type container struct {
	name, image string
	fields      map[string]any
}

// containers reads one of the template's container lists, such as "containers"
// or "initContainers".
func (t template) containers(list string) []container {
	items, _, _ := unstructured.NestedSlice(t, "spec", list) // Absent and malformed are both nothing to tell.
	var all []container
	for _, item := range items {
		fields, ok := item.(map[string]any)
		if !ok {
			continue
		}
		name, _, _ := unstructured.NestedString(fields, "name")
		image, _, _ := unstructured.NestedString(fields, "image")
		all = append(all, container{name: name, image: image, fields: fields})
	}
	return all
}

func (t template) images() map[string]string {
	images := map[string]string{}
	for _, list := range []string{"initContainers", "containers"} {
		for _, container := range t.containers(list) {
			images[container.name] = container.image
		}
	}
	return images
}

// imageTag is the tag of an image reference, or the start of its digest where
// only that is given.
func imageTag(image string) string {
	rest, digest, _ := strings.Cut(image, "@")
	name := rest[strings.LastIndex(rest, "/")+1:] // A port before the last slash is no tag.
	if _, tag, ok := strings.Cut(name, ":"); ok {
		return tag
	}
	if digest != "" {
		return incident.ShortDigest(digest)
	}
	return ""
}

// difference says in one line what changed from one template to another.
func difference(from, to template) string {
	before, after := from.images(), to.images()
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		switch old, ok := before[name]; {
		case !ok:
			changed = append(changed, fmt.Sprintf("container %s added with image %s", name, after[name]))
		case old != after[name]:
			changed = append(changed, fmt.Sprintf("image of %s: %s to %s", name, old, after[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			changed = append(changed, fmt.Sprintf("container %s removed", name))
		}
	}
	if len(changed) == 0 {
		return "pod template changed, images did not"
	}
	return strings.Join(changed, "; ")
}

// references lists the ConfigMaps and Secrets that the template names, sorted.
// A rollback of the template leaves their contents as they are.
func (t template) references() (configMaps, secrets []string) {
	found := map[string]map[string]bool{"ConfigMap": {}, "Secret": {}}
	walk(map[string]any(t), func(key string, value any) {
		kind, field := "", ""
		switch key {
		case "configMapKeyRef", "configMapRef", "configMap":
			kind, field = "ConfigMap", "name"
		case "secretKeyRef", "secretRef":
			kind, field = "Secret", "name"
		case "secret":
			kind, field = "Secret", "secretName"
			if fields, ok := value.(map[string]any); ok && fields["name"] != nil {
				field = "name" // A projected volume spells it so.
			}
		default:
			return
		}
		if fields, ok := value.(map[string]any); ok {
			if name, ok := fields[field].(string); ok && name != "" {
				found[kind][name] = true
			}
		}
	})
	return slices.Sorted(maps.Keys(found["ConfigMap"])), slices.Sorted(maps.Keys(found["Secret"]))
}

func walk(value any, visit func(key string, value any)) {
	switch value := value.(type) {
	case map[string]any:
		for key, field := range value {
			visit(key, field)
			walk(field, visit)
		}
	case []any:
		for _, item := range value {
			walk(item, visit)
		}
	}
}
