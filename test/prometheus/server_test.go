package realprom_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	realprom "github.com/backout/backout/test/prometheus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// value asks for an instant vector and returns its values by instance.
func value(t *testing.T, base, query string) map[string]string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	var answer struct {
		Status string
		Data   struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status)
	out := map[string]string{}
	for _, r := range answer.Data.Result {
		out[r.Metric["instance"]] = fmt.Sprint(r.Value[1])
	}
	return out
}

func TestScrape(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "# TYPE orders_total counter\norders_total{version=\"v41\"} %d\n", hits.Add(1))
	}))
	defer shop.Close()
	address := strings.TrimPrefix(shop.URL, "http://")

	prom, err := realprom.Start(t.Context(), realprom.Options{
		Dir: t.TempDir(), ScrapeInterval: 100 * time.Millisecond,
		Targets: []realprom.Target{{Job: "checkout", Address: address, Labels: map[string]string{"team": "shop"}}},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, prom.Close()) }()

	require.Eventually(t, func() bool {
		v := value(t, prom.URL(), `up{job="checkout",team="shop"}`)
		return v[address] == "1"
	}, 10*time.Second, 20*time.Millisecond, "the target is up")
	require.Eventually(t, func() bool {
		v := value(t, prom.URL(), `rate(orders_total{version="v41"}[2s]) > 1`)
		return len(v) == 1
	}, 10*time.Second, 50*time.Millisecond, "the counter has a rate at an interval below a second")

	require.NoError(t, prom.AddTarget(realprom.Target{Job: "dead", Address: "127.0.0.1:1"}))
	require.Eventually(t, func() bool {
		return value(t, prom.URL(), `up`)["127.0.0.1:1"] == "0"
	}, 10*time.Second, 20*time.Millisecond, "a target added later is scraped, and is down")

	require.NoError(t, prom.RemoveTarget(address))
	require.Eventually(t, func() bool {
		return len(value(t, prom.URL(), `orders_total`)) == 0
	}, 10*time.Second, 20*time.Millisecond, "the series of a removed target go stale")
}

func TestAppend(t *testing.T) {
	t.Parallel()
	prom, err := realprom.Start(t.Context(), realprom.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, prom.Close()) }()
	now := time.Now()
	at := func(name string, stale bool) realprom.Series {
		return realprom.Series{
			Labels:   map[string]string{"__name__": "load", "instance": name},
			Samples:  []realprom.Sample{{At: now.Add(-10 * time.Second), Value: 2}, {At: now.Add(-5 * time.Second), Value: 3}},
			EndStale: stale,
		}
	}
	require.NoError(t, prom.Append(t.Context(), at("alive", false), at("gone", true)))
	require.Equal(t, map[string]string{"alive": "3"}, value(t, prom.URL(), "load"))
	require.Error(t, prom.Append(t.Context(), realprom.Series{Labels: map[string]string{}}, realprom.Series{Labels: map[string]string{"__name__": "load", "instance": "alive"}, Samples: []realprom.Sample{{At: now.Add(-240 * time.Hour), Value: 1}}}))
}

func TestRestartKeepsSamples(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	for i := range 2 {
		prom, err := realprom.Start(t.Context(), realprom.Options{Dir: dir})
		require.NoError(t, err)
		if i == 0 {
			require.NoError(t, prom.Append(t.Context(), realprom.Series{
				Labels: map[string]string{"__name__": "load", "instance": "a"}, Samples: []realprom.Sample{{At: now, Value: 7}},
			}))
		}
		require.Equal(t, map[string]string{"a": "7"}, value(t, prom.URL(), "load"))
		require.NoError(t, prom.Close())
		require.NoError(t, prom.Close(), "closing twice is closing once")
		require.Error(t, prom.AddTarget(realprom.Target{Job: "late", Address: "127.0.0.1:1"}))
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		o    realprom.Options
		want string
	}{
		{name: "all interfaces", o: realprom.Options{Listen: "0.0.0.0:0"}, want: "only a loopback IP address is allowed"},
		{name: "no host", o: realprom.Options{Listen: ":0"}, want: "only a loopback IP address is allowed"},
		{name: "name", o: realprom.Options{Listen: "localhost:0"}, want: "only a loopback IP address is allowed"},
		{name: "no port", o: realprom.Options{Listen: "127.0.0.1"}, want: "missing port"},
		{name: "negative interval", o: realprom.Options{ScrapeInterval: -1}, want: "below a millisecond"},
		{name: "target without job", o: realprom.Options{Targets: []realprom.Target{{Address: "127.0.0.1:1"}}}, want: "job is empty"},
		{name: "target without port", o: realprom.Options{Targets: []realprom.Target{{Job: "a", Address: "127.0.0.1"}}}, want: "missing port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.o.Dir = t.TempDir()
			_, err := realprom.Start(context.Background(), tt.o)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestMetricsAndHealth(t *testing.T) {
	t.Parallel()
	prom, err := realprom.Start(t.Context(), realprom.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, prom.Close()) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/-/ready", "/-/healthy", "/metrics", "/api/v1/targets", "/api/v1/rules", "/api/v1/alertmanagers", "/api/v1/status/tsdb", "/api/v1/query_exemplars?query=up"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, prom.URL()+path, nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
	}
}
