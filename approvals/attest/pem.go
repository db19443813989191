package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// The types of the PEM blocks, as OpenSSL writes them:
// openssl genpkey -algorithm ed25519, and openssl pkey -pubout.
// Source: https://www.rfc-editor.org/rfc/rfc7468
const (
	blockPrivate = "PRIVATE KEY"
	blockPublic  = "PUBLIC KEY"
)

// ParsePrivate reads PKCS #8 private keys, of which the first one signs. No error
// quotes the text.
func ParsePrivate(text []byte) ([]ed25519.PrivateKey, error) {
	return parse(text, blockPrivate, func(der []byte) (ed25519.PrivateKey, bool) {
		k, err := x509.ParsePKCS8PrivateKey(der)
		key, ok := k.(ed25519.PrivateKey)
		return key, ok && err == nil
	})
}

// ParsePublic reads public keys, all of which are trusted. No error quotes the text.
func ParsePublic(text []byte) ([]ed25519.PublicKey, error) {
	return parse(text, blockPublic, func(der []byte) (ed25519.PublicKey, bool) {
		k, err := x509.ParsePKIXPublicKey(der)
		key, ok := k.(ed25519.PublicKey)
		return key, ok && err == nil
	})
}

// parse reads the blocks of one type; there must be one at least and nothing else.
func parse[K any](text []byte, kind string, key func(der []byte) (K, bool)) ([]K, error) {
	var out []K
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil, fmt.Errorf("parse keys: want PEM blocks of type %q and nothing else", kind)
		}
		if block.Type != kind {
			return nil, fmt.Errorf("parse keys: block %d is a %q, want a %q", len(out)+1, block.Type, kind)
		}
		k, ok := key(block.Bytes)
		if !ok {
			return nil, fmt.Errorf("parse keys: block %d is no Ed25519 key", len(out)+1)
		}
		out = append(out, k)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("parse keys: there is no %q", kind)
	}
	return out, nil
}

// FormatPrivate is the text of private keys.
func FormatPrivate(keys ...ed25519.PrivateKey) ([]byte, error) {
	var out []byte
	for _, k := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			return nil, fmt.Errorf("encode private key: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: blockPrivate, Bytes: der})...)
	}
	return out, nil
}

// FormatPublic is the text of public keys.
func FormatPublic(keys ...ed25519.PublicKey) ([]byte, error) {
	var out []byte
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			return nil, fmt.Errorf("encode public key: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: blockPublic, Bytes: der})...)
	}
	return out, nil
}
