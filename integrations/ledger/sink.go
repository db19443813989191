package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Sink takes a copy of the ledger to another place, in order. It is a *FileSink
// or a *WebhookSink.
type Sink interface {
	// Name is how logs, metrics and people call it. It holds no secret.
	Name() string
	// Cursor is the newest entry that it has for good.
	Cursor() (Head, error)
	// forward hands over what pending returns, and keeps the cursor. pending
	// is called with the cursor, and returns nothing when there is nothing more.
	forward(ctx context.Context, pending func(after Head) ([]row, error)) (Head, error)
}

// ErrDiverged means that a sink has an entry that the ledger has not, or not so:
// one of them was tampered with. Nothing more is handed over.
var ErrDiverged = errors.New("the ledger and its second copy differ")

// Pace of a relay. These are this package's own.
const (
	// pollEvery is how often a relay looks for what other processes appended;
	// what this one appends wakes it at once.
	pollEvery = time.Second
	// firstPause and lastPause bound the pause after a failure, which doubles.
	firstPause = time.Second
	lastPause  = time.Minute
	// maxRows and maxRowBytes bound what is handed over at once.
	maxRows     = 200
	maxRowBytes = 1 << 20
)

// SinkStatus says how far a sink is.
type SinkStatus struct {
	Sink string `json:"sink"`
	// Delivered is the newest entry that the sink has, and Lag how many more the
	// ledger has.
	Delivered int64 `json:"delivered"`
	Lag       int64 `json:"lag"`
	// Failures counts the attempts that failed since the start, and Problem is
	// why the last one did; empty when it did not.
	Failures int64  `json:"failures,omitempty"`
	Problem  string `json:"problem,omitempty"`
	// Diverged says that the sink and the ledger differ.
	Diverged bool `json:"diverged,omitempty"`
}

// Relay hands the entries of a ledger to its sinks, each at its own pace, for as
// long as it takes. It never delays nor fails an append: what a sink has not yet
// is in the ledger, and what it has is in a cursor on the disk.
type Relay struct {
	ledger *Ledger
	log    *slog.Logger
	sinks  []Sink
	// first and last are the pauses after a failure, poll that between looks.
	first, last, poll time.Duration

	mu     sync.Mutex
	status map[string]SinkStatus

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// StartRelay begins to hand over. Call Stop before the ledger is closed.
func StartRelay(l *Ledger, log *slog.Logger, sinks ...Sink) *Relay {
	r := newRelay(l, log, sinks...)
	r.start()
	return r
}

func newRelay(l *Ledger, log *slog.Logger, sinks ...Sink) *Relay {
	return &Relay{ledger: l, log: log, sinks: sinks, first: firstPause, last: lastPause, poll: pollEvery, status: map[string]SinkStatus{}}
}

func (r *Relay) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	for _, s := range r.sinks {
		r.done.Go(func() { r.run(ctx, s) })
	}
}

// Stop ends the relay. What was not handed over yet is at the next start.
func (r *Relay) Stop() {
	r.cancel()
	r.done.Wait()
}

// Status says how far each sink is, in the order of the configuration.
func (r *Relay) Status(ctx context.Context) ([]SinkStatus, error) {
	end, err := r.ledger.End(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]SinkStatus, 0, len(r.sinks))
	for _, s := range r.sinks {
		st := r.status[s.Name()]
		st.Sink, st.Lag = s.Name(), max(end.Seq-st.Delivered, 0)
		out = append(out, st)
	}
	return out, nil
}

// run hands over to one sink until the context ends.
func (r *Relay) run(ctx context.Context, s Sink) {
	appended := r.ledger.listen()
	defer r.ledger.unlisten(appended)
	pause := time.Duration(0)
	for {
		err := r.drain(ctx, s)
		if ctx.Err() != nil {
			return
		}
		r.note(s, err)
		wait, wake := r.poll, appended
		if err != nil {
			// An append does not cut short the pause after a failure.
			pause = min(max(2*pause, r.first), r.last)
			wait, wake = pause, nil
		} else {
			pause = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-wake:
			timer.Stop()
		}
	}
}

// drain hands over all there is.
func (r *Relay) drain(ctx context.Context, s Sink) error {
	for {
		more := false
		at, err := s.forward(ctx, func(after Head) ([]row, error) {
			r.reached(s, after)
			rows, err := r.ledger.after(ctx, after)
			more = len(rows) > 0
			return rows, err
		})
		if err != nil {
			return err
		}
		r.reached(s, at)
		if !more {
			return nil
		}
	}
}

func (r *Relay) reached(s Sink, at Head) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.status[s.Name()]
	st.Delivered = at.Seq
	r.status[s.Name()] = st
}

// note keeps how an attempt went, and logs what is new.
func (r *Relay) note(s Sink, err error) {
	r.mu.Lock()
	st := r.status[s.Name()]
	was := st.Problem
	if st.Problem, st.Diverged = "", errors.Is(err, ErrDiverged) || errors.Is(err, ErrTampered); err != nil {
		st.Problem = err.Error()
		st.Failures++
	}
	r.status[s.Name()] = st
	r.mu.Unlock()
	switch {
	case st.Diverged && was != st.Problem:
		r.log.Error("The ledger and its second copy differ. Verify both.", "sink", s.Name(), "error", err)
	case err != nil && was == "":
		r.log.Warn("The second copy of the ledger lags.", "sink", s.Name(), "error", err)
	case err == nil && was != "":
		r.log.Info("The second copy of the ledger follows again.", "sink", s.Name())
	}
}

// after is what follows an entry that a sink has, as much as is handed over at
// once. It vouches for every row: what does not chain is not handed over.
func (l *Ledger) after(ctx context.Context, have Head) (out []row, err error) {
	if have.Seq > 0 {
		hash, found, err := l.hashOf(ctx, have.Seq)
		switch {
		case err != nil:
			return nil, err
		case !found:
			return nil, fmt.Errorf("entry %d is in the copy and not in the ledger: %w", have.Seq, ErrDiverged)
		case hash != have.Hash:
			return nil, fmt.Errorf("entry %d is another one in the copy: %w", have.Seq, ErrDiverged)
		}
	}
	rows, err := l.read.QueryContext(ctx, "SELECT "+columns+" FROM entries WHERE seq > ? ORDER BY seq LIMIT ?", have.Seq, maxRows)
	if err != nil {
		return nil, fmt.Errorf("read entries after %d: %w", have.Seq, err)
	}
	defer closeRows(rows)
	size := 0
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read entries after %d: %w", have.Seq, err)
		}
		if r.seq != have.Seq+1 || r.prev != have.Hash || r.hash != r.digest() {
			return nil, fmt.Errorf("entry %d does not chain to entry %d: %w", r.seq, have.Seq, ErrTampered)
		}
		if size += len(r.text) + len(r.payload) + maxID; len(out) > 0 && size > maxRowBytes {
			return out, nil
		}
		out, have = append(out, r), Head{Seq: r.seq, Hash: r.hash}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read entries after %d: %w", have.Seq, err)
	}
	return out, nil
}
