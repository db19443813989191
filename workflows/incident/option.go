package incident

import "time"

// Tier says how much authority a plan needs. The zero value is invalid, so a
// plan whose tier was not computed can not be approved.
type Tier int

// The tiers of the default policy, in rising authority.
const (
	TierUnknown Tier = iota
	// TierOnCall is one service, no shared state, reversible.
	TierOnCall
	// TierCommander is several services, or shared data.
	TierCommander
	// TierCommanderAndOwner is a global flag, all customers, or irreversible.
	TierCommanderAndOwner
	// TierForbidden is a plan that no policy rule lets anybody approve.
	TierForbidden
)

// String names the tier as policies spell it.
func (t Tier) String() string {
	switch t {
	case TierOnCall:
		return "tier-1"
	case TierCommander:
		return "tier-2"
	case TierCommanderAndOwner:
		return "tier-3"
	case TierForbidden:
		return "forbidden"
	case TierUnknown:
		return "unknown"
	default:
		return "unknown"
	}
}

// Reach is one thing that executing a plan can touch, and why we think so.
type Reach struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// BlastRadius is what executing a plan can touch.
type BlastRadius struct {
	// Services are changed directly; Dependents call them.
	Services   []Reach `json:"services"`
	Dependents []Reach `json:"dependents,omitempty"`
	// SharedData are stores that other services read or write too.
	SharedData []Reach `json:"shared_data,omitempty"`
	// Global says that all customers are touched at once, with the reason.
	Global *Reach `json:"global,omitempty"`
	// Irreversible are the actions that have no inverse.
	Irreversible []Reach `json:"irreversible,omitempty"`
	// What was measured of the services; nil when nobody says how to measure it.
	TrafficShare *Measured `json:"traffic_share,omitempty"`
	Customers    *Measured `json:"customers,omitempty"`
	Replicas     *Measured `json:"replicas,omitempty"`
	Regions      *Measured `json:"regions,omitempty"`
}

// PreflightResult says how one preflight check came out. The zero value is
// invalid.
type PreflightResult string

// The results of a preflight check. Anything but PreflightOK on a blocking
// check keeps the option from being offered.
const (
	PreflightOK      PreflightResult = "ok"
	PreflightWarning PreflightResult = "warning"
	PreflightBlocked PreflightResult = "blocked"
	PreflightUnknown PreflightResult = "unknown"
)

// Preflight is one check made before an option is offered.
type Preflight struct {
	// Name is the check in a word or two, such as "revision exists".
	Name   string          `json:"name"`
	Result PreflightResult `json:"result"`
	// Reason is one plain sentence for people.
	Reason string `json:"reason"`
}

// Rung is how far an option goes from safe to risky (REQUIREMENTS C4). The
// zero value is invalid.
type Rung int

// The rungs, from safe to risky.
const (
	RungUnknown Rung = iota
	RungObserve
	RungVisibility
	RungReversible
	RungControlled
	RungIrreversible
)

// Suspect is a change with its score as the cause of an incident.
type Suspect struct {
	Change Change `json:"change"`
	// Score is between 0 and 1; scores are comparable inside one ranking only.
	Score float64 `json:"score"`
	// Reason is one line for people.
	Reason string `json:"reason"`
}

// Ranking is the ordered suspects of an incident, or an abstention.
type Ranking struct {
	Suspects []Suspect `json:"suspects,omitempty"`
	// Likely is the index of the suspect to blame, or -1 when the ranking
	// abstains.
	Likely int `json:"likely"`
	// Reason says in one line why it blames or why it abstains.
	Reason string `json:"reason"`
}

// Option is one way out that is offered to the responders.
type Option struct {
	// ID is stable inside the incident: "o1", "o2" and so on.
	ID    string `json:"id"`
	Title string `json:"title"`
	Plan  Plan   `json:"plan"`
	// Digest is the plan's digest, what people approve.
	Digest     string      `json:"digest"`
	Radius     BlastRadius `json:"radius"`
	Tier       Tier        `json:"tier"`
	TierReason string      `json:"tier_reason"`
	// StepUp says that the policy counts an approval of this tier only with a
	// second proof, which is given in the console.
	StepUp bool `json:"step_up,omitempty"`
	// BreakGlass says that the policy lets one person approve a plan of this tier
	// alone, past its quorum, with a reason.
	BreakGlass bool `json:"break_glass,omitempty"`
	// Reminder says when people are reminded of a missing answer; nil for never.
	Reminder     *Reminder     `json:"reminder,omitempty"`
	Rung         Rung          `json:"rung"`
	Suspect      *Suspect      `json:"suspect,omitempty"`
	ExpectedTime time.Duration `json:"expected_time"`
	Risk         string        `json:"risk,omitempty"`
	WontRevert   []string      `json:"wont_revert,omitempty"`
	Preflight    []Preflight   `json:"preflight,omitempty"`
	// Blocked says that a preflight check forbids the option; it is shown, and
	// can not be chosen.
	Blocked bool `json:"blocked,omitempty"`
	// Authors made the change that the option undoes, as its sources spell
	// them. None of them is its sole approver.
	Authors []string `json:"authors,omitempty"`
	// SLOBurn is how fast the objectives burned when the option was worked out;
	// nil when the policy does not ask.
	SLOBurn *Measured `json:"slo_burn,omitempty"`
	// Recommended marks at most one option of an incident.
	Recommended bool `json:"recommended,omitempty"`
}

// Reminder is how long an answer to an option may be missing, and who is waited for,
// for people.
type Reminder struct {
	After time.Duration `json:"after"`
	Of    string        `json:"of"`
}

// OneWay reports whether executing the option can not be undone.
func (o Option) OneWay() bool { return !o.Plan.Reversible() }
