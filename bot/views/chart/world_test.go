package chart_test

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/backout/backout/workflows/incident"
)

var began = time.Date(2026, 11, 22, 2, 40, 0, 0, time.UTC)

// at is a moment of the run, in minutes.
func at(minutes float64) time.Time { return began.Add(time.Duration(minutes * float64(time.Minute))) }

// The run: a change, which starts to hurt half a minute later and takes two minutes to
// reach all traffic, a page, and a rollback that drains within a minute.
const (
	changed  = 31.0
	paged    = 35.1
	approved = 44.2
	rolled   = 44.5
	finished = 45.2
	judged   = 62.0
)

// harm is how much of the traffic the change hurts, between 0 and 1.
func harm(minute float64) float64 {
	return min(max((minute-changed-0.5)/2, 0), 1) * min(max((finished+0.8-minute)/0.8, 0), 1)
}

// measured is a series of one sample each 15 seconds.
func measured(value func(minute, harm float64, r *rand.Rand) float64) incident.Series {
	r := rand.New(rand.NewPCG(7, 11))
	var s incident.Series
	for m := 0.0; m <= judged; m += 0.25 {
		s.Points = append(s.Points, incident.Point{At: at(m), Value: value(m, harm(m), r)})
	}
	return s
}

// errorRatio counts failed ones of some 900 requests for each sample.
func errorRatio(_, harm float64, r *rand.Rand) float64 {
	requests := 900 + int(60*r.NormFloat64())
	failed := 0
	for range requests {
		if r.Float64() < 0.0012+0.14*harm {
			failed++
		}
	}
	return float64(failed) / float64(requests)
}

func latency(_, harm float64, r *rand.Rand) float64 {
	return (0.19 + 1.6*harm) * math.Exp(0.09*r.NormFloat64())
}

func saturation(minute, harm float64, r *rand.Rand) float64 {
	return min(0.42+0.03*math.Sin(minute/9)+0.55*harm+0.012*r.NormFloat64(), 1)
}

func below(bound float64) incident.Objective {
	return incident.Objective{Comparison: incident.Below, Bound: bound}
}

func result(v incident.Verdict, before, during, after float64) *incident.SLIResult {
	return &incident.SLIResult{Verdict: v, Baseline: &before, During: &during, After: &after}
}

// panels are the SLIs of the run by their names.
func panels() map[string]incident.ChartPanel {
	return map[string]incident.ChartPanel{
		"error-ratio": {
			Name: "error ratio", Unit: "ratio", Objective: below(0.01), Series: []incident.Series{measured(errorRatio)},
			Result: result(incident.VerdictRecovered, 0.0012, 0.139, 0.0011),
		},
		"latency": {
			Name: "latency p99", Unit: "seconds", Objective: below(0.5), Series: []incident.Series{measured(latency)},
			Result: result(incident.VerdictRecovered, 0.19, 1.78, 0.19),
		},
		"saturation": {
			Name: "saturation", Unit: "ratio", Objective: below(0.8), Series: []incident.Series{measured(saturation)},
			Result: result(incident.VerdictRecovered, 0.42, 0.96, 0.43),
		},
	}
}

// run is the chart of some of the panels.
func run(names ...string) incident.Chart {
	c := incident.Chart{
		Incident: "pagerduty/Q2XK81", Service: "checkout", Verdict: incident.VerdictRecovered,
		Reason:  "error ratio: The median is 0.11 % over 2m0s and 0.11 % over 10m0s, wanted < 1 %; before the change it was 0.12 %.",
		Windows: []incident.Span{{From: at(0), Until: at(judged)}}, Step: 15 * time.Second,
		Before: incident.Span{From: at(0), Until: at(30)}, During: incident.Span{From: at(31.5), Until: at(finished)}, After: incident.Span{From: at(47), Until: at(judged)},
		Marks: []incident.ChartMark{
			{Kind: incident.MarkChange, At: at(changed)},
			{Kind: incident.MarkPage, At: at(paged)},
			{Kind: incident.MarkApproval, At: at(approved)},
			{Kind: incident.MarkRollback, At: at(rolled)},
			{Kind: incident.MarkVerdict, At: at(judged)},
		},
	}
	all := panels()
	for _, n := range names {
		c.Panels = append(c.Panels, all[n])
	}
	if len(names) > 1 {
		c.Reason = "All 3 SLIs meet their objectives and agree with their baselines."
	}
	return c
}
