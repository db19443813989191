package runbooks_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// withData is clean with data checks.
func withData(checks string) string { return clean + "  data:\n" + checks }

const (
	sqlCheck    = "    - {name: orders without a payment, system: shop-db, sql: \"SELECT count(*) FROM o WHERE service = '{service}'\"}\n"
	promQLCheck = "    - {name: stuck messages, system: prom, promql: \"sum(stuck{service='{service}'})\", at_most: 5}\n"
)

func TestDataChecks(t *testing.T) {
	t.Parallel()
	parse := func(text string) *runbooks.Runbook {
		require.NoError(t, validate(t, schema(t), []byte(text)))
		r, err := runbooks.ParseRunbook(runbooks.File{Name: "f", Content: []byte(text)})
		require.NoError(t, err)
		return r
	}
	r := parse(withData(sqlCheck + promQLCheck))
	concrete, err := r.For("checkout")
	require.NoError(t, err)
	require.Equal(t, []incident.DataCheck{
		{Name: "orders without a payment", System: "shop-db", SQL: "SELECT count(*) FROM o WHERE service = 'checkout'"},
		{Name: "stuck messages", System: "prom", PromQL: "sum(stuck{service='checkout'})", AtMost: 5},
	}, concrete.Recovery.Data)
	require.Contains(t, r.Recovery.Data[0].SQL, runbooks.Placeholder, "the runbook itself stays as it is")
	require.NotEqual(t, r.Digest, parse(withData(sqlCheck+strings.Replace(promQLCheck, "at_most: 5", "at_most: 6", 1))).Digest)
	require.Equal(t, parse(withData(sqlCheck)).Digest, parse(withData(strings.Replace(sqlCheck, "system:", "at_most: 0, system:", 1))).Digest, "a spelled default is no difference")
	require.Nil(t, parse(clean).Recovery.Data)
}

// TestDataChecksAreReadStrictly breaks a check in one place at a time. What the schema
// can express, both refuse.
func TestDataChecksAreReadStrictly(t *testing.T) {
	t.Parallel()
	s := schema(t)
	for _, tt := range []struct {
		name, old, new, want string
		parserOnly           bool
	}{
		{"unknown key", "name:", "maximum: 3, name:", `f:22:8: recovery.data[0]: unknown key "maximum"`, false},
		{"no name", "name: orders without a payment, ", "", `"name" is missing`, false},
		{"empty name", "name: orders without a payment", "name: ' '", "recovery.data[0].name: it is empty", false},
		{"a name of two lines", "name: orders without a payment", `name: "a\nb"`, "more than one line", false},
		{"a name that is no line", "name: orders without a payment", "name: " + strings.Repeat("x", 121), "more than 120", false},
		{"two checks of one name", sqlCheck, sqlCheck + sqlCheck, "stands there twice", true},
		{"no system", "system: shop-db, ", "", `"system" is missing`, false},
		{"a system that is none", "system: shop-db", "system: '{service}'", "recovery.data[0].system", false},
		{"no query", ", sql: \"SELECT count(*) FROM o WHERE service = '{service}'\"", "", "it counts nothing: add sql", false},
		{"an empty query", "\"SELECT count(*) FROM o WHERE service = '{service}'\"", "''", "recovery.data[0].sql: it is empty", false},
		{"two queries", "sql:", "promql: up, sql:", "leave one of them out", false},
		{"a query that is too long", "SELECT count(*)", "SELECT /*" + strings.Repeat("x", 8192) + "*/ count(*)", "more than 8192", false},
		{"below zero", "system:", "at_most: -1, system:", "at_most: -1 must be at least 0", false},
		{"a part", "system:", "at_most: 0.5, system:", "at_most", false},
		{"words", "system:", "at_most: none, system:", "at_most", false},
		{"too many to count", "system:", "at_most: 9007199254740993, system:", "at most 9007199254740992", true},
		{"too many checks", sqlCheck, many(11), "it has 11 checks, more than 10", false},
		{"no list", sqlCheck, "    name: a\n", "recovery.data", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := withData(sqlCheck)
			require.Contains(t, text, tt.old)
			at := strings.LastIndex(text, tt.old)
			broken := text[:at] + tt.new + text[at+len(tt.old):]
			_, err := runbooks.ParseRunbook(runbooks.File{Name: "f", Content: []byte(broken)})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "f:2")
			if tt.parserOnly {
				require.NoError(t, validate(t, s, []byte(broken)))
				return
			}
			require.Error(t, validate(t, s, []byte(broken)))
		})
	}
	require.NoError(t, validate(t, s, []byte(withData(many(10)))))
}

// many is a number of checks of different names.
func many(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString(strings.Replace(sqlCheck, "orders", "orders "+strings.Repeat("x", i+1), 1))
	}
	return text.String()
}

func TestLintOfDataChecks(t *testing.T) {
	t.Parallel()
	systems := map[string]string{"shop-db": "postgres", "copy": "postgres", "prom": "prometheus"}
	for _, tt := range []struct {
		name, old, new string
		systems        map[string]string
		want           []string
	}{
		{"clean", "x", "x", systems, nil},
		{"systems are not known", "shop-db", "gone", nil, nil},
		{"unknown database", "shop-db", "gone", systems, []string{`f:22: error: Configure system "gone", or name one that is: copy, shop-db. (unknown-system)`}},
		{"no database at all", "shop-db", "gone", map[string]string{"prom": "prometheus"}, []string{`Configure system "gone", or name one that is: there is none of that type.`}},
		{"SQL for a Prometheus", "shop-db", "prom", systems, []string{`f:22: error: Name a system of type postgres for data check "orders without a payment": "prom" is of type prometheus. (unknown-system)`}},
		{"PromQL for a database", "prom, promql", "shop-db, promql", systems, []string{`f:23: error: Name a system of type prometheus for data check "stuck messages": "shop-db" is of type postgres. (unknown-system)`}},
		{"a query that is no SELECT", "SELECT count(*) FROM", "DELETE FROM", systems, []string{`f:22: error: Correct the query of data check "orders without a payment": sql is not one SELECT. (bad-sql)`}},
		{"a query that is no PromQL", "sum(stuck", "((stuck", systems, []string{`f:23: error: Correct the query of data check "stuck messages": it is not PromQL. (bad-query)`}},
		{"silence that looks like zero", `"sum(stuck{service='{service}'})"`, `"sum(stuck) OR on() vector(0)"`, systems, []string{`f:23: warning: Leave "or vector" out of data check "stuck messages"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := withData(sqlCheck + promQLCheck)
			if tt.want != nil {
				require.Contains(t, text, tt.old)
			}
			r, err := runbooks.ParseRunbook(runbooks.File{Name: "f", Content: []byte(strings.Replace(text, tt.old, tt.new, 1))})
			require.NoError(t, err)
			in := lintInput(t)
			in.Systems = tt.systems
			in.CheckSQL = func(q string) error {
				if strings.Contains(q, "{service}") || !strings.HasPrefix(q, "SELECT") {
					return errors.New("sql is not one SELECT")
				}
				return nil
			}
			found := runbooks.Lint([]*runbooks.Runbook{r}, in)
			require.Len(t, found, len(tt.want), "%v", found)
			for i, f := range found {
				require.Contains(t, f.String(), tt.want[i])
			}
		})
	}
}
