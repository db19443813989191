package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/backout/backout/test/controlplane/launch"
)

// The namespace of the Deployments, and the annotation that names who shipped.
const (
	Namespace        = "shop"
	AuthorAnnotation = "shop.example/author"
	image            = "registry.shop.example/"
	replicas         = 3
)

// How often the services look at their Deployment, and how long a shipment may
// take to be rolled out before the next.
const (
	clusterPoll   = 100 * time.Millisecond
	rolloutWithin = 30 * time.Second
)

// Cluster is a real Kubernetes control plane whose Deployments say which
// release each service runs.
type Cluster struct {
	process *launch.Process
	api     kubernetes.Interface
	stop    context.CancelFunc
}

// OpenCluster starts the control plane's binary with its files in a folder.
func OpenCluster(ctx context.Context, binary, dir string) (*Cluster, error) {
	process, err := launch.Start(ctx, binary, "-dir", dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{process: process}
	config, err := clientcmd.BuildConfigFromFlags("", process.Kubeconfig)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read kubeconfig: %w", err), c.Close())
	}
	if c.api, err = kubernetes.NewForConfig(config); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the cluster: %w", err), c.Close())
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	if _, err := c.api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return nil, errors.Join(fmt.Errorf("create namespace: %w", err), c.Close())
	}
	return c, nil
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.process.Kubeconfig }

// Ship rolls a release of a service out, as author, and waits until it runs.
func (c *Cluster) Ship(ctx context.Context, service, version, author string) error {
	err := c.apply(ctx, service, version, author)
	if err != nil {
		return fmt.Errorf("ship %s %s: %w", service, version, err)
	}
	ctx, cancel := context.WithTimeout(ctx, rolloutWithin)
	defer cancel()
	for {
		if got, err := c.Pointed(ctx, service); err == nil && got == version {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ship %s %s: %w", service, version, ctx.Err())
		case <-time.After(clusterPoll):
		}
	}
}

func (c *Cluster) apply(ctx context.Context, service, version, author string) error {
	deployments := c.api.AppsV1().Deployments(Namespace)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{AuthorAnnotation: author}},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []map[string]string{
			{"name": service, "image": image + service + ":" + version},
		}}}},
	})
	if err != nil {
		return err
	}
	_, err = deployments.Patch(ctx, service, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	labels := map[string]string{"app": service}
	count := int32(replicas)
	_, err = deployments.Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: service, Labels: labels, Annotations: map[string]string{AuthorAnnotation: author}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &count, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: service, Image: image + service + ":" + version}}},
			},
		},
	}, metav1.CreateOptions{})
	return err
}

// Pointed is the release that a service's Deployment has rolled out.
func (c *Cluster) Pointed(ctx context.Context, service string) (string, error) {
	d, err := c.api.AppsV1().Deployments(Namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read Deployment of %s: %w", service, err)
	}
	if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < replicas || d.Status.AvailableReplicas < replicas {
		return "", fmt.Errorf("read Deployment of %s: it is being rolled out", service)
	}
	_, version, _ := strings.Cut(d.Spec.Template.Spec.Containers[0].Image, ":")
	return version, nil
}

// Follow makes the services run what their Deployments have rolled out, until
// it is closed.
func (c *Cluster) Follow(ctx context.Context, s *Shop) error {
	ctx, c.stop = context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(clusterPoll)
		defer tick.Stop()
		for {
			for _, name := range Names() {
				if v, err := c.Pointed(ctx, name); err == nil && v != s.Service(name).Version() {
					s.Service(name).Release(v)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return nil
}

// Close ends the control plane.
func (c *Cluster) Close() error {
	if c.stop != nil {
		c.stop()
	}
	return c.process.Close()
}
