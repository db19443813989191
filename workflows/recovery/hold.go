package recovery

import (
	"time"

	"github.com/backout/backout/workflows/incident"
)

// HoldState says where a hold stands. The zero value is invalid.
type HoldState string

// The states of a hold. Only HoldDone closes.
const (
	// HoldWaiting means that nothing is recovered, or no longer.
	HoldWaiting HoldState = "waiting"
	// HoldRunning means that it is recovered and must stay so.
	HoldRunning HoldState = "running"
	// HoldDone means that it stayed recovered for the whole hold.
	HoldDone HoldState = "done"
	// HoldRelapsed means that it was recovered and is not any more; the hold
	// begins again.
	HoldRelapsed HoldState = "relapsed"
)

// Hold watches that a recovery lasts. It is a value: a workflow keeps it and
// feeds it every result in order. The zero value is a hold that has not begun.
type Hold struct {
	// Since is when the unbroken run of recovered results began; zero when the
	// last result was not recovered.
	Since time.Time `json:"since,omitzero"`
	// Last is when it was judged last.
	Last time.Time `json:"last,omitzero"`
	// Relapses counts the runs that ended in "not recovered".
	Relapses int `json:"relapses,omitempty"`
}

// Next takes in one result. Anything but "recovered" ends the run; "not
// recovered" within a run is a relapse. Results that are further apart than
// the long window do not join up, because nobody looked at what lies between
// them.
func (h Hold) Next(spec incident.RecoverySpec, r incident.RecoveryResult) (Hold, HoldState) {
	previous := h.Last
	h.Last = r.At
	switch r.Verdict {
	case incident.VerdictRecovered:
	case incident.VerdictNotRecovered:
		if h.Since.IsZero() {
			return h, HoldWaiting
		}
		h.Since = time.Time{}
		h.Relapses++
		return h, HoldRelapsed
	case incident.VerdictUnknown:
		h.Since = time.Time{}
		return h, HoldWaiting
	default:
		h.Since = time.Time{}
		return h, HoldWaiting
	}
	if h.Since.IsZero() || r.At.Before(previous) || r.At.Sub(previous) > spec.Long {
		h.Since = r.At
	}
	if r.At.Sub(h.Since) >= spec.Hold {
		return h, HoldDone
	}
	return h, HoldRunning
}

// Overdue reports whether judging has to end: the deadline after the last
// action is over.
func Overdue(spec incident.RecoverySpec, actionsDoneAt, now time.Time) bool {
	return now.Sub(actionsDoneAt) >= spec.Deadline
}
