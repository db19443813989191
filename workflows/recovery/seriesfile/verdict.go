package seriesfile

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// The defaults of a question, where the series says nothing better.
const (
	// DefaultMinPoints is how few samples of a window are too few.
	DefaultMinPoints = 5
	// DefaultMinTraffic is the least traffic that counts, as a share of the
	// baseline's.
	DefaultMinTraffic = 0.2
	// shortParts is how many short windows a long one has.
	shortParts = 5
	// irregular is how many times its median a distance between samples may be, nine
	// times of ten, in a regular series.
	irregular = 1.5
)

// unitRatio is the unit of a share of events.
const unitRatio = "ratio"

// Question is what is asked about a series. Everything but Change has a default.
type Question struct {
	Name string
	// Unit is such as ratio or seconds, and may be empty.
	Unit string
	// Objective is such as "below 0.01", "< 0.01" or "above 0.99"; empty: the
	// baseline alone is the measure.
	Objective string
	// Worse says which way is worse without an objective: higher, lower or either.
	// Empty: higher for ratios and seconds, or else either.
	Worse string
	// Change is when the suspected change was made, Rollback when the last action
	// was done, Onset when the harm began, Now when it is judged. Zero Rollback:
	// it is asked whether it is still worse than before the change. Zero Now: the
	// last sample.
	Change, Rollback, Onset, Now time.Time
	// Step, Warmup, Short, Long, Baseline and Gap place the windows, as in a
	// runbook. Zero: from the series itself. A Warmup or Gap below zero is none.
	Step, Warmup, Short, Long, Baseline, Gap time.Duration
	// Tolerance is how far from its baseline it may be, as a share of it. Nil: a
	// tenth, kept in proportion to the noise when there is no objective.
	Tolerance *float64
	// MinPoints and MinTraffic are as in a runbook; zero is the default.
	MinPoints  int
	MinTraffic float64
}

// Or is the question with what it leaves open taken from another one.
func (q Question) Or(other Question) Question {
	for _, s := range []struct{ into, from *string }{{&q.Name, &other.Name}, {&q.Unit, &other.Unit}, {&q.Objective, &other.Objective}, {&q.Worse, &other.Worse}} {
		if *s.into == "" {
			*s.into = *s.from
		}
	}
	for _, t := range []struct{ into, from *time.Time }{{&q.Change, &other.Change}, {&q.Rollback, &other.Rollback}, {&q.Onset, &other.Onset}, {&q.Now, &other.Now}} {
		if t.into.IsZero() {
			*t.into = *t.from
		}
	}
	if q.Tolerance == nil {
		q.Tolerance = other.Tolerance
	}
	return q
}

// Window is a stretch of a series and how many usable samples it has.
type Window struct {
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Samples int       `json:"samples"`
}

// Report is a verdict on a file, with its numbers.
type Report struct {
	Verdict incident.Verdict `json:"verdict"`
	// Reason is a sentence for people.
	Reason string `json:"reason"`
	// At is the moment that is judged.
	At time.Time `json:"at"`
	// Asked says what the verdict is about: "rollback" or "change".
	Asked string `json:"asked"`
	// SLI holds the medians and what they rest on.
	SLI incident.SLIResult `json:"sli"`
	// Step, Short and Long are in seconds.
	Step     float64 `json:"step_seconds"`
	Short    float64 `json:"short_seconds"`
	Long     float64 `json:"long_seconds"`
	Baseline Window  `json:"baseline"`
	After    Window  `json:"after"`
	// Season is the length of the season that was taken out, in seconds; zero if
	// none was.
	Season float64 `json:"season_seconds,omitempty"`
	// Notes say what was done to the file to read it.
	Notes []string `json:"notes,omitempty"`
}

// Judge answers a question about a file. An error says what is wrong with the
// question; whatever is wrong with the series is the verdict unknown.
func Judge(f File, q Question) (Report, error) {
	q = q.Or(f.Question)
	objective, err := ParseObjective(q.Objective)
	if err != nil {
		return Report{}, err
	}
	if q.Change.IsZero() && q.Onset.IsZero() {
		return Report{}, errors.New("the time of the change is needed, or that of the onset: there is nothing to compare with otherwise")
	}
	s := f.series(q, objective)
	spec, times, worse, err := s.place(q, objective)
	if err != nil {
		return Report{}, err
	}
	r := Report{
		At: times.Now, Asked: "rollback", Notes: f.Notes,
		Step: spec.Step.Seconds(), Short: spec.Short.Seconds(), Long: spec.Long.Seconds(),
	}
	if q.Rollback.IsZero() {
		r.Asked = "change"
	}
	windows := recovery.Windows(spec, times)
	r.Baseline, r.After = s.window(windows.Baseline), s.window(windows.After)
	result, season := recovery.JudgeOnce(spec, worse, s.input(spec, times))
	r.SLI, r.Verdict, r.Reason = result, result.Verdict, result.Reason
	r.Season = (time.Duration(season) * spec.Step).Seconds()
	return r, nil
}

