package fakelambda

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// algorithm is the only one that is taken.
	algorithm = "AWS4-HMAC-SHA256"
	// service is what requests are signed for.
	service = "lambda"
	// dateForm is that of X-Amz-Date.
	dateForm = "20060102T150405Z"
	// maxSkew is how far the time of a request may be off.
	maxSkew = 5 * time.Minute
)

// verify returns the key that signed a request, or the code of the refusal.
func (s *Server) verify(r *http.Request, body []byte) (Key, string) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return Key{}, "MissingAuthenticationTokenException"
	}
	rest, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok {
		return Key{}, "IncompleteSignatureException"
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	scope := strings.Split(parts["Credential"], "/")
	if len(scope) != 5 || parts["SignedHeaders"] == "" || parts["Signature"] == "" {
		return Key{}, "IncompleteSignatureException"
	}
	key, ok := s.keys[scope[0]]
	if !ok || r.Header.Get("X-Amz-Security-Token") != key.Token {
		return Key{}, "UnrecognizedClientException"
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(dateForm, date)
	if err != nil || s.now().Sub(at).Abs() > maxSkew || scope[1] != date[:8] || scope[2] != Region || scope[3] != service || scope[4] != "aws4_request" {
		return Key{}, "InvalidSignatureException"
	}
	signed := strings.Split(parts["SignedHeaders"], ";")
	for _, name := range []string{"host", "x-amz-date"} {
		if !slices.Contains(signed, name) {
			return Key{}, "InvalidSignatureException"
		}
	}
	if key.Token != "" && !slices.Contains(signed, "x-amz-security-token") {
		return Key{}, "InvalidSignatureException"
	}
	text := strings.Join([]string{algorithm, date, strings.Join(scope[1:], "/"), digest([]byte(canonical(r, signed, body)))}, "\n")
	signature := []byte("AWS4" + key.Secret)
	for _, step := range append(scope[1:], text) {
		signature = mac(signature, step)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(signature)), []byte(parts["Signature"])) {
		return Key{}, "InvalidSignatureException"
	}
	return key, ""
}

// canonical is the canonical form of a request.
func canonical(r *http.Request, signed []string, body []byte) string {
	var headers strings.Builder
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	// Every service but S3 escapes the path once more.
	segments := strings.Split(r.URL.EscapedPath(), "/")
	for n, segment := range segments {
		segments[n] = escape(segment)
	}
	var query []string
	for name, values := range r.URL.Query() {
		for _, value := range values {
			query = append(query, escape(name)+"="+escape(value))
		}
	}
	slices.Sort(query)
	return strings.Join([]string{
		r.Method, strings.Join(segments, "/"), strings.Join(query, "&"), headers.String(), strings.Join(signed, ";"), digest(body),
	}, "\n")
}

// escape is the escaping of RFC 3986.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
