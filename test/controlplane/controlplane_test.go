package controlplane_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/backout/backout/test/controlplane"
)

func TestUsersHaveOnlyGrantedRights(t *testing.T) {
	t.Parallel()
	plane := controlplane.Require(t)
	granted, other := plane.Namespace(t), plane.Namespace(t)
	plane.Grant(t, granted, "backout", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}})
	client := plane.Client(t, "backout")

	_, err := client.CoreV1().ConfigMaps(granted).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().ConfigMaps(other).List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "got %v", err)
	_, err = client.CoreV1().ConfigMaps(granted).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})
	require.True(t, apierrors.IsForbidden(err), "got %v", err)
}
