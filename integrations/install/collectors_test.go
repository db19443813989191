package install_test

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsclient "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/endpoint"
	"github.com/backout/backout/integrations/exec/exectest"
	"github.com/backout/backout/integrations/kubernetes/kubernetestest"
	"github.com/backout/backout/integrations/nats"
	"github.com/backout/backout/integrations/postgres"
	"github.com/backout/backout/integrations/prometheus"
	"github.com/backout/backout/test/controlplane"
	realpg "github.com/backout/backout/test/postgres"
	realprom "github.com/backout/backout/test/prometheus"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	drivertest.RegisterCollector(
		drivertest.CollectorCase{Kind: "exec.collect", Start: startProgram, FreeParams: "the program is handed all of them, and refuses what it does not know", Wrong: []map[string]string{
			{"tail": strings.Repeat("x", 4001)},
		}},
		drivertest.CollectorCase{Kind: "helm.values", Start: startRelease, Wrong: []map[string]string{
			{"from": "3"}, {"from": "v3", "to": "4"}, {"from": "0", "to": "4"},
		}},
		drivertest.CollectorCase{Kind: "http.probe", Start: startEndpoint, Silence: "an endpoint that does not answer is what a probe is to find out", Wrong: []map[string]string{
			{"method": "POST"}, {"timeout": "soon"}, {"headers": "Set-Cookie"},
		}},
		drivertest.CollectorCase{Kind: "kubernetes.describe", Start: startDeployment},
		drivertest.CollectorCase{Kind: "kubernetes.diff", Start: startTemplates},
		drivertest.CollectorCase{Kind: "kubernetes.logs", Start: startPods, Wrong: []map[string]string{
			{"lines": "all"}, {"lines": "0"}, {"containers": "shop,"},
		}},
		drivertest.CollectorCase{Kind: "nats.stream", Start: startStream},
		drivertest.CollectorCase{Kind: "postgres.query", Start: startTables, Wrong: []map[string]string{
			nil, {"tables": "orders"}, {"tables": "shop.orders", "rows": "all"}, {"sql": "SELECT 1"},
		}},
		drivertest.CollectorCase{Kind: "prometheus.range", Start: startSeries, Wrong: []map[string]string{
			nil, {"query": " "}, {"query": "up", "step": "15"},
		}},
	)
}

// TestCollectors tries the laws of collectors on every registered one, on its real
// counterpart. One alone is -run 'TestCollectors/nats.stream'.
func TestCollectors(t *testing.T) {
	drivertest.RunCollectors(t)
}

// nowhere is an address where nobody listens.
func nowhere(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	require.NoError(tb, l.Close())
	return l.Addr().String()
}

// secretFile is a file with a canary in it.
func secretFile(tb testing.TB) (path, canary string) {
	tb.Helper()
	canary, path = "canary-"+rand.Text(), filepath.Join(tb.TempDir(), "secret")
	require.NoError(tb, os.WriteFile(path, []byte(canary), 0o600))
	return path, canary
}

// ofLaw is the scene of the target of a kind's own case.
func ofLaw(tb testing.TB, name string) (*drivertest.Target, *drivertest.Scene) {
	tb.Helper()
	for _, c := range drivertest.Registered() {
		if c.Name() != name {
			continue
		}
		t := c.Start(tb)
		return t, &drivertest.Scene{
			System: t.Connect(t.Upstream, drivertest.Owner), Away: t.Connect(nowhere(tb), drivertest.Owner),
			Request: driver.CollectRequest{Target: t.Request.Target}, Digest: t.Digest, Canaries: t.Canaries,
		}
	}
	tb.Fatalf("there is no case %q", name)
	return nil, nil
}

func startDeployment(tb testing.TB) *drivertest.Scene {
	_, s := ofLaw(tb, "kubernetes.workload/Deployment")
	s.Says = []string{`"kind": "Deployment"`, `"pods"`, `"revisions"`}
	return s
}

func startTemplates(tb testing.TB) *drivertest.Scene {
	_, s := ofLaw(tb, "kubernetes.workload/Deployment")
	s.Says = []string{"revision", "image:"}
	return s
}

