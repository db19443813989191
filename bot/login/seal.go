package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	// keySize is the length of a key in bytes: AES-256.
	keySize = 32
	// keyNameSize is how many bytes of a key's hash name it.
	keyNameSize = 8
	// maxSealed is the longest sealed value that is opened, in bytes. Browsers
	// keep cookies of up to 4 KiB; what a form carries is not much longer.
	// Source: https://www.rfc-editor.org/rfc/rfc6265#section-6.1
	maxSealed = 16 << 10
)

// errSealed is all that is said about a sealed value that is not ours.
var errSealed = errors.New("the value is not sealed by this installation, or for something else")

// Purposes of sealed values: one of them can not pass for another.
const (
	forSession   = "session"
	forState     = "login state"
	forEnrolment = "enrolment"
	forProof     = "proof"
)

// Keys seal what a browser carries. The first key seals, all open: to rotate, put
// a new key in front and take the old one out a day later.
type Keys struct {
	first string
	named map[string]cipher.AEAD
}

// NewKeys takes one or more keys of 32 random bytes.
func NewKeys(raw ...[]byte) (*Keys, error) {
	if len(raw) == 0 {
		return nil, errors.New("read login keys: there is none")
	}
	k := &Keys{named: map[string]cipher.AEAD{}}
	for i, r := range raw {
		if len(r) != keySize {
			return nil, fmt.Errorf("read login keys: key %d has %d bytes, want %d", i+1, len(r), keySize)
		}
		block, err := aes.NewCipher(r)
		if err != nil {
			return nil, fmt.Errorf("read login keys: key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("read login keys: key %d: %w", i+1, err)
		}
		sum := sha256.Sum256(append([]byte("backout login key name v1\x00"), r...))
		name := string(sum[:keyNameSize])
		if _, dup := k.named[name]; dup {
			return nil, fmt.Errorf("read login keys: key %d is there twice", i+1)
		}
		if k.named[name] = aead; i == 0 {
			k.first = name
		}
	}
	return k, nil
}

// ParseKeys reads the text of a key file: one key a line in standard base64, empty
// lines and lines that begin with # left out. No error quotes the text.
func ParseKeys(text []byte) (*Keys, error) {
	var raw [][]byte
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			// The decoder's error tells about the key.
			return nil, fmt.Errorf("read login keys: line %d is not base64", i+1)
		}
		raw = append(raw, key)
	}
	return NewKeys(raw...)
}

// NewKeyFile is the text of a key file with one new key.
func NewKeyFile() []byte {
	return []byte("# Keys of logins: the first seals, all open. Losing them ends every session, and no more.\n" +
		base64.StdEncoding.EncodeToString(random()) + "\n")
}

// random is 256 random bits.
func random() []byte {
	b := make([]byte, keySize)
	_, _ = rand.Read(b) // It never fails; without randomness the program ends.
	return b
}

// randomID is 256 random bits as text.
func randomID() string { return base64.RawURLEncoding.EncodeToString(random()) }

// seal encrypts a value for one purpose.
func (k *Keys) seal(purpose string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seal %s: %w", purpose, err)
	}
	//nolint:gosec // G407 takes the nil nonce for a fixed one; this AEAD draws a random one.
	sealed := k.named[k.first].Seal([]byte(k.first), nil, plain, []byte("backout login v1\x00"+purpose))
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// open decrypts a value that was sealed for the purpose. The error is errSealed
// whatever is wrong.
func (k *Keys) open(purpose, sealed string, into any) error {
	if len(sealed) > maxSealed {
		return errSealed
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < keyNameSize {
		return errSealed
	}
	aead, known := k.named[string(raw[:keyNameSize])]
	if !known {
		return errSealed
	}
	plain, err := aead.Open(nil, nil, raw[keyNameSize:], []byte("backout login v1\x00"+purpose))
	if err != nil || json.Unmarshal(plain, into) != nil {
		return errSealed
	}
	return nil
}
