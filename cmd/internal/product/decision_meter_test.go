package product

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

func TestDecisionsAreCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newDecisionMeter(registry)
	require.NoError(t, err)
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_break_glass_total Plans that one person approved alone, past the policy.
# TYPE backout_break_glass_total counter
backout_break_glass_total 0
`), "backout_break_glass_total"))

	m.Decided(incident.OutcomeDenied, incident.TierCommander, false)
	m.Decided(incident.OutcomeApproved, incident.TierCommander, false)
	m.Decided(incident.OutcomeApproved, incident.TierCommander, true)
	require.InDelta(t, 1, testutil.ToFloat64(m.decisions.WithLabelValues("denied", "tier-2")), 0)
	require.InDelta(t, 2, testutil.ToFloat64(m.decisions.WithLabelValues("approved", "tier-2")), 0)
	require.InDelta(t, 0, testutil.ToFloat64(m.decisions.WithLabelValues("approved", "tier-3")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(m.breakGlass), 0)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	_, err = newDecisionMeter(registry)
	require.ErrorContains(t, err, "export metrics")
}
