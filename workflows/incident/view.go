package incident

import "time"

// Phase is where an incident stands. The zero value is invalid.
type Phase string

// The phases of an incident.
const (
	PhaseCollecting  Phase = "collecting"
	PhaseDeciding    Phase = "deciding"
	PhaseRollingBack Phase = "rolling back"
	PhaseValidating  Phase = "validating"
	PhaseRecovered   Phase = "recovered"
	PhaseStuck       Phase = "stuck"
	PhaseClosed      Phase = "closed"
)

// EventKind says what a timeline event records. The zero value is invalid.
type EventKind string

// The kinds of event on a timeline and in the ledger.
const (
	EventPage        EventKind = "page"
	EventChange      EventKind = "change"
	EventOptions     EventKind = "options"
	EventDecision    EventKind = "decision"
	EventCommand     EventKind = "command"
	EventRollback    EventKind = "rollback"
	EventLock        EventKind = "lock"
	EventEvidence    EventKind = "evidence"
	EventIntent      EventKind = "intent"
	EventActionDone  EventKind = "action outcome"
	EventVerdict     EventKind = "verdict"
	EventEscalation  EventKind = "escalation"
	EventPostmortem  EventKind = "postmortem"
	EventPhaseChange EventKind = "phase"
	EventReminder    EventKind = "reminder"
	// EventAttempt is something that nobody with a right to it would send, and that
	// did nothing.
	EventAttempt EventKind = "refused attempt"
)

// Event is one line of a timeline. Every event is an entry of the ledger under
// the same ID.
type Event struct {
	// ID is unique in the ledger, such as "pagerduty/Q1/e7".
	ID   string    `json:"id"`
	Kind EventKind `json:"kind"`
	At   time.Time `json:"at"`
	// Actor is who did it, for people; empty for Backout itself.
	Actor string `json:"actor,omitempty"`
	// Text is one line for people. It may hold text from outside, so views
	// escape it.
	Text string `json:"text"`
	// URL leads to what the event is about, if anything.
	URL string `json:"url,omitempty"`
}

// ActionStatus says how far an action came. The zero value is invalid.
type ActionStatus string

// The states of an action inside a rollback.
const (
	ActionPending ActionStatus = "pending"
	ActionRunning ActionStatus = "running"
	// ActionDone means that the target was observed at "to".
	ActionDone ActionStatus = "done"
	// ActionRefused means that the target had drifted; nothing was touched.
	ActionRefused ActionStatus = "refused"
	// ActionFailed means that the target's true state is in Observed.
	ActionFailed  ActionStatus = "failed"
	ActionSkipped ActionStatus = "skipped"
)

// ActionView is the true state of one action and its target.
type ActionView struct {
	Action Action       `json:"action"`
	Status ActionStatus `json:"status"`
	// Observed is the last state seen, for people.
	Observed string `json:"observed,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Applied says that this rollback mutated the target, rather than finding
	// it at "to".
	Applied bool `json:"applied,omitempty"`
	// MutatedAt is when the effect was sent, zero if never.
	MutatedAt  time.Time `json:"mutated_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
}

// RollbackStatus says how a rollback stands. The zero value is invalid.
type RollbackStatus string

// The states of a rollback.
const (
	RollbackRunning RollbackStatus = "running"
	// RollbackVoid means that the plan moved before the first mutation: the
	// approval is void and nothing was touched.
	RollbackVoid RollbackStatus = "void"
	// RollbackLocked means that another rollback holds a target.
	RollbackLocked    RollbackStatus = "locked"
	RollbackDone      RollbackStatus = "done"
	RollbackPartial   RollbackStatus = "partial"
	RollbackFailed    RollbackStatus = "failed"
	RollbackCancelled RollbackStatus = "cancelled"
)

