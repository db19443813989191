package runbooks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(runbooks.Schema)))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("runbook.json", doc))
	s, err := c.Compile("runbook.json")
	require.NoError(t, err)
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, content []byte) error {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal(content, &v))
	return s.Validate(plain(v))
}

// plain turns the YAML library's numbers into those of the schema library.
func plain(v any) any {
	switch x := v.(type) {
	case uint64:
		return float64(x)
	case int64:
		return float64(x)
	case []any:
		for i := range x {
			x[i] = plain(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = plain(x[k])
		}
	}
	return v
}

// TestExamplesParseValidateAndLintClean leaves the names of kinds, sources and
// collectors to cmd/internal/product, which knows those that are registered.
func TestExamplesParseValidateAndLintClean(t *testing.T) {
	t.Parallel()
	files, err := runbooks.Examples()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 2)
	s := schema(t)
	var all []*runbooks.Runbook
	for _, f := range files {
		r, err := runbooks.ParseRunbook(f)
		require.NoError(t, err)
		require.NoError(t, validate(t, s, f.Content), f.Name)
		all = append(all, r)
	}
	in := lintInput(t)
	in.Kinds, in.Sources, in.Collectors = nil, nil, nil
	in.Now = newest(all)
	require.Empty(t, runbooks.Lint(all, in))
}

// newest is the latest review: runbooks do not go stale in a test.
func newest(all []*runbooks.Runbook) time.Time {
	var latest time.Time
	for _, r := range all {
		if r.Metadata.Reviewed.After(latest) {
			latest = r.Metadata.Reviewed
		}
	}
	return latest
}

func TestParseRunbook(t *testing.T) {
	t.Parallel()
	r := example(t, "nats-release-pointer.yaml")
	require.Equal(t, "nats-release-pointer", r.Metadata.Name)
	require.Equal(t, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), r.Metadata.Reviewed)
	require.Equal(t, runbooks.Watch{Source: "nats.kv", Target: incident.Target{System: "nats", Path: "releases/{service}"}, Kind: incident.ChangeDeploy}, r.Changes[0])
	o := r.Options[0]
	require.Equal(t, incident.StrategyRollback, o.Strategy)
	require.Equal(t, incident.RungReversible, o.Rung)
	require.Equal(t, runbooks.ActionSpec{Kind: "nats.kv", Target: incident.Target{System: "nats", Path: "releases/{service}"}, MaxTime: 2 * time.Minute, OnFailure: incident.OnFailureStop}, o.Actions[0])
	require.Equal(t, incident.Objective{Comparison: incident.Below, Bound: 0.01}, r.Recovery.SLIs[0].Objective)
	require.Equal(t, runbooks.DefaultMinPoints, r.Recovery.SLIs[1].MinPoints, "default")
	require.Equal(t, runbooks.DefaultBaselineLength, r.Recovery.BaselineLength, "default")
	require.Equal(t, 30*time.Second, r.Recovery.Warmup)
	require.True(t, incident.ValidDigest(r.Digest))
}

func TestRunbookDigestIsOfContent(t *testing.T) {
	t.Parallel()
	f := file(t, "catalog/nats-release-pointer.yaml")
	parse := func(s string) string {
		r, err := runbooks.ParseRunbook(runbooks.File{Name: "other", Content: []byte(s)})
		require.NoError(t, err)
		return r.Digest
	}
	before := parse(string(f.Content))
	require.Equal(t, before, parse("# another comment\n"+strings.ReplaceAll(string(f.Content), "on_failure: stop", "on_failure:  'stop'")))
	require.Equal(t, before, parse(strings.Replace(string(f.Content), "      min_points: 3\n", "", 1)), "a spelled default is no difference")
	require.NotEqual(t, before, parse(strings.Replace(string(f.Content), "max_time: 2m", "max_time: 3m", 1)))
	require.NotEqual(t, before, parse(strings.Replace(string(f.Content), `"< 0.01"`, `"< 0.02"`, 1)))
}

