package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/backout/backout/test/controlplane"
)

const (
	goodVersion, badVersion = "v41", "v42"
	// goodRevision is the revision of goodVersion.
	goodRevision = "1"
	replicas     = 3

	// revisionAnnotation is where the controller writes the number of a template.
	// Source: https://kubernetes.io/docs/reference/labels-annotations-taints/#deployment-kubernetes-io-revision
	revisionAnnotation = "deployment.kubernetes.io/revision"

	// atRest is how long nothing may change of a Deployment that is at rest: no step
	// of a controller takes as long.
	atRest = 200 * time.Millisecond
)

func bareName(turn int) string { return fmt.Sprintf("bare-%03d", turn) }

func productName(turn int) string { return fmt.Sprintf("shop-%03d", turn) }

func imageOf(version string) string { return "registry.example/shop:" + version }

// fleet is Deployments of which each is taken back once.
type fleet struct {
	client    kubernetes.Interface
	namespace string
}

func newFleet(tb testing.TB, plane *controlplane.Plane) *fleet {
	tb.Helper()
	return &fleet{client: plane.Client(tb, "admin"), namespace: plane.Namespace(tb)}
}

// deploy makes the Deployments of some turns: v41, and v42 in a later second, because
// Kubernetes keeps no finer times.
func (f *fleet) deploy(ctx context.Context, from, until int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*turnWithin)
	defer cancel()
	var names []string
	for turn := from; turn < until; turn++ {
		names = append(names, bareName(turn), productName(turn))
	}
	each := func(do func(ctx context.Context, name string) (*appsv1.Deployment, error)) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, name := range names {
			group.Go(func() error {
				d, err := do(ctx, name)
				if err != nil {
					return err
				}
				if _, err := f.rolledOut(ctx, d, d.Generation); err != nil {
					return err
				}
				return f.rest(ctx, name)
			})
		}
		return group.Wait()
	}
	api := f.client.AppsV1().Deployments(f.namespace)
	if err := each(func(ctx context.Context, name string) (*appsv1.Deployment, error) {
		return api.Create(ctx, deployment(name), metav1.CreateOptions{})
	}); err != nil {
		return err
	}
	next := time.NewTimer(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	defer next.Stop()
	select {
	case <-next.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return each(func(ctx context.Context, name string) (*appsv1.Deployment, error) {
		return f.patch(ctx, name, "/spec/template/spec/containers/0/image", imageOf(badVersion))
	})
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	wanted := int32(replicas)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &wanted,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "shop", Image: imageOf(goodVersion)}}},
			},
		},
	}
}

func (f *fleet) get(ctx context.Context, name string) (*appsv1.Deployment, error) {
	return f.client.AppsV1().Deployments(f.namespace).Get(ctx, name, metav1.GetOptions{})
}

func (f *fleet) patch(ctx context.Context, name, path string, value any) (*appsv1.Deployment, error) {
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": path, "value": value}})
	if err != nil {
		return nil, err
	}
	return f.client.AppsV1().Deployments(f.namespace).Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
}

// undo is the floor: what "kubectl rollout undo --to-revision" and "kubectl rollout
// status" do, with one client.
func (f *fleet) undo(ctx context.Context, name, revision string) (parts, error) {
	ctx, cancel := context.WithTimeout(ctx, turnWithin)
	defer cancel()
	took := parts{begin: time.Now()}
	d, err := f.get(ctx, name)
	if err != nil {
		return took, err
	}
	sets, err := f.client.AppsV1().ReplicaSets(f.namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)})
	if err != nil {
		return took, err
	}
	i := slices.IndexFunc(sets.Items, func(s appsv1.ReplicaSet) bool {
		return metav1.IsControlledBy(&s, d) && s.Annotations[revisionAnnotation] == revision
	})
	if i < 0 {
		return took, fmt.Errorf("%s has no revision %s", name, revision)
	}
	template := sets.Items[i].Spec.Template
	delete(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	took.marks = append(took.marks, mark{partFind, time.Now()})
	if d, err = f.patch(ctx, name, "/spec/template", template); err != nil {
		return took, err
	}
	done, err := f.rolledOut(ctx, d, d.Generation)
	if err != nil {
		return took, err
	}
	took.marks = append(took.marks, mark{partRollout, done})
	return took, f.rest(ctx, name)
}

// rolledOut watches a Deployment, from what was seen of it last, until the rollout of
// a generation is complete, and returns that moment.
func (f *fleet) rolledOut(ctx context.Context, d *appsv1.Deployment, generation int64) (time.Time, error) {
	api := f.client.AppsV1().Deployments(f.namespace)
	for d.Generation < generation || !complete(d) {
		if err := ctx.Err(); err != nil {
			return time.Time{}, fmt.Errorf("wait for the rollout of %s, which has %+v: %w", d.Name, d.Status, err)
		}
		events, err := api.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + d.Name, ResourceVersion: d.ResourceVersion})
		if err != nil {
			return time.Time{}, err
		}
		for event := range events.ResultChan() {
			seen, ok := event.Object.(*appsv1.Deployment)
			if !ok {
				events.Stop()
				return time.Time{}, fmt.Errorf("watch %s: %s of a %T", d.Name, event.Type, event.Object)
			}
			if d = seen; d.Generation >= generation && complete(d) {
				break
			}
		}
		events.Stop()
	}
	return time.Now(), nil
}

// complete judges as "kubectl rollout status" does.
func complete(d *appsv1.Deployment) bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas >= *d.Spec.Replicas &&
		s.Replicas <= s.UpdatedReplicas && s.AvailableReplicas >= s.UpdatedReplicas
}

// rest returns when the Pods that were replaced are gone, and nothing of the Deployment
// has changed for a while, so that the work of one turn is not measured as the next
// one's.
func (f *fleet) rest(ctx context.Context, name string) error {
	look := time.NewTicker(atRest)
	defer look.Stop()
	var last string
	for {
		now, pods, err := f.versions(ctx, name)
		if err != nil {
			return err
		}
		if pods == replicas && now == last {
			return nil
		}
		last = now
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s with %d Pods is at rest: %w", name, pods, ctx.Err())
		}
	}
}

// versions names the versions of all that belongs to a Deployment, and counts its Pods.
func (f *fleet) versions(ctx context.Context, name string) (versions string, count int, err error) {
	d, err := f.get(ctx, name)
	if err != nil {
		return "", 0, err
	}
	own := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)}
	sets, err := f.client.AppsV1().ReplicaSets(f.namespace).List(ctx, own)
	if err != nil {
		return "", 0, err
	}
	pods, err := f.client.CoreV1().Pods(f.namespace).List(ctx, own)
	if err != nil {
		return "", 0, err
	}
	all := []string{d.ResourceVersion}
	for i := range sets.Items {
		all = append(all, sets.Items[i].ResourceVersion)
	}
	for i := range pods.Items {
		all = append(all, pods.Items[i].ResourceVersion)
	}
	return strings.Join(all, " "), len(pods.Items), nil
}
