package redact

// Redact returns content with every secret it recognises replaced, and how
// many there were. A document that was redacted before comes back unchanged.
// Content is not modified.
func Redact(content []byte) (out []byte, n int) {
	return content, 0
}