// ParseObjective reads "< 0.01", "below 0.01", "> 0.99" or "above 0.99". Nothing is
// the zero objective.
func ParseObjective(s string) (incident.Objective, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return incident.Objective{}, nil
	}
	for _, c := range []struct {
		word string
		is   incident.Comparison
	}{{"<", incident.Below}, {"below", incident.Below}, {">", incident.Above}, {"above", incident.Above}} {
		rest, ok := strings.CutPrefix(s, c.word)
		if !ok {
			continue
		}
		bound, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
		if err != nil || math.IsNaN(bound) || math.IsInf(bound, 0) {
			break
		}
		return incident.Objective{Comparison: c.is, Bound: bound}, nil
	}
	return incident.Objective{}, fmt.Errorf("%q is no objective: write \"below 0.01\" or \"above 0.99\"", s)
}

// measured is a file as the judge takes it.
type measured struct {
	rows []Row
	sli  incident.SLI
}

// series works out what is measured: the ratio where only its parts are given, and
// whether there are events or traffic.
func (f File) series(q Question, objective incident.Objective) measured {
	s := measured{rows: slices.Clone(f.Rows), sli: incident.SLI{
		Name: q.Name, Query: "the series", Unit: q.Unit, Objective: objective, MinPoints: q.MinPoints,
	}}
	if s.sli.Name == "" {
		s.sli.Name = "signal"
	}
	if s.sli.MinPoints <= 0 {
		s.sli.MinPoints = DefaultMinPoints
	}
	if q.Tolerance != nil {
		s.sli.Tolerance = *q.Tolerance
	}
	if q.Unit == "" && f.HasBad && f.HasTotal {
		s.sli.Unit = unitRatio
	}
	ratio := s.sli.Unit == unitRatio
	success := objective.Comparison == incident.Above || q.Worse == string(recovery.Lower)
	for i, r := range s.rows {
		if ratio && f.HasBad && f.HasTotal {
			r.Value = r.Bad / r.Total
			if success {
				r.Value = 1 - r.Value
			}
		}
		if ratio && !f.HasBad && f.HasTotal {
			r.Bad = r.Value * r.Total
			if success {
				r.Bad = (1 - r.Value) * r.Total
			}
			if r.Total == 0 {
				r.Bad = 0
			}
		}
		s.rows[i] = r
	}
	if ratio && f.HasTotal && (objective.Comparison == "" || objective.Bound > 0 && objective.Bound < 1) {
		s.sli.Bad, s.sli.Total = "bad", "total"
	}
	if f.HasTraffic || f.HasTotal {
		s.sli.Traffic, s.sli.MinTraffic = "traffic", DefaultMinTraffic
		if q.MinTraffic > 0 {
			s.sli.MinTraffic = q.MinTraffic
		}
	}
	return s
}

