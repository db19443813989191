package recovery

import (
	"fmt"
	"math"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// The bounds of judging signals of which only samples are known, and no events.
const (
	// worseShare is the share of samples beyond the baseline's high mark above
	// which a signal is worse, though its median is not.
	worseShare = 0.3
	// smallestBaseline is how many samples of baseline a high mark needs.
	smallestBaseline = 30
	// leastNoise, mostNoise and noiseScale keep the margin of a signal without an
	// objective between half and three times its own noise, which is measured by
	// the median distance from the median, scaled to a standard deviation.
	leastNoise = 0.5
	mostNoise  = 3
	noiseScale = 1.4826
)

// window is a stretch of samples after the rollback.
type window struct {
	name   string
	length time.Duration
	values []float64
}

// violates says that most samples of a window are on the wrong side of the bound,
// and whether that is more than chance could do to a service as healthy as its
// baseline. Empty when they are not.
func (j sliJudge) violates(w window, base []float64) (incident.Verdict, string) {
	share := j.badShare(w.values)
	if share <= violatedShare {
		return incident.VerdictRecovered, ""
	}
	n := float64(len(w.values))
	time := correlationTime(base)
	// A window that meets the objective has a tenth of such samples at most; a
	// baseline that had more is the measure.
	usual := 1 - metShare
	if len(base) > 0 {
		m := float64(len(base))
		usual = max(usual, tally{bad: j.badShare(base) * m, all: m}.scaled(time).atMost(errorBound))
	}
	evidence := tally{bad: share * n, all: n}.scaled(time).above(usual)
	if len(base) > 0 {
		was, variance := meanAndVariance(base)
		is, _ := meanAndVariance(w.values)
		evidence = max(evidence, -math.Log(max(strays(j.worseBy(is, was), variance, n, time), smallestChance)))
	}
	if evidence -= math.Log(2); evidence < j.enoughToBlame(w.length) {
		return incident.VerdictUnknown, fmt.Sprintf("%s But %d samples are too few to be sure.", j.violated(w.name, w.length, w.values, share), len(w.values))
	}
	return incident.VerdictNotRecovered, j.violated(w.name, w.length, w.values, share)
}

// margin is how far from its baseline a signal may be: the tolerance's share of the
// baseline, or of a part of the bound.
func (j sliJudge) margin(base []float64) float64 {
	return j.tolerance() * max(abs(median(base)), smallestScale*abs(j.sli.Objective.Bound))
}

// compare sets the windows against the baseline. Only worse counts: a signal
// that is better than its baseline agrees with it. One window that is surely worse
// decides; else one that may be.
func (j sliJudge) compare(all []float64, windows []window) (incident.Verdict, string) {
	verdict, reason := incident.VerdictRecovered, ""
	for _, w := range windows {
		switch v, why := j.moved(all, w); {
		case v == incident.VerdictNotRecovered:
			return v, why
		case v == incident.VerdictUnknown && reason == "":
			verdict, reason = v, why
		}
	}
	return verdict, reason
}

// moved compares the level of one window.
func (j sliJudge) moved(all []float64, w window) (incident.Verdict, string) {
	base := recent(all, len(w.values))
	was, is, margin := median(base), median(w.values), j.margin(base)
	own := j.placebos(all, len(w.values))
	by := j.worseBy(is, was)
	allowed := j.away(was, max(margin, own.usual()))
	if bound := j.sli.Objective.Bound; j.worseBy(allowed, bound) > 0 {
		allowed = bound
	}
	j.numbers.Allowed = &allowed
	if by <= max(margin, own.usual()) {
		return incident.VerdictRecovered, ""
	}
	text := fmt.Sprintf("The median over the %s window of %s is %s, and it was %s before the change; %s is the most that agrees",
		w.name, span(w.length), j.value(is), j.value(was), j.value(j.away(was, max(margin, own.usual()))))
	// With its trend, which is memory too.
	memory := correlationTime(all)
	then, before := j.worseThan(w.values, min(margin, by)), j.worseThan(base, 0)
	p := min(1, 2*min(greater(then, before, memory), higher(then, before, memory)))
	switch {
	case by <= own.most():
		return incident.VerdictUnknown, fmt.Sprintf("%s, but it may be noise: before the change it moved by up to %s by itself (p = %s).", text, j.value(own.most()), number(p))
	case -math.Log(p) < j.enoughToBlame(w.length):
		return incident.VerdictUnknown, fmt.Sprintf("%s, but it may be noise (p = %s).", text, number(p))
	default:
		return incident.VerdictNotRecovered, fmt.Sprintf("%s (p = %s).", text, number(p))
	}
}

// worseThan turns values so that more is worse, and makes them better by a margin.
func (j sliJudge) worseThan(values []float64, margin float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = j.worseBy(v, 0) - margin
	}
	return out
}

