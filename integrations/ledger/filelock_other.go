//go:build !unix

package ledger

import (
	"errors"
	"os"
)

// lockFile has no counterpart here: without it two processes could write one
// entry twice.
func lockFile(*os.File) error {
	return errors.New("this system has no file locks; use a webhook")
}
