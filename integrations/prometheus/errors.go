package prometheus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/backout/backout/integrations/driver"
)

// Errors of the transport, told apart by classify.
var (
	errRedirect = errors.New("the server redirects, which is not followed")
	errTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxBody)
	errToken    = errors.New("the bearer token file cannot be used")
	errPartial  = errors.New("the answer is partial")
)

// maxMessage bounds what is repeated of the server's own words, in runes.
const maxMessage = 200

// classify says once whether trying again can help, in words that hold neither
// the address nor the server's page nor the token.
func classify(err error, x *exchange) error {
	for _, known := range []error{errRedirect, errTooLarge} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", driver.ErrInvalid, known)
		}
	}
	for _, known := range []error{errToken, errPartial, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	var failed *v1.Error
	if !errors.As(err, &failed) {
		return errors.New("it cannot be reached or does not answer in full")
	}
	switch failed.Type {
	case v1.ErrBadData, v1.ErrExec:
		return fmt.Errorf("%w: %s", driver.ErrInvalid, firstLine(failed.Msg, x.token))
	case v1.ErrTimeout, v1.ErrCanceled:
		return fmt.Errorf("it gave up on the query (%s)", failed.Type)
	case v1.ErrServer, v1.ErrBadResponse, v1.ErrClient:
		return classifyStatus(x.status)
	default:
		return fmt.Errorf("it answers %d with an error of an unknown type", x.status)
	}
}

// classifyStatus judges an answer that is none of the API's own.
func classifyStatus(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: it answers %d", driver.ErrDenied, status)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%w: it answers %d, so there is no Prometheus API at this url", driver.ErrNotFound, status)
	case http.StatusOK:
		return errors.New("it does not answer as Prometheus does")
	default:
		return fmt.Errorf("it answers %d", status)
	}
}

// firstLine is the server's own word on a query: one line, bounded, without the
// token, and without what a terminal would obey.
func firstLine(s, token string) string {
	s, _, _ = strings.Cut(s, "\n")
	if token != "" {
		s = strings.ReplaceAll(s, token, "[token]")
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxMessage {
		return string(r[:maxMessage]) + "..."
	}
	return s
}
