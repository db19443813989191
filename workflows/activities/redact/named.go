package redact

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
)

// secretName ends the names whose values are secrets, whatever they look like.
const secretName = `passw(?:or)?d|pwd|pass[_-]?phrase|passcode|[_-]pass|secret|token|` +
	`(?:api|access|secret|private|signing|encryption|master|account|shared|auth|routing|integration)[_.-]?key|access[_-]?key[_-]?id|` +
	`key[_-]?data|credentials?|[_-]creds?|session[_-]?id|sessid`

// vagueName ends names whose values are secrets only when they look random.
const vagueName = `key|auth|sig|signature`

var (
	secretEnd = regexp.MustCompile(`(?:` + secretName + `)$`)
	// onlyPass is a name whose value is a secret unless it counts something, as in
	// the summary of a test.
	onlyPass = regexp.MustCompile(`(?:^|\.)pass$`)
	vagueEnd = regexp.MustCompile(`(?:` + vagueName + `)$`)
	// harmlessEnd ends names that only sound like secrets: cursors, and the
	// names of Kubernetes objects.
	harmlessEnd = regexp.MustCompile(`(?:page|next|continue|continuation|sync|resume|pull)[_-]?(?:token|secret)$`)
)

// listed is the name in an entry of a list of names and values, such as the
// environment of a container, in YAML and in JSON, or of settings in XML.
var listed = regexp.MustCompile(`(?i)^(?:name|key)\\*["']?\s*[:=]\s*\\*["']?([A-Za-z0-9_.-]+)\\*["']?\s*,?\s*\\*["']?value\\*["']?\s*[:=][ \t]*(?:\{\s*\\*["']string_?value\\*["']\s*:[ \t]*)?`)

// flagged is a flag whose value is the next word, also in a list in JSON.
var flagged = regexp.MustCompile(`^--([A-Za-z0-9_-]+)(?:[ \t]+|\\*["']\s*,\s*)`)

// flaggedOnce is one with one dash.
var flaggedOnce = regexp.MustCompile(`^ -([A-Za-z][A-Za-z0-9_-]*)[ \t]+`)

// found is a name with a value behind it.
type found struct {
	// key and end bound the name, value is where its value begins.
	key, end, value int
}

// redactNamed takes out what is a secret by its name and adds the number to n.
func redactNamed(b []byte, n int) ([]byte, int) {
	b, n = redactValues(b, n, separated)
	for _, begin := range []struct {
		text string
		re   *regexp.Regexp
	}{{"name", listed}, {"Name", listed}, {"key", listed}, {"Key", listed}, {"--", flagged}, {" -", flaggedOnce}} {
		b, n = redactValues(b, n, func(b []byte, at int) (found, bool) { return begun(b, at, begin.text, begin.re) })
	}
	return b, n
}

// redactValues takes out the values of the names that next finds.
func redactValues(b []byte, n int, next func(b []byte, at int) (found, bool)) ([]byte, int) {
	var out []byte
	from := 0
	for at := 0; at < len(b); {
		f, ok := next(b, at)
		if !ok {
			break
		}
		at = f.value
		name := lower(b[f.key:f.end])
		if !maySound(name) {
			continue
		}
		if harmlessEnd.Match(name) {
			continue
		}
		for _, v := range valuesAt(b, f) {
			secret := b[v.start:v.end]
			what := secretBy(name, secret)
			if what == nil {
				continue
			}
			if isReference(secret) {
				at = max(at, v.end)
				continue
			}
			out = append(out, b[from:v.start]...)
			out = append(out, mark(fmt.Sprintf("%s/%d", label(what), len(secret)))...)
			from, at = v.end, max(at, v.end)
			n++
		}
	}
	if from == 0 {
		return b, n
	}
	return append(out, b[from:]...), n
}

// secretBy is the part of a name, in lower case, that says that its value is a secret;
// nil when it is none.
func secretBy(name, value []byte) []byte {
	if !maySound(name) || harmlessEnd.Match(name) || isPlaceholder(value) {
		return nil
	}
	if what := secretEnd.Find(name); what != nil {
		return what
	}
	if what := onlyPass.Find(name); what != nil && looksChosen(value) {
		return what
	}
	if what := vagueEnd.Find(name); what != nil && looksRandom(value) {
		return what
	}
	return nil
}

// separated finds the next name that is parted from its value by a colon, an
// equals sign or an arrow.
func separated(b []byte, at int) (found, bool) {
	for {
		i := bytes.IndexAny(b[at:], ":=")
		if i < 0 {
			return found{}, false
		}
		sep := at + i
		at = sep + 1
		for at < len(b) && (b[at] == '=' || b[at] == '>' && b[at-1] == '=') {
			at++
		}
		for at < len(b) && (b[at] == ' ' || b[at] == '\t') {
			at++
		}
		end := nameEnd(b, sep)
		at += len(htmlQuote(b[at:]))
		if end == 0 || !mayEnd(b[end-1]) {
			continue
		}
		return found{key: nameAt(b, end), end: end, value: at}, true
	}
}

// coloured ends with a change of colour, as a logger writes it to a terminal, also in
// a string of JSON.
var coloured = regexp.MustCompile(`(?:\x1b|\\+u001[bB]|\\+x1[bB]|\\+033)\[[0-9;]*m$`)

