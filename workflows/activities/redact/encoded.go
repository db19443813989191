package redact

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unwrapped bounds how many encodings deep a secret is looked for.
const unwrapped = 3

// Bounds of a run of characters that is decoded from base64, in bytes: a shorter one
// holds no name with a secret, and a secret in a longer one is found where what it
// holds is captured.
const (
	minBase64 = 20
	maxBase64 = 64 << 10
	// sampled is how much of a run is decoded to see whether it is text at all.
	sampled = 32
)

// redactEncoded takes out what holds a secret in base64, as a whole, and secrets in
// percent-encoded text, where the rest stays. It adds the number to n.
func redactEncoded(b []byte, n, depth int) ([]byte, int) {
	if depth == 0 {
		return b, n
	}
	var changes []replaced
	for at := 0; at < len(b); {
		if !isBase64[b[at]] {
			at++
			continue
		}
		start := at
		for at < len(b) && isBase64[b[at]] {
			at++
		}
		if at-start < minBase64 || at-start > maxBase64 {
			continue
		}
		if _, ok := decoded(b[start : start+min(sampled, (at-start)/4*4)]); !ok {
			continue
		}
		text, ok := decoded(b[start:at])
		if !ok {
			continue
		}
		if _, found := redactText(text, depth-1); found > 0 {
			length := at - start
			for at < len(b) && b[at] == '=' {
				at++
			}
			changes = append(changes, replaced{span: span{start, at}, by: mark(fmt.Sprintf("base64/%d", length)), n: 1})
		}
	}
	b, found := apply(b, changes)
	n += found
	changes = nil
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '%')
		if i < 0 {
			break
		}
		begun := at
		if at += i; !partsPair(b[at:]) {
			at++
			continue
		}
		part := span{at, at}
		for part.start > begun && !endsPart[b[part.start-1]] {
			part.start--
		}
		for part.end < len(b) && !endsPart[b[part.end]] {
			part.end++
		}
		at = part.end
		text, err := url.QueryUnescape(string(b[part.start:part.end]))
		if err != nil {
			continue
		}
		if clean, found := redactText([]byte(text), depth-1); found > 0 {
			changes = append(changes, replaced{span: part, by: escaped(clean), n: found})
		}
	}
	b, found = apply(b, changes)
	return b, n + found
}

// isBase64 are the characters of base64, standard and for URLs. endsPart are those that
// end a part of a URL or of a form.
var (
	isBase64 = bytesOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
	endsPart = bytesOf(" \t\r\n\v\f\"'<>\\&=?;,")
)

func bytesOf(s string) (set [256]bool) {
	for _, c := range []byte(s) {
		set[c] = true
	}
	return set
}

// partsPair reports whether a text begins with a colon, an equals sign or a quote in
// percent-encoding: what parts a name from its value.
func partsPair(b []byte) bool {
	return len(b) >= 3 && (b[1] == '3' && (b[2]|0x20 == 'a' || b[2]|0x20 == 'd') || b[1] == '2' && b[2] == '2')
}

// decoded is the text that a run holds in base64, standard or for URLs; ok is false when
// it holds none.
func decoded(run []byte) (text []byte, ok bool) {
	run = bytes.TrimRight(run, "=")
	if len(run) > maxBase64 || len(run)%4 == 1 {
		return nil, false
	}
	code := base64.RawStdEncoding
	if bytes.ContainsAny(run, "-_") {
		code = base64.RawURLEncoding
	}
	text = make([]byte, code.DecodedLen(len(run)))
	n, err := code.Decode(text, run)
	if err != nil {
		return nil, false
	}
	// The end of a sample may be within a character.
	text = text[:n]
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size <= 1 {
			return text, len(text)-i < utf8.UTFMax && !utf8.FullRune(text[i:])
		}
		if !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' {
			return nil, false
		}
		i += size
	}
	return text, true
}

// escaped is text in percent-encoding, but for the marks in it.
func escaped(text []byte) []byte {
	var out strings.Builder
	for rest := string(text); rest != ""; {
		at := strings.Index(rest, opening)
		end := -1
		if at >= 0 {
			end = strings.IndexByte(rest[at:], ']')
		}
		if end < 0 {
			out.WriteString(url.QueryEscape(rest))
			break
		}
		end += at + 1
		out.WriteString(url.QueryEscape(rest[:at]))
		out.WriteString(rest[at:end])
		rest = rest[end:]
	}
	return []byte(out.String())
}

var (
	// keyBegins and keyEnds are the lines around a private key.
	keyBegins = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	keyEnds   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`)
	// keyLine ends with a line of a key, also within a string or behind what a logger
	// writes before each line.
	keyLine = regexp.MustCompile(`([A-Za-z0-9+/]{16,}={0,2})(?:\\[nr]|[\s"'}\\,])*$`)
)

// maxKeyLines is how many lines a private key may have: twice those of one of 16384
// bits.
const maxKeyLines = 400

// redactKeyLines takes out the lines of private keys of which the end or the beginning
// is lost, as where a log is cut. What stands before each line stays.
func redactKeyLines(b []byte, n int) ([]byte, int) {
	begun, ended := keyBegins.FindAllIndex(b, -1), keyEnds.FindAllIndex(b, -1)
	if len(begun)+len(ended) == 0 {
		return b, n
	}
	lines := linesOf(b)
	lineAt := func(offset int) int {
		low, high := 0, len(lines)-1
		for low < high {
			if mid := (low + high + 1) / 2; lines[mid].start <= offset {
				low = mid
			} else {
				high = mid - 1
			}
		}
		return low
	}
	var changes []replaced
	taken := map[int]bool{}
	take := func(i int) bool {
		m := keyLine.FindSubmatchIndex(b[lines[i].start:lines[i].end])
		if m == nil {
			return false
		}
		if !taken[i] {
			taken[i] = true
			changes = append(changes, replaced{span: span{lines[i].start + m[2], lines[i].start + m[3]}, by: mark("private_key"), n: 1})
		}
		return true
	}
	for k, m := range begun {
		until := len(b)
		if k+1 < len(begun) {
			until = begun[k+1][0]
		}
		first := lineAt(m[0]) + 1
		if within(ended, m[1], until) || first >= len(lines) || !led(b, lines[first]) {
			continue // It is whole, or is known by its spelling.
		}
		for i := first; i < min(len(lines), first+maxKeyLines); i++ {
			if !take(i) {
				break
			}
		}
	}
	for k, m := range ended {
		from := 0
		if k > 0 {
			from = ended[k-1][1]
		}
		if within(begun, from, m[0]) {
			continue
		}
		last := lineAt(m[0]) - 1
		for i := last; i > max(-1, last-maxKeyLines); i-- {
			if !take(i) {
				break
			}
		}
	}
	b, found := apply(b, changes)
	return b, n + found
}

// within reports whether one of several places begins between two others.
func within(places [][]int, from, until int) bool {
	return slices.ContainsFunc(places, func(m []int) bool { return m[0] >= from && m[0] < until })
}

// led reports whether something stands on a line before that of a key.
func led(b []byte, l span) bool {
	m := keyLine.FindSubmatchIndex(b[l.start:l.end])
	return m != nil && m[2] > 0
}

// isUserPassword reports whether a value is a name and a password in base64, as basic
// authentication sends them.
func isUserPassword(v []byte) bool {
	text, ok := decoded(v)
	return ok && bytes.IndexByte(text, ':') > 0
}
