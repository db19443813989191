package prometheus_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/prometheus"
	realprom "github.com/backout/backout/test/prometheus"
	"github.com/backout/backout/workflows/incident"
)

const token = "s3cr3t-t0ken-of-the-test"

// connect opens a system through the registry, as the product does.
func connect(t *testing.T, s prometheus.Settings) driver.Probe {
	t.Helper()
	set := openSet(t, s)
	probe, err := set.Probe("prom")
	require.NoError(t, err)
	return probe
}

func openSet(t *testing.T, s prometheus.Settings) *driver.Set {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{system(s)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	return set
}

func system(s prometheus.Settings) driver.System {
	return driver.System{Name: "prom", Type: prometheus.SystemType, Decode: func(into any) error {
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, into)
	}}
}

func tokenFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(token+"\n"), 0o600))
	return path
}

func TestQueryRangeOnRealPrometheus(t *testing.T) {
	t.Parallel()
	prom, err := realprom.Start(t.Context(), realprom.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, prom.Close()) })

	until := time.Now().Truncate(time.Second)
	from := until.Add(-time.Minute)
	line := func(name, pod string, every time.Duration, upTo time.Time, stale bool, value func(i int) float64) realprom.Series {
		s := realprom.Series{Labels: map[string]string{"__name__": name, "pod": pod}, EndStale: stale}
		for i, at := 0, from.Add(-5*time.Minute); !at.After(upTo); i, at = i+1, at.Add(every) {
			s.Samples = append(s.Samples, realprom.Sample{At: at, Value: value(i)})
		}
		return s
	}
	rising := func(i int) float64 { return float64(10 * i) }
	require.NoError(t, prom.Append(t.Context(),
		line("orders_total", "a", 5*time.Second, until, false, rising),
		line("orders_total", "b", 5*time.Second, until, false, rising),
		line("errors_total", "a", 5*time.Second, until, false, func(int) float64 { return 0 }),
		line("gone", "a", 5*time.Second, from.Add(20*time.Second), true, rising),
		line("silent", "a", 5*time.Second, from.Add(20*time.Second), false, rising),
		line("idle_total", "a", 5*time.Second, until, false, func(int) float64 { return 5 }),
	))
	probe := connect(t, prometheus.Settings{URL: prom.URL() + "/", Lookback: 15 * time.Second})
	const step = 5 * time.Second
	ask := func(t *testing.T, query string) []incident.Series {
		t.Helper()
		got, err := probe.QueryRange(t.Context(), query, from, until, step)
		require.NoError(t, err)
		return got
	}

	t.Run("one series", func(t *testing.T) {
		t.Parallel()
		got := ask(t, `sum(rate(orders_total[30s]))`)
		require.Len(t, got, 1)
		require.Len(t, got[0].Points, 13)
		require.True(t, got[0].Points[0].At.Equal(from))
		require.True(t, got[0].Points[12].At.Equal(until))
		require.InDelta(t, 4, got[0].Points[12].Value, 1e-9)
	})
	t.Run("several series", func(t *testing.T) {
		t.Parallel()
		got := ask(t, `rate(orders_total[30s])`)
		require.Len(t, got, 2)
		require.Equal(t, []string{"a", "b"}, []string{got[0].Labels["pod"], got[1].Labels["pod"]})
	})
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, ask(t, `rate(no_such_metric[30s])`))
	})
	t.Run("NaN stays NaN", func(t *testing.T) {
		t.Parallel()
		got := ask(t, `sum(rate(errors_total[30s])) / sum(rate(idle_total[30s]))`)
		require.Len(t, got, 1)
		require.Len(t, got[0].Points, 13)
		require.True(t, math.IsNaN(got[0].Points[12].Value))
	})
	t.Run("infinity stays infinity", func(t *testing.T) {
		t.Parallel()
		got := ask(t, `sum(rate(orders_total[30s])) / sum(rate(idle_total[30s]))`)
		require.True(t, math.IsInf(got[0].Points[12].Value, 1))
	})
	t.Run("a series that ended has no later points", func(t *testing.T) {
		t.Parallel()
		got := ask(t, `gone`)
		require.Len(t, got[0].Points, 5)
	})
	t.Run("a series that fell silent ends with the lookback", func(t *testing.T) {
		t.Parallel()
		got := ask(t, `silent`)
		last := got[0].Points[len(got[0].Points)-1].At
		require.LessOrEqual(t, last.Sub(from), 35*time.Second)
	})
	t.Run("a wrong query is final, and says what is wrong", func(t *testing.T) {
		t.Parallel()
		for _, query := range []string{`rate(`, `sum by (a`, `orders_total + on(x) group_left orders_total`} {
			_, err := probe.QueryRange(t.Context(), query, from, until, step)
			require.ErrorIs(t, err, driver.ErrInvalid, query)
			require.NotContains(t, err.Error(), prom.URL())
		}
	})
	t.Run("warnings refuse the answer", func(t *testing.T) {
		t.Parallel()
		_, err := probe.QueryRange(t.Context(), `quantile(2, orders_total)`, from, until, step)
		require.ErrorContains(t, err, "may be partial")
	})
}

