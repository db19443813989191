package incident

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Workflow type names. They live in histories and never change.
const (
	WorkflowIncident  = "Incident"
	WorkflowRollback  = "Rollback"
	WorkflowLock      = "TargetLock"
	WorkflowReconcile = "Reconcile"
	WorkflowRecording = "Recording"
)

// Message names of the Incident workflow. They live in histories and never
// change.
const (
	// UpdatePage takes a Page and returns a Result.
	UpdatePage = "page"
	// UpdateDecide takes a DecideRequest and returns a Result.
	UpdateDecide = "decide"
	// UpdateCommand takes a CommandRequest and returns a Result.
	UpdateCommand = "command"
	// QueryView takes nothing and returns a View.
	QueryView = "view"
	// SignalRollback takes a RollbackView: a rollback reports to its incident.
	SignalRollback = "rollback"
	// SignalAttempt takes an Attempt: the bot refused something.
	SignalAttempt = "attempt"
)

// Message names of the Rollback and TargetLock workflows.
const (
	// SignalCancel asks a rollback to stop before its next action.
	SignalCancel = "cancel"
	// SignalRelease ends a lock.
	SignalRelease = "release"
	// QueryHolder returns the ID of the rollback that holds a lock.
	QueryHolder = "holder"
)

// Search attributes that Backout writes; all are keywords.
const (
	SearchPhase    = "BackoutPhase"
	SearchService  = "BackoutService"
	SearchSeverity = "BackoutSeverity"
)

// TaskQueue is the task queue of all of Backout's workflows and activities.
const TaskQueue = "backout"

// TaskTimeout is how long a workflow stands still when its worker dies with a task of
// it in hand. A task takes milliseconds, and a long replay a second.
const TaskTimeout = 5 * time.Second

// Key is the name of an incident: its source and the identifier there.
func Key(source Source, id string) string { return string(source) + "/" + id }

// WorkflowID is the ID of an incident's workflow.
func WorkflowID(key string) string { return "incident/" + key }

// KeyOf is the key in an incident's workflow ID; empty if it is none.
func KeyOf(workflowID string) string {
	k, ok := strings.CutPrefix(workflowID, "incident/")
	if !ok {
		return ""
	}
	return k
}

// RollbackID is the ID of the n-th rollback of an incident, n from 1.
func RollbackID(key string, n int) string { return fmt.Sprintf("rollback/%s/%d", key, n) }

// LockID is the ID of the workflow that holds the lock on a target.
func LockID(t Target) string { return "lock/" + t.String() }

// ReconcileID is the ID of the scheduled reconciliation of a source.
func ReconcileID(source Source) string { return "reconcile/" + string(source) }

// RecordingID is the ID of the one recording of states.
const RecordingID = "recording"

// EventID is the n-th event of an incident or rollback.
func EventID(prefix string, n int) string { return fmt.Sprintf("%s/e%d", prefix, n) }

// PageEventID is the event of a page of the source. It follows from the page alone,
// so that it is the same whatever else happens at the same moment.
func PageEventID(prefix, eventID string) string {
	sum := sha256.Sum256([]byte(eventID))
	return fmt.Sprintf("%s/p%x", prefix, sum[:8])
}

// OptionsEventID is the event of the n-th time that options are offered, from 1.
func OptionsEventID(prefix string, n int) string { return fmt.Sprintf("%s/o%d", prefix, n) }

// DecisionEventID is the event of a person's answer. It follows from the answer
// alone: the same answer is the same event however often it is worked on, by
// whomever, and another answer never is. So no answer counts twice.
func DecisionEventID(key, decisionID string) string { return requestID(key, "d", decisionID) }

// VoidEventID is the event of an approval, by its own event, that was taken back
// before it came to anything. No such approval counts again.
func VoidEventID(decisionEventID string) string { return decisionEventID + "/void" }

// ExpiryEventID is the event of an approval, by its own event, that expired while it
// waited for others.
func ExpiryEventID(decisionEventID string) string { return decisionEventID + "/expired" }

// AttemptEventID is the event of a refused attempt. It follows from what was tried,
// so that the same attempt is on record once.
func AttemptEventID(key, attempt string) string { return requestID(key, "x", attempt) }

// CommandEventID is the event of a person's command, in the same way.
func CommandEventID(key, commandID string) string { return requestID(key, "c", commandID) }

