package postgrestest

import (
	"testing"

	"github.com/backout/backout/integrations/drivertest"
)

// TestLaws tries every law on every kind of this vendor, and on both tools of
// migrations.
func TestLaws(t *testing.T) {
	drivertest.Run(t, Migration("golang-migrate"), Migration("goose"), Role(), Restore())
}
