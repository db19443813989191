package redact

import (
	"bytes"
	"regexp"
)

// span is where a value stands, without its quotes.
type span struct{ start, end int }

// valuesAt finds the value behind a name. A list in brackets has several; a
// name with nothing behind it has none.
func valuesAt(b []byte, f found) []span {
	start := f.value
	if start >= len(b) {
		return nil
	}
	if m := goSlice.FindSubmatchIndex(b[start:]); m != nil {
		return listAt(b, start+m[1], '}')
	}
	if m := inBraces.FindSubmatchIndex(b[start:]); m != nil && bytes.IndexByte(b[f.end:start], '=') >= 0 {
		return []span{{start + m[2], start + m[3]}}
	}
	switch c := b[start]; {
	case c == '\n' || c == '\r' || c == '{':
		return nil
	case c == '[' && !bytes.HasPrefix(b[start:], []byte(opening)):
		return listAt(b, start+1, ']')
	case (c == '|' || c == '>') && blockHeader.Match(b[start:]):
		return blockAt(b, f.key, start)
	default:
		if s, ok := quotedAt(b, start); ok {
			return []span{s}
		}
		// A string of Python's with a letter before it.
		if (c == 'b' || c == 'u') && start+1 < len(b) && (b[start+1] == '\'' || b[start+1] == '"') {
			if s, ok := quotedAt(b, start+1); ok {
				return []span{s}
			}
		}
		return []span{bareAt(b, f)}
	}
}

// quotedAt finds the inside of a string in quotes, which may themselves be
// escaped, as in JSON inside of JSON. A string that is not closed ends with its
// line.
func quotedAt(b []byte, start int) (span, bool) {
	open := start
	for open < len(b) && b[open] == '\\' {
		open++
	}
	if open >= len(b) || b[open] != '"' && b[open] != '\'' && b[open] != '`' {
		return span{}, false
	}
	depth, quote := open-start, b[open]
	slashes := 0
	for i := open + 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\':
			slashes++
			continue
		case c == quote && (slashes <= depth || quote != '"' || depth == 0 && slashes%2 == 0):
			// The closing quote is escaped as often as the opening one.
			return span{open + 1, max(open+1, i-min(slashes, depth))}, true
		case c == '\n':
			return span{open + 1, i}, true
		}
		slashes = 0
	}
	return span{open + 1, len(b)}, true
}

// goSlice begins a slice in the syntax of Go, such as []string{.
var goSlice = regexp.MustCompile(`^\[\][A-Za-z0-9_.*]+\{`)

// inBraces is a value in braces, as in a connection string of ODBC.
var inBraces = regexp.MustCompile(`^\{([^{}\r\n"'=:]+)\}(?:;|$)`)

// listAt finds the elements of a list up to its closing bracket, or to the end
// of the line if they have no quotes.
func listAt(b []byte, start int, closing byte) []span {
	var out []span
	for i := start; i < len(b); {
		switch b[i] {
		case closing:
			return out
		case ',', ' ', '\t', '\n', '\r':
			i++
			continue
		}
		s, ok := quotedAt(b, i)
		if !ok {
			n := bytes.IndexAny(b[i:], ",\r\n"+string(closing))
			if n < 0 {
				n = len(b) - i
			}
			out = append(out, span{i, i + n})
			if i += n; i >= len(b) || b[i] != ',' {
				return out
			}
			continue
		}
		out = append(out, s)
		i = s.end
		for i < len(b) && b[i] == '\\' {
			i++
		}
		i++
	}
	return out
}

// blockHeader begins a block of lines in YAML.
var blockHeader = regexp.MustCompile(`^[|>][+-]?[0-9]?[+-]?[ \t]*\r?\n`)

// blockAt finds the lines of a YAML block: all that are indented further than
// the line of its name.
func blockAt(b []byte, key, start int) []span {
	outer := indent(b[bytes.LastIndexByte(b[:key], '\n')+1:])
	first := start + bytes.IndexByte(b[start:], '\n') + 1
	end := first
	for end < len(b) {
		next := len(b)
		if i := bytes.IndexByte(b[end:], '\n'); i >= 0 {
			next = end + i + 1
		}
		if text := bytes.TrimSpace(b[end:next]); len(text) > 0 && indent(b[end:]) <= outer {
			break
		}
		end = next
	}
	s := span{first + indent(b[first:end]), end}
	for s.end > s.start && (b[s.end-1] == '\n' || b[s.end-1] == '\r') {
		s.end--
	}
	if s.end <= s.start {
		return nil
	}
	return []span{s}
}

func indent(b []byte) int {
	n := 0
	for n < len(b) && b[n] == ' ' {
		n++
	}
	return n
}

// lineStart is what may stand before a name that has its line to itself.
var lineStart = regexp.MustCompile(`^[ \t]*(?:- )?[ \t]*(?:export |set |declare -x )?$`)

// longestLead bounds what may stand before a name that has its line to itself,
// in bytes.
const longestLead = 256

// opensLine reports whether a name has its line to itself.
func (f found) opensLine(b []byte) bool {
	lead := b[max(0, f.key-longestLead):f.key]
	line := bytes.LastIndexByte(lead, '\n') + 1
	return (line > 0 || len(lead) < longestLead) && lineStart.Match(lead[line:])
}

func lineEnd(b []byte, start int) int {
	if i := bytes.IndexByte(b[start:], '\n'); i >= 0 {
		return start + i
	}
	return len(b)
}

// nextPair begins another name and value on the same line.
var nextPair = regexp.MustCompile(`[ \t,]+[A-Za-z_][A-Za-z0-9_.-]*=`)

// comment ends a value in YAML.
var comment = regexp.MustCompile(`[ \t]+#`)

// bareAt finds a value without quotes. A name at the beginning of its line has
// the whole line, as in YAML and in files of variables; any other has what
// stands up to the next space or separator.
func bareAt(b []byte, f found) span {
	start := f.value
	if f.opensLine(b) && bytes.IndexByte(b[f.end:start], '"') < 0 {
		end := lineEnd(b, start)
		for _, re := range []*regexp.Regexp{nextPair, comment} {
			if m := re.FindIndex(b[start:end]); m != nil {
				end = start + m[0]
			}
		}
		return span{start, start + len(bytes.TrimRight(b[start:end], " \t\r"))}
	}
	depth := 0
	end := start
	for ; end < len(b) && b[end] != '\n'; end++ {
		switch b[end] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return span{start, end}
			}
		case ' ', '\t', '\r', ';', '&', '"', '\'', '`', '\\', '<':
			if depth <= 0 || b[end] == '"' {
				return trimPair(b, start, end)
			}
		}
	}
	return trimPair(b, start, end)
}

// trimPair leaves out another pair after a comma, and a comma at the end.
func trimPair(b []byte, start, end int) span {
	if m := nextPair.FindIndex(b[start:end]); m != nil {
		end = start + m[0]
	}
	for end > start && (b[end-1] == ',' || b[end-1] == '\r') {
		end--
	}
	return span{start, end}
}
