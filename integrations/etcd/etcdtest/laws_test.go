package etcdtest_test

import (
	"testing"

	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/etcd"
	"github.com/backout/backout/integrations/etcd/etcdtest"
)

// TestLaws tries every law on a key.
func TestLaws(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, etcdtest.Key())
}
