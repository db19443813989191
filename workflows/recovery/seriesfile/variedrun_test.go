package seriesfile_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

const variedSeed = 20261122

func TestVaried(t *testing.T) {
	t.Parallel()
	runs := 1
	if s := os.Getenv("BACKOUT_SIMULATION_RUNS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		runs = n
	}
	filter := os.Getenv("VARIED_ONLY")
	debug := os.Getenv("VARIED_DEBUG") != ""
	type key struct{ a, b string }
	for _, rollback := range []bool{true, false} {
		if o := os.Getenv("VARIED_MODE"); o != "" && o != fmt.Sprint(rollback) {
			continue
		}
		sum := map[key][3]int{}
		byHarm := map[key][3]int{}
		var lines []string
		add := func(m map[key][3]int, k key, i int) { v := m[k]; v[i]++; m[k] = v }
		for si, s := range telemetries() {
			if filter != "" && !strings.Contains(s.name, filter) {
				continue
			}
			for ki, kind := range append([]string{""}, harmKinds...) {
				if kind != "" && !s.possible(kind) {
					continue
				}
				for ei, e := range endings {
					if kind == "" && e.name != "back" || !e.possible(s, kind) {
						continue
					}
					var n [3]int
					for run := range runs {
						ep := generate(s, kind, e.name, variedSeed+uint64(si*1000+ki*10+ei), uint64(run))
						rep, err := ep.judged(rollback)
						require.NoError(t, err)
						i := map[incident.Verdict]int{incident.VerdictRecovered: 0, incident.VerdictNotRecovered: 1, incident.VerdictUnknown: 2}[rep.Verdict]
						n[i]++
						name := e.name
						if kind == "" {
							name = "nothing"
						}
						add(sum, key{s.name, name}, i)
						add(byHarm, key{kind, name}, i)
						add(sum, key{"ALL", name}, i)
						if debug && (e.well && i != 0 || !e.well && i != 1) {
							lines = append(lines, fmt.Sprintf("   DBG %s/%s/%s rb=%v run=%d: %s: %s", s.name, kind, e.name, rollback, run, rep.Verdict, rep.Reason))
						}
					}
					if e.well && n[1]*20 > runs || !e.well && n[0]*20 > runs {
						lines = append(lines, fmt.Sprintf("WRONG %-45s %-11s %-10s %v", s.name, kind, e.name, n))
					} else if n[2]*2 > runs {
						lines = append(lines, fmt.Sprintf("unknown %-45s %-11s %-10s %v", s.name, kind, e.name, n))
					}
				}
			}
		}
		names := []string{"nothing", "back", "still", "half back", "relapsed", "overshot"}
		show := func(m map[key][3]int) {
			var rows []string
			for k := range m {
				if !slices.Contains(rows, k.a) {
					rows = append(rows, k.a)
				}
			}
			slices.Sort(rows)
			for _, a := range rows {
				line := fmt.Sprintf("%-45s", a)
				for _, n := range names {
					v := m[key{a, n}]
					line += fmt.Sprintf(" | %s %d/%d/%d", n, v[0], v[1], v[2])
				}
				fmt.Println(line)
			}
		}
		fmt.Println("ROLLBACK", rollback, "(recovered/not/unknown)")
		show(sum)
		show(byHarm)
		fmt.Println(strings.Join(lines, "\n"))
	}
}
