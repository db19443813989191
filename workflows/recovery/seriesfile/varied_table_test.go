package seriesfile_test

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

const (
	// variedSeed is the seed of the table in workflows/recovery/README.md.
	variedSeed = 20261122
	// sampleOf is how many of its cases are judged of each signal in each mode, where
	// nobody asks for more.
	sampleOf = 2
	// mostWrong is the share of cases that may be judged wrongly, and mostUnknown that
	// of those which may stay unknown.
	mostWrong   = 0.05
	mostUnknown = 0.15
)

// score counts the verdicts on what is well and on what is bad.
type score struct{ recovered, bad, unknown int }

func (s *score) add(v incident.Verdict) {
	switch v {
	case incident.VerdictRecovered:
		s.recovered++
	case incident.VerdictNotRecovered:
		s.bad++
	case incident.VerdictUnknown:
		s.unknown++
	}
}

func (s *score) join(other score) {
	s.recovered += other.recovered
	s.bad += other.bad
	s.unknown += other.unknown
}

func (s score) all() int { return s.recovered + s.bad + s.unknown }

func (s score) String() string {
	rate := func(k int) float64 { return 100 * float64(k) / math.Max(1, float64(s.all())) }
	return fmt.Sprintf("%.1f / %.1f / %.1f", rate(s.recovered), rate(s.bad), rate(s.unknown))
}

// variedCase is one signal with one harm and one end.
type variedCase struct {
	kind string
	end  ending
}

func variedCases(s telemetry) []variedCase {
	out := []variedCase{{"", ending{name: "nothing", well: true}}}
	for _, kind := range harmKinds {
		for _, e := range endings {
			if s.possible(kind) && e.possible(s, kind) {
				out = append(out, variedCase{kind, e})
			}
		}
	}
	return out
}

// TestVaried judges telemetry of many kinds by what backout verdict runs, with the
// time of the change alone and with that of the rollback too. It judges some cases of
// each kind; BACKOUT_SIMULATION_RUNS makes it judge all of them so many times, and
// BACKOUT_SIMULATION_TABLE names a file for the table.
func TestVaried(t *testing.T) {
	t.Parallel()
	runs := 0
	if v := os.Getenv("BACKOUT_SIMULATION_RUNS"); v != "" {
		n, err := strconv.Atoi(v)
		require.NoError(t, err)
		runs = n
	}
	t.Logf("seed %d, %d runs", variedSeed, runs)
	var table strings.Builder
	fmt.Fprintf(&table, "Seed %d, %d runs of each harm and end. Recovered / not recovered / unknown, in per cent.\n\n", variedSeed, runs)
	table.WriteString("| signal | well, rollback known | bad, rollback known | well, change alone | bad, change alone |\n|---|---|---|---|---|\n")
	var well, bad score
	cases := make(map[string]*[2]score)
	for i, s := range telemetries() {
		fmt.Fprintf(&table, "| %s |", s.name)
		for m, rollback := range []bool{true, false} {
			var ofWell, ofBad score
			all := variedCases(s)
			stride := 1
			if runs == 0 {
				stride = (len(all) + sampleOf - 1) / sampleOf
			}
			for k := (i + m) % stride; k < len(all); k += stride {
				c := all[k]
				name := c.kind + ", " + c.end.name
				if c.kind == "" {
					name = "nothing happens"
				}
				if cases[name] == nil {
					cases[name] = &[2]score{}
				}
				for run := range max(1, runs) {
					e := generate(s, c.kind, c.end.name, variedSeed+uint64(100*i+k), uint64(run))
					report, err := e.judged(rollback)
					require.NoError(t, err)
					cases[name][m].add(report.Verdict)
					right := incident.VerdictNotRecovered
					if c.end.well {
						ofWell.add(report.Verdict)
						right = incident.VerdictRecovered
					} else {
						ofBad.add(report.Verdict)
					}
					if report.Verdict != right && runs < 2 {
						t.Logf("%s, %s, rollback known %t: %s: %s", s.name, name, rollback, report.Verdict, report.Reason)
					}
				}
			}
			fmt.Fprintf(&table, " %s | %s |", ofWell, ofBad)
			well.join(ofWell)
			bad.join(ofBad)
		}
		table.WriteString("\n")
	}
	fmt.Fprintf(&table, "| all | %s | %s | | |\n\n| harm and end | rollback known | change alone |\n|---|---|---|\n", well, bad)
	for _, kind := range append([]string{""}, harmKinds...) {
		for _, e := range endings {
			name := kind + ", " + e.name
			if kind == "" {
				name = "nothing happens"
			}
			if c := cases[name]; c != nil {
				fmt.Fprintf(&table, "| %s | %s | %s |\n", name, c[0], c[1])
				delete(cases, name)
			}
		}
	}
	t.Log("\n" + table.String())
	require.LessOrEqual(t, float64(bad.recovered), mostWrong*float64(bad.all()), "false recovered: %s", bad)
	require.LessOrEqual(t, float64(well.bad), mostWrong*float64(well.all()), "false not recovered: %s", well)
	require.LessOrEqual(t, float64(well.unknown+bad.unknown), mostUnknown*float64(well.all()+bad.all()), "unknown: %s, %s", well, bad)
	if path := os.Getenv("BACKOUT_SIMULATION_TABLE"); path != "" {
		require.NoError(t, os.WriteFile(path, []byte(table.String()), 0o600))
	}
}
