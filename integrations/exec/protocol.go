package exec

import (
	"bytes"
	_ "embed" // The schema.
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Protocol is the version of the protocol that programs speak.
const Protocol = "backout.exec/v1"

// schemaID is the "$id" of the schema.
const schemaID = "https://backout.dev/schema/exec-v1.json"

const (
	// idBytes is the length of a question's id, before it is written in
	// hexadecimal digits.
	idBytes = 16
	// maxLine bounds one line of text from a program, in characters.
	maxLine = 300
)

//go:embed schema.json
var schema []byte

// Schema is the JSON Schema of the protocol (draft 2020-12), with questions in
// "#/$defs/question" and answers in "#/$defs/answer".
func Schema() []byte { return slices.Clone(schema) }

// verb is what a program is asked. The zero value is invalid.
type verb string

const (
	verbAbout   verb = "about"
	verbPlan    verb = "plan"
	verbObserve verb = "observe"
	verbApply   verb = "apply"
	verbChanges verb = "changes"
	verbCollect verb = "collect"
)

// question is what a program reads.
type question struct {
	Protocol string    `json:"protocol"`
	ID       string    `json:"id"`
	Verb     verb      `json:"verb"`
	System   string    `json:"system"`
	Path     string    `json:"path,omitempty"`
	Plan     *planOf   `json:"plan,omitempty"`
	Action   *actionOf `json:"action,omitempty"`
	Window   *windowOf `json:"window,omitempty"`
	// Params are the settings of "collect", from the runbook.
	Params map[string]string `json:"params,omitempty"`
}

// planOf is the request of "plan": one of both is set.
type planOf struct {
	Revision string    `json:"revision,omitempty"`
	Before   time.Time `json:"before,omitzero"`
}

// actionOf is the action of "observe" and "apply". The key is set for "apply"
// alone.
type actionOf struct {
	From incident.State `json:"from"`
	To   incident.State `json:"to"`
	Key  string         `json:"key,omitempty"`
}

// windowOf is the window of "changes" and "collect", both ends inclusive.
type windowOf struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// answer is what a program writes: one member beside the first two.
type answer struct {
	Protocol    string       `json:"protocol"`
	ID          string       `json:"id"`
	Error       *refusal     `json:"error,omitempty"`
	About       *about       `json:"about,omitempty"`
	Plan        *planned     `json:"plan,omitempty"`
	Observation *observation `json:"observation,omitempty"`
	Receipt     *receipt     `json:"receipt,omitempty"`
	Changes     *[]change    `json:"changes,omitempty"`
	Evidence    *[]document  `json:"evidence,omitempty"`
}

// about is who a program is.
type about struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Verbs   []verb `json:"verbs"`
}

// planned is what a program found out about a target.
type planned struct {
	From            incident.State `json:"from,omitzero"`
	To              incident.State `json:"to,omitzero"`
	Reversible      bool           `json:"reversible,omitempty"`
	ExpectedSeconds float64        `json:"expected_seconds,omitempty"`
	WontRevert      []string       `json:"wont_revert,omitempty"`
	Checks          []check        `json:"checks"`
}

// check is one check of a plan.
type check struct {
	Name   string                   `json:"name"`
	Result incident.PreflightResult `json:"result"`
	Reason string                   `json:"reason"`
}

// observation is the state that a target is in.
type observation struct {
	State   incident.State `json:"state"`
	Settled bool           `json:"settled"`
	Detail  string         `json:"detail"`
}

// receipt is what a program did.
type receipt struct {
	Result result `json:"result"`
	// State is the state of the target afterwards.
	State incident.State `json:"state"`
	// Detail is one line for people; beside "drift" it is the difference.
	Detail string `json:"detail"`
}

// result is how "apply" ended. The zero value is invalid.
type result string

const (
	resultApplied result = "applied"
	resultAlready result = "already"
	resultDrift   result = "drift"
)

// change is one change that a program knows of.
type change struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Author  string    `json:"author,omitempty"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Summary string    `json:"summary,omitempty"`
	URL     string    `json:"url,omitempty"`
}

// document is one document that a program captured: one of text and base64.
type document struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type"`
	Text      string `json:"text,omitempty"`
	Base64    string `json:"base64,omitempty"`
}

