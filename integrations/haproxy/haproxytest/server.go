package haproxytest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/haproxy"
	realhaproxy "github.com/backout/backout/test/haproxy"
)

// Backend is the backend that the extension of a Server may change.
const Backend = "shop"

// Server is HAProxy with the extension, behind a gate. The gate stands at an address
// of TCP before a runtime socket, lets one line of commands through at a time, and
// looks before and after it whether a weight or a mode has changed: HAProxy counts
// no changes itself.
type Server struct {
	*realhaproxy.Server
	// Token is what the extension takes, and WrongToken what it does not.
	Token, WrongToken string

	address string
	mu      sync.Mutex
	changes int
}

// Sections are those of Start: servers that nothing listens at, and that nothing
// checks.
const Sections = `backend shop
  server blue 127.0.0.1:9 weight 100 cookie canary-cookie
  server green 127.0.0.1:9 weight 0
  server grey 127.0.0.1:9 weight 5 disabled
backend still
  balance static-rr
  server a 127.0.0.1:9 weight 100
  server b 127.0.0.1:9 weight 100
`

// Start starts HAProxy and a gate before the runtime socket of a level. Both end
// with the test.
func Start(tb testing.TB, level, sections string) *Server {
	tb.Helper()
	s := &Server{Token: "canary-" + rand.Text(), WrongToken: "canary-" + rand.Text()}
	s.Server = realhaproxy.Start(tb, func(folder string) (global, rest string) {
		write := func(name, content string) string {
			path := filepath.Join(folder, name)
			require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
			return path
		}
		script, token := write("backout.lua", haproxy.Script), write("token", s.Token+"\n")
		write("wrong", s.WrongToken+"\n")
		return fmt.Sprintf("  setenv BACKOUT_TOKEN_FILE %s\n  setenv BACKOUT_BACKENDS \"%s still\"\n  lua-load %s", token, Backend, script), sections
	})
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(ctx, conn, level) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close() // It ends with the test either way.
		serving.Wait()
	})
	return s
}

// serve passes one line of commands and its answer.
func (s *Server) serve(ctx context.Context, conn net.Conn, level string) {
	defer func() { _ = conn.Close() }() // The client is told by the end alone.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return // HAProxy runs no line without its end either.
	}
	answer, err := s.Do(ctx, level, strings.TrimSuffix(line, "\n"))
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, answer) // The client may be gone.
}

// Do gives HAProxy one line of commands and counts a change that it makes.
func (s *Server) Do(ctx context.Context, level, line string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.state(ctx)
	if err != nil {
		return "", err
	}
	answer, askErr := s.Ask(ctx, level, line)
	after, err := s.state(ctx)
	if before != after && err == nil {
		s.changes++
	}
	return answer, errors.Join(askErr, err)
}

// state is the weight and the administrative state of every server.
func (s *Server) state(ctx context.Context) (string, error) {
	answer, err := s.Ask(ctx, realhaproxy.User, "show servers state")
	if err != nil {
		return "", err
	}
	var state strings.Builder
	for line := range strings.SplitSeq(answer, "\n") {
		if fields := strings.Fields(line); len(fields) > 8 && fields[0] != "#" {
			fmt.Fprintln(&state, fields[1], fields[3], fields[6], fields[7])
		}
	}
	return state.String(), nil
}

// State is the weight and the administrative state of every server, read past the
// driver.
func (s *Server) State(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(ctx)
}

// Changes counts the changes that were ever made.
func (s *Server) Changes(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes, nil
}

// Address is where the gate listens, as host:port.
func (s *Server) Address() string { return s.address }

// System is the configuration of a connection at an address with the extension.
func (s *Server) System(address string, as drivertest.Credential) driver.System {
	token := map[drivertest.Credential]string{drivertest.Owner: "token", drivertest.Reader: "wrong"}[as]
	return System(map[string]any{"address": "tcp://" + address, "token_file": filepath.Join(s.Folder, token)})
}

// System is a configuration.
func System(settings map[string]any) driver.System {
	return driver.System{Name: "edge", Type: "haproxy", Decode: drivertest.Settings(settings)}
}

// Set changes the weights as somebody else does.
func (s *Server) Set(tb testing.TB, line string) {
	tb.Helper()
	answer, err := s.Do(tb.Context(), realhaproxy.Admin, line)
	require.NoError(tb, err)
	require.Empty(tb, strings.TrimSpace(answer))
}
