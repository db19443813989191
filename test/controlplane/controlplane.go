package controlplane

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/backout/backout/test/controlplane/launch"
)

const (
	// BinaryVariable names the environment variable that holds the path of the
	// built control plane.
	BinaryVariable = "BACKOUT_TEST_KUBE"
	// KubeconfigVariable names the environment variable that holds the path of an
	// administrator's kubeconfig for a control plane that runs already. It wins
	// over BinaryVariable.
	KubeconfigVariable = "BACKOUT_TEST_KUBECONFIG"

	// Command provides what Require asks for, from the root of the repository.
	Command = `(cd test/kube && go build -o /tmp/backout-kube .) && export ` + BinaryVariable + `=/tmp/backout-kube`

	// admin is the user with all rights.
	admin = "admin"
)

// Plane is a running control plane.
type Plane struct {
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Server is the API server's https URL.
	Server string
	// Etcd is the client URL of the store below the API server; empty when unknown.
	Etcd string
	// users maps user names to kubeconfig paths. It is empty for a control plane
	// that ran already: its users are impersonated by the administrator.
	users map[string]string
	// process is kept because a pipe that is collected is closed.
	process *launch.Process
}

// shared is the one control plane of this process, and ends with it.
var shared = sync.OnceValues(func() (*Plane, error) {
	if path := os.Getenv(KubeconfigVariable); path != "" {
		cfg, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", KubeconfigVariable, err)
		}
		return &Plane{Kubeconfig: path, Server: cfg.Host}, nil
	}
	process, err := launch.Start(context.Background(), os.Getenv(BinaryVariable))
	if err != nil {
		return nil, err
	}
	return &Plane{Kubeconfig: process.Kubeconfig, Server: process.Server, Etcd: process.Etcd, users: process.Users, process: process}, nil
})

// Require returns the control plane of this test process and starts it at the
// first call. With neither variable set the test is skipped with Command, or
// fails where CI is set.
func Require(tb testing.TB) *Plane {
	tb.Helper()
	if os.Getenv(KubeconfigVariable) == "" && os.Getenv(BinaryVariable) == "" {
		const missing = "needs a Kubernetes control plane; this gives one: " + Command
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	plane, err := shared()
	require.NoError(tb, err)
	return plane
}

// Config returns the client configuration of a user: "admin" has all rights,
// "backout" and "reader" none until a test grants some. It does not limit its
// rate.
func (p *Plane) Config(tb testing.TB, user string) *rest.Config {
	tb.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", p.UserKubeconfig(tb, user))
	require.NoError(tb, err)
	cfg.QPS = -1
	return cfg
}

// Client returns a client of a user, as Config.
func (p *Plane) Client(tb testing.TB, user string) kubernetes.Interface {
	tb.Helper()
	client, err := kubernetes.NewForConfig(p.Config(tb, user))
	require.NoError(tb, err)
	return client
}

// UserKubeconfig returns the path of a user's kubeconfig.
func (p *Plane) UserKubeconfig(tb testing.TB, user string) string {
	tb.Helper()
	if user == admin {
		return p.Kubeconfig
	}
	if len(p.users) > 0 {
		require.Contains(tb, p.users, user, "the control plane has no such user")
		return p.users[user]
	}
	cfg, err := clientcmd.LoadFromFile(p.Kubeconfig)
	require.NoError(tb, err)
	for _, info := range cfg.AuthInfos {
		info.Impersonate = user
	}
	return writeKubeconfig(tb, cfg)
}
