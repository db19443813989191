package views

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/backout/backout/workflows/incident"
)

// Lengths of pieces of text from outside, in runes.
const (
	maxName   = 80
	maxLine   = 240
	maxReason = 400
)

// clock is a moment as the card shows it: UTC, to the second.
func clock(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.UTC().Format("15:04:05") + " UTC"
}

// span is a duration for people: to the second below an hour, to the minute
// above.
func span(d time.Duration) string {
	if d < 0 {
		return "unknown"
	}
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0 && s > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	case m > 0:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d s", s)
	}
}

// between is the time from one moment to another, or "unknown".
func between(from, to time.Time) string {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return "unknown"
	}
	return span(to.Sub(from))
}

// hms is a moment in a list whose heading says that times are UTC.
func hms(t time.Time) string { return strings.TrimSuffix(clock(t), " UTC") }

// short is a duration for people, in tenths of a second below ten seconds.
func short(d time.Duration) string {
	if d < 0 || d >= 10*time.Second {
		return span(d)
	}
	return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', 1, 64) + " s"
}

// Units that people read better in another form.
const (
	unitRatio   = "ratio"
	unitSeconds = "seconds"
	unitSecond  = "s"
)

// number is a measured value with its unit: a ratio as a percentage, less than
// a second in milliseconds.
func number(v *float64, unit string) string {
	if unit == unitSecond {
		unit = unitSeconds
	}
	switch {
	case v == nil:
		return "no data"
	case unit == unitRatio:
		return significant(*v*100) + " %"
	case unit == unitSeconds && *v != 0 && math.Abs(*v) < 1:
		return significant(*v*1000) + " ms"
	case unit == unitSeconds:
		return significant(*v) + " s"
	case unit == "":
		return significant(*v)
	default:
		return significant(*v) + " " + Plain(unit, maxName)
	}
}

// significant is a number with three significant digits, and never with an
// exponent that a person would have to work out.
func significant(v float64) string {
	return incident.Number(v, 3)
}

// objective is a bound such as "< 0.02" in the form that numbers of its unit
// have.
func objective(text, unit string) string {
	op, bound, ok := strings.Cut(strings.TrimSpace(text), " ")
	v, err := strconv.ParseFloat(strings.TrimSpace(bound), 64)
	if !ok || err != nil {
		return Plain(text, maxName)
	}
	return Plain(op, 2) + " " + number(&v, unit)
}

// state is an absolute state for people.
func state(s incident.State) string {
	switch {
	case s.Label != "" && s.Revision != "":
		return Plain(s.Label, maxName) + " (revision " + Plain(s.Revision, maxName) + ")"
	case s.Label != "":
		return Plain(s.Label, maxName)
	case s.Revision != "":
		return "revision " + Plain(s.Revision, maxName)
	default:
		return "state " + incident.ShortDigest(s.Digest)
	}
}

// target is the name of a target.
func target(t incident.Target) string {
	return Plain(t.System, maxName) + "/" + Plain(t.Path, maxName)
}

// move is what an action does to its target.
func move(a incident.Action) string {
	return target(a.Target) + ": " + state(a.From) + " → " + state(a.To)
}

// plural is a count with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// capital begins a text like a sentence.
func capital(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToUpper(first)) + s[size:]
}

// person is a human being's name.
func person(p incident.Person) string {
	if name := Plain(p.Name, maxName); name != "" {
		return name
	}
	return Plain(p.ID, maxName)
}

// decider says who has to decide a plan of that tier.
func decider(t incident.Tier, service string) string {
	switch t {
	case incident.TierOnCall:
		return "on-call of " + service
	case incident.TierCommander:
		return "incident commander"
	case incident.TierCommanderAndOwner:
		return "incident commander and owner of " + service + ", two people"
	case incident.TierForbidden:
		return "nobody: the policy forbids it"
	case incident.TierUnknown:
		return "nobody yet: its tier was not computed"
	default:
		return "nobody yet: its tier was not computed"
	}
}

// decidable reports whether anybody could approve the option now.
func decidable(o incident.Option) bool {
	switch o.Tier {
	case incident.TierOnCall, incident.TierCommander, incident.TierCommanderAndOwner:
		return !o.Blocked && incident.ValidDigest(o.Digest)
	case incident.TierForbidden, incident.TierUnknown:
		return false
	default:
		return false
	}
}

