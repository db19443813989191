package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// BinaryVariable names the environment variable that holds the path of a
// binary to test, built from this very tree.
const BinaryVariable = "BACKOUT_TEST_BINARY"

// built is the binary of this test process.
var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Main runs a package's tests and removes the binary they built.
func Main(m *testing.M) int {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	return code
}

// Binary is the path of the backout binary, which is built by the first call.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() { built.path, built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func build() (string, error) {
	if path := os.Getenv(BinaryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("find %s: %w", BinaryVariable, err)
		}
		return filepath.Abs(path)
	}
	dir, err := os.MkdirTemp("", "backout-binary-")
	if err != nil {
		return "", fmt.Errorf("create folder: %w", err)
	}
	built.dir = dir
	path := filepath.Join(dir, "backout")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.Command("go", "build", "-o", path, "github.com/backout/backout/cmd/backout")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build backout: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return path, nil
}
