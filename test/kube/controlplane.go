package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/csv"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

const (
	adminUser = "admin"

	// readyPoll is the time between two questions whether the API server is ready.
	readyPoll = 20 * time.Millisecond
)

// users are the accounts in the token file. Only admin has rights; a test that
// wants another user to have some binds a role to it in its own namespace.
var users = []struct{ name, group string }{
	{adminUser, "system:masters"},
	{"backout", "backout"},
	{"reader", "readers"},
}

// enabledControllers are those a rollback meets. The garbage collector and the
// namespace controller let a test delete its namespace; the aggregation
// controller fills the built-in roles view, edit and admin.
var enabledControllers = []string{
	"clusterrole-aggregation-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"endpointslice-controller",
	"garbage-collector-controller",
	"horizontal-pod-autoscaler-controller",
	"job-controller",
	"namespace-controller",
	"replicaset-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"statefulset-controller",
}

// controlPlane is etcd, the API server and the controllers in this process.
type controlPlane struct {
	dir     string       // Absolute; made when missing. State of an earlier run there is taken up.
	port    int          // 0 is replaced by a free one.
	stopped chan<- error // Receives when the API server or the controllers end, which they should not.

	identities  *identities
	server      string            // https URL.
	etcd        string            // http URL.
	kubeconfigs map[string]string // Paths by user.
	client      kubernetes.Interface
}

// start returns when the API server answers /readyz and the controllers have
// been started.
func (c *controlPlane) start(ctx context.Context) error {
	// The API server and the controllers both configure logging of the process.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged

	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make state directory %q: %w", c.dir, err)
	}
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	tokens, tokenFile, err := loadTokens(c.dir)
	if err != nil {
		return err
	}
	keyFile, err := loadServiceAccountKey(c.dir)
	if err != nil {
		return err
	}
	if c.port == 0 {
		if c.port, err = freePort(); err != nil {
			return err
		}
	}
	if c.identities, err = newIdentities(filepath.Join(c.dir, "kubelet")); err != nil {
		return err
	}
	c.server = "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port))
	certDir := filepath.Join(c.dir, "apiserver")
	c.startAPIServer(certDir, tokenFile, keyFile)

	ca, err := c.waitReady(ctx, filepath.Join(certDir, "apiserver.crt"), tokens[adminUser])
	if err != nil {
		return err
	}
	c.kubeconfigs = make(map[string]string, len(users))
	for _, user := range users {
		path := filepath.Join(c.dir, user.name+".kubeconfig")
		if err := clientcmd.WriteToFile(kubeconfig(c.server, ca, user.name, tokens[user.name]), path); err != nil {
			return fmt.Errorf("write kubeconfig of %q: %w", user.name, err)
		}
		c.kubeconfigs[user.name] = path
	}
	c.startControllers(keyFile)
	c.client, err = kubernetes.NewForConfig(adminConfig(c.server, ca, tokens[adminUser]))
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return nil
}

func (c *controlPlane) startEtcd(ctx context.Context) error {
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(c.dir, "etcd")
	cfg.LogLevel = "error"
	cfg.UnsafeNoFsync = true             // Nobody needs this state after a power cut.
	cfg.TickMs, cfg.ElectionMs = 10, 100 // One member has nobody to wait for.
	client, err := freeURL()
	if err != nil {
		return err
	}
	peer, err := freeURL()
	if err != nil {
		return err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		return fmt.Errorf("start etcd: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("wait for etcd: %w", ctx.Err())
	}
	c.etcd = client.String()
	return nil
}

func (c *controlPlane) startAPIServer(certDir, tokenFile, keyFile string) {
	cmd := apiserver.NewAPIServerCommand()
	cmd.SetArgs([]string{
		"--etcd-servers=" + c.etcd,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--secure-port=" + strconv.Itoa(c.port),
		"--cert-dir=" + certDir,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + keyFile,
		"--service-account-signing-key-file=" + keyFile,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		"--token-auth-file=" + tokenFile,
		"--endpoint-reconciler-type=none",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-certificate-authority=" + c.identities.authorityFile,
		"--kubelet-client-certificate=" + c.identities.clientFile,
		"--kubelet-client-key=" + c.identities.clientKeyFile,
	})
	cmd.SilenceUsage = true
	go func() {
		// The command's own context ends on SIGTERM, as this process does.
		c.stopped <- fmt.Errorf("run API server: %w", orEnded(cmd.Execute()))
	}()
}

func (c *controlPlane) startControllers(keyFile string) {
	cmd := controllers.NewControllerManagerCommand()
	cmd.SetArgs([]string{
		"--kubeconfig=" + c.kubeconfigs[adminUser],
		"--leader-elect=false",
		"--secure-port=0",
		"--service-account-private-key-file=" + keyFile,
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--controllers=" + strings.Join(enabledControllers, ","),
	})
	cmd.SilenceUsage = true
	go func() { c.stopped <- fmt.Errorf("run controllers: %w", orEnded(cmd.Execute())) }()
}

// waitReady returns the API server's certificates, which sign themselves, once
// it is ready.
func (c *controlPlane) waitReady(ctx context.Context, certFile, token string) ([]byte, error) {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	var client *http.Client
	var ca []byte
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for API server: %w", ctx.Err())
		case <-tick.C:
		}
		if client == nil {
			pem, err := os.ReadFile(certFile)
			if errors.Is(err, fs.ErrNotExist) || len(pem) == 0 {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("read certificate: %w", err)
			}
			made, err := rest.HTTPClientFor(adminConfig(c.server, pem, token))
			if err != nil {
				continue // The file was read while it was being written.
			}
			client, ca = made, pem
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+"/readyz", nil)
		if err != nil {
			return nil, fmt.Errorf("ask for readiness: %w", err)
		}
		resp, err := client.Do(req)
		if err != nil {
			continue
		}
		_ = resp.Body.Close() // Only the status matters.
		if resp.StatusCode == http.StatusOK {
			return ca, nil
		}
	}
}

// loadTokens reads the token file in dir, and first makes it with random tokens
// when it is missing.
func loadTokens(dir string) (tokens map[string]string, path string, err error) {
	path = filepath.Join(dir, "tokens.csv")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		var text strings.Builder
		for _, user := range users {
			fmt.Fprintf(&text, "%s,%s,%s,%s\n", rand.Text(), user.name, user.name, user.group)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			return nil, "", fmt.Errorf("write tokens: %w", err)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("open tokens: %w", err)
	}
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, "", fmt.Errorf("read tokens: %w", err)
	}
	tokens = make(map[string]string, len(records))
	for _, record := range records {
		tokens[record[1]] = record[0]
	}
	return tokens, path, nil
}

// loadServiceAccountKey returns the path of the key that signs service account
// tokens, and first makes the key when it is missing.
func loadServiceAccountKey(dir string) (string, error) {
	path := filepath.Join(dir, "service-account.key")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make service account key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode service account key: %w", err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return "", fmt.Errorf("write service account key: %w", err)
	}
	return path, nil
}

func kubeconfig(server string, ca []byte, user, token string) clientcmdapi.Config {
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["test"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	cfg.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	cfg.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: user, Namespace: "default"}
	cfg.CurrentContext = "test"
	return *cfg
}

func adminConfig(server string, ca []byte, token string) *rest.Config {
	return &rest.Config{
		Host:            server,
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		QPS:             -1, // No limit of its own: pods start together.
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func freeURL() (url.URL, error) {
	port, err := freePort()
	return url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, err
}

// orEnded names the end of a component that returned no error.
func orEnded(err error) error {
	if err == nil {
		return errors.New("ended by itself")
	}
	return err
}
