package kubernetes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/backout/backout/integrations/driver"
)

// describeCollector is the name of the collector.
const describeCollector = "kubernetes.describe"

const (
	// maxPods and maxEvents bound the evidence of one workload. What is left out is
	// counted in it.
	maxPods   = 100
	maxEvents = 200
	// maxEventsRead bounds how many events of the namespace are looked through.
	maxEventsRead = 5000
)

func init() {
	driver.RegisterCollector(describeCollector, systemType, func(c *cluster) driver.Collector { return describe{c} })
}

// describe captures what a rollback destroys: the pods of the bad version, their
// container states, and the events about them. It takes names of environment
// variables and never their values, and no commands, arguments or annotations,
// which hold values just as well.
type describe struct{ cluster *cluster }

// description is the captured document.
type description struct {
	Workload   workloadDescription   `json:"workload"`
	Revisions  []revisionDescription `json:"revisions"`
	Pods       []podDescription      `json:"pods"`
	PodsLeft   int                   `json:"pods_left_out,omitempty"`
	Events     []eventDescription    `json:"events"`
	EventsLeft int                   `json:"events_left_out,omitempty"`
	// Missing says what the credential could not read.
	Missing []string `json:"missing,omitempty"`
}

type workloadDescription struct {
	Kind       string                 `json:"kind"`
	Namespace  string                 `json:"namespace"`
	Name       string                 `json:"name"`
	UID        types.UID              `json:"uid"`
	Generation int64                  `json:"generation"`
	Revision   string                 `json:"revision"`
	Digest     string                 `json:"digest"`
	Rollout    string                 `json:"rollout"`
	Status     map[string]any         `json:"status"`
	Containers []containerDescription `json:"containers"`
	ConfigMaps []string               `json:"config_maps,omitempty"`
	Secrets    []string               `json:"secrets,omitempty"`
}

type containerDescription struct {
	Name      string   `json:"name"`
	Image     string   `json:"image"`
	Env       []string `json:"env_names,omitempty"`
	Resources any      `json:"resources,omitempty"`
}

type revisionDescription struct {
	Revision int64             `json:"revision"`
	Former   []int64           `json:"former,omitempty"`
	Holder   string            `json:"holder"`
	Created  time.Time         `json:"created"`
	Digest   string            `json:"digest"`
	Images   map[string]string `json:"images"`
	Wanted   int64             `json:"wanted"`
	Ready    int64             `json:"ready"`
}

type podDescription struct {
	Name       string                   `json:"name"`
	Node       string                   `json:"node,omitempty"`
	Created    time.Time                `json:"created"`
	Deleted    *metav1.Time             `json:"deleted,omitempty"`
	Phase      corev1.PodPhase          `json:"phase"`
	Reason     string                   `json:"reason,omitempty"`
	Conditions []corev1.PodCondition    `json:"conditions,omitempty"`
	Containers []corev1.ContainerStatus `json:"containers,omitempty"`
}

type eventDescription struct {
	Last    time.Time `json:"last"`
	Type    string    `json:"type"`
	Object  string    `json:"object"`
	Reason  string    `json:"reason"`
	Count   int32     `json:"count"`
	Message string    `json:"message"`
}

// Collect returns one JSON document.
func (d describe) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	for name := range req.Params {
		return nil, fmt.Errorf("collect %s: %w: unknown parameter %q", req.Target, driver.ErrInvalid, name)
	}
	w, err := d.cluster.workload(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	doc, err := d.describe(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	content, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode description of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{
		Name:      describeCollector + " " + ref.String(),
		MediaType: "application/json",
		Content:   content,
	}}, nil
}

func (d describe) describe(ctx context.Context, w workload) (description, error) {
	// Events take the longest, so they are read beside the pods.
	var happened []unstructured.Unstructured
	var unheard error
	var reading sync.WaitGroup
	reading.Go(func() { happened, unheard = d.cluster.list(ctx, events, w.namespace, "", maxEventsRead) })
	defer reading.Wait()

	doc := description{Workload: describeWorkload(w), Revisions: describeRevisions(w.history)}
	about := map[types.UID]bool{w.object.GetUID(): true}
	for _, rev := range w.history.revisions {
		about[rev.uid] = true
	}
	selector, err := selectorOf(w.object)
	if err != nil {
		return description{}, err
	}
	found, err := d.cluster.list(ctx, pods, w.namespace, selector, 0)
	if err := doc.orMissing(err); err != nil {
		return description{}, err
	}
	for i := range found {
		if !ownedBy(&found[i], about) {
			continue
		}
		about[found[i].GetUID()] = true
		if len(doc.Pods) == maxPods {
			doc.PodsLeft++
			continue
		}
		pod, err := describePod(&found[i])
		if err != nil {
			return description{}, err
		}
		doc.Pods = append(doc.Pods, pod)
	}
	reading.Wait()
	if err := doc.orMissing(unheard); err != nil {
		return description{}, err
	}
	doc.Events, err = describeEvents(happened, about)
	if err != nil {
		return description{}, err
	}
	if extra := len(doc.Events) - maxEvents; extra > 0 {
		doc.Events, doc.EventsLeft = doc.Events[extra:], extra // The latest stay.
	}
	return doc, nil
}

