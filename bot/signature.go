package bot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// signatureWindow is how old a signed request may be, and how far ahead of our
// clock.
// Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
const signatureWindow = 5 * time.Minute

// maxSeen is how many signatures are remembered, at 32 bytes each. Only genuine
// requests are, so nobody outside can fill it.
const maxSeen = 100_000

// Refusals of signed requests. None of them says what the right signature is.
var (
	errUnsigned = errors.New("request is not signed")
	errForged   = errors.New("request signature does not fit")
	errExpired  = errors.New("request is outside the time window")
	errReplayed = errors.New("request was seen before")
	errCrowded  = errors.New("too many requests to keep replays apart")
)

// verifySlack checks Slack's v0 signature over the raw body in constant time,
// and that the request is fresh. It returns what identifies the request.
func verifySlack(secret []byte, header http.Header, body []byte, now time.Time) (id [sha256.Size]byte, err error) {
	stamp := header.Get("X-Slack-Request-Timestamp")
	given, ok := strings.CutPrefix(header.Get("X-Slack-Signature"), "v0=")
	if !ok || stamp == "" || len(secret) == 0 {
		return id, errUnsigned
	}
	mac, err := hex.DecodeString(given)
	if err != nil || len(mac) != sha256.Size {
		return id, errForged
	}
	h := hmac.New(sha256.New, secret)
	_, _ = fmt.Fprintf(h, "v0:%s:", stamp)
	_, _ = h.Write(body)
	if !hmac.Equal(h.Sum(nil), mac) {
		return id, errForged
	}
	// The timestamp is believed only now that it is known to be Slack's.
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > signatureWindow {
		return id, errExpired
	}
	return [sha256.Size]byte(mac), nil
}

// replays remembers the requests of the window, in two halves of which the
// older is forgotten whole. It is safe for concurrent use.
type replays struct {
	limit int

	mu sync.Mutex
	// young are the requests claimed since the last turn, old those of the
	// turn before.
	young, old map[[sha256.Size]byte]struct{}
	turned     time.Time
}

// replayTurn is how long a request is remembered at least: it may be dated
// ahead by a window, and lives for another.
const replayTurn = 2 * signatureWindow

func newReplays(limit int) *replays {
	return &replays{limit: limit, young: map[[sha256.Size]byte]struct{}{}}
}

// claim takes a request, once. It refuses one that was claimed before, and any
// when it can not remember it.
func (r *replays) claim(id [sha256.Size]byte, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.turned) > replayTurn {
		if now.Sub(r.turned) > 2*replayTurn {
			r.young = nil
		}
		r.old, r.young, r.turned = r.young, map[[sha256.Size]byte]struct{}{}, now
	}
	_, young := r.young[id]
	_, old := r.old[id]
	switch {
	case young || old:
		return errReplayed
	case len(r.young)+len(r.old) >= r.limit:
		return errCrowded
	}
	r.young[id] = struct{}{}
	return nil
}

// release forgets a request that was not taken, so that its retry is.
func (r *replays) release(id [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, id)
	delete(r.old, id)
}
