package activities

import (
	"time"

	"github.com/backout/backout/workflows/incident"
)

// RecordInput asks for entries of the ledger.
type RecordInput struct {
	Entries []incident.Entry `json:"entries"`
}

// ShowInput asks for entries of the ledger, and then for the card.
type ShowInput struct {
	View    incident.View    `json:"view"`
	Entries []incident.Entry `json:"entries"`
}

// ShowResult says what worked out. Card is nil if it is not known that it was shown.
type ShowResult struct {
	Card     *incident.CardRef `json:"card,omitempty"`
	Recorded bool              `json:"recorded"`
}

// CollectInput asks for what could be done about an incident.
type CollectInput struct {
	Key       string            `json:"key"`
	ServiceID string            `json:"service_id,omitempty"`
	Service   string            `json:"service,omitempty"`
	Severity  incident.Severity `json:"severity"`
	OnsetAt   time.Time         `json:"onset_at"`
	Now       time.Time         `json:"now"`
	// Previous are the options shown so far, so that IDs stay what they were.
	Previous []incident.Option `json:"previous,omitempty"`
	// Redo is a finished rollback whose inverse is wanted as an option too.
	Redo *incident.RollbackView `json:"redo,omitempty"`
}

// CollectResult is what can be done about an incident.
type CollectResult struct {
	Service string            `json:"service"`
	Team    string            `json:"team,omitempty"`
	Ranking incident.Ranking  `json:"ranking"`
	Options []incident.Option `json:"options"`
	// Notes are things people should know, such as a source that failed.
	Notes []string `json:"notes,omitempty"`
	// Incomplete says that a system did not answer, so that asking again may
	// find more.
	Incomplete bool `json:"incomplete,omitempty"`
	// At is when they were worked out.
	At time.Time `json:"at"`
	// DecideWithin is how long people have before the next level is paged.
	DecideWithin time.Duration `json:"decide_within"`
}

// DecideInput asks what one person's answer amounts to.
type DecideInput struct {
	EventID   string                 `json:"event_id"`
	Key       string                 `json:"key"`
	Request   incident.DecideRequest `json:"request"`
	Option    incident.Option        `json:"option"`
	Service   string                 `json:"service"`
	ServiceID string                 `json:"service_id,omitempty"`
	Severity  incident.Severity      `json:"severity"`
	Commander *incident.Person       `json:"commander,omitempty"`
	Requester *incident.Person       `json:"requester,omitempty"`
	// Prior are the decisions recorded before this one.
	Prior []incident.Decision `json:"prior,omitempty"`
	// VoidBefore is when the command was handed over last; approvals from
	// before it are void. Zero voids none.
	VoidBefore time.Time `json:"void_before,omitzero"`
	// Rollback is the ID of the rollback that an approval starts, and of no
	// other.
	Rollback string    `json:"rollback,omitempty"`
	Now      time.Time `json:"now"`
}

// DecideResult is the recorded decision and what the policy still needs.
type DecideResult struct {
	Decision incident.Decision `json:"decision"`
	// Waiting is what is still needed, for people.
	Waiting string `json:"waiting,omitempty"`
	// Approvers are the people whose answers satisfied the policy.
	Approvers []incident.Person `json:"approvers,omitempty"`
}

// AuthorizeInput asks who an actor is and which roles they hold, for a
// command.
type AuthorizeInput struct {
	EventID   string                  `json:"event_id"`
	Key       string                  `json:"key"`
	Request   incident.CommandRequest `json:"request"`
	Service   string                  `json:"service"`
	ServiceID string                  `json:"service_id,omitempty"`
	Commander *incident.Person        `json:"commander,omitempty"`
	Now       time.Time               `json:"now"`
}

// AuthorizeResult says who asked, and whether they may.
type AuthorizeResult struct {
	Outcome incident.Outcome `json:"outcome"`
	Person  incident.Person  `json:"person,omitzero"`
	Roles   []incident.Role  `json:"roles,omitempty"`
	Reason  string           `json:"reason"`
	// Target is whom the command is for, when it names somebody.
	Target incident.Person `json:"target,omitzero"`
}

