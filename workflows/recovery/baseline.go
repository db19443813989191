package recovery

import (
	"fmt"
	"math"
	"slices"

	"github.com/backout/backout/workflows/incident"
)

// The bounds of judging a signal by its baseline alone.
const (
	// leastSuffix is how few of the last samples are worth a look of their own, and
	// shortestPart the smallest part of the samples that gets one.
	leastSuffix  = 5
	shortestPart = 64
	// leastCalm is how few samples may show that a signal has come back, and calmTimes
	// how many times longer they must be than any calm time amid the harm.
	leastCalm = 8
	calmTimes = 3
	// wider is how many times further from what is expected the samples are on
	// average before a signal is worse by that.
	wider = 2
	// mostHidden is how many deviations of the noise may be hidden in what is called
	// recovered.
	mostHidden = 4
	// measures is how many things are looked at in each window.
	measures = 5
	// manyOrigins is how many earlier moments show what is usual up to oftenShare.
	manyOrigins = 24
	oftenShare  = 0.97
	// plainOff is how many deviations of the noise are no harm, if there is no proof of
	// any.
	plainOff = 2.5
	// nearlyAlone is how many times more than the mean of independent errors that of a
	// window may vary to be as good as that.
	nearlyAlone = 1.6
	// leastSized is how few errors say something about their size.
	leastSized = 4
	// mostIndependent bounds how well the noise is known.
	mostIndependent = 60
)

// measure is one thing that is looked at in a window of errors.
type measure struct {
	name string
	of   func(errors []float64) float64
	// size says that the measure is a logarithm of a size, and not a level.
	size bool
}

// byItself judges a signal that has no objective against what it would have done by
// itself, in all the samples after the rollback and in the last ones of them.
type byItself struct {
	sliJudge
	outlook *outlook
	// noise is the deviation of the errors, and margin how far off a level may be.
	noise, margin float64
	// around is the deviation within a window, without its trend.
	around float64
	// quantum is the distance of neighbouring values where there are only few; a median
	// may jump by one.
	quantum float64
	// small is the size of errors that is none.
	small    float64
	errors   []float64
	points   []incident.Point
	measures []measure
}

// side is how much worse an error is; below zero it is better.
func (b *byItself) side(v float64) float64 {
	if b.worse == 0 {
		return abs(v)
	}
	return v * float64(b.worse)
}

// finding is what a window shows.
type finding struct {
	verdict incident.Verdict
	text    string
}

// freeVerdict judges by the baseline alone.
func (j sliJudge) freeVerdict() (incident.Verdict, string) {
	b := byItself{sliJudge: j}
	g := gridOf(j.m.Signal.Baseline[0], j.queries.Baseline)
	var at []int
	for _, p := range j.m.Signal.After[0].Points {
		if !p.At.Before(j.queries.Counted.From) && !p.At.After(j.queries.Counted.Until) && finite(p.Value) {
			b.points = append(b.points, p)
		}
	}
	if extra := len(b.points) / mostLooked; extra > 1 {
		var kept []incident.Point
		for i := len(b.points) - 1; i >= 0; i -= extra {
			kept = append(kept, b.points[i])
		}
		slices.Reverse(kept)
		b.points = kept
	}
	begin := g.index(b.points[0].At)
	end := g.index(b.points[len(b.points)-1].At)
	o := lookOut(g, max(0, begin-len(g.values)), max(1, end-begin+1))
	if o == nil {
		return incident.VerdictUnknown, fmt.Sprintf("The baseline has %d samples, which are too few to tell what is usual.", len(present(g.values)))
	}
	b.outlook, *j.season = o, o.season
	for _, p := range b.points {
		at = append(at, o.grid.index(p.At))
	}
	expected := o.expect.of(o, len(o.grid.values), at)
	kept := b.points[:0:0]
	for i, p := range b.points {
		if !math.IsNaN(expected[i]) {
			kept, b.errors = append(kept, p), append(b.errors, o.scaled(p.Value-expected[i], expected[i]))
		}
	}
	b.points = kept
	if len(b.errors) < leastSuffix {
		return incident.VerdictUnknown, fmt.Sprintf("Only %d samples have a counterpart before the change.", len(b.errors))
	}
	b.prepare(median(expected))
	return b.verdict()
}

// prepare works out how large the errors usually are, and what is looked at.
func (b *byItself) prepare(level float64) {
	all := slices.Concat(b.outlook.errors...)
	sizes := make([]float64, len(all))
	for i, v := range all {
		sizes[i] = abs(v)
	}
	b.noise = noiseScale * median(sizes)
	if mean, _ := meanAndVariance(sizes); b.noise <= mean/4 {
		b.noise = mean
	}
	b.around, b.quantum = b.spread(), quantum(present(b.outlook.grid.values))
	tolerance := b.tolerance()
	switch b.margin = tolerance * abs(level); {
	case b.around <= 0:
	case b.sli.Tolerance > 0:
		b.margin = max(b.margin, leastNoise*b.around)
	default:
		b.margin = min(max(b.margin, leastNoise*b.around), mostNoise*b.around)
	}
	switch {
	case b.noise <= 0:
		b.small = b.margin / 4
	case b.sli.Tolerance > 0:
		b.small = b.margin / 2
	}
	floor := max(b.noise/10, 1e-9*abs(level), math.SmallestNonzeroFloat64*1e10)
	beyond := func(v float64) float64 { return max(0, b.side(v)) }
	b.measures = []measure{
		{name: "median", of: median},
		{name: "mean", of: func(v []float64) float64 { m, _ := meanAndVariance(v); return m }},
		{name: "mean distance", size: true, of: func(v []float64) float64 {
			var sum float64
			for _, x := range v {
				sum += beyond(x) / float64(len(v))
			}
			return math.Log(sum + floor)
		}},
		{name: "usual distance", size: true, of: func(v []float64) float64 {
			d := make([]float64, len(v))
			for i, x := range v {
				d[i] = beyond(x)
			}
			return math.Log(quantile(d, 0.75) + floor)
		}},
	}
	if b.worse == 0 {
		b.measures = append(b.measures, measure{name: "distance from one to the next", size: true, of: func(v []float64) float64 {
			var sum float64
			for i := 1; i < len(v); i++ {
				sum += abs(v[i]-v[i-1]) / float64(len(v)-1)
			}
			return math.Log(sum + floor)
		}})
	}
}

