package compensate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request.
// Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

const (
	// secretPrefix is how a signing secret begins.
	secretPrefix = "whsec_"
	// minSecret and maxSecret bound a signing secret, in bytes.
	// Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
	minSecret = 24
	maxSecret = 64
)

// parseSecret reads a signing secret. Its error does not repeat it.
func parseSecret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return nil, errors.New("a signing secret begins with " + secretPrefix)
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(secret) < minSecret || len(secret) > maxSecret {
		return nil, fmt.Errorf("a signing secret is base64 of %d to %d bytes behind %s", minSecret, maxSecret, secretPrefix)
	}
	return secret, nil
}

// sign makes the value of the signature header: one signature for each secret.
func sign(secrets [][]byte, id string, at time.Time, body []byte) string {
	signatures := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + ".")) // A hash never fails.
		_, _ = mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}

// messageID is the id of the request of an action: the same however often it is
// sent. It holds no full stop, which would end it within what is signed.
func messageID(host, resource, key string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", host, resource, key))
	return "msg_" + hex.EncodeToString(sum[:16])
}
