package realprom_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// templates are the SLIs that ship as templates, for the service checkout.
func templates(t *testing.T) map[string]incident.SLI {
	t.Helper()
	files, err := runbooks.Examples()
	require.NoError(t, err)
	for _, f := range files {
		if f.Name != "catalog/sli-templates.yaml" {
			continue
		}
		r, err := runbooks.ParseRunbook(f)
		require.NoError(t, err)
		concrete, err := r.For("checkout")
		require.NoError(t, err)
		out := make(map[string]incident.SLI)
		for _, s := range concrete.Recovery.SLIs {
			out[s.Name] = s
		}
		return out
	}
	require.Fail(t, "there are no templates")
	return nil
}

// What a service may look like to Prometheus, as promqltest loads it: counters by
// the minute.
const (
	well = `
load 1m
  http_requests_total{service="checkout",code="200",pod="a"} 0+600x10
  http_requests_total{service="checkout",code="500",pod="a"} 0+6x10
  http_requests_total{service="payments",code="500",pod="x"} 0+600x10
  http_request_duration_seconds_bucket{service="checkout",le="0.5"} 0+570x10
  http_request_duration_seconds_bucket{service="checkout",le="1"} 0+600x10
  http_request_duration_seconds_bucket{service="checkout",le="+Inf"} 0+600x10
  http_request_duration_seconds_count{service="checkout"} 0+600x10
  container_cpu_usage_seconds_total{container="checkout",pod="a"} 0+30x10
  kube_pod_container_resource_limits{container="checkout",resource="cpu",pod="a"} 1x10
  orders_total{service="checkout"} 0+120x10
`
	neverFailed = `
load 1m
  http_requests_total{service="checkout",code="200",pod="a"} 0+600x10
`
	restarted = `
load 1m
  http_requests_total{service="checkout",code="200",pod="a"} 5940 6540 7140 7740 8340 8940 9540 0 600 1200 1800
  http_requests_total{service="checkout",code="500",pod="a"} 54 60 66 72 78 84 90 0 6 12 18
`
	replaced = `
load 1m
  http_requests_total{service="checkout",code="200",pod="a"} 0+594x6 stale
  http_requests_total{service="checkout",code="200",pod="b"} _x6 0+594x4
`
	idle = `
load 1m
  http_requests_total{service="checkout",code="200",pod="a"} 900x10
  http_requests_total{service="checkout",code="500",pod="a"} 9x10
  http_request_duration_seconds_bucket{service="checkout",le="0.5"} 90x10
  http_request_duration_seconds_bucket{service="checkout",le="+Inf"} 90x10
  http_request_duration_seconds_count{service="checkout"} 90x10
`
	gone = `
load 1m
  http_requests_total{service="checkout",code="200",pod="a"} 0+600x3 stale
  http_requests_total{service="checkout",code="500",pod="a"} 0+6x3 stale
  http_request_duration_seconds_bucket{service="checkout",le="0.5"} 0+570x3 stale
  http_request_duration_seconds_bucket{service="checkout",le="+Inf"} 0+600x3 stale
  http_request_duration_seconds_count{service="checkout"} 0+600x3 stale
  container_cpu_usage_seconds_total{container="checkout",pod="a"} 0+30x3 stale
  kube_pod_container_resource_limits{container="checkout",resource="cpu",pod="a"} 1x3 stale
  orders_total{service="checkout"} 0+120x3 stale
`
)

// The templates on the real engine: one series with the right value when the
// service is there, and nothing or NaN when nobody can know.
func TestTemplatesOnTheRealEngine(t *testing.T) {
	t.Parallel()
	slis := templates(t)
	query := func(s incident.SLI) string { return s.Query }
	bad := func(s incident.SLI) string { return s.Bad }
	total := func(s incident.SLI) string { return s.Total }
	traffic := func(s incident.SLI) string { return s.Traffic }
	for _, tt := range []struct {
		name, load, sli string
		which           func(incident.SLI) string
		// want is the value of the one series; empty: there is none.
		want string
	}{
		{"errors of a service that is well", well, "error ratio", query, "0.009900990099009901"},
		{"its bad events", well, "error ratio", bad, "0.1"},
		{"all its events", well, "error ratio", total, "10.1"},
		{"the traffic is all events", well, "error ratio", traffic, "10.1"},
		{"its slow requests", well, "slow requests", query, "0.050000000000000044"},
		{"its slow requests counted", well, "slow requests", bad, "0.5"},
		{"its latency", well, "latency p99", query, "0.9"},
		{"its saturation", well, "processor saturation", query, "0.5"},
		{"its orders", well, "orders", query, "2"},
		{"a service that never failed", neverFailed, "error ratio", query, "0"},
		{"its bad events are none", neverFailed, "error ratio", bad, "0"},
		{"a restart begins no new count", restarted, "error ratio", query, "0.009900990099009901"},
		{"a pod that was replaced", replaced, "error ratio", query, "0"},
		{"an idle service has no ratio", idle, "error ratio", query, "NaN"},
		{"an idle service has no events", idle, "error ratio", total, "0"},
		{"an idle service has no slow requests", idle, "slow requests", query, "NaN"},
		{"an idle service has no latency", idle, "latency p99", query, "NaN"},
		{"a service that is gone has no ratio", gone, "error ratio", query, ""},
		{"a service that is gone has no events", gone, "error ratio", total, ""},
		{"a service that is gone has no slow requests", gone, "slow requests", query, ""},
		{"a service that is gone has no latency", gone, "latency p99", query, ""},
		{"a service that is gone has no saturation", gone, "processor saturation", query, ""},
		{"a service that is gone has no orders", gone, "orders", query, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sli, ok := slis[tt.sli]
			require.True(t, ok)
			expr := strings.Join(strings.Fields(tt.which(sli)), " ")
			script := fmt.Sprintf("%s\neval instant at 10m %s\n", tt.load, expr)
			if tt.want != "" {
				script += fmt.Sprintf("  {} %s\n", tt.want)
			}
			promqltest.RunTest(t, script, promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery))
		})
	}
}
