package recovery

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

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
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return v[mid-1]/2 + v[mid]/2
}

// greater is the one-sided p-value of the Mann-Whitney rank test that a tends
// to be greater than b, by the normal approximation with corrections for ties
// and continuity. It supposes nothing about the shape of the values. Samples
// of overlapping rates depend on each other, which makes p too small; so it is
// only ever used to call a difference that exceeds the tolerance real.
// Source: H. B. Mann, D. R. Whitney, Annals of Mathematical Statistics 18
// (1947), 50-60.
func greater(a, b []float64) float64 {
	n, m := float64(len(a)), float64(len(b))
	if n == 0 || m == 0 {
		return 1
	}
	type ranked struct {
		value float64
		isA   bool
	}
	pool := make([]ranked, 0, len(a)+len(b))
	for _, v := range a {
		pool = append(pool, ranked{v, true})
	}
	for _, v := range b {
		pool = append(pool, ranked{v, false})
	}
	slices.SortFunc(pool, func(x, y ranked) int {
		switch {
		case x.value < y.value:
			return -1
		case x.value > y.value:
			return 1
		default:
			return 0
		}
	})
	var rankSum, ties float64
	for i := 0; i < len(pool); {
		start, k := i, i
		for k < len(pool) && pool[k].value == pool[i].value {
			k++
		}
		// Ranks count from 1; equal values share the mean of theirs.
		shared := float64(start+1+k) / 2
		for ; i < k; i++ {
			if pool[i].isA {
				rankSum += shared
			}
		}
		t := float64(k - start)
		ties += t*t*t - t
	}
	u := rankSum - n*(n+1)/2
	total := n + m
	variance := n * m / 12 * (total + 1 - ties/(total*(total-1)))
	if variance <= 0 {
		return 1
	}
	z := (u - n*m/2 - 0.5) / math.Sqrt(variance)
	return math.Erfc(z/math.Sqrt2) / 2
}

func abs(v float64) float64 { return math.Abs(v) }

// objective is what is wanted, with its unit.
func (j sliJudge) objective() string {
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

// number has at most four significant digits, without an exponent where people
// would not expect one.
func number(v float64) string {
	if v != 0 && (abs(v) < 1e-6 || abs(v) >= 1e9) {
		return strconv.FormatFloat(v, 'e', 3, 64)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }

// span is a length of time, to the tenth of a second.
func span(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// sentence is text without its closing full stop, to be set into a sentence.
func sentence(s string) string { return strings.TrimRight(strings.TrimSpace(s), ".") }
