package redact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"
	"slices"
	"strings"
)

// Document is Redact for a document of a media type. Beside what Redact knows, it
// takes the values of Kubernetes Secrets out of JSON and YAML, whatever they are
// called and however they are encoded, also where a Secret stands in a list or in a
// string of another object. Their keys and the lengths of the values stay, as in
// "[redacted:secret_data/24]".
//
// What claims to be JSON and is none is read as text, as Redact does.
func Document(content []byte, mediaType string) (out []byte, n int) {
	name, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		name = ""
	}
	out = content
	if first := bytes.TrimLeft(content, " \t\r\n"); name == "application/json" || strings.HasSuffix(name, "json") ||
		bytes.HasPrefix(first, []byte("{")) || bytes.HasPrefix(first, []byte("[")) {
		out, n = secretsInJSON(out, nested)
	}
	out, inTables := secretsInTables(out)
	out, inLines := secretsInLines(out)
	out, inYAML := secretsInYAML(out)
	out, rest := Redact(out)
	return out, n + inTables + inLines + inYAML + rest
}

const (
	// nested bounds how many strings deep JSON in JSON is followed.
	nested = 3
	// maxDepth bounds how deep JSON is followed. What is deeper is read as text. It is
	// far more than any real document has.
	maxDepth = 512
)

// secretData marks a value of a Kubernetes Secret.
const secretData = "secret_data"

// dataMembers hold the values of a Kubernetes Secret.
var dataMembers = []string{"data", "stringData"}

// replaced is a part of a document with what stands there instead.
type replaced struct {
	span
	by []byte
	n  int
}

// apply makes the replacements, which do not overlap.
func apply(b []byte, changes []replaced) ([]byte, int) {
	if len(changes) == 0 {
		return b, 0
	}
	slices.SortFunc(changes, func(x, y replaced) int { return x.start - y.start })
	var out []byte
	from, n := 0, 0
	for _, c := range changes {
		if c.start < from {
			continue
		}
		out = append(append(out, b[from:c.start]...), c.by...)
		from = c.end
		n += c.n
	}
	return append(out, b[from:]...), n
}

// secretsInJSON takes the values of Secrets out of one JSON document or several.
func secretsInJSON(b []byte, depth int) ([]byte, int) {
	if depth == 0 || !bytes.Contains(b, []byte("Secret")) {
		return b, 0
	}
	w := &jsonWalk{b: b, d: json.NewDecoder(bytes.NewReader(b)), depth: depth}
	w.d.UseNumber()
	for {
		if _, err := w.value(nil); err != nil {
			break // The end, or no JSON from here on.
		}
	}
	return apply(b, w.changes)
}

// secretsInLines takes the values of Secrets out of JSON that stands on one line of
// a text, such as a log.
func secretsInLines(b []byte) ([]byte, int) {
	if !bytes.Contains(b, []byte("Secret")) {
		return b, 0
	}
	var changes []replaced
	for _, l := range linesOf(b) {
		line := b[l.start:l.end]
		at := bytes.IndexByte(line, '{')
		if at < 0 || !bytes.Contains(line, []byte("Secret")) {
			continue
		}
		if by, n := secretsInJSON(line[at:], nested); n > 0 {
			changes = append(changes, replaced{span: span{l.start + at, l.end}, by: by, n: n})
		}
	}
	return apply(b, changes)
}

// jsonWalk goes through a document token by token, so that it keeps its spelling.
type jsonWalk struct {
	b []byte
	d *json.Decoder
	// depth is how many strings deep JSON may still be followed, open how many
	// objects and lists are open.
	depth, open int
	changes     []replaced
}

// object is what is known of one object so far.
type object struct {
	kind string
	// data are the strings in the members that hold the values of a Secret.
	data []replaced
}

// token is the next token and where it stands.
func (w *jsonWalk) token() (json.Token, span, error) {
	start := int(w.d.InputOffset())
	t, err := w.d.Token()
	if err != nil {
		return nil, span{}, err
	}
	end := int(w.d.InputOffset())
	for start < end && strings.IndexByte(" \t\r\n:,", w.b[start]) >= 0 {
		start++
	}
	return t, span{start, end}, nil
}

// value goes through one value and returns its first token. Its strings are added to
// into, if there is one.
func (w *jsonWalk) value(into *[]replaced) (json.Token, error) {
	t, at, err := w.token()
	if err != nil {
		return nil, err
	}
	switch is := t.(type) {
	case string:
		w.text(is, at, into)
	case json.Delim:
		w.open++
		defer func() { w.open-- }()
		switch {
		case w.open > maxDepth:
			return nil, errTooDeep
		case is == '{':
			return t, w.members(into)
		case is == '[':
			for w.d.More() {
				if _, err := w.value(into); err != nil {
					return nil, err
				}
			}
			_, _, err = w.token()
			return t, err
		default:
			return nil, io.ErrUnexpectedEOF
		}
	}
	return t, nil
}

// errTooDeep ends the walk through a document that no system writes.
var errTooDeep = errors.New("the document is nested too deeply")