func TestQueryRangeRefusesBeforeAsking(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") }))
	t.Cleanup(server.Close)
	probe := connect(t, prometheus.Settings{URL: server.URL})
	now := time.Now()
	for _, tt := range []struct {
		name  string
		query string
		from  time.Time
		step  time.Duration
	}{
		{name: "no query", from: now.Add(-time.Minute), step: time.Second},
		{name: "no step", query: "up", from: now.Add(-time.Minute)},
		{name: "backwards", query: "up", from: now.Add(time.Minute), step: time.Second},
		{name: "too many points", query: "up", from: now.Add(-11_000 * time.Second), step: time.Second},
	} {
		_, err := probe.QueryRange(t.Context(), tt.query, tt.from, now, tt.step)
		require.ErrorIs(t, err, driver.ErrInvalid, tt.name)
	}
}

// A server can fail in many ways. None of them is an answer, none leaks the
// token or the address, and each is told apart into final and worth a retry.
func TestQueryRangeAgainstABadServer(t *testing.T) {
	t.Parallel()
	const page = "<html>internal page of 10.0.0.7</html>"
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with Authorization %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		final   error
		is      error
		want    string
	}{
		{name: "500", handler: answer(500, "text/html", page), want: "it answers 500"},
		{name: "502 page", handler: answer(502, "text/html", page), want: "it answers 502"},
		{name: "503 of the API", handler: answer(503, "application/json", `{"status":"error","errorType":"timeout","error":"query timed out"}`), want: "it answers 503"},
		{name: "429", handler: answer(429, "text/plain", page), want: "it answers 429"},
		{name: "401", handler: answer(401, "text/plain", page), final: driver.ErrDenied, want: "it answers 401"},
		{name: "403", handler: answer(403, "text/plain", page), final: driver.ErrDenied, want: "it answers 403"},
		{name: "404", handler: answer(404, "text/plain", page), final: driver.ErrNotFound, want: "no Prometheus API"},
		{name: "HTML with 200", handler: answer(200, "text/html", page), want: "does not answer as Prometheus does"},
		{name: "empty with 200", handler: answer(200, "application/json", ""), want: "does not answer as Prometheus does"},
		{name: "no content", handler: answer(204, "application/json", ""), want: "it answers 204"},
		{name: "other JSON with 200", handler: answer(200, "application/json", `{"ok":true}`), want: "is no matrix"},
		{name: "success without data", handler: answer(200, "application/json", `{"status":"success"}`), want: "is no matrix"},
		{name: "error with 200", handler: answer(200, "application/json", `{"status":"error","errorType":"internal","error":"boom at 10.0.0.7"}`), want: "unknown type"},
		{name: "a wrong query that echoes the token", handler: func(w http.ResponseWriter, r *http.Request) {
			answer(400, "application/json", `{"status":"error","errorType":"bad_data","error":"\u001b[31mno such thing: `+r.Header.Get("Authorization")+strings.Repeat(".", 500)+`"}`)(w, r)
		}, final: driver.ErrInvalid, want: " [31mno such thing: Bearer [token]..."},
		{name: "a vector", handler: answer(200, "application/json", `{"status":"success","data":{"resultType":"vector","result":[]}}`), want: "is no matrix"},
		{name: "a null series", handler: answer(200, "application/json", `{"status":"success","data":{"resultType":"matrix","result":[null]}}`), want: "empty series"},
		{name: "truncated JSON", handler: answer(200, "application/json", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"0"]`), want: "does not answer as Prometheus does"},
		{name: "cut connection", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = io.WriteString(w, `{"status":"success"`)
		}, want: "does not answer in full"},
		{name: "partial of VictoriaMetrics", handler: answer(200, "application/json", `{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}`), want: "the answer is partial"},
		{name: "warnings", handler: answer(200, "application/json", `{"status":"success","warnings":["store 10.0.0.7 did not answer"],"data":{"resultType":"matrix","result":[]}}`), want: "1 warnings"},
		{name: "redirect to elsewhere", handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/api/v1/query_range", http.StatusTemporaryRedirect)
		}, final: driver.ErrInvalid, want: "redirects"},
		{name: "redirect to a login page", handler: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, final: driver.ErrInvalid, want: "redirects"},
		{name: "endless", handler: func(w http.ResponseWriter, _ *http.Request) {
			chunk := strings.Repeat(" ", 1<<20)
			for range 17 {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		}, final: driver.ErrInvalid, want: "larger than"},
		{name: "hangs", handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, is: context.DeadlineExceeded, want: "deadline"},
		{name: "hangs in the body", handler: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"status":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, is: context.DeadlineExceeded, want: "deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer "+token || r.Header.Get("X-Scope-OrgID") != "shop" {
					t.Errorf("credentials or headers are missing")
				}
				_, _ = io.Copy(io.Discard, r.Body)
				tt.handler(w, r)
			}))
			t.Cleanup(server.Close)
			timeout := 10 * time.Second
			if tt.is != nil {
				timeout = 150 * time.Millisecond
			}
			probe := connect(t, prometheus.Settings{
				URL: server.URL, BearerTokenFile: tokenFile(t), Timeout: timeout, Headers: map[string]string{"X-Scope-OrgID": "shop"},
			})
			now := time.Now()
			got, err := probe.QueryRange(t.Context(), "up", now.Add(-time.Minute), now, time.Second)
			require.Empty(t, got)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.final != nil, driver.Final(err), "%v", err)
			if tt.final != nil {
				require.ErrorIs(t, err, tt.final)
			}
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			for _, secret := range []string{token, "10.0.0.7", strings.TrimPrefix(server.URL, "http://"), "html"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestQueryRangeWhenDown(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	probe := connect(t, prometheus.Settings{URL: server.URL})
	now := time.Now()
	_, err := probe.QueryRange(t.Context(), "up", now.Add(-time.Minute), now, time.Second)
	require.ErrorContains(t, err, "cannot be reached")
	require.False(t, driver.Final(err))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = probe.QueryRange(ctx, "up", now.Add(-time.Minute), now, time.Second)
	require.ErrorIs(t, err, context.Canceled)
}

func TestTokenRotatesAndMayBreak(t *testing.T) {
	t.Parallel()
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
	}))
	t.Cleanup(server.Close)
	path := tokenFile(t)
	probe := connect(t, prometheus.Settings{URL: server.URL, BearerTokenFile: path})
	ask := func() error {
		now := time.Now()
		_, err := probe.QueryRange(t.Context(), "up", now.Add(-time.Minute), now, time.Second)
		return err
	}
	require.NoError(t, ask())
	require.NoError(t, os.WriteFile(path, []byte("next"), 0o600))
	require.NoError(t, ask())
	require.NoError(t, os.WriteFile(path, []byte("two\nlines-of-secret"), 0o600))
	err := ask()
	require.ErrorContains(t, err, "bearer token file cannot be used")
	require.NotContains(t, err.Error(), "lines-of-secret")
	require.NoError(t, os.Remove(path))
	require.ErrorContains(t, ask(), "bearer token file cannot be used")
	require.Equal(t, []string{"Bearer " + token, "Bearer next"}, seen)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, tt := range []struct {
		name string
		s    prometheus.Settings
		want string
	}{
		{name: "no url", want: "http or https"},
		{name: "other scheme", s: prometheus.Settings{URL: "ftp://prom"}, want: "http or https"},
		{name: "malformed", s: prometheus.Settings{URL: "http://user:hunter2@[::1"}, want: "malformed"},
		{name: "credentials", s: prometheus.Settings{URL: "http://user:hunter2@prom"}, want: "no credentials"},
		{name: "query", s: prometheus.Settings{URL: "http://prom?token=hunter2"}, want: "no credentials"},
		{name: "credential header", s: prometheus.Settings{URL: "http://prom", Headers: map[string]string{"authorization": "hunter2"}}, want: "use bearer_token_file"},
		{name: "credential header of a proxy", s: prometheus.Settings{URL: "http://prom", Headers: map[string]string{"Proxy-authorization": "hunter2"}}, want: "use bearer_token_file"},
		{name: "token in clear text", s: prometheus.Settings{URL: "http://prom.example", BearerTokenFile: empty}, want: "must be https"},
		{name: "negative timeout", s: prometheus.Settings{URL: "http://prom", Timeout: -1}, want: "must not be negative"},
		{name: "negative lookback", s: prometheus.Settings{URL: "http://prom", Lookback: -1}, want: "must not be negative"},
		{name: "missing token file", s: prometheus.Settings{URL: "https://prom", BearerTokenFile: "/nonexistent"}, want: "bearer token file"},
		{name: "empty token file", s: prometheus.Settings{URL: "https://prom", BearerTokenFile: empty}, want: "exactly one token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := driver.Open(t.Context(), []driver.System{system(tt.s)})
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	_, err := driver.Open(t.Context(), []driver.System{{Name: "prom", Type: prometheus.SystemType, Decode: func(any) error { return errors.New("unknown key") }}})
	require.ErrorContains(t, err, "unknown key")
}

func TestCollect(t *testing.T) {
	t.Parallel()
	var form string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form = r.PostFormValue("step") + " " + r.PostFormValue("query")
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"version":"v41"},"values":[[1767225600,"NaN"],[1767225601.5,"0.25"],[1767225602,"+Inf"]]}]}}`)
	}))
	t.Cleanup(server.Close)
	collector, err := openSet(t, prometheus.Settings{URL: server.URL}).Collector(prometheus.KindRange, "prom")
	require.NoError(t, err)
	until := time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)
	req := driver.CollectRequest{From: until.Add(-time.Hour), Until: until, Params: map[string]string{"query": "errors", "name": "error ratio"}}

	got, err := collector.Collect(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "prometheus.range error ratio", got[0].Name)
	require.Equal(t, "application/json", got[0].MediaType)
	require.JSONEq(t, `{"query":"errors","from":"2026-01-01T00:00:00Z","until":"2026-01-01T01:00:00Z","step":"15s",
		"series":[{"labels":{"version":"v41"},"samples":[["1767225600.000","NaN"],["1767225601.500","0.25"],["1767225602.000","+Inf"]]}]}`, string(got[0].Content))
	require.Equal(t, "15 errors", form)

	req.Params = map[string]string{"query": "errors", "step": "1m"}
	got, err = collector.Collect(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, "prometheus.range errors", got[0].Name)
	require.Equal(t, "60 errors", form)

	for _, tt := range []struct {
		name   string
		params map[string]string
	}{
		{name: "no query", params: map[string]string{"name": "x"}},
		{name: "unknown parameter", params: map[string]string{"query": "x", "quary": "y"}},
		{name: "step is no duration", params: map[string]string{"query": "x", "step": "15"}},
		{name: "step too fine", params: map[string]string{"query": "x", "step": "1ms"}},
	} {
		req.Params = tt.params
		_, err := collector.Collect(t.Context(), req)
		require.ErrorIs(t, err, driver.ErrInvalid, tt.name)
	}
}
