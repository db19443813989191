package recovery_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// The simulation watches services as the product does: a look every step from the
// end of the warm-up to the deadline. BACKOUT_SIMULATION_RUNS makes it longer, and
// BACKOUT_SIMULATION_TABLE names a file for its table.
const (
	simulationSeed = 20260301
	simulationRuns = 5
	// promised is the bound that the judge keeps in each direction.
	promised = 0.05
)

// trial is one run of one cell: what was measured, and what to judge by.
type trial struct {
	spec  incident.RecoverySpec
	times recovery.Times
	// baseline and after are the signal by steps, with events where they are known.
	baseline, after []step3
}

// step3 is one step: the signal, and the events of it.
type step3 struct{ value, bad, all float64 }

func simulated(events bool, bound float64) incident.RecoverySpec {
	sli := incident.SLI{Name: "signal", Query: "q", MinPoints: 3, Tolerance: 0.1, Objective: incident.Objective{Comparison: incident.Below, Bound: bound}}
	if events {
		sli.Unit, sli.Bad, sli.Total = "ratio", "b", "t"
	}
	return incident.RecoverySpec{
		SLIs: []incident.SLI{sli}, Warmup: 30 * time.Second, Short: time.Minute, Long: 5 * time.Minute, Step: 15 * time.Second,
		BaselineLength: 10 * time.Minute, BaselineGap: time.Minute, Deadline: 15 * time.Minute,
	}
}

// rule says at each look whether a service is recovered, bad, or nobody knows.
type rule struct {
	name string
	look func(tr trial, n int) incident.Verdict
}

// points turns steps into a series from a moment on.
func points(from time.Time, steps []step3, value func(step3) float64) []incident.Series {
	var s incident.Series
	for i, v := range steps {
		s.Points = append(s.Points, incident.Point{At: from.Add(time.Duration(i) * 15 * time.Second), Value: value(v)})
	}
	return []incident.Series{s}
}

// ours is the judge of this package.
func ours(tr trial, n int) incident.Verdict {
	at := tr.times
	at.Now = at.ActionsDoneAt.Add(tr.spec.Warmup + time.Duration(n-1)*tr.spec.Step)
	q := recovery.Windows(tr.spec, at)
	answer := func(value func(step3) float64) recovery.Answer {
		return recovery.Answer{Baseline: points(q.Baseline.From, tr.baseline, value), After: points(q.Counted.From, tr.after[:n], value)}
	}
	m := recovery.Measurement{Name: "signal", Signal: answer(func(s step3) float64 { return s.value })}
	if tr.spec.SLIs[0].Bad != "" {
		m.Bad = answer(func(s step3) float64 { return s.bad / 15 })
		m.Total = answer(func(s step3) float64 { return s.all / 15 })
	}
	return recovery.Judge(tr.spec, recovery.Input{Times: at, SLIs: []recovery.Measurement{m}}).Verdict
}

func values(steps []step3) []float64 {
	out := make([]float64, len(steps))
	for i, s := range steps {
		out[i] = s.value
	}
	return out
}

func meanOf(v []float64) (mean, sd float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		sd += (x - mean) * (x - mean) / float64(len(v)-1)
	}
	return mean, math.Sqrt(sd)
}

// The competitors decide at every look once the long window is full: what they do
// not call bad they call recovered.
func competitors() []rule {
	of := func(bad bool) incident.Verdict {
		if bad {
			return incident.VerdictNotRecovered
		}
		return incident.VerdictRecovered
	}
	const short, long = 4, 20
	return []rule{
		{"this judge", ours},
		{"fixed threshold", func(tr trial, n int) incident.Verdict {
			if n <= long {
				return incident.VerdictUnknown
			}
			is, _ := meanOf(values(tr.after[n-short : n]))
			return of(is >= tr.spec.SLIs[0].Objective.Bound)
		}},
		{"mean plus 3 sigma", func(tr trial, n int) incident.Verdict {
			if n <= long {
				return incident.VerdictUnknown
			}
			was, sd := meanOf(values(tr.baseline))
			is, _ := meanOf(values(tr.after[n-short : n]))
			return of(is > was+3*sd)
		}},
		// Kayenta's judge: a rank test at 98 % together with an effect size, here the
		// ratio of means above the tolerance.
		// Source: https://github.com/spinnaker/kayenta (NetflixACAJudge, MannWhitneyClassifier).
		{"Kayenta", func(tr trial, n int) incident.Verdict {
			if n <= long {
				return incident.VerdictUnknown
			}
			base, now := values(tr.baseline), values(tr.after[n-long:n])
			was, _ := meanOf(base)
			is, _ := meanOf(now)
			return of(rankP(now, base) < 0.01 && is > 1.1*was)
		}},
	}
}

