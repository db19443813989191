package product_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/backout/backout/cmd/internal/product"
	"github.com/backout/backout/test/controlplane"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/embedded"
)

// captureWithin bounds the wait for a state to be captured: a worker that died is
// noticed after seconds.
const captureWithin = time.Minute

// shop is one service whose settings are a ConfigMap, with a runbook that takes them
// back.
type shop struct {
	t         *testing.T
	admin     kubernetes.Interface
	plane     *controlplane.Plane
	namespace string
	temporal  *embedded.Server
	dir       string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	plane := controlplane.Require(t)
	temporal, err := embedded.Start(t.Context(), embedded.Options{
		Dir: t.TempDir(), Namespace: "default", UIPort: embedded.UIOff, Synchronous: embedded.SyncNormal,
		SearchAttributes: worker.SearchAttributes(), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, temporal.Stop()) })
	s := &shop{t: t, admin: plane.Client(t, "admin"), plane: plane, namespace: plane.Namespace(t), temporal: temporal, dir: t.TempDir()}
	s.write("catalog-info.yaml", `apiVersion: backstage.io/v1alpha1
kind: Component
metadata: {name: checkout}
spec: {type: service, lifecycle: production, owner: shop}
`)
	s.write("runbook.yaml", `apiVersion: backout.dev/v1
kind: Runbook
metadata: {name: settings, owner: shop, reviewed: "2026-11-21"}
match: {services: ["*"]}
changes:
  - {source: kubernetes.object, target: {system: cluster, path: "v1/configmaps/`+s.namespace+`/{service}"}}
options:
  - name: back
    title: Back
    strategy: rollback
    undoes: [kubernetes.object]
    rung: reversible
    expected_time: 10s
    actions:
      - {kind: kubernetes.object, target: {system: cluster, path: "v1/configmaps/`+s.namespace+`/{service}"}, max_time: 1m}
recovery:
  slis:
    - {name: errors, system: prom, query: up, unit: ratio, objective: "< 0.01"}
`)
	return s
}

func (s *shop) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// trustedKey is the public key of a bot that is not here.
const trustedKey = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`

// config is the file of one replica. All share the key of their payloads.
func (s *shop) config(replica string) string {
	s.t.Helper()
	s.write("decision.pub", trustedKey)
	return s.write(replica+".yaml", fmt.Sprintf(`data: %s
listen: 127.0.0.1:0
temporal: {address: %q, codec_key_file: codec.key}
decisions: {trusted_file: decision.pub}
catalogue: [catalog-info.yaml]
runbooks: [runbook.yaml]
systems:
  - {name: cluster, type: kubernetes, settings: {kubeconfig: %q}}
`, s.t.TempDir(), s.temporal.Address(), s.plane.UserKubeconfig(s.t, "backout")))
}

// worker starts one replica of the role "worker".
func (s *shop) worker(replica string) *product.Server {
	s.t.Helper()
	c, err := product.LoadConfig(s.config(replica), nil)
	require.NoError(s.t, err)
	server, err := product.Start(s.t.Context(), product.Options{Config: c, Role: product.RoleWorker, Log: slog.New(slog.DiscardHandler)})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, server.Stop(context.WithoutCancel(s.t.Context()))) })
	return server
}

// doctor is what "backout doctor" says.
func (s *shop) doctor() (status int, said string) {
	s.t.Helper()
	var out bytes.Buffer
	status = product.Main(s.t.Context(), "backout", []string{"doctor", "-c", s.config("doctor")}, nil, &out, &out, nil)
	return status, out.String()
}

// grant gives the credential of the product rights on ConfigMaps, and those that
// hold captured states.
func (s *shop) grant(verbs ...string) {
	s.t.Helper()
	s.plane.Grant(s.t, s.namespace, "backout",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: verbs},
		rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"controllerrevisions"}, Verbs: []string{"list", "create", "get", "patch", "delete"}})
}

// set writes the settings and waits until that state is captured.
func (s *shop) set(mode string) {
	s.t.Helper()
	api := s.admin.CoreV1().ConfigMaps(s.namespace)
	wanted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "checkout"}, Data: map[string]string{"mode": mode}}
	if _, err := api.Update(s.t.Context(), wanted, metav1.UpdateOptions{}); err != nil {
		_, err = api.Create(s.t.Context(), wanted, metav1.CreateOptions{})
		require.NoError(s.t, err)
	}
	require.Eventually(s.t, func() bool { return s.captured(mode) == 1 }, captureWithin, 20*time.Millisecond, "mode %q was not captured", mode)
}

// captured counts the captured states with a mode; -1 is unknown.
func (s *shop) captured(mode string) (n int) {
	s.t.Helper()
	kept, err := s.admin.AppsV1().ControllerRevisions(s.namespace).List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		return -1
	}
	for _, state := range kept.Items {
		if strings.Contains(string(state.Data.Raw), `"mode":"`+mode+`"`) {
			n++
		}
	}
	return n
}

// recordings counts the activities that record; -1 is unknown.
func (s *shop) recordings(c client.Client) (n int) {
	s.t.Helper()
	list, err := c.ListWorkflow(s.t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Query: "WorkflowType = '" + incident.WorkflowRecording + "' AND ExecutionStatus = 'Running'",
	})
	if err != nil {
		return -1
	}
	for _, e := range list.GetExecutions() {
		described, err := c.DescribeWorkflowExecution(s.t.Context(), e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId())
		if err != nil {
			return -1
		}
		n += len(described.GetPendingActivities())
	}
	return n
}

// TestStatesAreRecorded shows on a real cluster that the product keeps the states of
// the objects that runbooks name, once however many workers there are, also when one
// of them stops; and that doctor says whether it does.
func TestStatesAreRecorded(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	status, said := s.doctor()
	require.Equal(t, product.ExitFailed, status)
	require.Contains(t, said, "FAIL states of cluster/v1/configmaps/"+s.namespace+"/checkout", "nobody may watch it")

	s.grant("get", "watch")
	status, said = s.doctor()
	require.Equal(t, product.ExitOK, status, said)
	require.Contains(t, said, "ok   states of cluster/v1/configmaps/"+s.namespace+"/checkout, which does not exist")

	a := s.worker("a")
	s.set("first")
	b := s.worker("b")
	s.set("second")
	status, said = s.doctor()
	require.Equal(t, product.ExitOK, status, said)
	require.Contains(t, said, "ok   states of cluster/v1/configmaps/"+s.namespace+"/checkout are recorded")
	require.Eventually(t, func() bool { return s.recordings(b.Client) == 1 }, captureWithin, 50*time.Millisecond, "nobody records, or several do")

	require.NoError(t, a.Stop(t.Context()))
	s.set("third")
	c := s.worker("c")
	require.NoError(t, b.Stop(t.Context()))
	s.set("fourth")
	for _, mode := range []string{"first", "second", "third", "fourth"} {
		require.Equal(t, 1, s.captured(mode))
	}

	require.NoError(t, c.Stop(t.Context()))
	_, err := s.admin.CoreV1().ConfigMaps(s.namespace).Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "checkout"}}, metav1.UpdateOptions{})
	require.NoError(t, err)
	status, said = s.doctor()
	require.Equal(t, product.ExitFailed, status)
	require.Contains(t, said, "is not captured")
}