func requestID(key, kind, id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("%s/%s%x", key, kind, sum[:12])
}

// keyPattern is what an incident key may look like. It is stricter than
// Temporal, so that a key is safe in URLs, file names and messages.
var keyPattern = regexp.MustCompile(`^(pagerduty|alertmanager|slack|cli)/[A-Za-z0-9._-]{1,128}$`)

// ValidKey reports whether key names an incident.
func ValidKey(key string) bool { return keyPattern.MatchString(key) }

// IntentID is the ledger entry that announces an action of a rollback, index
// from 0; back is true for the action that takes it back. There is one such ID
// for each, so that no action of a rollback is ever carried out under another.
func IntentID(rollbackID string, index int, back bool) string {
	return actionID(rollbackID, index, back) + "/intent"
}

// OutcomeID is the ledger entry that says what became of an action of a
// rollback.
func OutcomeID(rollbackID string, index int, back bool) string {
	return actionID(rollbackID, index, back) + "/outcome"
}

func actionID(rollbackID string, index int, back bool) string {
	id := fmt.Sprintf("%s/a%d", rollbackID, index)
	if back {
		id += "/back"
	}
	return id
}

// EvidenceID is the ledger entry of a rollback's manifest of one phase.
func EvidenceID(rollbackID string, phase EvidencePhase) string {
	return rollbackID + "/evidence/" + string(phase)
}

// ChartID is the ledger entry of a rollback's chart.
func ChartID(rollbackID string) string { return EvidenceID(rollbackID, EvidenceChart) }

// SharedChartID is the ledger entry that says where a rollback's chart is shown.
func SharedChartID(rollbackID string) string { return ChartID(rollbackID) + "/shown" }

// RollbackOf reports whether a rollback ID is one of that incident.
func RollbackOf(rollbackID, key string) bool {
	return strings.HasPrefix(rollbackID, "rollback/"+key+"/")
}

// IncidentInput starts an Incident workflow. The first page also follows as an
// update, in the same call, so that its sender learns what became of it.
type IncidentInput struct {
	Key string `json:"key"`
	// Page is the first page; nil over a continue-as-new. The start and the
	// update are two writes: with the page in the first, an incident that began
	// knows what it is about whatever happens in between.
	Page *Page `json:"page,omitempty"`
	// State carries an incident over a continue-as-new; nil at the start.
	State *IncidentState `json:"state,omitempty"`
}

// IncidentState is what an incident carries over a continue-as-new.
type IncidentState struct {
	View View `json:"view"`
	// Results are the results by decision, command and page ID, for dedupe.
	Results map[string]Result `json:"results"`
	// Events counts the events of the incident so far.
	Events int `json:"events"`
	// Offers counts how often options were offered.
	Offers int `json:"offers,omitempty"`
	// SourceKind and SourceAt are the newest event that moved the incident at
	// its source, so that events may arrive in any order.
	SourceKind PageKind  `json:"source_kind"`
	SourceAt   time.Time `json:"source_at"`
	// CarriedOut is the digest of the plan that the last rollback carried out, until the
	// options are worked out anew: what is offered meanwhile is from before it.
	CarriedOut string `json:"carried_out,omitempty"`
	// ByHand says that somebody closed the incident here, and not only at its source.
	ByHand bool `json:"by_hand,omitempty"`
	// ServiceID is the source's identifier of the service.
	ServiceID string `json:"service_id,omitempty"`
	// Prefix begins the IDs of the incident's events and rollbacks, and is its
	// key, with a tag of its own when the incident had been open before. Empty
	// is the key.
	Prefix string `json:"prefix,omitempty"`
	// DecideBy is when the next level is paged if nobody has decided; zero when
	// nothing waits for a decision, or when it has been paged.
	DecideBy time.Time `json:"decide_by,omitzero"`
	// Overdue says that the next level was paged because nobody decided on what
	// is offered now.
	Overdue bool `json:"overdue,omitempty"`
	// VoidBefore is when the command was handed over last: approvals given
	// earlier are void.
	VoidBefore time.Time `json:"void_before,omitzero"`
	// RedoBy is who asked for a rollback to be undone.
	RedoBy *Person `json:"redo_by,omitempty"`
	// Unrecorded says that the ledger refused an event for good, so that
	// nothing is executed any more.
	Unrecorded bool `json:"unrecorded,omitempty"`
	// LookAgain is when the options are worked out again because a system did
	// not answer; Looks counts how often they were for that reason.
	LookAgain time.Time `json:"look_again,omitzero"`
	Looks     int       `json:"looks,omitempty"`
	// OptionNotes are the notes in the view that the options brought; the next
	// ones take their place.
	OptionNotes []string `json:"option_notes,omitempty"`
	// Pending are entries that the ledger may not have yet.
	Pending []Entry `json:"pending,omitempty"`
	// Unwritten says that the postmortem is to be written.
	Unwritten bool `json:"unwritten,omitempty"`
	// ReviewDue is when approvals past the policy are to be reviewed; zero while
	// there are none. Unreviewed says that the issue for it is to be written.
	ReviewDue  time.Time `json:"review_due,omitzero"`
	Unreviewed bool      `json:"unreviewed,omitempty"`
	// Undrawn are the rollbacks whose charts are to be drawn and shown, oldest first.
	Undrawn []UndrawnChart `json:"undrawn,omitempty"`
	// Idle counts the answers that did nothing, by class.
	Idle []Tally `json:"idle,omitempty"`
	// Spent are the answers that were counted and not recorded by themselves, newest
	// last: each a short digest of its ID and the index of its class in Idle.
	Spent []string `json:"spent,omitempty"`
	// Asked are the plans with a reminder that people have been asked about.
	Asked []Asked `json:"asked,omitempty"`
	// Reminded is the note in the view that reminds people.
	Reminded string `json:"reminded,omitempty"`
	// PinLooks counts the looks at pinned messages.
	PinLooks int `json:"pin_looks,omitempty"`
	// Escalated are the causes for which the next level has been paged.
	Escalated []string `json:"escalated,omitempty"`
}

