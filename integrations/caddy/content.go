package caddy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// content is the JSON of a part in its canonical form: keys sorted, no space, numbers
// as they were spelled.
type content []byte

func parseContent(text []byte) (content, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, errors.New("it is not JSON") // The decoder's error quotes it.
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it is more than one value of JSON")
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, errors.New("it can not be encoded again")
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func (c content) digest() string { return incident.DigestOf(c) }

// revisionLength is how many digits of its digest name a state.
const revisionLength = 16

// revisionPattern is what a revision looks like.
var revisionPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)

// revision is the first digits of a digest.
func revision(digest string) string {
	return strings.TrimPrefix(digest, "sha256:")[:revisionLength]
}

func (c content) state(label string) incident.State {
	if label == "" {
		label = c.label()
	}
	return incident.State{Revision: revision(c.digest()), Digest: c.digest(), Label: label}
}

// maxWeights is how many weights are shown.
const maxWeights = 16

// label is the weights, if the part has exactly one list of them: they can be no
// secret. Everything else is named by its digest.
func (c content) label() string {
	decoder := json.NewDecoder(bytes.NewReader(c))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return revision(c.digest())
	}
	lists := weights(value)
	if len(lists) != 1 || len(lists[0]) > maxWeights {
		return revision(c.digest())
	}
	return "weights " + strings.Join(lists[0], ":")
}

// weightPattern is what a weight looks like.
var weightPattern = regexp.MustCompile(`^[0-9]{1,6}$`)

// weights finds the lists of whole numbers under the key "weights".
func weights(value any) (lists [][]string) {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if list, ok := inner.([]any); ok && key == "weights" {
				if words := numbers(list); words != nil {
					lists = append(lists, words)
				}
				continue
			}
			lists = append(lists, weights(inner)...)
		}
	case []any:
		for _, inner := range v {
			lists = append(lists, weights(inner)...)
		}
	}
	return lists
}

func numbers(list []any) []string {
	var words []string
	for _, one := range list {
		number, ok := one.(json.Number)
		if !ok || !weightPattern.MatchString(number.String()) {
			return nil
		}
		words = append(words, number.String())
	}
	return words
}
