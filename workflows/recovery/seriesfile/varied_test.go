package seriesfile_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/backout/backout/workflows/recovery/seriesfile"
)

// telemetry is a kind of series: how it is sampled, and what it does by itself.
type telemetry struct {
	name string
	step time.Duration
	// before, during and after are how many samples lie before the change, between
	// change and rollback, and after the rollback.
	before, during, after int
	// missing is the share of samples that are not there, jitter by what share of a
	// step the others come early or late.
	missing, jitter float64
	// sigma is the standard deviation of the noise around what is expected: after
	// season, trend and level are taken out.
	sigma float64
	// level is about where the signal is; zero: an outage cannot be told from health.
	level float64
	// round is the distance of the values that there can be; zero: any value.
	round float64
	// least and most are the values beyond which it cannot go, unless both are zero.
	least, most float64
	// only names the kinds of harm that can be seen in it; empty: all.
	only string
	// make returns what is expected at a step, and the noise on top of it. by is what
	// the harm adds to what is expected, for signals whose noise depends on it.
	make func(r *rand.Rand) func(i int, by float64) (expected, noise float64)
}

// steady is white noise with a deviation of one around what is expected.
func steady(expected func(i int) float64) func(r *rand.Rand) func(int, float64) (float64, float64) {
	return func(r *rand.Rand) func(int, float64) (float64, float64) {
		return func(i int, _ float64) (float64, float64) { return expected(i), r.NormFloat64() }
	}
}

// remembering is noise with a deviation of one and a memory.
func remembering(rho float64, expected func(i int) float64) func(r *rand.Rand) func(int, float64) (float64, float64) {
	return func(r *rand.Rand) func(int, float64) (float64, float64) {
		v := r.NormFloat64()
		return func(i int, _ float64) (float64, float64) {
			v = rho*v + math.Sqrt(1-rho*rho)*r.NormFloat64()
			return expected(i), v
		}
	}
}

// wave is a season with a length in steps, from a phase on.
func wave(i, length, phase int) float64 {
	return math.Sin(2 * math.Pi * float64(i+phase) / float64(length))
}

// working is one in working hours of weekdays and less at night and at weekends, at
// so many steps a day.
func working(i, day int) float64 {
	hour, weekday := float64(i%day)*24/float64(day), i/day%7
	switch {
	case weekday >= 5:
		return 0.25
	case hour >= 9 && hour < 17:
		return 1
	case hour >= 8 && hour < 18:
		return 0.6
	default:
		return 0.3
	}
}

func poisson(r *rand.Rand, mean float64) float64 {
	if mean <= 0 {
		return 0
	}
	k := -1.0
	for sum := 0.0; sum < mean; sum += r.ExpFloat64() {
		k++
	}
	return k
}

func student(r *rand.Rand, degrees int) float64 {
	var sum float64
	for range degrees {
		v := r.NormFloat64()
		sum += v * v
	}
	return r.NormFloat64() / math.Sqrt(sum/float64(degrees))
}