// spread compares the tails: a signal can be worse for many of its samples though
// its median is not.
func (j sliJudge) spread(all []float64, w window) (incident.Verdict, string) {
	base := recent(all, len(w.values))
	if len(base) < smallestBaseline {
		return incident.VerdictRecovered, ""
	}
	mark := j.highMark(base)
	share, n, m := j.shareBeyond(w.values, mark), float64(len(w.values)), float64(len(base))
	own := j.placebos(all, len(w.values))
	if share <= max(1-metShare, own.mostHigh()) {
		return incident.VerdictRecovered, ""
	}
	time := correlationTime(all)
	before := j.shareBeyond(base, mark)
	usual := max(tally{bad: before * m, all: m}.scaled(time).atMost(errorBound), own.mostHigh(), 1-highShare)
	p := tally{bad: share * n, all: n}.scaled(time).tail(usual)
	side := "above"
	if j.sli.Objective.Comparison == incident.Above {
		side = "below"
	}
	text := fmt.Sprintf("%s of the samples in the %s window of %s are %s %s, and %s of them were before the change",
		percent(share), w.name, span(w.length), side, j.value(mark), percent(before))
	if share < worseShare || -math.Log(max(p, smallestChance)) < j.enoughToBlame(w.length) {
		return incident.VerdictUnknown, fmt.Sprintf("%s, which may be noise (p = %s).", text, number(p))
	}
	return incident.VerdictNotRecovered, fmt.Sprintf("%s (p = %s).", text, number(p))
}

// settled asks for evidence that the signal is well, since one of the moments from
// which it may count: that fewer than half of its samples are beyond the bound, or
// that its mean does not stray so far from the bound by chance. It says what
// is missing.
func (j sliJudge) settled(base []float64) string {
	after := j.m.Signal.After[0]
	bound := j.sli.Objective.Bound
	memory := correlationTime(withoutTrend(base))
	j.numbers.Independent = math.Round(10*float64(j.numbers.Samples)/memory) / 10
	_, usual := meanAndVariance(withoutTrend(base))
	best, missing, have := math.Inf(-1), 0.0, 0.0
	for _, b := range j.begins() {
		s := sample(after, Range{From: b.at, Until: j.queries.Counted.Until, Step: j.spec.Step})
		n := float64(len(s.values))
		if n == 0 {
			continue
		}
		signs := tally{bad: j.shareBeyond(s.values, bound) * n, all: n}
		is, variance := meanAndVariance(s.values)
		away, variance := j.worseBy(bound, is), max(usual, variance)
		chance := strays(away, variance, n, memory)
		if j.once && variance > 0 {
			// Who looks once may use the sharper test.
			chance = min(chance, studentTail(away/math.Sqrt(variance*max(memory/n, 1/n)), float64(len(base))/memory-1))
		}
		evidence := max(signs.scaled(memory).below(violatedShare), -math.Log(max(chance, smallestChance))) - math.Log(2)
		if evidence >= b.enough {
			return ""
		}
		if gap := evidence - b.enough; gap > best {
			best, have = gap, n/memory
			// A sample on the right side brings at most the logarithm of two.
			missing = math.Ceil(-gap * memory / math.Ln2)
		}
	}
	text := fmt.Sprintf("All looks well, but the samples are too few to be sure: they are worth %s independent ones, and some %s more are needed", number(math.Round(10*have)/10), number(max(1, missing)))
	if j.once {
		return text + "."
	}
	return fmt.Sprintf("%s, which take %s.", text, span(time.Duration(max(1, missing))*j.spec.Step))
}
