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

// maxSeen is how many signatures of the window are remembered. Only genuine
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

// replays remembers the requests of the window. It is safe for concurrent use.
type replays struct {
	limit int

	mu    sync.Mutex
	seen  map[[sha256.Size]byte]time.Time
	order []remembered
}

type remembered struct {
	id    [sha256.Size]byte
	until time.Time
}

func newReplays(limit int) *replays {
	return &replays{limit: limit, seen: map[[sha256.Size]byte]time.Time{}}
}

// claim takes a request, once. It refuses one that was claimed before, and any
// when it can not remember it.
func (r *replays) claim(id [sha256.Size]byte, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.order) > 0 && r.order[0].until.Before(now) {
		first := r.order[0]
		r.order = r.order[1:]
		// It may have been released and claimed again meanwhile.
		if r.seen[first.id].Equal(first.until) {
			delete(r.seen, first.id)
		}
	}
	if _, known := r.seen[id]; known {
		return errReplayed
	}
	if len(r.order) >= r.limit {
		return errCrowded
	}
	// A request may be dated ahead by a window, and lives for another.
	until := now.Add(2 * signatureWindow)
	r.seen[id] = until
	r.order = append(r.order, remembered{id, until})
	return nil
}

// release forgets a request that was not taken, so that its retry is.
func (r *replays) release(id [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, id)
}
