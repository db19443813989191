package recovery_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// kindOfSLI is a kind of SLI that ships as a template, with what healthy is and the
// same in a unit that the SLI does not have.
type kindOfSLI struct {
	name                string
	sli                 incident.SLI
	healthy, otherUnits float64
}

func kindsOfSLI() []kindOfSLI {
	sli := func(name, unit string, c incident.Comparison, bound float64) incident.SLI {
		return incident.SLI{
			Name: name, Query: "q", Unit: unit, Traffic: "t", MinTraffic: 0.2, MinPoints: 3, Tolerance: 0.2,
			Objective: incident.Objective{Comparison: c, Bound: bound},
		}
	}
	counted := sli("counted errors", "ratio", incident.Below, 0.01)
	counted.Bad, counted.Total = "b", "n"
	successes := sli("counted successes", "ratio", incident.Above, 0.99)
	successes.Bad, successes.Total = "b", "n"
	return []kindOfSLI{
		{"error ratio", sli("error ratio", "ratio", incident.Below, 0.01), 0.002, 20},
		{"counted errors", counted, 0.002, 20},
		{"counted successes", successes, 0.998, 99.8},
		{"latency", sli("latency", "seconds", incident.Below, 0.5), 0.2, 200},
		{"saturation", sli("saturation", "ratio", incident.Below, 0.8), 0.4, 40},
		{"custom", sli("orders", "orders/s", incident.Above, 10), 40, 2400},
	}
}

// eventsPerSecond is the traffic of the matrix: enough for any verdict.
const eventsPerSecond = 2000

// measure is a service that is well, by any of its signals.
func (k kindOfSLI) measure(q recovery.Queries) recovery.Measurement {
	answer := func(value float64) recovery.Answer {
		return recovery.Answer{Baseline: series(q.Baseline, wavy(value)), During: series(q.During, wavy(value)), After: series(q.Counted, wavy(value))}
	}
	m := recovery.Measurement{Name: k.sli.Name, Signal: answer(k.healthy), Traffic: answer(eventsPerSecond)}
	if k.sli.Unit == "ratio" && k.sli.Objective.Comparison == incident.Above {
		// No success ratio is above one.
		m.Signal = recovery.Answer{Baseline: series(q.Baseline, flat(k.healthy)), After: series(q.Counted, flat(k.healthy))}
	}
	if k.sli.Bad != "" {
		m.Bad, m.Total = answer(0.002*eventsPerSecond), answer(eventsPerSecond)
	}
	return m
}

// all are the answers of a measurement that its SLI asks for.
func (k kindOfSLI) all(m *recovery.Measurement) []*recovery.Answer {
	out := []*recovery.Answer{&m.Signal, &m.Traffic}
	if k.sli.Bad != "" {
		out = append(out, &m.Bad, &m.Total)
	}
	return out
}

