package redact

import "bytes"

// passes bounds how often a document is gone through: taking out one secret
// can lay open another, such as a password inside a quoted connection string.
const passes = 4

// Redact returns content with every secret it recognises replaced, and how
// many replacements it made. Content is not modified.
//
// A replacement reads "[redacted:<what>]", such as "[redacted:jwt]", where the
// spelling gave the secret away, and "[redacted:<name>/<length>]", such as
// "[redacted:password/12]" with the length in bytes, where its name did. The
// name, quotes and structure around it stay. Empty values, references such as
// "${DB_PASSWORD}" and what was redacted before stay as well, so that redacting
// twice is redacting once.
func Redact(content []byte) (out []byte, n int) { return redactText(content, unwrapped) }

// redactText is Redact, for text that is so many encodings away from the document.
func redactText(content []byte, depth int) (out []byte, n int) {
	out = bytes.Clone(content)
	for range passes {
		var found int
		out, found = redactKeyLines(out, found)
		out, found = redactSpelled(out, found)
		out, found = redactNamed(out, found)
		out, found = redactEncoded(out, found, depth)
		if found == 0 {
			break
		}
		n += found
	}
	return out, n
}

// mark is what stands in place of a secret.
func mark(what string) []byte { return []byte(opening + what + "]") }

// opening begins every mark.
const opening = "[redacted:"
