package github

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/backout/backout/workflows/incident"
)

const (
	// maxBody is GitHub's limit for the text of an issue or comment, in
	// characters.
	// Source: https://docs.github.com/rest/issues/issues; GitHub answers 422
	// "body is too long (maximum is 65536 characters)" above it.
	maxBody = 65536
	// maxTitle is GitHub's limit for the title of an issue, in characters.
	maxTitle = 256
)

// cutNote ends a draft that did not fit.
const cutNote = "\n\n_This draft was cut here: GitHub takes at most 65,536 characters. The ledger has all of it._"

// The markers around Backout's part of an issue. They are HTML comments, which
// GitHub does not show.
const (
	beginPrefix = "<!-- backout:begin "
	endMarker   = "<!-- backout:end -->"
)

// begin has the digest of the whole draft where it has no sections of its own, as in
// a comment and in the issues of earlier versions, and the names of the sections that
// were written where it has.
var begin = regexp.MustCompile(`<!-- backout:begin (?:body=([0-9a-f]{8,64}) )?title=([0-9a-f]{8,64})(?: incident=([^\s<>]+))?(?: sections=([a-z0-9,-]*))? -->`)

// markerPrefix begins every marker of an incident.
const markerPrefix = "<!-- backout:incident="

// marker names the incident of an issue. It stands at the top, and the marker
// before the draft names the incident again: whoever tidies up one of them leaves
// the other.
func marker(key string) string { return markerPrefix + key + " -->" }

// names reports whether a text names the incident as its own.
func names(text, key string) bool {
	text = normal(text)
	if strings.Contains(text, marker(key)) {
		return true
	}
	at := begin.FindStringSubmatch(text)
	return at != nil && at[3] == key
}

// namesAny reports whether a text names any incident as its own.
func namesAny(text string) bool {
	at := begin.FindStringSubmatch(text)
	return strings.Contains(text, markerPrefix) || (at != nil && at[3] != "")
}

// part is Backout's part of an issue's text, and what surrounds it.
type part struct {
	before, after string
	// draft is the text between the markers as it stands there.
	draft string
	// body and title are the digests of what Backout wrote last; body is empty for a
	// draft in sections.
	body, title string
	// sections are the IDs of the sections that Backout wrote there ever.
	sections []string
}

// parsePart finds Backout's part in an issue's text. It reports false when
// people removed or broke the markers.
func parsePart(text string) (part, bool) {
	text = normal(text)
	at := begin.FindStringSubmatchIndex(text)
	if at == nil {
		return part{}, false
	}
	end := strings.Index(text[at[1]:], endMarker)
	if end < 0 {
		return part{}, false
	}
	group := func(n int) string {
		if at[2*n] < 0 {
			return ""
		}
		return text[at[2*n]:at[2*n+1]]
	}
	p := part{
		before: text[:at[0]], after: text[at[1]+end+len(endMarker):], draft: text[at[1] : at[1]+end], body: group(1), title: group(2),
	}
	if p.sections = strings.FieldsFunc(group(4), func(r rune) bool { return r == ',' }); p.body == "" && len(p.sections) == 0 {
		return part{}, false
	}
	return p, true
}

// edited says that people changed the draft since Backout wrote it.
func (p part) edited() bool { return p.body != digest(p.draft) }

// compose makes an issue's text: what people wrote around the draft stays, and
// the draft is cut to what GitHub takes.
func compose(key, title, draft string, around part) string {
	if !strings.Contains(around.before, marker(key)) {
		around.before = marker(key) + "\n" + around.before
	}
	head := func(d string) string {
		return around.before + beginPrefix + "body=" + digest("\n"+d+"\n") + " title=" + digest(title) + " incident=" + key + " -->\n"
	}
	tail := "\n" + endMarker + around.after
	draft = cutDraft(draft, maxBody-utf8.RuneCountInString(head(draft))-utf8.RuneCountInString(tail))
	return head(draft) + draft + tail
}

// cutDraft shortens a draft to at most room characters, at a line's end, and
// says so visibly.
func cutDraft(draft string, room int) string {
	if utf8.RuneCountInString(draft) <= room {
		return draft
	}
	if room -= utf8.RuneCountInString(cutNote); room < 0 {
		// People left no room at all; what they wrote matters more.
		return ""
	}
	short := string([]rune(draft)[:room])
	if i := strings.LastIndexByte(short, '\n'); i > 0 {
		short = short[:i]
	}
	return short + cutNote
}

// digest is compared and never trusted, so 16 digits are enough.
func digest(text string) string {
	return strings.TrimPrefix(incident.DigestOf([]byte(strings.TrimSpace(normal(text)))), "sha256:")[:16]
}

// normal undoes what GitHub's editor does to line ends.
func normal(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

var (
	comment = regexp.MustCompile(`(?s)<!--.*?-->`)
	mention = regexp.MustCompile(`(^|[^\w/@` + "`" + `\\])@([A-Za-z0-9])`)
	// reference finds issue numbers, and before them what only looks like one:
	// addresses and character entities.
	reference = regexp.MustCompile(`https?://[^\s<>"]+|&#\d+;|#\d`)
	shorthand = regexp.MustCompile(`(?i)\b(gh)-(\d)`)
)

// neutral keeps a draft from calling people, linking to other issues, or
// carrying markers: whatever writes the draft, text from outside has been in
// it. A word joiner, which nobody sees, stands behind the character that would
// do it.
func neutral(draft string) string {
	draft = comment.ReplaceAllString(normal(draft), "")
	draft = strings.NewReplacer("<!--", "&lt;!--", "-->", "--&gt;").Replace(draft)
	draft = mention.ReplaceAllString(draft, "${1}@\u2060${2}")
	draft = reference.ReplaceAllStringFunc(draft, func(found string) string {
		if number, ok := strings.CutPrefix(found, "#"); ok {
			return "#\u2060" + number
		}
		return found
	})
	draft = shorthand.ReplaceAllString(draft, "${1}-\u2060${2}")
	return strings.TrimSpace(draft)
}

// neutralTitle is a title on one line that calls nobody.
func neutralTitle(title string) string {
	return cut(strings.Join(strings.Fields(neutral(title)), " "), maxTitle)
}

// checkKey refuses a key that could end the marker.
func checkKey(key string) error {
	if !incident.ValidKey(key) || strings.Contains(key, "--") {
		return fmt.Errorf("mark issue: %q is not an incident's key", key)
	}
	return nil
}
