package kubernetes

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
)

// What a refused patch comes back with. Who meets one looks at the object again to
// know what it means.
var (
	// errConflict means that another writer was faster.
	errConflict = errors.New("patch refused: conflict")
	// errInvalid means that the object is no longer what the patch tests for, or
	// would not be valid after it: the API server answers both with 422.
	errInvalid = errors.New("patch refused: unprocessable")
)

// maxAnswer is the longest text of the API server's that an error keeps, in runes:
// admission webhooks write what they like.
const maxAnswer = 300

// classify decides once what an error of the API server means. What is not one of
// the driver's final errors can be tried again: throttling, time-outs, a server
// that is starting, a connection that broke.
func classify(err error) error {
	said := answer(err)
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", driver.ErrNotFound, said)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: %w", driver.ErrDenied, said)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%w: %w", errConflict, said)
	case apierrors.IsInvalid(err):
		return fmt.Errorf("%w: %w", errInvalid, said)
	case apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err), apierrors.IsRequestEntityTooLargeError(err):
		return fmt.Errorf("%w: %w", driver.ErrInvalid, said)
	}
	// The URL says nothing that the caller does not, and may hold a password.
	if transport, ok := errors.AsType[*url.Error](err); ok {
		return transport.Err
	}
	return said
}

// meant says what a refused patch means, when the object still has the content that
// was tested for: it was busy, which passes, or what was asked for is not accepted,
// which does not.
func meant(refusal error, before, after *unstructured.Unstructured) error {
	if !errors.Is(refusal, errInvalid) {
		return refusal
	}
	if before.GetAnnotations() == nil && after.GetAnnotations() != nil {
		return fmt.Errorf("%w: somebody else annotated it", errConflict)
	}
	return fmt.Errorf("%w: %w", driver.ErrInvalid, refusal)
}

// answer is what the API server says, on one line. It says of an invalid field what
// stands in it, which may be a secret of the pod template; so only the names of the
// fields are kept. What is no answer is left as it is.
func answer(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	text, fields := status.Status().Message, []string(nil)
	if details := status.Status().Details; details != nil {
		for _, cause := range details.Causes {
			if cause.Field != "" {
				fields = append(fields, fmt.Sprintf("%s (%s)", cause.Field, cause.Type))
			}
		}
	}
	if len(fields) > 0 {
		text = "not accepted: " + strings.Join(fields, ", ")
	}
	return errors.New(oneLine(text, maxAnswer))
}

// oneLine is text from outside as one line of at most limit runes, without control
// characters.
func oneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-1]) + "…"
	}
	return text
}
