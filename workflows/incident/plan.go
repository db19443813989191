package incident

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// ChangeKind says what sort of change altered production.
type ChangeKind string

// The kinds of change.
const (
	ChangeDeploy    ChangeKind = "deploy"
	ChangeConfig    ChangeKind = "config"
	ChangeFlag      ChangeKind = "flag"
	ChangeMigration ChangeKind = "migration"
	ChangeInfra     ChangeKind = "infra"
	ChangeAccess    ChangeKind = "access"
	ChangeTraffic   ChangeKind = "traffic"
)

// Change is anything that altered production.
type Change struct {
	// ID is unique among the changes of one source.
	ID string `json:"id"`
	// Source is the kind of the change source that found it, such as
	// "nats.kv" or "github.deployments".
	Source  string     `json:"source"`
	Kind    ChangeKind `json:"kind"`
	Service string     `json:"service"`
	// Target is what was changed, if the source knows it absolutely; an
	// inverse of the same target undoes exactly this change.
	Target Target    `json:"target,omitzero"`
	At     time.Time `json:"at"`
	// Author is who made the change, as the source spells it (login, e-mail).
	Author string `json:"author,omitempty"`
	// From and To are absolute states for people: a version, a revision, or
	// StateAbsent.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Summary is one line of text from outside; it is never interpreted.
	Summary string `json:"summary,omitempty"`
	URL     string `json:"url,omitempty"`
}

// StateAbsent in Change.From says that the target did not exist before. An
// empty From says only that the source does not know.
const StateAbsent = "absent"

// Target names one thing in production absolutely.
type Target struct {
	// System is the configured connection the target lives in, such as a
	// cluster name.
	System string `json:"system"`
	// Path is the driver's absolute name in that system, such as
	// "deployment/shop/checkout" or "releases/checkout".
	Path string `json:"path"`
}

// String is the target as people and lock IDs spell it.
func (t Target) String() string { return t.System + "/" + t.Path }

// IsZero reports whether the target names nothing.
func (t Target) IsZero() bool { return t == Target{} }

// State is one absolute state of a target. Two states with the same Digest are
// the same state, whatever their revisions say. It never holds the content
// itself, so neither plans nor histories can hold a secret: the driver reads
// the content again from the target's own history and checks it against
// Digest.
type State struct {
	// Revision is where the target's own history keeps this state, such as
	// "7". Never "previous".
	Revision string `json:"revision"`
	// Digest is "sha256:" and 64 hexadecimal digits over the driver's
	// canonical form of the content.
	Digest string `json:"digest"`
	// Label is what people call this state, such as "v41".
	Label string `json:"label,omitempty"`
}

// OnFailure says what happens to the rest of a plan when an action fails. The
// zero value is invalid.
type OnFailure string

// What can happen after a failed action.
const (
	OnFailureStop       OnFailure = "stop"
	OnFailureContinue   OnFailure = "continue"
	OnFailureCompensate OnFailure = "compensate"
	OnFailureEscalate   OnFailure = "escalate"
)

// Action is one inverse made concrete.
type Action struct {
	// Kind is the registered kind of inverse, such as "kubernetes.workload".
	Kind   string `json:"kind"`
	Target Target `json:"target"`
	From   State  `json:"from"`
	To     State  `json:"to"`
	// MaxTime bounds the action with all its retries. Above zero.
	MaxTime   time.Duration `json:"max_time"`
	OnFailure OnFailure     `json:"on_failure"`
	// Reversible says that swapping From and To undoes the action.
	Reversible bool `json:"reversible"`
}

// Swapped is the inverse of the inverse. It is meaningful for reversible
// actions only.
func (a Action) Swapped() Action {
	a.From, a.To = a.To, a.From
	return a
}

// Key is the idempotency key of the action inside one rollback: the same
// action of the same rollback has the same key however often it is tried.
func (a Action) Key(rollbackID string, index int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%s\x00%s\x00%s", rollbackID, index, a.Kind, a.Target, a.From.Digest, a.To.Digest))
	return hex.EncodeToString(sum[:16])
}

// Strategy is the way out that an option takes. The zero value is invalid.
type Strategy string

