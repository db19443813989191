package incident

import (
	"strings"
	"time"
)

// WorkflowFollowUp reminds people of an unfinished postmortem, and takes what they pin
// once the incident is over. It lives in histories and never changes.
const WorkflowFollowUp = "PostmortemFollowUp"

// SignalOver takes a View: an incident that is over hands itself to the workflow that
// follows its postmortem, which takes UpdatePin from then on and answers QueryView. It
// lives in histories and never changes.
const SignalOver = "over"

// FollowUpID is the ID of the workflow that follows an incident's postmortem.
func FollowUpID(key string) string { return followUpPrefix + key }

const followUpPrefix = "postmortem/"

// FollowedKey is the key of the incident in the ID of a workflow that follows a
// postmortem; empty if it is none.
func FollowedKey(workflowID string) string {
	key, ok := strings.CutPrefix(workflowID, followUpPrefix)
	if !ok {
		return ""
	}
	return key
}

// PostmortemReminderID is the recorded event of the n-th reminder, from 1; the n-th 0 is
// the end of them.
func PostmortemReminderID(prefix string, n int) string {
	return EventID(prefix+"/postmortem", n)
}

// LatePinID is the recorded event of what happened to a message once the incident was
// over. It follows from what happened alone.
func LatePinID(prefix, eventID string) string { return requestID(prefix, "n", eventID) }

// FollowUpInput starts the workflow that follows a postmortem.
type FollowUpInput struct {
	Key string `json:"key"`
	// Prefix begins the IDs of the incident's events.
	Prefix     string        `json:"prefix"`
	Card       CardRef       `json:"card"`
	Postmortem PostmortemRef `json:"postmortem"`
	// State carries it over a continue-as-new; nil at the start.
	State *FollowUpState `json:"state,omitempty"`
}

// FollowUpState is what following a postmortem carries over a continue-as-new.
type FollowUpState struct {
	// View is the incident at its end, with what was pinned since; zero until then.
	View View `json:"view,omitzero"`
	// Reminders counts the looks at the issue, Next is when the next one is due.
	Reminders int           `json:"reminders"`
	Next      time.Time     `json:"next"`
	Every     time.Duration `json:"every"`
	Limit     int           `json:"limit"`
	// PinLooks counts the looks at pinned messages.
	PinLooks int `json:"pin_looks,omitempty"`
	// Unwritten says that the issue is to be written.
	Unwritten bool `json:"unwritten,omitempty"`
}
