package install_test

import (
	"testing"

	"github.com/backout/backout/integrations/drivertest"
)

func init() {
	drivertest.RegisterCounter(drivertest.CounterCase{Kind: "postgres.count", Start: startCount})
}

// TestCounters tries the laws of counters on every registered one, on its real
// counterpart.
func TestCounters(t *testing.T) {
	drivertest.RunCounters(t)
}

// startCount counts in the tables of the collector.
func startCount(tb testing.TB) *drivertest.CountScene {
	tables := startTables(tb)
	orders := tables.Request.Params["tables"]
	return &drivertest.CountScene{
		System: tables.System, Away: tables.Away, Digest: tables.Digest, Canaries: tables.Canaries,
		Query: "SELECT count(*) FROM " + orders, Want: 42,
		Refused: map[string]string{
			"a write":              "DELETE FROM " + orders,
			"a write behind a CTE": "WITH d AS (DELETE FROM " + orders + " RETURNING 1) SELECT count(*) FROM d",
			"several rows":         "SELECT id FROM " + orders,
			"no row":               "SELECT id FROM " + orders + " WHERE false",
			"a constant":           "SELECT 0",
			"a secret table":       "SELECT count(*) FROM pg_catalog.pg_authid",
			"nothing":              "",
		},
	}
}