// EscalateInput asks for the next level to be paged.
type EscalateInput struct {
	Key string `json:"key"`
	// ID is the recorded event that is the cause: the same ID is the same
	// escalation, and pages once.
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

// NoteInput asks for a note on the incident at its source.
type NoteInput struct {
	Key  string `json:"key"`
	ID   string `json:"id"`
	Text string `json:"text"`
	// Console adds the address of the incident's page in the console.
	Console bool `json:"console,omitempty"`
}

// EvidenceInput asks for the evidence of one phase of a rollback.
type EvidenceInput struct {
	EventID  string                 `json:"event_id"`
	Incident string                 `json:"incident"`
	Rollback string                 `json:"rollback"`
	Phase    incident.EvidencePhase `json:"phase"`
	Plan     incident.Plan          `json:"plan"`
	From     time.Time              `json:"from"`
	Until    time.Time              `json:"until"`
}

// ReplanInput asks whether the world still is as the plan says.
type ReplanInput struct {
	Plan   incident.Plan `json:"plan"`
	Digest string        `json:"digest"`
}

// ReplanResult is the plan as it would be made now.
type ReplanResult struct {
	Digest string `json:"digest"`
	// Differences are lines for people; empty when the digests are the same.
	Differences []string `json:"differences,omitempty"`
}

// ExecuteInput asks for one action.
type ExecuteInput struct {
	Incident string          `json:"incident"`
	Rollback string          `json:"rollback"`
	Index    int             `json:"index"`
	Action   incident.Action `json:"action"`
	// PlanDigest is what was approved; the digest of Plan must agree.
	PlanDigest string        `json:"plan_digest"`
	Plan       incident.Plan `json:"plan"`
	// IntentID and OutcomeID are the ledger entries around the effect.
	IntentID    string   `json:"intent_id"`
	OutcomeID   string   `json:"outcome_id"`
	DecisionIDs []string `json:"decision_ids"`
}

// MeasureInput asks for a verdict at one moment.
type MeasureInput struct {
	Plan          incident.Plan `json:"plan"`
	OnsetAt       time.Time     `json:"onset_at"`
	ChangedAt     time.Time     `json:"changed_at,omitzero"`
	StartedAt     time.Time     `json:"started_at"`
	ActionsDoneAt time.Time     `json:"actions_done_at"`
	// Before is what the data checks counted before the first action, Last how the
	// last look judged them; both empty where the runbook has none.
	Before []incident.DataCount  `json:"before,omitempty"`
	Last   []incident.DataResult `json:"last,omitempty"`
}

// RecoveryPlan is how a rollback waits for its verdict.
type RecoveryPlan struct {
	Warmup   time.Duration `json:"warmup"`
	Every    time.Duration `json:"every"`
	Long     time.Duration `json:"long,omitempty"`
	Hold     time.Duration `json:"hold"`
	Deadline time.Duration `json:"deadline"`
}

// AskInput asks how an incident stands at its source.
type AskInput struct {
	Source incident.Source `json:"source"`
	ID     string          `json:"id"`
}

// PostmortemInput asks for the incident's one issue.
type PostmortemInput struct {
	View incident.View `json:"view"`
}

// ReviewInput asks for the issue in which approvals past the policy are reviewed.
type ReviewInput struct {
	View incident.View `json:"view"`
	// Due is when the review is to be done.
	Due time.Time `json:"due"`
}

// ReconcileResult says what a reconciliation found.
type ReconcileResult struct {
	// Open counts the incidents open at the source, Delivered those that
	// their workflow has.
	Open      int `json:"open"`
	Delivered int `json:"delivered"`
	// Closed counts those that are open here and were found to be over there.
	Closed int `json:"closed,omitempty"`
	// Failed are those that could not be delivered or asked about; the next
	// run tries again.
	Failed []string `json:"failed,omitempty"`
}

// KeepInput asks for the states of targets to be kept for a while.
type KeepInput struct {
	For time.Duration `json:"for"`
}

// KeepResult says how that went.
type KeepResult struct {
	// Targets counts the targets that were to be followed.
	Targets int `json:"targets"`
	// Failed are those that could not be followed in the end, each with why.
	Failed []string `json:"failed,omitempty"`
}