// The ways out.
const (
	StrategyRollback    Strategy = "rollback"
	StrategyFlagOff     Strategy = "flag_off"
	StrategyRestore     Strategy = "restore"
	StrategyCompensate  Strategy = "compensate"
	StrategyRollForward Strategy = "roll_forward"
)

// Plan is the ordered actions of an option. Its digest is what people approve:
// everything that decides what will be done is in it, and nothing else.
type Plan struct {
	// Version is the version of this canonical form: 1.
	Version  int      `json:"version"`
	Incident string   `json:"incident"`
	Service  string   `json:"service"`
	Strategy Strategy `json:"strategy"`
	// Runbook and RunbookDigest name the runbook as it was loaded.
	Runbook       string   `json:"runbook"`
	RunbookDigest string   `json:"runbook_digest"`
	Option        string   `json:"option"`
	Actions       []Action `json:"actions"`
}

// PlanVersion is the current version of the canonical form of a plan.
const PlanVersion = 1

// Canonical is the canonical form: JSON with fields in declaration order, no
// insignificant space, no HTML escaping.
func (p Plan) Canonical() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("encode plan of option %q: %w", p.Option, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Digest is the SHA-256 of the canonical form, as "sha256:" and 64
// hexadecimal digits.
func (p Plan) Digest() (string, error) {
	c, err := p.Canonical()
	if err != nil {
		return "", err
	}
	return DigestOf(c), nil
}

// Reversible reports whether every action of the plan can be undone by
// swapping its states. A plan without actions is not reversible.
func (p Plan) Reversible() bool {
	for _, a := range p.Actions {
		if !a.Reversible {
			return false
		}
	}
	return len(p.Actions) > 0
}

// Validate reports what makes the plan unfit to be offered or executed.
func (p Plan) Validate() error {
	switch {
	case p.Version != PlanVersion:
		return fmt.Errorf("validate plan of option %q: version %d, want %d", p.Option, p.Version, PlanVersion)
	case p.Incident == "" || p.Service == "" || p.Runbook == "" || p.RunbookDigest == "" || p.Option == "":
		return fmt.Errorf("validate plan of option %q: incident, service, runbook, runbook digest and option must be set", p.Option)
	case len(p.Actions) == 0:
		return fmt.Errorf("validate plan of option %q: it has no actions", p.Option)
	}
	for i, a := range p.Actions {
		if err := a.Validate(); err != nil {
			return fmt.Errorf("validate plan of option %q: action %d: %w", p.Option, i, err)
		}
	}
	return nil
}

// Validate reports what makes the action unfit to be executed.
func (a Action) Validate() error {
	switch {
	case a.Kind == "":
		return fmt.Errorf("validate action on %s: kind is empty", a.Target)
	case a.Target.System == "" || a.Target.Path == "":
		return fmt.Errorf("validate action %q: target %q is not absolute", a.Kind, a.Target)
	case !ValidDigest(a.From.Digest) || !ValidDigest(a.To.Digest):
		return fmt.Errorf("validate action %q on %s: from and to need digests", a.Kind, a.Target)
	case a.From.Digest == a.To.Digest:
		return fmt.Errorf("validate action %q on %s: from and to are the same state", a.Kind, a.Target)
	case a.MaxTime <= 0:
		return fmt.Errorf("validate action %q on %s: max_time must be above zero", a.Kind, a.Target)
	}
	switch a.OnFailure {
	case OnFailureStop, OnFailureContinue, OnFailureCompensate, OnFailureEscalate:
		return nil
	default:
		return fmt.Errorf("validate action %q on %s: unknown on_failure %q", a.Kind, a.Target, a.OnFailure)
	}
}

// DigestOf is "sha256:" and the 64 hexadecimal digits of the SHA-256 of b.
func DigestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ValidDigest reports whether s is a digest as DigestOf writes it.
func ValidDigest(s string) bool {
	h, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(h) != sha256.Size*2 {
		return false
	}
	return strings.Trim(h, "0123456789abcdef") == ""
}

// ShortDigest is the first eight hexadecimal digits, for people.
func ShortDigest(s string) string {
	h := strings.TrimPrefix(s, "sha256:")
	if len(h) > 8 {
		return h[:8]
	}
	return h
}
