package install_test

import (
	"testing"

	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/install"
	_ "github.com/backout/backout/integrations/kubernetes/kubernetestest" // The cases of "kubernetes.*".
	_ "github.com/backout/backout/integrations/nats/natstest"             // The cases of "nats.*".
)

// TestLaws tries every law on every registered kind, on its real system.
func TestLaws(t *testing.T) {
	drivertest.RunRegistered(t)
}
