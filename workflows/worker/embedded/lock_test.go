//go:build unix

package embedded

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLockOutlivesItsReferences(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), lockFile)
	held, err := acquireLock(path)
	require.NoError(t, err)
	fd := held.fd
	require.NoError(t, held.describe("127.0.0.1:7233"))
	held = nil
	// Finalizers run in a later collection than the one that finds them.
	for range 3 {
		runtime.GC()
	}
	_, err = acquireLock(path)
	var inUse *InUseError
	require.ErrorAs(t, err, &inUse)
	require.ErrorContains(t, err, "temporal at 127.0.0.1:7233")
	require.NoError(t, (&lock{path: path, fd: fd}).release())

	again, err := acquireLock(path)
	require.NoError(t, err)
	require.NoError(t, again.release())
}
