package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const nodeName = "node-0"

// kubelet is the scheduler and the kubelet of a Node without a machine. It binds
// every pod to its Node, gives it an address, reports after readyAfter what its
// containers do, serves their logs, and confirms a deletion after stopAfter. The
// delays matter: without them races that real clusters have never show.
type kubelet struct {
	readyAfter time.Duration
	stopAfter  time.Duration
	identities *identities
	stopped    chan<- error // Receives when logs are served no more, which should not happen.
	log        *slog.Logger

	client    kubernetes.Interface
	addresses atomic.Uint32
}

// start makes the Node and returns when pods are being watched.
func (k *kubelet) start(ctx context.Context, client kubernetes.Interface) error {
	k.client = client
	listener, port, err := listenForLogs(ctx)
	if err != nil {
		return err
	}
	if err := k.node(ctx, port); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	_, err = pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
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
				return
			}
			if pod.Status.PodIP != "" && pod.Annotations[scriptAnnotation] != before.(*corev1.Pod).Annotations[scriptAnnotation] {
				go k.reportPod(ctx, pod.DeepCopy())
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
	logs := &logServer{pod: func(namespace, name string) (*corev1.Pod, bool) {
		object, found, err := pods.GetStore().GetByKey(namespace + "/" + name)
		if err != nil || !found {
			return nil, false
		}
		return object.(*corev1.Pod), true
	}}
	go func() { k.stopped <- logs.serve(listener, k.identities) }()
	return nil
}

// node makes the Node, or brings up to date the one of an earlier run. It says at which
// port the API server finds the logs.
func (k *kubelet) node(ctx context.Context, port int32) error {
	api := k.client.CoreV1().Nodes()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if _, err := api.Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create node %q: %w", nodeName, err)
	}
	node.Status = corev1.NodeStatus{
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
	}
	if _, err := api.UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("report status of node %q: %w", nodeName, err)
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
	if wait(ctx, k.readyAfter) {
		k.reportPod(ctx, pod)
	}
}

// reportPod reports what the containers of a pod do by its script.
func (k *kubelet) reportPod(ctx context.Context, pod *corev1.Pod) {
	scripts, err := scriptsOf(pod)
	if err != nil {
		k.log.Error("follow what the images say instead", "namespace", pod.Namespace, "pod", pod.Name, "error", err)
	}
	address := pod.Status.PodIP
	if address == "" {
		address = k.nextAddress()
	}
	pod.ResourceVersion = "" // Binding and controllers moved it; the status is ours alone.
	pod.Status = podStatus(pod, scripts, address, metav1.Now())
	if _, err := k.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
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