// orMissing notes what the credential may not read, and returns every other error.
func (d *description) orMissing(err error) error {
	if errors.Is(err, driver.ErrDenied) {
		d.Missing = append(d.Missing, err.Error())
		return nil
	}
	return err
}

func describeWorkload(w workload) workloadDescription {
	state := w.state()
	status, _, _ := unstructured.NestedMap(w.object.Object, "status") // Absent before the first rollout.
	configMaps, secrets := w.template.references()
	described := workloadDescription{
		Kind: w.object.GetKind(), Namespace: w.namespace, Name: w.name, UID: w.object.GetUID(), Generation: w.object.GetGeneration(),
		Revision: state.Revision, Digest: state.Digest, Rollout: w.rollout.detail, Status: status, ConfigMaps: configMaps, Secrets: secrets,
	}
	for _, list := range []string{"initContainers", "containers"} {
		for _, container := range w.template.containers(list) {
			described.Containers = append(described.Containers, describeContainer(container))
		}
	}
	return described
}

func describeContainer(c container) containerDescription {
	described := containerDescription{Name: c.name, Image: c.image, Resources: c.fields["resources"]}
	variables, _, _ := unstructured.NestedSlice(c.fields, "env") // Absent and malformed are both nothing to tell.
	for _, variable := range variables {
		if fields, ok := variable.(map[string]any); ok {
			name, _, _ := unstructured.NestedString(fields, "name")
			described.Env = append(described.Env, name)
		}
	}
	return described
}

func describeRevisions(h history) []revisionDescription {
	all := make([]revisionDescription, 0, len(h.revisions))
	for _, rev := range h.revisions {
		all = append(all, revisionDescription{
			Revision: rev.number, Former: rev.former, Holder: rev.holder, Created: rev.created,
			Digest: rev.digest, Images: rev.template.images(), Wanted: rev.wanted, Ready: rev.ready,
		})
	}
	return all
}

func describePod(object *unstructured.Unstructured) (podDescription, error) {
	var pod corev1.Pod
	if err := decode(object, &pod); err != nil {
		return podDescription{}, err
	}
	return podDescription{
		Name: pod.Name, Node: pod.Spec.NodeName, Created: pod.CreationTimestamp.UTC(), Deleted: pod.DeletionTimestamp,
		Phase: pod.Status.Phase, Reason: pod.Status.Reason, Conditions: pod.Status.Conditions,
		Containers: slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
	}, nil
}

func ownedBy(object *unstructured.Unstructured, owners map[types.UID]bool) bool {
	owner := metav1.GetControllerOf(object)
	return owner != nil && owners[owner.UID]
}

// describeEvents returns the events about the given objects, oldest first.
func describeEvents(objects []unstructured.Unstructured, about map[types.UID]bool) ([]eventDescription, error) {
	var all []eventDescription
	for i := range objects {
		// Most events of a busy namespace are about something else.
		if uid, _, _ := unstructured.NestedString(objects[i].Object, "involvedObject", "uid"); !about[types.UID(uid)] {
			continue
		}
		var event corev1.Event
		if err := decode(&objects[i], &event); err != nil {
			return nil, err
		}
		last := event.LastTimestamp.Time
		if last.IsZero() { // Events of the newer API carry their time elsewhere.
			last = event.EventTime.Time
		}
		all = append(all, eventDescription{
			Last: last.UTC(), Type: event.Type, Object: event.InvolvedObject.Kind + "/" + event.InvolvedObject.Name,
			Reason: event.Reason, Count: event.Count, Message: event.Message,
		})
	}
	slices.SortStableFunc(all, func(a, b eventDescription) int {
		return cmp.Or(a.Last.Compare(b.Last), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Reason, b.Reason))
	})
	return all, nil
}
