package driver

import (
	"errors"
	"fmt"

	"github.com/backout/backout/workflows/incident"
)

// Errors that end an action at once: trying again can not help. Any other
// error of a driver is retried until the action's maximum time is over.
var (
	// ErrDenied means that the credential may not do this.
	ErrDenied = errors.New("permission denied")
	// ErrNotFound means that the target, or the revision wanted, is gone.
	ErrNotFound = errors.New("not found")
	// ErrInvalid means that the action can not be understood by its driver.
	ErrInvalid = errors.New("invalid action")
)

// DriftError means that the target is neither at "from" nor at "to", so that
// nothing was touched.
type DriftError struct {
	Action   incident.Action
	Observed incident.State
	// Difference is one line for people: what is there instead.
	Difference string
}

// Error says what was expected and what is there.
func (e *DriftError) Error() string {
	return fmt.Sprintf("%s on %s: expected revision %s (%s), found revision %s (%s): %s",
		e.Action.Kind, e.Action.Target,
		e.Action.From.Revision, incident.ShortDigest(e.Action.From.Digest),
		e.Observed.Revision, incident.ShortDigest(e.Observed.Digest), e.Difference)
}

// Final reports whether trying again can not help.
func Final(err error) bool {
	var drift *DriftError
	return errors.Is(err, ErrDenied) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) || errors.As(err, &drift)
}
