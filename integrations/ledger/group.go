package ledger

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// commitWithin bounds a transaction for several callers, none of whose contexts it
// is bound to.
const commitWithin = 10 * time.Second

// request is what one caller wants to have written, and what became of it.
type request struct {
	rows     []row
	recorded []incident.Recorded
	err      error
	done     chan struct{}
}

// group gathers what comes in while a transaction is under way into the next one: a
// commit waits for the disk, however much is in it.
type group struct {
	mu      sync.Mutex
	waiting []*request
	busy    bool
}

// commit has the rows written, and returns when they are durable. When the context
// ends first they may be written or not.
func (g *group) commit(ctx context.Context, rows []row, insert func(context.Context, []*request) error) ([]incident.Recorded, error) {
	r := &request{rows: rows, done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("append entry %q: %w", rows[0].id, err)
	}
	g.mu.Lock()
	g.waiting = append(g.waiting, r)
	if !g.busy {
		g.busy = true
		go g.work(context.WithoutCancel(ctx), insert)
	}
	g.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("append entry %q: %w", rows[0].id, ctx.Err())
	}
	return r.recorded, r.err
}

// work writes until nobody waits.
func (g *group) work(ctx context.Context, insert func(context.Context, []*request) error) {
	for {
		next := g.next()
		if len(next) == 0 {
			return
		}
		within, cancel := context.WithTimeout(ctx, commitWithin)
		err := insert(within, next)
		cancel()
		for _, r := range next {
			if err != nil && r.err == nil {
				r.err = fmt.Errorf("append entry %q: %w", r.rows[0].id, err)
			}
			if r.err != nil {
				r.recorded = nil
			}
			close(r.done)
		}
	}
}

// next takes as many requests, in their order, as one transaction holds.
func (g *group) next() []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, rows := 0, 0
	for n < len(g.waiting) && (n == 0 || rows+len(g.waiting[n].rows) <= MaxBatch) {
		rows += len(g.waiting[n].rows)
		n++
	}
	next := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	g.busy = n > 0
	return next
}
