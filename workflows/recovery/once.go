package recovery

import (
	"fmt"
	"math"

	"github.com/backout/backout/workflows/incident"
)

// Direction says which way is worse where no objective says it. The zero value is
// invalid.
type Direction string

// The directions.
const (
	Higher Direction = "higher"
	Lower  Direction = "lower"
	// Either means that a healthy signal stays what it was.
	Either Direction = "either"
)

// JudgeOnce judges one SLI at one moment, after which nobody looks again. An SLI
// without an objective, which no runbook may have, is judged by its baseline alone;
// worse says which way is worse then, and is not used otherwise. It is unknown
// whenever Judge says so. The season is what was taken out of a signal without an
// objective, in steps; zero if there is none.
func JudgeOnce(spec incident.RecoverySpec, worse Direction, in Input) (result incident.SLIResult, season int) {
	refuse := func(format string, args ...any) (incident.SLIResult, int) {
		return incident.SLIResult{Verdict: incident.VerdictUnknown, Reason: fmt.Sprintf(format, args...)}, 0
	}
	if len(spec.SLIs) != 1 || len(in.SLIs) != 1 {
		return refuse("There must be exactly one SLI with one measurement.")
	}
	checked := spec
	checked.SLIs = []incident.SLI{spec.SLIs[0]}
	free := spec.SLIs[0].Objective.Comparison == ""
	if free {
		// Any bound that Check takes; it is never looked at.
		checked.SLIs[0].Objective = incident.Objective{Comparison: incident.Below, Bound: 0.5}
	}
	if err := check(checked, math.MaxInt); err != nil {
		return refuse("Recovery cannot be judged: %v.", err)
	}
	queries := Windows(checked, in.Times)
	queries.Counted.From = latest(in.Times.ActionsDoneAt.Add(spec.Warmup), queries.After.From)
	if !free {
		return judgeSLI(sliJudge{spec: checked, sli: checked.SLIs[0], queries: queries, once: true}, in), 0
	}
	direction, err := directionOf(worse)
	if err != nil {
		return refuse("Recovery cannot be judged: %v.", err)
	}
	j := sliJudge{spec: checked, sli: checked.SLIs[0], queries: queries, once: true, free: true, worse: direction, season: &season}
	j.sli.Objective = incident.Objective{Comparison: incident.Below}
	if worse == Lower {
		j.sli.Objective.Comparison = incident.Above
	}
	result = judgeSLI(j, in)
	result.Objective = ""
	return result, season
}

// directionOf is 1 where higher is worse, -1 where lower is, and 0 for either.
func directionOf(worse Direction) (int, error) {
	switch worse {
	case Higher:
		return 1, nil
	case Lower:
		return -1, nil
	case Either:
		return 0, nil
	default:
		return 0, fmt.Errorf("worse is %q, and must be %s, %s or %s", worse, Higher, Lower, Either)
	}
}
