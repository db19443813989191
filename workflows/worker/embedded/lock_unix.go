//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lock holds the data folder for this process. The kernel releases it when
// the process ends, however it ends. It is a bare descriptor because an
// *os.File closes itself, and gives up the lock, once nobody refers to it,
// and nobody has to refer to a Server that runs.
type lock struct {
	path string
	fd   int
}

// acquireLock takes the lock file or returns an *InUseError at once.
func acquireLock(path string) (*lock, error) {
	const mode = syscall.O_RDWR | syscall.O_CREAT | syscall.O_CLOEXEC
	fd, err := syscall.Open(path, mode, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock %q: %w", path, err)
	}
	err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return &lock{path: path, fd: fd}, nil
	}
	// The holder wrote who it is; a read that fails only makes the error terser.
	holder, _ := os.ReadFile(path)
	closeErr := syscall.Close(fd)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &InUseError{Path: path, Holder: strings.TrimSpace(string(holder))}
	}
	return nil, fmt.Errorf("lock %q: %w", path, errors.Join(err, closeErr))
}

// describe writes who holds the lock, for the error of the next one to try.
func (l *lock) describe(address string) error {
	text := fmt.Sprintf("process %d, temporal at %s\n", os.Getpid(), address)
	if err := syscall.Ftruncate(l.fd, 0); err != nil {
		return fmt.Errorf("write lock %q: %w", l.path, err)
	}
	if _, err := syscall.Pwrite(l.fd, []byte(text), 0); err != nil {
		return fmt.Errorf("write lock %q: %w", l.path, err)
	}
	return nil
}

// release gives the folder back. The file stays: removing it would let two
// processes lock two files of one name.
func (l *lock) release() error {
	if err := errors.Join(syscall.Ftruncate(l.fd, 0), syscall.Close(l.fd)); err != nil {
		return fmt.Errorf("release lock %q: %w", l.path, err)
	}
	return nil
}
