package recovery

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// CountEvery is how long a count stands: data is counted again when it is that old,
// and not sooner, because each count is work for a production database. It is
// Backout's own. A verdict never rests on an older count.
const CountEvery = 30 * time.Second

// maxTold is how many data checks of one kind are in the reason of a verdict, which is
// kept with every look. It is Backout's own.
const maxTold = 3

// maxCount is the highest number that a float64 counts up to one by one.
const maxCount = 1 << 53

// CheckData reports what makes data checks unfit to judge by.
func CheckData(checks []incident.DataCheck) error {
	names := map[string]bool{}
	for _, c := range checks {
		switch {
		case c.Name == "" || names[c.Name]:
			return fmt.Errorf("check data: the name %q is empty or used twice", c.Name)
		case (c.SQL == "") == (c.PromQL == ""):
			return fmt.Errorf("check data %q: it needs either SQL or PromQL", c.Name)
		case c.AtMost < 0:
			return fmt.Errorf("check data %q: at most %d is below zero", c.Name, c.AtMost)
		}
		names[c.Name] = true
	}
	return nil
}

// CountOf reads the answer to a query at one moment: exactly one series, with exactly
// one sample, which is a whole number from zero up. Anything else says in why, for
// people, what it is; n means nothing then.
func CountOf(series []incident.Series) (n int64, why string) {
	switch {
	case len(series) == 0:
		return 0, "the query found no series, which is not zero: the metric is missing, or its target is down"
	case len(series) > 1:
		return 0, fmt.Sprintf("the query found %d series, and one is needed: add them up with sum", len(series))
	case len(series[0].Points) != 1:
		return 0, fmt.Sprintf("the series has %d samples, and one is needed", len(series[0].Points))
	}
	switch v := series[0].Points[0].Value; {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return 0, fmt.Sprintf("the value is %v, which is no count", v)
	case v < 0:
		return 0, fmt.Sprintf("the value is %v, and a count is never below zero", v)
	case v != math.Trunc(v):
		return 0, fmt.Sprintf("the value is %v, and a count is a whole number", v)
	case v > maxCount:
		return 0, fmt.Sprintf("the value is %v, which is too high to count one by one", v)
	default:
		return int64(v), ""
	}
}

// Fresh returns the counts of the last look if they still stand at a moment: each check
// has one, from after the actions and not as old as CountEvery. Otherwise it is nil, and
// all have to be counted.
func Fresh(checks []incident.DataCheck, last []incident.DataResult, actionsDoneAt, now time.Time) []incident.DataCount {
	if len(last) != len(checks) {
		return nil
	}
	var out []incident.DataCount
	for i, r := range last {
		if r.Name != checks[i].Name || r.At.Before(actionsDoneAt) || r.At.After(now) || now.Sub(r.At) >= CountEvery {
			return nil
		}
		out = append(out, incident.DataCount{Name: r.Name, Count: r.After, Missing: r.Missing, At: r.At})
	}
	return out
}

// WithData adds what the data checks counted to the verdict on the SLIs. The worst
// decides: a count above its bound is not recovered, and one that could not be made is
// unknown, however well the SLIs are. Without data checks the verdict stays what it is.
//
// Before and after are found by the names of the checks; one that is missing after is
// unknown, and one that is missing before is only not shown.
func WithData(checks []incident.DataCheck, res incident.RecoveryResult, before, after []incident.DataCount) incident.RecoveryResult {
	if len(checks) == 0 {
		return res
	}
	if err := CheckData(checks); err != nil {
		if rank(incident.VerdictUnknown) > rank(res.Verdict) {
			res.Verdict = incident.VerdictUnknown
		}
		res.Reason = fmt.Sprintf("What diverges cannot be judged: %v. %s", err, res.Reason)
		return res
	}
	res.Data = make([]incident.DataResult, 0, len(checks))
	var above, blind []string
	for _, c := range checks {
		r := judgeCount(c, before, after, res.At)
		res.Data = append(res.Data, r)
		switch r.Verdict {
		case incident.VerdictRecovered:
		case incident.VerdictNotRecovered:
			above = append(above, stillDiverging(r))
		case incident.VerdictUnknown:
			blind = append(blind, r.Name+": "+strings.TrimSuffix(r.Missing, "."))
		default:
			blind = append(blind, r.Name)
		}
	}
	res.Verdict, res.Reason = joined(res, above, blind)
	return res
}

