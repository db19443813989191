package chart_test

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views/chart"
	"github.com/backout/backout/workflows/incident"
)

var t0 = time.Date(2026, 11, 22, 2, 40, 0, 0, time.UTC)

func TestScratch(t *testing.T) {
	dir := os.Getenv("CHART_OUT")
	_ = rand.New
	for name, c := range map[string]incident.Chart{"shop": shop()} {
		for theme, suffix := range map[chart.Theme]string{chart.Light: "light", chart.Dark: "dark"} {
			b, err := chart.Draw(c, theme)
			require.NoError(t, err)
			if dir != "" {
				require.NoError(t, os.WriteFile(dir+"/"+name+"."+suffix+".png", b, 0o600))
			}
		}
	}
}

func shop() incident.Chart {
	r := rand.New(rand.NewPCG(1, 2))
	at := func(m float64) time.Time { return t0.Add(time.Duration(m * float64(time.Minute))) }
	series := func(normal, bad, noise float64) incident.Series {
		var s incident.Series
		for m := 0.0; m <= 62; m += 0.25 {
			v := normal
			if m > 31.5 && m < 45.3 {
				v = bad
			}
			s.Points = append(s.Points, incident.Point{At: at(m), Value: math.Max(0, v*(1+noise*r.NormFloat64()))})
		}
		return s
	}
	return incident.Chart{
		Incident: "pagerduty/Q2XK81", Service: "checkout", Verdict: incident.VerdictRecovered,
		Reason:  "All 3 SLIs meet their objectives and agree with their baselines.",
		Windows: []incident.Span{{From: at(0), Until: at(62)}}, Step: 15 * time.Second,
		Before: incident.Span{From: at(0), Until: at(30)}, During: incident.Span{From: at(31.5), Until: at(45.2)}, After: incident.Span{From: at(47), Until: at(62)},
		Marks: []incident.ChartMark{{incident.MarkChange, at(31)}, {incident.MarkPage, at(35.1)}, {incident.MarkApproval, at(44.2)}, {incident.MarkRollback, at(44.5)}, {incident.MarkVerdict, at(62)}},
		Panels: []incident.ChartPanel{
			{Name: "error ratio", Unit: "ratio", Objective: incident.Objective{Comparison: incident.Below, Bound: 0.01}, Series: []incident.Series{series(0.0012, 0.14, 0.3)},
				Result: &incident.SLIResult{Verdict: incident.VerdictRecovered, Baseline: new(0.0012), During: new(0.14), After: new(0.0011)}},
			{Name: "latency p99", Unit: "seconds", Objective: incident.Objective{Comparison: incident.Below, Bound: 0.5}, Series: []incident.Series{series(0.2, 1.9, 0.1)},
				Result: &incident.SLIResult{Verdict: incident.VerdictRecovered, Baseline: new(0.2), During: new(1.9), After: new(0.21)}},
			{Name: "saturation", Unit: "ratio", Objective: incident.Objective{Comparison: incident.Below, Bound: 0.8}, Series: []incident.Series{series(0.42, 0.97, 0.02)},
				Result: &incident.SLIResult{Verdict: incident.VerdictRecovered, Baseline: new(0.42), During: new(0.97), After: new(0.43)}},
		},
	}
}
