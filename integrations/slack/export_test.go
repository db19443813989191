package slack

// PlainText is what a message says.
func PlainText(text string) string { return plainText(text) }
