package chart_test

import (
	"bytes"
	"golang.org/x/image/draw"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views/chart"
	"github.com/backout/backout/workflows/incident"
)

var t0 = time.Date(2026, 11, 22, 2, 40, 0, 0, time.UTC)

func at(m float64) time.Time { return t0.Add(time.Duration(m * float64(time.Minute))) }

func TestScratch(t *testing.T) {
	dir := os.Getenv("CHART_OUT")
	worst := shop()
	worst.Service = strings.Repeat("a\u202Eb\x00\n", 20000)
	worst.Incident = "pagerduty/" + strings.Repeat("Q", 128)
	worst.Reason = "שלום עולם abc 123 日本語 العربية 🔥 <b>&amp;</b> " + strings.Repeat("reason ", 5000)
	worst.Panels[0].Name = strings.Repeat("W", 100000)
	worst.Panels[1].Unit = strings.Repeat("widgets", 5000)
	worst.Panels[1].Name = "q\u0301\u0301\u0301\u0301\u0301\u0301 depth"
	worst.Panels = append(worst.Panels, worst.Panels...)
	worst.Marks = append(worst.Marks, worst.Marks...)
	one := shop()
	one.Panels = one.Panels[:1]
	one.Verdict, one.Reason = incident.VerdictNotRecovered, "error ratio: The median over the short window of 2m0s is 9.13 %, wanted < 1 %; 100 % of the samples violate it."
	for i := range one.Panels[0].Series[0].Points {
		p := &one.Panels[0].Series[0].Points[i]
		if p.At.After(at(45)) {
			p.Value = 0.0913
		} else if p.Value < 0.01 && i%3 != 0 {
			p.Value = 0
		}
	}
	gaps := shop()
	gaps.Verdict, gaps.Reason = incident.VerdictUnknown, "error ratio: There is no data in the short window."
	for i := range gaps.Panels[0].Series[0].Points {
		p := &gaps.Panels[0].Series[0].Points[i]
		if p.At.After(at(45)) || p.At.After(at(10)) && p.At.Before(at(12)) {
			p.Value = math.NaN()
		}
	}
	gaps.Panels[1].Series, gaps.Panels[1].Failed = nil, "the system did not answer within 5s"
	gaps.Panels[2].Series = nil
	gaps.Panels = append(gaps.Panels, incident.ChartPanel{Name: "availability", Unit: "ratio", Objective: incident.Objective{Comparison: incident.Above, Bound: 0.999}, Series: []incident.Series{wave(0.9997, 0.43, 0.00001)}})
	far := shop()
	far.Windows = []incident.Span{{From: at(0), Until: at(18)}, {From: at(28), Until: at(62)}}
	far.Before = incident.Span{From: at(0), Until: at(15)}
	far.Marks[0].At = at(16)
	far.Panels[2] = incident.ChartPanel{Name: "queue depth", Unit: "messages", Objective: incident.Objective{Comparison: incident.Below, Bound: 50000}, Series: []incident.Series{wave(1200, 412345, 0.2), wave(3000, 200000, 0.2)}}
	for name, c := range map[string]incident.Chart{"shop": shop(), "worst": worst, "one": one, "gaps": gaps, "far": far} {
		for theme, suffix := range map[chart.Theme]string{chart.Light: "light", chart.Dark: "dark"} {
			b, err := chart.Draw(c, theme)
			require.NoError(t, err)
			if dir != "" {
				require.NoError(t, os.WriteFile(dir+"/"+name+"."+suffix+".png", b, 0o600))
				img, err := png.Decode(bytes.NewReader(b))
				require.NoError(t, err)
				small := image.NewRGBA(image.Rect(0, 0, 400, img.Bounds().Dy()/3))
				draw.CatmullRom.Scale(small, small.Bounds(), img, img.Bounds(), draw.Src, nil)
				f, err := os.Create(dir + "/" + name + "." + suffix + ".400.png")
				require.NoError(t, err)
				require.NoError(t, png.Encode(f, small))
				require.NoError(t, f.Close())
			}
		}
	}
}

func wave(normal, bad, noise float64) incident.Series {
	r := rand.New(rand.NewPCG(1, 2))
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

func shop() incident.Chart {
	return incident.Chart{
		Incident: "pagerduty/Q2XK81", Service: "checkout", Verdict: incident.VerdictRecovered,
		Reason:  "All 3 SLIs meet their objectives and agree with their baselines.",
		Windows: []incident.Span{{From: at(0), Until: at(62)}}, Step: 15 * time.Second,
		Before: incident.Span{From: at(0), Until: at(30)}, During: incident.Span{From: at(31.5), Until: at(45.2)}, After: incident.Span{From: at(47), Until: at(62)},
		Marks: []incident.ChartMark{{incident.MarkChange, at(31)}, {incident.MarkPage, at(35.1)}, {incident.MarkApproval, at(44.2)}, {incident.MarkRollback, at(44.5)}, {incident.MarkVerdict, at(62)}},
		Panels: []incident.ChartPanel{
			{Name: "error ratio", Unit: "ratio", Objective: incident.Objective{Comparison: incident.Below, Bound: 0.01}, Series: []incident.Series{wave(0.0012, 0.14, 0.3)},
				Result: &incident.SLIResult{Verdict: incident.VerdictRecovered, Baseline: new(0.0012), During: new(0.14), After: new(0.0011)}},
			{Name: "latency p99", Unit: "seconds", Objective: incident.Objective{Comparison: incident.Below, Bound: 0.5}, Series: []incident.Series{wave(0.2, 1.9, 0.1)},
				Result: &incident.SLIResult{Verdict: incident.VerdictRecovered, Baseline: new(0.2), During: new(1.9), After: new(0.21)}},
			{Name: "saturation", Unit: "ratio", Objective: incident.Objective{Comparison: incident.Below, Bound: 0.8}, Series: []incident.Series{wave(0.42, 0.97, 0.02)},
				Result: &incident.SLIResult{Verdict: incident.VerdictRecovered, Baseline: new(0.42), During: new(0.97), After: new(0.43)}},
		},
	}
}