func telemetries() []telemetry {
	const minute, hour = time.Minute, time.Hour
	flat := func(int) float64 { return 100 }
	counts := func(mean func(i int) float64) func(r *rand.Rand) func(int, float64) (float64, float64) {
		return func(r *rand.Rand) func(int, float64) (float64, float64) {
			return func(i int, by float64) (float64, float64) {
				m := max(0, mean(i)+by)
				return mean(i), poisson(r, m) - m
			}
		}
	}
	return []telemetry{
		{name: "white noise, 100 points", step: minute, before: 60, during: 15, after: 25, sigma: 1, level: 100, make: steady(flat)},
		{name: "white noise, 300 points", step: 5 * minute, before: 200, during: 40, after: 60, sigma: 1, level: 100, make: steady(flat)},
		{name: "white noise around zero", step: minute, before: 300, during: 30, after: 60, sigma: 1, make: steady(func(int) float64 { return 0 })},
		{name: "white noise, 10,000 points", step: minute, before: 9000, during: 300, after: 700, sigma: 1, level: 100, make: steady(flat)},
		{name: "memory of 0.6", step: minute, before: 600, during: 60, after: 90, sigma: 1, level: 100, make: remembering(0.6, flat)},
		{name: "memory of 0.9", step: minute, before: 1200, during: 60, after: 120, sigma: 1, level: 100, make: remembering(0.9, flat)},
		{name: "daily season", step: 5 * minute, before: 1440, during: 36, after: 72, sigma: 1, level: 100, make: steady(func(i int) float64 { return 100 + 20*wave(i, 288, 0) })},
		{name: "daily season with memory, minutes", step: minute, before: 4320, during: 60, after: 180, sigma: 1, level: 100, make: remembering(0.7, func(i int) float64 { return 100 + 15*wave(i, 1440, 500) + 5*wave(i, 720, 100) })},
		{name: "day and week, hours", step: hour, before: 840, during: 6, after: 24, sigma: 1, level: 60, make: steady(func(i int) float64 { return 60 + 10*wave(i, 24, 3) + 8*wave(i, 168, 60) })},
		{name: "working hours, 3 weeks", step: 5 * minute, before: 6048, during: 24, after: 72, sigma: 1, level: 60, make: steady(func(i int) float64 { return 20 + 60*working(i, 288) })},
		{name: "working hours, hours", step: hour, before: 672, during: 8, after: 30, sigma: 1, level: 60, make: steady(func(i int) float64 { return 20 + 60*working(i, 24) })},
		{name: "season of two cycles", step: 5 * minute, before: 620, during: 24, after: 60, sigma: 1, level: 100, make: steady(func(i int) float64 { return 100 + 15*wave(i, 288, 40) })},
		{name: "season longer than the baseline", step: minute, before: 300, during: 20, after: 40, sigma: 1, level: 100, make: steady(func(i int) float64 { return 100 + 20*wave(i, 1440, 0) })},
		{name: "linear trend", step: minute, before: 400, during: 30, after: 60, sigma: 1, level: 100, make: steady(func(i int) float64 { return 100 + 0.1*float64(i) })},
		{name: "falling trend", step: 5 * minute, before: 250, during: 20, after: 40, sigma: 1, level: 100, make: steady(func(i int) float64 { return 150 - 0.1*float64(i) })},
		{name: "exponential trend", step: hour, before: 300, during: 20, after: 48, sigma: 3, level: 100, make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			return func(i int, _ float64) (float64, float64) {
				x := 20 * math.Exp(0.005*float64(i))
				return x, 0.03 * x * r.NormFloat64()
			}
		}},
		{name: "trend and season", step: 5 * minute, before: 1440, during: 36, after: 72, sigma: 1, level: 100, make: steady(func(i int) float64 { return 100 + 0.03*float64(i) + 10*wave(i, 288, 100) })},
		{name: "random walk", step: minute, before: 600, during: 30, after: 60, sigma: 8, level: 300, make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			v := 300.0
			return func(int, float64) (float64, float64) { v += r.NormFloat64(); return v, 0 }
		}},
		{name: "heavy tails (t with 3 degrees)", step: minute, before: 500, during: 40, after: 60, sigma: 1.7, level: 100, make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			return func(int, float64) (float64, float64) { return 100, student(r, 3) }
		}},
		{name: "log-normal latency", step: minute, before: 500, during: 40, after: 60, sigma: 14, make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			return func(int, float64) (float64, float64) { return 20, 20*math.Exp(0.5*r.NormFloat64()) - 20 }
		}},
		{name: "bursts", step: minute, before: 800, during: 40, after: 80, sigma: 2.2, level: 50, only: "shift up,shift down,outage,ramp", make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			left := 0
			return func(int, float64) (float64, float64) {
				if left--; left < 0 && r.Float64() < 0.01 {
					left = 3 + r.IntN(5)
				}
				if left > 0 {
					return 50, 8 + r.NormFloat64()
				}
				return 50, r.NormFloat64()
			}
		}},
		{name: "counts with many zeros", step: minute, before: 600, during: 30, after: 60, sigma: 0.6, least: 0, most: math.Inf(1), only: "shift up,ramp", make: counts(func(int) float64 { return 0.3 })},
		{name: "counts of a day", step: 5 * minute, before: 1440, during: 36, after: 72, sigma: 7, level: 40, least: 0, most: math.Inf(1), only: "shift up,ramp,outage", make: counts(func(i int) float64 { return 40 + 25*wave(i, 288, 0) })},
		{name: "constant with rare spikes", step: minute, before: 500, during: 30, after: 60, sigma: 1, level: 50, only: "shift up,shift down,outage,ramp,variance", make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			return func(int, float64) (float64, float64) {
				if r.Float64() < 0.02 {
					return 50, 7
				}
				return 50, 0.02 * r.NormFloat64()
			}
		}},
		{name: "quantised", step: minute, before: 400, during: 30, after: 60, sigma: 1, level: 40, round: 1, make: steady(func(int) float64 { return 40 })},
		{name: "coarsely quantised", step: minute, before: 400, during: 30, after: 60, sigma: 1, level: 40, round: 2.5, make: steady(func(int) float64 { return 40 })},
		{name: "constant", step: minute, before: 300, during: 30, after: 60, sigma: 1, level: 40, only: "shift up,shift down,outage,ramp", make: func(*rand.Rand) func(int, float64) (float64, float64) {
			return func(int, float64) (float64, float64) { return 40, 0 }
		}},
		{name: "noise in proportion to a season", step: 5 * minute, before: 1440, during: 36, after: 72, sigma: 8, level: 100, make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			return func(i int, _ float64) (float64, float64) {
				x := 100 * math.Exp(0.7*wave(i, 288, 0))
				return x, 0.06 * x * r.NormFloat64()
			}
		}},
		{name: "level shifts long before", step: minute, before: 900, during: 40, after: 60, sigma: 1, level: 100, make: steady(func(i int) float64 {
			switch {
			case i < 200:
				return 100
			case i < 320:
				return 130
			case i < 500:
				return 85
			default:
				return 105
			}
		})},
		{name: "share of a processor, near its end", step: minute, before: 400, during: 40, after: 60, sigma: 3, level: 80, least: 0, most: 100, only: "shift down,outage", make: func(r *rand.Rand) func(int, float64) (float64, float64) {
			return func(int, float64) (float64, float64) { return 90, 3 * r.NormFloat64() }
		}},
		{name: "saw teeth", step: minute, before: 600, during: 40, after: 80, sigma: 1, level: 100, make: steady(func(i int) float64 { return 100 + float64(i%37)/2 })},
		{name: "15 % missing", step: minute, before: 400, during: 40, after: 60, sigma: 1, level: 100, missing: 0.15, make: steady(flat)},
		{name: "irregular times", step: 5 * minute, before: 400, during: 40, after: 60, sigma: 1, level: 100, jitter: 0.45, make: steady(flat)},
		{name: "season with missing and irregular points", step: 5 * minute, before: 1440, during: 36, after: 72, sigma: 1, level: 100, missing: 0.05, jitter: 0.2, make: steady(func(i int) float64 { return 100 + 10*wave(i, 288, 0) })},
	}
}

