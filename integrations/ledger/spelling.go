package ledger

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// escapeBytes is the length of \uXXXX.
const escapeBytes = 6

// spell writes text so that no terminal, pager or spreadsheet acts on it:
// control characters, line separators and invisible or direction-changing
// characters become \uXXXX, those above U+FFFF as a pair of surrogates. Line feed and
// tab stay. It can be taken back by
// unspell whatever the text was: a backslash that begins such an escape already
// is escaped itself.
func spell(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 && !strings.Contains(s, `\u`) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		escaped := escapeAt(s[i:]) != nil
		switch high, low := utf16.EncodeRune(r); {
		case unprintable(r) && r > 0xffff:
			_, _ = fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
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
		if e := escapeAt(s[i:]); e != nil {
			b.WriteRune(e.is)
			i += e.length
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// escape is one escape as spell writes it.
type escape struct {
	is     rune
	length int
}

// escapeAt is the escape that s begins with, if spell writes such a one.
func escapeAt(s string) *escape {
	first, ok := hexAt(s)
	switch {
	case !ok:
		return nil
	case utf16.IsSurrogate(first):
		second, ok := hexAt(s[escapeBytes:])
		if r := utf16.DecodeRune(first, second); ok && r != unicode.ReplacementChar && unprintable(r) {
			return &escape{r, 2 * escapeBytes}
		}
		return nil
	case first == '\\' || unprintable(first):
		return &escape{first, escapeBytes}
	default:
		return nil
	}
}

// hexAt reads \uXXXX in lower case.
func hexAt(s string) (rune, bool) {
	if len(s) < escapeBytes || s[0] != '\\' || s[1] != 'u' || strings.ToLower(s[:escapeBytes]) != s[:escapeBytes] {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:escapeBytes], 16, 16)
	return rune(n), err == nil
}

// unprintable reports whether spell escapes a character.
func unprintable(r rune) bool {
	return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Printable is text with everything escaped that a terminal may act on, for
// programs that print entries.
func Printable(s string) string { return spell(s) }
