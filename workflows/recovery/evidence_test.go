package recovery

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Bounds of Clopper and Pearson that others have published.
// Source: A. Agresti, B. A. Coull, The American Statistician 52 (1998), 119-126
// (0 of 10 and 10 of 10 at 95 %); R. G. Newcombe, Statistics in Medicine 17 (1998),
// 857-872, table I, method 5 (81 of 263, 15 of 148, 0 of 20, 1 of 29).
func TestClopperPearson(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		of        tally
		low, high float64
	}{
		{"81 of 263", tally{81, 263}, 0.2527, 0.3676},
		{"15 of 148", tally{15, 148}, 0.0578, 0.1617},
		{"0 of 20", tally{0, 20}, 0, 0.1684},
		{"1 of 29", tally{1, 29}, 0.0009, 0.1776},
		{"0 of 10", tally{0, 10}, 0, 0.3085},
		{"10 of 10", tally{10, 10}, 0.6915, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.InDelta(t, tt.low, tt.of.atLeast(0.025), 5e-5)
			require.InDelta(t, tt.high, tt.of.atMost(0.025), 5e-5)
		})
	}
	require.InDelta(t, 1, tally{}.atMost(0.025), 0)
	require.InDelta(t, 0, tally{}.atLeast(0.025), 0)
}

// Critical values of Mann and Whitney at the one-sided level of 5 %: the largest U
// whose chance is at most that, and the next one.
// Source: H. B. Mann, D. R. Whitney (1947), tables; D. Auble, Bulletin of the
// Institute of Educational Research at Indiana University 1 (1953), table 2.
func TestMannWhitneyCriticalValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ n, m, critical int }{{3, 3, 0}, {4, 4, 1}, {5, 5, 4}, {6, 6, 7}, {7, 7, 11}, {8, 8, 15}, {5, 8, 8}, {10, 10, 27}} {
		p := func(u int) float64 {
			a, b := ranksWith(tt.n, tt.m, u)
			return greater(a, b, 1)
		}
		require.LessOrEqual(t, p(tt.critical), 0.05+1e-12, "%d and %d", tt.n, tt.m)
		require.Greater(t, p(tt.critical+1), 0.05, "%d and %d", tt.n, tt.m)
	}
}

// ranksWith deals the ranks 1 to n+m to two samples so that u pairs have the first
// below the second.
func ranksWith(n, m, u int) (a, b []float64) {
	// a holds the largest ranks at first; each step down past a rank of b is one pair.
	place := make([]int, n)
	for i := range place {
		down := min(u, m)
		u -= down
		place[i] = m + i + 1 - down
	}
	taken := map[int]bool{}
	for _, p := range place {
		a, taken[p] = append(a, float64(p)), true
	}
	for r := 1; r <= n+m; r++ {
		if !taken[r] {
			b = append(b, float64(r))
		}
	}
	return a, b
}

// Quantiles of Student's distribution and of chi-squared as every table has them.
// Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2 and 1.3.6.7.4.
func TestTails(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 0.05, studentTail(6.314, 1), 5e-5)
	require.InDelta(t, 0.025, studentTail(2.228, 10), 5e-5)
	require.InDelta(t, 0.01, studentTail(2.457, 30), 5e-5)
	require.InDelta(t, 0.975, studentTail(-2.228, 10), 5e-5)
	require.InDelta(t, 0.05, chiTail(3.841, 1), 5e-5)
	require.InDelta(t, 0.01, chiTail(23.209, 10), 5e-5)
	// 3 or more of 10 at a half: 1 - (1+10+45)/1024.
	require.InDelta(t, 968.0/1024, tally{3, 10}.tail(0.5), 1e-12)
	require.InDelta(t, 1, tally{0, 10}.tail(0.5), 0)
	require.InDelta(t, 0, tally{3, 10}.tail(0), 0)
}

