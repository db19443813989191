package product

import (
	"regexp"
	"time"

	"github.com/backout/backout/workflows/activities"
)

// PostmortemConfig says when postmortems are due, and how people are reminded of one
// that is open: in the thread of the incident's card, and under the issue.
type PostmortemConfig struct {
	// Due is how many working days after the page a postmortem is due. Default: 5.
	// Below zero there is no due date, and nobody is reminded.
	Due int `yaml:"due"`
	// RemindEvery is the time between two reminders, the first of which comes a day
	// before the due date. At least 12h. Default: 72h.
	RemindEvery time.Duration `yaml:"remind_every"`
	// Reminders is how many there are at most. Default: 5.
	Reminders int `yaml:"reminders"`
}

// Bounds of what is configured about postmortems.
const (
	minRemindEvery = 12 * time.Hour
	maxReminders   = 20
	maxDue         = 60
)

// emojiName is how Slack spells the name of an emoji.
// Source: https://docs.slack.dev/reference/methods/reactions.add
var emojiName = regexp.MustCompile(`^[a-z0-9_+'-]{1,100}$`)

func (c *PostmortemConfig) defaults() {
	if c.Due == 0 {
		c.Due = 5
	}
	if c.RemindEvery == 0 {
		c.RemindEvery = 72 * time.Hour
	}
	if c.Reminders == 0 {
		c.Reminders = 5
	}
}

func (c *PostmortemConfig) validate(bad func(format string, args ...any)) {
	if c.Due > maxDue {
		bad("postmortem.due is %d, want at most %d working days", c.Due, maxDue)
	}
	if c.RemindEvery < minRemindEvery {
		bad("postmortem.remind_every is %s, want at least %s", c.RemindEvery, minRemindEvery)
	}
	if c.Reminders < 1 || c.Reminders > maxReminders {
		bad("postmortem.reminders is %d, want 1 to %d; set postmortem.due to -1 for none", c.Reminders, maxReminders)
	}
}

func (c *PostmortemConfig) followUp() activities.FollowUp {
	return activities.FollowUp{WorkingDays: max(c.Due, 0), Every: c.RemindEvery, Limit: c.Reminders}
}
