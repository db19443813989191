package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxShown is the longest value that is shown, in runes.
const maxShown = 200

// fields are the values of a pod template by their paths, such as
// "spec.containers[shop].image".
type fields map[string]fieldValue

// fieldValue is a value that is neither a list nor an object with anything in it.
type fieldValue struct {
	value  any
	hidden bool
}

// emptyObject is an object with nothing in it, which says something all the same.
type emptyObject struct{}

// hiddenValue stands for a value that nobody is told.
const hiddenValue = "(hidden)"

// String is the value as people are told it.
func (f fieldValue) String() string {
	if f.hidden {
		return hiddenValue
	}
	switch value := f.value.(type) {
	case string:
		return strconv.Quote(oneLine(value, maxShown))
	case emptyObject:
		return "{}"
	default:
		return oneLine(fmt.Sprint(value), maxShown)
	}
}

// merge keys of the lists in a pod template: by them an item is told from the others,
// whatever its place.
// Source: the patchMergeKey tags of https://pkg.go.dev/k8s.io/api/core/v1
var mergeKeys = []string{"name", "mountPath", "devicePath", "containerPort", "key", "topologyKey", "ip"}

// flatten lists the fields of a template.
func flatten(t template) fields {
	found := fields{}
	found.add(nil, "", withoutNulls(map[string]any(t)))
	return found
}

// add adds a value and all that is in it. The route is the names of the fields that
// lead there, without the items of lists.
func (f fields) add(route []string, path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		if len(value) == 0 {
			f[path] = fieldValue{value: emptyObject{}}
		}
		for name, member := range value {
			at := name
			if strings.ContainsAny(name, "./[]") {
				at = "[" + name + "]"
			} else if path != "" {
				at = "." + name
			}
			f.add(append(slices.Clip(route), name), path+at, member)
		}
	case []any:
		names := itemNames(value)
		for i, item := range value {
			f.add(route, fmt.Sprintf("%s[%s]", path, names[i]), item)
		}
	default:
		f[path] = fieldValue{value: value, hidden: !showable(route, value)}
	}
}

// itemNames are what the items of a list are called: by a merge key where that tells
// them apart, otherwise by their place.
func itemNames(items []any) []string {
	for _, key := range mergeKeys {
		var names []string
		for _, item := range items {
			members, ok := item.(map[string]any)
			if !ok {
				break
			}
			name, ok := members[key]
			if !ok {
				break
			}
			text := oneLine(fmt.Sprint(name), maxShown)
			if slices.Contains(names, text) {
				break
			}
			names = append(names, text)
		}
		if len(names) == len(items) {
			return names
		}
	}
	places := make([]string, len(items))
	for i := range places {
		places[i] = strconv.Itoa(i)
	}
	return places
}

// The texts of a pod template that hold no secret unless somebody means harm: those at
// one of these routes and below it. All else, such as a field of a newer API server, is hidden.
var (
	shownOfPods = []string{
		"metadata.labels",
		"spec.dnsPolicy", "spec.hostname", "spec.nodeName", "spec.preemptionPolicy", "spec.priorityClassName", "spec.restartPolicy",
		"spec.runtimeClassName", "spec.schedulerName", "spec.serviceAccount", "spec.serviceAccountName", "spec.subdomain",
		"spec.affinity", "spec.dnsConfig", "spec.hostAliases", "spec.imagePullSecrets", "spec.nodeSelector", "spec.os",
		"spec.readinessGates", "spec.resourceClaims", "spec.resources", "spec.schedulingGates", "spec.securityContext",
		"spec.tolerations", "spec.topologySpreadConstraints", "spec.overhead",
		"spec.volumes.name", "spec.volumes.configMap", "spec.volumes.downwardAPI", "spec.volumes.emptyDir", "spec.volumes.hostPath",
		"spec.volumes.persistentVolumeClaim", "spec.volumes.projected", "spec.volumes.secret",
	}
	shownOfContainers = []string{
		"name", "image", "imagePullPolicy", "restartPolicy", "terminationMessagePath", "terminationMessagePolicy", "workingDir",
		"ports", "resources", "resizePolicy", "securityContext", "volumeDevices", "volumeMounts",
		"env.name", "env.valueFrom", "envFrom",
	}
	shownOfProbes = []string{"httpGet.path", "httpGet.port", "httpGet.scheme", "httpGet.host", "tcpSocket", "grpc"}
)

// showable reports whether people may be told a value. Numbers and truth values tell
// nothing, unless they stand where text could.
func showable(route []string, value any) bool {
	if len(route) == 0 {
		return false
	}
	if slices.Contains(route, "annotations") && route[0] == "metadata" {
		return false
	}
	text, ok := value.(string)
	if !ok {
		return true
	}
	if len(route) > 2 && route[0] == "spec" && (route[1] == "containers" || route[1] == "initContainers") {
		inner := route[2:]
		if slices.Contains([]string{"livenessProbe", "readinessProbe", "startupProbe"}, inner[0]) {
			// A query may carry a token.
			return within(inner[1:], shownOfProbes) && !strings.ContainsAny(text, "?#@")
		}
		return within(inner, shownOfContainers)
	}
	return within(route, shownOfPods)
}

// within reports whether a route is one of those, or leads through one.
func within(route, shown []string) bool {
	return slices.ContainsFunc(shown, func(at string) bool {
		parts := strings.Split(at, ".")
		return len(route) >= len(parts) && slices.Equal(route[:len(parts)], parts)
	})
}

// changes are the lines of what is other in to, by path.
func (f fields) changes(to fields) []string {
	paths := slices.Concat(slices.Collect(maps.Keys(f)), slices.Collect(maps.Keys(to)))
	slices.Sort(paths)
	var lines []string
	for _, path := range slices.Compact(paths) {
		before, was := f[path]
		after, is := to[path]
		at := oneLine(path, maxShown)
		switch {
		case !is:
			lines = append(lines, fmt.Sprintf("- %s: %s", at, before))
		case !was:
			lines = append(lines, fmt.Sprintf("+ %s: %s", at, after))
		case before.value == after.value:
		case before.hidden || after.hidden:
			lines = append(lines, fmt.Sprintf("~ %s: another value %s", at, hiddenValue))
		default:
			lines = append(lines, fmt.Sprintf("~ %s: %s, would be %s", at, before, after))
		}
	}
	return lines
}