// rankP is the one-sided p-value of the rank test by its normal approximation.
func rankP(a, b []float64) float64 {
	var u float64
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	all := slices.Sorted(slices.Values(slices.Concat(a, b)))
	var ties float64
	for i := 0; i < len(all); {
		k := i
		for k < len(all) && all[k] == all[i] {
			k++
		}
		t := float64(k - i)
		ties += t*t*t - t
		i = k
	}
	variance := n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1)))
	if variance <= 0 {
		return 1
	}
	return math.Erfc((u-n*m/2-0.5)/math.Sqrt(2*variance)) / 2
}

// cell is one kind of service.
type cell struct {
	name string
	make func(r *rand.Rand, bad bool) trial
}

const (
	baselineSteps = 41
	watchSteps    = 57
)

func simulationTimes() recovery.Times {
	return recovery.Times{ChangedAt: changed, OnsetAt: changed, ActionsDoneAt: done}
}

// binomial draws how many of n events are bad.
func binomial(r *rand.Rand, n int, p float64) float64 {
	if float64(n)*p > 200 {
		mean := float64(n) * p
		return min(float64(n), max(0, math.Round(mean+math.Sqrt(mean*(1-p))*r.NormFloat64())))
	}
	if n > 500 {
		// Poisson, by waiting times.
		var k, sum float64
		for sum = r.ExpFloat64(); sum < float64(n)*p; sum += r.ExpFloat64() {
			k++
		}
		return min(k, float64(n))
	}
	var k float64
	for range n {
		if r.Float64() < p {
			k++
		}
	}
	return k
}

func cells() []cell {
	var out []cell
	for _, p := range []float64{0.001, 0.01, 0.1} {
		for _, traffic := range []struct {
			name   string
			events int
		}{{"2/s", 30}, {"50/s", 750}, {"1000/s", 15000}} {
			out = append(out, cell{fmt.Sprintf("%g %% errors at %s", 100*p, traffic.name), func(r *rand.Rand, bad bool) trial {
				tr := trial{spec: simulated(true, 2*p), times: simulationTimes()}
				draw := func(p float64) step3 {
					b := binomial(r, traffic.events, p)
					return step3{b / float64(traffic.events), b, float64(traffic.events)}
				}
				for range baselineSteps {
					tr.baseline = append(tr.baseline, draw(p))
				}
				after := p
				if bad {
					after = 2.5 * p
				}
				for range watchSteps {
					tr.after = append(tr.after, draw(after))
				}
				return tr
			}})
		}
	}
	for _, g := range []struct {
		name   string
		memory float64
		season bool
	}{{"latency, white noise", 0, false}, {"latency, memory of 0.8", 0.8, false}, {"latency, season", 0.3, true}} {
		out = append(out, cell{g.name, func(r *rand.Rand, bad bool) trial {
			tr := trial{spec: simulated(false, 0.5), times: simulationTimes()}
			const level, sd = 0.2, 0.02
			v := sd * r.NormFloat64()
			phase := r.Float64() * 2 * math.Pi
			next := func(i int) step3 {
				v = g.memory*v + math.Sqrt(1-g.memory*g.memory)*sd*r.NormFloat64()
				x := level + v
				if g.season {
					x += 2 * sd * math.Sin(phase+2*math.Pi*float64(i)/40)
				}
				return step3{value: x}
			}
			for i := range baselineSteps {
				tr.baseline = append(tr.baseline, next(i))
			}
			for i := range watchSteps {
				s := next(baselineSteps + 24 + i)
				if bad {
					s.value += 8 * sd
				}
				tr.after = append(tr.after, s)
			}
			return tr
		}})
	}
	return out
}

