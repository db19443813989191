package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	osexec "os/exec"
	"time"
)

const (
	// maxOutput bounds what a program writes to its standard output, in bytes.
	maxOutput = 1 << 20
	// killGrace is the time between asking a program to end and killing it, and how
	// long its output is waited for once it has ended.
	killGrace = 500 * time.Millisecond
)

var (
	// errOverdue means that one run took too long.
	errOverdue = errors.New("it did not end in time")
	// errFlood means that the output was too long.
	errFlood = fmt.Errorf("it wrote more than %d bytes", maxOutput)
)

// command is one run of a program.
type command struct {
	path        string
	args        []string
	directory   string
	environment []string
	input       []byte
	timeout     time.Duration
}

// run starts the program in a process group of its own, hands it its input and
// returns its output. The group is killed in the end, however the program ended.
// An error never holds a word of what the program wrote.
func run(ctx context.Context, c command) ([]byte, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ctx, stop := context.WithTimeoutCause(ctx, c.timeout, errOverdue)
	defer stop()
	output := &bounded{overflow: func() { end(errFlood) }}
	cmd := osexec.CommandContext(ctx, c.path, c.args...) //nolint:gosec // The operator chooses the program; no shell is involved.
	cmd.Env, cmd.Dir = c.environment, c.directory
	cmd.Stdin, cmd.Stdout = bytes.NewReader(c.input), output
	cmd.Cancel = func() error { return askGroupToEnd(cmd) }
	cmd.WaitDelay = killGrace
	inGroupOfItsOwn(cmd)
	if err := cmd.Start(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("run %q: %w", c.path, cause)
		}
		return nil, fmt.Errorf("run %q: %w", c.path, bare(err))
	}
	err := cmd.Wait()
	killGroup(cmd)
	if err == nil && !output.full {
		return output.b.Bytes(), nil
	}
	cause := context.Cause(ctx)
	var status *osexec.ExitError
	switch {
	case output.full:
		return nil, violation(errFlood.Error())
	case errors.Is(cause, errOverdue):
		return nil, fmt.Errorf("run %q: %w: %s", c.path, errOverdue, c.timeout)
	case cause != nil:
		return nil, fmt.Errorf("run %q: %w", c.path, cause)
	case errors.Is(err, osexec.ErrWaitDelay):
		return nil, violation("it left a child behind that holds its output")
	case errors.As(err, &status):
		return nil, fmt.Errorf("run %q: it ended with %q", c.path, status.String())
	default:
		return nil, fmt.Errorf("run %q: %w", c.path, err)
	}
}

// bare is an error of starting a program without the words around it.
func bare(err error) error {
	if wrapped, ok := errors.AsType[*fs.PathError](err); ok {
		return wrapped.Err
	}
	return err
}

// bounded keeps what a program writes, up to maxOutput.
type bounded struct {
	b        bytes.Buffer
	full     bool
	overflow func()
}

// Write keeps bytes, or ends the program that writes too many.
func (w *bounded) Write(p []byte) (int, error) {
	if w.b.Len()+len(p) > maxOutput {
		w.full = true
		w.overflow()
		return 0, errFlood
	}
	return w.b.Write(p)
}