// maxColour bounds a change of colour, in bytes.
const maxColour = 32

// htmlQuotes are quotes as HTML spells them.
var htmlQuotes = []string{"&quot;", "&#34;", "&#39;"}

// htmlQuote is the quote in HTML that a text begins with, or nothing.
func htmlQuote(b []byte) string {
	for _, q := range htmlQuotes {
		if bytes.HasPrefix(b, []byte(q)) {
			return q
		}
	}
	return ""
}

// nameEnd is where a name before a separator ends: before spaces, quotes, and a change
// of colour.
func nameEnd(b []byte, sep int) int {
	end := len(bytes.TrimRight(b[:sep], " \t"))
	if end > 0 && b[end-1] == 'm' {
		from := max(0, end-maxColour)
		if m := coloured.FindIndex(b[from:end]); m != nil {
			end = from + m[0]
		}
	}
	if end > 0 && (b[end-1] == '"' || b[end-1] == '\'') {
		return len(bytes.TrimRight(b[:end-1], "\\"))
	}
	if end > 0 && b[end-1] == ';' {
		for _, q := range htmlQuotes {
			if bytes.HasSuffix(b[:end], []byte(q)) {
				return end - len(q)
			}
		}
	}
	return end
}

// begun finds the next place where an expression, which begins with a text,
// matches. Its group is the name.
func begun(b []byte, at int, text string, re *regexp.Regexp) (found, bool) {
	for {
		i := bytes.Index(b[at:], []byte(text))
		if i < 0 {
			return found{}, false
		}
		at += i
		if m := re.FindSubmatchIndex(b[at:]); m != nil {
			return found{key: at + m[2], end: at + m[3], value: at + m[1]}, true
		}
		at += len(text)
	}
}

// maySound reports whether a name in lower case holds part of any of the names.
// It spares most names the expressions.
func maySound(name []byte) bool {
	for _, part := range []string{"pass", "key", "token", "secret", "auth", "cred", "sig", "sess", "pwd"} {
		if bytes.Contains(name, []byte(part)) {
			return true
		}
	}
	return false
}

// mayEnd reports whether one of the names ends with a letter.
func mayEnd(c byte) bool {
	switch c | 0x20 {
	case 'a', 'd', 'e', 'g', 'h', 'l', 'n', 's', 't', 'y':
		return true
	default:
		return false
	}
}

// longestName bounds how far back a name is followed, in bytes.
const longestName = 128

// nameAt goes back from its end to where a name begins.
func nameAt(b []byte, end int) int {
	start := end
	for start > 0 && end-start < longestName && isNameByte(b[start-1]) {
		start--
	}
	return start
}

func isNameByte(c byte) bool { return isWordByte(c) || c == '-' || c == '.' }

// label is the part of a name that gave the secret away, spelled one way.
func label(name []byte) string {
	s := strings.ToLower(string(bytes.Trim(name, "_-.")))
	return strings.NewReplacer("-", "_", ".", "_").Replace(s)
}

// placeholder is a value that says nothing.
var placeholder = regexp.MustCompile(`(?i)^(?:|null|nil|none|true|false|undefined|~|-|[*x.]+|[<(\[{]*(?:none|nil|null|unset|empty|redacted|masked|filtered|hidden|removed|secret)[>)\]}]*|%[a-z])$`)

func isPlaceholder(v []byte) bool {
	v = bytes.TrimSpace(v)
	return bytes.HasPrefix(v, []byte(opening)) || len(v) <= 16 && placeholder.Match(v)
}

// reference is a value that leads to a secret elsewhere, which a debugger needs
// to see.
var reference = regexp.MustCompile(`^(?:\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_][A-Za-z0-9_]*|\{\{.*\}\}|<set to the key .*|arn:aws[a-z-]*:(?:secretsmanager|ssm):\S+|op://\S+|/[A-Za-z0-9_./-]+\.(?:pem|key|crt|json|txt|p12|jks))$`)

func isReference(v []byte) bool { return reference.Match(bytes.TrimSpace(v)) }

// Bounds of what looks random. A hexadecimal digest has at most 4 bits a
// character and only one case, so it never does.
const (
	randomLength = 20
	randomBits   = 3.5
)

// shortestChosen is the shortest value that is taken for a password by a vague name,
// in bytes.
const shortestChosen = 6

// looksChosen reports whether a value may be a password and no count.
func looksChosen(v []byte) bool {
	first, _, _ := bytes.Cut(v, []byte(" "))
	return len(v) >= shortestChosen && len(bytes.Trim(first, "0123456789.,%")) > 0
}

// looksRandom reports whether a value is one run of at least three kinds of
// characters without much repetition.
func looksRandom(v []byte) bool {
	if len(v) < randomLength {
		return false
	}
	var counts [256]int
	var upper, lower, digit bool
	for _, c := range v {
		switch {
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= '0' && c <= '9':
			digit = true
		case c == '+' || c == '/' || c == '=' || c == '_' || c == '-':
		default:
			return false
		}
		counts[c]++
	}
	var bits float64
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(v))
			bits -= p * math.Log2(p)
		}
	}
	return upper && lower && digit && bits >= randomBits
}
