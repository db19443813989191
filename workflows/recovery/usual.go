package recovery

import (
	"fmt"
	"math"
	"slices"
)

// own is how a measure varies by itself, over windows of the baseline.
type own struct {
	// window is how many samples the windows have.
	window                              int
	center, scale, usual, most, degrees float64
}

func (b *byItself) own(m measure, n int) own {
	o := b.outlook
	length := min(n, o.length)
	var values []float64
	window := 0
	for _, row := range o.errors {
		keep := min(len(row), n)
		window = max(window, keep)
		values = append(values, m.of(row[len(row)-keep:]))
	}
	out := own{window: window}
	if m.size {
		out.center = median(values)
	}
	sizes := make([]float64, len(values))
	for i, v := range values {
		sizes[i] = v - out.center
		if !m.size {
			sizes[i] = b.side(sizes[i])
		}
	}
	slices.Sort(sizes)
	distances := make([]float64, len(sizes))
	for i, v := range sizes {
		distances[i] = abs(v)
	}
	slices.Sort(distances)
	share := usualShare
	if len(sizes) >= manyOrigins {
		share = oftenShare
	}
	out.usual, out.most = max(0, quantile(sizes, share)), sizes[len(sizes)-1]
	_, variance := meanAndVariance(distances)
	mean, _ := meanAndVariance(distances)
	out.scale = max(noiseScale*median(distances), quantile(distances, 0.8)/1.2816, math.Sqrt(variance+mean*mean))
	// What independent errors would do.
	alone := b.noise / math.Sqrt(float64(window))
	if m.size {
		alone = 1 / math.Sqrt(float64(window))
	}
	ratio := max(1, out.scale/max(alone, math.SmallestNonzeroFloat64))
	apart := min(float64(len(values))/correlationTime(values), float64(o.span)/float64(length))
	enough := float64(len(present(o.grid.values))) / (ratio * ratio)
	if ratio > 2 {
		enough = 0
	}
	out.degrees = max(1, apart-1, min(mostIndependent, enough/2))
	out.scale = max(out.scale, alone)
	if !m.size && o.expect.steady && ratio <= nearlyAlone {
		// As independent errors around a level: longer windows vary less than those
		// that fit into the baseline, and do not go astray.
		kept := float64(len(present(o.grid.values)))
		out.scale *= math.Sqrt(min(1, float64(window)*(1/float64(n)+1/kept)))
		return out
	}
	out.scale *= o.stretch
	out.usual *= o.stretch
	if !m.size {
		out.most *= o.stretch
	}
	return out
}

// hidden says that a harm could hide in the noise of the last n samples; empty when
// it could not.
func (b *byItself) hidden(n int) string {
	own := b.own(b.measures[0], n)
	room := max(b.margin, mostHidden*b.noise)
	if b.outlook.expect.goes {
		room = max(b.margin, mostHidden*b.around)
	}
	off := b.side(b.measures[0].of(b.errors[len(b.errors)-n:]))
	if b.noise <= 0 || off+2*own.scale <= room {
		return ""
	}
	return fmt.Sprintf("All looks well, but before the change the signal moved by itself so much that a harm of %s would not show.", b.value(room))
}

// calm says that the last n samples, which look well, are too few after those that
// did not; empty when they are enough. Harm that comes and goes has calm times, too.
func (b *byItself) calm(n int) string {
	var longest, run, bad, all int
	far := max(b.margin, 3*b.noise)
	for _, v := range b.errors[:len(b.errors)-n] {
		if b.side(v) > far {
			bad, longest, run = bad+1, max(longest, run), 0
		} else if bad > 0 {
			run++
		}
		if bad > 0 {
			all++
		}
	}
	needed := max(leastCalm, calmTimes*longest)
	if bad > 0 && bad < all {
		needed = max(needed, int(math.Ceil(math.Log(calmChance)/math.Log1p(-float64(bad)/float64(all)))))
	}
	if n >= needed {
		return ""
	}
	return fmt.Sprintf("The last %d samples look well, but those before did not: at least %d are needed.", n, needed)
}

// calmChance is the most chance that harm which comes and goes has paused for as long
// as the last samples.
const calmChance = 1e-3

// quantum is the smallest distance of values that are counts or steps; zero for
// others.
func quantum(values []float64) float64 {
	v := slices.Clone(values)
	slices.Sort(v)
	v = slices.Compact(v)
	if len(v) < 2 || len(v) > fewValues {
		return 0
	}
	least := math.Inf(1)
	for i := 1; i < len(v); i++ {
		least = min(least, v[i]-v[i-1])
	}
	return least
}

// fewValues is how many different values a signal of counts or steps has at most.
const fewValues = 20

// spread is the deviation of the errors within a window, around its own line.
func (b *byItself) spread() float64 {
	var sizes []float64
	for _, row := range b.outlook.errors {
		if len(row) >= leastSuffix {
			for _, v := range withoutTrend(row) {
				sizes = append(sizes, abs(v))
			}
		}
	}
	if len(sizes) == 0 {
		return b.noise
	}
	spread := noiseScale * median(sizes)
	if mean, _ := meanAndVariance(sizes); spread <= mean/4 {
		spread = mean
	}
	return min(spread, b.noise)
}
