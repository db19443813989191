package runbooks_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

func lintInput(t *testing.T) runbooks.LintInput {
	t.Helper()
	return runbooks.LintInput{
		Catalogue:  shop(t),
		Kinds:      []runbooks.KindInfo{{Kind: "nats.kv", Reversible: true}, {Kind: "kubernetes.workload", Reversible: true}, {Kind: "db.restore"}},
		Sources:    []string{"nats.kv", "kubernetes.workload", "github.deployments"},
		Collectors: []string{"nats.kv", "kubernetes.describe", "prometheus.range"},
		Now:        onset,
		CheckParams: func(e incident.EvidenceSpec) (string, error) {
			switch {
			case strings.Contains(e.Target.Path+e.Params["key"], "{service}"), e.Target.Path == "..":
				return "", errors.New("it is no path")
			case e.Params["depth"] != "":
				return "depth", errors.New("it is unknown")
			case e.Params["key"] == "none":
				return "missing", errors.New("it is missing")
			}
			return "", nil
		},
		CheckQuery: func(q string) error {
			if strings.Contains(q, "{service}") || strings.Contains(q, "((") {
				return errors.New("it is not PromQL")
			}
			return nil
		},
	}
}

// clean is minimal with what lint asks for.
var clean = strings.Replace(strings.Replace(minimal, "unit: ratio", "unit: ratio, traffic: up", 1),
	"recovery:", "evidence:\n  - {collector: nats.kv, target: {system: nats, path: a}}\nrecovery:", 1)

func TestLint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, old, new string
		want           []string
	}{
		{"clean", "x", "x", nil},
		{"unknown kind", "{kind: nats.kv", "{kind: nats.kvs", []string{"f:15: error: Use a kind that exists instead of \"nats.kvs\": nats.kv, kubernetes.workload, db.restore. (unknown-kind)"}},
		{"unknown collector", "collector: nats.kv", "collector: nats.dump", []string{"f:17: error: Use a collector that exists"}},
		{"service in what is collected", "path: a}}", "path: \"{service}\"}, params: {key: \"{service}\"}}", nil},
		{"target that the collector does not take", "path: a}}", "path: ..}}", []string{"f:17: error: Correct what nats.kv is asked: it is no path. (bad-parameter)"}},
		{"parameter that the collector does not take", "path: a}}", "path: a}, params: {\n      key: b,\n      depth: c}}", []string{"f:19: error: Correct what nats.kv is asked: it is unknown. (bad-parameter)"}},
		{"parameter that is missing", "path: a}}", "path: a}, params: {key: none}}", []string{"f:17: error: Correct what nats.kv is asked: it is missing. (bad-parameter)"}},
		{"unknown service", "[checkout]", "[checkuot]", []string{"f:4: error: Add \"checkuot\" to the service catalogue"}},
		{"unknown service of an action", "max_time: 1m", "max_time: 1m, service: gone", []string{"(unknown-service)"}},
		{"unknown resource", "rung: reversible", "rung: reversible\n    shared_data: [gone]", []string{"(unknown-resource)"}},
		{"no max_time", ", max_time: 1m", "", []string{"f:15: error: Give the action on nats/releases/{service} a max_time. (no-max-time)"}},
		{"kind that can not be undone", "{kind: nats.kv", "{kind: db.restore", []string{"(one-way-undeclared)"}},
		{"one-way without reason", "rung: reversible", "rung: irreversible\n    risk: high", []string{"f:12: error: List in wont_revert"}},
		{"controlled without risk", "rung: reversible", "rung: controlled", []string{"f:12: warning: Say in risk"}},
		{"stale review", "2026-11-01", "2026-05-01", []string{"f:3: warning: Review the runbook and set the day: the last review is 203 days old, more than 180. (stale-review)"}},
		{"review in the future", "2026-11-01", "2026-12-01", []string{"(future-review)"}},
		{"no traffic guard", ", traffic: up", "", []string{"f:20: warning: Give SLI \"errors\" a traffic query"}},
		{"bad query", "query: up", "query: ((", []string{"f:20: error: Correct the query of SLI \"errors\": it is not PromQL. (bad-query)"}},
		{"change that nothing undoes", "changes:\n", "changes:\n  - {source: github.deployments, target: {system: github, path: a/b}}\n", []string{"f:6: error: Add an option that undoes changes of github/a/b, or say in no_inverse why there is none. (no-inverse)"}},
		{"change that nothing undoes, with reason", "changes:\n", "changes:\n  - {source: github.deployments, target: {system: github, path: a/b}, no_inverse: it is undone by the pipeline}\n", nil},
		{"reason beside an inverse", "changes:\n  - {source: nats.kv,", "changes:\n  - {source: nats.kv, no_inverse: because,", []string{"(no-inverse-but-undone)"}},
		{"unknown source", "changes:\n", "changes:\n  - {source: helm, target: {system: h, path: a}, no_inverse: because}\n", []string{"f:6: error: Use a change source that exists instead of \"helm\""}},
		{"option that never comes up", "path: \"releases/{service}\"}, max_time", "path: \"other/{service}\"}, max_time", []string{"(no-inverse)", "(never-offered)"}},
		{"no evidence", "evidence:\n  - {collector: nats.kv, target: {system: nats, path: a}}\n", "", []string{"(no-evidence)"}},
		{"no recovery", "recovery:\n  slis:\n    - {name: errors, system: prom, query: up, unit: ratio, traffic: up, objective: \"< 0.01\"}\n", "", []string{"(no-recovery)"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.want != nil {
				require.Contains(t, clean, tt.old)
			}
			r, err := runbooks.ParseRunbook(runbooks.File{Name: "f", Content: []byte(strings.Replace(clean, tt.old, tt.new, 1))})
			require.NoError(t, err)
			found := runbooks.Lint([]*runbooks.Runbook{r}, lintInput(t))
			require.Len(t, found, len(tt.want), "%v", found)
			for i, f := range found {
				require.Contains(t, f.String(), tt.want[i])
				require.True(t, strings.HasSuffix(f.Message, "."), f.Message)
			}
		})
	}
}

func TestLintFindsDuplicateNames(t *testing.T) {
	t.Parallel()
	a, b := example(t, "nats-release-pointer.yaml"), example(t, "nats-release-pointer.yaml")
	b.File = "other.yaml"
	found := runbooks.Lint([]*runbooks.Runbook{a, b}, lintInput(t))
	require.Len(t, found, 1)
	require.Equal(t, runbooks.RuleDuplicateName, found[0].Rule)
	require.True(t, runbooks.HasErrors(found))
	require.False(t, runbooks.HasErrors(nil))
}

func TestLintWithoutAWorldChecksTheRunbookAlone(t *testing.T) {
	t.Parallel()
	require.Empty(t, runbooks.Lint([]*runbooks.Runbook{example(t, "kubernetes-deployment.yaml")}, runbooks.LintInput{Now: onset.Add(time.Hour)}))
}
