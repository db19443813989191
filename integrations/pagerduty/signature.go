package pagerduty

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// SignatureHeader is the header that carries a webhook's signatures.
const SignatureHeader = "X-PagerDuty-Signature"

// maxSignatures bounds how many signatures of one header are compared; a
// rotation needs two.
const maxSignatures = 16

// Reasons why a webhook is not believed. None of them holds a signature or a
// secret.
var (
	// ErrUnsigned means that the header is missing or holds no v1 signature.
	ErrUnsigned = errors.New("webhook is not signed")
	// ErrSignature means that no signature fits any secret.
	ErrSignature = errors.New("webhook signature does not fit")
	// ErrNoSecret means that there is nothing to compare with.
	ErrNoSecret = errors.New("no webhook secret is configured")
)

// VerifySignature checks a webhook's raw body against its signature header.
// The header holds one signature a secret of the subscription, separated by
// commas with or without spaces; signatures of another version than v1 are
// ignored, as PagerDuty asks. It passes when any signature fits any secret,
// so that secrets rotate without a gap. Comparison takes constant time.
//
// Source: https://developer.pagerduty.com/docs/verifying-webhook-signatures
func VerifySignature(secrets [][]byte, header string, body []byte) error {
	signatures, err := parseSignatures(header)
	if err != nil {
		return err
	}
	usable, valid := false, false
	for _, secret := range secrets {
		// An empty secret would let anybody sign.
		if len(secret) == 0 {
			continue
		}
		usable = true
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		want := mac.Sum(nil)
		for _, got := range signatures {
			if hmac.Equal(want, got) {
				valid = true
			}
		}
	}
	switch {
	case !usable:
		return ErrNoSecret
	case !valid:
		return ErrSignature
	default:
		return nil
	}
}

func parseSignatures(header string) ([][]byte, error) {
	var out [][]byte
	for part := range strings.SplitSeq(header, ",") {
		digits, ok := strings.CutPrefix(strings.TrimSpace(part), "v1=")
		if !ok {
			continue
		}
		signature, err := hex.DecodeString(digits)
		if err != nil || len(signature) != sha256.Size {
			return nil, fmt.Errorf("%w: a v1 signature is not 64 hexadecimal digits", ErrUnsigned)
		}
		if out = append(out, signature); len(out) > maxSignatures {
			return nil, fmt.Errorf("%w: more than %d signatures", ErrUnsigned, maxSignatures)
		}
	}
	if len(out) == 0 {
		return nil, ErrUnsigned
	}
	return out, nil
}
