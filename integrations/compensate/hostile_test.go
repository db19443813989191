package compensate

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// hostile starts a server with any answer, and a driver that asks it.
func hostile(t *testing.T, handler http.HandlerFunc) inverse {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"ca":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		"token": "canary-token-of-mine", "secret": "whsec_" + base64.StdEncoding.EncodeToString([]byte("canary-signing-secret-of-mine")),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return inverse{opened(t, system(map[string]any{"payments": map[string]any{
		"url": server.URL, "ca_file": filepath.Join(dir, "ca"), "token_file": filepath.Join(dir, "token"),
		"secret_files": []string{filepath.Join(dir, "secret")}, "networks": []string{"127.0.0.1/32"},
	}}))}
}

// The states that hostile servers name.
const (
	badJSON  = `{"revision":"3","digest":"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","label":"v3"}`
	goodJSON = `{"revision":"2","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","label":"v2"}`
)

func hostileAction() incident.Action {
	return incident.Action{
		Kind: kind, Target: target(),
		From:    incident.State{Revision: "3", Digest: "sha256:" + strings.Repeat("b", 64)},
		To:      incident.State{Revision: "2", Digest: "sha256:" + strings.Repeat("a", 64)},
		MaxTime: 20 * time.Second, OnFailure: incident.OnFailureStop,
	}
}

func TestObservationsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, contentType, etag, body, want string }{
		{"web page", "text/html", "", "<html>canary-of-others</html>", "not application/json"},
		{"no type", "", "", `{"state":` + badJSON + `,"settled":true,"detail":""}`, "not application/json"},
		{"not JSON", "application/json", "", "canary-of-others", "another form"},
		{"empty", "application/json", "", "", "another form"},
		{"not UTF-8", "application/json", "", "{\"detail\":\"\xff\"}", "not UTF-8"},
		{"two documents", "application/json", "", `{"state":` + badJSON + `,"settled":true,"detail":""}{}`, "not one JSON document"},
		{"unknown member", "application/json", "", `{"state":` + badJSON + `,"settled":true,"detail":"","extra":"canary-of-others"}`, "another form"},
		{"not settled nor unsettled", "application/json", "", `{"state":` + badJSON + `,"detail":""}`, "settled"},
		{"no state", "application/json", "", `{"settled":true,"detail":""}`, "no revision"},
		{"neither digest nor etag", "application/json", "", `{"state":{"revision":"3"},"settled":true,"detail":""}`, "either a digest or an etag"},
		{"weak etag", "application/json", `W/"x"`, `{"state":{"revision":"3"},"settled":true,"detail":""}`, "not strong"},
		{"both", "application/json", "", `{"state":{"revision":"3","digest":"sha256:x","etag":"\"x\""},"settled":true,"detail":""}`, "either a digest or an etag"},
		{"two etags", "application/json", `"y"`, `{"state":{"revision":"3","etag":"\"x\""},"settled":true,"detail":""}`, "one etag in its header and another"},
		{"short digest", "application/json", "", `{"state":{"revision":"3","digest":"sha256:canary-of-others"},"settled":true,"detail":""}`, "a digest that is not"},
		{"too long", "application/json", "", `{"detail":"` + strings.Repeat("canary-of-others", maxAnswer/16) + `"}`, "more than"},
		{"my token", "application/json", "", `{"state":` + badJSON + `,"settled":true,"detail":"canary-token-of-mine"}`, "a secret of Backout's"},
		{"my token, spelled otherwise", "application/json", "", `{"state":` + badJSON + `,"settled":true,"detail":"canary-\u0074oken-of-mine"}`, "a secret of Backout's"},
		{"my token in the etag", "application/json", `"canary-token-of-mine"`, `{"state":` + badJSON + `,"settled":true,"detail":""}`, "a secret of Backout's"},
		{"my signing secret", "application/json", "", `{"state":` + badJSON + `,"settled":true,"detail":"` + base64.StdEncoding.EncodeToString([]byte("canary-signing-secret-of-mine")) + `"}`, "a secret of Backout's"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inv := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{test.contentType}
				if test.etag != "" {
					w.Header().Set("ETag", test.etag)
				}
				_, _ = io.WriteString(w, test.body)
			})
			_, err := inv.Observe(t.Context(), hostileAction())
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "canary")
			_, err = inv.Apply(t.Context(), hostileAction(), "key")
			require.Error(t, err)
			require.NotContains(t, err.Error(), "canary")
		})
	}
}

