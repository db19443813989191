package recovery

import (
	"math"
	"slices"
)

// lastShift is the step of the last sudden shift of level that stands out from how
// the signal moves; zero if there is none with enough samples after it.
func (g grid) lastShift() int {
	n := len(g.values)
	if n < 4*shiftSpan {
		return 0
	}
	stride := max(1, n/2000)
	var sizes, sorted []float64
	var at []int
	for i := shiftSpan; i+shiftSpan <= n; i += stride {
		size := abs(median(present(g.values[i:i+shiftSpan])) - median(present(g.values[i-shiftSpan:i])))
		if !math.IsNaN(size) {
			at, sizes, sorted = append(at, i), append(sizes, size), append(sorted, size)
		}
	}
	slices.Sort(sorted)
	usual := quantile(sorted, 0.75)
	if usual <= 0 {
		usual = spreadOf(present(g.values)) / shiftSize / 2
	}
	for k := len(at) - 1; k >= 0; k-- {
		if sizes[k] <= shiftSize*usual {
			continue
		}
		// The middle of the shift is where it is largest.
		best := k
		for ; k >= 0 && at[best]-at[k] <= 2*shiftSpan; k-- {
			if sizes[k] > sizes[best] {
				best = k
			}
		}
		if cut := at[best] + 1; n-cut >= leastKept {
			return cut
		}
		return 0
	}
	return 0
}
