package seriesfile_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery/seriesfile"
)

// shape is a kind of signal: what it does at each step, given what it did before.
type shape struct {
	name string
	// noise is the usual standard deviation around what is expected.
	noise float64
	make  func(r *rand.Rand) func(i int) float64
}

func shapes() []shape {
	white := func(r *rand.Rand, sd float64) func(int) float64 {
		return func(int) float64 { return sd * r.NormFloat64() }
	}
	memory := func(r *rand.Rand, rho, sd float64) func(int) float64 {
		v := sd * r.NormFloat64()
		return func(int) float64 {
			v = rho*v + math.Sqrt(1-rho*rho)*sd*r.NormFloat64()
			return v
		}
	}
	return []shape{
		{"white noise", 5, func(r *rand.Rand) func(int) float64 {
			n := white(r, 5)
			return func(i int) float64 { return 100 + n(i) }
		}},
		{"memory of 0.8", 5, func(r *rand.Rand) func(int) float64 {
			n := memory(r, 0.8, 5)
			return func(i int) float64 { return 100 + n(i) }
		}},
		{"memory of 0.97", 5, func(r *rand.Rand) func(int) float64 {
			n := memory(r, 0.97, 5)
			return func(i int) float64 { return 100 + n(i) }
		}},
		{"season", 5, func(r *rand.Rand) func(int) float64 {
			n := white(r, 5)
			return func(i int) float64 { return 100 + 40*math.Sin(2*math.Pi*float64(i)/120) + n(i) }
		}},
		{"season with memory", 5, func(r *rand.Rand) func(int) float64 {
			n := memory(r, 0.7, 5)
			return func(i int) float64 { return 100 + 40*math.Sin(2*math.Pi*float64(i)/120) + n(i) }
		}},
		{"trend", 5, func(r *rand.Rand) func(int) float64 {
			n := white(r, 5)
			return func(i int) float64 { return 100 + 0.1*float64(i) + n(i) }
		}},
		{"heavy tails", 5, func(r *rand.Rand) func(int) float64 {
			return func(int) float64 { return 20 * math.Exp(0.5*r.NormFloat64()) }
		}},
		{"random walk", 5, func(r *rand.Rand) func(int) float64 {
			v := 100.0
			return func(int) float64 { v += r.NormFloat64(); return v }
		}},
	}
}

// harm is what a change does to a signal.
type harm struct {
	name string
	do   func(r *rand.Rand, s shape, i int, v float64) float64
}

func harms() []harm {
	return []harm{
		{"nothing", func(_ *rand.Rand, _ shape, _ int, v float64) float64 { return v }},
		{"shift of 2 sd", func(_ *rand.Rand, s shape, _ int, v float64) float64 { return v + 2*s.noise }},
		{"shift of 5 sd", func(_ *rand.Rand, s shape, _ int, v float64) float64 { return v + 5*s.noise }},
		{"shift of 20 sd", func(_ *rand.Rand, s shape, _ int, v float64) float64 { return v + 20*s.noise }},
		{"drop of 5 sd", func(_ *rand.Rand, s shape, _ int, v float64) float64 { return v - 5*s.noise }},
		{"spikes of 20 sd", func(r *rand.Rand, s shape, _ int, v float64) float64 {
			if r.Float64() < 0.4 {
				return v + 20*s.noise
			}
			return v
		}},
	}
}

func TestPrint(t *testing.T) {
	const runs = 40
	for _, size := range [][2]int{{600, 60}, {200, 60}, {60, 20}, {300, 300}} {
		fmt.Printf("before %d after %d\n", size[0], size[1])
		for _, s := range shapes() {
			for _, h := range harms() {
				counts := map[incident.Verdict]int{}
				why := ""
				for run := range runs {
					r := rand.New(rand.NewPCG(uint64(run), 7))
					value := s.make(r)
					start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
					var f seriesfile.File
					for i := range size[0] + size[1] {
						v := value(i)
						if i >= size[0] {
							v = h.do(r, s, i, v)
						}
						f.Rows = append(f.Rows, seriesfile.Row{At: start.Add(time.Duration(i) * time.Minute), Value: v, Total: math.NaN(), Bad: math.NaN(), Traffic: math.NaN()})
					}
					rep, err := seriesfile.Judge(f, seriesfile.Question{Change: f.Rows[size[0]].At})
					require.NoError(t, err)
					counts[rep.Verdict]++
					if rep.Verdict == incident.VerdictUnknown {
						why = rep.Reason
					}
				}
				fmt.Printf("%-20s %-16s good %3d bad %3d unknown %3d  %s\n", s.name, h.name, counts[incident.VerdictRecovered], counts[incident.VerdictNotRecovered], counts[incident.VerdictUnknown], why)
			}
		}
	}
}
