package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// objectForm shows how the path of an object is spelled.
const objectForm = "<version>/<resource>/<namespace>/<name> or <group>/<version>/<resource>/<namespace>/<name>"

const (
	// maxDifferences is how many differences of two states are named.
	maxDifferences = 6
	// maxDifference is the longest difference that is told, in runes.
	maxDifference = 160
	// maxLabel is the longest label of a state, in runes.
	maxLabel = 63
)

// objectReference names one object of a cluster. Its version belongs to the name:
// the same object reads differently in another version of its API.
type objectReference struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

// String is how the object is spelled in a target's path.
func (r objectReference) String() string {
	return strings.TrimPrefix(r.resource.Group+"/", "/") + r.resource.Version + "/" + r.resource.Resource + "/" + r.namespace + "/" + r.name
}

// plainPart is what a group, version, resource or namespace consists of.
var plainPart = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// refused are the resources that are not taken back, and why.
var refused = map[schema.GroupResource]string{
	{Resource: "secrets"}:                     "a Secret is rotated, not captured",
	{Resource: "pods"}:                        "a pod is replaced by what owns it",
	{Group: "apps", Resource: "deployments"}:  "a workload goes back by its own history: kubernetes.workload",
	{Group: "apps", Resource: "statefulsets"}: "a workload goes back by its own history: kubernetes.workload",
	{Group: "apps", Resource: "daemonsets"}:   "a workload goes back by its own history: kubernetes.workload",
	controllerRevisions.GroupResource():       "a captured state is never changed",
}

// parseObject reads the path of an object.
func parseObject(target incident.Target) (objectReference, error) {
	parts := strings.Split(target.Path, "/")
	core := len(parts) == 4
	if core {
		parts = append([]string{""}, parts...)
	}
	if len(parts) != 5 || parts[4] == "" || parts[4] == "." || parts[4] == ".." || strings.Contains(parts[4], "%") {
		return objectReference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, objectForm)
	}
	for i, part := range parts[:4] {
		if !plainPart.MatchString(part) && (i > 0 || !core) {
			return objectReference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, objectForm)
		}
	}
	ref := objectReference{
		resource:  schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]},
		namespace: parts[3], name: parts[4],
	}
	if why, ok := refused[ref.resource.GroupResource()]; ok {
		return objectReference{}, fmt.Errorf("parse target %q: %w: %s", target, driver.ErrInvalid, why)
	}
	return ref, nil
}

// content is what an object says, as the API server sends it: all but its type, its
// metadata and its status.
type content map[string]any

func contentOf(live *unstructured.Unstructured) content {
	said := content{}
	for key, value := range live.DeepCopy().Object {
		switch key {
		case "apiVersion", "kind", "metadata", "status":
		default:
			said[key] = value
		}
	}
	return said
}

// digest is taken over the canonical form: JSON with sorted keys, no space and no
// nulls.
func (c content) digest() (string, error) {
	canonical, err := json.Marshal(withoutNulls(map[string]any(c)))
	if err != nil {
		return "", fmt.Errorf("encode content: %w", err)
	}
	return incident.DigestOf(canonical), nil
}

// replaceBy returns the operations that make wanted of exactly this content, and
// nothing of any other.
func (c content) replaceBy(wanted content) []operation {
	var tests, changes []operation
	for _, key := range slices.Sorted(maps.Keys(c)) {
		path := "/" + pointer(key)
		tests = append(tests, operation{Op: "test", Path: path, Value: c[key]})
		switch value, stays := wanted[key]; {
		case !stays:
			changes = append(changes, operation{Op: "remove", Path: path})
		case !reflect.DeepEqual(c[key], value):
			changes = append(changes, operation{Op: "replace", Path: path, Value: value})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if _, there := c[key]; there {
			continue
		}
		path := "/" + pointer(key)
		// The test for null holds for what is absent.
		tests = append(tests, operation{Op: "test", Path: path, Value: nil})
		changes = append(changes, operation{Op: "add", Path: path, Value: wanted[key]})
	}
	return append(tests, changes...)
}

// difference says in one line where two states of the object differ. It tells
// numbers and switches, and what a Service selects; never any other text, which may
// be a secret.
func (r objectReference) difference(from, to content) string {
	var found []string
	r.compare("", map[string]any(from), map[string]any(to), &found)
	if len(found) == 0 {
		return "nothing that is told changed"
	}
	if more := len(found) - maxDifferences; more > 0 {
		found = append(found[:maxDifferences], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(found, "; ")
}

func (r objectReference) compare(path string, from, to map[string]any, found *[]string) {
	keys := map[string]any{}
	maps.Copy(keys, from)
	maps.Copy(keys, to)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		at := strings.TrimPrefix(path+"."+key, ".")
		before, had := from[key]
		after, has := to[key]
		nestedBefore, wasMap := before.(map[string]any)
		nestedAfter, isMap := after.(map[string]any)
		said := ""
		switch {
		case wasMap && isMap:
			r.compare(at, nestedBefore, nestedAfter, found)
			continue
		case !had && isMap:
			r.compare(at, nil, nestedAfter, found)
			continue
		case wasMap && !has:
			r.compare(at, nestedBefore, nil, found)
			continue
		case reflect.DeepEqual(before, after):
			continue
		case !had:
			said = at + " added" + r.told(": %s", path, after)
		case !has:
			said = at + " removed" + r.told(", was %s", path, before)
		default:
			said = at + " changed" + r.told(": %s", path, before) + r.told(" to %s", path, after)
		}
		*found = append(*found, oneLine(said, maxDifference))
	}
}

// told is a value in a format, if it can be told.
func (r objectReference) told(format, path string, value any) string {
	switch value := value.(type) {
	case bool, int64, float64:
		return fmt.Sprintf(format, fmt.Sprint(value))
	case string:
		if r.resource.Group == "" && r.resource.Resource == "services" && path == "spec.selector" {
			return fmt.Sprintf(format, value)
		}
	}
	return ""
}

// versionOf is what the labels of an object call its version.
func versionOf(live *unstructured.Unstructured) string {
	return oneLine(live.GetLabels()[versionLabel], maxLabel)
}
