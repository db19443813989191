package recovery

import (
	"math"
	"slices"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// The bounds of expecting what a signal does by itself.
const (
	// mostBaseline is how many steps back a baseline goes at most, which bounds the
	// work: four weeks of minutes.
	mostBaseline = 40_320
	// mostLooked is how many samples of a window, or of what stands before it, are
	// looked at: they are taken evenly from longer ones.
	mostLooked = 240
	// mostOrigins is how many earlier moments are tried.
	mostOrigins = 36
	// leastFit is how few samples before a moment are enough to expect from.
	leastFit = 12
	// betterBy is how much smaller the errors of a less simple expectation must be.
	betterBy = 0.93
	// betterByFew is the same for a baseline of less than leastKept samples.
	betterByFew = 0.75
	// shiftSpan is how many samples on either side show a shift of level, and
	// shiftSize how many times further it must go than the signal usually does.
	shiftSpan = 20
	shiftSize = 5
	// leastKept is how many samples a baseline has left at least after a shift.
	leastKept = 60
)

// outlook says what a signal would do by itself: by the kind of expectation that
// was the best one at earlier moments of the baseline, as far ahead.
type outlook struct {
	grid grid
	// season is in steps; zero if there is none.
	season int
	expect expectation
	// lead and length are how far behind the baseline's end the windows begin and how
	// long they are, in steps, both cut so that several fit into the baseline.
	lead, length int
	// errors are what was expected wrongly, a row for each earlier moment.
	errors [][]float64
	// power says how errors grow with what is expected: not at all, with its root, or
	// in proportion. size is what they are scaled to.
	power, size float64
	// low is the least that was expected.
	low float64
	// stretch is by how much further ahead the real window lies.
	stretch float64
	// span is how many steps the earlier moments cover.
	span int
}

// expectation says what is expected at the steps at, of what stands before step c.
type expectation struct {
	name string
	// steady says that one level is expected for good.
	steady bool
	// plain says that few samples are enough to find it out.
	plain bool
	// goes says that something goes on as it went last, which may end at any time.
	goes bool
	of   func(o *outlook, c int, at []int) []float64
}

// gridOf puts samples on the steps of a range.
func gridOf(series incident.Series, r Range) grid {
	if over := r.Points() - mostBaseline; over > 0 {
		r.From = r.From.Add(time.Duration(over) * r.Step)
	}
	g := grid{from: r.From, step: r.Step, values: make([]float64, r.Points())}
	for i := range g.values {
		g.values[i] = math.NaN()
	}
	for _, p := range series.Points {
		if i := g.index(p.At); i >= 0 && i < len(g.values) && finite(p.Value) {
			g.values[i] = p.Value
		}
	}
	return g
}

// lookOut learns from a baseline what to expect of a window that begins lead steps
// behind its end. Nil: the baseline is too short.
func lookOut(g grid, lead, length int) *outlook {
	o := &outlook{grid: g}
	if o.season = g.season(); o.season == 0 {
		if cut := g.lastShift(); cut > 0 {
			o.grid.from = g.from.Add(time.Duration(cut) * g.step)
			o.grid.values = g.values[cut:]
		}
	}
	n := len(o.grid.values)
	first := max(leastFit, n/4, o.season)
	room := n - first
	if room < 2*fewestPoints {
		return nil
	}
	o.lead = min(lead, room/3)
	o.length = max(1, min(length, (room-o.lead)/4))
	o.stretch = math.Sqrt(float64(lead+length) / float64(o.lead+o.length))
	o.span = room - o.lead
	best, better := math.Inf(1), betterBy
	if n < leastKept {
		better = betterByFew
	}
	var expected [][]float64
	for _, e := range o.expectations() {
		if better == betterByFew && !e.plain {
			continue
		}
		errors, of := o.tried(e, first)
		if len(errors) == 0 {
			continue
		}
		score := usualError(errors)
		if score < best*better || o.errors == nil {
			best, o.expect, o.errors, expected = score, e, errors, of
		}
	}
	if o.errors == nil {
		return nil
	}
	if o.expect.goes {
		o.stretch *= o.stretch // What goes on goes astray in proportion.
	}
	o.scale(expected)
	return o
}

// scale finds out whether errors grow with what is expected, and scales them alike.
func (o *outlook) scale(expected [][]float64) {
	all := slices.Concat(expected...)
	o.size = median(all)
	o.low = slices.Min(all)
	if o.low <= 0 {
		return
	}
	var low, high, lowError, highError []float64
	for i, row := range expected {
		for k, v := range row {
			if v < o.size {
				low, lowError = append(low, math.Log(v)), append(lowError, abs(o.errors[i][k]))
			} else {
				high, highError = append(high, math.Log(v)), append(highError, abs(o.errors[i][k]))
			}
		}
	}
	if len(low) < leastFit || len(high) < leastFit {
		return
	}
	apart := median(high) - median(low)
	less, more := quantile(lowError, 0.75), quantile(highError, 0.75)
	if apart < leastApart || less <= 0 || more <= 0 || o.size < less {
		return
	}
	o.power = min(max(math.Round(2*math.Log(more/less)/apart)/2, 0), 1)
	for i, row := range expected {
		for k, v := range row {
			o.errors[i][k] = o.scaled(o.errors[i][k], v)
		}
	}
}

// leastApart is how far apart, as a logarithm, small and large expected values must
// be to show how errors grow with them.
const leastApart = 0.3

// scaled is an error as it would be at the usual size.
func (o *outlook) scaled(wrong, expected float64) float64 {
	if o.power == 0 {
		return wrong
	}
	return wrong * math.Pow(o.size/max(expected, o.low), o.power)
}

// tried is what an expectation got wrong at earlier moments, and what it expected.
func (o *outlook) tried(e expectation, first int) (errors, expected [][]float64) {
	last := len(o.grid.values) - o.lead - o.length
	stride := max(1, (last-first)/mostOrigins)
	for c := last; c >= first; c -= stride {
		at := evenly(c+o.lead, c+o.lead+o.length)
		var wrong, of []float64
		for i, v := range e.of(o, c, at) {
			if is := o.grid.values[at[i]]; !math.IsNaN(is) && !math.IsNaN(v) {
				wrong, of = append(wrong, is-v), append(of, v)
			}
		}
		if 2*len(wrong) >= len(at) {
			errors, expected = append(errors, wrong), append(expected, of)
		}
	}
	return errors, expected
}

// usualError is the mean error, without the worst tenth of the moments; over all of
// them or over the latest half, whichever is worse.
func usualError(errors [][]float64) float64 {
	if n := len(errors) / 2; n >= fewestPoints {
		return max(meanError(errors), meanError(errors[:n]))
	}
	return meanError(errors)
}

func meanError(errors [][]float64) float64 {
	sizes := make([]float64, len(errors))
	for i, row := range errors {
		for _, v := range row {
			sizes[i] += abs(v) / float64(len(row))
		}
	}
	slices.Sort(sizes)
	sizes = sizes[:(len(sizes)*9+9)/10]
	mean, _ := meanAndVariance(sizes)
	return mean
}

// evenly are the steps from and so on up to until, or some of them.
func evenly(from, until int) []int {
	stride := max(1, (until-from)/mostLooked)
	out := make([]int, 0, (until-from)/stride+1)
	for i := from; i < until; i += stride {
		out = append(out, i)
	}
	return out
}

// latest are the steps before c that there are samples of, and these, going so far
// back.
func (o *outlook) latest(c, back int) (at []int, values []float64) {
	for _, i := range evenly(max(0, c-back), c) {
		if v := o.grid.values[i]; !math.IsNaN(v) {
			at, values = append(at, i), append(values, v)
		}
	}
	return at, values
}

// expectations are the kinds that are tried, simple ones first.
func (o *outlook) expectations() []expectation {
	long := max(recentWindows*o.length, recentPoints)
	out := []expectation{
		{name: "its level", steady: true, plain: true, of: func(o *outlook, c int, at []int) []float64 {
			_, v := o.latest(c, long)
			return filled(len(at), median(v))
		}},
		{name: "its latest level", goes: true, of: func(o *outlook, c int, at []int) []float64 {
			_, v := o.latest(c, 5)
			return filled(len(at), median(v))
		}},
		{name: "its trend", goes: true, plain: true, of: func(o *outlook, c int, at []int) []float64 { return o.line(c, c, at) }},
		{name: "its latest trend", goes: true, of: func(o *outlook, c int, at []int) []float64 { return o.line(c, long, at) }},
		{name: "its last trend", goes: true, of: func(o *outlook, c int, at []int) []float64 { return o.line(c, max(o.lead+o.length, leastFit), at) }},
	}
	if slices.Min(append(present(o.grid.values), 1)) > 0 {
		out = append(out, expectation{name: "its growth", goes: true, of: func(o *outlook, c int, at []int) []float64 {
			logs := *o
			logs.grid.values = make([]float64, c)
			for i, v := range o.grid.values[:c] {
				logs.grid.values[i] = math.Log(v)
			}
			out := logs.line(c, c, at)
			for i := range out {
				out[i] = math.Exp(out[i])
			}
			return out
		}})
	}
	if o.season > 0 {
		out = append(out,
			expectation{name: "its season", plain: true, of: func(o *outlook, c int, at []int) []float64 { return o.cycles(c, at, cycling{}) }},
			expectation{name: "its season and level", plain: true, of: func(o *outlook, c int, at []int) []float64 { return o.cycles(c, at, cycling{moved: true}) }},
			expectation{name: "its season and trend", plain: true, of: func(o *outlook, c int, at []int) []float64 {
				return o.cycles(c, at, cycling{moved: true, drifting: true})
			}},
			expectation{name: "its season and size", of: func(o *outlook, c int, at []int) []float64 {
				return o.cycles(c, at, cycling{moved: true, stretched: true})
			}},
		)
	}
	return out
}

func filled(n int, v float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// line goes on along a line through the medians of the first and the last third of
// what stands before c.
func (o *outlook) line(c, back int, at []int) []float64 {
	x, v := o.latest(c, back)
	third := len(v) / 3
	if third == 0 {
		return filled(len(at), math.NaN())
	}
	from, until := float64(x[third/2]), float64(x[len(x)-1-third/2])
	slope := (median(v[len(v)-third:]) - median(v[:third])) / (until - from)
	for i := range v {
		v[i] -= slope * float64(x[i]-c)
	}
	level := median(v)
	out := make([]float64, len(at))
	for i := range out {
		out[i] = level + slope*float64(at[i]-c)
	}
	return out
}

// cycling says how earlier cycles are carried over: moved or stretched to the level
// of the last samples, and with the drift from cycle to cycle.
type cycling struct{ moved, stretched, drifting bool }

// cycles is what earlier cycles had at the same phase.
func (o *outlook) cycles(c int, at []int, how cycling) []float64 {
	drift := 0.0
	if how.drifting {
		var steps []float64
		for _, i := range evenly(min(o.season, c), c) {
			if v := o.grid.values[i] - o.grid.values[i-o.season]; !math.IsNaN(v) {
				steps = append(steps, v)
			}
		}
		if len(steps) > 0 {
			drift = median(steps)
		}
	}
	then := func(i, c int) float64 {
		var others [mostCycles]float64
		n := 0
		back := max(1, (i-c)/o.season+1)
		for i -= o.season * back; i >= 0 && n < mostCycles; i -= o.season {
			if v := o.grid.values[i]; i < c && !math.IsNaN(v) {
				others[n] = v + float64(back)*drift
				n++
			}
			back++
		}
		return median(others[:n])
	}
	shift, factor := 0.0, 1.0
	if how.moved {
		x, v := o.latest(c, max(o.season/2, o.length, leastFit))
		var apart, times []float64
		for i := range x {
			if was := then(x[i], x[i]); !math.IsNaN(was) {
				apart = append(apart, v[i]-was)
				if was != 0 {
					times = append(times, v[i]/was)
				}
			}
		}
		if len(apart) >= fewestPoints {
			shift = median(apart)
		}
		if how.stretched && len(times) >= fewestPoints {
			shift, factor = 0, median(times)
		}
	}
	out := make([]float64, len(at))
	for i := range at {
		out[i] = factor*then(at[i], c) + shift
	}
	return out
}
