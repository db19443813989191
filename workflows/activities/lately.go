package activities

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// latelyFor is how long an answer about people holds for the lowest tier, from
// the moment at which it was asked for. Higher tiers ask every time.
const latelyFor = 5 * time.Second

// maxLately is how many answers of a kind are kept, to bound the memory.
const maxLately = 1024

// Lately keeps what was answered about people in the last seconds, so that many
// clicks on small plans do not use up a vendor's limits. Those who ask for the same
// at the same time share one answer. Errors are not kept. It is safe for concurrent
// use; nil keeps nothing.
type Lately struct {
	now     func() time.Time
	onCall  answers[[]incident.Person]
	members answers[bool]
}

// NewLately keeps answers by a clock, which must not be nil.
func NewLately(now func() time.Time) *Lately { return &Lately{now: now} }

// answers are those of one kind of question, by what was asked.
type answers[T any] struct {
	mu   sync.Mutex
	kept map[string]*answered[T]
}

// answered is one question with its answer.
type answered[T any] struct {
	// asked is the moment before the question was sent: the answer is no older.
	asked time.Time
	// done is closed when value and err are there.
	done  chan struct{}
	value T
	err   error
}

// holds reports whether the answer is new enough. A clock that was set back
// makes it old.
func (q *answered[T]) holds(now time.Time) bool {
	age := now.Sub(q.asked)
	return age >= 0 && age < latelyFor
}

// recall answers a question: by asking now, or with what was answered lately.
func recall[T any](ctx context.Context, l *Lately, kind func(*Lately) *answers[T], key string, when liveness, ask func(context.Context) (T, error)) (T, error) {
	if l == nil {
		return ask(ctx)
	}
	a := kind(l)
	if when == askNow {
		// It does not wait for a question that somebody asked before: that could be
		// answered by how things were then.
		return a.put(key, l.now(), func() (T, error) { return ask(ctx) })
	}
	for {
		mine, theirs := a.join(key, l.now())
		if mine != nil {
			return a.settle(key, mine, func() (T, error) { return ask(ctx) })
		}
		select {
		case <-theirs.done:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
		switch gone := errors.Is(theirs.err, context.Canceled) || errors.Is(theirs.err, context.DeadlineExceeded); {
		case theirs.err != nil && !gone:
			return theirs.value, theirs.err
		case theirs.err == nil && theirs.holds(l.now()):
			return theirs.value, nil
		}
		// Whoever asked gave up, or took too long: ask anew.
		if err := ctx.Err(); err != nil {
			var none T
			return none, err
		}
	}
}

// join returns the question that is asked or was answered lately, or makes it the
// caller's to ask.
func (a *answers[T]) join(key string, now time.Time) (mine, theirs *answered[T]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if have := a.kept[key]; have != nil && have.holds(now) {
		return nil, have
	}
	mine = &answered[T]{asked: now, done: make(chan struct{})}
	a.keep(key, mine, now)
	return mine, nil
}

// settle asks, and tells everybody who waits. An error is forgotten.
func (a *answers[T]) settle(key string, q *answered[T], ask func() (T, error)) (T, error) {
	q.err = errUnanswered // Whoever waits learns of a panic.
	defer func() {
		if q.err != nil {
			a.mu.Lock()
			if a.kept[key] == q {
				delete(a.kept, key)
			}
			a.mu.Unlock()
		}
		close(q.done)
	}()
	q.value, q.err = ask()
	if q.err != nil {
		var none T
		q.value = none
	}
	return q.value, q.err
}

// errUnanswered is what those get who waited for somebody whose question broke off.
var errUnanswered = errors.New("the question broke off")

// put asks now and keeps the answer in place of an older one.
func (a *answers[T]) put(key string, now time.Time, ask func() (T, error)) (T, error) {
	q := &answered[T]{asked: now, done: make(chan struct{})}
	if _, err := a.settle(key, q, ask); err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		// What was known before is in doubt.
		if have := a.kept[key]; have != nil && !have.asked.After(now) {
			delete(a.kept, key)
		}
		return q.value, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if have := a.kept[key]; have == nil || !have.asked.After(now) {
		a.keep(key, q, now)
	}
	return q.value, nil
}

// keep stores a question, and forgets the old ones when there are too many.
func (a *answers[T]) keep(key string, q *answered[T], now time.Time) {
	if a.kept == nil {
		a.kept = map[string]*answered[T]{}
	}
	if len(a.kept) >= maxLately {
		maps.DeleteFunc(a.kept, func(_ string, old *answered[T]) bool { return !old.holds(now) })
	}
	if len(a.kept) >= maxLately {
		clear(a.kept)
	}
	a.kept[key] = q
}
