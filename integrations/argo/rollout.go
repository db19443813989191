package argo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// targetForm shows how a target's path is spelled.
const targetForm = "<namespace>/<name>"

// abortedSuffix is behind the revision of a state that an abort has brought about.
const abortedSuffix = "-by-abort"

// maxSaid is the longest text of the controller's that is told, in runes.
const maxSaid = 80

// errUnrecorded means that the controller does not say which revision the specification
// is, which passes.
var errUnrecorded = errors.New("the controller does not say yet which revision the present specification is")

// reference names one Rollout of a cluster.
type reference struct{ namespace, name string }

// String is how the Rollout is spelled in a target's path.
func (r reference) String() string { return r.namespace + "/" + r.name }

func parseTarget(target incident.Target) (reference, error) {
	namespace, name, ok := strings.Cut(target.Path, "/")
	if !ok || namespace == "" || name == "" || strings.ContainsAny(name, "/%") || strings.Contains(namespace, "%") {
		return reference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return reference{namespace: namespace, name: name}, nil
}

// fields are what is read of a Rollout.
// Source: https://argo-rollouts.readthedocs.io/en/stable/features/specification/
type fields struct {
	Spec struct {
		Replicas    *int64 `json:"replicas"`
		Paused      bool   `json:"paused"`
		WorkloadRef *struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"workloadRef"`
		RollbackWindow *struct {
			Revisions int64 `json:"revisions"`
		} `json:"rollbackWindow"`
		Strategy struct {
			Canary *struct {
				Steps []struct {
					Pause *struct {
						Duration any `json:"duration"`
					} `json:"pause"`
				} `json:"steps"`
				TrafficRouting map[string]any `json:"trafficRouting"`
			} `json:"canary"`
			BlueGreen *struct {
				AutoPromotion *bool `json:"autoPromotionEnabled"`
			} `json:"blueGreen"`
		} `json:"strategy"`
	} `json:"spec"`
	Status struct {
		Abort              bool   `json:"abort"`
		AbortedAt          string `json:"abortedAt"`
		CurrentPodHash     string `json:"currentPodHash"`
		StableRS           string `json:"stableRS"`
		ObservedGeneration string `json:"observedGeneration"`
		CurrentStepIndex   *int64 `json:"currentStepIndex"`
		AvailableReplicas  int64  `json:"availableReplicas"`
		Phase              string `json:"phase"`
		Message            string `json:"message"`
		BlueGreen          struct {
			ActiveSelector string `json:"activeSelector"`
		} `json:"blueGreen"`
		Canary struct {
			Weights *struct {
				Canary struct {
					Weight int64 `json:"weight"`
				} `json:"canary"`
			} `json:"weights"`
		} `json:"canary"`
	} `json:"status"`
}

// rollout is what was read of one Rollout at one moment.
type rollout struct {
	reference
	fields
	object  *unstructured.Unstructured
	history history
	// present is the revision in the specification; recorded says that it is known.
	present  revision
	recorded bool
	// stable is the last revision that was promoted; promoted says that there is one.
	stable   revision
	promoted bool
}

// read reads a Rollout and its history.
func read(ctx context.Context, c cluster, ref reference) (rollout, error) {
	// The history is read after the object: what the object shows is then in it.
	object, err := get(ctx, c, ref)
	if err != nil {
		return rollout{}, err
	}
	r := rollout{reference: ref, object: object}
	if err := decode(object.Object, &r.fields); err != nil {
		return rollout{}, fmt.Errorf("decode Rollout %q: %w", ref.name, err)
	}
	if r.Spec.WorkloadRef != nil {
		return r, nil
	}
	if r.history, err = readHistory(ctx, c, object); err != nil {
		return rollout{}, err
	}
	digest, _, err := c.Template(object)
	if err != nil {
		return rollout{}, fmt.Errorf("read Rollout %q: %w", ref.name, err)
	}
	r.recognise(digest)
	r.stable, r.promoted = r.history.byHash(r.Status.StableRS)
	return r, nil
}

func decode(object map[string]any, into *fields) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(object, into)
}

// recognise finds the revision that the specification says. What was written as the
// history has it needs nobody to say what it is. Anything else is what the controller
// says, and reads alike: the controller says that it has seen a change before it says
// what that change made of the present revision.
func (r *rollout) recognise(digest string) {
	if r.present, r.recorded = r.history.byDigest(digest); r.recorded || !r.observed() {
		return
	}
	if said, ok := r.history.byHash(r.Status.CurrentPodHash); ok && sameTemplate(r.object, said.set) {
		r.present, r.recorded = said, true
	}
}

// observed reports whether the controller has taken up the present specification.
func (r rollout) observed() bool {
	return r.Status.ObservedGeneration == strconv.FormatInt(r.object.GetGeneration(), 10)
}

// inFlight reports whether the present revision is not promoted.
func (r rollout) inFlight() bool {
	return r.recorded && r.promoted && r.present.digest != r.stable.digest
}

// aborted reports whether the update to the present revision is aborted. The status
// can be of a revision before, which the controller has not taken back yet.
func (r rollout) aborted() bool {
	return r.Status.Abort && r.inFlight() && r.Status.CurrentPodHash == r.present.hash
}

// state is what is in force.
func (r rollout) state() (incident.State, error) {
	switch {
	case !r.recorded:
		return incident.State{}, fmt.Errorf("read Rollout %q: %w", r.name, errUnrecorded)
	case r.aborted():
		return byAbort(r.stable), nil
	default:
		return bySpecification(r.present), nil
	}
}

// bySpecification is the state in which a revision is in the specification.
func bySpecification(r revision) incident.State {
	return incident.State{Revision: strconv.FormatInt(r.number, 10), Digest: r.digest, Label: r.label}
}

// byAbort is the state in which a revision is in force because an update of it was
// aborted, whatever the update was to.
func byAbort(r revision) incident.State {
	return incident.State{
		Revision: strconv.FormatInt(r.number, 10) + abortedSuffix,
		Digest:   incident.DigestOf([]byte("by abort " + r.digest)),
		Label:    r.label,
	}
}

// progress is how far the Rollout has taken on its state, in one line for people.
// With resumed, the state is an update that was aborted before: it has been taken on
// when the update is under way again, and not only when it is promoted.
func (r rollout) progress(resumed bool) (settled bool, detail string) {
	switch {
	case r.aborted():
		return r.afterAbort()
	case !r.observed():
		return false, "the controller has not begun"
	case r.Status.Phase == "Healthy" && !r.inFlight() && r.Status.CurrentPodHash == r.present.hash:
		return true, fmt.Sprintf("%d of %d pods available", r.Status.AvailableReplicas, r.replicas())
	case resumed && r.Status.AbortedAt == "" && (r.Status.Phase == "Progressing" || r.Status.Phase == "Paused"):
		return true, "the update is under way again: " + r.phase()
	default:
		return false, r.phase()
	}
}

// afterAbort is how far an abort has come: the stable revision has all its pods and
// all traffic.
func (r rollout) afterAbort() (settled bool, detail string) {
	update := r.present.name()
	weights := r.Status.Canary.Weights
	switch {
	case r.Status.AbortedAt == "" || r.Status.Phase != "Degraded":
		return false, "the controller has not begun"
	case r.stable.available < r.replicas():
		return false, fmt.Sprintf("%d of %d pods of %s available", r.stable.available, r.replicas(), r.stable.name())
	case r.Spec.Strategy.BlueGreen != nil && r.Status.BlueGreen.ActiveSelector != r.stable.hash:
		return false, "the active Service does not select " + r.stable.name() + " yet"
	case weights != nil && weights.Canary.Weight > 0:
		return false, fmt.Sprintf("%d %% of the traffic still goes to %s", weights.Canary.Weight, update)
	case r.Spec.Strategy.Canary != nil && r.Spec.Strategy.Canary.TrafficRouting == nil && r.present.there > 0:
		return false, fmt.Sprintf("%d pods of %s are still to go", r.present.there, update)
	}
	return true, fmt.Sprintf("the update to %s is aborted, %d of %d pods of %s available", update, r.stable.available, r.replicas(), r.stable.name())
}

// phase is what the controller says that it is at. The rest of its message comes from
// whatever measures the update, and is not told.
func (r rollout) phase() string {
	text := r.Status.Phase
	if reason, _, _ := strings.Cut(r.Status.Message, ":"); reason != "" {
		text += " (" + reason + ")"
	}
	if steps := r.steps(); r.inFlight() && len(steps) > 0 && r.Status.CurrentStepIndex != nil {
		text += fmt.Sprintf(", %d of %d steps done", *r.Status.CurrentStepIndex, len(steps))
	}
	return oneLine(text)
}

// step says whether a step waits until somebody promotes.
type step struct{ waits bool }

// steps are those of a canary.
func (r rollout) steps() []step {
	canary := r.Spec.Strategy.Canary
	if canary == nil {
		return nil
	}
	var all []step
	for _, s := range canary.Steps {
		all = append(all, step{waits: s.Pause != nil && s.Pause.Duration == nil})
	}
	return all
}

// replicas is how many pods are wanted.
func (r rollout) replicas() int64 {
	if r.Spec.Replicas == nil {
		return 1
	}
	return *r.Spec.Replicas
}

// oneLine is text from outside as one short line without control characters.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxSaid {
		text = string(runes[:maxSaid-1]) + "…"
	}
	return text
}