// judgeCount compares one count with its bound.
func judgeCount(c incident.DataCheck, before, after []incident.DataCount, at time.Time) incident.DataResult {
	r := incident.DataResult{Name: c.Name, System: c.System, AtMost: c.AtMost, Verdict: incident.VerdictUnknown, At: at}
	if b, ok := countNamed(before, c.Name); ok {
		r.Before = b.Count
	}
	now, ok := countNamed(after, c.Name)
	switch {
	case !ok:
		r.Missing = "nobody counted it"
	case now.Count == nil:
		r.At, r.Missing = now.At, now.Missing
		if r.Missing == "" {
			r.Missing = "nobody says why"
		}
	case *now.Count < 0:
		r.At, r.Missing = now.At, fmt.Sprintf("the count is %d, and a count is never below zero", *now.Count)
	default:
		r.At, r.After = now.At, now.Count
		r.Verdict = incident.VerdictRecovered
		if *r.After > c.AtMost {
			r.Verdict = incident.VerdictNotRecovered
		}
	}
	if r.After == nil {
		r.Reason = "It could not be counted."
		return r
	}
	r.Reason = capital(stillDiverging(r)) + "."
	return r
}

// countNamed finds the one count of a name; two are none.
func countNamed(counts []incident.DataCount, name string) (found incident.DataCount, ok bool) {
	n := 0
	for _, c := range counts {
		if c.Name == name {
			found = c
			n++
		}
	}
	return found, n == 1
}

// stillDiverging is a count in words, such as "37 still diverge: orders without a payment
// (41 before the rollback, at most 0 wanted)".
func stillDiverging(r incident.DataResult) string {
	verb := "diverge"
	if *r.After == 1 {
		verb = "diverges"
	}
	was := "not counted before the rollback"
	if r.Before != nil {
		was = fmt.Sprintf("%d before the rollback", *r.Before)
	}
	return fmt.Sprintf("%d still %s: %s (%s, at most %d wanted)", *r.After, verb, r.Name, was, r.AtMost)
}

// joined is the verdict over SLIs and data, and why. The SLIs stay a sentence of their
// own, so that people see which of the two it is.
func joined(res incident.RecoveryResult, above, blind []string) (incident.Verdict, string) {
	verdict := incident.VerdictRecovered
	var found []string
	if len(above) > 0 {
		verdict = incident.VerdictNotRecovered
		found = append(found, listed(above))
	}
	if len(blind) > 0 {
		if verdict == incident.VerdictRecovered {
			verdict = incident.VerdictUnknown
		}
		found = append(found, "what diverges is not known of "+listed(blind))
	}
	if rank(res.Verdict) > rank(verdict) {
		verdict = res.Verdict
	}
	data := strings.Join(found, "; and ")
	switch {
	case len(found) == 0 && len(res.Data) == 1:
		return verdict, fmt.Sprintf("%s Nothing diverges beyond its bound: %s, %d.", res.Reason, res.Data[0].Name, *res.Data[0].After)
	case len(found) == 0:
		return verdict, fmt.Sprintf("%s Nothing diverges beyond its bound in %d data checks.", res.Reason, len(res.Data))
	case res.Verdict == incident.VerdictRecovered && len(above) > 0:
		return verdict, fmt.Sprintf("The SLIs are well, but %s. Going back does not repair data.", data)
	case res.Verdict == incident.VerdictRecovered:
		return verdict, fmt.Sprintf("The SLIs are well, but %s.", data)
	default:
		return verdict, fmt.Sprintf("%s. %s", capital(data), res.Reason)
	}
}

// listed joins what is told, and counts the rest.
func listed(parts []string) string {
	if more := len(parts) - maxTold; more > 0 {
		return fmt.Sprintf("%s; and %d more", strings.Join(parts[:maxTold], "; "), more)
	}
	return strings.Join(parts, "; ")
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
