package flagger

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// systemType is the type of the systems that canaries live on.
const systemType = "kubernetes"

// targetForm shows how a target's path is spelled.
const targetForm = "<namespace>/<canary>"

const (
	// pageSize is how many objects one list request asks for.
	pageSize = 500
	// maxSaid is the longest text of the cluster's that is told, in runes.
	maxSaid = 80
	// primarySuffix is behind the names of what Flagger makes of the target.
	// Source: https://docs.flagger.app/usage/how-it-works
	primarySuffix = "-primary"
	// revisionAnnotation is how the Deployment controller numbers ReplicaSets.
	revisionAnnotation = "deployment.kubernetes.io/revision"

	// defaultInterval and leastInterval are the time between two checks of an analysis,
	// where the Canary names none or a shorter one.
	// Source: https://github.com/fluxcd/flagger/blob/v1.36.1/pkg/apis/flagger/v1beta1/canary.go
	defaultInterval = time.Minute
	leastInterval   = 10 * time.Second
)

// The resources that are read.
var (
	canaries    = schema.GroupVersionResource{Group: "flagger.app", Version: "v1beta1", Resource: "canaries"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
)

// cluster is what the kind needs of a connection to a cluster.
type cluster interface {
	// Objects returns the client that reads objects of any resource.
	Objects() dynamic.Interface
	// Classify says what an error of that client means.
	Classify(err error) error
	// Workloads and WorkloadChanges are the kind that takes the target back.
	Workloads() driver.Inverse
	WorkloadChanges() driver.ChangeSource
	// Rollout says how far a Deployment has taken on its pod template.
	Rollout(object *unstructured.Unstructured) (settled bool, detail string, err error)
	// Template reads the digest of a pod template, and what people call it.
	Template(object *unstructured.Unstructured) (digest, label string, err error)
}

// reference names one Canary of a cluster.
type reference struct{ namespace, name string }

// String is how the Canary is spelled in a target's path.
func (r reference) String() string { return r.namespace + "/" + r.name }

func parseTarget(target incident.Target) (reference, error) {
	namespace, name, ok := strings.Cut(target.Path, "/")
	if !ok || namespace == "" || name == "" || strings.ContainsAny(name, "/%") || strings.Contains(namespace, "%") {
		return reference{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return reference{namespace: namespace, name: name}, nil
}

// analysis is how a Canary is analysed.
type analysis struct {
	Interval    string  `json:"interval"`
	Iterations  int64   `json:"iterations"`
	MaxWeight   int64   `json:"maxWeight"`
	StepWeight  int64   `json:"stepWeight"`
	StepWeights []int64 `json:"stepWeights"`
	Webhooks    []struct {
		Type string `json:"type"`
	} `json:"webhooks"`
}

// fields are what is read of a Canary.
// Source: https://github.com/fluxcd/flagger/blob/v1.36.1/pkg/apis/flagger/v1beta1/canary.go
type fields struct {
	Spec struct {
		TargetRef struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"targetRef"`
		Analysis *analysis `json:"analysis"`
		// CanaryAnalysis is what Analysis was called before.
		CanaryAnalysis *analysis `json:"canaryAnalysis"`
		SkipAnalysis   bool      `json:"skipAnalysis"`
		Suspend        bool      `json:"suspend"`
	} `json:"spec"`
	Status struct {
		Phase        string `json:"phase"`
		CanaryWeight int64  `json:"canaryWeight"`
		Iterations   int64  `json:"iterations"`
		FailedChecks int64  `json:"failedChecks"`
	} `json:"status"`
}

// canary is what was read of one Canary at one moment.
type canary struct {
	reference
	fields
}

func readCanary(ctx context.Context, c cluster, ref reference) (canary, error) {
	object, err := c.Objects().Resource(canaries).Namespace(ref.namespace).Get(ctx, ref.name, metav1.GetOptions{})
	if err != nil {
		return canary{}, fmt.Errorf("read Canary %q in namespace %q: %w", ref.name, ref.namespace, c.Classify(err))
	}
	read := canary{reference: ref}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &read.fields); err != nil {
		return canary{}, fmt.Errorf("decode Canary %q: %w", ref.name, err)
	}
	return read, nil
}

// unfit says why the target of a Canary can not be taken back; it is empty when it can.
func (c canary) unfit() string {
	switch kind := c.Spec.TargetRef.Kind; {
	case kind != "Deployment":
		return fmt.Sprintf("The target of the canary %s is a %s, and only a Deployment can be taken back.", c.name, oneLine(kind))
	case strings.ContainsAny(c.Spec.TargetRef.Name, "/%") || c.Spec.TargetRef.Name == "":
		return fmt.Sprintf("The canary %s has no target.", c.name)
	}
	switch c.Status.Phase {
	case "", "Initializing":
		return fmt.Sprintf("The canary %s is not initialized: there is no primary yet.", c.name)
	case "Terminating", "Terminated":
		return fmt.Sprintf("The canary %s is being deleted.", c.name)
	}
	return ""
}

// target is the Deployment that people deploy to, as "kubernetes.workload" spells it.
func (c canary) target(system string) incident.Target {
	return incident.Target{System: system, Path: "deployment/" + c.namespace + "/" + c.Spec.TargetRef.Name}
}

// primaryName is the Deployment that serves.
func (c canary) primaryName() string { return c.Spec.TargetRef.Name + primarySuffix }

// analysed is how the Canary is analysed, and whether it is at all.
func (c canary) analysed() (analysis, bool) {
	a := c.Spec.Analysis
	if a == nil {
		a = c.Spec.CanaryAnalysis
	}
	if a == nil {
		return analysis{}, false
	}
	return *a, !c.Spec.SkipAnalysis
}

// inFlight reports whether Flagger is in the middle of something.
func (c canary) inFlight() bool {
	switch c.Status.Phase {
	case "Progressing", "Waiting", "WaitingPromotion", "Promoting", "Finalising":
		return true
	}
	return false
}

// phase is what Flagger says that it is at.
func (c canary) phase() string {
	text := c.Status.Phase
	if c.inFlight() {
		text += fmt.Sprintf(", %d %% of the traffic, %d iterations, %d failed checks", c.Status.CanaryWeight, c.Status.Iterations, c.Status.FailedChecks)
	}
	if c.Spec.Suspend {
		text += ", suspended"
	}
	return oneLine(text)
}

// checks is how many intervals an analysis takes that nothing goes wrong in.
func (a analysis) checks() int64 {
	switch {
	case a.Iterations > 0:
		return a.Iterations
	case len(a.StepWeights) > 0:
		return int64(len(a.StepWeights))
	case a.StepWeight > 0 && a.MaxWeight > 0:
		return (a.MaxWeight + a.StepWeight - 1) / a.StepWeight
	case a.StepWeight > 0:
		return (100 + a.StepWeight - 1) / a.StepWeight
	}
	return 1
}

// every is the time between two checks.
func (a analysis) every() time.Duration {
	interval, err := time.ParseDuration(a.Interval)
	if err != nil {
		return defaultInterval // As Flagger does with what it can not read.
	}
	return max(interval, leastInterval)
}

// gates are the webhooks that can hold an analysis until somebody says yes.
func (a analysis) gates() int {
	gates := 0
	for _, hook := range a.Webhooks {
		if strings.HasPrefix(hook.Type, "confirm-") {
			gates++
		}
	}
	return gates
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