// refusal is an error of a program.
type refusal struct {
	Code   code   `json:"code"`
	Reason string `json:"reason"`
}

// code says what an error means. The zero value is invalid.
type code string

const (
	codeDenied      code = "denied"
	codeNotFound    code = "not_found"
	codeInvalid     code = "invalid"
	codeUnavailable code = "unavailable"
)

// asError is the refusal as drivers say it; nil when there is none.
func (r *refusal) asError() error {
	if r == nil {
		return nil
	}
	reason := line(r.Reason)
	switch r.Code {
	case codeDenied:
		return fmt.Errorf("%w: the program says: %s", driver.ErrDenied, reason)
	case codeNotFound:
		return fmt.Errorf("%w: the program says: %s", driver.ErrNotFound, reason)
	case codeInvalid:
		return fmt.Errorf("%w: the program says: %s", driver.ErrInvalid, reason)
	case codeUnavailable:
		return fmt.Errorf("the program is not available: %s", reason)
	default:
		return violation("the error has an unknown code")
	}
}

// errProtocol means that a program broke the protocol.
var errProtocol = errors.New("the program broke the protocol")

// violation says how the protocol was broken, without a word of the program's.
func violation(how string) error { return fmt.Errorf("%w: %s", errProtocol, how) }

// answerSchema is compiled once.
var answerSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schemaID, document); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	return compiler.Compile(schemaID + "#/$defs/answer")
})

// decode reads the answer to a question, strictly.
func decode(said []byte, q question) (answer, error) {
	switch {
	case len(bytes.TrimSpace(said)) == 0:
		return answer{}, violation("it wrote no answer")
	case !utf8.Valid(said):
		return answer{}, violation("the answer is not UTF-8")
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(said))
	if err != nil {
		return answer{}, violation("the answer is not one JSON document") // The decoder's error quotes it.
	}
	valid, err := answerSchema()
	if err != nil {
		return answer{}, err
	}
	if err := valid.Validate(document); err != nil {
		return answer{}, violation("the answer does not match the schema" + where(err))
	}
	var a answer
	decoder := json.NewDecoder(bytes.NewReader(said))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		return answer{}, violation("the answer has a value of another form than the schema's")
	}
	if a.ID != q.ID {
		return answer{}, violation("the answer is to another question")
	}
	member := map[verb]bool{
		verbAbout: a.About != nil, verbPlan: a.Plan != nil, verbObserve: a.Observation != nil,
		verbApply: a.Receipt != nil, verbChanges: a.Changes != nil, verbCollect: a.Evidence != nil,
	}
	if a.Error == nil && !member[q.Verb] {
		return answer{}, violation("the answer is to another verb")
	}
	return a, nil
}

// where is the place of the first thing that does not match the schema. All
// members on the way there are known to the schema, so that none is a word of the
// program's.
func where(err error) string {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return ""
	}
	for len(invalid.Causes) > 0 {
		invalid = invalid.Causes[0]
	}
	if len(invalid.InstanceLocation) == 0 {
		return ""
	}
	return " at /" + strings.Join(invalid.InstanceLocation, "/")
}

// spellings are the forms that a secret takes on its way.
func spellings(s string) []string {
	return []string{
		s,
		base64.StdEncoding.EncodeToString([]byte(s)),
		base64.RawStdEncoding.EncodeToString([]byte(s)),
		base64.RawURLEncoding.EncodeToString([]byte(s)),
		hex.EncodeToString([]byte(s)),
		strings.ToUpper(hex.EncodeToString([]byte(s))),
		url.QueryEscape(s),
		url.PathEscape(s),
	}
}

// line makes one short line of text from outside.
func line(text string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text))
	return strings.TrimSpace(string(runes[:min(len(runes), maxLine)]))
}

// sentence is a line with a period at its end.
func sentence(text string) string {
	said := strings.TrimRight(line(text), ".!?: ")
	if said == "" {
		return "The program gives no reason."
	}
	return said + "."
}

// clean is a state whose text can be shown.
func clean(s incident.State) incident.State {
	return incident.State{Revision: line(s.Revision), Digest: s.Digest, Label: line(s.Label)}
}
