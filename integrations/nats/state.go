package nats

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/backout/backout/workflows/incident"
)

// maxLabel is the longest value that is shown as a label, in bytes.
const maxLabel = 40

// versionPattern is what a value must look like to be shown: a version with a
// "v", or one with at least one dot. A bare number could be a PIN.
var versionPattern = regexp.MustCompile(`^(v[0-9]{1,8}(\.[0-9]{1,8}){0,3}|[0-9]{1,8}(\.[0-9]{1,8}){1,3})(-(alpha|beta|rc)\.?[0-9]{1,4})?$`)

func (e entry) state() incident.State {
	return incident.State{Revision: strconv.FormatUint(e.revision, 10), Digest: e.digest(), Label: e.label()}
}

// digest is taken over "value", a zero byte and the value, or over "deleted".
func (e entry) digest() string {
	if e.deleted {
		return incident.DigestOf([]byte("deleted"))
	}
	return incident.DigestOf(append([]byte("value\x00"), e.value...))
}

func (e entry) label() string {
	switch {
	case e.revision == 0:
		return "absent"
	case e.deleted:
		return "deleted"
	case len(e.value) <= maxLabel && versionPattern.Match(e.value):
		return string(e.value)
	default:
		return fmt.Sprintf("revision %d", e.revision)
	}
}

// name is what people call the entry within a sentence.
func (e entry) name() string {
	number := fmt.Sprintf("revision %d", e.revision)
	switch label := e.label(); label {
	case number:
		return number
	default:
		return fmt.Sprintf("%s (%s)", number, label)
	}
}

// detail is one line for people about an entry that was observed.
func (e entry) detail() string {
	if e.revision == 0 {
		return "the key has no revision"
	}
	line := fmt.Sprintf("%s was written at %s", e.name(), e.created.Format(time.RFC3339))
	if e.author != "" {
		line += " by " + e.author
	}
	return line
}

// printable makes one short line of text from outside.
func printable(text string, limit int) string {
	line := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text))
	return string(line[:min(len(line), limit)])
}
