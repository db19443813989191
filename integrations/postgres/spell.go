package postgres

import (
	"strings"
	"unicode"
)

// maxShown is the longest text from outside that is shown, in runes.
const maxShown = 80

// quoteName is a name as SQL spells it.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteText is a string as SQL spells it, with standard_conforming_strings on.
func quoteText(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// printable makes one short line of text from outside.
func printable(text string, limit int) string {
	line := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text))
	if len(line) > limit {
		return string(line[:limit-1]) + "…"
	}
	return string(line)
}

// capital begins a sentence.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
