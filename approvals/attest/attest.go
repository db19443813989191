package attest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/backout/backout/workflows/incident"
)

// ErrUnattested means that a request does not come from a bot whose key is trusted,
// or is not what that bot signed.
var ErrUnattested = errors.New("not signed by Backout's own bot")

// domain keeps these signatures apart from all others that a key could make.
const domain = "backout.dev/attestation/v1\n"

// The kinds of request. A signature of one is none of the other.
const (
	kindDecision = "decision"
	kindCommand  = "command"
)

// Signer signs with one key. It is immutable.
type Signer struct {
	id  string
	key ed25519.PrivateKey
}

// NewSigner signs with a key of ed25519.PrivateKeySize bytes.
func NewSigner(key ed25519.PrivateKey) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("take signing key: it has %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	public := key.Public().(ed25519.PublicKey)
	id, err := KeyID(public)
	if err != nil {
		return nil, err
	}
	return &Signer{id: id, key: key}, nil
}

// KeyID names a public key: the first 16 hexadecimal digits of the SHA-256 of its
// SubjectPublicKeyInfo.
func KeyID(key ed25519.PublicKey) (string, error) {
	if len(key) != ed25519.PublicKeySize {
		return "", fmt.Errorf("name key: it has %d bytes, want %d", len(key), ed25519.PublicKeySize)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("name key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8]), nil
}

// Decision signs one person's answer in an incident. A signature that the request
// has already is replaced.
func (s *Signer) Decision(key string, q incident.DecideRequest) (incident.DecideRequest, error) {
	q.Attestation = nil
	q, err := travelled(q)
	if err != nil {
		return q, err
	}
	q.Attestation, err = s.sign(kindDecision, key, q)
	return q, err
}

// Command signs one person's command in an incident. A signature that the request
// has already is replaced.
func (s *Signer) Command(key string, q incident.CommandRequest) (incident.CommandRequest, error) {
	q.Attestation = nil
	q, err := travelled(q)
	if err != nil {
		return q, err
	}
	q.Attestation, err = s.sign(kindCommand, key, q)
	return q, err
}

// travelled is a request as it arrives: JSON keeps neither what is no UTF-8 nor the
// monotonic part of a time.
func travelled[R any](request R) (arrived R, err error) {
	text, err := json.Marshal(request)
	if err == nil {
		err = json.Unmarshal(text, &arrived)
	}
	if err != nil {
		return arrived, fmt.Errorf("encode request: %w", err)
	}
	return arrived, nil
}

func (s *Signer) sign(kind, key string, request any) (*incident.Attestation, error) {
	text, err := signed(kind, key, request)
	if err != nil {
		return nil, err
	}
	return &incident.Attestation{KeyID: s.id, Signature: ed25519.Sign(s.key, text)}, nil
}

// signed is what a signature is over.
func signed(kind, key string, request any) ([]byte, error) {
	text, err := json.Marshal(struct {
		Kind     string `json:"kind"`
		Incident string `json:"incident"`
		Request  any    `json:"request"`
	}{kind, key, request})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	return append([]byte(domain), text...), nil
}

// Verifier checks signatures of the keys that it trusts. It is immutable; the zero
// value trusts nobody.
type Verifier struct{ keys map[string]ed25519.PublicKey }

// NewVerifier trusts some keys: those in use, and those in use until lately.
func NewVerifier(keys ...ed25519.PublicKey) (*Verifier, error) {
	v := &Verifier{keys: map[string]ed25519.PublicKey{}}
	for _, k := range keys {
		id, err := KeyID(k)
		if err != nil {
			return nil, err
		}
		v.keys[id] = k
	}
	return v, nil
}

// Decision checks an answer. Every error is ErrUnattested.
func (v *Verifier) Decision(key string, q incident.DecideRequest) error {
	a := q.Attestation
	q.Attestation = nil
	return v.verify(kindDecision, key, q, a)
}

// Command checks a command. Every error is ErrUnattested.
func (v *Verifier) Command(key string, q incident.CommandRequest) error {
	a := q.Attestation
	q.Attestation = nil
	return v.verify(kindCommand, key, q, a)
}

func (v *Verifier) verify(kind, key string, request any, a *incident.Attestation) error {
	if v == nil || a == nil {
		return fmt.Errorf("check %s: %w: it has no signature", kind, ErrUnattested)
	}
	public, trusted := v.keys[a.KeyID]
	if !trusted {
		return fmt.Errorf("check %s: %w: its key is not trusted", kind, ErrUnattested)
	}
	text, err := signed(kind, key, request)
	if err != nil || !ed25519.Verify(public, text, a.Signature) {
		return fmt.Errorf("check %s: %w: it is not what was signed", kind, ErrUnattested)
	}
	return nil
}
