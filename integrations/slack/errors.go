package slack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/integrations/driver"
)

// minRetryAfter is waited when Slack limits without saying for how long.
const minRetryAfter = time.Second

// Error is a refused or failed call of a method of Slack's Web API. It wraps
// driver.ErrDenied, driver.ErrNotFound or driver.ErrInvalid where trying again
// can not help.
type Error struct {
	// Method is the Web API method, such as "chat.update".
	Method string
	// Code is Slack's error code, or a few words where there was no answer.
	Code string

	after time.Duration
	kind  error
}

// Error names method and code, never arguments.
func (e *Error) Error() string { return fmt.Sprintf("call %s: %s", e.Method, e.Code) }

// Unwrap is the driver's error for refusals that last.
func (e *Error) Unwrap() error { return e.kind }

// RetryAfter is how long Slack wants to be left alone; zero where it did not
// say.
func (e *Error) RetryAfter() time.Duration { return e.after }

// kinds are the refusals that last, by code.
// Source: https://docs.slack.dev/reference/methods/chat.postMessage#errors and
// the same section of the other methods used here.
var kinds = map[string]error{
	"account_inactive":                    driver.ErrDenied,
	"ekm_access_denied":                   driver.ErrDenied,
	"invalid_auth":                        driver.ErrDenied,
	"is_archived":                         driver.ErrDenied,
	"missing_scope":                       driver.ErrDenied,
	"no_permission":                       driver.ErrDenied,
	"not_allowed_token_type":              driver.ErrDenied,
	"not_authed":                          driver.ErrDenied,
	"not_in_channel":                      driver.ErrDenied,
	"restricted_action":                   driver.ErrDenied,
	"team_access_not_granted":             driver.ErrDenied,
	"token_expired":                       driver.ErrDenied,
	"token_revoked":                       driver.ErrDenied,
	"plan_upgrade_required":               driver.ErrDenied,
	"cant_update_message":                 driver.ErrDenied,
	"edit_window_closed":                  driver.ErrDenied,
	"user_not_in_channel":                 driver.ErrDenied,
	"access_denied":                       driver.ErrDenied,
	"file_type_not_allowed":               driver.ErrDenied,
	"file_uploads_disabled":               driver.ErrDenied,
	"file_uploads_except_images_disabled": driver.ErrDenied,
	"posting_to_channel_denied":           driver.ErrDenied,
	"storage_limit_reached":               driver.ErrDenied,
	"channel_not_found":                   driver.ErrNotFound,
	"invalid_channel":                     driver.ErrNotFound,
	"no_such_subteam":                     driver.ErrNotFound,
	"thread_not_found":                    driver.ErrNotFound,
	"user_not_found":                      driver.ErrNotFound,
	"users_not_found":                     driver.ErrNotFound,
	"user_not_visible":                    driver.ErrNotFound,
	codeMessageNotFound:                   driver.ErrNotFound,
	"alt_txt_too_large":                   driver.ErrInvalid,
	"block_mismatch":                      driver.ErrInvalid,
	"file_upload_size_restricted":         driver.ErrInvalid,
	"invalid_arguments":                   driver.ErrInvalid,
	"invalid_blocks":                      driver.ErrInvalid,
	"invalid_blocks_format":               driver.ErrInvalid,
	"invalid_metadata_format":             driver.ErrInvalid,
	"metadata_too_large":                  driver.ErrInvalid,
	"msg_blocks_too_long":                 driver.ErrInvalid,
	"msg_too_long":                        driver.ErrInvalid,
	"no_text":                             driver.ErrInvalid,
	"too_many_attachments":                driver.ErrInvalid,
	"unknown_method":                      driver.ErrInvalid,
	"metadata_must_be_sent_from_app":      driver.ErrInvalid,
}

// codeUnreadable is that of an answer of which nothing can be made.
const codeUnreadable = "unreadable answer"

// codeMessageNotFound means that the message was deleted.
const codeMessageNotFound = "message_not_found"

// wrap turns an error of the client into one without addresses, arguments or
// tokens.
func wrap(method string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Method: method}
	var (
		limited  *slackgo.RateLimitedError
		refused  slackgo.SlackErrorResponse
		status   slackgo.StatusCodeError
		transfer *url.Error
	)
	switch {
	case errors.As(err, &limited):
		e.Code, e.after = "ratelimited", max(limited.RetryAfter, minRetryAfter)
	case errors.As(err, &refused):
		e.Code, e.kind = spelled(refused.Err), kinds[refused.Err]
		if e.Code == "ratelimited" || e.Code == "rate_limited" {
			e.after = minRetryAfter
		}
	case errors.As(err, &status):
		e.Code = fmt.Sprintf("HTTP status %d", status.Code)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("call %s: %w", method, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("call %s: %w", method, context.DeadlineExceeded)
	case errors.As(err, &transfer):
		e.Code = "no answer"
	default:
		e.Code = codeUnreadable
	}
	return e
}

// spelled is a code as Slack spells codes; anything else is not repeated, because
// whoever answers in Slack's place could put anything there.
func spelled(code string) string {
	if !codes.MatchString(code) {
		return "an error that is no code of Slack's"
	}
	return code
}

var codes = regexp.MustCompile(`^[a-zA-Z0-9_.:-]{1,80}$`)

// hasCode reports whether Slack refused with that code.
func hasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
