package incident

// WorkflowFollowUp reminds people of an unfinished postmortem. It lives in histories
// and never changes.
const WorkflowFollowUp = "PostmortemFollowUp"

// FollowUpID is the ID of the workflow that follows an incident's postmortem.
func FollowUpID(key string) string { return "postmortem/" + key }

// PostmortemReminderID is the recorded event of the n-th reminder, from 1; the n-th 0 is
// the end of them.
func PostmortemReminderID(prefix string, n int) string {
	return EventID(prefix+"/postmortem", n)
}

// FollowUpInput starts the workflow that follows a postmortem.
type FollowUpInput struct {
	Key string `json:"key"`
	// Prefix begins the IDs of the incident's events.
	Prefix     string        `json:"prefix"`
	Card       CardRef       `json:"card"`
	Postmortem PostmortemRef `json:"postmortem"`
}
