package kubernetes

import (
	"errors"
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

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

// classify decides once what an error of the API server means. What is not one of
// the driver's final errors can be tried again: throttling, time-outs, a server
// that is starting, a connection that broke.
func classify(err error) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", driver.ErrNotFound, err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: %w", driver.ErrDenied, err)
	case apierrors.IsConflict(err):
		return fmt.Errorf("%w: %w", errConflict, err)
	case apierrors.IsInvalid(err):
		return fmt.Errorf("%w: %w", errInvalid, err)
	case apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err), apierrors.IsRequestEntityTooLargeError(err):
		return fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	// The URL says nothing that the caller does not, and may hold a password.
	if transport, ok := errors.AsType[*url.Error](err); ok {
		return transport.Err
	}
	return err
}
