package argo

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// What the API server fills into a pod template where nothing is said.
// Source: https://github.com/kubernetes/kubernetes/blob/v1.36.4/pkg/apis/core/v1/defaults.go
const (
	defaultMode     int32 = 0o644
	defaultToken    int64 = 3600 // Seconds.
	defaultPeriod   int32 = 10   // Seconds.
	defaultFailures int32 = 3
	latest                = "latest"
)

// sameTemplate reports whether the template of a Rollout is the one that a ReplicaSet
// holds, in which the API server has filled in what nobody said and rewritten
// quantities. Fields that this program does not know of are left out on both sides.
func sameTemplate(rollout, set *unstructured.Unstructured) bool {
	said, ok := typed(rollout)
	if !ok {
		return false
	}
	held, ok := typed(set)
	return ok && equality.Semantic.DeepEqual(said, held)
}

// typed reads a pod template and fills in what nobody said.
func typed(object *unstructured.Unstructured) (t corev1.PodTemplateSpec, ok bool) {
	fields, found, err := unstructured.NestedMap(object.Object, "spec", "template") // A deep copy.
	if err != nil || !found {
		return t, false
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &t); err != nil {
		return t, false
	}
	delete(t.Labels, hashLabel)
	fillPod(&t.Spec)
	return t, true
}

// fill sets what is not said.
func fill[T comparable](field *T, value T) {
	var unsaid T
	if *field == unsaid {
		*field = value
	}
}

// point makes a pointer to what is not said.
func point[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func fillPod(s *corev1.PodSpec) {
	fill(&s.RestartPolicy, corev1.RestartPolicyAlways)
	fill(&s.DNSPolicy, corev1.DNSClusterFirst)
	fill(&s.SchedulerName, corev1.DefaultSchedulerName)
	point(&s.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	point(&s.SecurityContext, corev1.PodSecurityContext{})
	s.DeprecatedServiceAccount = "" // It follows ServiceAccountName.
	for i := range s.Volumes {
		fillVolume(&s.Volumes[i])
	}
	for _, containers := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			fillContainer(&containers[i], s.HostNetwork)
		}
	}
}

func fillVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if v.Secret != nil {
		point(&v.Secret.DefaultMode, defaultMode)
	}
	if v.ConfigMap != nil {
		point(&v.ConfigMap.DefaultMode, defaultMode)
	}
	if v.HostPath != nil {
		point(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		point(&v.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	}
	if v.DownwardAPI != nil {
		point(&v.DownwardAPI.DefaultMode, defaultMode)
		fillItems(v.DownwardAPI.Items)
	}
	if v.Projected == nil {
		return
	}
	point(&v.Projected.DefaultMode, defaultMode)
	for _, source := range v.Projected.Sources {
		if source.ServiceAccountToken != nil {
			point(&source.ServiceAccountToken.ExpirationSeconds, defaultToken)
		}
		if source.DownwardAPI != nil {
			fillItems(source.DownwardAPI.Items)
		}
	}
}

func fillItems(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].FieldRef != nil {
			fill(&items[i].FieldRef.APIVersion, "v1")
		}
	}
}

func fillContainer(c *corev1.Container, hostNetwork bool) {
	fill(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	fill(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	fill(&c.ImagePullPolicy, pullPolicy(c.Image))
	for i := range c.Ports {
		fill(&c.Ports[i].Protocol, corev1.ProtocolTCP)
		if hostNetwork {
			fill(&c.Ports[i].HostPort, c.Ports[i].ContainerPort)
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom != nil && env.ValueFrom.FieldRef != nil {
			fill(&env.ValueFrom.FieldRef.APIVersion, "v1")
		}
	}
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if probe == nil {
			continue
		}
		fill(&probe.TimeoutSeconds, 1)
		fill(&probe.PeriodSeconds, defaultPeriod)
		fill(&probe.SuccessThreshold, 1)
		fill(&probe.FailureThreshold, defaultFailures)
		fillRequest(probe.HTTPGet)
		if probe.GRPC != nil {
			point(&probe.GRPC.Service, "")
		}
	}
	if c.Lifecycle == nil {
		return
	}
	for _, handler := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
		if handler != nil {
			fillRequest(handler.HTTPGet)
		}
	}
}

func fillRequest(request *corev1.HTTPGetAction) {
	if request != nil {
		fill(&request.Path, "/")
		fill(&request.Scheme, corev1.URISchemeHTTP)
	}
}

// pullPolicy is what the API server chooses for an image: one that moves is pulled
// always.
func pullPolicy(image string) corev1.PullPolicy {
	rest, _, pinned := strings.Cut(image, "@")
	_, tag, tagged := strings.Cut(rest[strings.LastIndex(rest, "/")+1:], ":")
	if tag == latest || !tagged && !pinned {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}
