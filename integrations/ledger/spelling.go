package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// escapeBytes is the length of \uXXXX.
const escapeBytes = 6

// spell writes text so that no terminal, pager or spreadsheet acts on it:
// control characters, line separators and invisible or direction-changing
// characters become \uXXXX. Line feed and tab stay. It can be taken back by
// unspell whatever the text was: a backslash that begins such an escape already
// is escaped itself.
func spell(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && !strings.Contains(s, `\u`) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, escaped := escapeAt(s[i:])
		switch {
		case unprintable(r), escaped:
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unspell takes spell back.
func unspell(s string) string {
	if !strings.Contains(s, `\u`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if r, ok := escapeAt(s[i:]); ok {
			b.WriteRune(r)
			i += escapeBytes
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// escapeAt is the character whose escape s begins with, if it is one that spell
// writes.
func escapeAt(s string) (rune, bool) {
	if len(s) < escapeBytes || s[0] != '\\' || s[1] != 'u' || strings.ToLower(s[:escapeBytes]) != s[:escapeBytes] {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:escapeBytes], 16, 16)
	if err != nil || !unprintable(rune(n)) && n != '\\' {
		return 0, false
	}
	return rune(n), true
}

// unprintable reports whether spell escapes a character. Those above U+FFFF stay:
// no escape of six bytes names them.
func unprintable(r rune) bool {
	return r != '\n' && r != '\t' && r <= 0xffff && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Printable is text with everything escaped that a terminal may act on, for
// programs that print entries.
func Printable(s string) string { return spell(s) }