// RollbackView is one execution of a plan as it stands.
type RollbackView struct {
	ID         string `json:"id"`
	OptionID   string `json:"option_id"`
	PlanDigest string `json:"plan_digest"`
	// Service, Runbook and Option name what the plan was made from.
	Service string         `json:"service"`
	Runbook string         `json:"runbook"`
	Option  string         `json:"option"`
	Status  RollbackStatus `json:"status"`
	// Step is what it is doing now, for people.
	Step     string          `json:"step,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Actions  []ActionView    `json:"actions"`
	Before   *Manifest       `json:"before,omitempty"`
	After    *Manifest       `json:"after,omitempty"`
	Recovery *RecoveryResult `json:"recovery,omitempty"`
	// Chart is the picture of before, during and after; nil until it is drawn.
	Chart *ChartRef `json:"chart,omitempty"`
	// Events are the rollback's own lines of the timeline.
	Events []Event `json:"events,omitempty"`
	// ApprovedAt is when the policy was satisfied; the others are zero until
	// they happen.
	ApprovedAt      time.Time `json:"approved_at"`
	StartedAt       time.Time `json:"started_at,omitzero"`
	FirstMutationAt time.Time `json:"first_mutation_at,omitzero"`
	ActionsDoneAt   time.Time `json:"actions_done_at,omitzero"`
	FinishedAt      time.Time `json:"finished_at,omitzero"`
}

// CardRef is where the one Slack card of an incident is.
type CardRef struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	URL     string `json:"url,omitempty"`
}

// IsZero reports whether no card was posted yet.
func (c CardRef) IsZero() bool { return c.TS == "" }

// PostmortemRef is the one GitHub issue of an incident.
type PostmortemRef struct {
	Number int    `json:"number"`
	URL    string `json:"url"`
	// Due is when it is to be finished; zero when that was not said.
	Due time.Time `json:"due,omitzero"`
}

// View is an incident as people see it: the card, the console, the CLI and the
// postmortem are pure functions of it.
type View struct {
	// Key is "<source>/<id>".
	Key string `json:"key"`
	// Revision rises with every change that a person could see.
	Revision  int        `json:"revision"`
	Phase     Phase      `json:"phase"`
	Title     string     `json:"title"`
	Severity  Severity   `json:"severity"`
	Source    Source     `json:"source"`
	SourceURL string     `json:"source_url,omitempty"`
	Service   string     `json:"service"`
	Team      string     `json:"team,omitempty"`
	Commander *Person    `json:"commander,omitempty"`
	OpenedAt  time.Time  `json:"opened_at"`
	PagedAt   time.Time  `json:"paged_at"`
	OptionsAt time.Time  `json:"options_at,omitzero"`
	ClosedAt  time.Time  `json:"closed_at,omitzero"`
	Ranking   Ranking    `json:"ranking"`
	Options   []Option   `json:"options,omitempty"`
	Decisions []Decision `json:"decisions,omitempty"`
	// Waiting is what the policy still needs, for people; empty when nothing.
	Waiting string `json:"waiting,omitempty"`
	// Objections is an approved plan that waits for objections; nil when none does.
	Objections *Objections    `json:"objections,omitempty"`
	Rollbacks  []RollbackView `json:"rollbacks,omitempty"`
	// Decided are options that people answered and that are not offered any more, as
	// they were shown, the newest last.
	Decided  []Option `json:"decided,omitempty"`
	Timeline []Event  `json:"timeline,omitempty"`
	// Pins are messages that people put into the timeline, by when they were written.
	Pins       []Pin         `json:"pins,omitempty"`
	Card       CardRef       `json:"card,omitzero"`
	Postmortem PostmortemRef `json:"postmortem,omitzero"`
	// Notes are things people should know, such as a source that did not
	// answer in time.
	Notes      []string `json:"notes,omitempty"`
	ConsoleURL string   `json:"console_url,omitempty"`
}

// Objections is an approved plan whose rollback starts at a moment, unless somebody
// who may refuse it does before.
type Objections struct {
	OptionID   string `json:"option_id"`
	PlanDigest string `json:"plan_digest"`
	// EventID is the decision that satisfied the policy, and Approvers are the people
	// whose answers did.
	EventID   string   `json:"event_id"`
	Approvers []Person `json:"approvers"`
	// Until is when the rollback starts, and ExpiresAt when the approval counts no
	// more.
	Until     time.Time `json:"until"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Option returns the option with the given ID.
func (v View) Option(id string) (Option, bool) {
	for _, o := range v.Options {
		if o.ID == id {
			return o, true
		}
	}
	return Option{}, false
}

// LastRollback returns the newest rollback, or nil.
func (v View) LastRollback() *RollbackView {
	if len(v.Rollbacks) == 0 {
		return nil
	}
	return &v.Rollbacks[len(v.Rollbacks)-1]
}

// PostmortemState is how the issue of a postmortem stands.
type PostmortemState struct {
	// Open says that it is not closed, and Items counts its action items that nobody
	// ticked.
	Open  bool `json:"open"`
	Items int  `json:"items"`
}
