package incident

import (
	"fmt"
	"strings"
)

// maxAddress is the longest e-mail address that is compared, in bytes.
// Source: RFC 5321, section 4.5.3.1.3: a path has at most 256 octets, two of
// which are its brackets.
const maxAddress = 254

// FoldAddress is the one spelling by which an e-mail address is compared: its
// ASCII letters in lower case. It is ok only for what everybody spells alike: one
// "@" between two parts that are not empty, of printable ASCII without spaces.
// Letters outside of ASCII are never folded, because folding takes other letters
// for these: the Kelvin sign for k, the Turkish dotted I for i.
func FoldAddress(address string) (folded string, ok bool) {
	name, domain, cut := strings.Cut(address, "@")
	if !cut || name == "" || domain == "" || strings.Contains(domain, "@") || len(address) > maxAddress || !visible(address) {
		return "", false
	}
	return lowerASCII(address), true
}

// SameAddress reports whether two e-mail addresses are certainly one. What is no
// plain address is the same as nothing, not even as itself.
func SameAddress(a, b string) bool {
	x, ok := FoldAddress(a)
	y, too := FoldAddress(b)
	return ok && too && x == y
}

// SameAccount reports whether two names of accounts at one vendor are one: they
// differ in nothing but the case of ASCII letters. An empty name is nobody's.
func SameAccount(a, b string) bool {
	return a != "" && lowerASCII(a) == lowerASCII(b)
}

// visible reports whether a text is printable ASCII without spaces.
func visible(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// lowerASCII works on bytes, so that what is not UTF-8 stays what it is.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

// NoIdentityError says why an actor is not exactly one active person. It wraps
// ErrNoIdentity.
type NoIdentityError struct {
	Actor Actor
	// Why is one clause for the ledger, such as "the account is a guest". It
	// holds no text from outside.
	Why string
}

// Error names the actor and the reason.
func (e *NoIdentityError) Error() string {
	return fmt.Sprintf("identify %q: %s: %v", e.Actor, e.Why, ErrNoIdentity)
}

// Unwrap is ErrNoIdentity.
func (e *NoIdentityError) Unwrap() error { return ErrNoIdentity }
