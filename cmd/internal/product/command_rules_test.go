package product

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// dataRunbook is a runbook with a data check of each kind.
const dataRunbook = `apiVersion: backout.dev/v1
kind: Runbook
metadata: {name: a, owner: web, reviewed: "2126-01-01"}
match: {services: [checkout]}
changes:
  - {source: nats.kv, target: {system: nats, path: "releases/{service}"}}
options:
  - name: back
    title: Back
    strategy: rollback
    undoes: [nats.kv]
    rung: reversible
    expected_time: 10s
    actions:
      - {kind: nats.kv, target: {system: nats, path: "releases/{service}"}, max_time: 1m}
evidence:
  - {collector: nats.kv, target: {system: nats, path: a}}
recovery:
  slis:
    - {name: errors, system: prom, query: up, unit: ratio, traffic: up, objective: "< 0.01"}
  data:
    - {name: orders without a payment, system: shop-db, sql: "SELECT count(*) FROM shop.orders WHERE service = '{service}'"}
    - {name: stuck messages, system: prom, promql: sum(stuck)}
`

// TestLintOfDataChecks has the grammars of PostgreSQL and Prometheus read what a runbook
// counts, and the configuration say which systems there are.
func TestLintOfDataChecks(t *testing.T) {
	t.Parallel()
	const systems = `
systems:
  - {name: shop-db, type: postgres, settings: {}}
  - {name: prom, type: prometheus, settings: {}}
`
	// A review in the future is all that is wrong: no runbook goes stale in a test.
	const future = "(future-review)\n"
	for _, test := range []struct{ name, old, new, want string }{
		{"clean", "x", "x", ""},
		{"a write", "SELECT count(*) FROM shop.orders WHERE", "DELETE FROM shop.orders WHERE", `:22: error: Correct the query of data check "orders without a payment": sql is not one SELECT. (bad-sql)`},
		{"what acts", "count(*)", "count(pg_sleep(9))", "the query calls pg_sleep, which does not only read. (bad-sql)"},
		{"a constant", "SELECT count(*) FROM shop.orders WHERE service = '{service}'", "SELECT 0", "it reads from no table, so its answer would always be the same. (bad-sql)"},
		{"no SQL", "count(*)", "count(*", "(bad-sql)"},
		{"no PromQL", "sum(stuck)", "sum(stuck", "(bad-query)"},
		{"a system that is not configured", "system: shop-db", "system: shop", `Configure system "shop", or name one that is: shop-db. (unknown-system)`},
		{"SQL for a Prometheus", "system: shop-db", "system: prom", `"prom" is of type prometheus. (unknown-system)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			book := write(t, "runbook.yaml", strings.Replace(dataRunbook, test.old, test.new, 1))
			_, out, errs := run(t, nil, "runbook", "lint", "-c", write(t, "backout.yaml", "runbooks: ["+book+"]\n"+systems))
			require.Contains(t, out, future, errs)
			if test.want == "" {
				require.Contains(t, out, "1 runbooks, 1 findings\n")
				return
			}
			require.Contains(t, out, "1 runbooks, 2 findings\n")
			require.Contains(t, out, test.want)
		})
	}
	book := write(t, "runbook.yaml", strings.Replace(dataRunbook, "system: shop-db", "system: shop", 1))
	_, out, _ := run(t, nil, "runbook", "lint", book)
	require.Contains(t, out, "1 runbooks, 1 findings\n", "without a configuration nobody knows the systems")
}
