package product

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

func TestDivergenceIsExported(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMeters(registry)
	require.NoError(t, err)
	var meter activities.Meter = m
	data, ok := meter.(activities.DataMeter)
	require.True(t, ok)

	checks := []incident.DataCheck{{Name: "orders without a payment"}, {Name: "stuck messages", AtMost: 5}}
	count := func(n int64) []incident.DataCount {
		return []incident.DataCount{{Name: checks[0].Name, Count: &n}, {Name: checks[1].Name, Count: new(int64(5))}}
	}
	data.Diverges("checkout", checks, count(41))
	data.Diverges("checkout", checks, count(37))
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_data_counts_total Counts of data checks, before and after rollbacks, by what they mean: within the bound, diverges, or unknown.
# TYPE backout_data_counts_total counter
backout_data_counts_total{result="diverges"} 2
backout_data_counts_total{result="unknown"} 0
backout_data_counts_total{result="within"} 2
# HELP backout_data_divergence What a data check of a runbook counted last, by service and check. There is none when it could not be counted.
# TYPE backout_data_divergence gauge
backout_data_divergence{check="orders without a payment",service="checkout"} 37
backout_data_divergence{check="stuck messages",service="checkout"} 5
`), "backout_data_divergence", "backout_data_counts_total"))

	blind := count(0)
	blind[0].Count = nil
	data.Diverges("checkout", checks, blind)
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_data_divergence What a data check of a runbook counted last, by service and check. There is none when it could not be counted.
# TYPE backout_data_divergence gauge
backout_data_divergence{check="stuck messages",service="checkout"} 5
`), "backout_data_divergence"), "what is not known is not shown as it was")
	require.InDelta(t, 1, testutil.ToFloat64(m.counts.WithLabelValues(countUnknown)), 0)

	data.Diverges("checkout", checks[:1], []incident.DataCount{{Name: "another", Count: new(int64(1))}})
	require.Equal(t, 1, testutil.CollectAndCount(m.divergence), "a count without its check is not shown")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	_, err = newDataMeter(registry)
	require.ErrorContains(t, err, "export metrics")
	_, err = newMeters(registry)
	require.ErrorContains(t, err, "export metrics")
}
