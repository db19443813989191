package compensate

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

const (
	// maxLine bounds one line of text from a service, in characters.
	maxLine = 300
	// maxPath bounds a target's path, in bytes.
	maxPath = 512
	// maxItems bounds the checks of a plan and what it will not revert, each.
	maxItems = 50
)

// targetForm shows how a target's path is spelled.
const targetForm = "<host>/<resource>"

// resourcePattern is what a resource may look like: segments that need no
// escaping, none of them empty, "." or "..".
var resourcePattern = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`)

// errContract means that a service broke the contract.
var errContract = errors.New("the service broke the contract")

// violation says how the contract was broken, without a word of the service's.
func violation(how string) error { return fmt.Errorf("%w: %s", errContract, how) }

// find is the host and the resource of a target.
func (s *services) find(target incident.Target) (*host, string, error) {
	name, resource, _ := strings.Cut(target.Path, "/")
	if len(target.Path) > maxPath || !hostName.MatchString(name) || !resourcePattern.MatchString(resource) {
		return nil, "", fmt.Errorf("parse target %q: %w: want %s", line(target.String()), driver.ErrInvalid, targetForm)
	}
	h, ok := s.hosts[name]
	if !ok {
		return nil, "", fmt.Errorf("find host %q: %w: it is not in the list of the configuration", name, driver.ErrInvalid)
	}
	return h, resource, nil
}

// state is a state as services name it: by a digest or by an ETag.
type state struct {
	Revision string `json:"revision"`
	Digest   string `json:"digest,omitempty"`
	ETag     string `json:"etag,omitempty"`
	Label    string `json:"label,omitempty"`
}

// named is the state as Backout names it.
func (s state) named() (incident.State, error) {
	out := incident.State{Revision: line(s.Revision), Digest: s.Digest, Label: line(s.Label)}
	switch {
	case out.Revision == "":
		return incident.State{}, violation("a state has no revision")
	case (s.Digest == "") == (s.ETag == ""):
		return incident.State{}, violation("a state has to have either a digest or an etag")
	case s.ETag != "" && !strongETag(s.ETag):
		return incident.State{}, violation("a state has an etag that is not strong")
	case s.ETag != "":
		out.Digest = incident.DigestOf([]byte("etag\x00" + s.ETag))
	case !incident.ValidDigest(s.Digest):
		return incident.State{}, violation("a state has a digest that is not \"sha256:\" and 64 hexadecimal digits")
	}
	return out, nil
}

// strongETag reports whether a validator can be a condition of a write.
// Source: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3
func strongETag(etag string) bool {
	return len(etag) >= 2 && len(etag) <= maxLine && etag[0] == '"' && etag[len(etag)-1] == '"' &&
		!strings.ContainsFunc(etag[1:len(etag)-1], func(r rune) bool { return r < 0x21 || r > 0x7e || r == '"' })
}

// observed is the answer to a GET.
type observed struct {
	State   state  `json:"state"`
	Settled *bool  `json:"settled"`
	Detail  string `json:"detail"`
}

// planned is the answer to a GET of the plan.
type planned struct {
	From            state    `json:"from"`
	To              state    `json:"to"`
	Reversible      *bool    `json:"reversible"`
	ExpectedSeconds float64  `json:"expected_seconds"`
	WontRevert      []string `json:"wont_revert"`
	Checks          []check  `json:"checks"`
}

type check struct {
	Name   string                   `json:"name"`
	Result incident.PreflightResult `json:"result"`
	Reason string                   `json:"reason"`
}

// wanted is the body of a POST.
type wanted struct {
	Type string     `json:"type"`
	Data wantedData `json:"data"`
}

// wantedData binds the signature to the one thing that is asked for.
type wantedData struct {
	Host     string         `json:"host"`
	Resource string         `json:"resource"`
	Key      string         `json:"key"`
	From     incident.State `json:"from"`
	To       incident.State `json:"to"`
}

// wantedType is the type of a POST, as Standard Webhooks has types.
const wantedType = "backout.compensate"

// done is the answer to a POST.
type done struct {
	Result result `json:"result"`
	State  state  `json:"state"`
	Detail string `json:"detail"`
}

// result is how a POST ended. The zero value is invalid.
type result string

const (
	resultApplied result = "applied"
	resultAlready result = "already"
	resultDrift   result = "drift"
)

// changed is the answer to a GET of the changes.
type changed struct {
	Changes *[]change `json:"changes"`
}

type change struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Author  string    `json:"author"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Summary string    `json:"summary"`
}

// decode reads an answer strictly.
func decode(answer []byte, into any) error {
	if !utf8.Valid(answer) {
		return violation("the answer is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.DisallowUnknownFields()
	// The decoder's error quotes the answer.
	if err := decoder.Decode(into); err != nil {
		return violation("the answer has another form than the contract's")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return violation("the answer is not one JSON document")
	}
	return nil
}

// leaks reports whether an answer holds a secret, as it was written or as JSON
// understands it.
func leaks(answer []byte, etag string, secrets []string) bool {
	texts := []string{string(answer), etag}
	var understood any
	if json.Unmarshal(answer, &understood) == nil {
		texts = append(texts, fmt.Sprint(understood))
	}
	for _, secret := range secrets {
		for _, spelling := range []string{
			secret,
			base64.StdEncoding.EncodeToString([]byte(secret)),
			base64.RawStdEncoding.EncodeToString([]byte(secret)),
			base64.RawURLEncoding.EncodeToString([]byte(secret)),
			hex.EncodeToString([]byte(secret)),
			url.QueryEscape(secret),
			url.PathEscape(secret),
		} {
			for _, text := range texts {
				if strings.Contains(text, spelling) {
					return true
				}
			}
		}
	}
	return false
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
		return "The service gives no reason."
	}
	return said + "."
}
