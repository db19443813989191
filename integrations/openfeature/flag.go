package openfeature

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// systemType is the type of the systems that FeatureFlags live on.
const systemType = "kubernetes"

// featureFlags are the objects of the operator.
// Source: https://github.com/open-feature/open-feature-operator/blob/main/docs/feature_flag.md
var featureFlags = schema.GroupVersionResource{Group: "core.openfeature.dev", Version: "v1beta1", Resource: "featureflags"}

// controllerRevisions hold what was captured.
var controllerRevisions = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "controllerrevisions"}

// targetForm shows how a target's path is spelled.
const targetForm = "<namespace>/<FeatureFlag>/<flag>"

const (
	// unrecorded is the revision of a state that nobody captured.
	unrecorded = "unrecorded"
	// maxText is the longest piece of text from outside that is told, in runes.
	maxText = 63
	// maxKey is the longest key of a flag, in bytes: Backout's own bound.
	maxKey = 253
)

// cluster is what the kind needs of a connection to a cluster.
type cluster interface {
	// Objects returns the client that reads and writes objects of any resource.
	Objects() dynamic.Interface
	// Classify says what an error of that client means.
	Classify(err error) error
	// Allowed asks whether the credential may use a verb on an object.
	Allowed(ctx context.Context, verb string, resource schema.GroupVersionResource, namespace, name string) (bool, error)
	// ObjectHistory reads an object and tells the states that it took on, oldest
	// first, the last of which is the present one.
	ObjectHistory(ctx context.Context, path string, tell func(number int64, at time.Time, bound, captured bool, author string, content map[string]any)) (live *unstructured.Unstructured, err error)
	// CaptureObject keeps the present state of an object.
	CaptureObject(ctx context.Context, path string) error
	// ObjectRecorder keeps the states of objects.
	ObjectRecorder() driver.Recorder
}

// plainName is what namespaces and objects are called.
// Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
var plainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// location names one flag absolutely.
type location struct{ namespace, object, flag string }

func parseTarget(target incident.Target) (location, error) {
	parts := strings.SplitN(target.Path, "/", 3)
	if len(parts) != 3 || !plainName.MatchString(parts[0]) || !plainName.MatchString(parts[1]) || !plainKey(parts[2]) {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return location{namespace: parts[0], object: parts[1], flag: parts[2]}, nil
}

func plainKey(key string) bool {
	return key != "" && len(key) <= maxKey && strings.IndexFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) < 0
}

// path is the object as "kubernetes.object" spells it.
func (l location) path() string {
	return featureFlags.Group + "/" + featureFlags.Version + "/" + featureFlags.Resource + "/" + l.namespace + "/" + l.object
}

// pointer is the flag within the object, as a JSON Pointer.
// Source: https://www.rfc-editor.org/rfc/rfc6901#section-3
func (l location) pointer() string {
	return "/spec/flagSpec/flags/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(l.flag)
}

// content is what an object says of a flag; nil is that it has none.
type content map[string]any

// flagIn takes a flag out of what an object says.
func (l location) flagIn(object map[string]any) content {
	flag, found, err := unstructured.NestedMap(object, "spec", "flagSpec", "flags", l.flag) // A deep copy.
	if !found || err != nil {
		return nil
	}
	return flag
}

// evaluatorsIn are the rules that all flags of an object share.
func evaluatorsIn(object map[string]any) map[string]any {
	shared, _, _ := unstructured.NestedMap(object, "spec", "flagSpec", "$evaluators") // Absent and malformed are both none.
	return shared
}

// digest is taken over the flag as JSON with sorted keys and no space, or over
// "absent".
func (c content) digest() (string, error) {
	if c == nil {
		return incident.DigestOf([]byte("absent")), nil
	}
	canonical, err := json.Marshal(map[string]any(c))
	if err != nil {
		return "", fmt.Errorf("encode flag: %w", err)
	}
	return incident.DigestOf(canonical), nil
}

// text is a field that is told.
func (c content) text(field string) string {
	said, _, _ := unstructured.NestedString(c, field) // Absent and malformed are both empty.
	return oneLine(said)
}

// label is what people call the state.
func (c content) label() string {
	switch {
	case c == nil:
		return "absent"
	case c.text("state") != "ENABLED":
		return "disabled"
	default:
		return oneLine("enabled, default " + c.text("defaultVariant"))
	}
}

// difference says in one line where two states differ. It tells the switch and the
// name of the default variant, and of the rest only that it changed.
func difference(from, to content) string {
	switch {
	case from == nil && to == nil:
		return "nothing changed"
	case from == nil:
		return "added: " + to.label()
	case to == nil:
		return "removed, was " + from.label()
	}
	var found []string
	for _, field := range slices.Sorted(maps.Keys(merged(from, to))) {
		switch {
		case equal(from[field], to[field]):
		case field == "state", field == "defaultVariant":
			found = append(found, fmt.Sprintf("%s changed: %s to %s", field, from.text(field), to.text(field)))
		default:
			found = append(found, oneLine(field)+" changed")
		}
	}
	if len(found) == 0 {
		return "nothing changed"
	}
	return strings.Join(found, "; ")
}

