package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Bounds of a child process.
const (
	// readyWithin is how long a child may take to answer on /readyz.
	readyWithin = 60 * time.Second
	// stopWithin is how long a child may take to stop when it is asked to.
	stopWithin = 30 * time.Second
	// tail is how much of a child's log a failed test shows, in bytes.
	tail = 12_000
)

// Child is one backout process and the ones that replace it.
type Child struct {
	t       testing.TB
	args    []string
	env     []string
	listen  string
	logPath string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	err    error

	// Kills counts the kills so far.
	Kills atomic.Int32
}

// newChild prepares a process that listens on an address. It ends with the
// test.
func newChild(t testing.TB, dir, name, listen string, args ...string) *Child {
	t.Helper()
	c := &Child{t: t, args: args, env: environment(), listen: listen, logPath: filepath.Join(dir, name+".log")}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("log of %s (%s):\n%s", name, c.logPath, c.Log())
			keep(t, c.logPath)
		}
	})
	return c
}

// LogsVariable names the environment variable with a folder to which the whole
// logs of failed tests are copied; without it they are gone with the test.
const LogsVariable = "BACKOUT_TEST_LOGS"

func keep(t testing.TB, path string) {
	t.Helper()
	folder := os.Getenv(LogsVariable)
	if folder == "" {
		return
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, strings.ReplaceAll(t.Name(), "/", "-")+"-"+filepath.Base(path)), content, 0o600)
	}
	if err != nil {
		t.Logf("keep log: %v", err)
	}
}

// environment is this process's, without what would configure a child.
func environment() []string {
	var out []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "BACKOUT_") {
			out = append(out, kv)
		}
	}
	return out
}

// Setenv adds variables to the environment of the processes that are started from
// now on.
func (c *Child) Setenv(variables ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.env = append(c.env, variables...)
}

// Start starts the process and returns when it answers on /readyz.
func (c *Child) Start(ctx context.Context) error {
	if err := c.Launch(); err != nil {
		return err
	}
	return c.Ready(ctx)
}

// Launch starts the process and does not wait for it.
func (c *Child) Launch() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd != nil {
		return errors.New("start backout: it runs already")
	}
	log, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	// The process outlives the contexts of those who start it.
	cmd := exec.Command(Binary(c.t), c.args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, c.env
	err = cmd.Start()
	_ = log.Close()
	if err != nil {
		return fmt.Errorf("start backout: %w", err)
	}
	exited := make(chan struct{})
	c.cmd, c.exited = cmd, exited
	go func() {
		err := cmd.Wait()
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		close(exited)
	}()
	return nil
}

// Ready waits until the process answers on /readyz.
func (c *Child) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	c.mu.Lock()
	exited := c.exited
	c.mu.Unlock()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, err := get(ctx, "http://"+c.listen+"/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("wait for backout: it has ended: %w", c.exit())
		case <-ctx.Done():
			return fmt.Errorf("wait for backout to be ready: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (c *Child) exit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func get(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// Kill ends the process with SIGKILL and waits until it is gone. Without a
// process it does nothing.
func (c *Child) Kill() {
	c.mu.Lock()
	cmd, exited := c.cmd, c.exited
	c.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-exited
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == cmd {
		c.cmd = nil
		c.Kills.Add(1)
	}
}

// Signal sends the process a signal, such as one that halts it. Without a
// process it does nothing.
func (c *Child) Signal(s os.Signal) error {
	c.mu.Lock()
	cmd := c.cmd
	c.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal backout: %w", err)
	}
	return nil
}

// Exited is closed when the process that runs now has ended; it is nil without
// a process.
func (c *Child) Exited() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return nil
	}
	return c.exited
}

// Restart starts the process again on the same folder and ports.
func (c *Child) Restart(ctx context.Context) error {
	c.Kill()
	return c.Start(ctx)
}

// Stop asks the process to end and returns its error, nil for exit status 0.
func (c *Child) Stop() error {
	c.mu.Lock()
	cmd, exited := c.cmd, c.exited
	c.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("stop backout: %w", err)
	}
	select {
	case <-exited:
	case <-time.After(stopWithin):
		c.Kill()
		return fmt.Errorf("stop backout: it did not end within %s", stopWithin)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cmd = nil
	return c.err
}

// Log is the end of what the processes have written so far.
func (c *Child) Log() string {
	b, err := os.ReadFile(c.logPath)
	if err != nil {
		return err.Error()
	}
	if len(b) > tail {
		b = b[len(b)-tail:]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return string(b)
}

// FullLog is everything the processes have written so far.
func (c *Child) FullLog() string {
	b, err := os.ReadFile(c.logPath)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