// UndrawnChart is a rollback whose chart is to be drawn and shown, with what its view
// does not have.
type UndrawnChart struct {
	Rollback  string    `json:"rollback"`
	Plan      Plan      `json:"plan"`
	OnsetAt   time.Time `json:"onset_at"`
	ChangedAt time.Time `json:"changed_at,omitzero"`
}

// Tally counts the answers of one class that did nothing.
type Tally struct {
	Outcome Outcome `json:"outcome"`
	// Reason is what they were told, if it was the same for all; empty for answers
	// that were judged.
	Reason string `json:"reason,omitempty"`
	// Count is how many there were, and Untold how many of them no entry stands for
	// yet, the first of which came at Since.
	Count  int       `json:"count"`
	Untold int       `json:"untold,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Asked is a plan that people have been asked about, and whether they were reminded
// of it.
type Asked struct {
	PlanDigest string    `json:"plan_digest"`
	At         time.Time `json:"at"`
	Reminded   bool      `json:"reminded,omitempty"`
}

// RollbackInput starts a Rollback workflow.
type RollbackInput struct {
	ID         string    `json:"id"`
	Incident   string    `json:"incident"`
	Option     Option    `json:"option"`
	ApprovedAt time.Time `json:"approved_at"`
	// Approvers are the people whose decisions satisfied the policy.
	Approvers []Person `json:"approvers"`
	// DecisionIDs are their recorded events.
	DecisionIDs []string `json:"decision_ids"`
	// OnsetAt is when the harm began, for the baseline window.
	OnsetAt time.Time `json:"onset_at"`
	// ChangedAt is when the suspected change happened; zero if there is none.
	ChangedAt time.Time `json:"changed_at,omitzero"`
}

// LockInput starts a TargetLock workflow.
type LockInput struct {
	Target Target `json:"target"`
	Holder string `json:"holder"`
}

// Application error types: what an activity's failure means to a workflow.
// They live in histories and never change.
const (
	// ErrTypeDrift means that the target is neither at "from" nor at "to".
	ErrTypeDrift = "Drift"
	// ErrTypeDenied means that the credential may not do this.
	ErrTypeDenied = "PermissionDenied"
	// ErrTypeInvalid means that trying again can not help.
	ErrTypeInvalid = "Invalid"
	// ErrTypeLedger means that the ledger could not be written, so that
	// nothing may be executed.
	ErrTypeLedger = "LedgerUnavailable"
	// ErrTypeNotFound means that what was asked for does not exist.
	ErrTypeNotFound = "NotFound"
)

// ErrNoIdentity means that an actor is not exactly one active person.
var ErrNoIdentity = errors.New("actor is not exactly one active person")
