package gitops

import (
	"strings"
	"unicode"
)

const (
	// maxText is the longest name or text of an annotation that is told, in runes.
	maxText = 120
	// maxSaid is the longest text of the API server's that is told, in runes.
	maxSaid = 300
)

// oneLine is text from outside as one line of at most limit runes, without control
// characters.
func oneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-1]) + "…"
	}
	return text
}

// sentence is what an error says, as the end of a sentence.
func sentence(err error) string {
	return strings.TrimRight(oneLine(err.Error(), maxSaid), ". ")
}
