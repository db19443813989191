package recovery

import (
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Input is everything a verdict is made of.
type Input struct {
	Times Times
	// SLIs are the measurements, found by name; one that is missing makes its
	// SLI unknown.
	SLIs []Measurement
}

// Measurement is what was measured for one SLI.
type Measurement struct {
	// Name is the SLI's.
	Name string
	// Signal is the answer to the SLI's query.
	Signal Answer
	// Traffic is the answer to the SLI's traffic query; zero when it has none.
	Traffic Answer
	// Bad and Total are the answers to the SLI's queries of events; zero when it
	// has none.
	Bad, Total Answer
}

// Answer is what a probe answered for the ranges of Windows. Samples outside
// their range do not count.
type Answer struct {
	Baseline, During, After []incident.Series
	// Failed says, in words for people and without secrets, why the probe did
	// not answer; empty when it did. It makes the SLI unknown.
	Failed string
}

// The judge's own constants. A window meets an objective when nearly all of
// its samples do, and violates it when most do not; between the two nobody can
// tell.
const (
	// metShare is the least share of samples on the good side that meets an
	// objective or a traffic floor.
	metShare = 0.9
	// violatedShare is the share of samples on the bad side above which an
	// objective is violated.
	violatedShare = 0.5
	// coverage is the least share of the samples a window should have.
	coverage = 0.8
	// staleSteps is how many steps may be missing at either end of a window.
	staleSteps = 3
	// smallestScale keeps a baseline of nearly zero from asking for exactly
	// zero: the tolerance is a share of at least this part of the bound.
	smallestScale = 0.1
	// mostRatio is the largest value of a ratio: what counts desired against
	// present ones is above one for a while, and per cent are far above it.
	mostRatio = 2
	// implausible is how many times better than its baseline a signal must be to
	// be in another unit.
	implausible = 50
)

// Judge says whether the SLIs of a spec have recovered at in.Times.Now. The
// worst SLI decides: not recovered, then unknown, then recovered. A spec that
// Check refuses is unknown.
func Judge(spec incident.RecoverySpec, in Input) incident.RecoveryResult {
	result := incident.RecoveryResult{Verdict: incident.VerdictUnknown, At: in.Times.Now}
	if err := Check(spec); err != nil {
		result.Reason = fmt.Sprintf("Recovery cannot be judged: %v.", err)
		return result
	}
	queries := Windows(spec, in.Times)
	result.Verdict = incident.VerdictRecovered
	for _, sli := range spec.SLIs {
		r := judgeSLI(sliJudge{spec: spec, sli: sli, queries: queries}, in)
		result.SLIs = append(result.SLIs, r)
		if rank(r.Verdict) > rank(result.Verdict) || result.Reason == "" {
			result.Verdict = r.Verdict
			result.Reason = r.Name + ": " + r.Reason
		}
	}
	if n := len(result.SLIs); n > 1 && result.Verdict == incident.VerdictRecovered {
		result.Reason = fmt.Sprintf("All %d SLIs meet their objectives and agree with their baselines.", n)
	}
	return result
}

// rank orders verdicts from good to bad; what is no verdict ranks as unknown.
func rank(v incident.Verdict) int {
	switch v {
	case incident.VerdictRecovered:
		return 0
	case incident.VerdictUnknown:
		return 1
	case incident.VerdictNotRecovered:
		return 2
	default:
		return 1
	}
}

// sliJudge holds what the steps of judging one SLI share.
type sliJudge struct {
	spec    incident.RecoverySpec
	sli     incident.SLI
	queries Queries
	short   Range
	m       Measurement
	// once says that nobody looks again, free that there is no objective and the
	// baseline alone is the measure.
	once, free bool
	// worse is the direction that is asked about without an objective: 1 higher, -1
	// lower, 0 either. season is where the length of a season goes, in steps.
	worse  int
	season *int
	// numbers are filled in on the way.
	numbers *incident.SLINumbers
}

func judgeSLI(j sliJudge, in Input) incident.SLIResult {
	spec, sli, q := j.spec, j.sli, j.queries
	j.short = Range{From: latest(q.After.From, q.After.Until.Add(-spec.Short)), Until: q.After.Until, Step: spec.Step}
	r := incident.SLIResult{
		Name: sli.Name, Unit: sli.Unit, Query: sli.Query,
		Objective: fmt.Sprintf("%s %s", sli.Objective.Comparison, number(sli.Objective.Bound)),
	}
	var found int
	for _, m := range in.SLIs {
		if m.Name == sli.Name {
			j.m = m
			found++
		}
	}
	if found != 1 {
		r.Verdict = incident.VerdictUnknown
		r.Reason = fmt.Sprintf("There are %d measurements of it, and exactly 1 is needed.", found)
		return r
	}
	r.Baseline = shownMedian(j.m.Signal.Baseline, q.Baseline)
	r.During = shownMedian(j.m.Signal.During, q.During)
	r.After = shownMedian(j.m.Signal.After, q.After)
	j.numbers = &incident.SLINumbers{ErrorBound: errorBound}
	if len(j.m.Signal.After) == 1 {
		j.numbers.Samples = len(sample(j.m.Signal.After[0], q.Counted).values)
	}
	r.Verdict, r.Reason = j.verdict(in.Times)
	if j.numbers.Samples > 0 {
		r.Numbers = j.numbers
	}
	return r
}

// verdict goes from what cannot be seen, over what is plainly bad, to what has
// to be compared.
func (j sliJudge) verdict(t Times) (incident.Verdict, string) {
	const unknown, bad, good = incident.VerdictUnknown, incident.VerdictNotRecovered, incident.VerdictRecovered
	if f := j.m.Signal.Failed; f != "" {
		return unknown, fmt.Sprintf("The query got no answer: %s.", sentence(f))
	}
	if why := j.waiting(t); why != "" {
		return unknown, why
	}
	short, why := j.usable("the short window", j.m.Signal.After, j.short)
	if why != "" {
		return unknown, why
	}
	if why := j.traffic(); why != "" {
		return unknown, why
	}
	base, noBase := j.baseline()
	if why := j.unit(short, base); why != "" {
		return unknown, why
	}
	if j.counted() {
		if why := j.events(); why != "" {
			return unknown, why
		}
		return j.eventsVerdict(noBase)
	}
	if j.free {
		if noBase != "" {
			return unknown, noBase
		}
		return j.freeVerdict()
	}
	if noBase != "" {
		base = nil // The objective alone is the measure of what is bad.
	}
	lately := window{"short", j.spec.Short, short}
	if v, why := j.violates(lately, base); v != good {
		return v, why
	}
	if !j.queries.Ready {
		return unknown, j.notReady()
	}
	long, why := j.usable("the long window", j.m.Signal.After, j.queries.After)
	if why != "" {
		return unknown, why
	}
	whole := window{"long", j.spec.Long, long}
	if v, why := j.violates(whole, base); v != good {
		return v, why
	}
	if noBase != "" {
		return unknown, noBase
	}
	level, why := j.compare(base, []window{lately, whole})
	tails, also := j.spread(base, whole)
	switch {
	case level == bad:
		return bad, why
	case tails == bad:
		return bad, also
	}
	for _, w := range []window{lately, whole} {
		if share := j.badShare(w.values); share > 1-metShare {
			return unknown, fmt.Sprintf("%s of the samples in the %s window of %s are not %s, which is neither met nor violated.",
				percent(share), w.name, span(w.length), j.objective())
		}
	}
	if level != good {
		return level, why
	}
	if tails != good {
		return tails, also
	}
	if why := j.settled(base); why != "" {
		return unknown, why
	}
	return good, fmt.Sprintf("The median is %s over %s and %s over %s, wanted %s; before the change it was %s.",
		j.value(median(short)), span(j.spec.Short), j.value(median(long)), span(j.spec.Long), j.objective(), j.value(median(base)))
}

func (j sliJudge) notReady() string {
	return fmt.Sprintf("Only %s of the long window of %s have passed since the warm-up.", span(j.queries.After.Until.Sub(j.queries.After.From)), span(j.spec.Long))
}

// unit says why the values cannot be what the unit says; empty when they can.
func (j sliJudge) unit(after, base []float64) string {
	if strange := "The values do not fit their unit"; j.sli.Unit == unitRatio || j.sli.Unit == unitSeconds {
		for _, v := range slices.Concat(after, base) {
			switch {
			case v < 0:
				return fmt.Sprintf("%s: one is %s, and %s are never negative.", strange, number(v), map[string]string{unitRatio: "ratios", unitSeconds: "seconds"}[j.sli.Unit])
			case j.sli.Unit == unitRatio && v > mostRatio:
				return fmt.Sprintf("%s: one is %s, and a ratio lies between 0 and 1. Is it per cent?", strange, number(v))
			}
		}
	}
	if len(base) == 0 || j.free {
		return ""
	}
	better, worse := median(after), median(base)
	if j.sli.Objective.Comparison == incident.Above {
		better, worse = worse, better
	} else if j.sli.Unit == unitRatio {
		return "" // A ratio may well become next to nothing.
	}
	if better > 0 && worse >= implausible*better {
		return fmt.Sprintf("The median is %s, and it was %s before the change: so much better is another unit rather than a recovery.", j.value(median(after)), j.value(median(base)))
	}
	return ""
}

// The units that say which values are possible.
const (
	unitRatio   = "ratio"
	unitSeconds = "seconds"
)

// counted reports whether events are known, and not only samples.
func (j sliJudge) counted() bool { return j.sli.Bad != "" }

// events says why the counts of events cannot be used; empty when they can.
func (j sliJudge) events() string {
	for _, e := range []struct {
		name   string
		answer Answer
	}{{"bad events", j.m.Bad}, {"all events", j.m.Total}} {
		if e.answer.Failed != "" {
			return fmt.Sprintf("The query of %s got no answer: %s.", e.name, sentence(e.answer.Failed))
		}
		windows := []struct {
			name   string
			series []incident.Series
			r      Range
		}{{"the short window of ", e.answer.After, j.short}, {"the long window of ", e.answer.After, j.queries.After}, {"the baseline window of ", e.answer.Baseline, j.queries.Baseline}}
		for _, w := range windows {
			values, why := j.usable(w.name+e.name, w.series, w.r)
			if why != "" {
				return why
			}
			if slices.Min(values) < 0 {
				return fmt.Sprintf("There are fewer than no events in %s%s.", w.name, e.name)
			}
		}
	}
	all, _ := j.usable("all events", j.m.Total.After, j.short)
	if slices.Max(all) <= 0 {
		return "There are no events in the short window: the service is dead or idle."
	}
	return ""
}

// waiting says why no sample counts yet.
func (j sliJudge) waiting(t Times) string {
	switch {
	case t.Now.IsZero() || t.ActionsDoneAt.IsZero():
		return "It is not known when the rollback finished."
	case j.queries.After.IsZero():
		return fmt.Sprintf("Samples count from %s after the rollback, and %s have passed.", span(j.spec.Warmup), span(max(0, t.Now.Sub(t.ActionsDoneAt))))
	case t.Now.Sub(t.ActionsDoneAt) < j.spec.Warmup+j.spec.Short:
		return fmt.Sprintf("Only %s of the short window of %s have passed since the warm-up.", span(j.queries.After.Until.Sub(j.queries.After.From)), span(j.spec.Short))
	default:
		return ""
	}
}

// usable returns the samples of one window, or says why they do not count.
func (j sliJudge) usable(what string, series []incident.Series, r Range) (values []float64, why string) {
	switch len(series) {
	case 0:
		return nil, fmt.Sprintf("There is no data in %s.", what)
	case 1:
	default:
		return nil, fmt.Sprintf("The query yields %d series in %s, and exactly 1 is needed.", len(series), what)
	}
	s := sample(series[0], r)
	// The grid of the query need not begin with the window, which costs one.
	want := max(1, r.Points()-1)
	switch {
	case s.disordered:
		return nil, fmt.Sprintf("The samples in %s are not in order of time.", what)
	case s.all == 0:
		return nil, fmt.Sprintf("There is no data in %s.", what)
	case s.infinite > 0:
		return nil, fmt.Sprintf("%d of %d samples in %s are infinite.", s.infinite, s.all, what)
	case len(s.values) == 0:
		return nil, fmt.Sprintf("All %d samples in %s are NaN.", s.all, what)
	case r.Until.Sub(s.last) > staleSteps*r.Step:
		return nil, fmt.Sprintf("The last sample in %s is %s older than its end.", what, span(r.Until.Sub(s.last)))
	case s.first.Sub(r.From) > staleSteps*r.Step:
		return nil, fmt.Sprintf("The first sample in %s comes %s after its beginning.", what, span(s.first.Sub(r.From)))
	case len(s.values) < j.sli.MinPoints:
		return nil, fmt.Sprintf("There are %d usable samples in %s, and at least %d are needed.", len(s.values), what, j.sli.MinPoints)
	case float64(len(s.values)) < coverage*float64(want):
		return nil, fmt.Sprintf("There are %d usable samples in %s, and %d are expected.", len(s.values), what, want)
	}
	return s.values, ""
}

// baseline returns the samples of the healthy window, or says why there is
// none.
func (j sliJudge) baseline() (values []float64, why string) {
	if j.queries.Baseline.IsZero() {
		return nil, "It is not known when the harm began, so there is no healthy window to compare with."
	}
	base, why := j.usable("the baseline window", j.m.Signal.Baseline, j.queries.Baseline)
	if why != "" {
		return nil, why
	}
	if share := j.badShare(base); !j.free && !j.counted() && share > 1-metShare {
		return base, fmt.Sprintf("The baseline was not healthy itself: %s of its samples are not %s.", percent(share), j.objective())
	}
	return base, ""
}

// traffic says why the service may be dead or too quiet to tell; empty when it
// is neither, or when the SLI asks for no traffic.
func (j sliJudge) traffic() string {
	if j.sli.Traffic == "" {
		return ""
	}
	if f := j.m.Traffic.Failed; f != "" {
		return fmt.Sprintf("The traffic query got no answer: %s.", sentence(f))
	}
	if j.queries.Baseline.IsZero() {
		return "It is not known when the harm began, so there is no traffic to compare with."
	}
	base, why := j.usable("the baseline window of traffic", j.m.Traffic.Baseline, j.queries.Baseline)
	if why != "" {
		return why
	}
	usual := median(base)
	if usual <= 0 {
		return fmt.Sprintf("Traffic before the change was %s events/s, so there is nothing to compare with.", number(usual))
	}
	floor := j.sli.MinTraffic * usual
	for _, w := range []struct {
		name string
		r    Range
	}{{"the short window of traffic", j.short}, {"the long window of traffic", j.queries.After}} {
		now, why := j.usable(w.name, j.m.Traffic.After, w.r)
		if why != "" {
			return why
		}
		var quiet int
		for _, v := range now {
			if v <= 0 || v < floor {
				quiet++
			}
		}
		if share := float64(quiet) / float64(len(now)); share > 1-metShare {
			return fmt.Sprintf("Traffic is %s events/s in %s, and the least that counts is %s (%s of %s before the change).",
				number(median(now)), w.name, number(floor), percent(j.sli.MinTraffic), number(usual))
		}
	}
	return ""
}

// worseBy is how much worse a is than b: positive is worse.
func (j sliJudge) worseBy(a, b float64) float64 {
	if j.sli.Objective.Comparison == incident.Above {
		return b - a
	}
	return a - b
}

// away is v made worse by d.
func (j sliJudge) away(v, d float64) float64 {
	if j.sli.Objective.Comparison == incident.Above {
		return v - d
	}
	return v + d
}

// badShare is the share of values on the wrong side of the bound. The bound
// itself is on the wrong side.
func (j sliJudge) badShare(values []float64) float64 {
	var bad int
	for _, v := range values {
		if j.worseBy(v, j.sli.Objective.Bound) >= 0 {
			bad++
		}
	}
	return float64(bad) / float64(len(values))
}

func (j sliJudge) violated(name string, length time.Duration, values []float64, share float64) string {
	return fmt.Sprintf("The median over the %s window of %s is %s, wanted %s; %s of the samples violate it.",
		name, span(length), j.value(median(values)), j.objective(), percent(share))
}