// wilson is the interval of a rate that holds with 95 %.
// Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927),
// 209-212.
func wilson(k, n int) (low, high float64) {
	const z = 1.96
	p, m := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, mid-half), min(1, mid+half)
}

// outcome counts over the runs of one cell under one rule.
type outcome struct {
	runs, falseGood, falseBad, good, bad int
}

func simulate(c cell, rules []rule, runs int) []outcome {
	out := make([]outcome, len(rules))
	for run := range runs {
		r := rand.New(rand.NewPCG(simulationSeed, uint64(run)))
		well, sick := c.make(r, false), c.make(r, true)
		for i, rule := range rules {
			ever := func(tr trial) (good, bad bool) {
				for n := 1; n <= watchSteps; n++ {
					switch rule.look(tr, n) {
					case incident.VerdictRecovered:
						good = true
					case incident.VerdictNotRecovered:
						bad = true
					case incident.VerdictUnknown:
					}
				}
				return good, bad
			}
			o := &out[i]
			o.runs++
			good, bad := ever(well)
			count(&o.good, good)
			count(&o.falseBad, bad)
			good, bad = ever(sick)
			count(&o.falseGood, good)
			count(&o.bad, bad)
		}
	}
	return out
}

func count(into *int, is bool) {
	if is {
		*into++
	}
}

// TestErrorsWhenLookedAtRepeatedly watches services that are well, and services that
// are 2.5 times as bad as before, for 57 looks each. The judge keeps its promise
// in every cell, and nobody else does.
func TestErrorsWhenLookedAtRepeatedly(t *testing.T) {
	t.Parallel()
	runs := simulationRuns
	if s := os.Getenv("BACKOUT_SIMULATION_RUNS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		runs = n
	}
	t.Logf("seed %d, %d runs", simulationSeed, runs)
	rules := competitors()
	var table strings.Builder
	fmt.Fprintf(&table, "Seed %d, %d runs a cell, %d looks a run. Rates with 95 %% Wilson intervals, in per cent.\n\n", simulationSeed, runs, watchSteps)
	table.WriteString("| service | rule | false recovered | false not recovered | recovered when well | not recovered when bad |\n|---|---|---|---|---|---|\n")
	worst := make([]outcome, len(rules))
	for _, c := range cells() {
		for i, o := range simulate(c, rules, runs) {
			rate := func(k int) string {
				low, high := wilson(k, o.runs)
				return fmt.Sprintf("%.1f (%.1f to %.1f)", 100*float64(k)/float64(o.runs), 100*low, 100*high)
			}
			fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", c.name, rules[i].name, rate(o.falseGood), rate(o.falseBad), rate(o.good), rate(o.bad))
			worst[i].runs += o.runs
			worst[i].falseGood += o.falseGood
			worst[i].falseBad += o.falseBad
			if i > 0 {
				continue
			}
			low, _ := wilson(o.falseGood, o.runs)
			require.LessOrEqual(t, low, promised, "%s: false recovered", c.name)
			low, _ = wilson(o.falseBad, o.runs)
			require.LessOrEqual(t, low, promised, "%s: false not recovered", c.name)
		}
	}
	t.Log("\n" + table.String())
	for i := range rules[1:] {
		require.LessOrEqual(t, worst[0].falseGood, worst[i+1].falseGood, "false recovered, against %s", rules[i+1].name)
		require.LessOrEqual(t, worst[0].falseBad, worst[i+1].falseBad, "false not recovered, against %s", rules[i+1].name)
	}
	low, _ := wilson(worst[0].falseGood+worst[0].falseBad, 2*worst[0].runs)
	require.LessOrEqual(t, low, promised)
	if path := os.Getenv("BACKOUT_SIMULATION_TABLE"); path != "" {
		require.NoError(t, os.WriteFile(path, []byte(table.String()), 0o600))
	}
}
