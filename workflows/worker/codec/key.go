package codec

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	// KeySize is the length of a key in bytes: AES-256.
	KeySize = 32

	// keyIDSize is how many bytes of a key's hash name it.
	keyIDSize = 8

	// keyIDDomain separates the hash that names a key from any other use.
	keyIDDomain = "backout payload key id v1\x00"
)

// Keys are the keys of an installation, in order: the first encrypts, all
// decrypt. To rotate, put a new key in front; take an old one out when no
// workflow from its time is retained any more.
type Keys struct {
	list []key
	byID map[string]key
}

type key struct {
	id   string
	aead cipher.AEAD
	raw  [KeySize]byte
}

// NewKeys takes one or more keys of KeySize random bytes each. A key that
// appears twice is an error.
func NewKeys(raw ...[]byte) (*Keys, error) {
	if len(raw) == 0 {
		return nil, errors.New("read payload keys: there is none")
	}
	keys := &Keys{byID: map[string]key{}}
	for i, r := range raw {
		k, err := newKey(r)
		if err != nil {
			return nil, fmt.Errorf("read payload key %d: %w", i+1, err)
		}
		if _, ok := keys.byID[k.id]; ok {
			return nil, fmt.Errorf("read payload key %d: it is there twice", i+1)
		}
		keys.byID[k.id] = k
		keys.list = append(keys.list, k)
	}
	return keys, nil
}

// GenerateKey returns a new random key.
func GenerateKey() []byte {
	raw := make([]byte, KeySize)
	// Read never fails: the program crashes if the system has no randomness.
	_, _ = rand.Read(raw)
	return raw
}

// IDs names the keys in order. A name says nothing about its key.
func (k *Keys) IDs() []string {
	ids := make([]string, 0, len(k.list))
	for _, key := range k.list {
		ids = append(ids, key.id)
	}
	return ids
}

// String names the keys and never shows them.
func (k *Keys) String() string { return "keys " + strings.Join(k.IDs(), ", ") }

// GoString keeps the keys out of %#v.
func (k *Keys) GoString() string { return k.String() }

func newKey(raw []byte) (key, error) {
	if len(raw) != KeySize {
		return key{}, fmt.Errorf("it has %d bytes, want %d", len(raw), KeySize)
	}
	if bytes.Count(raw, raw[:1]) == len(raw) {
		return key{}, errors.New("it is one byte repeated, not a random key")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	// Every payload gets a random 96-bit nonce in front of its ciphertext. One
	// key is good for 2^32 payloads, centuries of a busy installation.
	// Source: NIST SP 800-38D, section 8.3.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	k := key{id: keyID(raw), aead: aead}
	copy(k.raw[:], raw)
	return k, nil
}

func keyID(raw []byte) string {
	sum := sha256.Sum256(append([]byte(keyIDDomain), raw...))
	return hex.EncodeToString(sum[:keyIDSize])
}

// parseKeys reads the text of a key file: one key a line in standard base64,
// blank lines and lines that begin with "#" ignored.
func parseKeys(text []byte) (*Keys, error) {
	var raw [][]byte
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		r, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			// The decoder's error quotes nothing, but says where: enough to
			// learn about a secret. The line number is all a person needs.
			return nil, fmt.Errorf("read payload keys: line %d is not base64", n)
		}
		if len(r) != KeySize {
			return nil, fmt.Errorf("read payload keys: line %d holds %d bytes, want %d", n, len(r), KeySize)
		}
		raw = append(raw, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read payload keys: %w", err)
	}
	return NewKeys(raw...)
}

// format is the text of a key file that holds the keys.
func (k *Keys) format() []byte {
	var text bytes.Buffer
	text.WriteString("# Payload keys: the first encrypts, all decrypt. Losing them loses every open incident.\n")
	for _, key := range k.list {
		text.WriteString(base64.StdEncoding.EncodeToString(key.raw[:]) + "\n")
	}
	return text.Bytes()
}
