package github

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

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
)

const (
	// limitPause is waited after a limit that does not say how long.
	// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
	limitPause = time.Minute
	// maxPause bounds what a header may ask for; the primary limit is by the
	// hour.
	maxPause = time.Hour
	// maxReason is the longest text of GitHub's that an error keeps, in runes.
	maxReason = 200
)

// APIError is a refusal or failure of GitHub's. It is final when it wraps
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

// Error says what was asked and how GitHub answered. It holds no token.
func (e *APIError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s: no answer from GitHub: %s", e.what, e.reason)
	}
	return fmt.Sprintf("%s: GitHub answered %d: %s", e.what, e.Status, e.reason)
}

// Unwrap is the class of the error, or the context's error.
func (e *APIError) Unwrap() error { return e.cause }

// RetryAfter is how long to wait before trying again; 0 means as usual.
func (e *APIError) RetryAfter() time.Duration { return e.after }

// classify decides once whether an error is final. what says what was tried.
func (c *connection) classify(ctx context.Context, what string, resp *gh.Response, err error) error {
	if err == nil {
		return nil
	}
	e := &APIError{what: what, reason: c.auth.redact(reason(err))}
	if limited(err) {
		e.Status, e.after = http.StatusForbidden, limitAfter(err)
		return e
	}
	if resp == nil || resp.Response == nil {
		e.cause = ctx.Err()
		if errors.Is(err, errElsewhere) {
			e.cause = driver.ErrInvalid
		}
		return e
	}
	e.Status, e.after = resp.StatusCode, headerAfter(resp.Header)
	switch {
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusForbidden && e.after > 0:
		if e.after == 0 {
			e.after = limitPause
		}
	case e.Status >= 500, e.Status == http.StatusRequestTimeout, e.Status == http.StatusConflict:
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden, e.Status == http.StatusUnavailableForLegalReasons:
		e.cause = driver.ErrDenied
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone:
		e.cause = driver.ErrNotFound
	case e.Status >= 300:
		e.cause = driver.ErrInvalid
	default:
		// The answer was 2xx and broke off or made no sense.
		e.cause = ctx.Err()
	}
	return e
}

// limited says that the library recognised a primary or secondary limit, or
// still remembers one and sent nothing.
func limited(err error) bool {
	var primary *gh.RateLimitError
	var secondary *gh.AbuseRateLimitError
	return errors.As(err, &primary) || errors.As(err, &secondary)
}

func limitAfter(err error) time.Duration {
	var after time.Duration
	var primary *gh.RateLimitError
	var secondary *gh.AbuseRateLimitError
	switch {
	case errors.As(err, &primary):
		after = time.Until(primary.Rate.Reset.Time)
	case errors.As(err, &secondary) && secondary.RetryAfter != nil:
		after = *secondary.RetryAfter
	case errors.As(err, &secondary) && secondary.Response != nil:
		after = headerAfter(secondary.Response.Header)
	}
	if after <= 0 {
		after = limitPause
	}
	return min(after, maxPause)
}

// headerAfter reads Retry-After, in seconds, or, when nothing is left of a limit, the
// moment at which it begins anew.
// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func headerAfter(h http.Header) time.Duration {
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, maxPause)
	}
	reset, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64)
	if err != nil || h.Get("X-Ratelimit-Remaining") != "0" {
		return 0
	}
	return min(max(time.Until(time.Unix(reset, 0)), time.Second), maxPause)
}

// reason is GitHub's own words, or the transport's without the address, on one
// line.
func reason(err error) string {
	var answer *gh.ErrorResponse
	var primary *gh.RateLimitError
	var secondary *gh.AbuseRateLimitError
	var transport *url.Error
	text := err.Error()
	switch {
	case errors.As(err, &answer):
		text = answer.Message
		for _, detail := range answer.Errors {
			text += ": " + strings.TrimSpace(strings.Join([]string{detail.Field, detail.Code, detail.Message}, " "))
		}
	case errors.As(err, &primary):
		text = primary.Message
	case errors.As(err, &secondary):
		text = secondary.Message
	case errors.As(err, &transport):
		text = transport.Err.Error()
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if text == "" {
		return "no reason given"
	}
	return cut(text, maxReason)
}

// cut shortens text to at most limit runes.
func cut(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}