// harmKinds are what a change can do, with what it adds at a step of the harm.
var harmKinds = []string{"shift up", "shift down", "variance", "spikes", "ramp", "outage"}

// ending is how a harm ends, and whether that is well.
type ending struct {
	name string
	well bool
	// only names the kinds of harm that can end so; empty: all.
	only string
}

var endings = []ending{
	{name: "back", well: true},
	{name: "still", only: ""},
	{name: "half back", only: "shift up,shift down,ramp"},
	{name: "relapsed"},
	{name: "overshot", only: "shift up,shift down"},
}

// strength is the deviation of a harm, in sigma; that of what is half back is half
// of twice that.
const strength = 5

// episode is one generated series with its truth.
type episode struct {
	csv              string
	change, rollback time.Time
}

// generate makes a series in which a harm begins and ends. No kind of harm: nothing
// ever happens.
func generate(s telemetry, kind, end string, seed, run uint64) episode {
	r := rand.New(rand.NewPCG(seed, run))
	value := s.make(r)
	size := strength * s.sigma
	if end == "half back" {
		size *= 2
	}
	// What the harm adds, as a share of its size, and whether it is there.
	share := func(i int) float64 {
		after := float64(i-s.before-s.during) / float64(s.after)
		switch {
		case kind == "" || i < s.before:
			return 0
		case after < 0:
			if kind == "ramp" {
				return 2 * float64(i-s.before) / float64(s.during)
			}
			return 1
		}
		switch end {
		case "still":
			if kind == "ramp" {
				return 2
			}
			return 1
		case "half back":
			return 0.5
		case "relapsed":
			if after >= 0.6 {
				return 1
			}
			return 0
		case "overshot":
			return -1
		default:
			return 0
		}
	}
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	var e episode
	var text strings.Builder
	text.WriteString("timestamp,value\n")
	for i := range s.before + s.during + s.after {
		part := share(i)
		by := 0.0
		switch kind {
		case "shift up", "ramp":
			by = part * size
		case "shift down":
			by = -part * size
		}
		expected, noise := value(i, by)
		x := expected + by + noise
		switch {
		case part == 0:
		case kind == "variance":
			x = expected + 5*(noise+0.2*s.sigma*r.NormFloat64())
		case kind == "spikes":
			if r.Float64() < 0.35 {
				x += 10 * s.sigma
			}
		case kind == "outage":
			x = 0
		}
		if s.least != 0 || s.most != 0 {
			x = min(max(x, s.least), s.most)
		}
		if s.round > 0 {
			x = s.round * math.Round(x/s.round)
		}
		at := start.Add(time.Duration(i) * s.step)
		switch i {
		case s.before:
			e.change = at
		case s.before + s.during:
			e.rollback = at
		}
		skip, late := r.Float64() < s.missing, s.jitter*(2*r.Float64()-1)
		if skip && i > 0 && i != s.before+s.during+s.after-1 {
			continue
		}
		at = at.Add(time.Duration(late * float64(s.step))).Truncate(time.Second)
		fmt.Fprintf(&text, "%s,%.6g\n", at.Format(time.RFC3339), x)
	}
	e.csv = text.String()
	return e
}

// possible reports whether a kind of harm can be seen in a signal.
func (s telemetry) possible(kind string) bool {
	if kind == "outage" && s.level < 4*s.sigma {
		return false
	}
	return s.only == "" || strings.Contains(","+s.only+",", ","+kind+",")
}

func (e ending) possible(s telemetry, kind string) bool {
	if e.name == "overshot" && s.least == 0 && s.most != 0 {
		return false
	}
	return e.only == "" || strings.Contains(e.only, kind)
}

// judged runs what backout verdict runs.
func (e episode) judged(rollback bool) (seriesfile.Report, error) {
	f, err := seriesfile.Parse("generated.csv", []byte(e.csv), seriesfile.Columns{})
	if err != nil {
		return seriesfile.Report{}, err
	}
	q := seriesfile.Question{Change: e.change}
	if rollback {
		q.Rollback = e.rollback
	}
	return seriesfile.Judge(f, q)
}