// Told is what one person is told, privately, about their update. A result
// that this version does not know is never presented as a success.
func Told(r incident.Result) string {
	reason := sentence(r.Reason)
	switch r.Outcome {
	case incident.OutcomeApproved:
		if !r.StartsAt.IsZero() {
			return join("Approved: unless somebody objects, the rollback starts at "+clock(r.StartsAt)+".", reason, "Watch the card.")
		}
		return join("Approved: your decision starts the rollback.", reason, "Watch the card.")
	case incident.OutcomeWaiting:
		return join("Your approval counts, and more is needed.", reason, "Nothing runs yet.")
	case incident.OutcomeRefused:
		return join("Refused, and recorded with your reason.", reason, "Nothing was run.")
	case incident.OutcomeDenied:
		return join("You can not decide this.", reason, "Nothing was done; your attempt is recorded.")
	case incident.OutcomeStale:
		return join("That was an old card.", reason, "Nothing was done. Look at the card as it is now, and decide again.")
	case incident.OutcomeLate:
		if by := Plain(r.By, maxName); by != "" {
			return join("Too late: "+by+" had decided already.", reason, "Nothing more was done.")
		}
		return join("Too late: it had been decided already.", reason, "Nothing more was done.")
	case incident.OutcomeUnidentified:
		return join("Your account is not exactly one known, active person.", reason,
			"Nothing was done. Ask an administrator to map your account, or let somebody else decide.")
	case incident.OutcomeAccepted:
		return join("Taken.", reason)
	case incident.OutcomeDuplicate:
		return join("That had been taken before.", reason, "Nothing was done twice.")
	default:
		return "Backout gave an answer that this version does not know. Look at the card before you do anything else."
	}
}

// sentence is the result's reason, ending like a sentence.
func sentence(s string) string {
	s = Plain(s, maxReason)
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}

func join(parts ...string) string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, " ")
}

// What people are told when an update was not taken at all.
const (
	// NotTaken is said when Temporal did not confirm the message in time.
	NotTaken = "Backout could not record this in time, so do not count on it. Look at the card; if nothing moved, try again, or use the backout command line."
	// NoIncident is said when no open incident fits.
	NoIncident = "No open incident has its card here. Nothing was done. Use the incident's channel, or name it: approve pagerduty/Q1ABC o1."
	// Gone is said when the incident exists no more.
	Gone = "That incident is closed. Nothing was done."
	// Tampered is said when a button carries something that is not Backout's.
	Tampered = "That button does not belong to a card of Backout. Nothing was done."
	// Pending is said when the update was recorded and its result is not there yet.
	Pending = "Recorded. The answer follows on the card."
	// Declared is said when a declaration was taken.
	Declared = "Declared. The card follows in the channel."
	// NoColleague is said to whoever may not declare an incident.
	NoColleague = "Only active full members of this workspace can declare an incident. Nothing was done; ask one of them."
	// PinGone is said when nobody follows the incident or its postmortem any more.
	PinGone = "That incident is closed, and its postmortem is closed or not followed any more. Nothing was done; write it into the issue by hand."
	// PinWhere is said when it is not known whose timeline a message is for.
	PinWhere = "Several incidents could be meant in this channel, so this message was not put into a timeline. Pin what stands in the thread of an incident's card."
	// Unreadable is said when a request of Slack made no sense.
	Unreadable = "Backout did not understand that. Nothing was done."
)

// NotPinned says why a message was not put into the timeline.
func NotPinned(reason string) string {
	return join("That message is not in the timeline:", sentence(reason), "Nothing else was done.")
}

// Help explains the slash command. It is plain text.
func Help(command string) string {
	c := Plain(command, maxName)
	return strings.Join([]string{
		c + "  shows a menu",
		c + " declare [sev1..sev4] [service] [title]  declares an incident",
		c + " status  shows the incident, to you only",
		c + " options  collects changes and computes the options again",
		c + " approve <option> [plan]  shows the plan to approve, or approves the plan you name",
		c + " refuse <option> <reason>  refuses a plan",
		c + " break-glass <option> <plan> <reason>  approves past the policy; loud and reviewed",
		c + " command  makes you incident commander",
		c + " handover <person>  makes somebody else incident commander",
		c + " cancel  stops the rollback before its next action",
		c + " redo  offers the undo of the rollback",
		c + " escalate  pages the next level",
		c + " close  ends the incident by hand",
		"Name an incident after the verb when several are open: " + c + " approve pagerduty/Q1ABC o1",
	}, "\n")
}

// UnknownCommand says that a word is no command, and what is.
func UnknownCommand(command, verb string) string {
	return "There is no command \"" + Plain(verb, 40) + "\". Nothing was done.\n" + Help(command)
}

// Usage says what a command is missing.
func Usage(what string) string {
	return sentence(what) + " Nothing was done."
}
