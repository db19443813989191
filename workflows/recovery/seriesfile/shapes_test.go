package seriesfile_test

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
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

// TestShapes judges signals of many kinds to which nothing was done, and to which
// something plainly was. BACKOUT_SIMULATION_RUNS makes it longer.
func TestShapes(t *testing.T) {
	t.Parallel()
	const before, after, seed = 600, 60, 7
	runs := 2
	if s := os.Getenv("BACKOUT_SIMULATION_RUNS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		runs = n
	}
	t.Logf("seed %d, %d runs", seed, runs)
	// A quarter in a few runs is within chance of one in twenty.
	few := max(1, runs/10)
	for _, s := range shapes() {
		plain := s.name == "white noise" || s.name == "memory of 0.8" || s.name == "season" || s.name == "season with memory" || s.name == "heavy tails"
		for _, h := range harms() {
			t.Run(s.name+"/"+h.name, func(t *testing.T) {
				t.Parallel()
				found := make(map[incident.Verdict]int)
				for run := range runs {
					r := rand.New(rand.NewPCG(uint64(run), seed))
					value := s.make(r)
					var f seriesfile.File
					for i := range before + after {
						v := value(i)
						if i >= before {
							v = h.do(r, s, i, v)
						}
						f.Rows = append(f.Rows, seriesfile.Row{At: noon.Add(time.Duration(i) * time.Minute), Value: v, Total: math.NaN(), Bad: math.NaN(), Traffic: math.NaN()})
					}
					report, err := seriesfile.Judge(f, seriesfile.Question{Change: f.Rows[before].At})
					require.NoError(t, err)
					found[report.Verdict]++
				}
				t.Logf("%v", found)
				if h.name == "nothing" {
					require.LessOrEqual(t, found[incident.VerdictNotRecovered], few, "it cries wolf")
					if plain {
						require.GreaterOrEqual(t, found[incident.VerdictRecovered], runs/2)
					}
					return
				}
				if plain {
					require.Zero(t, found[incident.VerdictRecovered], "a plain harm is overlooked")
				}
				if plain && h.name == "shift of 20 sd" {
					require.GreaterOrEqual(t, found[incident.VerdictNotRecovered], runs-few)
				}
			})
		}
	}
}
