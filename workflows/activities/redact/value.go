package redact

import (
	"bytes"
	"regexp"
)

// span is where a value stands, without its quotes.
type span struct{ start, end int }

// valuesAt finds the value that begins at start, after a name at key and a
// separator at sep. A list in brackets has several; a name with nothing behind
// it has none.
func valuesAt(b []byte, key, sep, start int) []span {
	if start >= len(b) {
		return nil
	}
	switch c := b[start]; {
	case c == '\n' || c == '\r' || c == '{':
		return nil
	case c == '[' && !bytes.HasPrefix(b[start:], []byte(opening)):
		return listAt(b, start+1)
	case (c == '|' || c == '>') && blockHeader.Match(b[start:]):
		return blockAt(b, key, start)
	default:
		if s, ok := quotedAt(b, start); ok {
			return []span{s}
		}
		return []span{bareAt(b, key, sep, start)}
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

// listAt finds the strings of a list up to its closing bracket.
func listAt(b []byte, start int) []span {
	var out []span
	for i := start; i < len(b); {
		switch c := b[i]; {
		case c == ']':
			return out
		case c == '"' || c == '\'' || c == '\\':
			s, ok := quotedAt(b, i)
			if !ok {
				return out
			}
			out = append(out, s)
			i = s.end
			for i < len(b) && b[i] == '\\' {
				i++
			}
			i++
		case c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		default:
			return out
		}
	}
	return out
}

// blockHeader begins a block of lines in YAML.
var blockHeader = regexp.MustCompile(`^[|>][+-]?[0-9]?[+-]?[ \t]*\r?\n`)

// blockAt finds the lines of a YAML block: all that are indented further than
// the line of its name.
func blockAt(b []byte, key, start int) []span {
	line := bytes.LastIndexByte(b[:key], '\n') + 1
	outer := indent(b[line:])
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

// nextPair begins another name and value on the same line.
var nextPair = regexp.MustCompile(`[ \t,]+[A-Za-z_][A-Za-z0-9_.-]*=`)

// comment ends a value in YAML.
var comment = regexp.MustCompile(`[ \t]+#`)

// bareAt finds a value without quotes. A name at the beginning of its line has
// the whole line, as in YAML and in files of variables; any other has what
// stands up to the next space or separator.
func bareAt(b []byte, key, sep, start int) span {
	end := len(b)
	if i := bytes.IndexByte(b[start:], '\n'); i >= 0 {
		end = start + i
	}
	line := bytes.LastIndexByte(b[:key], '\n') + 1
	if lineStart.Match(b[line:key]) && bytes.IndexByte(b[sep:start], '"') < 0 {
		for _, re := range []*regexp.Regexp{nextPair, comment} {
			if m := re.FindIndex(b[start:end]); m != nil {
				end = start + m[0]
			}
		}
		return span{start, start + len(bytes.TrimRight(b[start:end], " \t\r"))}
	}
	depth := 0
	for i := start; i < end; i++ {
		switch b[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return span{start, i}
			}
		case ' ', '\t', '\r', ';', '&', '"', '\'', '`', '\\', '<':
			if depth <= 0 || b[i] == '"' {
				return trimPair(b, start, i)
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
