package gitops

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// The annotations of a hold. All of them are written and taken away together.
const (
	byAnnotation      = "backout.dev/held-by"
	reasonAnnotation  = "backout.dev/hold-reason"
	sinceAnnotation   = "backout.dev/hold-since"
	expiresAnnotation = "backout.dev/hold-expires"
	beforeAnnotation  = "backout.dev/hold-before"
)

var holdAnnotations = []string{byAnnotation, reasonAnnotation, sinceAnnotation, expiresAnnotation, beforeAnnotation}

const (
	// defaultHold is how long a hold is good for when the runbook does not say: a
	// working day later somebody has seen it.
	defaultHold = 24 * time.Hour
	// leastHold and longestHold bound what a runbook may ask for. A hold that nobody
	// ends is a deploy that nobody gets.
	leastHold   = time.Minute
	longestHold = 14 * 24 * time.Hour
	// maxBefore is the longest annotation that is read, in bytes.
	maxBefore = 4 << 10
	// reason is what the annotation says to whoever finds it.
	reason = "a rollback must not be undone until its revert is in Git; resume this once it is"
)

// The names of states, which are their revisions too.
const (
	// reconciling means that Git is applied.
	reconciling = "reconciling"
	// suspended means that somebody else than Backout has suspended it.
	suspended = "suspended"
	// held means that Backout holds it; the time that it does follows behind a slash.
	held = "held"
)

// setting is what a target says of its own reconciliation, as the API server sends it.
type setting struct {
	// Value is that of the field at the form's path; nil when it is absent.
	Value any `json:"value"`
	// Skip is the value of skipAnnotation.
	Skip string `json:"skip,omitempty"`
}

// hold is what the annotations of a hold say.
type hold struct {
	by, reason     string
	since, expires time.Time
	before         setting
	// broken says that the annotations are not as Backout writes them.
	broken bool
}

// overdue reports whether the hold has expired.
func (h hold) overdue(now time.Time) bool { return !now.Before(h.expires) }

// present is what was read of a target at one moment.
type present struct {
	reference
	live    *unstructured.Unstructured
	setting setting
	// hold is nil when Backout does not hold the target.
	hold *hold
	// stale is a hold that somebody ended by resuming the target past Backout; nil when
	// there is none.
	stale  *hold
	digest string
}

// settingOf reads the field that switches reconciliation.
func (f form) settingOf(live *unstructured.Unstructured) (setting, error) {
	value, _, err := unstructured.NestedFieldCopy(live.Object, f.path...)
	if err != nil {
		return setting{}, fmt.Errorf("read %s of %s %q: %w: it is not there where it belongs", strings.Join(f.path, "."), f.noun, live.GetName(), driver.ErrInvalid)
	}
	return setting{Value: value, Skip: live.GetAnnotations()[skipAnnotation]}, nil
}

// read makes out the state of a target.
func (r reference) read(live *unstructured.Unstructured) (present, error) {
	p := present{reference: r, live: live}
	var err error
	if p.setting, err = r.settingOf(live); err != nil {
		return present{}, err
	}
	if h := holdOf(live.GetAnnotations()); r.reconciles(p.setting) {
		p.stale = h
	} else {
		p.hold = h
	}
	p.digest, err = digest(p.setting, p.hold != nil)
	return p, err
}

