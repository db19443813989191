package pagerduty

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/PagerDuty/go-pagerduty"

	"github.com/backout/backout/integrations/driver"
)

const (
	// limitPause is waited after a 429 that does not say how long. The limit is
	// by the minute.
	// Source: https://developer.pagerduty.com/docs/rest-api-rate-limits
	limitPause = 10 * time.Second
	// maxPause bounds what a header may ask for.
	maxPause = 5 * time.Minute
	// maxReason is the longest text of PagerDuty's that an error keeps, in
	// runes.
	maxReason = 200
)

// APIError is a refusal or failure of PagerDuty's. It is final when it wraps
// driver.ErrDenied, driver.ErrNotFound or driver.ErrInvalid; anything else may
// be tried again, not before RetryAfter.
type APIError struct {
	what   string
	reason string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	after  time.Duration
	cause  error
}

// Error says what was asked and how PagerDuty answered. It holds no token.
func (e *APIError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s: no answer from PagerDuty: %s", e.what, e.reason)
	}
	return fmt.Sprintf("%s: PagerDuty answered %d: %s", e.what, e.Status, e.reason)
}

// Unwrap is the class of the error, or the context's error.
func (e *APIError) Unwrap() error { return e.cause }

// RetryAfter is how long to wait before trying again; 0 means as usual.
func (e *APIError) RetryAfter() time.Duration { return e.after }

// classify decides once whether an error is final.
func classify(ctx context.Context, what string, x *exchange, err error) error {
	e := &APIError{what: what, Status: x.status, after: x.retryAfter, reason: reason(err)}
	if x.err != nil {
		e.reason = transportReason(x.err)
	}
	if x.token != "" {
		e.reason = strings.ReplaceAll(e.reason, x.token, "[token]")
	}
	switch {
	case x.err != nil:
		e.cause = ctx.Err()
	case x.status == http.StatusTooManyRequests:
		if e.after == 0 {
			e.after = limitPause
		}
	case x.status >= 500, x.status == http.StatusRequestTimeout:
	case x.status == http.StatusUnauthorized, x.status == http.StatusForbidden, x.status == http.StatusPaymentRequired:
		e.cause = driver.ErrDenied
	case x.status == http.StatusNotFound:
		e.cause = driver.ErrNotFound
	case x.status >= 300:
		e.cause = driver.ErrInvalid
	default:
		// The answer was 2xx and broke off or made no sense.
		e.cause = ctx.Err()
	}
	return e
}

// reason is PagerDuty's own words, on one line.
func reason(err error) string {
	var apiErr pagerduty.APIError
	if !errors.As(err, &apiErr) {
		return "the answer could not be read"
	}
	o := apiErr.APIError.ErrorObject
	return oneLine(strings.Join(append([]string{o.Message}, o.Errors...), ": "))
}

// transportReason leaves out the address, which says nothing new.
func transportReason(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return oneLine(err.Error())
}

func oneLine(text string) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if clean == "" {
		return "no reason given"
	}
	return cut(clean, maxReason)
}

// retryAfter reads how long PagerDuty asks to wait: Retry-After in seconds, or
// the seconds until the limit is reset where it was hit or nothing of it remains.
// Source: https://developer.pagerduty.com/docs/rest-api-rate-limits
func retryAfter(status int, h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil && (status == http.StatusTooManyRequests || h.Get("Ratelimit-Remaining") == "0") {
		seconds, err = strconv.Atoi(h.Get("Ratelimit-Reset"))
	}
	switch {
	case err != nil || seconds <= 0:
		return 0
	case seconds > int(maxPause/time.Second):
		return maxPause
	default:
		return time.Duration(seconds) * time.Second
	}
}
