// Package signing has a key for tests: one that signs, and one that trusts it.
// Only tests import it.
package signing

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals/attest"
)

// Pair is a signer, and a verifier that trusts nobody else.
func Pair(tb testing.TB) (*attest.Signer, *attest.Verifier) {
	tb.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	signer, err := attest.NewSigner(key)
	require.NoError(tb, err)
	verifier, err := attest.NewVerifier(key.Public().(ed25519.PublicKey))
	require.NoError(tb, err)
	return signer, verifier
}
