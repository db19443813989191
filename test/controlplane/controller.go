package controlplane

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/controlplane/launch"
)

// controllers are the programs that work on the one control plane of this process, by
// the environment variable that holds their path. They end with this process.
var controllers = struct {
	sync.Mutex
	started map[string]func() (*launch.Process, error)
}{started: map[string]func() (*launch.Process, error){}}

// Controller starts a program that works on the control plane with an administrator's
// kubeconfig, such as an operator, and returns when it works; later calls return at
// once. The environment variable holds the path of the program. Without it the test is
// skipped with the command that provides one, or fails where CI is set.
func (p *Plane) Controller(tb testing.TB, variable, command string) {
	tb.Helper()
	binary := os.Getenv(variable)
	if binary == "" {
		missing := "needs a controller on the control plane; this gives one: " + command
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	controllers.Lock()
	start, ok := controllers.started[variable]
	if !ok {
		start = sync.OnceValues(func() (*launch.Process, error) {
			return launch.Start(context.Background(), binary, "-kubeconfig", p.Kubeconfig)
		})
		controllers.started[variable] = start
	}
	controllers.Unlock()
	_, err := start()
	require.NoError(tb, err, "start the controller of %s", variable)
}