// minimal is the least that parses, with a place for what a test adds.
const minimal = `apiVersion: backout.dev/v1
kind: Runbook
metadata: {name: a, owner: web, reviewed: "2026-11-01"}
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
recovery:
  slis:
    - {name: errors, system: prom, query: up, unit: ratio, objective: "< 0.01"}
`

// TestSchemaAndParserRefuseTheSame breaks a valid runbook in one place at a
// time. What the schema can express, both refuse; the rest only the parser.
func TestSchemaAndParserRefuseTheSame(t *testing.T) {
	t.Parallel()
	s := schema(t)
	_, err := runbooks.ParseRunbook(runbooks.File{Name: "f", Content: []byte(minimal)})
	require.NoError(t, err)
	require.NoError(t, validate(t, s, []byte(minimal)))
	for _, tt := range []struct {
		name, old, new, want string
		parserOnly           bool
	}{
		{"unknown key", "title: Back", "title: Back\n    titel: x", `f:10:5: options[0]: unknown key "titel"`, false},
		{"unknown top key", "recovery:", "x: 1\nrecovery:", `unknown key "x"`, false},
		{"version", "backout.dev/v1", "backout.dev/v2", "apiVersion", false},
		{"kind", "kind: Runbook", "kind: Playbook", "f:2:7: kind", false},
		{"name", "name: a,", "name: A b,", "metadata.name", false},
		{"no owner", "owner: web, ", "", `"owner" is missing`, false},
		{"empty owner", "owner: web", `owner: " "`, "metadata.owner", false},
		{"reviewed form", "2026-11-01", "1 Nov 2026", "metadata.reviewed", false},
		{"reviewed day", "2026-11-01", "2026-13-01", "metadata.reviewed", true},
		{"no services", "[checkout]", "[]", "match.services", false},
		{"any beside a name", "[checkout]", `["*", checkout]`, "must stand alone", false},
		{"service twice", "[checkout]", "[checkout, checkout]", "twice", false},
		{"service form", "[checkout]", "[Check/out]", "match.services[0]", false},
		{"other placeholder in path", `path: "releases/{service}"}}`, `path: "releases/{region}"}}`, "f:6:52: changes[0].target.path", false},
		{"open brace in path", `path: "releases/{service}"}, max_time`, `path: "releases/{"}, max_time`, "options[0].actions[0].target.path", false},
		{"space in path", `path: "releases/{service}"}, max_time`, `path: "a b"}, max_time`, "actions[0].target.path", false},
		{"placeholder in system", "target: {system: nats, path: \"releases/{service}\"}, max_time", "target: {system: \"{service}\", path: a}, max_time", "target.system", false},
		{"source form", "source: nats.kv", "source: NATS", "changes[0].source", false},
		{"watch kind", "changes:\n  - {source: nats.kv,", "changes:\n  - {source: nats.kv, kind: rollout,", "changes[0].kind", false},
		{"empty no_inverse", "changes:\n  - {source: nats.kv,", "changes:\n  - {source: nats.kv, no_inverse: '',", "no_inverse", false},
		{"no options", "options:\n", "options: []\nx:\n", "options", false},
		{"two options of one name", "recovery:", "  - {name: back, title: B, strategy: restore, rung: controlled, expected_time: 1m, actions: [{kind: a, target: {system: a, path: b}}]}\nrecovery:", "stands there twice", true},
		{"strategy", "strategy: rollback", "strategy: undo", "options[0].strategy", false},
		{"rung", "rung: reversible", "rung: safe", "options[0].rung", false},
		{"undoes what is not watched", "undoes: [nats.kv]", "undoes: [github.deployments]", "is not watched", true},
		{"title too long", "title: Back", "title: " + strings.Repeat("x", 76), "more than 75", false},
		{"no expected_time", "    expected_time: 10s\n", "", `"expected_time" is missing`, false},
		{"expected_time zero", "expected_time: 10s", "expected_time: 0s", "expected_time", true},
		{"max_time without unit", "max_time: 1m", `max_time: "60"`, "max_time", false},
		{"max_time as number", "max_time: 1m", "max_time: 60", "max_time", false},
		{"max_time negative", "max_time: 1m", "max_time: -1m", "max_time", false},
		{"max_time too long", "max_time: 1m", "max_time: 25h", "at most 24h", true},
		{"on_failure", "max_time: 1m", "max_time: 1m, on_failure: retry", "on_failure", false},
		{"revision that is not text", "max_time: 1m", "max_time: 1m, revision: 7", "revision: want text", false},
		{"revision that is not absolute", "max_time: 1m", "max_time: 1m, revision: previous", "is not absolute", true},
		{"objective without comparison", `"< 0.01"`, `"0.01"`, "objective", false},
		{"objective with another comparison", `"< 0.01"`, `"<= 0.01"`, "objective", false},
		{"objective in words", `"< 0.01"`, `"< low"`, "objective", false},
		{"objective NaN", `"< 0.01"`, `"< NaN"`, "objective", false},
		{"objective beyond numbers", `"< 0.01"`, `"< 1e999"`, "objective", true},
		{"tolerance zero", "unit: ratio", "unit: ratio, tolerance: 0", "tolerance", false},
		{"min_traffic without traffic", "unit: ratio", "unit: ratio, min_traffic: 0.5", "min_traffic", false},
		{"min_traffic above one", "unit: ratio", "unit: ratio, traffic: up, min_traffic: 1.5", "min_traffic", false},
		{"min_points zero", "unit: ratio", "unit: ratio, min_points: 0", "min_points", false},
		{"min_points that do not fit", "unit: ratio", "unit: ratio, min_points: 6", "do not fit", true},
		{"bad events alone", "objective: \"< 0.01\"}", "objective: \"< 0.01\", bad: up}", "recovery.slis[0].bad: it needs total", false},
		{"all events alone", "objective: \"< 0.01\"}", "objective: \"< 0.01\", total: up}", "recovery.slis[0].total: it needs bad", false},
		{"events of seconds", "unit: ratio, objective: \"< 0.01\"}", "unit: seconds, objective: \"< 0.01\", bad: up, total: up}", "events are for the unit ratio", true},
		{"no SLIs", "slis:\n    - {name: errors, system: prom, query: up, unit: ratio, objective: \"< 0.01\"}", "slis: []", "recovery.slis", false},
		{"short above long", "recovery:", "recovery:\n  short: 10m\n  deadline: 1h", "longer than long", true},
		{"step above short", "recovery:", "recovery:\n  step: 2m", "longer than short", true},
		{"deadline too early", "recovery:", "recovery:\n  deadline: 5m", "nothing could ever recover", true},
		{"evidence collector", "recovery:", "evidence: [{collector: A B, target: {system: a, path: b}}]\nrecovery:", "collector", false},
		{"evidence parameter that is not text", "recovery:", "evidence: [{collector: a, target: {system: a, path: b}, params: {n: 1}}]\nrecovery:", "params.n: want text", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, minimal, tt.old)
			broken := strings.Replace(minimal, tt.old, tt.new, 1)
			_, err := runbooks.ParseRunbook(runbooks.File{Name: "f", Content: []byte(broken)})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "f:")
			if tt.parserOnly {
				require.NoError(t, validate(t, s, []byte(broken)))
			} else {
				require.Error(t, validate(t, s, []byte(broken)))
			}
		})
	}
}

