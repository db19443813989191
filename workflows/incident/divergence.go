package incident

import (
	"slices"
	"time"
)

// DataCheck counts what a bad change left behind in data, which going back does not
// take away. Exactly one of SQL and PromQL is set.
type DataCheck struct {
	// Name says what diverges, such as "orders without a payment".
	Name string `json:"name"`
	// System is the configured database, or Prometheus, that is asked.
	System string `json:"system"`
	// SQL is one SELECT of the runbook's author that yields one row with one count.
	SQL string `json:"sql,omitempty"`
	// PromQL is a query of the runbook's author that yields one series: the count.
	PromQL string `json:"promql,omitempty"`
	// AtMost is the highest count at which nothing diverges. Zero or above.
	AtMost int64 `json:"at_most"`
}

// DataCount is what a data check counted at one moment.
type DataCount struct {
	// Name is the check's.
	Name string `json:"name"`
	// Count is nil when it could not be counted.
	Count *int64 `json:"count,omitempty"`
	// Missing says, for people, why it could not be counted; empty when it was.
	Missing string    `json:"missing,omitempty"`
	At      time.Time `json:"at"`
}

// DataResult is how one data check was judged.
type DataResult struct {
	Name   string `json:"name"`
	System string `json:"system"`
	// Verdict is VerdictRecovered when the count is within its bound and
	// VerdictNotRecovered when it is above.
	Verdict Verdict `json:"verdict"`
	// Reason is one sentence for people with the numbers in it.
	Reason string `json:"reason"`
	AtMost int64  `json:"at_most"`
	// Before was counted before the first action, After last; nil where nobody could
	// count.
	Before *int64 `json:"before,omitempty"`
	After  *int64 `json:"after,omitempty"`
	// Missing says why After could not be counted; empty when it was.
	Missing string `json:"missing,omitempty"`
	// At is when After was counted.
	At time.Time `json:"at"`
}

// Diverging are the data checks that were counted and are above their bounds.
func (r RecoveryResult) Diverging() []DataResult {
	var out []DataResult
	for _, d := range r.Data {
		if d.Verdict == VerdictNotRecovered && d.After != nil {
			out = append(out, d)
		}
	}
	return out
}

// Counted is how data was judged last in an incident: after the newest of its rollbacks
// whose runbook counts. Nil when none does.
func (v View) Counted() *RecoveryResult {
	for _, rb := range slices.Backward(v.Rollbacks) {
		if rb.Recovery != nil && len(rb.Recovery.Data) > 0 {
			return rb.Recovery
		}
	}
	return nil
}

// NoteDiverging begins the note that an incident stays open because of its data. The name
// of a data check and what to do follow it.
const NoteDiverging = "The incident was resolved at its source, and data still diverges: "

// DataAlone reports whether every SLI is well and only data keeps the verdict from
// being VerdictRecovered.
func (r RecoveryResult) DataAlone() bool {
	for _, s := range r.SLIs {
		if s.Verdict != VerdictRecovered {
			return false
		}
	}
	for _, d := range r.Data {
		if d.Verdict != VerdictRecovered {
			return len(r.SLIs) > 0
		}
	}
	return false
}
