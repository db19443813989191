package recovery

import (
	"math"
	"slices"
	"time"
)

// The bounds of looking for a season.
const (
	// seasonPoints is how many points a baseline is thinned to for the search.
	seasonPoints = 1500
	// seasonPeak is the least autocorrelation at the length of a season.
	seasonPeak = 0.3
	// seasonGain is the share of the noise that must be left at most without the
	// season, or it is none.
	seasonGain = 0.7
	// shortestSeason is in steps.
	shortestSeason = 4
	// mostCycles is how many cycles back a season is learnt from.
	mostCycles = 12
)

// grid is a baseline by steps since its beginning; NaN where there is no sample.
type grid struct {
	from   time.Time
	step   time.Duration
	values []float64
}

func (g grid) index(at time.Time) int {
	return int(math.Round(float64(at.Sub(g.from)) / float64(g.step)))
}

// expected is what other cycles had at the same phase: the median of the values
// whole seasons away. NaN when there is none.
func (g grid) expected(index, season int) float64 {
	var others []float64
	add := func(i int) {
		if i >= 0 && i < len(g.values) && !math.IsNaN(g.values[i]) {
			others = append(others, g.values[i])
		}
	}
	for k := 1; k <= mostCycles; k++ {
		add(index - k*season)
		if index < len(g.values) {
			add(index + k*season)
		}
	}
	return median(others)
}

// season is the length of the season that explains most, in steps; zero if none
// explains enough.
func (g grid) season() int {
	// Without its trend, which is no season.
	g.values = withoutTrend(g.values)
	stride := max(1, len(g.values)/seasonPoints)
	all := present(g.values)
	noise := spreadOf(all)
	if len(all) < 4*shortestSeason || noise <= 0 {
		return 0
	}
	candidates := g.peaks()
	for _, d := range []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		if n := int(d / g.step); n >= shortestSeason && d%g.step < g.step/100+1 {
			candidates = append(candidates, n)
		}
	}
	best, found := seasonGain*noise, 0
	for _, season := range candidates {
		if 2*season > len(g.values) {
			continue
		}
		rest := make([]float64, 0, len(g.values))
		for i := 0; i < len(g.values); i += stride {
			v := g.values[i]
			if e := g.expected(i, season); !math.IsNaN(v) && !math.IsNaN(e) {
				rest = append(rest, v-e)
			}
		}
		if 10*len(rest)*stride < 8*len(all) {
			continue
		}
		if s := spreadOf(rest); s < best {
			best, found = s, season
		}
	}
	return found
}

// peaks are the lags at which the baseline resembles itself most, looked for in a
// thinned copy and then around it.
func (g grid) peaks() []int {
	thin := max(1, (len(g.values)+seasonPoints-1)/seasonPoints)
	coarse := make([]float64, 0, len(g.values)/thin+1)
	for i := 0; i < len(g.values); i += thin {
		coarse = append(coarse, median(present(g.values[i:min(i+thin, len(g.values))])))
	}
	rho := resemblance(coarse, 1, len(coarse)/2)
	type peak struct {
		lag    int
		height float64
	}
	var found []peak
	var dipped bool
	for i := 1; i+1 < len(rho); i++ {
		dipped = dipped || rho[i] < seasonPeak/2
		if dipped && rho[i] >= seasonPeak && rho[i] >= rho[i-1] && rho[i] >= rho[i+1] {
			found = append(found, peak{i + 1, rho[i]})
		}
	}
	slices.SortFunc(found, func(a, b peak) int {
		if a.height > b.height {
			return -1
		}
		return 1
	})
	var out []int
	for _, p := range found[:min(len(found), 5)] {
		from, until := max(shortestSeason, (p.lag-1)*thin), (p.lag+1)*thin
		fine := resemblance(g.values, from, until)
		best := 0
		for i := range fine {
			if fine[i] > fine[best] {
				best = i
			}
		}
		if len(fine) > 0 {
			out = append(out, from+best)
		}
	}
	return out
}

// resemblance is the autocorrelation at the lags from, from+1 and so on to until,
// without the linear trend.
func resemblance(values []float64, from, until int) []float64 {
	v := withoutTrend(values)
	_, variance := meanAndVariance(present(v))
	if variance <= 0 {
		return nil
	}
	var out []float64
	for lag := from; lag <= until && lag < len(v); lag++ {
		var sum, n float64
		for i := lag; i < len(v); i++ {
			if !math.IsNaN(v[i]) && !math.IsNaN(v[i-lag]) {
				sum += v[i] * v[i-lag]
				n++
			}
		}
		out = append(out, sum/max(1, n)/variance)
	}
	return out
}

// withoutTrend takes the least-squares line out of values.
func withoutTrend(values []float64) []float64 {
	var base, n, sx, sy, sxx, sxy float64
	for i, v := range values {
		if !math.IsNaN(v) {
			// From one of the values on, so that a flat line is taken out exactly.
			x := float64(i)
			if n == 0 {
				base = v
			}
			v -= base
			n, sx, sy, sxx, sxy = n+1, sx+x, sy+v, sxx+x*x, sxy+x*v
		}
	}
	slope := 0.0
	if d := n*sxx - sx*sx; d > 0 {
		slope = (n*sxy - sx*sy) / d
	}
	level := (sy - slope*sx) / max(1, n)
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = v - base - level - slope*float64(i)
	}
	return out
}

func present(values []float64) []float64 {
	out := make([]float64, 0, len(values))
	for _, v := range values {
		if !math.IsNaN(v) {
			out = append(out, v)
		}
	}
	return out
}

// spreadOf is the mean distance from the median: unlike the median distance it is
// zero only for values that are all alike.
func spreadOf(values []float64) float64 {
	m := median(values)
	var sum float64
	for _, v := range values {
		sum += abs(v - m)
	}
	return sum / max(1, float64(len(values)))
}
