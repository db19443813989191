package helm

import (
	"strings"
	"unicode"
)

const (
	// maxLabel is the longest label of a state, in runes.
	maxLabel = 63
	// maxSaid is the longest text from outside that is told, in runes.
	maxSaid = 300
	// maxDifferences is how many differences of two revisions are named.
	maxDifferences = 6
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

// enumerate names the first of many.
func enumerate(names []string) string {
	if extra := len(names) - maxDifferences; extra > 0 {
		return strings.Join(names[:maxDifferences], ", ") + " and more"
	}
	return strings.Join(names, ", ")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
