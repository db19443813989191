package recovery

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	require.True(t, math.IsNaN(median(nil)))
	require.InDelta(t, 2.0, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 3, 1, 2}), 0)
	require.InDelta(t, math.MaxFloat64, median([]float64{math.MaxFloat64, math.MaxFloat64}), 0)
}

// The expected values are exact: shares of the 70 ways to deal eight values to two
// samples of four. 1 and 53 of 70 stand in the tables of Mann and Whitney (1947),
// table I, for n = m = 4.
func TestGreater(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{name: "nothing", want: 1},
		{name: "all alike", a: []float64{1, 1, 1}, b: []float64{1, 1, 1}, want: 1},
		{name: "wholly above", a: []float64{5, 6, 7, 8}, b: []float64{1, 2, 3, 4}, want: 1.0 / 70},
		{name: "wholly below", a: []float64{1, 2, 3, 4}, b: []float64{5, 6, 7, 8}, want: 1},
		{name: "mixed", a: []float64{1, 3, 5, 7}, b: []float64{2, 4, 6, 8}, want: 53.0 / 70},
		{name: "ties", a: []float64{2, 2, 3, 3}, b: []float64{1, 2, 2, 3}, want: 23.0 / 70},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.InDelta(t, tt.want, greater(tt.a, tt.b, 1), 1e-9)
		})
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   float64
		want string
	}{
		{0, "0"}, {0.0123456, "0.01235"}, {1234567, "1234567"}, {99.999, "100"}, {-3.5, "-3.5"}, {1e-9, "1e-09"}, {2e12, "2e+12"},
	} {
		require.Equal(t, tt.want, number(tt.in))
	}
}
