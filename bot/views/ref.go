package views

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// maxButtonValue is how much a button can carry, in characters.
// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
const maxButtonValue = 2000

// Names of the interactive elements: an action ID is one of them, or one of
// them, a colon and a suffix that makes it unique in its block.
const (
	ActionApprove = "approve"
	ActionRefuse  = "refuse"
	// ActionCommand has the verb as its suffix.
	ActionCommand = "command"
	ActionDeclare = "declare"
	ActionList    = "list"
	ActionHelp    = "help"
	ActionStatus  = "status"
	ActionPick    = "pick"
	// ActionConsole is a link to the page where a plan is approved with a second
	// proof. A click on it changes nothing.
	ActionConsole = "console"
	// ActionBreakGlass opens the form that asks why a plan is to be approved past the
	// policy. It approves nothing by itself.
	ActionBreakGlass = "break-glass"
)

// Callback IDs of the modals.
const (
	CallbackDeclare    = "declare"
	CallbackRefuse     = "refuse"
	CallbackBreakGlass = "break-glass"
	CallbackHandOver   = "handover"
)

// Block and action IDs of the inputs of the modals.
const (
	InputService  = "service"
	InputTitle    = "title"
	InputSeverity = "severity"
	InputReason   = "reason"
	InputPerson   = "person"
)

// SplitAction parts an action ID into its name and its suffix.
func SplitAction(id string) (name, suffix string) {
	name, suffix, _ = strings.Cut(id, ":")
	return name, suffix
}

// Ref is what a button carries: which plan of which incident a person saw. It
// is a claim of the person's client; the incident checks it.
type Ref struct {
	Key      string `json:"k"`
	Option   string `json:"o,omitempty"`
	Digest   string `json:"d,omitempty"`
	Revision int    `json:"r"`
	// Channel is where the answer to a modal goes, which has no channel of its
	// own.
	Channel string `json:"c,omitempty"`
}

// Encode is the reference as a button's value; empty if it does not fit.
func (r Ref) Encode() string { return encode(r) }

// ParseRef reads a button's value. Unknown members, trailing text, a key that
// names no incident and a digest that is none are errors.
func ParseRef(s string) (Ref, error) {
	var r Ref
	if err := decode(s, &r); err != nil {
		return Ref{}, err
	}
	if !incident.ValidKey(r.Key) {
		return Ref{}, errors.New("parse button: its key names no incident")
	}
	if r.Digest != "" && !incident.ValidDigest(r.Digest) {
		return Ref{}, errors.New("parse button: its digest is none")
	}
	if r.Revision < 0 {
		return Ref{}, errors.New("parse button: its revision is below zero")
	}
	return r, nil
}

// Pick is what a button of the incident chooser carries: the chosen incident
// and the command that waits for it.
type Pick struct {
	Key  string `json:"k"`
	Text string `json:"t"`
}

// Encode is the pick as a button's value; empty if it does not fit.
func (p Pick) Encode() string { return encode(p) }

// ParsePick reads a button's value as strictly as ParseRef.
func ParsePick(s string) (Pick, error) {
	var p Pick
	if err := decode(s, &p); err != nil {
		return Pick{}, err
	}
	if !incident.ValidKey(p.Key) {
		return Pick{}, errors.New("parse button: its key names no incident")
	}
	return p, nil
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil || len(b) > maxButtonValue {
		return ""
	}
	return string(b)
}

func decode(s string, into any) error {
	if len(s) > maxButtonValue {
		return fmt.Errorf("parse button: value is longer than %d bytes", maxButtonValue)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("parse button: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("parse button: more than one value")
	}
	return nil
}
