package recovery_test

import (
	"math"
	"time"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

var (
	nan = math.NaN()
	inf = math.Inf(1)

	changed = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	onset   = changed.Add(time.Minute)
	done    = onset.Add(5 * time.Minute)
	// judged is when the long window has just filled.
	judged = done.Add(warmup + long)
)

const (
	warmup = 30 * time.Second
	short  = time.Minute
	long   = 5 * time.Minute
	step   = 5 * time.Second
)

// shape is a kind of SLI: what healthy and bad look like.
type shape struct {
	name          string
	sli           incident.SLI
	healthy, sick float64
}

func shapes() []shape {
	base := incident.SLI{Query: "q", Traffic: "t", MinTraffic: 0.5, MinPoints: 5, Tolerance: 0.2}
	errors, latency, success := base, base, base
	errors.Name, errors.Unit, errors.Objective = "error ratio", "", incident.Objective{Comparison: incident.Below, Bound: 0.01}
	latency.Name, latency.Unit, latency.Objective = "latency p99", "s", incident.Objective{Comparison: incident.Below, Bound: 0.5}
	success.Name, success.Unit, success.Objective = "orders", "orders/s", incident.Objective{Comparison: incident.Above, Bound: 10}
	return []shape{
		{name: "error ratio", sli: errors, healthy: 0.001, sick: 0.2},
		{name: "error ratio of zero", sli: errors, healthy: 0, sick: 0.2},
		{name: "latency", sli: latency, healthy: 0.2, sick: 2},
		{name: "orders", sli: success, healthy: 40, sick: 1},
	}
}

func specOf(slis ...incident.SLI) incident.RecoverySpec {
	return incident.RecoverySpec{
		SLIs: slis, Warmup: warmup, Short: short, Long: long, Step: step,
		BaselineLength: 10 * time.Minute, BaselineGap: time.Minute, Hold: 2 * time.Minute, Deadline: 30 * time.Minute,
	}
}

func times() recovery.Times {
	return recovery.Times{ChangedAt: changed, OnsetAt: onset, ActionsDoneAt: done, Now: judged}
}

// series is one series over a range, its values given by index.
func series(r recovery.Range, value func(i int) float64) []incident.Series {
	s := incident.Series{Labels: map[string]string{"service": "checkout"}}
	for i, at := 0, r.From; !at.After(r.Until); i, at = i+1, at.Add(r.Step) {
		s.Points = append(s.Points, incident.Point{At: at, Value: value(i)})
	}
	return []incident.Series{s}
}

// wavy varies a level by two per cent, as real signals do.
func wavy(level float64) func(int) float64 {
	return func(i int) float64 { return level * (1 + 0.02*math.Sin(float64(i))) }
}

func flat(level float64) func(int) float64 { return func(int) float64 { return level } }

// healthyInput is an incident that was rolled back and is well.
func healthyInput(spec incident.RecoverySpec, t recovery.Times, shapes ...shape) recovery.Input {
	q := recovery.Windows(spec, t)
	in := recovery.Input{Times: t}
	for _, s := range shapes {
		in.SLIs = append(in.SLIs, recovery.Measurement{
			Name: s.sli.Name,
			Signal: recovery.Answer{
				Baseline: series(q.Baseline, wavy(s.healthy)), During: series(q.During, wavy(s.sick)), After: series(q.After, wavy(s.healthy)),
			},
			Traffic: recovery.Answer{
				Baseline: series(q.Baseline, wavy(100)), During: series(q.During, wavy(90)), After: series(q.After, wavy(95)),
			},
		})
	}
	return in
}
