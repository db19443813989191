package github

import (
	"strings"
	"unicode"
)

// plain is text from GitHub on one line of at most limit runes, without
// characters that control how it is shown.
func plain(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, text)
	return cut(strings.Join(strings.Fields(text), " "), limit)
}

// shorten is a commit as people are shown it.
func shorten(hash string) string { return hash[:min(shortSHA, len(hash))] }

// hashLength is that of a commit's full hash, in hexadecimal digits.
const hashLength = 40

// isHash reports whether text is the full hash of a commit or tree.
func isHash(text string) bool {
	return len(text) == hashLength && strings.Trim(text, "0123456789abcdef") == ""
}