// TestSchemaKnowsTheKeysOfTheParser takes each key of the schema in turn away
// from the parser's side: a key that only one of them knows fails.
func TestSchemaKnowsTheKeysOfTheParser(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(runbooks.Schema)))
	require.NoError(t, err)
	root := doc.(map[string]any)
	defs := root["$defs"].(map[string]any)
	for name, keys := range runbooks.ParserKeys() {
		def := root
		if name != "" {
			def = defs[name].(map[string]any)
		}
		var known, required []string
		for k := range def["properties"].(map[string]any) {
			known = append(known, k)
		}
		list, _ := def["required"].([]any)
		for _, k := range list {
			required = append(required, k.(string))
		}
		var parserKnown, parserRequired []string
		for k, f := range keys {
			parserKnown = append(parserKnown, k)
			if f.Required {
				parserRequired = append(parserRequired, k)
			}
		}
		require.ElementsMatch(t, parserKnown, known, name)
		require.ElementsMatch(t, parserRequired, required, name)
		require.Equal(t, false, def["additionalProperties"], name)
	}
}

func TestForReplacesOnlyThePlaceholder(t *testing.T) {
	t.Parallel()
	r := example(t, "nats-release-pointer.yaml")
	got, err := r.For("checkout")
	require.NoError(t, err)
	require.Equal(t, "releases/checkout", got.Changes[0].Target.Path)
	require.Equal(t, "releases/checkout", got.Options[0].Actions[0].Target.Path)
	require.Equal(t, "releases/checkout", got.Evidence[0].Target.Path)
	require.Contains(t, got.Evidence[2].Params["query"], `{service="checkout"}[1m]`)
	require.Contains(t, got.Recovery.SLIs[0].Query, `http_requests_total{service="checkout",code=~"5.."}`)
	require.Equal(t, `sum(rate(http_requests_total{service="checkout"}[1m]))`, got.Recovery.SLIs[0].Traffic)
	require.Equal(t, r.Digest, got.Digest)
	require.Equal(t, "releases/{service}", r.Options[0].Actions[0].Target.Path, "the runbook itself is untouched")
	require.Equal(t, "releases/{service}", r.Evidence[0].Target.Path)
	again, err := r.For("payments")
	require.NoError(t, err)
	require.Equal(t, "releases/payments", again.Options[0].Actions[0].Target.Path)
	for _, name := range []string{"", "a/b", `x"} or up`, "{service}", "A", "a b", "-a", strings.Repeat("a", 64)} {
		_, err := r.For(name)
		require.Error(t, err, name)
	}
}

