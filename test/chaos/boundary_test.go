//go:build unix && !race

package chaos_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	"github.com/backout/backout/workflows/incident"
)

// stored begins the bucket's answer to a write, and to nothing else.
const stored = `{"stream":"KV_` + harness.Bucket + `"`

// moment is a boundary of the conversation about the mutation.
type moment int

const (
	// beforeWrite is when the product has sent the write, and the bucket has
	// not got it.
	beforeWrite moment = iota + 1
	// afterWrite is when the bucket has it, and the product has no answer.
	afterWrite
)

// The product dies, or loses its connection, exactly when the write is under
// way: before the bucket has it, after the bucket has it, and at both. The
// bucket is changed once, and the ledger has one intent and one outcome. It has
// the machine for itself, since TestKillAtEveryEvent depends on moments.
func TestKillAroundTheWrite(t *testing.T) {
	cases := []struct {
		service string
		moments []moment
		// kill ends the process; without it only the connection is cut.
		kill bool
	}{
		{"killed-before", []moment{beforeWrite}, true},
		{"killed-after", []moment{afterWrite}, true},
		{"killed-twice", []moment{beforeWrite, afterWrite}, true},
		{"killed-thrice", []moment{beforeWrite, beforeWrite, afterWrite}, true},
		{"cut-before", []moment{beforeWrite}, false},
		{"cut-after", []moment{afterWrite}, false},
		{"cut-twice", []moment{beforeWrite, afterWrite}, false},
	}
	names := make([]string, len(cases))
	for i, c := range cases {
		names[i] = c.service
	}
	windows := harness.QuickWindows
	windows.Deadline = 5 * time.Minute
	w := harness.New(t, harness.Options{Services: names, Unlimited: true, Windows: windows})
	keys := map[string]string{}
	for _, c := range cases {
		keys[c.service] = w.Page(c.service)
	}
	for _, c := range cases {
		w.Offer(keys[c.service])
	}
	for _, c := range cases {
		key := keys[c.service]
		b := &boundary{w: w, service: c.service, moments: c.moments, kill: c.kill, struck: make(chan struct{}, len(c.moments))}
		w.NATS.Watch(b.request, b.response)
		w.Approve(harness.Ada, key)
		for n, m := range c.moments {
			select {
			case <-b.struck:
			case <-time.After(strikeWithin):
				require.Failf(t, "the write did not come", "%s, strike %d of %d", c.service, n+1, len(c.moments))
			}
			if c.kill {
				history, err := w.Releases.History(t.Context(), c.service)
				require.NoError(t, err)
				require.Equal(t, m == afterWrite, history[len(history)-1] == harness.GoodRelease, "%s died at another moment", c.service)
				// The next strike may come before the product says that it is
				// ready: the rollback goes on as soon as a worker runs.
				if err := w.Product.Start(t.Context()); err != nil {
					w.Until("the strike that ended the start: "+err.Error(), func() bool { return len(b.struck) > 0 })
				}
			}
		}
		w.Until("the good release of "+c.service, func() bool { return w.Releases.Running(c.service) == harness.GoodRelease })
		w.NATS.Watch(nil, nil)
	}
	for _, c := range cases {
		w.Recovered(c.service, keys[c.service])
		require.Equal(t, 1, entries(w, keys[c.service], incident.EventIntent), "intents of %s", c.service)
		require.Equal(t, 1, entries(w, keys[c.service], incident.EventActionDone), "outcomes of %s", c.service)
	}
	out, err := w.VerifyLedger(t.Context())
	require.NoError(t, err)
	require.Contains(t, out, "ok: ")
}

// strikeWithin is how long an approved rollback may take to write, or to write
// again after a strike.
const strikeWithin = time.Minute

func entries(w *harness.World, key string, kind incident.EventKind) int {
	n := 0
	for _, r := range w.Entries(key) {
		if r.Entry.Kind == kind {
			n++
		}
	}
	return n
}

// boundary strikes at the moments of one service's write, in order.
type boundary struct {
	w       *harness.World
	service string
	kill    bool
	struck  chan struct{}

	mu      sync.Mutex
	moments []moment
	// armed says that the write is on its way to the bucket.
	armed bool
}

// request sees what goes to the bucket.
func (b *boundary) request(chunk []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !writes(chunk, b.service) || len(b.moments) == 0 {
		return true
	}
	if b.moments[0] == afterWrite {
		b.armed = true
		return true
	}
	return b.strike()
}

// response sees what comes back.
func (b *boundary) response(chunk []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.armed || !bytes.Contains(chunk, []byte(stored)) {
		return true
	}
	b.armed = false
	return b.strike()
}

func (b *boundary) strike() bool {
	b.moments = b.moments[1:]
	if b.kill {
		b.w.Product.Kill()
	}
	b.struck <- struct{}{}
	return false
}

// writes reports whether a chunk of the NATS protocol publishes a new value of
// a service's key.
func writes(chunk []byte, service string) bool {
	for _, verb := range []string{"PUB", "HPUB"} {
		if bytes.Contains(chunk, fmt.Appendf(nil, "%s $KV.%s.%s ", verb, harness.Bucket, service)) {
			return true
		}
	}
	return false
}
