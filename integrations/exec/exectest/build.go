package exectest

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// importPath is where the programs are.
const importPath = "github.com/backout/backout/integrations/exec/exectest/"

// built are the programs of this process. The folder lives as long as a test
// that needs it.
var built struct {
	mu    sync.Mutex
	users int
	dir   string
	names map[string]string
}

// Build builds the program of that name, "sample" or "hostile", once for all
// tests that run at a time, and returns its path.
func Build(tb testing.TB, name string) string {
	tb.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.users == 0 {
		dir, err := os.MkdirTemp("", "backout-exectest-") //nolint:usetesting // It is shared by tests and removed with the last.
		require.NoError(tb, err)
		built.dir, built.names = dir, map[string]string{}
	}
	built.users++
	tb.Cleanup(release)
	if path, ok := built.names[name]; ok {
		return path
	}
	path := filepath.Join(built.dir, name)
	// Never written by this process: a program that any process has open for
	// writing can not be run, and a process that is being started inherits.
	output, err := osexec.CommandContext(tb.Context(), "go", "build", "-o", path, importPath+name).CombinedOutput()
	require.NoError(tb, err, "build %s: %s", name, output)
	require.NoError(tb, os.Chmod(path, 0o755)) // Whatever the umask is.
	built.names[name] = path
	return path
}

// release removes the folder with the last test.
func release() {
	built.mu.Lock()
	defer built.mu.Unlock()
	if built.users--; built.users == 0 {
		_ = os.RemoveAll(built.dir) // It is a folder for temporary files.
	}
}
