package embedded

import "fmt"

// InUseError says that another process runs a server on the same folder.
type InUseError struct {
	// Path is the lock file.
	Path string
	// Holder is what the other process wrote about itself; may be empty.
	Holder string
}

// Error implements error.
func (e *InUseError) Error() string {
	if e.Holder == "" {
		return fmt.Sprintf("lock %q: another process runs a server on this folder", e.Path)
	}
	return fmt.Sprintf("lock %q: another process runs a server on this folder: %s", e.Path, e.Holder)
}

// DatabaseError says that the database file exists and cannot be used. Nothing
// in the file was changed.
type DatabaseError struct {
	// Path is the database file.
	Path string
	// Reason is what is wrong with it and what can be done.
	Reason string
	// Err is the cause, if any.
	Err error
}

// Error implements error.
func (e *DatabaseError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("open temporal database %q: %s", e.Path, e.Reason)
	}
	return fmt.Sprintf("open temporal database %q: %s: %v", e.Path, e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *DatabaseError) Unwrap() error { return e.Err }
