package fakelaunchdarkly_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fakelaunchdarkly "github.com/backout/backout/test/fakes/launchdarkly"
)

const path = "/api/v2/flags/shop/checkout"

func start(t *testing.T, cfg fakelaunchdarkly.Config) *fakelaunchdarkly.Server {
	t.Helper()
	cfg.Tokens = map[string]fakelaunchdarkly.Token{"writer-token": {Name: "writer", Actions: []string{"*"}}, "toggler-token": {Name: "toggler", Actions: []string{"updateOn"}}}
	s, err := fakelaunchdarkly.New(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	s.AddFlag("shop", "checkout", "production", "staging")
	return s
}

// call makes a request and returns the status, the code of an error and the answer.
func call(t *testing.T, s *fakelaunchdarkly.Server, token, method, path string, body any) (status int, code string, answer map[string]any, header http.Header) {
	t.Helper()
	var sent io.Reader
	if body != nil {
		content, err := json.Marshal(body)
		require.NoError(t, err)
		sent = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, sent)
	require.NoError(t, err)
	request.Header.Set("Authorization", token)
	reply, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, reply.Body.Close()) }()
	require.NoError(t, json.NewDecoder(reply.Body).Decode(&answer))
	code, _ = answer["code"].(string)
	return reply.StatusCode, code, answer, reply.Header
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func patch(operations ...operation) map[string]any {
	return map[string]any{"comment": "why", "patch": operations}
}

// TestPatchRefuses shows what LaunchDarkly does not accept, and that nothing of it
// takes effect.
func TestPatchRefuses(t *testing.T) {
	t.Parallel()
	const at = "/environments/production/"
	for _, test := range []struct {
		name, token string
		body        any
		arrange     func(s *fakelaunchdarkly.Server)
		status      int
		code        string
	}{
		{"no token", "", patch(operation{"replace", at + "on", true}), nil, http.StatusUnauthorized, "unauthorized"},
		{"a scheme before the token", "Bearer writer-token", patch(operation{"replace", at + "on", true}), nil, http.StatusUnauthorized, "unauthorized"},
		{"another version", "writer-token", patch(operation{"test", at + "version", 7}, operation{"replace", at + "on", true}), nil, http.StatusConflict, "optimistic_locking_error"},
		{"an action that the role lacks", "toggler-token", patch(operation{"replace", at + "on", true}, operation{"replace", at + "offVariation", 0}), nil, http.StatusForbidden, "forbidden"},
		{"approval required", "writer-token", patch(operation{"replace", at + "on", true}), func(s *fakelaunchdarkly.Server) { s.RequireApproval("shop", "production") }, http.StatusMethodNotAllowed, "method_not_allowed"},
		{"a variation that does not exist", "writer-token", patch(operation{"replace", at + "offVariation", 2}), nil, http.StatusBadRequest, "invalid_request"},
		{"a rollout of less than all", "writer-token", patch(operation{"replace", at + "fallthrough", map[string]any{"rollout": map[string]any{"variations": []any{map[string]any{"variation": 0, "weight": 99_999}}}}}), nil, http.StatusBadRequest, "invalid_request"},
		{"a variation and a rollout", "writer-token", patch(operation{"add", at + "fallthrough/rollout", map[string]any{"variations": []any{map[string]any{"variation": 0, "weight": 100_000}}}}), nil, http.StatusBadRequest, "invalid_request"},
		{"a field that is derived", "writer-token", patch(operation{"replace", at + "version", 9}), nil, http.StatusBadRequest, "invalid_request"},
		{"a path that is missing", "writer-token", patch(operation{"replace", at + "rules/0", map[string]any{}}), nil, http.StatusBadRequest, "invalid_request"},
		{"a body that the document does not allow", "writer-token", map[string]any{"patch": "all"}, nil, http.StatusBadRequest, "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, fakelaunchdarkly.Config{})
			if test.arrange != nil {
				test.arrange(s)
			}
			before := s.Configuration("shop", "checkout", "production")
			status, code, _, _ := call(t, s, test.token, http.MethodPatch, path, test.body)
			require.Equal(t, test.status, status)
			require.Equal(t, test.code, code)
			require.Equal(t, before, s.Configuration("shop", "checkout", "production"), "a refused patch took effect")
			require.Equal(t, 1, s.Entries("shop", "checkout", "production"))
			require.Empty(t, s.Violations())
		})
	}
}

