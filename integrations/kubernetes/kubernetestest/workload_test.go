package kubernetestest

import (
	"testing"

	"github.com/backout/backout/integrations/drivertest"
)

func TestLaws(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, deployments())
}
