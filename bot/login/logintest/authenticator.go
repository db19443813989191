package logintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
)

// Flags of authenticator data.
// Source: https://www.w3.org/TR/webauthn-3/#authdata-flags
const (
	userPresent  = 1 << 0
	userVerified = 1 << 2
	attested     = 1 << 6
)

// Authenticator is a passkey that signs whatever it is asked to.
type Authenticator struct {
	// Origin is the page that it believes to be asked by.
	Origin string
	// Counter is its counter of signatures. It rises before each.
	Counter uint32
	// Unverified makes it sign without looking who the person is.
	Unverified bool

	id   []byte
	key  *ecdsa.PrivateKey
	user string
}

// NewAuthenticator is an authenticator with one new passkey, in a browser that
// shows a page of the origin.
func NewAuthenticator(origin string) (*Authenticator, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &Authenticator{Origin: origin, id: []byte(rand.Text()), key: k}, nil
}

// options is what is read of the options of both ceremonies.
type options struct {
	Challenge string `json:"challenge"`
	User      struct {
		ID string `json:"id"`
	} `json:"user"`
}

// Create answers navigator.credentials.create.
func (a *Authenticator) Create(asked string) (string, error) {
	var o options
	if err := json.Unmarshal([]byte(asked), &o); err != nil {
		return "", fmt.Errorf("read options: %w", err)
	}
	a.user = o.User.ID
	public, err := a.key.PublicKey.Bytes()
	if err != nil {
		return "", err
	}
	x, y := public[1:33], public[33:]
	// A COSE key: EC2, ES256, P-256, and the point.
	// Source: https://www.rfc-editor.org/rfc/rfc9053#section-7.1.1
	cose := append([]byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20}, x...)
	cose = append(append(cose, 0x22, 0x58, 0x20), y...)
	data := a.data(attested)
	data = append(data, make([]byte, 16)...) // The model is not told.
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(append(data, a.id...), cose...)
	object := append([]byte{0xa3, 0x63}, "fmt"...)
	object = append(append(object, 0x64), "none"...)
	object = append(append(object, 0x67), "attStmt"...)
	object = append(append(object, 0xa0, 0x68), "authData"...)
	object = append(binary.BigEndian.AppendUint16(append(object, 0x59), uint16(len(data))), data...)
	return a.answer(map[string]string{"clientDataJSON": encode(a.client("webauthn.create", o.Challenge)), "attestationObject": encode(object)})
}

// Get answers navigator.credentials.get.
func (a *Authenticator) Get(asked string) (string, error) {
	var o options
	if err := json.Unmarshal([]byte(asked), &o); err != nil {
		return "", fmt.Errorf("read options: %w", err)
	}
	a.Counter++
	data, client := a.data(0), a.client("webauthn.get", o.Challenge)
	inner := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte(nil), data...), inner[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		return "", err
	}
	return a.answer(map[string]string{
		"clientDataJSON": encode(client), "authenticatorData": encode(data), "signature": encode(signature), "userHandle": a.user,
	})
}

// data is the head of the authenticator data.
func (a *Authenticator) data(flags byte) []byte {
	host := a.Origin
	if u, err := url.Parse(a.Origin); err == nil {
		host = u.Hostname()
	}
	flags |= userPresent
	if !a.Unverified {
		flags |= userVerified
	}
	sum := sha256.Sum256([]byte(host))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), a.Counter)
}

func (a *Authenticator) client(kind, challenge string) []byte {
	text, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": false}) // Text and a truth value.
	return text
}

func (a *Authenticator) answer(response map[string]string) (string, error) {
	text, err := json.Marshal(map[string]any{
		"id": encode(a.id), "rawId": encode(a.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{},
	})
	return string(text), err
}