func merged(a, b content) map[string]any {
	all := map[string]any{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// moment is a state that the flag took on.
type moment struct {
	content
	digest string
	// number is that of the captured state of the object; captured is false for a
	// present state that is not kept.
	number   int64
	captured bool
	at       time.Time
	// bound says that at is only the earliest possible moment.
	bound      bool
	author     string
	evaluators map[string]any
}

func (m moment) state() incident.State {
	revision := unrecorded
	if m.captured {
		revision = strconv.FormatInt(m.number, 10)
	}
	return incident.State{Revision: revision, Digest: m.digest, Label: m.label()}
}

// name is what people call the state within a sentence.
func (m moment) name() string {
	if !m.captured {
		return fmt.Sprintf("a state that is not captured yet (%s)", m.label())
	}
	return fmt.Sprintf("captured state %d (%s)", m.number, m.label())
}

// flag is what was read of one flag at one moment.
type flag struct {
	location
	live *unstructured.Unstructured
	// moments are the states that it took on, oldest first, the last of which is the
	// present one. At least one.
	moments []moment
	// kept is what the flag was in each captured state of the object, by its number.
	kept map[int64]moment
}

func (f flag) now() moment { return f.moments[len(f.moments)-1] }

// byDigest finds the latest captured state with a digest.
func (f flag) byDigest(digest string) (moment, bool) {
	for _, m := range slices.Backward(f.moments) {
		if m.captured && m.digest == digest {
			return m, true
		}
	}
	return moment{}, false
}

// before finds the state that was in force just before a time.
func (f flag) before(when time.Time) (found moment, ok bool) {
	for _, m := range f.moments {
		if !m.at.Before(when) {
			break
		}
		found, ok = m, true
	}
	return found, ok
}

// read reads a flag with what was captured of it. A flag that the object does not
// have is absent; that is a state too.
func read(ctx context.Context, c cluster, at location) (flag, error) {
	f := flag{location: at, kept: map[int64]moment{}}
	var failed error
	live, err := c.ObjectHistory(ctx, at.path(), func(number int64, when time.Time, bound, captured bool, author string, object map[string]any) {
		m := moment{content: at.flagIn(object), number: number, captured: captured, at: when, bound: bound, author: author, evaluators: evaluatorsIn(object)}
		var err error
		if m.digest, err = m.content.digest(); err != nil {
			failed = err
			return
		}
		if _, there := f.kept[number]; captured && !there {
			f.kept[number] = m
		}
		if len(f.moments) > 0 && f.now().digest == m.digest {
			// Another flag of the object changed. What is captured stays so.
			f.moments[len(f.moments)-1].evaluators = m.evaluators
			return
		}
		f.moments = append(f.moments, m)
	})
	if err := errors.Join(err, failed); err != nil {
		return flag{}, err
	}
	if len(f.moments) == 0 {
		return flag{}, fmt.Errorf("read %s: the object has no state", at.path())
	}
	f.live = live
	return f, nil
}

// operation is one step of a JSON Patch. A test for null holds for what is absent.
// Source: https://www.rfc-editor.org/rfc/rfc6902
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// replaceBy returns the operations that make wanted of exactly the present flag, and
// nothing of any other.
func (f flag) replaceBy(wanted content) []operation {
	path, now := f.pointer(), f.now().content
	switch {
	case now == nil:
		return []operation{{Op: "test", Path: path, Value: nil}, {Op: "add", Path: path, Value: wanted}}
	case wanted == nil:
		return []operation{{Op: "test", Path: path, Value: now}, {Op: "remove", Path: path}}
	default:
		return []operation{{Op: "test", Path: path, Value: now}, {Op: "replace", Path: path, Value: wanted}}
	}
}

// appliedAnnotation marks what Backout did last to a flag of the object.
const appliedAnnotation = "backout.dev/applied-flag"

// applied is the mark of an action.
func (l location) applied(key string, action incident.Action) string {
	return key + "/" + action.To.Digest + "/" + incident.ShortDigest(incident.DigestOf([]byte(l.flag)))
}

// mark returns the operations that set the mark, without touching other annotations.
func (f flag) mark(value string) []operation {
	if f.live.GetAnnotations() == nil {
		return []operation{
			{Op: "test", Path: "/metadata/annotations", Value: nil},
			{Op: "add", Path: "/metadata/annotations", Value: map[string]string{appliedAnnotation: value}},
		}
	}
	return []operation{{Op: "add", Path: "/metadata/annotations/" + strings.ReplaceAll(appliedAnnotation, "/", "~1"), Value: value}}
}

// oneLine is text from outside as one line of at most maxText runes, without control
// characters.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText-1]) + "…"
	}
	return strings.TrimSpace(text)
}

// keeper says who would put the present state back; empty when nothing says so.
// Sources: https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/,
// https://fluxcd.io/flux/components/kustomize/kustomizations/,
// https://fluxcd.io/flux/components/helm/helmreleases/
func (f flag) keeper() string {
	labels, annotations := f.live.GetLabels(), f.live.GetAnnotations()
	switch owner := metav1.GetControllerOf(f.live); {
	case owner != nil:
		return fmt.Sprintf("The controller of %s %s", oneLine(owner.Kind), oneLine(owner.Name))
	case annotations["argocd.argoproj.io/tracking-id"] != "" || labels["argocd.argoproj.io/instance"] != "":
		return "Argo CD"
	case labels["kustomize.toolkit.fluxcd.io/name"] != "" || labels["helm.toolkit.fluxcd.io/name"] != "":
		return "Flux"
	default:
		return ""
	}
}
