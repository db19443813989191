//go:build unix

package ledger

import (
	"os"
	"syscall"
)

// lockFile takes the lock of an open file, for this process alone, and waits for
// it. The kernel releases it when the file is closed, however that happens.
func lockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX) }
