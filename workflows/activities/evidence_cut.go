package activities

import (
	"bytes"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"
)

// cut keeps the beginning and the end of a document that is longer than limit, in
// bytes, with a line between them that says what was left out. It cuts between lines
// where lines are short. The result is no longer than limit, and less than content
// where it was cut.
func cut(content []byte, limit int) []byte {
	if len(content) <= limit {
		return content
	}
	const room = 64 // For the line between.
	half := (limit - room) / 2
	head, tail := content[:half], content[len(content)-half:]
	if at := bytes.LastIndexByte(head, '\n'); at >= half/2 {
		head = head[:at+1]
	}
	if at := bytes.IndexByte(tail, '\n'); at >= 0 && at < half/2 {
		tail = tail[at+1:]
	}
	for len(head) > 0 && !utf8.RuneStart(content[len(head)]) {
		head = head[:len(head)-1]
	}
	for len(tail) > 0 && !utf8.RuneStart(tail[0]) {
		tail = tail[1:]
	}
	out := bytes.Clone(head)
	if !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, '\n')
	}
	out = fmt.Appendf(out, "[%d bytes left out]\n", len(content)-len(head)-len(tail))
	return append(out, tail...)
}

// cutType is the media type of a document that was cut: what has to be whole to be
// read at all is plain text then.
func cutType(mediaType string) string {
	if structured(mediaType) {
		return "text/plain; charset=utf-8"
	}
	return mediaType
}

// structured reports whether a media type is JSON.
func structured(mediaType string) bool {
	name := typeName(mediaType)
	return name == "application/json" || strings.HasSuffix(name, "+json")
}

// readable reports whether a media type is text that people compare line by line.
func readable(mediaType string) bool {
	switch name := typeName(mediaType); name {
	case "application/yaml", "application/x-yaml", "application/toml", "application/x-ndjson", "application/xml":
		return true
	default:
		return structured(mediaType) || strings.HasPrefix(name, "text/") || strings.HasSuffix(name, "+xml") || strings.HasSuffix(name, "+yaml")
	}
}

// typeName is a media type without its parameters; empty for what is none.
func typeName(mediaType string) string {
	name, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return ""
	}
	return name
}
