package chart

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

func TestTheObjectiveIsAlwaysVisible(t *testing.T) {
	t.Parallel()
	below, above := incident.Below, incident.Above
	for _, tt := range []struct {
		name         string
		comparison   incident.Comparison
		bound        float64
		usual, worst float64
		log, cut     bool
	}{
		{"incident of the same size", below, 0.5, 0.2, 1.9, false, false},
		{"incident that dwarfs the rest", below, 0.01, 0.001, 1, true, false},
		{"usual is zero", below, 0.01, 0, 1, true, false},
		{"vast", below, 100, 10, 1e9, true, false},
		{"availability", above, 0.999, 0.9997, 0.4, false, true},
		{"throughput", above, 100, 140, 0, false, false},
		{"below zero", below, 5, 1, -900, false, true},
		{"zero wanted", below, 0, 0, 10, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := incident.ChartPanel{Objective: incident.Objective{Comparison: tt.comparison, Bound: tt.bound}}
			s := scaleFor(p, []float64{tt.usual, tt.worst}, []float64{tt.usual})
			require.Equal(t, tt.log, s.log)
			require.Equal(t, tt.cut, s.cut)
			bound, usual := s.share(tt.bound), s.share(tt.usual)
			require.GreaterOrEqual(t, bound, 0.0)
			require.LessOrEqual(t, bound, 1.0)
			require.GreaterOrEqual(t, usual, 0.0)
			require.LessOrEqual(t, usual, 1.0)
			if tt.bound != tt.usual {
				require.Greater(t, math.Abs(bound-usual), 0.02, "it can be told from what is usual")
			}
		})
	}
}

func TestTicksAreFewAndDifferent(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		bound := math.Pow(10, r.Float64()*24-12)
		all := []float64{bound * r.Float64(), bound * math.Pow(10, r.Float64()*8-2)}
		p := incident.ChartPanel{Unit: []string{"ratio", "seconds", "widgets"}[r.IntN(3)], Objective: incident.Objective{Comparison: incident.Below, Bound: bound}}
		s := scaleFor(p, all, all[:1])
		ticks := s.ticks(4)
		require.NotEmpty(t, ticks, "%v", p)
		require.LessOrEqual(t, len(ticks), 6)
		labels := map[string]bool{}
		for i, k := range ticks {
			require.False(t, labels[k.label], "%v: %v twice", s, k)
			labels[k.label] = true
			require.True(t, i == 0 || k.share > ticks[i-1].share)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		unit string
		high float64
		v    float64
		want string
	}{
		{"ratio", 1, 0.00123, "0.123 %"},
		{"ratio", 1, 0.01, "1 %"},
		{"ratio", 1, 0, "0 %"},
		{"seconds", 0.4, 0.21, "210 ms"},
		{"seconds", 0.4, 1.9, "1.9 s"},
		{"s", 20, 1.9, "1.9 s"},
		{"", 20, 41234, "41.2k"},
		{"", 20, -5, "-5"},
		{"", 20, 2e7, "20M"},
		{"", 20, 3e9, "3G"},
		{"percent", 20, 12.5, "12.5 %"},
	} {
		s := scale{factor: 1, high: tt.high}
		s.unit(tt.unit)
		require.Equal(t, tt.want, s.value(tt.v))
	}
}

// TestFlagsNeverTouch places marks at random.
func TestFlagsNeverTouch(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		flags := make([]flag, 1+r.IntN(maxMarks))
		near := axisRoom + r.Float64()*(Width-margin-axisRoom)
		for i := range flags {
			x := axisRoom + r.Float64()*(Width-margin-axisRoom)
			if r.IntN(2) == 0 {
				x = min(near+float64(r.IntN(40)), Width-margin)
			}
			flags[i] = flag{x: x, width: 120 + r.Float64()*150}
		}
		slices.SortFunc(flags, func(a, b flag) int { return int(a.x - b.x) })
		rows := hoist(flags, margin, Width-margin)
		require.LessOrEqual(t, rows, len(flags))
		for i, a := range flags {
			require.Less(t, a.row, rows)
			from, to := a.extent()
			require.GreaterOrEqual(t, from, float64(margin-flagGap))
			require.LessOrEqual(t, to, float64(Width-margin+flagGap))
			for _, b := range flags[:i] {
				require.False(t, touch(a, b), "%+v touches %+v", a, b)
			}
		}
	}
}

func TestTimeTicks(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 22, 2, 40, 0, 0, time.UTC)
	for _, tt := range []struct {
		length time.Duration
		first  string
	}{
		{20 * time.Second, "02:40:00"},
		{10 * time.Minute, "02:40"},
		{time.Hour, "02:40"},
		{26 * time.Hour, "06:00"},
		{40 * 24 * time.Hour, "25 Nov"},
	} {
		p := part{span: incident.Span{From: began, Until: began.Add(tt.length)}, x0: 0, x1: 1000}
		ticks := p.ticks(150)
		require.NotEmpty(t, ticks)
		require.LessOrEqual(t, len(ticks), 8)
		require.Equal(t, tt.first, ticks[0].label)
		for i := range ticks[1:] {
			require.GreaterOrEqual(t, ticks[i+1].x-ticks[i].x, 140.0)
		}
	}
}
