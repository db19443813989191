package launch_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/controlplane/launch"
)

func TestStart(t *testing.T) {
	t.Parallel()
	ended := filepath.Join(t.TempDir(), "ended")
	process, err := launch.Start(t.Context(), "/bin/sh", "-c", `echo "{\"kubeconfig\":\"/k\",\"server\":\"$1\"}"; cat; touch `+ended, "plane", "https://127.0.0.1:1")
	require.NoError(t, err)
	require.Equal(t, "/k", process.Kubeconfig)
	require.Equal(t, "https://127.0.0.1:1", process.Server)
	require.NoFileExists(t, ended)
	require.NoError(t, process.Close())
	require.FileExists(t, ended, "the control plane must end with its standard input")
}

func TestStartSaysWhyItDidNot(t *testing.T) {
	t.Parallel()
	_, err := launch.Start(t.Context(), filepath.Join(t.TempDir(), "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = launch.Start(t.Context(), "/bin/sh", "-c", `echo "port is taken" >&2; exit 1`)
	require.ErrorContains(t, err, "port is taken")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = launch.Start(ctx, "/bin/sh", "-c", "cat")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
