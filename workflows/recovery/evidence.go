package recovery

import (
	"math"
	"time"

	"gonum.org/v1/gonum/mathext"
)

// errorBound is the promise of the judge, for each SLI and over the whole watch,
// however often it looks: the chance to call a service recovered whose level is
// that of the harm, and the chance to call one not recovered that is as healthy as
// its baseline, are each at most this.
const errorBound = 0.05

// tally counts events or samples: bad ones of all. The numbers are not whole where
// they are corrected for dependence.
type tally struct{ bad, all float64 }

// scaled is the tally of as many independent events: both counts divided by a
// factor of at least one.
func (t tally) scaled(factor float64) tally {
	factor = max(1, factor)
	return tally{bad: t.bad / factor, all: t.all / factor}
}

// ratio is the share of bad events; NaN when there are none at all.
func (t tally) ratio() float64 { return t.bad / t.all }

// above is the logarithm of the evidence against "the share of bad events is at
// most null". It is an e-value: under every share up to null its expectation is at
// most one, so that over a growing tally it exceeds 1/a, ever, with a chance of at
// most a (Ville's inequality). It is the mixture of likelihood ratios over shares
// above null, weighted by Jeffreys' prior.
// Source: H. Robbins, Annals of Mathematical Statistics 41 (1970), 1397-1409;
// A. Ramdas et al., Statistical Science 38 (2023), 576-601.
func (t tally) above(null float64) float64 {
	if null >= 1 || t.all <= 0 {
		return 0
	}
	null = max(null, smallestShare)
	a, b := t.bad+0.5, max(0, t.all-t.bad)+0.5
	evidence := logBeta(a, b) + math.Log(mathext.RegIncBeta(b, a, 1-null)) -
		logBeta(0.5, 0.5) - math.Log(mathext.RegIncBeta(0.5, 0.5, 1-null)) - t.logLikelihood(null)
	if t.ratio() <= null {
		// No share above null is more likely than null then, but the beta function is
		// not exact in its far tails.
		return min(evidence, 0)
	}
	return evidence
}

// below is the logarithm of the evidence against "the share of bad events is at
// least null", the mirror of above.
func (t tally) below(null float64) float64 {
	if null <= 0 || t.all <= 0 {
		return 0
	}
	null = min(null, 1-smallestShare)
	a, b := t.bad+0.5, max(0, t.all-t.bad)+0.5
	evidence := logBeta(a, b) + math.Log(mathext.RegIncBeta(a, b, null)) -
		logBeta(0.5, 0.5) - math.Log(mathext.RegIncBeta(0.5, 0.5, null)) - t.logLikelihood(null)
	if t.ratio() >= null {
		return min(evidence, 0)
	}
	return evidence
}

// couldBlame says cheaply that above may reach a level: no mixture of likelihood
// ratios is above the largest of them.
func (t tally) couldBlame(null, enough float64) bool {
	return t.all > 0 && t.ratio() > null && t.all*divergence(t.ratio(), null) >= enough
}

// smallestShare keeps logarithms finite where a share is nothing or everything.
const smallestShare = 1e-9

