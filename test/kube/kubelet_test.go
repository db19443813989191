package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		images []string
		want   corev1.ConditionStatus
	}{
		{name: "good image", images: []string{"shop:v1"}, want: corev1.ConditionTrue},
		{name: "bad image", images: []string{"shop:v2-bad"}, want: corev1.ConditionFalse},
		{name: "one bad image of two", images: []string{"shop:v1", "proxy:bad"}, want: corev1.ConditionFalse},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pod := &corev1.Pod{}
			for _, image := range test.images {
				pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: image, Image: image})
			}
			scripts, err := scriptsOf(pod)
			if err != nil {
				t.Fatal(err)
			}
			status := podStatus(pod, scripts, "10.244.0.1", metav1.Now())
			if got := condition(status, corev1.PodReady); got != test.want {
				t.Errorf("Ready is %q, want %q", got, test.want)
			}
			if len(status.PodIPs) != 1 || len(status.ContainerStatuses) != len(test.images) {
				t.Errorf("status has %d addresses and %d containers", len(status.PodIPs), len(status.ContainerStatuses))
			}
		})
	}
}

func condition(status corev1.PodStatus, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, condition := range status.Conditions {
		if condition.Type == kind {
			return condition.Status
		}
	}
	return ""
}
