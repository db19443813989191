package recovery

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// The bounds of judging SLIs of which bad and all events are known.
const (
	// material is the least tolerance that evidence of recovery can be had for: a
	// ratio of twice its baseline is never called recovered, and less than that
	// would take more events than most services have.
	material = 1.0
	// shortLevel is the chance below which the events of the short window do not
	// look like those of a recovered service.
	shortLevel = 0.01
	// dispersionBlocks is how many blocks of baseline an estimate of overdispersion
	// needs, and dispersionLevel the chance below which it is more than an
	// accident.
	dispersionBlocks = 8
	dispersionLevel  = 0.1
)

// count is what happened in one step.
type count struct {
	at time.Time
	tally
}

// counts takes the events of two series of rates, in events per second, over a
// range: those of the moments that both have. Bad events are at most all.
func (j sliJudge) counts(bad, all []incident.Series, r Range) []count {
	if len(bad) != 1 || len(all) != 1 {
		return nil
	}
	totals := make(map[int64]float64, len(all[0].Points))
	for _, p := range all[0].Points {
		if finite(p.Value) && p.Value >= 0 {
			totals[p.At.UnixNano()] = p.Value
		}
	}
	seconds := j.spec.Step.Seconds()
	var out []count
	for _, p := range bad[0].Points {
		total, ok := totals[p.At.UnixNano()]
		if !ok || p.At.Before(r.From) || p.At.After(r.Until) || !finite(p.Value) || p.Value < 0 {
			continue
		}
		n := total * seconds
		out = append(out, count{at: p.At, tally: tally{bad: min(p.Value*seconds, n), all: n}})
	}
	return out
}

// since adds up the counts from a moment on.
func since(counts []count, from time.Time) tally {
	var t tally
	for _, c := range counts {
		if !c.at.Before(from) {
			t.bad += c.bad
			t.all += c.all
		}
	}
	return t
}

// dispersion is by what factor the events of a baseline vary more than independent
// ones: Pearson's statistic over its degrees of freedom, the largest over blocks of
// one, two, four and more steps, since dependence shows only in longer ones. One
// where the excess may be an accident.
// Source: P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed., 4.5.
func dispersion(counts []count) float64 {
	total := since(counts, time.Time{})
	p := total.ratio()
	if total.all <= 0 || p <= 0 || p >= 1 {
		return 1
	}
	factor := 1.0
	for size := 1; len(counts)/size >= dispersionBlocks; size *= 2 {
		var chi, blocks float64
		for at := 0; at+size <= len(counts); at += size {
			var t tally
			for _, c := range counts[at : at+size] {
				t.bad += c.bad
				t.all += c.all
			}
			if t.all <= 0 {
				continue
			}
			chi += (t.bad - t.all*p) * (t.bad - t.all*p) / (t.all * p * (1 - p))
			blocks++
		}
		if free := blocks - 1; free >= dispersionBlocks-1 && chiTail(chi, free) < dispersionLevel {
			factor = max(factor, chi/free)
		}
	}
	return factor
}

