package bot_test

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// patience is how long a test waits for one thing. It is long, because machines
// that test are busy; what takes longer has failed.
const patience = time.Minute

// within is the test's context for one thing that is waited for.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("%s gave up after %s", t.Name(), patience))
	t.Cleanup(cancel)
	return ctx
}

// eventually looks again and again, and fails with what was waited for.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("the test ended before %s", what)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// ends fails the test when something does not return. It is for cleanups,
// which the test's own context does not bound.
func ends(t *testing.T, what string, do func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("end %s: %v", what, err)
		}
	case <-time.After(patience):
		t.Errorf("waited %s in vain for the end of %s", patience, what)
	}
}