func startPods(tb testing.TB) *drivertest.Scene {
	_, s := ofLaw(tb, "kubernetes.workload/Deployment")
	s.Says = []string{"NO ", "serving "}
	namespace := strings.Split(s.Request.Target.Path, "/")[1]
	controlplane.Require(tb).Grant(tb, namespace, kubernetestest.User(drivertest.Owner),
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}})
	// A pod of which nothing is known yet has no logs.
	pods := kubernetestest.Objects(tb, controlplane.Require(tb)).Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace)
	require.Eventually(tb, func() bool {
		list, err := pods.List(tb.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			return false
		}
		for _, pod := range list.Items {
			if phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase"); phase != "Running" {
				return false
			}
		}
		return true
	}, time.Minute, 20*time.Millisecond, "the pods do not run")
	return s
}

func startRelease(tb testing.TB) *drivertest.Scene {
	t, s := ofLaw(tb, "helm.release")
	s.Says = []string{"replicas:", "superseded", "image: registry.example/shop:v"}
	s.Request.Params = map[string]string{"from": "3", "to": t.Request.Revision}
	// The values hold the password of the release until they are redacted.
	s.Canaries = s.Canaries[1:]
	return s
}

func startProgram(tb testing.TB) *drivertest.Scene {
	r := exectest.NewReleases(tb)
	require.NoError(tb, r.Deploy("v1", "", "ada"))
	away := driver.System{Name: "releases", Type: "exec", Decode: drivertest.Settings(r.Settings(drivertest.Reader, map[string]any{"program": filepath.Join(tb.TempDir(), "gone")}))}
	return &drivertest.Scene{
		System: r.System(drivertest.Reader), Away: away, Says: []string{"service " + r.Service, "v1"}, Digest: r.Digest,
		Request: driver.CollectRequest{Target: incident.Target{Path: r.Service}}, Canaries: []string{r.Tokens[drivertest.Reader]},
	}
}

func startEndpoint(tb testing.TB) *drivertest.Scene {
	token, canary := secretFile(tb)
	var writes atomic.Int64
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			writes.Add(1)
		}
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "checkout is ready")
	}))
	tb.Cleanup(s.Close)
	ca := filepath.Join(tb.TempDir(), "ca.pem")
	require.NoError(tb, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	at := func(url string) driver.System {
		return driver.System{Name: "shop", Type: "endpoint", Decode: drivertest.Settings(endpoint.Settings{URL: url, TokenFile: token, CAFile: ca, Networks: []string{"127.0.0.0/8"}})}
	}
	return &drivertest.Scene{
		System: at(s.URL), Away: at("https://" + nowhere(tb)), Says: []string{"checkout is ready", `"status": 200`},
		Request: driver.CollectRequest{Target: incident.Target{Path: "healthz"}}, Canaries: []string{canary},
		Digest: func(context.Context) (string, error) { return strconv.FormatInt(writes.Load(), 10), nil },
	}
}

