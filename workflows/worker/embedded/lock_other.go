//go:build !unix

package embedded

import "errors"

// lock has no counterpart here: without it two servers could share a file.
type lock struct{}

func acquireLock(string) (*lock, error) {
	return nil, errors.New("lock temporal folder: this system has no file locks; give the address of a Temporal service")
}

func (*lock) describe(string) error { return nil }

func (*lock) release() error { return nil }
