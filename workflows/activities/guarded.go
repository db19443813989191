package activities

import (
	"context"
	"errors"
)

// errCrashed means that a driver panicked.
var errCrashed = errors.New("the driver crashed")

// guarded asks a driver something. It gives up on one that does not stop when its time
// is over, and then answered is false; one that panics is errCrashed, because the words
// of the panic may hold what it was reading.
func guarded[T any](ctx context.Context, ask func() (T, error)) (got T, answered bool, err error) {
	type answer struct {
		got T
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if recover() != nil {
				a = answer{err: errCrashed}
			}
			answers <- a
		}()
		a.got, a.err = ask()
	}()
	select {
	case a := <-answers:
		return a.got, true, a.err
	case <-ctx.Done():
		return got, false, ctx.Err()
	}
}