func startTables(tb testing.TB) *drivertest.Scene {
	pg := realpg.Require(tb)
	name := realpg.Name("collect")
	password, canary := secretFile(tb)
	admin := pg.Connect(tb, "postgres")
	_, err := admin.PgConn().Exec(tb.Context(), fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; CREATE SCHEMA %[1]s; CREATE TABLE %[1]s.orders AS SELECT g AS id FROM generate_series(1, 42) g;
		GRANT USAGE ON SCHEMA %[1]s TO %[1]s; GRANT SELECT ON %[1]s.orders TO %[1]s`, name, canary)).ReadAll()
	require.NoError(tb, err)
	at := func(address string) driver.System {
		host, port, err := net.SplitHostPort(address)
		require.NoError(tb, err)
		number, err := strconv.Atoi(port)
		require.NoError(tb, err)
		return driver.System{Name: "db", Type: "postgres", Decode: drivertest.Settings(postgres.Settings{
			Host: host, Port: number, Database: "postgres", User: name, PasswordFile: password, TLS: postgres.TLS{Off: true},
		})}
	}
	return &drivertest.Scene{
		System: at(pg.Address()), Away: at(nowhere(tb)), Says: []string{name + ".orders", `"42"`}, Canaries: []string{canary},
		Request: driver.CollectRequest{Target: incident.Target{Path: "row-counts"}, Params: map[string]string{"tables": name + ".orders"}},
		Digest: func(ctx context.Context) (digest string, err error) {
			err = admin.QueryRow(ctx, fmt.Sprintf("SELECT md5(string_agg(xmin::text || id, ',' ORDER BY id)) FROM %s.orders", name)).Scan(&digest)
			return digest, err
		},
	}
}

func startStream(tb testing.TB) *drivertest.Scene {
	password, canary := secretFile(tb)
	running, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: tb.TempDir(),
		Users: []*server.User{{Username: "admin", Password: "admin"}, {Username: "backout", Password: canary, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.STREAM.INFO.ORDERS", "$JS.API.CONSUMER.LIST.ORDERS"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_BACKOUT.>"}},
		}}},
	})
	require.NoError(tb, err)
	running.Start()
	tb.Cleanup(func() {
		running.Shutdown()
		running.WaitForShutdown()
	})
	require.True(tb, running.ReadyForConnections(time.Minute))
	client, err := natsclient.Connect(running.ClientURL(), natsclient.UserInfo("admin", "admin"))
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	js, err := jetstream.New(client)
	require.NoError(tb, err)
	stream, err := js.CreateStream(tb.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Storage: jetstream.MemoryStorage})
	require.NoError(tb, err)
	_, err = js.CreateConsumer(tb.Context(), "ORDERS", jetstream.ConsumerConfig{Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(tb, err)
	_, err = js.Publish(tb.Context(), "orders.new", []byte("an order"))
	require.NoError(tb, err)
	at := func(address string) driver.System {
		return driver.System{Name: "broker", Type: "nats", Decode: drivertest.Settings(nats.Settings{
			URL: "nats://" + address, User: "backout", PasswordFile: password, InboxPrefix: "_BACKOUT",
		})}
	}
	return &drivertest.Scene{
		System: at(running.Addr().String()), Away: at(nowhere(tb)), Says: []string{`"messages": 1`, `"pending": 1`, "billing"}, Canaries: []string{canary},
		Request: driver.CollectRequest{Target: incident.Target{Path: "ORDERS"}},
		Digest: func(ctx context.Context) (string, error) {
			info, err := stream.Info(ctx)
			if err != nil {
				return "", err
			}
			consumer, err := stream.Consumer(ctx, "billing")
			if err != nil {
				return "", err
			}
			far, err := consumer.Info(ctx)
			if err != nil {
				return "", err
			}
			return fmt.Sprint(info.State.LastSeq, info.State.Msgs, info.State.Consumers, far.Delivered, far.NumPending, far.Config.MaxAckPending), nil
		},
	}
}

func startSeries(tb testing.TB) *drivertest.Scene {
	token, canary := secretFile(tb)
	prom, err := realprom.Start(tb.Context(), realprom.Options{Dir: tb.TempDir()})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, prom.Close()) })
	now := time.Now()
	require.NoError(tb, prom.Append(tb.Context(), realprom.Series{
		Labels: map[string]string{"__name__": "errors_total", "service": "checkout"}, Samples: []realprom.Sample{{At: now.Add(-time.Minute), Value: 1}, {At: now, Value: 17}},
	}))
	at := func(url string) driver.System {
		return driver.System{Name: "metrics", Type: prometheus.SystemType, Decode: drivertest.Settings(prometheus.Settings{URL: url, BearerTokenFile: token})}
	}
	return &drivertest.Scene{
		System: at(prom.URL()), Away: at("http://" + nowhere(tb)), Says: []string{"errors_total", "17", "checkout"}, Canaries: []string{canary},
		Request: driver.CollectRequest{Params: map[string]string{"query": "errors_total", "step": "15s"}},
		Digest: func(ctx context.Context) (string, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, prom.URL()+"/api/v1/series?match[]={__name__!=%22%22}", http.NoBody)
			if err != nil {
				return "", err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return "", err
			}
			content, err := io.ReadAll(resp.Body)
			if err := errors.Join(err, resp.Body.Close()); err != nil {
				return "", err
			}
			if !strings.Contains(string(content), "errors_total") {
				return "", fmt.Errorf("read series: %s", content)
			}
			return incident.DigestOf(content), nil
		},
	}
}
