package controlplane

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// namespaceTimeout bounds the wait for a namespace's default service account,
// without which no pod is admitted, and for a grant.
const namespaceTimeout = 30 * time.Second

// poll is the time between two looks at what has not come about yet.
const poll = 5 * time.Millisecond

// Namespace makes a namespace for one test and returns its name. On a control plane
// that outlives this process it is deleted when the test ends. Otherwise it stays:
// a deletion asks for every resource there is, which slows the other tests.
func (p *Plane) Namespace(tb testing.TB) string {
	tb.Helper()
	client := p.Client(tb, admin)
	ctx, cancel := context.WithTimeout(tb.Context(), namespaceTimeout)
	defer cancel()
	namespace, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "test-" + strings.ToLower(rand.Text()[:10])},
	}, metav1.CreateOptions{})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		if p.process != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), namespaceTimeout)
		defer cancel()
		if err := client.CoreV1().Namespaces().Delete(ctx, namespace.Name, metav1.DeleteOptions{}); err != nil {
			tb.Logf("delete namespace %q: %v", namespace.Name, err)
		}
	})
	accounts, err := client.CoreV1().ServiceAccounts(namespace.Name).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=default"})
	require.NoError(tb, err)
	defer accounts.Stop()
	_, ok := <-accounts.ResultChan()
	require.True(tb, ok, "the namespace got no default service account")
	return namespace.Name
}

// Grant gives a user rights in a namespace, and returns when the API server has
// seen that.
func (p *Plane) Grant(tb testing.TB, namespace, user string, rules ...rbacv1.PolicyRule) {
	tb.Helper()
	client := p.Client(tb, admin)
	role, err := client.RbacV1().Roles(namespace).Create(tb.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{GenerateName: user + "-"},
		Rules:      rules,
	}, metav1.CreateOptions{})
	require.NoError(tb, err)
	_, err = client.RbacV1().RoleBindings(namespace).Create(tb.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	require.NoError(tb, err)
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: namespace, Group: rule.APIGroups[0], Resource: resource, Verb: rule.Verbs[len(rule.Verbs)-1],
				},
			}}
			require.Eventually(tb, func() bool {
				answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(tb.Context(), review, metav1.CreateOptions{})
				return err == nil && answer.Status.Allowed
			}, namespaceTimeout, poll, "the grant has no effect: %+v", rule)
		}
	}
}

// KubeconfigTo returns the path of a user's kubeconfig with the server replaced, for
// a proxy that stands between: by its https URL and the certificates to trust, in
// PEM, or by a plain http URL and none. Clients send no token in plain HTTP.
func (p *Plane) KubeconfigTo(tb testing.TB, user, server string, authority []byte) string {
	tb.Helper()
	cfg, err := clientcmd.LoadFromFile(p.UserKubeconfig(tb, user))
	require.NoError(tb, err)
	for _, cluster := range cfg.Clusters {
		cluster.Server, cluster.CertificateAuthorityData = server, authority
		cluster.CertificateAuthority, cluster.InsecureSkipTLSVerify, cluster.TLSServerName = "", false, ""
	}
	return writeKubeconfig(tb, cfg)
}

func writeKubeconfig(tb testing.TB, cfg *clientcmdapi.Config) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	require.NoError(tb, clientcmd.WriteToFile(*cfg, path))
	return path
}
