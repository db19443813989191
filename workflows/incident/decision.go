package incident

import (
	"fmt"
	"time"
)

// Answer is what a person says to a plan. The zero value is invalid.
type Answer string

// The answers.
const (
	AnswerApprove Answer = "approve"
	AnswerRefuse  Answer = "refuse"
)

// DecideRequest is the payload of UpdateDecide: one person's answer to one
// plan digest.
type DecideRequest struct {
	// DecisionID is unique to the click or command; the same ID twice is the
	// same decision, and gets the same result.
	DecisionID string `json:"decision_id"`
	OptionID   string `json:"option_id"`
	// PlanDigest is what the person saw. An answer to any other digest than
	// the option's present one is stale and does nothing.
	PlanDigest string `json:"plan_digest"`
	// Revision is the revision of the card that the person saw.
	Revision int    `json:"revision"`
	Actor    Actor  `json:"actor"`
	Answer   Answer `json:"answer"`
	// Reason is required for a refusal and for break-glass; at most MaxReason
	// runes, never interpreted.
	Reason     string    `json:"reason,omitempty"`
	BreakGlass bool      `json:"break_glass,omitempty"`
	At         time.Time `json:"at"`
	// StepUp is the second proof that the person gave for this very plan, if any.
	StepUp *StepUp `json:"step_up,omitempty"`
	// Attestation is the signature of the bot that verified the actor.
	Attestation *Attestation `json:"attestation,omitempty"`
}

// StepUp is a second proof of who a person is, given while they saw a plan. It
// counts for that plan only.
type StepUp struct {
	// Method is how it was given; StepUpWebAuthn is the only one.
	Method string `json:"method"`
	// PlanDigest is the plan that was on the screen, and At when it was given.
	PlanDigest string    `json:"plan_digest"`
	At         time.Time `json:"at"`
}

// StepUpWebAuthn is a passkey that has verified its user.
const StepUpWebAuthn = "webauthn"

// Attestation is the Ed25519 signature of the bot that verified who sent a
// request, so that nobody who can merely write to Temporal can speak for a person.
type Attestation struct {
	// KeyID names the key, so that keys can be changed.
	KeyID     string `json:"key_id"`
	Signature []byte `json:"ed25519"`
}

// MaxReason is the longest reason kept with a decision, in runes.
const MaxReason = 500

// Validate checks form only.
func (r DecideRequest) Validate() error {
	switch {
	case r.DecisionID == "" || len(r.DecisionID) > 255:
		return fmt.Errorf("validate decision: decision ID must have 1 to 255 bytes, has %d", len(r.DecisionID))
	case r.OptionID == "" || len(r.OptionID) > maxField:
		return fmt.Errorf("validate decision %q: option ID must have 1 to %d bytes, has %d", r.DecisionID, maxField, len(r.OptionID))
	case !ValidDigest(r.PlanDigest):
		return fmt.Errorf("validate decision %q: plan digest %q is not a SHA-256 digest", r.DecisionID, r.PlanDigest)
	case len([]rune(r.Reason)) > MaxReason:
		return fmt.Errorf("validate decision %q: reason is longer than %d characters", r.DecisionID, MaxReason)
	}
	switch r.Answer {
	case AnswerApprove, AnswerRefuse:
	default:
		return fmt.Errorf("validate decision %q: unknown answer %q", r.DecisionID, r.Answer)
	}
	return r.Actor.Validate()
}

// Validate reports what makes the actor no identity at all.
func (a Actor) Validate() error {
	if long := tooLong([2]string{"team", a.SlackTeam}, [2]string{"user", a.SlackUser}, [2]string{"login", a.Login}, [2]string{"channel", a.Channel}); long != "" {
		return fmt.Errorf("validate actor: %s is longer than %d bytes", long, maxField)
	}
	switch a.Via {
	case ViaSlack:
		if a.SlackTeam == "" || a.SlackUser == "" {
			return fmt.Errorf("validate actor: a Slack actor needs team and user")
		}
	case ViaCLI, ViaConsole:
		if a.Login == "" {
			return fmt.Errorf("validate actor: a %s actor needs a login", a.Via)
		}
	default:
		return fmt.Errorf("validate actor: unknown way in %q", a.Via)
	}
	return nil
}

// Outcome says what became of an update. The zero value is invalid.
type Outcome string

// The outcomes. Only OutcomeApproved starts a rollback.
const (
	// OutcomeApproved means that this decision satisfied the policy.
	OutcomeApproved Outcome = "approved"
	// OutcomeWaiting means that it counts, and that more people are needed.
	OutcomeWaiting Outcome = "waiting"
	// OutcomeRefused means that a person with authority refused the plan.
	OutcomeRefused Outcome = "refused"
	// OutcomeDenied means that the person may not decide this.
	OutcomeDenied Outcome = "denied"
	// OutcomeStale means that the plan or card has changed since.
	OutcomeStale Outcome = "stale"
	// OutcomeLate means that it had been decided already.
	OutcomeLate Outcome = "late"
	// OutcomeUnidentified means that the actor is not exactly one person.
	OutcomeUnidentified Outcome = "unidentified"
	// OutcomeAccepted means that a command or page was taken.
	OutcomeAccepted Outcome = "accepted"
	// OutcomeDuplicate means that a page or command had been taken before.
	OutcomeDuplicate Outcome = "duplicate"
)

