package driver

import (
	"context"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Inverse is one kind of inverse on one connected system. Implementations are
// safe for concurrent use, hold no state about a rollback, and put no
// credential into an error.
type Inverse interface {
	// Plan reads the target and works out the absolute states to go between.
	// It changes nothing. A target that can not be rolled back is not an
	// error: it comes back with a blocked Preflight.
	Plan(ctx context.Context, req PlanRequest) (Planned, error)

	// Observe reads the target's present state. It changes nothing.
	Observe(ctx context.Context, action incident.Action) (Observation, error)

	// Apply takes the target from action.From to action.To in one
	// compare-and-set, or does nothing: it returns a *DriftError when the
	// target is at neither, and nil without an effect when it is at To. It
	// returns once the system has accepted the change, not when it has
	// settled.
	Apply(ctx context.Context, action incident.Action, key string) (Receipt, error)
}

// Waiter is an Inverse whose system tells when a target has settled, so that this is
// noticed at once and not at the next look.
type Waiter interface {
	// Await returns nil when the target seems to have settled at action.To. That is a
	// hint: what counts is the observation after it. Any error, such as a missing
	// right, leaves the target to be looked at again and again. It changes nothing.
	Await(ctx context.Context, action incident.Action) error
}

// PlanRequest says what a plan should lead back to. Exactly one of Revision
// and Before is set.
type PlanRequest struct {
	Target incident.Target
	// Revision asks for that absolute revision of the target.
	Revision string
	// Before asks for the state that was in place just before this moment,
	// which the plan resolves to an absolute revision.
	Before time.Time
}

// Planned is what a driver found out about a target.
type Planned struct {
	// From is the present state, To the wanted one. Both are zero when a
	// blocked Preflight says why there is nothing to do.
	From, To incident.State
	// Reversible says that applying with From and To swapped restores From.
	Reversible bool
	// ExpectedTime is how long Apply and settling take, as far as known.
	ExpectedTime time.Duration
	// WontRevert lists, for people, what stays as it is.
	WontRevert []string
	// Preflight are the checks made, good and bad, in the order made.
	Preflight []incident.Preflight
}

// Blocked reports whether a check forbids the action. No check at all, or an
// invalid result, blocks too.
func (p Planned) Blocked() bool {
	if len(p.Preflight) == 0 {
		return true
	}
	for _, c := range p.Preflight {
		switch c.Result {
		case incident.PreflightOK, incident.PreflightWarning, incident.PreflightUnknown:
		case incident.PreflightBlocked:
			return true
		default:
			return true
		}
	}
	return false
}

// Observation is the state of a target at one moment.
type Observation struct {
	State incident.State
	// Settled says that the system has finished taking on State, such as a
	// rollout whose pods are all available.
	Settled bool
	// Detail is one line for people, such as "2 of 3 pods available".
	Detail string
}

// Receipt is what Apply did.
type Receipt struct {
	// Mutated says that this very call changed the target.
	Mutated bool
	// Detail is one line for people, such as "revision 5 written".
	Detail string
}

// Reacher is a connection that can show that its system answers and takes the
// credential. Connections are made without asking the system, so that one that
// is down does not keep Backout from starting.
type Reacher interface {
	// Reach asks the system for something harmless. It changes nothing.
	Reach(ctx context.Context) error
}

// ChangeSource finds changes that a system recorded.
type ChangeSource interface {
	// Changes lists the changes of a target in a window of time, oldest first.
	// It changes nothing. A partial answer is an error.
	Changes(ctx context.Context, q ChangeQuery) ([]incident.Change, error)
}

// ChangeQuery asks for the changes of one target of one service.
type ChangeQuery struct {
	// Service is the catalogue's name, to be put into each change.
	Service string
	Target  incident.Target
	// Kind is what the runbook says a change of this target is, such as
	// incident.ChangeConfig; empty leaves it to the source.
	Kind incident.ChangeKind
	// Since and Until bound the window, both inclusive.
	Since, Until time.Time
}

// Recorder keeps the states of targets whose system keeps no history of them, so
// that there is something to go back to. It is registered under the name of the
// kind of inverse that goes back there. Implementations are safe for concurrent use,
// also by several processes.
type Recorder interface {
	// Record captures the present state of a target, if the latest captured one is
	// another, and returns it. Recording twice is recording once.
	Record(ctx context.Context, target incident.Target) (incident.State, error)
	// Watch captures the present state of a target and then every state that it
	// takes on, until the context ends, whose error it returns. A target that is
	// missing, and a system that is away, are waited for. What waiting can not mend
	// ends it with a final error.
	Watch(ctx context.Context, target incident.Target) error
	// Check reports what keeps the states of a target from being captured, such as
	// a missing right, and a present state that was not captured. It changes
	// nothing. A target that is missing is an error wrapping ErrNotFound.
	Check(ctx context.Context, target incident.Target) error
}

// Collector captures evidence.
type Collector interface {
	// Collect captures what the request names. It changes nothing. What could
	// not be had is an error; the caller records it as missing, beside the
	// documents that are returned with it.
	Collect(ctx context.Context, req CollectRequest) ([]Evidence, error)
}

// CollectRequest says what to capture.
type CollectRequest struct {
	Target incident.Target
	// From and Until are the window of interest.
	From, Until time.Time
	// Params are the collector's own settings, from the runbook.
	Params map[string]string
	// Action is what the plan does to this very target; zero when it does nothing
	// to it.
	Action incident.Action
}

// Evidence is one captured document, before redaction.
type Evidence struct {
	Name      string
	MediaType string
	Content   []byte
	// From, if not nil, is what Content is compared with: the difference of both is
	// what is kept, redacted on both sides before.
	From []byte
}

// Probe measures. It returns every series the query yields: that there is
// exactly one is the judge's business.
type Probe interface {
	QueryRange(ctx context.Context, query string, from, until time.Time, step time.Duration) ([]incident.Series, error)
}