func (t tally) logLikelihood(p float64) float64 {
	return t.bad*math.Log(p) + max(0, t.all-t.bad)*math.Log1p(-p)
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

// atMost is the Clopper-Pearson upper bound of the share of bad events: the true
// share is above it with a chance of at most level.
// Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934), 404-413.
func (t tally) atMost(level float64) float64 {
	if t.all <= 0 || t.bad >= t.all {
		return 1
	}
	return mathext.InvRegIncBeta(t.bad+1, t.all-t.bad, 1-level)
}

// atLeast is the Clopper-Pearson lower bound of the share of bad events.
func (t tally) atLeast(level float64) float64 {
	if t.all <= 0 || t.bad <= 0 {
		return 0
	}
	return mathext.InvRegIncBeta(t.bad, max(0, t.all-t.bad)+1, level)
}

// tail is the exact binomial chance of at least as many bad events when their
// share is p.
func (t tally) tail(p float64) float64 {
	switch {
	case t.bad <= 0 || p >= 1:
		return 1
	case p <= 0:
		return 0
	default:
		return mathext.RegIncBeta(t.bad, max(0, t.all-t.bad)+1, p)
	}
}

// divergence is the Kullback-Leibler divergence of two shares: the evidence that
// one event brings, in the mean, that the share is p and not q.
func divergence(p, q float64) float64 {
	p, q = min(max(p, smallestShare), 1-smallestShare), min(max(q, smallestShare), 1-smallestShare)
	return p*math.Log(p/q) + (1-p)*math.Log((1-p)/(1-q))
}

// strays is the chance that the mean of values ever strays by d from the level
// that they vary around, from the n-th value on, when each has variance and n of
// them are worth n/time independent ones. Nothing is supposed about their shape.
// Source: J. Hajek, A. Renyi, Acta Mathematica Academiae Scientiarum Hungaricae 6
// (1955), 281-283, which for equal variances is at most 2*variance/(n*d*d).
func strays(d, variance, n, time float64) float64 {
	switch {
	case d <= 0 || n <= 0:
		return 1
	case variance <= 0:
		return 0
	default:
		return min(1, 2*variance*time/(n*d*d))
	}
}

// correlationTime is how many samples are worth one independent one: one plus
// twice the sum of the autocorrelations up to the first that is not positive. One
// for values that do not vary, and for fewer than eight.
// Source: C. J. Geyer, Statistical Science 7 (1992), 473-483.
func correlationTime(values []float64) float64 {
	const few, most = 8, 1000
	n := len(values)
	if n < few {
		return 1
	}
	m, v := meanAndVariance(values)
	if v <= 0 {
		return 1
	}
	time := 1.0
	for lag := 1; lag < min(n/2, most); lag++ {
		var c float64
		for i := lag; i < n; i++ {
			c += (values[i] - m) * (values[i-lag] - m)
		}
		// Divided by what overlaps: dividing by n hides long memory in few values.
		rho := c / float64(n-lag) / v
		if rho <= 0 {
			break
		}
		time += 2 * min(rho, 1)
	}
	return min(time, float64(n)/2)
}

// meanAndVariance are NaN and zero for no values.
func meanAndVariance(values []float64) (mean, variance float64) {
	n := float64(len(values))
	if n == 0 {
		return math.NaN(), 0
	}
	// From the first value on, so that values which are all alike have no variance.
	for _, v := range values {
		mean += (v - values[0]) / n
	}
	mean += values[0]
	for _, v := range values {
		variance += (v - mean) * (v - mean) / n
	}
	return mean, variance
}

// windowsOf is how many windows of a length may be looked at in a watch; two for
// each, because they overlap. At least one.
func (j sliJudge) windowsOf(length time.Duration) float64 {
	if j.once {
		return 1
	}
	return max(1, 2*math.Ceil(float64(j.spec.Deadline-j.spec.Warmup)/float64(max(length, 1))))
}

// enoughToBlame is how much evidence, as a logarithm, calls a window of a length
// not recovered. The promise is shared among the SLIs, the windows and the two
// questions of objective and baseline.
func (j sliJudge) enoughToBlame(length time.Duration) float64 {
	return math.Log(2 * float64(max(1, len(j.spec.SLIs))) * j.windowsOf(length) / errorBound)
}

// begin is a moment from which evidence of recovery is gathered, and how much of
// it is enough from there, as a logarithm.
type begin struct {
	at     time.Time
	enough float64
}

// begins are the moments from which evidence of recovery may count: the end of the
// warm-up, which has half of the promise, and every half of a long window after
// it, which share the rest, so that a slow recovery is seen too. All of them lie a
// long window back at least.
func (j sliJudge) begins() []begin {
	first := j.queries.Counted.From
	out := []begin{{at: first, enough: math.Log(2 / errorBound)}}
	if j.once {
		return []begin{{at: first, enough: math.Log(1 / errorBound)}}
	}
	others := j.windowsOf(j.spec.Long)
	for at := first.Add(j.spec.Long / 2); !at.After(j.queries.After.From); at = at.Add(j.spec.Long / 2) {
		out = append(out, begin{at: at, enough: math.Log(2 * others / errorBound)})
	}
	return out
}