func TestSelectPrefersTheRunbookThatNamesTheService(t *testing.T) {
	t.Parallel()
	any1, named := example(t, "nats-release-pointer.yaml"), example(t, "kubernetes-deployment.yaml")
	named.Match.Services = []string{"checkout"}
	all := []*runbooks.Runbook{any1, named}
	require.Equal(t, []*runbooks.Runbook{named}, runbooks.Select(all, "checkout"))
	require.Equal(t, []*runbooks.Runbook{any1}, runbooks.Select(all, "payments"))
	_, err := named.For("payments")
	require.ErrorContains(t, err, "does not match")
}

func TestDefaultsAreThoseThatTheSchemaStates(t *testing.T) {
	t.Parallel()
	r, err := runbooks.ParseRunbook(runbooks.File{Name: "f", Content: []byte(minimal)})
	require.NoError(t, err)
	require.Equal(t, incident.RecoverySpec{
		SLIs: []incident.SLI{{
			Name: "errors", System: "prom", Query: "up", Unit: "ratio", Objective: incident.Objective{Comparison: incident.Below, Bound: 0.01},
			Tolerance: 0.1, MinPoints: 3,
		}},
		Warmup: 30 * time.Second, Short: time.Minute, Long: 5 * time.Minute, Step: 15 * time.Second,
		BaselineLength: 10 * time.Minute, BaselineGap: time.Minute, Hold: 2 * time.Minute, Deadline: 15 * time.Minute,
	}, r.Recovery)
	for _, stated := range []string{"Default: 30s.", "Default: 1m.", "Default: 5m.", "Default: 15s.", "Default: 10m.", "Default: 2m.", "Default: 15m.", "Default: 0.1.", "Default: 3."} {
		require.Contains(t, string(runbooks.Schema), stated)
	}
}

// TestInvalidFixtures reads the files that show how errors look.
func TestInvalidFixtures(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/invalid/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	s := schema(t)
	for _, p := range paths {
		content, err := os.ReadFile(p)
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(content), "\n")
		want, found := strings.CutPrefix(first, "# want: ")
		require.True(t, found, p)
		_, err = runbooks.ParseRunbook(runbooks.File{Name: filepath.Base(p), Content: content})
		require.ErrorContains(t, err, want, p)
		require.Error(t, validate(t, s, content), p)
	}
}
