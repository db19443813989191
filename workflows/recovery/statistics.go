package recovery

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/aclements/go-moremath/stats"
	"gonum.org/v1/gonum/mathext"

	"github.com/backout/backout/workflows/incident"
)

// samples is what one series holds in one window.
type samples struct {
	// values are the finite ones, in order of time.
	values []float64
	// all counts every sample, infinite those that are.
	all, infinite int
	// first and last are the times of finite samples.
	first, last time.Time
	disordered  bool
}

// sample takes the samples of a series that lie in a range.
func sample(series incident.Series, r Range) samples {
	var s samples
	var before time.Time
	for i, p := range series.Points {
		if i > 0 && !p.At.After(before) {
			s.disordered = true
		}
		before = p.At
		if p.At.Before(r.From) || p.At.After(r.Until) {
			continue
		}
		s.all++
		switch {
		case math.IsNaN(p.Value):
		case math.IsInf(p.Value, 0):
			s.infinite++
		default:
			if len(s.values) == 0 {
				s.first = p.At
			}
			s.last = p.At
			s.values = append(s.values, p.Value)
		}
	}
	return s
}

// shownMedian is the median for people; nil unless there is one series with a
// usable sample.
func shownMedian(series []incident.Series, r Range) *float64 {
	if len(series) != 1 {
		return nil
	}
	s := sample(series[0], r)
	if len(s.values) == 0 {
		return nil
	}
	m := median(s.values)
	return &m
}

// median is NaN for no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Clone(values)
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return v[mid-1]/2 + v[mid]/2
}

// greater is the one-sided p-value of the Mann-Whitney rank test that a tends to
// be greater than b: exact for small samples, by the normal approximation with
// corrections for ties and continuity for others. It supposes nothing about the
// shape of the values. time is how many samples are worth one independent one.
// Source: H. B. Mann, D. R. Whitney, Annals of Mathematical Statistics 18
// (1947), 50-60.
func greater(a, b []float64, time float64) float64 {
	// Asked the other way round, because only then are half ranks counted exactly.
	r, err := stats.MannWhitneyUTest(b, a, stats.LocationLess)
	if err != nil || math.IsNaN(r.P) {
		return 1 // No values, or all alike.
	}
	p := min(max(r.P, smallestChance), 1)
	if time <= 1 {
		return p
	}
	// Dependence widens the distribution of the statistic by the root of time.
	return normalTail(-mathext.NormalQuantile(p) / math.Sqrt(time))
}

// higher is the one-sided p-value of Welch's test that the mean of a is above that
// of b, with numbers of samples and degrees of freedom by how many independent ones
// they are worth. It sees how far apart they are, which ranks do not. One where b
// does not vary: then nobody knows what is far.
// Source: B. L. Welch, Biometrika 34 (1947), 28-35, with the variance of b for both.
func higher(a, b []float64, time float64) float64 {
	is, _ := meanAndVariance(a)
	was, variance := meanAndVariance(b)
	if variance <= 0 || len(a) == 0 {
		return 1
	}
	n, m := max(1, float64(len(a))/time), max(1, float64(len(b))/time)
	return max(studentTail((is-was)/math.Sqrt(variance*(1/n+1/m)), m-1), smallestChance)
}

// studentTail is the chance of a value of Student's distribution above t.
func studentTail(t, degrees float64) float64 {
	degrees = max(degrees, 1)
	p := mathext.RegIncBeta(degrees/2, 0.5, degrees/(degrees+t*t)) / 2
	if t < 0 {
		return 1 - p
	}
	return p
}

// smallestChance keeps a chance that is nothing to the eye of a computer above
// zero.
const smallestChance = 1e-15

// normalTail is the chance of a standard normal value above z.
func normalTail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// chiTail is the chance of a chi-squared value of at least x.
func chiTail(x, degrees float64) float64 { return mathext.GammaIncRegComp(degrees/2, x/2) }

// quantile is the value below which a share of the values lies; NaN for no
// values.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Clone(values)
	slices.Sort(v)
	at := share * float64(len(v)-1)
	low := int(at)
	if low >= len(v)-1 {
		return v[len(v)-1]
	}
	return v[low] + (at-float64(low))*(v[low+1]-v[low])
}

func abs(v float64) float64 { return math.Abs(v) }

// objective is what is wanted, with its unit.
func (j sliJudge) objective() string {
	if j.free {
		return "what it was before"
	}
	return string(j.sli.Objective.Comparison) + " " + j.value(j.sli.Objective.Bound)
}

// value is a number with the SLI's unit, as people say it.
func (j sliJudge) value(v float64) string {
	switch j.sli.Unit {
	case "":
		return number(v)
	case "ratio":
		return number(v*100) + " %"
	case "seconds":
		return number(v) + " s"
	default:
		return number(v) + " " + j.sli.Unit
	}
}

// number has four significant digits.
func number(v float64) string { return incident.Number(v, 4) }

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// span is a length of time, to the tenth of a second.
func span(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// sentence is text without its closing full stop, to be set into a sentence.
func sentence(s string) string { return strings.TrimRight(strings.TrimSpace(s), ".") }