// TestNoDataMatrix is every way in which there may be no data, for each kind of
// SLI: never recovered.
func TestNoDataMatrix(t *testing.T) {
	t.Parallel()
	cut := func(list []incident.Series, keep func(i int, p incident.Point) bool) []incident.Series {
		out := incident.Series{Labels: list[0].Labels}
		for i, p := range list[0].Points {
			if keep(i, p) {
				out.Points = append(out.Points, p)
			}
		}
		return []incident.Series{out}
	}
	for _, tt := range []struct {
		name string
		// hurt does it to one answer; each answer of an SLI is hurt in turn, and then
		// all of them.
		hurt func(a *recovery.Answer, q recovery.Queries)
		// whole does it to the measurement instead.
		whole func(k kindOfSLI, m *recovery.Measurement, q recovery.Queries)
	}{
		{name: "down", hurt: func(a *recovery.Answer, _ recovery.Queries) { *a = recovery.Answer{Failed: "it cannot be reached"} }},
		{name: "empty", hurt: func(a *recovery.Answer, _ recovery.Queries) { a.After = nil }},
		{name: "empty before", hurt: func(a *recovery.Answer, _ recovery.Queries) { a.Baseline = nil }},
		{name: "no points", hurt: func(a *recovery.Answer, _ recovery.Queries) { a.After = []incident.Series{{}} }},
		{name: "NaN", hurt: func(a *recovery.Answer, q recovery.Queries) { a.After = series(q.Counted, flat(nan)) }},
		{name: "NaN before", hurt: func(a *recovery.Answer, q recovery.Queries) { a.Baseline = series(q.Baseline, flat(nan)) }},
		{name: "infinite", hurt: func(a *recovery.Answer, q recovery.Queries) { a.After = series(q.Counted, flat(inf)) }},
		{name: "stale", hurt: func(a *recovery.Answer, q recovery.Queries) {
			a.After = cut(a.After, func(_ int, p incident.Point) bool { return p.At.Before(q.Counted.Until.Add(-4 * step)) })
		}},
		{name: "lag", hurt: func(a *recovery.Answer, _ recovery.Queries) {
			late := incident.Series{}
			for _, p := range a.After[0].Points {
				late.Points = append(late.Points, incident.Point{At: p.At.Add(-2 * time.Minute), Value: p.Value})
			}
			a.After = []incident.Series{late}
		}},
		{name: "reset leaves a gap", hurt: func(a *recovery.Answer, q recovery.Queries) {
			a.After = cut(a.After, func(_ int, p incident.Point) bool {
				return p.At.Before(q.Counted.Until.Add(-50*time.Second)) || p.At.After(q.Counted.Until.Add(-20*time.Second))
			})
		}},
		{name: "one point", hurt: func(a *recovery.Answer, _ recovery.Queries) {
			last := len(a.After[0].Points) - 1
			a.After = cut(a.After, func(i int, _ incident.Point) bool { return i == last })
		}},
		{name: "several series", hurt: func(a *recovery.Answer, _ recovery.Queries) { a.After = append(a.After, a.After[0]) }},
		{name: "several series before", hurt: func(a *recovery.Answer, _ recovery.Queries) { a.Baseline = append(a.Baseline, a.Baseline[0]) }},
		{name: "out of order", hurt: func(a *recovery.Answer, _ recovery.Queries) {
			p := append([]incident.Point(nil), a.After[0].Points...)
			last := len(p) - 1
			p[last], p[last-1] = p[last-1], p[last]
			a.After = []incident.Series{{Points: p}}
		}},
		{name: "wrong unit", whole: func(k kindOfSLI, m *recovery.Measurement, q recovery.Queries) {
			m.Signal.After = series(q.Counted, wavy(k.otherUnits))
		}},
		{name: "a unit so small that all looks well", whole: func(k kindOfSLI, m *recovery.Measurement, q recovery.Queries) {
			if k.sli.Unit == "ratio" {
				m.Signal.After = series(q.Counted, flat(-k.healthy))
				return
			}
			far := 1e-3 * k.healthy
			if k.sli.Objective.Comparison == incident.Above {
				far = 1e3 * k.healthy
			}
			m.Signal.After = series(q.Counted, wavy(far))
		}},
		{name: "dead service", whole: func(k kindOfSLI, m *recovery.Measurement, q recovery.Queries) {
			for _, a := range k.all(m) {
				a.After = series(q.Counted, flat(0))
			}
			m.Signal.After = series(q.Counted, flat(k.healthy))
		}},
		{name: "died just now", whole: func(_ kindOfSLI, m *recovery.Measurement, q recovery.Queries) {
			m.Traffic.After = series(q.Counted, func(i int) float64 {
				if i >= q.Counted.Points()-4 {
					return 0
				}
				return eventsPerSecond
			})
		}},
		{name: "reset counters", whole: func(k kindOfSLI, m *recovery.Measurement, q recovery.Queries) {
			// What a difference of counters yields at a restart.
			for _, a := range k.all(m) {
				a.After = series(q.Counted, flat(-1))
			}
		}},
		{name: "no traffic at night", whole: func(k kindOfSLI, m *recovery.Measurement, q recovery.Queries) {
			m.Traffic.After = series(q.Counted, flat(0.01*eventsPerSecond))
			if k.sli.Bad != "" {
				m.Bad.After, m.Total.After = series(q.Counted, flat(0)), series(q.Counted, flat(0.01*eventsPerSecond))
			}
		}},
		{name: "night before too", whole: func(k kindOfSLI, m *recovery.Measurement, q recovery.Queries) {
			for _, a := range k.all(m)[1:] {
				a.Baseline, a.After = series(q.Baseline, flat(0)), series(q.Counted, flat(0))
			}
		}},
		{name: "not measured", whole: func(_ kindOfSLI, m *recovery.Measurement, _ recovery.Queries) {
			*m = recovery.Measurement{Name: "another"}
		}},
	} {
		for _, k := range kindsOfSLI() {
			t.Run(tt.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				spec := specOf(k.sli)
				q := recovery.Windows(spec, times())
				judge := func(m recovery.Measurement) incident.RecoveryResult {
					return recovery.Judge(spec, recovery.Input{Times: times(), SLIs: []recovery.Measurement{m}})
				}
				well := judge(k.measure(q))
				require.Equal(t, incident.VerdictRecovered, well.Verdict, "unhurt: %s", well.Reason)
				if tt.whole != nil {
					m := k.measure(q)
					tt.whole(k, &m, q)
					r := judge(m)
					require.NotEqual(t, incident.VerdictRecovered, r.Verdict, r.Reason)
					require.NotEmpty(t, r.Reason)
					return
				}
				together := k.measure(q)
				for i := range k.all(&together) {
					m := k.measure(q)
					tt.hurt(k.all(&m)[i], q)
					r := judge(m)
					require.Equal(t, incident.VerdictUnknown, r.Verdict, "answer %d: %s", i, r.Reason)
					require.NotEmpty(t, r.Reason)
					tt.hurt(k.all(&together)[i], q)
				}
				r := judge(together)
				require.Equal(t, incident.VerdictUnknown, r.Verdict, r.Reason)
			})
		}
	}
}