func answered(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestPlansThatAreNone(t *testing.T) {
	t.Parallel()
	fine := `"checks":[{"name":"a","result":"ok","reason":"All is well"}]`
	for _, test := range []struct{ name, plan, want string }{
		{"no check", `{"from":` + badJSON + `,"to":` + goodJSON + `,"reversible":true,"checks":[]}`, "no check"},
		{"unknown result", `{"checks":[{"name":"a","result":"fine","reason":"b"}]}`, "unknown result"},
		{"no name", `{"checks":[{"name":"\n","result":"ok","reason":"b"}]}`, "no name"},
		{"no state", `{"to":` + goodJSON + `,"reversible":true,` + fine + `}`, "no revision"},
		{"leads nowhere", `{"from":` + badJSON + `,"to":` + badJSON + `,"reversible":true,` + fine + `}`, "leads nowhere"},
		{"no word on the way back", `{"from":` + badJSON + `,"to":` + goodJSON + `,` + fine + `}`, "way back"},
		{"before its time", `{"from":` + badJSON + `,"to":` + goodJSON + `,"reversible":true,"expected_seconds":-1,` + fine + `}`, "no time that there is"},
		{"from elsewhere", `{"from":{"revision":"9","digest":"sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"},"to":` + goodJSON + `,"reversible":true,` + fine + `}`, "another state"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inv := hostile(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("view") == "plan" {
					answered(w, http.StatusOK, test.plan)
					return
				}
				answered(w, http.StatusOK, `{"state":`+badJSON+`,"settled":true,"detail":"here"}`)
			})
			planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target(), Revision: "2"})
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.name != "from elsewhere", driver.Final(err))
			require.Zero(t, planned)
		})
	}
}

// TestReceiptsThatAreNone shows that no word of the service counts before it is
// observed.
func TestReceiptsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
		final  bool
	}{
		{"applied elsewhere", 200, `{"result":"applied","state":` + badJSON + `,"detail":""}`, "names another state", false},
		{"drift without a difference", 412, `{"result":"drift","state":` + badJSON + `,"detail":""}`, "names no difference", false},
		{"drift beside 200", 200, `{"result":"drift","state":` + badJSON + `,"detail":"x"}`, "contradict each other", false},
		{"applied beside 412", 412, `{"result":"applied","state":` + goodJSON + `,"detail":"x"}`, "contradict each other", false},
		{"unknown result", 200, `{"result":"fine","state":` + goodJSON + `,"detail":""}`, "unknown", false},
		{"empty", 200, ``, "another form", false},
		{"redirected", 307, ``, "redirection is not followed", true},
		{"unauthorized", 401, ``, "permission denied", true},
		{"forbidden", 403, ``, "permission denied", true},
		{"gone", 410, ``, "not found", true},
		{"bad request", 400, ``, "invalid action", true},
		{"unprocessable", 422, ``, "invalid action", true},
		{"conflict", 409, ``, "busy", false},
		{"too many", 429, ``, "fewer requests", false},
		{"unavailable", 503, ``, "503", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inv := hostile(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.Header().Set("Location", "/elsewhere")
					answered(w, test.status, test.body)
					return
				}
				answered(w, http.StatusOK, `{"state":`+badJSON+`,"settled":true,"detail":"here"}`)
			})
			receipt, err := inv.Apply(t.Context(), hostileAction(), "key")
			require.ErrorContains(t, err, test.want)
			require.Equal(t, test.final, driver.Final(err))
			require.Zero(t, receipt)
		})
	}
}

// TestLie shows that a service that says that it has compensated, and has not,
// is not believed.
func TestLie(t *testing.T) {
	t.Parallel()
	inv := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			answered(w, http.StatusOK, `{"result":"applied","state":`+goodJSON+`,"detail":"done"}`)
			return
		}
		answered(w, http.StatusOK, `{"state":`+badJSON+`,"settled":true,"detail":"here"}`)
	})
	out, err := driver.Execute(t.Context(), inv, hostileAction(), "key", driver.Hooks{
		BeforeApply: func(context.Context, driver.Observation) error { return nil },
	})
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Equal(t, hostileAction().From.Digest, out.Last.State.Digest)
}

// TestRedirectionIsNotFollowed shows that no request, and so no token, goes where
// a service points to.
func TestRedirectionIsNotFollowed(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	inv := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	_, err := inv.Observe(t.Context(), hostileAction())
	require.ErrorIs(t, err, driver.ErrInvalid)
	require.ErrorIs(t, inv.services.Reach(t.Context()), driver.ErrInvalid)
	require.Zero(t, elsewhere.Load())
}

// TestFlood shows that an answer without an end is not read to it.
func TestFlood(t *testing.T) {
	t.Parallel()
	inv := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for {
			if _, err := w.Write(chunk); err != nil || r.Context().Err() != nil {
				return
			}
		}
	})
	_, err := inv.Observe(t.Context(), hostileAction())
	require.ErrorIs(t, err, errContract)
	require.ErrorContains(t, err, "more than")
}