// place works out step and windows.
func (s measured) place(q Question, objective incident.Objective) (incident.RecoverySpec, recovery.Times, recovery.Direction, error) {
	fail := func(format string, args ...any) (incident.RecoverySpec, recovery.Times, recovery.Direction, error) {
		return incident.RecoverySpec{}, recovery.Times{}, "", fmt.Errorf(format, args...)
	}
	first, last := s.rows[0].At, s.rows[len(s.rows)-1].At
	t := recovery.Times{ChangedAt: q.Change, OnsetAt: q.Onset, ActionsDoneAt: q.Rollback, Now: q.Now}
	if t.Now.IsZero() {
		t.Now = last
	}
	anchor := q.Change
	if anchor.IsZero() || !q.Onset.IsZero() && q.Onset.Before(anchor) {
		anchor = q.Onset
	}
	if t.ActionsDoneAt.IsZero() {
		t.ActionsDoneAt = anchor
	}
	switch {
	case t.ActionsDoneAt.Before(anchor):
		return fail("the rollback of %s is before the change of %s", t.ActionsDoneAt.Format(time.RFC3339), anchor.Format(time.RFC3339))
	case !anchor.After(first):
		return fail("the change of %s is not after the first sample, of %s: samples from before it are needed", anchor.Format(time.RFC3339), first.Format(time.RFC3339))
	case !t.Now.After(t.ActionsDoneAt):
		return fail("there is no sample after %s: the last is of %s", t.ActionsDoneAt.Format(time.RFC3339), last.Format(time.RFC3339))
	}
	spec := incident.RecoverySpec{SLIs: []incident.SLI{s.sli}, Step: q.Step, Warmup: max(0, q.Warmup), BaselineGap: max(0, q.Gap)}
	if spec.Step <= 0 {
		spec.Step = s.step(anchor)
	}
	if q.Gap == 0 {
		spec.BaselineGap = min(spec.Step, anchor.Sub(first)/2)
	}
	if q.Warmup == 0 && !q.Rollback.IsZero() {
		spec.Warmup = min(spec.Step, t.Now.Sub(t.ActionsDoneAt)/2)
	}
	spec.BaselineLength = q.Baseline
	if until := anchor.Add(-spec.BaselineGap); spec.BaselineLength <= 0 {
		spec.BaselineLength = until.Sub(first)
	}
	counted := t.Now.Sub(t.ActionsDoneAt.Add(spec.Warmup)).Truncate(time.Millisecond)
	spec.Long = q.Long
	if spec.Long <= 0 {
		spec.Long = counted
	}
	spec.Short = q.Short
	if spec.Short <= 0 {
		spec.Short = min(spec.Long, max(spec.Long/shortParts, time.Duration(s.sli.MinPoints+1)*spec.Step))
	}
	spec.Deadline = spec.Warmup + spec.Long + spec.Step
	worse := recovery.Direction(q.Worse)
	switch {
	case worse != "" || objective.Comparison != "":
	case s.sli.Unit == unitRatio || s.sli.Unit == "seconds":
		worse = recovery.Higher
	default:
		worse = recovery.Either
	}
	if objective.Comparison == "" && worse != recovery.Higher && worse != recovery.Lower && worse != recovery.Either {
		return fail("worse is %q: write higher, lower or either", q.Worse)
	}
	return spec, t, worse, nil
}

// step is the usual distance of samples, or the long one of an irregular series;
// that before the change is the measure, so that whatever is missing after it is
// missed.
func (s measured) step(anchor time.Time) time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(s.rows); i++ {
		if s.rows[i].At.Before(anchor) {
			gaps = append(gaps, s.rows[i].At.Sub(s.rows[i-1].At))
		}
	}
	if len(gaps) == 0 {
		return max(time.Millisecond, s.rows[len(s.rows)-1].At.Sub(s.rows[0].At))
	}
	slices.Sort(gaps)
	usual, long := gaps[len(gaps)/2], gaps[len(gaps)*9/10]
	if float64(long) > irregular*float64(usual) {
		return long
	}
	return usual
}

func (s measured) input(spec incident.RecoverySpec, t recovery.Times) recovery.Input {
	windows := recovery.Windows(spec, t)
	seconds := spec.Step.Seconds()
	answer := func(value func(Row) float64) recovery.Answer {
		cut := func(r recovery.Range) []incident.Series {
			out := incident.Series{}
			for _, row := range s.rows {
				if !row.At.Before(r.From) && !row.At.After(r.Until) {
					out.Points = append(out.Points, incident.Point{At: row.At, Value: value(row)})
				}
			}
			return []incident.Series{out}
		}
		return recovery.Answer{Baseline: cut(windows.Baseline), During: cut(windows.During), After: cut(windows.Counted)}
	}
	m := recovery.Measurement{Name: s.sli.Name, Signal: answer(func(r Row) float64 { return r.Value })}
	if s.sli.Bad != "" {
		m.Bad = answer(func(r Row) float64 { return r.Bad / seconds })
		m.Total = answer(func(r Row) float64 { return r.Total / seconds })
	}
	if s.sli.Traffic != "" {
		m.Traffic = answer(func(r Row) float64 {
			if math.IsNaN(r.Traffic) {
				return r.Total / seconds
			}
			return r.Traffic
		})
	}
	return recovery.Input{Times: t, SLIs: []recovery.Measurement{m}}
}

// window is a range with how many of its samples are numbers.
func (s measured) window(r recovery.Range) Window {
	w := Window{From: r.From, Until: r.Until}
	for _, row := range s.rows {
		if !row.At.Before(r.From) && !row.At.After(r.Until) && !math.IsNaN(row.Value) && !math.IsInf(row.Value, 0) {
			w.Samples++
		}
	}
	return w
}
