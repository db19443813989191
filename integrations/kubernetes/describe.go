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
	if err := driver.NoParams(describeCollector, req.Params); err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	doc, err := d.describe(ctx, ref)
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

func (d describe) describe(ctx context.Context, ref reference) (description, error) {
	// All is read beside each other, as far as one does not need the other.
	var happened []corev1.Event
	var found []corev1.Pod
	var unheard, unseen error
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	reading.Go(func() { happened, unheard = d.cluster.events(ctx, ref.namespace) })
	object, err := d.cluster.get(ctx, ref.kind.resource, ref.namespace, ref.name)
	if err != nil {
		return description{}, err
	}
	selector, err := selectorOf(object)
	if err != nil {
		return description{}, err
	}
	reading.Go(func() { found, unseen = d.cluster.pods(ctx, ref.namespace, selector) })
	w, err := d.cluster.withHistory(ctx, ref, object)
	if err != nil {
		return description{}, err
	}
	reading.Wait()
	doc := description{Workload: describeWorkload(w), Revisions: describeRevisions(w.history)}
	if err := errors.Join(doc.orMissing(unseen), doc.orMissing(unheard)); err != nil {
		return description{}, err
	}
	about := map[types.UID]bool{w.object.GetUID(): true}
	for _, rev := range w.history.revisions {
		about[rev.uid] = true
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
		doc.Pods = append(doc.Pods, describePod(&found[i]))
	}
	doc.Events = describeEvents(happened, about)
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

// pods are all pods of a namespace that the selector matches.
func (c *cluster) pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	var all []corev1.Pod
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		page, err := c.core.Pods(namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list pods in namespace %q: %w", namespace, classify(err))
		}
		all = append(all, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return all, nil
		}
	}
}

// events are those of a namespace, maxEventsRead at most.
func (c *cluster) events(ctx context.Context, namespace string) ([]corev1.Event, error) {
	var all []corev1.Event
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := c.core.Events(namespace).List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list events in namespace %q: %w", namespace, classify(err))
		}
		all = append(all, page.Items...)
		if len(all) >= maxEventsRead {
			return all[:maxEventsRead], nil
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return all, nil
		}
	}
}

func describePod(pod *corev1.Pod) podDescription {
	return podDescription{
		Name: pod.Name, Node: pod.Spec.NodeName, Created: pod.CreationTimestamp.UTC(), Deleted: pod.DeletionTimestamp,
		Phase: pod.Status.Phase, Reason: pod.Status.Reason, Conditions: pod.Status.Conditions,
		Containers: slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
	}
}

func ownedBy(object metav1.Object, owners map[types.UID]bool) bool {
	owner := metav1.GetControllerOf(object)
	return owner != nil && owners[owner.UID]
}

// describeEvents returns the events about the given objects, oldest first.
func describeEvents(found []corev1.Event, about map[types.UID]bool) []eventDescription {
	var all []eventDescription
	for i := range found {
		event := &found[i]
		// Most events of a busy namespace are about something else.
		if !about[event.InvolvedObject.UID] {
			continue
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
	return all
}
