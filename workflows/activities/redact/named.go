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
	`key[_-]?data|credentials?|[_-]creds?|session[_-]?id|sessid|connection[_-]?secret`

// vagueName ends names whose values are secrets only when they look random.
const vagueName = `key|auth|sig|signature`

// named finds a name and what separates it from its value.
var named = regexp.MustCompile(`(?i)(` + secretName + `)(\\*["']?[ \t]*(?::=|=>|[:=])[ \t]*)`)

// vague finds names that are secrets only sometimes.
var vague = regexp.MustCompile(`(?i)(` + vagueName + `)(\\*["']?[ \t]*(?::=|=>|[:=])[ \t]*)`)

// listed finds the name in an entry of a list of names and values, such as the
// environment of a container, in YAML and in JSON.
var listed = regexp.MustCompile(`(?i)\bname\\*["']?\s*:\s*\\*["']?[A-Za-z0-9_.-]*?(` + secretName + `)(\\*["']?\s*,?\s*\\*["']?value\\*["']?\s*:[ \t]*)`)

// flagged finds a flag whose value is the next word, also in a list in JSON.
var flagged = regexp.MustCompile(`(?i)--[a-z0-9-]*?(` + secretName + `)([ \t]+|\\*["']\s*,\s*)`)

// harmlessName ends names that only sound like secrets: cursors, and the names
// of Kubernetes objects.
var harmlessName = regexp.MustCompile(`(?i)(?:page|next|continue|continuation|sync|resume|pull)[_-]?(?:token|secret)$`)

// redactNamed takes out what is a secret by its name and adds the number to n.
func redactNamed(b []byte, n int) ([]byte, int) {
	for _, re := range []*regexp.Regexp{named, listed, flagged} {
		b, n = redactValues(b, n, re, func([]byte) bool { return true })
	}
	return redactValues(b, n, vague, looksRandom)
}

func redactValues(b []byte, n int, re *regexp.Regexp, only func(secret []byte) bool) ([]byte, int) {
	var out []byte
	from := 0
	for at := 0; at < len(b); {
		m := re.FindSubmatchIndex(b[at:])
		if m == nil {
			break
		}
		for i := range m {
			m[i] += at
		}
		at = m[1]
		key := nameAt(b, m[2], m[3])
		if harmlessName.Match(b[key:m[3]]) {
			continue
		}
		for _, v := range valuesAt(b, key, m[4], m[5]) {
			secret := b[v.start:v.end]
			if isPlaceholder(secret) || !only(secret) {
				continue
			}
			if isReference(secret) {
				at = max(at, v.end)
				continue
			}
			out = append(out, b[from:v.start]...)
			out = append(out, mark(fmt.Sprintf("%s/%d", label(b[m[2]:m[3]]), len(secret)))...)
			from, at = v.end, max(at, v.end)
			n++
		}
	}
	if from == 0 {
		return b, n
	}
	return append(out, b[from:]...), n
}

// label is the part of a name that gave the secret away, spelled one way.
func label(name []byte) string {
	s := strings.ToLower(string(bytes.Trim(name, "_-.")))
	return strings.NewReplacer("-", "_", ".", "_").Replace(s)
}

// nameAt goes back to where the whole name begins.
func nameAt(b []byte, start, end int) int {
	_ = b[start:end]
	for start > 0 && isNameByte(b[start-1]) {
		start--
	}
	return start
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
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
