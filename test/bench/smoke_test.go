package bench_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAllSidesAnswer runs one turn of every measurement, so that benchmarks
// that nobody runs do not rot.
func TestAllSidesAnswer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	bare, ours := newFloor(t, srv), newProduct(t, srv)
	for _, tt := range []struct {
		name string
		side side
	}{
		{"floor", bare},
		{"steps", newSteps(t, srv)},
		{"product", ours},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, prepareAll(t.Context(), tt.side, 1))
			for _, measure := range []measurement{firstActivity, pageCompleted, decisionCompleted} {
				took, err := settled(t.Context(), tt.side, 0, measure)
				require.NoError(t, err)
				require.Positive(t, took)
			}
			const calls = inFlight
			for _, name := range []naming{distinct, same} {
				took, err := throughput(t.Context(), tt.side, calls, 0, name)
				require.NoError(t, err)
				require.Positive(t, took)
			}
		})
	}
	_, err := throughput(t.Context(), signals{bare}, inFlight, 0, same)
	require.NoError(t, err)
}
