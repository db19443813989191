package unleash

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const secret = "very-secret-token"

// at is a connection to an address.
func at(tb testing.TB, address string) (*connection, error) {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "token")
	require.NoError(tb, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	return open(tb.Context(), driver.System{Name: "flags", Decode: func(into any) error {
		*into.(*Settings) = Settings{URL: address, TokenFile: file}
		return nil
	}})
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, url, wrong string
	}{
		{"https", "https://flags.example.org", ""},
		{"https with a path and a slash", "https://flags.example.org/eu/", ""},
		{"http on loopback", "http://127.0.0.1:4242", ""},
		{"http elsewhere", "http://flags.example.org", "must be https"},
		{"a password", "https://user:" + secret + "@flags.example.org", "holds a credential"},
		{"a query", "https://flags.example.org?token=" + secret, "holds a credential"},
		{"no address", "://" + secret, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := at(t, test.url)
			if test.wrong == "" {
				require.NoError(t, err)
				require.NoError(t, c.Close())
				return
			}
			require.ErrorContains(t, err, test.wrong)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for path, good := range map[string]bool{
		"default/checkout/production": true, "default/check.out_2-x/production": true,
		"default/checkout": false, "default/checkout/production/more": false, "default//production": false,
		"../checkout/production": false, "default/a b/production": false, "default/a%2Fb/production": false, "default/a?b/production": false,
	} {
		_, err := parseTarget(incident.Target{System: "flags", Path: path})
		if good {
			require.NoError(t, err, path)
			continue
		}
		require.ErrorIs(t, err, driver.ErrInvalid, path)
	}
}

// TestAnswers shows which refusals are final, and that no error tells what an answer
// or a header says of a secret.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		header http.Header
		final  error
		after  time.Duration
	}{
		{"bad request", http.StatusBadRequest, nil, driver.ErrInvalid, 0},
		{"bad token", http.StatusUnauthorized, nil, driver.ErrDenied, 0},
		{"forbidden", http.StatusForbidden, nil, driver.ErrDenied, 0},
		{"not found", http.StatusNotFound, nil, driver.ErrNotFound, 0},
		{"conflict", http.StatusConflict, nil, nil, 0},
		{"throttled", http.StatusTooManyRequests, http.Header{"Retry-After": {"7"}}, nil, 7 * time.Second},
		{"broken", http.StatusInternalServerError, nil, nil, 0},
		{"away for a while", http.StatusServiceUnavailable, http.Header{"Retry-After": {"86400"}}, nil, maxPause},
		{"elsewhere", http.StatusFound, http.Header{"Location": {"https://other.example.org/"}}, driver.ErrInvalid, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				maps.Copy(w.Header(), test.header)
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(`{"name":"SomeError","code":"some_error","message":"seen ` + r.Header.Get("Authorization") + `"}`))
			}))
			t.Cleanup(server.Close)
			c, err := at(t, server.URL)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, c.Close()) })
			err = c.Reach(t.Context())
			require.Error(t, err)
			require.NotContains(t, err.Error(), secret)
			require.Equal(t, test.final != nil, driver.Final(err))
			if test.final != nil {
				require.ErrorIs(t, err, test.final)
			}
			var refusal *APIError
			require.ErrorAs(t, err, &refusal)
			require.Equal(t, test.status, refusal.Status)
			require.Equal(t, test.after, refusal.RetryAfter())
		})
	}
}

// TestStrangeAnswers shows that what is no answer is an error that quotes none of it.
func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"<html>" + secret, `["` + secret + `"]`, `{"user":"` + secret + `","environments":"` + secret + `"}`, ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(answer))
		}))
		c, err := at(t, server.URL)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = c.flag(ctx, location{project: "default", flag: "checkout", environment: "production"})
		cancel()
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
		require.NoError(t, c.Close())
		server.Close()
	}
}

func TestTokenFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "two lines": secret + "\n" + secret + "\n"} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		_, err := readToken(file)
		require.ErrorContains(t, err, "must hold one line", name)
		require.NotContains(t, err.Error(), secret)
	}
	_, err := readToken(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
