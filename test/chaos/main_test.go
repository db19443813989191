//go:build unix && !race

package chaos_test

import (
	"os"
	"testing"

	"github.com/backout/backout/test/e2e/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