// verdict looks at the last samples, all of them and then half as many and so on.
func (b *byItself) verdict() (incident.Verdict, string) {
	const good, bad, unknown = incident.VerdictRecovered, incident.VerdictNotRecovered, incident.VerdictUnknown
	var lengths []int
	for part := 1; part <= shortestPart; part *= 2 {
		n := len(b.errors) / part
		if n < leastSuffix {
			break
		}
		lengths = append(lengths, n)
	}
	found := make([]finding, len(lengths))
	var worst, unsure, calm string
	since := -1
	for i := len(lengths) - 1; i >= 0; i-- {
		found[i] = b.look(lengths[i], len(lengths))
	}
	for i := len(found) - 1; i >= 0 && found[i].verdict == good; i-- {
		since = i
	}
	for _, f := range found {
		if f.verdict == bad {
			worst, calm = f.text, ""
		}
		if f.verdict == unknown && unsure == "" {
			unsure = f.text
		}
		if f.verdict == good && worst != "" {
			calm = f.text
		}
	}
	if since >= 0 {
		if why := b.hidden(lengths[since]); why != "" {
			return unknown, why
		}
		if since == 0 {
			return good, b.agrees(lengths[0])
		}
		if why := b.calm(lengths[since]); why != "" {
			return unknown, why
		}
		return good, b.agrees(lengths[since])
	}
	switch {
	case worst != "" && calm == "":
		return bad, worst
	case worst != "":
		return unknown, worst + " The last samples look better, but they are too few to be sure."
	default:
		return unknown, unsure
	}
}

// look judges the last n samples by every measure.
func (b *byItself) look(n, windows int) finding {
	last := b.errors[len(b.errors)-n:]
	out := finding{verdict: incident.VerdictRecovered, text: "calm"}
	for _, m := range b.measures {
		is := m.of(last)
		own := b.own(m, n)
		if m.size && own.window < leastSized {
			continue // So few say nothing about sizes.
		}
		center, limit := 0.0, b.margin
		if m.name == "median" {
			limit = max(limit, b.quantum)
		}
		if m.size {
			center, limit = own.center, math.Log(wider)
		}
		size := is - center
		if !m.size {
			size = b.side(size)
		}
		if m.size && b.outlook.expect.goes {
			size -= math.Log(b.outlook.stretch)
		}
		if m.name == "median" && n == len(b.errors) {
			allowed := median(b.expectedNow(last)) + limit
			b.numbers.Allowed = &allowed
		}
		if size <= max(limit, own.usual) || m.size && math.Exp(is) <= b.small {
			continue
		}
		p := min(1, 2*studentTail(size/own.scale, own.degrees))
		text := b.off(m, n, size)
		if size > own.most && p < errorBound/float64(measures*windows) {
			return finding{incident.VerdictNotRecovered, fmt.Sprintf("%s (p = %s).", text, number(max(p, smallestChance)))}
		}
		if !m.size && size+2*own.scale <= plainOff*b.around {
			continue
		}
		if out.verdict == incident.VerdictRecovered {
			why := fmt.Sprintf("%s, but it may be noise (p = %s).", text, number(p))
			if size <= own.most {
				why = fmt.Sprintf("%s, but it may be noise: it was so before the change, too.", text)
			}
			out = finding{incident.VerdictUnknown, why}
		}
	}
	return out
}

// expectedNow is what was expected where the errors are.
func (b *byItself) expectedNow(errors []float64) []float64 {
	points := b.points[len(b.points)-len(errors):]
	out := make([]float64, len(errors))
	for i := range out {
		out[i] = points[i].Value - errors[i]
	}
	return out
}

func (b *byItself) medians(n int) (is, expected float64) {
	points := b.points[len(b.points)-n:]
	values := make([]float64, n)
	for i, p := range points {
		values[i] = p.Value
	}
	return median(values), median(b.expectedNow(b.errors[len(b.errors)-n:]))
}

// off says how a window differs.
func (b *byItself) off(m measure, n int, size float64) string {
	is, expected := b.medians(n)
	so := fmt.Sprintf("Since %s the median is %s, and %s was to be expected by %s before the change",
		b.points[len(b.points)-n].At.UTC().Format("2006-01-02 15:04:05"), b.value(is), b.value(expected), b.outlook.expect.name)
	if !m.size {
		return fmt.Sprintf("%s; a %s of %s off agrees at most", so, m.name, b.value(b.margin))
	}
	return fmt.Sprintf("%s; the %s from it is %s times that of before", so, m.name, number(math.Exp(size)))
}

func (b *byItself) agrees(n int) string {
	is, expected := b.medians(n)
	return fmt.Sprintf("The median is %s since %s, and %s was to be expected by %s before the change, and that agrees.",
		b.value(is), b.points[len(b.points)-n].At.UTC().Format("2006-01-02 15:04:05"), b.value(expected), b.outlook.expect.name)
}
