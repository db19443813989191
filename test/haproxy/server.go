package haproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// Variable names the environment variable with the path of the program, where
	// it is not found by its name.
	Variable = "BACKOUT_TEST_HAPROXY"
	// Command provides what Start asks for on Debian.
	Command = "apt-get install -y --no-install-recommends haproxy"

	// startTimeout bounds the time from start to ready, on a busy machine.
	startTimeout = time.Minute
	// poll is the time between two looks at whether a process is ready.
	poll = 5 * time.Millisecond
	// askTimeout bounds one line of commands.
	askTimeout = 10 * time.Second
)

// The levels of the runtime sockets of a Server.
const (
	Admin    = "admin"
	Operator = "operator"
	User     = "user"
)

// Server is a running HAProxy with a runtime socket of each level.
type Server struct {
	// Folder holds the sockets and what a test puts there.
	Folder string
}

// Program is the path of HAProxy. Where it is not installed the test is skipped with
// Command, or fails where CI is set.
func Program(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv(Variable); path != "" {
		return path
	}
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "needs HAProxy; this gives it: " + Command
	if os.Getenv("CI") != "" {
		tb.Fatal(missing)
	}
	tb.Skip(missing)
	return ""
}

// Start starts a process that ends with the test. The function is given the folder
// and returns further lines of the section "global" and all other sections.
func Start(tb testing.TB, configure func(folder string) (global, rest string)) *Server {
	tb.Helper()
	program := Program(tb)
	folder, err := os.MkdirTemp("", "backout-haproxy-") //nolint:usetesting // The path of a socket has about 100 bytes, which the name of a test may fill.
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, os.RemoveAll(folder)) })
	s := &Server{Folder: folder}
	var text strings.Builder
	text.WriteString("global\n  nbthread 2\n")
	for _, level := range []string{Admin, Operator, User} {
		fmt.Fprintf(&text, "  stats socket %s level %s\n", s.Socket(level), level)
	}
	global, rest := configure(folder)
	text.WriteString(global + "\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n" + rest)
	file := filepath.Join(folder, "haproxy.cfg")
	require.NoError(tb, os.WriteFile(file, []byte(text.String()), 0o600))

	var said bytes.Buffer
	process := exec.CommandContext(context.WithoutCancel(tb.Context()), program, "-db", "-f", file)
	process.Stdout, process.Stderr = &said, &said
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(tb, process.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = process.Wait() // How it ended is told by what it said.
	}()
	tb.Cleanup(func() {
		_ = process.Process.Kill() // It is gone either way.
		<-ended
	})
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	for {
		if _, err = s.Ask(ctx, User, "show info"); err == nil {
			return s
		}
		select {
		case <-ended:
			require.Fail(tb, "HAProxy ended at its start", said.String())
		case <-ctx.Done():
			require.NoError(tb, err, "HAProxy did not become ready")
		case <-time.After(poll):
		}
	}
}

// Socket is the path of the runtime socket of a level.
func (s *Server) Socket(level string) string { return filepath.Join(s.Folder, level+".sock") }

// Ask gives one line of commands to the runtime socket of a level and returns the
// answer.
func (s *Server) Ask(ctx context.Context, level, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", s.Socket(level))
	if err != nil {
		return "", fmt.Errorf("connect to HAProxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = io.WriteString(conn, line+"\n")
	var answer []byte
	if err == nil {
		answer, err = io.ReadAll(conn)
	}
	if err := errors.Join(err, conn.Close()); err != nil {
		return "", fmt.Errorf("ask HAProxy: %w", err)
	}
	return string(answer), nil
}
