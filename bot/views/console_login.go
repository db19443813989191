package views

import (
	_ "embed"
	"fmt"
	"io"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// ConsoleScript is the one script of the console: it asks a passkey.
//
//go:embed console.js
var ConsoleScript []byte

// Ask is a question to a passkey, for the script. Its zero value asks nothing.
type Ask struct {
	// Options is JSON for navigator.credentials; State comes back with the answer.
	Options, State string
	// Expires is until when the answer is taken.
	Expires time.Time
}

// PasskeyLine is one passkey in a list.
type PasskeyLine struct {
	Name              string
	Locked            bool
	CreatedAt, UsedAt time.Time
}

// moment is a date and a time of day.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// ConsoleLogin writes the page on which people begin to log in. next is the page
// that they wanted; said is what went wrong before, if anything did.
func ConsoleLogin(w io.Writer, issuer, next, said string) error {
	if err := consolePage.ExecuteTemplate(w, "login", struct{ Issuer, Next, Said string }{issuer, next, said}); err != nil {
		return fmt.Errorf("render login: %w", err)
	}
	return nil
}

// ConsolePasskeys writes the page of a person's passkeys. fresh says that they may
// enrol one now; ask is the question once they gave a code.
func ConsolePasskeys(w io.Writer, who Visitor, keys []PasskeyLine, fresh bool, ask Ask, said string) error {
	err := consolePage.ExecuteTemplate(w, "passkeys", struct {
		Visitor Visitor
		Keys    []PasskeyLine
		Fresh   bool
		Ask     Ask
		Said    string
	}{who, keys, fresh, ask, said})
	if err != nil {
		return fmt.Errorf("render passkeys: %w", err)
	}
	return nil
}

// StepUp is what the page of one plan shows beside the plan.
type StepUp struct {
	Visitor Visitor
	// Configured says that there is a login at all.
	Configured bool
	// Ask is zero when the person has no passkey.
	Ask Ask
	// Changed says that the plan is not the one that the person came for.
	Changed bool
}

// reach is one kind of what a plan can touch.
type reach struct {
	Title string
	List  []incident.Reach
}

// reaches is what a plan can touch, in the order in which it matters.
func reaches(r incident.BlastRadius) []reach {
	out := []reach{{"Can not be undone", r.Irreversible}}
	if r.Global != nil {
		out = append(out, reach{"All customers at once", []incident.Reach{*r.Global}})
	}
	return append(out, reach{"Shared data", r.SharedData}, reach{"Services", r.Services}, reach{"What calls them", r.Dependents})
}

// decideds are the decisions about an option, as it is now or was before.
func decideds(v incident.View, o incident.Option) []incident.Decision {
	var out []incident.Decision
	for _, d := range v.Decisions {
		if d.OptionID == o.ID {
			out = append(out, d)
		}
	}
	return out
}

// ConsoleStepUp writes the page on which one plan is read and approved with a
// passkey: every action, what stays as it is, what it can touch, and the digest.
func ConsoleStepUp(w io.Writer, v incident.View, o incident.Option, s StepUp) error {
	err := consolePage.ExecuteTemplate(w, "stepup", struct {
		StepUp

		View         incident.View
		Option       incident.Option
		Reach        []reach
		Measured     []element
		Deciding     bool
		Path, Action string
	}{s, v, o, reaches(o.Radius), measurements(o.Radius), v.Phase == incident.PhaseDeciding || v.Phase == incident.PhaseStuck, "/incidents/" + v.Key, ApprovePath(v.Key, o)})
	if err != nil {
		return fmt.Errorf("render plan of option %q of %q: %w", o.ID, v.Key, err)
	}
	return nil
}

// What people are told when a login or a second proof did not work.
const (
	// LoggedOut is said to those who have no session, or none any more.
	LoggedOut = "You are not logged in, or not any more. Nothing was done; log in and look again."
	// LoginLost is said when an answer of the provider fits to nothing.
	LoginLost = "That login was not begun in this browser, was used already, or took too long. Log in again."
	// LoginRefused is said when somebody is not let in.
	LoginRefused = "You were not let in: the provider refused, or your account is not one that may log in here. Try another account, or ask an administrator."
	// LoginAway is said when the provider does not answer.
	LoginAway = "The login provider does not answer. Nothing was done. Try again, or use backout approve with a token."
	// ProofLate is said when a plan was on the screen for too long.
	ProofLate = "The page was open for more than five minutes. Nothing was done. Look at the plan as it is now, and approve it again."
	// ProofOther is said when a proof is not for this plan.
	ProofOther = "The passkey's answer is for another plan, another login or another page. Nothing was done. Look at the plan as it is now, and decide again."
	// ProofSpent is said when a proof comes again.
	ProofSpent = "This was sent before. Nothing was done twice. Look at the incident for what became of it."
	// ProofBad is said when a passkey proved nothing.
	ProofBad = "The passkey's answer proves nothing. Nothing was done. Try again, or use another passkey."
	// ProofLocked is said when a passkey may have been copied.
	ProofLocked = "Your passkey answered like a copy of itself, and is locked now. Nothing was done. Tell an administrator at once, and let somebody else decide."
	// ProofNone is said when somebody has no passkey.
	ProofNone = "You have no passkey here that may be used. Nothing was done. Enrol one, or let somebody else decide."
	// CodeBad is said when an enrolment code is not valid.
	CodeBad = "That code is not valid for you, was used, or is too old. Nothing was enrolled. Ask for a new one."
	// NotFresh is said when the login is too long ago.
	NotFresh = "Your login is more than ten minutes old. Nothing was enrolled. Log in again, and go on."
	// Enrolled is said when a passkey was stored.
	Enrolled = "The passkey is enrolled. If it was not you who did this, tell an administrator at once."
	// BreakGlassReason is said when the reason is missing.
	BreakGlassReason = "Break-glass needs a reason. Nothing was done. Go back and say why."
	// Replanned is said when the option or its plan is another by now.
	Replanned = "The plan has changed since it was on your screen. Nothing was done. Look at it as it is now, and decide again."
)
