package fakevault_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fakevault "github.com/backout/backout/test/fakes/vault"
)

// ask makes a request and returns the status and the answer.
func ask(t *testing.T, s *fakevault.Server, token, method, path, body string) (int, map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL()+"/v1/"+path, bytes.NewBufferString(body))
	require.NoError(t, err)
	request.Header.Set("X-Vault-Token", token)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	content, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	var value map[string]any
	if len(content) > 0 {
		require.NoError(t, json.Unmarshal(content, &value))
	}
	return answer.StatusCode, value
}

func started(t *testing.T) *fakevault.Server {
	t.Helper()
	s := fakevault.New(nil, map[string]fakevault.Policy{
		"root": nil,
		"app":  {"secret/data/shop/*": {"read", "update"}, "secret/metadata/shop/*": {"read"}, "sys/leases/lookup/database/*": {"list"}},
	})
	t.Cleanup(s.Close)
	s.Put("shop/a", map[string]any{"k": "1"})
	s.Put("shop/a", map[string]any{"k": "2"})
	return s
}

func TestCheckAndSet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, body string
		required   bool
		status     int
		says       string
	}{
		{"matches", `{"options":{"cas":2},"data":{"k":"3"}}`, true, http.StatusOK, ""},
		{"does not match", `{"options":{"cas":1},"data":{"k":"3"}}`, false, http.StatusBadRequest, "check-and-set parameter did not match the current version"},
		{"zero of one that is there", `{"options":{"cas":0},"data":{"k":"3"}}`, false, http.StatusBadRequest, "check-and-set parameter did not match the current version"},
		{"is missing where it is required", `{"data":{"k":"3"}}`, true, http.StatusBadRequest, "check-and-set parameter required for this call"},
		{"is not required", `{"data":{"k":"3"}}`, false, http.StatusOK, ""},
		{"no data", `{"options":{"cas":2}}`, false, http.StatusBadRequest, "no data provided"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := started(t)
			if test.required {
				s.Require("shop/a")
			}
			status, answer := ask(t, s, "app", http.MethodPost, "secret/data/shop/a", test.body)
			require.Equal(t, test.status, status)
			data, _ := s.Secret("shop/a")
			if test.says != "" {
				require.Equal(t, []any{test.says}, answer["errors"])
				require.Equal(t, "2", data["k"])
				return
			}
			require.Equal(t, "3", data["k"])
			require.EqualValues(t, 3, answer["data"].(map[string]any)["version"])
		})
	}
}

func TestVersionsThatAreGone(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Delete("shop/a", 1)
	status, answer := ask(t, s, "app", http.MethodGet, "secret/data/shop/a?version=1", "")
	require.Equal(t, http.StatusNotFound, status)
	data := answer["data"].(map[string]any)
	require.Nil(t, data["data"])
	require.NotEmpty(t, data["metadata"].(map[string]any)["deletion_time"])
	s.Destroy("shop/a", 2)
	status, answer = ask(t, s, "app", http.MethodGet, "secret/data/shop/a", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Equal(t, true, answer["data"].(map[string]any)["metadata"].(map[string]any)["destroyed"])
	status, answer = ask(t, s, "app", http.MethodGet, "secret/data/shop/none", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Nil(t, answer["data"])
	s.Keep("shop/a", 1)
	s.Put("shop/a", map[string]any{"k": "3"})
	_, answer = ask(t, s, "app", http.MethodGet, "secret/metadata/shop/a", "")
	require.Len(t, answer["data"].(map[string]any)["versions"], 1, "older versions are kept")
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	s := started(t)
	for _, test := range []struct {
		name, token, method, path, body string
		status                          int
	}{
		{"an unknown token", "other", http.MethodGet, "secret/data/shop/a", "", http.StatusForbidden},
		{"another path", "app", http.MethodGet, "secret/data/bank/a", "", http.StatusForbidden},
		{"update is not create", "app", http.MethodPost, "secret/data/shop/new", `{"data":{}}`, http.StatusForbidden},
		{"update is not delete", "app", http.MethodDelete, "secret/data/shop/a", "", http.StatusForbidden},
		{"leases need sudo", "app", "LIST", "sys/leases/lookup/database/", "", http.StatusForbidden},
		{"no lease below a prefix", "root", "LIST", "sys/leases/lookup/database/", "", http.StatusNotFound},
		{"a lease that does not live", "root", http.MethodPut, "sys/leases/lookup", `{"lease_id":"x"}`, http.StatusBadRequest},
		{"a lease that is revoked already", "root", http.MethodPut, "sys/leases/revoke", `{"lease_id":"x","sync":true}`, http.StatusNoContent},
		{"its own capabilities", "app", http.MethodPost, "sys/capabilities-self", `{"paths":["secret/data/shop/a"]}`, http.StatusOK},
		{"no such route", "root", http.MethodGet, "sys/none", "", http.StatusNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			status, _ := ask(t, s, test.token, test.method, test.path, test.body)
			require.Equal(t, test.status, status)
		})
	}
}

func TestLeases(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Issue("database/creds/a/1", time.Hour)
	s.Issue("database/creds/b/2", time.Hour)
	_, answer := ask(t, s, "root", "LIST", "sys/leases/lookup/database/creds/", "")
	require.Equal(t, []any{"a/", "b/"}, answer["data"].(map[string]any)["keys"])
	_, answer = ask(t, s, "root", http.MethodPut, "sys/leases/lookup", `{"lease_id":"database/creds/a/1"}`)
	require.NotEmpty(t, answer["data"].(map[string]any)["issue_time"])
	status, _ := ask(t, s, "root", http.MethodPut, "sys/leases/revoke", `{"lease_id":"database/creds/a/1"}`)
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, []string{"database/creds/b/2"}, s.Leases("database/"))
}

func TestAway(t *testing.T) {
	t.Parallel()
	s := started(t)
	s.Throttle(1)
	status, _ := ask(t, s, "root", http.MethodGet, "secret/data/shop/a", "")
	require.Equal(t, http.StatusTooManyRequests, status)
	s.Seal(true)
	status, _ = ask(t, s, "root", http.MethodGet, "secret/data/shop/a", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	s.Seal(false)
	status, _ = ask(t, s, "root", http.MethodGet, "secret/data/shop/a", "")
	require.Equal(t, http.StatusOK, status)
}
