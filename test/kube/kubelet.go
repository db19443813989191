package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	nodeName = "node-0"

	// badImage in an image's name keeps the container from ever being ready.
	badImage = "bad"
)

// kubelet is the scheduler and the kubelet of a Node without a machine. It binds
// every pod to its Node, gives it an address, reports it ready after readyAfter
// and confirms a deletion after stopAfter. The delays matter: without them races
// that real clusters have never show.
type kubelet struct {
	readyAfter time.Duration
	stopAfter  time.Duration
	log        *slog.Logger

	client    kubernetes.Interface
	addresses atomic.Uint32
}

// start makes the Node and returns when pods are being watched.
func (k *kubelet) start(ctx context.Context, client kubernetes.Interface) error {
	k.client = client
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue},
		}},
	}
	if _, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create node %q: %w", nodeName, err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			pod := object.(*corev1.Pod)
			if pod.DeletionTimestamp != nil {
				go k.stopPod(ctx, pod)
				return
			}
			go k.startPod(ctx, pod.DeepCopy())
		},
		UpdateFunc: func(before, object any) {
			pod := object.(*corev1.Pod)
			if pod.DeletionTimestamp != nil && before.(*corev1.Pod).DeletionTimestamp == nil {
				go k.stopPod(ctx, pod)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced) {
		return fmt.Errorf("list pods: %w", ctx.Err())
	}
	return nil
}

func (k *kubelet) startPod(ctx context.Context, pod *corev1.Pod) {
	if pod.Status.Phase == corev1.PodRunning {
		return
	}
	pods := k.client.CoreV1().Pods(pod.Namespace)
	if pod.Spec.NodeName == "" {
		err := pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
		}, metav1.CreateOptions{})
		if err != nil {
			k.report("bind pod", pod, err)
			return
		}
	}
	if !wait(ctx, k.readyAfter) {
		return
	}
	pod.ResourceVersion = "" // Binding and controllers moved it; the status is ours alone.
	pod.Status = podStatus(pod, k.nextAddress(), metav1.Now())
	if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		k.report("report pod status", pod, err)
	}
}

func (k *kubelet) stopPod(ctx context.Context, pod *corev1.Pod) {
	if !wait(ctx, k.stopAfter) {
		return
	}
	now := int64(0)
	err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if err != nil {
		k.report("confirm deletion", pod, err)
	}
}

// report logs what is not the usual race with a pod that was deleted meanwhile.
func (k *kubelet) report(what string, pod *corev1.Pod, err error) {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return
	}
	k.log.Warn(what, "namespace", pod.Namespace, "pod", pod.Name, "error", err)
}

// nextAddress returns an address in 10.244.0.0/16; they repeat after 65,535 pods.
func (k *kubelet) nextAddress() string {
	n := k.addresses.Add(1)
	return fmt.Sprintf("10.244.%d.%d", n>>8&0xff, n&0xff)
}

// podStatus is what a kubelet reports of a pod that has started: running and
// ready, or with a bad image running and crashing.
func podStatus(pod *corev1.Pod, address string, now metav1.Time) corev1.PodStatus {
	status := corev1.PodStatus{
		Phase:     corev1.PodRunning,
		StartTime: &now,
		PodIP:     address,
		PodIPs:    []corev1.PodIP{{IP: address}},
	}
	ready := corev1.ConditionTrue
	for _, container := range pod.Spec.Containers {
		reported := containerStatus(container, now)
		if !reported.Ready {
			ready = corev1.ConditionFalse
		}
		status.ContainerStatuses = append(status.ContainerStatuses, reported)
	}
	for _, condition := range []struct {
		kind  corev1.PodConditionType
		value corev1.ConditionStatus
	}{
		{corev1.PodScheduled, corev1.ConditionTrue},
		{corev1.PodInitialized, corev1.ConditionTrue},
		{corev1.ContainersReady, ready},
		{corev1.PodReady, ready},
	} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{
			Type: condition.kind, Status: condition.value, LastTransitionTime: now,
		})
	}
	return status
}

func containerStatus(container corev1.Container, now metav1.Time) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: container.Name, Image: container.Image}
	if !strings.Contains(container.Image, badImage) {
		started := true
		status.Ready, status.Started = true, &started
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
		return status
	}
	status.RestartCount = 3
	status.State.Waiting = &corev1.ContainerStateWaiting{
		Reason:  "CrashLoopBackOff",
		Message: "back-off 40s restarting failed container=" + container.Name,
	}
	status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
		ExitCode: 1, Reason: "Error", StartedAt: now, FinishedAt: now,
	}
	return status
}

// wait reports false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
