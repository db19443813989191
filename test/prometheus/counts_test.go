package realprom_test

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
)

// The count that ships as a template on the real engine: one series when the number is
// exported, also when it is zero, and none when nobody exports it.
func TestCountTemplateOnTheRealEngine(t *testing.T) {
	t.Parallel()
	files, err := runbooks.Examples()
	require.NoError(t, err)
	query := ""
	for _, f := range files {
		r, err := runbooks.ParseRunbook(f)
		require.NoError(t, err)
		concrete, err := r.For("checkout")
		if err != nil {
			continue // It is for another service.
		}
		for _, d := range concrete.Recovery.Data {
			if d.PromQL != "" {
				query = d.PromQL
			}
		}
	}
	require.NotEmpty(t, query, "there is no template")
	for _, tt := range []struct{ name, load, want string }{
		{"some", `queue_dead_letters{service="checkout",queue="a"} 30x10` + "\n" + `  queue_dead_letters{service="checkout",queue="b"} 7x10`, "  {} 37\n"},
		{"none", `queue_dead_letters{service="checkout",queue="a"} 0x10`, "  {} 0\n"},
		{"of another service", `queue_dead_letters{service="payments",queue="a"} 3x10`, ""},
		{"a target that is gone", `queue_dead_letters{service="checkout",queue="a"} 3x3 stale`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			promqltest.RunTest(t, fmt.Sprintf("load 1m\n  %s\n\neval instant at 10m %s\n%s", tt.load, query, tt.want), promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery))
		})
	}
}