// eventsVerdict judges by counted events: an exact, anytime-valid test of their
// share against the objective, and against the baseline.
func (j sliJudge) eventsVerdict(why string) (incident.Verdict, string) {
	const unknown, bad, good = incident.VerdictUnknown, incident.VerdictNotRecovered, incident.VerdictRecovered
	after := j.counts(j.m.Bad.After, j.m.Total.After, j.queries.Counted)
	before := j.counts(j.m.Bad.Baseline, j.m.Total.Baseline, j.queries.Baseline)
	objective := j.allowed()
	factor := dispersion(before)
	base := since(before, time.Time{}).scaled(factor)
	// What is not worse than the baseline, for all that is known of it.
	harmless, least := 1.0, 1.0
	if why == "" && base.all > 0 {
		floor := smallestScale * objective
		if j.free {
			floor = base.atMost(0.5)
		}
		harmless = min(1, base.atMost(errorBound/4)+j.tolerance()*max(base.ratio(), floor))
		least = (1 + max(j.tolerance(), material)) * max(base.ratio(), floor)
	}
	raw, now := since(before, time.Time{}), since(after, time.Time{})
	j.numbers.Bad, j.numbers.Total, j.numbers.BaselineBad, j.numbers.BaselineTotal, j.numbers.Overdispersion = now.bad, now.all, raw.bad, raw.all, factor
	if allowed := j.shown(min(objective, least)); allowed > 0 && allowed < 1 {
		j.numbers.Allowed = &allowed
	}
	// From which step on do the events say that it is bad?
	enough := j.enoughToBlame(j.spec.Step)
	for _, q := range []struct {
		null float64
		name string
	}{{objective, "the objective allows"}, {harmless, "there were before the change"}} {
		if q.null >= 1 {
			continue
		}
		var t tally
		for _, c := range slices.Backward(after) {
			t.bad += c.bad
			t.all += c.all
			if t.scaled(factor).couldBlame(q.null, enough) && t.scaled(factor).above(q.null) >= enough {
				return bad, fmt.Sprintf("%s of %s events in the last %s were bad, which is %s, and more than the %s that %s.",
					number(math.Round(t.bad)), number(math.Round(t.all)), span(j.queries.Counted.Until.Sub(c.at)+j.spec.Step), j.value(j.shown(t.ratio())), j.value(j.shown(q.null)), q.name)
			}
		}
	}
	if !j.queries.Ready {
		return unknown, j.notReady()
	}
	if why != "" {
		return unknown, why
	}
	if base.all <= 0 {
		return unknown, "There were no events before the change, so there is nothing to compare with."
	}
	if base.ratio() >= objective {
		return unknown, fmt.Sprintf("The baseline was not healthy itself: it was %s, wanted %s.", j.value(j.shown(base.ratio())), j.objective())
	}
	limit := min(objective, least)
	if t := since(after, j.short.From).scaled(factor); t.tail(max(harmless, limit)) < shortLevel {
		return unknown, fmt.Sprintf("%s of the events in the short window of %s were bad, and the watch goes on until that is over.", j.value(t.ratio()), span(j.spec.Short))
	}
	best, text := math.Inf(-1), ""
	for _, b := range j.begins() {
		t := since(after, b.at)
		fair := t.scaled(factor)
		evidence := fair.below(limit)
		if evidence >= b.enough {
			return good, fmt.Sprintf("%s of %s events were bad, which is %s, wanted %s; before the change it was %s.",
				number(math.Round(t.bad)), number(math.Round(t.all)), j.value(j.shown(t.ratio())), j.objective(), j.value(j.shown(base.ratio())))
		}
		if gap := evidence - b.enough; gap > best {
			best = gap
			text = j.missing(t, factor, limit, -gap, j.queries.Counted.Until.Sub(b.at))
		}
	}
	return unknown, text
}

// missing says how many more events would be evidence, if they go on as they did.
func (j sliJudge) missing(t tally, factor, limit, gap float64, passed time.Duration) string {
	if t.all <= 0 {
		return "There were no events since the warm-up."
	}
	so := fmt.Sprintf("%s of %s events since the warm-up were bad, which is not yet proof of less than %s", number(math.Round(t.bad)), number(math.Round(t.all)), j.value(limit))
	if t.ratio() >= limit {
		return so + "."
	}
	more := math.Ceil(gap / divergence(t.ratio(), limit) * factor)
	wait := time.Duration(min(more/t.all*passed.Seconds(), float64(maxWait/time.Second))) * time.Second
	return fmt.Sprintf("%s: some %s more are needed, about %s at this traffic.", so, number(more), span(max(wait, j.spec.Step)))
}

// maxWait keeps an estimate of time within what a duration holds.
const maxWait = 1000 * time.Hour

// allowed is the share of bad events that the objective allows.
func (j sliJudge) allowed() float64 {
	if j.free {
		return 1
	}
	if j.sli.Objective.Comparison == incident.Above {
		return 1 - j.sli.Objective.Bound
	}
	return j.sli.Objective.Bound
}

// shown turns a share of bad events into the SLI's own measure.
func (j sliJudge) shown(bad float64) float64 {
	if j.sli.Objective.Comparison == incident.Above {
		return 1 - bad
	}
	return bad
}

func (j sliJudge) tolerance() float64 {
	if j.sli.Tolerance == 0 {
		return DefaultTolerance
	}
	return j.sli.Tolerance
}