// TestPatch shows that a patch is one version and one entry of the log, which holds
// the flag before and after it, and that a trial is neither.
func TestPatch(t *testing.T) {
	t.Parallel()
	s := start(t, fakelaunchdarkly.Config{})
	body := patch(operation{"test", "/environments/production/version", 1}, operation{"replace", "/environments/production/on", true})
	version := func(answer any) any {
		return answer.(map[string]any)["environments"].(map[string]any)["production"].(map[string]any)["version"]
	}
	status, _, answer, _ := call(t, s, "toggler-token", http.MethodPatch, path+"?dryRun=true", body)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, true, answer["environments"].(map[string]any)["production"].(map[string]any)["on"])
	require.Equal(t, false, s.Configuration("shop", "checkout", "production")["on"], "a trial was kept")

	status, _, answer, _ = call(t, s, "toggler-token", http.MethodPatch, path, body)
	require.Equal(t, http.StatusOK, status)
	require.InEpsilon(t, 2, version(answer), 0)
	require.InEpsilon(t, 1, s.Configuration("shop", "checkout", "staging")["version"], 0, "the other environment was changed")

	status, _, answer, _ = call(t, s, "toggler-token", http.MethodGet, "/api/v2/auditlog?limit=20&spec=proj/shop:env/production:flag/checkout", nil)
	require.Equal(t, http.StatusOK, status)
	items := answer["items"].([]any)
	require.Len(t, items, 2)
	newest := items[0].(map[string]any)
	require.Equal(t, "why", newest["comment"])
	status, _, answer, _ = call(t, s, "toggler-token", http.MethodGet, "/api/v2/auditlog/"+newest["_id"].(string), nil)
	require.Equal(t, http.StatusOK, status)
	require.InEpsilon(t, 1, version(answer["previousVersion"]), 0)
	require.InEpsilon(t, 2, version(answer["currentVersion"]), 0)

	status, _, _, _ = call(t, s, "toggler-token", http.MethodGet, "/api/v2/auditlog?limit=21", nil)
	require.Equal(t, http.StatusBadRequest, status)
	require.Empty(t, s.Violations())
}

// TestConfigurationIsComplete holds the configurations to the document, whose facts
// say nothing of them: their names are those of environments.
// Source: FeatureFlagConfig in LaunchDarkly's OpenAPI document.
func TestConfigurationIsComplete(t *testing.T) {
	t.Parallel()
	s := start(t, fakelaunchdarkly.Config{})
	status, _, answer, _ := call(t, s, "toggler-token", http.MethodGet, path+"?env=production", nil)
	require.Equal(t, http.StatusOK, status)
	configs := answer["environments"].(map[string]any)
	require.Len(t, configs, 1, "only the environment that was asked for is shown")
	for _, field := range []string{"_environmentName", "_site", "archived", "lastModified", "on", "salt", "sel", "trackEvents", "trackEventsFallthrough", "version"} {
		require.Contains(t, configs["production"], field)
	}
}

// TestLimit shows the limit with its headers.
func TestLimit(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	s := start(t, fakelaunchdarkly.Config{Now: func() time.Time { return now }, Requests: 1})
	status, _, _, header := call(t, s, "writer-token", http.MethodGet, "/api/v2/caller-identity", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "0", header.Get("X-Ratelimit-Global-Remaining"))
	status, code, _, header := call(t, s, "writer-token", http.MethodGet, "/api/v2/caller-identity", nil)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.Equal(t, "rate_limited", code)
	require.Equal(t, "1700000010000", header.Get("X-Ratelimit-Reset"))
}
