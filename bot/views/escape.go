package views

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks one character keeps; more of them paint
// over the neighbouring lines.
const maxMarks = 3

// maxLink is the longest address that is made a link, in bytes.
// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
const maxLink = 3000

// maxWaste is how many runes Plain reads beyond four times its limit to find
// something to show, so that a megabyte of nothing costs nothing.
const maxWaste = 256

// Plain is text from outside on one line, for surfaces that interpret nothing:
// no control, bidirectional, zero-width or invisible characters, no line
// breaks, at most limit runes, cut on a rune boundary with an ellipsis. A limit
// below 1 gives the empty string.
func Plain(s string, limit int) string {
	if limit < 1 {
		return ""
	}
	var b strings.Builder
	runes, read, marks, pending := 0, 0, 0, false
	for _, r := range s {
		if read++; read > 4*limit+maxWaste {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cs, r):
			r = utf8.RuneError
		case blank(r):
			pending = runes > 0
			continue
		case unicode.Is(unicode.Cf, r) || unicode.IsControl(r):
			continue
		}
		if unicode.Is(unicode.M, r) {
			if marks++; marks > maxMarks {
				continue
			}
		} else {
			marks = 0
		}
		if pending {
			b.WriteByte(' ')
			runes++
			pending = false
		}
		b.WriteRune(r)
		if runes++; runes > limit {
			break
		}
	}
	return cut(b.String(), limit)
}

// gap parts two columns of words of Backout's own.
const gap = "  "

// plainLines is what Plain does, with line feeds and columns kept: together at most
// limit runes. It is for words of Backout's own, which may quote somebody.
func plainLines(s string, limit int) string {
	var out []string
	room := limit
	for line := range strings.SplitSeq(s, "\n") {
		left, right, columns := strings.Cut(line, gap)
		one := Plain(left, room)
		if columns {
			one = Plain(one+gap+right, room)
			if l := Plain(left, room); strings.HasPrefix(one, l+" ") {
				one = cut(l+gap+one[len(l)+1:], room)
			}
		}
		out = append(out, one)
		if room -= utf8.RuneCountInString(one) + 1; room <= 0 {
			break
		}
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

// blank reports whether r shows as nothing but room.
func blank(r rune) bool {
	switch r {
	case '\u115f', '\u1160', '\u2800', '\u3164', '\uffa0': // fillers that render empty
		return true
	default:
		return unicode.IsSpace(r) || unicode.Is(unicode.Z, r)
	}
}

// cut shortens s to at most limit runes, the last being an ellipsis.
func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	r := []rune(s)
	return strings.TrimRight(string(r[:limit-1]), " ") + "…"
}

// Mrkdwn is text from outside for Slack's mrkdwn: what Plain does, and nothing
// left that mrkdwn would format, link, mention or turn into an emoji. Slack has
// no escape character for formatting, so formatting characters are replaced by
// lookalikes. The result has at most limit runes, and no entity is cut.
// Source: https://docs.slack.dev/messaging/formatting-message-text
func Mrkdwn(s string, limit int) string {
	clean := []rune(Plain(s, limit))
	var b strings.Builder
	runes := 0
	for i, r := range clean {
		piece := mrkdwnRune(clean, i, r)
		n := utf8.RuneCountInString(piece)
		if runes+n > limit || (runes+n == limit && i < len(clean)-1) {
			b.WriteString("…")
			break
		}
		runes += n
		b.WriteString(piece)
	}
	return b.String()
}

func mrkdwnRune(text []rune, i int, r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '*':
		return "∗"
	case '~':
		return "∼"
	case '`':
		return "ˋ"
	case '_':
		if word(text, i-1) && word(text, i+1) {
			return "_" // inside a word it formats nothing
		}
		return "＿"
	case ':':
		// A colon that touches a word on its right may open an emoji, and a
		// clock time may not; a link needs the colon too.
		if opensCode(text, i+1) {
			return "∶"
		}
		return ":"
	case '@', '#':
		return string(r) + joiner // a name behind it stays a name
	default:
		return string(r)
	}
}

func word(text []rune, i int) bool {
	return i >= 0 && i < len(text) && (unicode.IsLetter(text[i]) || unicode.IsDigit(text[i]))
}

func digit(text []rune, i int) bool {
	return i >= 0 && i < len(text) && text[i] >= '0' && text[i] <= '9'
}

// markdownSpecial are the characters that GitHub's Markdown gives a meaning
// anywhere in a line.
// Source: https://github.github.com/gfm/#backslash-escapes
const markdownSpecial = "\\`*_[]<>|~&$"

// joiner is invisible and ends a word: a name, reference, address or emoji code
// that it parts is none.
const joiner = "\u2060"

// Markdown is text from outside for GitHub's Markdown: what Plain does, with
// every character that formats escaped by a backslash, and mentions, issue
// references, emoji codes, e-mail and web addresses kept from being turned into
// anything. The text counts limit runes before escaping.
func Markdown(s string, limit int) string {
	clean := []rune(Plain(s, limit))
	var b strings.Builder
	for i, r := range clean {
		if strings.ContainsRune(markdownSpecial, r) || opensLine(clean[:i], r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		switch {
		case r == '@', r == '#',
			r == ':' && opensCode(clean, i+1),
			r == '-' && endsFold(clean[:i], "gh"),
			r == '.' && endsFold(clean[:i], "www"):
			b.WriteString(joiner)
		}
	}
	return b.String()
}

// opensLine reports whether r would make a list, heading or rule of the line
// that begins with the runes before it.
func opensLine(before []rune, r rune) bool {
	switch r {
	case '-', '+', '=':
		return len(before) == 0
	case '.', ')':
		for _, d := range before {
			if d < '0' || d > '9' {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// opensCode reports whether the text behind a colon may make an emoji code or
// a web address of it. Times of day do not.
func opensCode(text []rune, i int) bool {
	if i >= len(text) || text[i] == ' ' {
		return false
	}
	return !digit(text, i) || (digit(text, i+1) && digit(text, i+2))
}

func endsFold(text []rune, suffix string) bool {
	n := len(suffix)
	return len(text) >= n && strings.EqualFold(string(text[len(text)-n:]), suffix)
}

// CodeSpan is text from outside as a Markdown code span, where nothing is
// interpreted. It is empty for empty text.
func CodeSpan(s string, limit int) string {
	clean := Plain(s, limit)
	if clean == "" {
		return ""
	}
	clean = strings.ReplaceAll(clean, "|", "∣") // a table cell would end here
	longest, run := 0, 0
	for _, r := range clean {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	if longest > 0 {
		return fence + " " + clean + " " + fence
	}
	return fence + clean + fence
}

// Link is the address if it is an absolute http or https address without
// credentials that fits, and empty otherwise.
func Link(s string) string {
	if s == "" || len(s) > maxLink || strings.ContainsFunc(s, unsafeInLink) {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return ""
	}
	return s
}

func unsafeInLink(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>|\"'`()[]{}\\^*", r)
}
