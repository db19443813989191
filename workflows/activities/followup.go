package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// FollowUp says when postmortems are due, and how people are reminded of them. The zero
// value reminds nobody.
type FollowUp struct {
	// WorkingDays is how many working days after the page a postmortem is due.
	WorkingDays int
	// Every is the time between two reminders, Limit how many there are at most.
	Every time.Duration
	Limit int
}

// dueHour is the hour of the day, in UTC, at which a postmortem is due.
const dueHour = 17

// Due is when the postmortem of an incident is due that began at a moment: at the end
// of a working day. It is zero when postmortems have no due date.
func (f FollowUp) Due(from time.Time) time.Time {
	if f.WorkingDays <= 0 || from.IsZero() {
		return time.Time{}
	}
	from = from.UTC()
	day := time.Date(from.Year(), from.Month(), from.Day(), dueHour, 0, 0, 0, time.UTC)
	for left := f.WorkingDays; left > 0; {
		day = day.AddDate(0, 0, 1)
		if wd := day.Weekday(); wd != time.Saturday && wd != time.Sunday {
			left--
		}
	}
	return day
}

// Follower is a Tracker that says how an issue stands and says something under it. It
// is optional: without it nobody is reminded of a postmortem.
type Follower interface {
	// Stands is how an incident's issue stands; one that is not there is an error that
	// wraps driver.ErrNotFound.
	Stands(ctx context.Context, key string) (incident.PostmortemState, error)
	// Remark says something under it; the same id twice is said once.
	Remark(ctx context.Context, key, id, text string) error
}

// FollowUpState is how a postmortem stands, and how people are reminded of it.
type FollowUpState struct {
	State incident.PostmortemState `json:"state"`
	Every time.Duration            `json:"every"`
	Limit int                      `json:"limit"`
}

// RemarkInput asks for a remark under an incident's issue.
type RemarkInput struct {
	Key  string `json:"key"`
	ID   string `json:"id"`
	Text string `json:"text"`
	// Postmortem is where the issue was made.
	Postmortem incident.PostmortemRef `json:"postmortem,omitzero"`
}

// Mover is a Tracker whose issues people move elsewhere. It is optional: without it an
// issue that was moved is not found.
type Mover interface {
	// Made says which issue was made for an incident, so that it is followed to where
	// it is now, and no other is made in its place.
	Made(key string, ref incident.PostmortemRef)
}

// made tells the tracker where it made an incident's issue.
func (a *Activities) made(key string, ref incident.PostmortemRef) {
	if m, can := a.Tracker.(Mover); can && ref.Number > 0 {
		m.Made(key, ref)
	}
}

// LookAtPostmortem says how an incident's issue stands.
func (a *Activities) LookAtPostmortem(ctx context.Context, in incident.FollowUpInput) (FollowUpState, error) {
	f, can := a.Tracker.(Follower)
	if !can {
		return FollowUpState{}, asActivityError(fmt.Errorf("look at postmortem: tracker is %w", errNotConfigured))
	}
	a.made(in.Key, in.Postmortem)
	s, err := f.Stands(ctx, in.Key)
	return FollowUpState{State: s, Every: a.FollowUp.Every, Limit: a.FollowUp.Limit}, asActivityError(err)
}

// RemarkOnPostmortem says something under an incident's issue, once.
func (a *Activities) RemarkOnPostmortem(ctx context.Context, in RemarkInput) error {
	f, can := a.Tracker.(Follower)
	if !can {
		return asActivityError(fmt.Errorf("remark on postmortem: tracker is %w", errNotConfigured))
	}
	a.made(in.Key, in.Postmortem)
	return asActivityError(f.Remark(ctx, in.Key, in.ID, in.Text))
}
