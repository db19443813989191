package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
)

// beat heartbeats until the returned function is called, so that a dead worker
// is noticed at once and a cancellation arrives.
func beat(ctx context.Context) (stop func()) {
	if !activity.IsActivity(ctx) {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() { close(done) }
}

// retryAfter is an error that knows when trying again makes sense.
type retryAfter interface{ RetryAfter() time.Duration }

// classify is the type of an error, and whether trying again can not help.
func classify(err error) (kind string, final bool) {
	var drift *driver.DriftError
	switch {
	case errors.As(err, &drift):
		return incident.ErrTypeDrift, true
	case errors.Is(err, driver.ErrDenied):
		return incident.ErrTypeDenied, true
	case errors.Is(err, driver.ErrNotFound):
		return incident.ErrTypeNotFound, true
	case errors.Is(err, driver.ErrInvalid), errors.Is(err, errNotConfigured):
		return incident.ErrTypeInvalid, true
	case errors.Is(err, errLedger):
		return incident.ErrTypeLedger, false
	default:
		return "", false
	}
}

// asActivityError types an error for the workflow: what is final, and when
// anything else should be tried again. Details travel with it.
func asActivityError(err error, details ...any) error {
	if err == nil {
		return nil
	}
	opts := temporal.ApplicationErrorOptions{Details: details}
	var kind string
	kind, opts.NonRetryable = classify(err)
	var later retryAfter
	if !opts.NonRetryable && errors.As(err, &later) {
		opts.NextRetryDelay = later.RetryAfter()
	}
	return temporal.NewApplicationErrorWithOptions(said(err), kind, opts)
}

// maxSaid is the longest error that travels, in runes: a page of HTML that a
// proxy answered with is no reason.
const maxSaid = 600

// maxErrorRead is how much of a text from outside is looked at, in bytes, before what is
// kept of it is cut: far more, so that no secret is cut before it is seen as one.
const maxErrorRead = 64 << 10

// said is an error as it may travel and be read: without secrets, and short.
func said(err error) string {
	text := err.Error()
	clean, _ := redact.Document([]byte(text[:min(len(text), maxErrorRead)]), "")
	if r := []rune(string(clean)); len(r) > maxSaid {
		return string(r[:maxSaid-1]) + "…"
	}
	return string(clean)
}
