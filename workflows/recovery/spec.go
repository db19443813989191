package recovery

import (
	"fmt"
	"math"

	"github.com/backout/backout/workflows/incident"
)

// DefaultTolerance stands in for an SLI's tolerance of zero, as a share of the
// baseline.
const DefaultTolerance = 0.1

// MaxPoints is the most samples that one window may ask for.
// Source: https://github.com/prometheus/prometheus/blob/main/web/api/v1/api.go
// (11,000 points for each series of a range query).
const MaxPoints = 11_000

// Check reports what makes a spec unfit to judge by, so that lint can say it
// long before an incident. Judge answers "unknown" to such a spec.
func Check(spec incident.RecoverySpec) error { return check(spec, MaxPoints) }

func check(spec incident.RecoverySpec, mostPoints int) error {
	switch {
	case len(spec.SLIs) == 0:
		return fmt.Errorf("check recovery: there is no SLI to judge by")
	case spec.Step <= 0:
		return fmt.Errorf("check recovery: step must be above zero, is %s", spec.Step)
	case spec.Short < spec.Step:
		return fmt.Errorf("check recovery: short window %s must be at least one step of %s", spec.Short, spec.Step)
	case spec.Long < spec.Short:
		return fmt.Errorf("check recovery: long window %s must be at least the short window of %s", spec.Long, spec.Short)
	case spec.BaselineLength < spec.Step:
		return fmt.Errorf("check recovery: baseline length %s must be at least one step of %s", spec.BaselineLength, spec.Step)
	case spec.Warmup < 0 || spec.BaselineGap < 0 || spec.Hold < 0:
		return fmt.Errorf("check recovery: warm-up, baseline gap and hold must not be negative")
	case spec.Deadline <= spec.Warmup+spec.Long+spec.Hold:
		return fmt.Errorf("check recovery: deadline %s must be after warm-up, long window and hold, which take %s", spec.Deadline, spec.Warmup+spec.Long+spec.Hold)
	case int(max(spec.Long, spec.BaselineLength)/spec.Step) >= mostPoints:
		return fmt.Errorf("check recovery: %s at a step of %s is more than %d samples", max(spec.Long, spec.BaselineLength), spec.Step, mostPoints)
	}
	names := map[string]bool{}
	for _, s := range spec.SLIs {
		if s.Name == "" || names[s.Name] {
			return fmt.Errorf("check recovery: the SLI name %q is empty or used twice", s.Name)
		}
		names[s.Name] = true
		if err := checkSLI(spec, s); err != nil {
			return fmt.Errorf("check recovery: SLI %q: %w", s.Name, err)
		}
	}
	return nil
}

func checkSLI(spec incident.RecoverySpec, s incident.SLI) error {
	switch s.Objective.Comparison {
	case incident.Below, incident.Above:
	default:
		return fmt.Errorf("unknown comparison %q", s.Objective.Comparison)
	}
	switch {
	case s.Query == "":
		return fmt.Errorf("query is empty")
	case !finite(s.Objective.Bound):
		return fmt.Errorf("bound %v is not a finite number", s.Objective.Bound)
	case !finite(s.Tolerance) || s.Tolerance < 0:
		return fmt.Errorf("tolerance %v must be a finite number of at least zero", s.Tolerance)
	case !finite(s.MinTraffic) || s.MinTraffic < 0 || s.MinTraffic > 1:
		return fmt.Errorf("min_traffic %v must be between 0 and 1", s.MinTraffic)
	case s.Traffic == "" && s.MinTraffic != 0:
		return fmt.Errorf("min_traffic needs a traffic query")
	case (s.Bad == "") != (s.Total == ""):
		return fmt.Errorf("the queries of bad and of all events need each other")
	case s.Bad != "" && (s.Unit != unitRatio || s.Objective.Bound <= 0 || s.Objective.Bound >= 1):
		return fmt.Errorf("queries of events need the unit %s and a bound between 0 and 1", unitRatio)
	case s.MinPoints <= 0:
		return fmt.Errorf("min_points must be above zero, is %d", s.MinPoints)
	}
	// The shortest window must be able to hold that many samples, wherever the
	// grid of the query begins.
	if fit := int(min(spec.Short, spec.BaselineLength) / spec.Step); s.MinPoints > fit {
		return fmt.Errorf("min_points is %d, and the shortest window holds %d", s.MinPoints, fit)
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
