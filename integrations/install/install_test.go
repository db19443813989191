package install_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoTestCodeIsLinked shows that the product carries no case, no suite and no
// server that stands in for a real system.
func TestNoTestCodeIsLinked(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	linked := strings.Fields(string(out))
	require.Contains(t, linked, "github.com/backout/backout/integrations/nats")
	for _, path := range linked {
		for _, unwanted := range []string{"testing", "github.com/stretchr/testify", "github.com/nats-io/nats-server", "go.etcd.io/etcd/server", "github.com/backout/backout/test/"} {
			require.False(t, path == unwanted || strings.HasPrefix(path, strings.TrimSuffix(unwanted, "/")+"/"), "%s is linked", path)
		}
		require.False(t, strings.HasPrefix(path, "github.com/backout/backout/") && strings.HasSuffix(path, "test"), "%s is linked", path)
	}
}