// Result is what an update returns: what happened, for one person.
type Result struct {
	Outcome Outcome `json:"outcome"`
	// Reason is one plain sentence of policy or state; never text from
	// outside.
	Reason string `json:"reason"`
	// By names who had decided, when Outcome is OutcomeLate.
	By string `json:"by,omitempty"`
	// StartsAt is when an approved rollback starts unless somebody objects; zero when
	// it starts at once.
	StartsAt time.Time `json:"starts_at,omitzero"`
	// Revision is the card's revision after the update.
	Revision int `json:"revision"`
	// EventID is the recorded event, if one was recorded.
	EventID string `json:"event_id,omitempty"`
}

// Decision is one recorded answer.
type Decision struct {
	ID         string `json:"id"`
	EventID    string `json:"event_id"`
	OptionID   string `json:"option_id"`
	PlanDigest string `json:"plan_digest"`
	Answer     Answer `json:"answer"`
	Actor      Actor  `json:"actor"`
	// Person is zero when the actor was not exactly one person.
	Person Person `json:"person,omitzero"`
	// Roles are the roles the person held at that moment.
	Roles      []Role    `json:"roles,omitempty"`
	Outcome    Outcome   `json:"outcome"`
	Reason     string    `json:"reason,omitempty"`
	Sentence   string    `json:"sentence"`
	BreakGlass bool      `json:"break_glass,omitempty"`
	At         time.Time `json:"at"`
	// PolicyDigest names the policy that was evaluated.
	PolicyDigest string `json:"policy_digest,omitempty"`
	// StepUp is the second proof that was given with the answer, if any.
	StepUp *StepUp `json:"step_up,omitempty"`
	// ObjectionsUntil is until when the rollback that this approval starts waits for
	// objections; zero for not at all.
	ObjectionsUntil time.Time `json:"objections_until,omitzero"`
	// ExpiresAt is when an approval that waits, for more people or for objections,
	// counts no more; zero for any other answer.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Verb is a command to an incident other than a decision. The zero value is
// invalid.
type Verb string

// The verbs.
const (
	// VerbTakeCommand makes the actor incident commander.
	VerbTakeCommand Verb = "take_command"
	// VerbHandOver makes another person incident commander.
	VerbHandOver Verb = "hand_over"
	// VerbRefresh collects changes and computes the options again.
	VerbRefresh Verb = "refresh"
	// VerbCancel stops a rollback before its next action.
	VerbCancel Verb = "cancel"
	// VerbRedo asks for the inverse of the rollback as a new option.
	VerbRedo Verb = "redo"
	// VerbEscalate pages the next level.
	VerbEscalate Verb = "escalate"
	// VerbClose ends the incident by hand.
	VerbClose Verb = "close"
)

// MaxAttempt is how much of what was tried is recorded, in runes.
const MaxAttempt = 300

// Attempt is the payload of SignalAttempt: what somebody tried on an incident, and
// why the bot refused it before it came to a decision. It is a record and no more:
// nothing follows from it, and it bears no signature.
type Attempt struct {
	Actor Actor `json:"actor"`
	// Text is one line for people.
	Text string `json:"text"`
}

// CommandRequest is the payload of UpdateCommand.
type CommandRequest struct {
	CommandID string    `json:"command_id"`
	Verb      Verb      `json:"verb"`
	Actor     Actor     `json:"actor"`
	Reason    string    `json:"reason,omitempty"`
	At        time.Time `json:"at"`
	// Attestation is the signature of the bot that verified the actor.
	Attestation *Attestation `json:"attestation,omitempty"`
	// To is whom VerbHandOver names, as an account of theirs; nil for any other.
	To *Actor `json:"to,omitempty"`
}

// Validate checks form only.
func (r CommandRequest) Validate() error {
	if r.CommandID == "" || len(r.CommandID) > 255 {
		return fmt.Errorf("validate command: command ID must have 1 to 255 bytes, has %d", len(r.CommandID))
	}
	switch r.Verb {
	case VerbTakeCommand, VerbRefresh, VerbCancel, VerbRedo, VerbEscalate, VerbClose:
		if r.To != nil {
			return fmt.Errorf("validate command %q: %s names nobody", r.CommandID, r.Verb)
		}
	case VerbHandOver:
		if r.To == nil {
			return fmt.Errorf("validate command %q: %s must name a person", r.CommandID, r.Verb)
		}
		if err := r.To.Validate(); err != nil {
			return fmt.Errorf("validate command %q: %w", r.CommandID, err)
		}
	default:
		return fmt.Errorf("validate command %q: unknown verb %q", r.CommandID, r.Verb)
	}
	if len([]rune(r.Reason)) > MaxReason {
		return fmt.Errorf("validate command %q: reason is longer than %d characters", r.CommandID, MaxReason)
	}
	return r.Actor.Validate()
}