// holdOf reads the annotations of a hold. One that misses some of them, or that says
// what can not be read, is broken: there is no way back from it, and it is overdue.
func holdOf(annotations map[string]string) *hold {
	h := &hold{by: oneLine(annotations[byAnnotation], maxText), reason: oneLine(annotations[reasonAnnotation], maxText)}
	count := 0
	for _, name := range holdAnnotations {
		if _, there := annotations[name]; there {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	var err error
	h.broken = count < len(holdAnnotations) || len(annotations[beforeAnnotation]) > maxBefore
	if h.since, err = time.Parse(time.RFC3339, annotations[sinceAnnotation]); err != nil {
		h.broken = true
	}
	if h.expires, err = time.Parse(time.RFC3339, annotations[expiresAnnotation]); err != nil {
		h.broken = true
	}
	if err := json.Unmarshal([]byte(annotations[beforeAnnotation]), &h.before); err != nil {
		h.broken = true
	}
	return h
}

// digest is taken over the setting and whether Backout holds it. For how long is not
// part of the state.
func digest(s setting, holds bool) (string, error) {
	canonical, err := json.Marshal(struct {
		Setting setting `json:"setting"`
		Held    bool    `json:"held"`
	}{s, holds})
	if err != nil {
		return "", fmt.Errorf("encode setting: %w", err)
	}
	return incident.DigestOf(canonical), nil
}

// named is the name of a state.
func (f form) named(s setting, holds bool) string {
	switch {
	case holds:
		return held
	case f.reconciles(s):
		return reconciling
	default:
		return suspended
	}
}

// state is the target's present state. The time of a hold is in its revision, so that
// the same hold can be asked for again.
func (p present) state() incident.State {
	state := incident.State{Revision: p.named(p.setting, p.hold != nil), Digest: p.digest}
	state.Label = state.Revision
	if state.Revision == held && !p.hold.broken {
		state.Revision = heldFor(p.hold.expires.Sub(p.hold.since))
	}
	return state
}

// says is what the target's present state is, for people.
func (p present) says(now time.Time) string {
	switch p.named(p.setting, p.hold != nil) {
	case held:
		if p.hold.broken {
			return "is held, and the annotations of the hold are broken"
		}
		said := fmt.Sprintf("is held by %s since %s until %s", p.hold.by, stamp(p.hold.since), stamp(p.hold.expires))
		if p.hold.overdue(now) {
			return said + ", which is OVERDUE: nobody has resumed it, and nothing of what is in Git has been applied since"
		}
		return said
	case suspended:
		return "is suspended by somebody else than Backout"
	default:
		return "applies what is in Git"
	}
}

// heldFor is the revision of a hold of some length.
func heldFor(length time.Duration) string { return held + "/" + length.String() }

// lengthOf reads how long a hold is asked for.
func lengthOf(revision string) (time.Duration, error) {
	_, text, given := strings.Cut(revision, "/")
	if !given {
		return defaultHold, nil
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < leastHold || length > longestHold || length%time.Second != 0 {
		return 0, fmt.Errorf("read revision %q: %w: want %q, a slash and a time between %s and %s in whole seconds", oneLine(revision, maxText), driver.ErrInvalid, held, leastHold, longestHold)
	}
	return length, nil
}

// holding is the setting with which nothing is applied any more.
func (p present) holding() setting { return setting{Value: p.held, Skip: p.setting.Skip} }

// switchTo are the operations that take the target from the present setting to
// another, and nothing of any other.
func (p present) switchTo(wanted setting) []operation {
	path := pointer(p.path...)
	parent := p.path[:len(p.path)-1]
	if _, there, _ := unstructured.NestedFieldNoCopy(p.live.Object, parent...); !there {
		// The test for null holds for what is absent.
		operations := []operation{{Op: "test", Path: pointer(parent...), Value: nil}}
		if wanted.Value != nil {
			operations = append(operations, operation{Op: "add", Path: pointer(parent...), Value: map[string]any{p.path[len(p.path)-1]: wanted.Value}})
		}
		return operations
	}
	operations := []operation{{Op: "test", Path: path, Value: p.setting.Value}}
	switch {
	case reflect.DeepEqual(p.setting.Value, wanted.Value):
	case wanted.Value == nil:
		operations = append(operations, operation{Op: "remove", Path: path})
	default:
		operations = append(operations, operation{Op: "add", Path: path, Value: wanted.Value})
	}
	return operations
}

// annotate are the operations that write annotations, if they are as they were read.
func (p present) annotate(wanted map[string]string) []operation {
	if p.live.GetAnnotations() == nil {
		return []operation{
			{Op: "test", Path: pointer("metadata", "annotations"), Value: nil},
			{Op: "add", Path: pointer("metadata", "annotations"), Value: wanted},
		}
	}
	operations := p.asRead()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		operations = append(operations, operation{Op: "add", Path: pointer("metadata", "annotations", name), Value: wanted[name]})
	}
	return operations
}

// release are the operations that take the annotations of a hold away.
func (p present) release() []operation {
	operations := p.asRead()
	for _, name := range holdAnnotations {
		if _, there := p.live.GetAnnotations()[name]; there {
			operations = append(operations, operation{Op: "remove", Path: pointer("metadata", "annotations", name)})
		}
	}
	return operations
}

// asRead tests that the annotations that count are as they were read.
func (p present) asRead() []operation {
	var operations []operation
	for _, name := range append(slices.Clone(holdAnnotations), skipAnnotation) {
		var value any
		if text, there := p.live.GetAnnotations()[name]; there {
			value = text
		}
		operations = append(operations, operation{Op: "test", Path: pointer("metadata", "annotations", name), Value: value})
	}
	return operations
}

// written are the annotations of a hold that begins now.
func (p present) written(key string, length time.Duration, now time.Time) (map[string]string, error) {
	before, err := json.Marshal(p.setting)
	if err != nil {
		return nil, fmt.Errorf("encode setting: %w", err)
	}
	if len(before) > maxBefore {
		return nil, fmt.Errorf("encode setting: %w: it is longer than %d bytes", driver.ErrInvalid, maxBefore)
	}
	since := now.UTC().Truncate(time.Second)
	return map[string]string{
		byAnnotation:      owner(key),
		reasonAnnotation:  reason,
		sinceAnnotation:   stamp(since),
		expiresAnnotation: stamp(since.Add(length)),
		beforeAnnotation:  string(before),
	}, nil
}

// owner is who holds a target: Backout, for one action of the ledger.
func owner(key string) string { return oneLine("backout "+key, maxText) }

// stamp is a moment as annotations and people have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
