package recovery

import (
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Times are the moments that place the windows.
type Times struct {
	// ChangedAt is when the suspected change happened; zero if there is none.
	ChangedAt time.Time
	// OnsetAt is when the harm began; zero if it is not known. One of
	// ChangedAt and OnsetAt is needed for a baseline.
	OnsetAt time.Time
	// ActionsDoneAt is when the last action of the rollback finished.
	ActionsDoneAt time.Time
	// Now is the moment of judging.
	Now time.Time
}

// Range is one query over time; From and Until are both inclusive. The zero
// value asks for nothing.
type Range struct {
	From, Until time.Time
	Step        time.Duration
}

// IsZero reports whether there is nothing to ask for.
func (r Range) IsZero() bool { return !r.Until.After(r.From) || r.Step <= 0 }

// Points is how many samples a series without gaps has in the range.
func (r Range) Points() int {
	if r.IsZero() {
		return 0
	}
	return int(r.Until.Sub(r.From)/r.Step) + 1
}

// Queries are the ranges to ask a probe for, for the signal and for the
// traffic of each SLI.
type Queries struct {
	// Baseline is the healthy window before the change; zero when no moment is
	// known that it could lie before.
	Baseline Range
	// During is from the onset to the end of the rollback, at most as long as
	// the baseline. It is for people: nothing is judged by it.
	During Range
	// After is the long window that ends now, cut to samples that count. The
	// short window is its end.
	After Range
	// Counted is all that counts, from the warm-up to now, and within the most
	// samples that may be asked for; After is its end. Ask for it instead of After.
	Counted Range
	// Ready says that the long window lies wholly after the warm-up. Before
	// that nothing can be recovered.
	Ready bool
}

// Windows places the queries. The baseline ends spec.BaselineGap before the
// earlier of change and onset; samples after the rollback count from
// spec.Warmup after the last action. Moments are cut to the millisecond, as
// Prometheus keeps time, so that no sample falls between two windows.
func Windows(spec incident.RecoverySpec, t Times) Queries {
	t = Times{
		ChangedAt: t.ChangedAt.Truncate(time.Millisecond), OnsetAt: t.OnsetAt.Truncate(time.Millisecond),
		ActionsDoneAt: t.ActionsDoneAt.Truncate(time.Millisecond), Now: t.Now.Truncate(time.Millisecond),
	}
	var q Queries
	if anchor := earliest(t.ChangedAt, t.OnsetAt); !anchor.IsZero() {
		until := anchor.Add(-spec.BaselineGap)
		q.Baseline = Range{From: until.Add(-spec.BaselineLength), Until: until, Step: spec.Step}
	}
	if t.ActionsDoneAt.IsZero() || t.Now.IsZero() {
		return q
	}
	onset := t.OnsetAt
	if onset.IsZero() {
		onset = t.ChangedAt
	}
	if !onset.IsZero() {
		q.During = Range{From: latest(onset, t.ActionsDoneAt.Add(-spec.BaselineLength)), Until: t.ActionsDoneAt, Step: spec.Step}
	}
	counted := t.ActionsDoneAt.Add(spec.Warmup)
	from := t.Now.Add(-spec.Long)
	q.Ready = !from.Before(counted)
	if t.Now.After(counted) {
		q.After = Range{From: latest(from, counted), Until: t.Now, Step: spec.Step}
		q.Counted = Range{From: latest(counted, t.Now.Add(-(MaxPoints-2)*spec.Step)), Until: t.Now, Step: spec.Step}
	}
	return q
}

// earliest is the earlier of two moments, leaving out a zero one.
func earliest(a, b time.Time) time.Time {
	switch {
	case a.IsZero():
		return b
	case b.IsZero() || a.Before(b):
		return a
	default:
		return b
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
