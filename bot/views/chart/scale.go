package chart

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// dwarfed is how many times as large as what matters, the objective and what is
// usual, the whole range may be before the scale is logarithmic or cut: what
// matters has some twenty pixels then.
const dwarfed = 12

// millis shows seconds as milliseconds.
const millis = 1000

// scale places values on a panel.
type scale struct {
	low, high float64
	log       bool
	// zero says that the bottom of a logarithmic scale stands for zero.
	zero bool
	// cut says that values below low were left out.
	cut bool
	// factor and suffix show a value, such as 100 and " %".
	factor float64
	suffix string
}

// scaleFor is the scale on which all of a panel can be read. matters are values that
// must be told apart from the objective: what is usual.
func scaleFor(p incident.ChartPanel, all, matters []float64) scale {
	bound := p.Objective.Bound
	s := scale{factor: 1}
	if len(all) == 0 {
		// The objective is in the middle of nothing.
		around := math.Abs(bound)
		if around == 0 {
			around = 1
		}
		all = []float64{bound - around, bound + 0.8*around}
	}
	all = append(slices.Clone(all), bound)
	matters = append(slices.Clone(matters), bound)
	least, most := slices.Min(all), slices.Max(all)
	low, high := slices.Min(matters), slices.Max(matters)
	if least >= 0 && p.Objective.Comparison == incident.Below {
		low = min(low, 0)
	}
	whole, part := most-least, high-low
	switch {
	case part <= 0 || whole <= dwarfed*part:
		s.linear(least, most)
	case least >= 0 && most-high > low-least:
		s.logarithmic(all, matters, bound, most)
	default:
		if s.linear(least, most); low-least > dwarfed*part {
			s.linear(low-2*part, most)
			s.low, s.cut = low-2*part, true
		}
	}
	s.unit(p.Unit)
	return s
}

func (s *scale) linear(least, most float64) {
	if least >= 0 && least < 0.6*most {
		least = 0
	}
	room := most - least
	if room <= 0 {
		room = max(math.Abs(most), 1)
	}
	s.low, s.high = least, most+0.12*room
	if least != 0 {
		s.low = least - 0.12*room
	}
	s.low, s.high = max(s.low, -math.MaxFloat64), min(s.high, math.MaxFloat64)
}

// maxDecades is how far below the objective a logarithmic scale goes.
const maxDecades = 3

func (s *scale) logarithmic(all, matters []float64, bound, most float64) {
	smallest := most
	for _, v := range matters {
		if v > 0 {
			smallest = min(smallest, v)
		}
	}
	if bound > 0 {
		smallest = max(smallest, bound/math.Pow(10, maxDecades))
	}
	floor := math.Floor(math.Log10(smallest) - 0.3)
	s.log, s.low, s.high = true, math.Pow(10, floor), min(most*1.6, math.MaxFloat64)
	s.zero = slices.Min(all) == 0
}

func (s *scale) unit(unit string) {
	switch unit {
	case "ratio":
		s.factor, s.suffix = 100, " %"
	case "s", "seconds":
		s.factor, s.suffix = 1, " s"
		if s.high < 1 {
			s.factor, s.suffix = millis, " ms"
		}
	case "ms":
		s.suffix = " ms"
	case "percent", "%":
		s.suffix = " %"
	default:
	}
}

// share is where a value is, 0 being the bottom and 1 the top; values beyond the
// scale are beyond that.
func (s *scale) share(v float64) float64 {
	if !s.log {
		if math.IsInf(s.high-s.low, 0) {
			return (v/4 - s.low/4) / (s.high/4 - s.low/4)
		}
		return (v - s.low) / (s.high - s.low)
	}
	if v <= s.low {
		return 0
	}
	return math.Log(v/s.low) / math.Log(s.high/s.low)
}

// tick is a value with its label.
type tick struct {
	share float64
	label string
}

// ticks are at most most of them, from the bottom up.
func (s *scale) ticks(most int) []tick {
	if s.log {
		return s.decades(most)
	}
	step := niceStep((s.high-s.low)*s.factor, most)
	var out []tick
	for i := math.Ceil(s.low * s.factor / step); i*step <= s.high*s.factor; i++ {
		v := i * step
		out = append(out, tick{share: s.share(v / s.factor), label: shown(v, step) + s.suffix})
	}
	return out
}

// decades are the ticks of a logarithmic scale: as many of 1, 2 and 5 of each power of
// ten as there is room for, or every second or third power.
func (s *scale) decades(most int) []tick {
	first, last := math.Round(math.Log10(s.low)), math.Floor(math.Log10(s.high))
	for _, steps := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		if out := s.powers(first, last, 1, steps); len(out) <= most {
			return out
		}
	}
	return s.powers(first, last, math.Ceil((last-first+1)/float64(most)), []float64{1})
}

func (s *scale) powers(first, last, every float64, steps []float64) []tick {
	var out []tick
	for e := first; e <= last; e += every {
		for _, step := range steps {
			v := step * math.Pow(10, e)
			if v > s.high {
				break
			}
			label := shown(v*s.factor, math.Pow(10, e)*s.factor) + s.suffix
			if len(out) == 0 && s.zero {
				label = "0"
			}
			out = append(out, tick{share: s.share(v), label: label})
		}
	}
	return out
}

// niceStep is 1, 2 or 5 times a power of ten that parts a range into at most most.
func niceStep(span float64, most int) float64 {
	raw := span / float64(max(most, 1))
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= raw {
			return m * power
		}
	}
	return 10 * power
}

// value is a value for people, with its unit and at most three digits that count.
func (s *scale) value(v float64) string {
	v *= s.factor
	suffix := s.suffix
	if s.factor == millis && math.Abs(v) >= millis {
		v, suffix = v/millis, " s"
	}
	if v == 0 {
		return "0" + suffix
	}
	return shown(v, math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)) + suffix
}

// shown is a number with as many decimals as its step has.
func shown(v, step float64) string {
	switch a := math.Abs(v); {
	case a >= 1e15 || (a != 0 && a < 1e-9):
		return strconv.FormatFloat(v, 'g', 2, 64)
	case a >= 1e9:
		return trimmed(v/1e9, step/1e9) + "G"
	case a >= 1e6:
		return trimmed(v/1e6, step/1e6) + "M"
	case a >= 1e4:
		return trimmed(v/1e3, step/1e3) + "k"
	default:
		return trimmed(v, step)
	}
}

func trimmed(v, step float64) string {
	decimals := 0
	if step < 1 {
		decimals = int(math.Ceil(-math.Log10(step) - 1e-9))
	}
	text := strconv.FormatFloat(v, 'f', min(decimals, 12), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		return "0"
	}
	return text
}
