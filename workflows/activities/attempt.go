package activities

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/backout/backout/workflows/incident"
)

// Bounds of the refused attempts that one process records one by one, so that
// whoever can reach the workers can not fill the ledger. What goes beyond them is
// counted, and the next recorded attempt says how many those were.
const (
	maxAttempts    = 1000
	attemptsRefill = time.Hour
)

// attemptDeadline is how long writing an attempt may hold up its refusal.
const attemptDeadline = 2 * time.Second

// maxAttempt is how much of what was tried is kept, in runes: it comes from outside.
const maxAttempt = 300

// Attempts bound how many refused attempts are recorded. They are safe for
// concurrent use, and shared by everything in one process.
type Attempts struct {
	limiter *rate.Limiter
	now     func() time.Time

	mu sync.Mutex
	// untold is how many were refused and not recorded since the last that was.
	untold int
}

// NewAttempts allows 1,000 at once, and as many more in each hour.
func NewAttempts(now func() time.Time) *Attempts {
	return &Attempts{limiter: rate.NewLimiter(rate.Every(attemptsRefill/maxAttempts), maxAttempts), now: now}
}

// admit reports whether an attempt is to be recorded by itself, and how many were
// not before it.
func (t *Attempts) admit() (untold int, ok bool) {
	if t == nil {
		return 0, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.limiter.AllowN(t.now(), 1) {
		t.untold++
		return 0, false
	}
	untold, t.untold = t.untold, 0
	return untold, true
}

// giveBack keeps the number of those that were to be told and were not.
func (t *Attempts) giveBack(n int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untold += n
}

// RecordRefusal writes into the ledger that something was tried on an incident and
// refused, and why. What can not be written is logged; the refusal stands either
// way. A key that names no incident is logged alone: the ledger has no place for it.
func RecordRefusal(ctx context.Context, a *Activities, key, attempt string, why error) {
	a.refused(ctx, key, attempt, why)
}

func (a *Activities) refused(ctx context.Context, key, attempt string, why error) {
	attempt = attempted(attempt)
	log := slog.With("incident_id", attempted(key), "attempt", attempt, "reason", said(why))
	if !incident.ValidKey(key) {
		log.WarnContext(ctx, "Attempt refused.")
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptDeadline)
	defer cancel()
	id := incident.AttemptEventID(key, attempt+"\n"+said(why))
	if _, there, err := a.Ledger.Get(ctx, id); err == nil && there {
		return // It was tried before, and is on record.
	}
	untold, ok := a.Attempts.admit()
	if !ok {
		log.WarnContext(ctx, "Attempt refused, and too many were to record it by itself.")
		return
	}
	text := fmt.Sprintf("refused to %s: %s", attempt, said(why))
	if untold > 0 {
		text += fmt.Sprintf("; %d more attempts were refused before it, which are in the log", untold)
	}
	if _, err := a.Ledger.Append(ctx, incident.Entry{ID: id, Incident: key, Kind: incident.EventAttempt, At: a.Now().UTC(), Text: text}); err != nil {
		a.Attempts.giveBack(untold + 1)
		log.WarnContext(ctx, "Attempt refused, and not recorded.", "error", said(err))
	}
}

// attempted is text from outside as it may be recorded: one short line without
// secrets.
func attempted(text string) string {
	return strings.Join(strings.Fields(clean(text[:min(len(text), maxErrorRead)], maxAttempt)), " ")
}