// text looks at one string: a value of a Secret, or JSON of its own.
func (w *jsonWalk) text(t string, at span, into *[]replaced) {
	if into != nil && t != "" && !strings.HasPrefix(t, opening) {
		*into = append(*into, replaced{span: at, by: fmt.Appendf(nil, `"%s%s/%d]"`, opening, secretData, len(t)), n: 1})
		return
	}
	if !strings.HasPrefix(strings.TrimLeft(t, " \n"), "{") {
		return
	}
	inner, n := secretsInJSON([]byte(t), w.depth-1)
	if n == 0 {
		return
	}
	var spelled bytes.Buffer
	e := json.NewEncoder(&spelled)
	e.SetEscapeHTML(false)
	if e.Encode(string(inner)) == nil {
		w.changes = append(w.changes, replaced{span: at, by: bytes.TrimRight(spelled.Bytes(), "\n"), n: n})
	}
}

// members goes through an object up to its end.
func (w *jsonWalk) members(into *[]replaced) error {
	var o object
	for w.d.More() {
		name, _, err := w.token()
		if err != nil {
			return err
		}
		key, _ := name.(string)
		inside := into
		if inside == nil && slices.Contains(dataMembers, key) {
			inside = &o.data
		}
		is, err := w.value(inside)
		if err != nil {
			return err
		}
		if key == "kind" {
			o.kind, _ = is.(string)
		}
	}
	if o.kind == "Secret" {
		w.changes = append(w.changes, o.data...)
	}
	_, _, err := w.token()
	return err
}

// secretKind is the line of a YAML document that says that it is a Secret.
var secretKind = regexp.MustCompile(`(?m)^([ \t]*(?:- )?)kind:[ \t]*["']?Secret["']?[ \t]*(?:#.*)?\r?$`)

// dataBegins is the line that the values of a Secret are below.
var dataBegins = regexp.MustCompile(`^[ ]*(?:- )?(?:data|stringData):[ \t]*\r?$`)

// yamlPair is a name with a value on one line.
var yamlPair = regexp.MustCompile(`^[ ]*["']?[A-Za-z0-9._-]+["']?:[ \t]*(.*?)[ \t]*\r?$`)

// secretsInYAML takes the values of Secrets out of YAML, line by line.
func secretsInYAML(b []byte) ([]byte, int) {
	if !bytes.Contains(b, []byte("Secret")) || !secretKind.Match(b) {
		return b, 0
	}
	lines := linesOf(b)
	var changes []replaced
	// seen is where the latest mapping ended that was gone through, at that column: one
	// that says twice what it is is not gone through again.
	seen, col := -1, -1
	for i, l := range lines {
		if !secretKind.Match(b[l.start:l.end]) || i <= seen && col == column(b, l) {
			continue
		}
		first, last := mapping(b, lines, i)
		seen, col = last, column(b, l)
		for at := first; at <= last; at++ {
			if dataBegins.Match(b[lines[at].start:lines[at].end]) && column(b, lines[at]) == column(b, l) {
				changes = append(changes, below(b, lines, at)...)
			}
		}
	}
	return apply(b, changes)
}

// linesOf is where the lines stand, without their ends.
func linesOf(b []byte) []span {
	var out []span
	for start := 0; start < len(b); {
		end := lineEnd(b, start)
		out = append(out, span{start, end})
		start = end + 1
	}
	return out
}

// column is where the name of a line begins: behind the dash of a list.
func column(b []byte, l span) int {
	n := indent(b[l.start:l.end])
	for bytes.HasPrefix(b[l.start+n:l.end], []byte("- ")) {
		n += 2
		n += indent(b[l.start+n : l.end])
	}
	return n
}

// mapping is the lines of the mapping that a line is in.
func mapping(b []byte, lines []span, at int) (first, last int) {
	own := column(b, lines[at])
	begins := func(i int) bool { return indent(b[lines[i].start:lines[i].end]) < own && column(b, lines[i]) == own }
	within := func(i int) bool {
		l := b[lines[i].start:lines[i].end]
		return len(bytes.TrimSpace(l)) == 0 || indent(l) >= own && !bytes.HasPrefix(l, []byte("---"))
	}
	for first = at; !begins(first) && first > 0 && (within(first-1) || begins(first-1)); {
		first--
	}
	for last = at; last+1 < len(lines) && within(last+1); {
		last++
	}
	return first, last
}

// below takes out the values of the names below a line.
func below(b []byte, lines []span, at int) []replaced {
	outer := column(b, lines[at])
	var out []replaced
	for i := at + 1; i < len(lines); i++ {
		l := lines[i]
		line := b[l.start:l.end]
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if indent(line) <= outer {
			break
		}
		m := yamlPair.FindSubmatchIndex(line)
		if m == nil || m[2] == m[3] {
			continue
		}
		value := span{l.start + m[2], l.start + m[3]}
		own, length := indent(line), value.end-value.start
		// What goes on below belongs to the value.
		for i+1 < len(lines) {
			next := b[lines[i+1].start:lines[i+1].end]
			if len(bytes.TrimSpace(next)) > 0 && indent(next) <= own {
				break
			}
			i++
			if len(bytes.TrimSpace(next)) > 0 {
				length += len(bytes.TrimSpace(next))
				value.end = lines[i].end
			}
		}
		text := bytes.Trim(b[value.start:value.end], `"'`)
		if len(text) == 0 || bytes.HasPrefix(text, []byte(opening)) {
			continue
		}
		out = append(out, replaced{span: value, by: fmt.Appendf(nil, `"%s%s/%d]"`, opening, secretData, length), n: 1})
	}
	return out
}