// An e-value has an expectation of at most one under every share that it speaks
// against, however many events there are. The sum is exact.
func TestEvidenceIsAnEValue(t *testing.T) {
	t.Parallel()
	for _, null := range []float64{0.001, 0.01, 0.1, 0.5, 0.9} {
		for _, n := range []int{1, 2, 10, 100, 400} {
			for _, share := range []float64{0.2, 0.7, 1, 1.5, 4} {
				p := null * share
				if p >= 1 {
					continue
				}
				var above, below float64
				for b := range n + 1 {
					of := tally{float64(b), float64(n)}
					chance := of.logLikelihood(p) - logBeta(float64(b+1), float64(n-b+1)) - math.Log(float64(n+1))
					above += math.Exp(chance + of.above(null))
					below += math.Exp(chance + of.below(null))
				}
				if share <= 1 {
					require.LessOrEqual(t, above, 1+1e-9, "%d events of %g against at most %g", n, p, null)
				}
				if share >= 1 {
					require.LessOrEqual(t, below, 1+1e-9, "%d events of %g against at least %g", n, p, null)
				}
			}
		}
	}
}

// Looked at after every event, an e-value exceeds 20 in at most one of twenty runs,
// where an exact test at 5 % does in far more.
func TestEvidenceHoldsWhenLookedAtAfterEveryEvent(t *testing.T) {
	t.Parallel()
	const runs, events, null = 400, 400, 0.1
	r := rand.New(rand.NewPCG(1, 2))
	var fooled, fooledExact int
	for range runs {
		var now tally
		var ever, everExact bool
		for range events {
			now.all++
			if r.Float64() < null {
				now.bad++
			}
			ever = ever || now.above(null) >= math.Log(20)
			everExact = everExact || now.tail(null) <= 0.05
		}
		if ever {
			fooled++
		}
		if everExact {
			fooledExact++
		}
	}
	require.LessOrEqual(t, fooled, runs/20)
	require.Greater(t, fooledExact, runs/5)
}

func TestEvidenceGrows(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 0, tally{}.above(0.1), 0)
	require.InDelta(t, 0, tally{}.below(0.1), 0)
	require.Greater(t, tally{50, 100}.above(0.1), math.Log(1e10))
	require.Less(t, tally{50, 100}.below(0.1), 0.0)
	require.Greater(t, tally{0, 100}.below(0.1), math.Log(1e3))
	require.Less(t, tally{0, 100}.above(0.1), 0.0)
	require.Greater(t, tally{2, 1e6}.below(0.001), 500.0)
	for _, of := range []tally{{50, 100}, {3, 10}, {1000, 1e6}, {1, 1}} {
		if of.above(0.1) >= 1 {
			require.True(t, of.couldBlame(0.1, 1), "%v", of)
		}
	}
}

func TestCorrelationTime(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	const n = 20000
	for _, rho := range []float64{0, 0.5, 0.9} {
		v := make([]float64, n)
		for i := 1; i < n; i++ {
			v[i] = rho*v[i-1] + r.NormFloat64()
		}
		// Of a first-order autoregression it is (1+rho)/(1-rho).
		want := (1 + rho) / (1 - rho)
		require.InDelta(t, want, correlationTime(v), 0.25*want)
	}
	require.InDelta(t, 1, correlationTime([]float64{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}), 0)
	require.InDelta(t, 1, correlationTime([]float64{1, 2, 3}), 0)
}

func TestStrays(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 1, strays(0, 1, 10, 1), 0)
	require.InDelta(t, 0, strays(1, 0, 10, 1), 0)
	require.InDelta(t, 0.02, strays(1, 1, 100, 1), 1e-12)
	require.InDelta(t, 0.2, strays(1, 1, 100, 10), 1e-12)
}

func TestDispersion(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	draw := func(share func(i int) float64) []count {
		var out []count
		for i := range 64 {
			c := count{tally: tally{all: 2000}}
			p := share(i)
			for range 2000 {
				if r.Float64() < p {
					c.bad++
				}
			}
			out = append(out, c)
		}
		return out
	}
	require.Less(t, dispersion(draw(func(int) float64 { return 0.05 })), 2.5)
	bursts := dispersion(draw(func(i int) float64 {
		if i/8%2 == 0 {
			return 0.02
		}
		return 0.08
	}))
	require.Greater(t, bursts, 100.0, "bursts of eight steps make dependent events")
	require.InDelta(t, 1, dispersion(nil), 0)
	require.InDelta(t, 1, dispersion([]count{{tally: tally{0, 100}}}), 0)
}
