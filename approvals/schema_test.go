package approvals_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

func schema(t *testing.T) (compiled *jsonschema.Schema, raw map[string]any) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(approvals.Schema)))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource("policy.json", doc))
	s, err := c.Compile("policy.json")
	require.NoError(t, err)
	return s, doc.(map[string]any)
}

func validate(t *testing.T, s *jsonschema.Schema, content string) error {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal([]byte(content), &v))
	return s.Validate(numbers(v))
}

// numbers turns those of the YAML library into those of the schema library.
func numbers(v any) any {
	switch x := v.(type) {
	case uint64:
		return float64(x)
	case int64:
		return float64(x)
	case []any:
		for i := range x {
			x[i] = numbers(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = numbers(x[k])
		}
	}
	return v
}

// TestSchemaKnowsTheKeysOfTheParser: a key that only one of them knows fails.
func TestSchemaKnowsTheKeysOfTheParser(t *testing.T) {
	t.Parallel()
	_, root := schema(t)
	defs := root["$defs"].(map[string]any)
	objects := 0
	for _, def := range defs {
		if def.(map[string]any)["type"] == "object" {
			objects++
		}
	}
	require.Len(t, approvals.ParserKeys(), objects+1)
	for name, keys := range approvals.ParserKeys() {
		def := root
		if name != "" {
			def = defs[name].(map[string]any)
		}
		var required []string
		list, _ := def["required"].([]any)
		for _, k := range list {
			required = append(required, k.(string))
		}
		var parserRequired []string
		for k, f := range keys {
			if f.Required {
				parserRequired = append(parserRequired, k)
			}
		}
		require.ElementsMatch(t, slices.Collect(maps.Keys(keys)), slices.Collect(maps.Keys(def["properties"].(map[string]any))), name)
		require.ElementsMatch(t, parserRequired, required, name)
		require.Equal(t, false, def["additionalProperties"], name)
	}
}

// TestSchemaAndParserRefuseTheSame breaks a valid policy in one place at a time.
func TestSchemaAndParserRefuseTheSame(t *testing.T) {
	t.Parallel()
	s, _ := schema(t)
	valid := "facts:\n  - {name: high, cel: 'radius.traffic_share > 0.2', means: touches much of the traffic}\n" +
		"deny:\n  - {cel: 'severity == \"sev4\"', reason: nobody is harmed enough}\n" +
		"severity:\n  - {severities: [sev1], from: tier-2, to: tier-1, unless: [high], cel: slo_burn > 10, reason: it burns}\n" +
		"break_glass: {roles: [on_call], tiers: [tier-3]}\n" + withConditions("", "", "")
	valid = strings.Replace(valid, "expires_after: 15m", "expires_after: 15m, step_up: true, remind_after: 5m", 1)
	parsed(t, valid)
	require.NoError(t, validate(t, s, valid))
	require.NoError(t, validate(t, s, defaultText(t)))
	for _, tt := range []struct{ name, old, new string }{
		{"unknown key", "kind: Policy", "kind: Policy\nmore: x"},
		{"version", "backout.dev/v1", "backout.dev/v2"},
		{"kind", "kind: Policy", "kind: Runbook"},
		{"no name", "{name: own}", "{}"},
		{"blank name", "{name: own}", "{name: ' '}"},
		{"unknown tier", "tier: tier-3", "tier: tier-4"},
		{"unknown role", "[service_owner]", "[owner]"},
		{"no role", "[service_owner]", "[]"},
		{"count", "{roles: [service_owner]}", "{roles: [service_owner], count: 6}"},
		{"strange fact", "[irreversible]", "[Irreversible]"},
		{"no fact", "[irreversible]", "[]"},
		{"duration", "expires_after: 15m", "expires_after: 15"},
		{"step-up", "step_up: true", "step_up: maybe"},
		{"fact without a condition", "cel: 'radius.traffic_share > 0.2', ", ""},
		{"empty condition", "cel: slo_burn > 10", "cel: ''"},
		{"denial without a reason", ", reason: nobody is harmed enough", ""},
		{"empty reason", "reason: it burns", "reason: ' . '"},
		{"unknown severity", "[sev1]", "[P1]"},
		{"move to nowhere", "to: tier-1", "to: tier-0"},
		{"break-glass for nobody", "roles: [on_call], tiers: [tier-3]", "roles: [], tiers: [tier-3]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, valid, tt.old)
			broken := strings.Replace(valid, tt.old, tt.new, 1)
			_, err := approvals.ParsePolicy(approvals.File{Name: "p.yaml", Content: []byte(broken)})
			require.ErrorContains(t, err, "p.yaml:")
			require.Error(t, validate(t, s, broken))
		})
	}
	require.Equal(t, incident.TierForbidden, parsed(t, strings.Replace(valid, "to: tier-1", "to: forbidden", 1)).Judge(approvals.Situation{}).Tier)
}
