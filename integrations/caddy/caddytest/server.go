package caddytest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
)

const (
	// Variable names the environment variable that holds the path of the built Caddy.
	Variable = "BACKOUT_TEST_CADDY"
	// Command provides what Start asks for, from the root of the repository.
	Command = `(cd test/caddy && go build -o /tmp/backout-caddy .) && export ` + Variable + `=/tmp/backout-caddy`
	// startTimeout bounds the time from start to ready, on a busy machine.
	startTimeout = time.Minute
	// ID is the "@id" of the route of a Server.
	ID = "shop"
)

// Server is a running Caddy with one route, whose upstreams have weights. Its admin
// API is on a unix socket, with a pipe from an address of TCP to it.
type Server struct {
	// Folder holds the configuration and the socket, and History the captured
	// states.
	Folder, History string

	address string
	client  *http.Client
}

// Program is the path of Caddy. With Variable not set the test is skipped with
// Command, or fails where CI is set.
func Program(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv(Variable) //nolint:forbidigo // Tests find what was built for them there.
	if path == "" {
		const missing = "needs a Caddy; this gives one: " + Command
		if os.Getenv("CI") != "" { //nolint:forbidigo // The same.
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	return path
}

// Route is the route of a Server, with weights and a secret in a header.
func Route(secret string, weights ...int) map[string]any {
	return map[string]any{
		"@id": ID,
		"handle": []any{
			map[string]any{"handler": "headers", "request": map[string]any{"set": map[string]any{"X-Upstream-Key": []string{secret}}}},
			map[string]any{
				"handler":        "reverse_proxy",
				"load_balancing": map[string]any{"selection_policy": map[string]any{"policy": "weighted_round_robin", "weights": weights}},
				"upstreams":      []any{map[string]any{"dial": "127.0.0.1:9"}, map[string]any{"dial": "127.0.0.1:10"}},
			},
		},
	}
}

// Start starts a Caddy with a route, and with what the functions add to its
// configuration; it ends with the test.
func Start(tb testing.TB, route map[string]any, adjust ...func(folder string, config map[string]map[string]any)) *Server {
	tb.Helper()
	program := Program(tb)
	folder, err := os.MkdirTemp("", "backout-caddy-") //nolint:usetesting // The path of a socket has about 100 bytes, which the name of a test may fill.
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, os.RemoveAll(folder)) })
	s := &Server{Folder: folder, History: filepath.Join(folder, "history")}
	config := map[string]map[string]any{
		"admin":   {"listen": "unix/" + s.Socket(), "config": map[string]any{"persist": false}},
		"logging": {"logs": map[string]any{"default": map[string]any{"level": "ERROR"}}},
		"apps": {"http": map[string]any{"servers": map[string]any{"edge": map[string]any{
			"listen":          []string{"unix/" + filepath.Join(folder, "http.sock")},
			"automatic_https": map[string]any{"disable": true},
			"routes":          []any{route},
		}}}},
	}
	for _, change := range adjust {
		change(folder, config)
	}
	content, err := json.Marshal(config)
	require.NoError(tb, err)
	file := filepath.Join(folder, "caddy.json")
	require.NoError(tb, os.WriteFile(file, content, 0o600))

	process := exec.CommandContext(context.WithoutCancel(tb.Context()), program, file)
	process.Env = []string{"HOME=" + folder, "XDG_CONFIG_HOME=" + folder, "XDG_DATA_HOME=" + folder}
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	process.Stderr = &said
	stdin, err := process.StdinPipe()
	require.NoError(tb, err)
	stdout, err := process.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, process.Start())
	tb.Cleanup(func() {
		_ = process.Process.Kill() // It is gone either way.
		_ = stdin.Close()
		_ = process.Wait()
	})
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(stdout).ReadString('\n')
		ready <- err
	}()
	select {
	case err := <-ready:
		require.NoError(tb, err, "Caddy ended at its start: %s", &said)
	case <-time.After(startTimeout):
		require.Fail(tb, "Caddy did not become ready")
	}
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.Socket())
	}}}
	s.address = Pipe(tb, s.Socket())
	return s
}

// Socket is the path of the socket of the local admin API.
func (s *Server) Socket() string { return filepath.Join(s.Folder, "admin.sock") }

// Pipe passes bytes between an address of TCP, which it returns, and a unix socket,
// until the test ends. It connects to the socket when the client has said something:
// with each configuration that Caddy takes on it drops what is connected and silent,
// and a request that comes late would be lost and not judged.
func Pipe(tb testing.TB, socket string) (address string) {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = client.Close() }()
				forget := context.AfterFunc(ctx, func() { _ = client.Close() })
				defer forget()
				request := bufio.NewReader(client)
				if _, err := request.Peek(1); err != nil {
					return
				}
				server, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
				if err != nil {
					return
				}
				defer func() { _ = server.Close() }()
				stop := context.AfterFunc(ctx, func() { _ = server.Close() })
				defer stop()
				var back sync.WaitGroup
				back.Go(func() {
					_, _ = io.Copy(client, server) // Its end is all that matters.
					_ = client.Close()
				})
				_, _ = io.Copy(server, request) // The same.
				_ = server.Close()
				back.Wait()
			})
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close() // It ends with the test either way.
		serving.Wait()
	})
	return listener.Addr().String()
}

// Ask sends a request to the admin API past the driver.
func (s *Server) Ask(ctx context.Context, method, path string, body any) ([]byte, error) {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://caddy"+path, bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask Caddy: %w", err)
	}
	answer, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("ask Caddy: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("caddy answers %d: %s", response.StatusCode, answer)
	}
	return answer, nil
}

// writesPattern is a counter of Caddy's own: requests of the admin API that changed
// the configuration.
var writesPattern = regexp.MustCompile(`(?m)^caddy_admin_http_requests_total\{([^}]*)\} ([0-9.e+]+)$`)

// Writes counts the requests that changed the configuration, by Caddy's own metrics.
func (s *Server) Writes(ctx context.Context) (int, error) {
	text, err := s.Ask(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return 0, err
	}
	total := 0
	for _, match := range writesPattern.FindAllSubmatch(text, -1) {
		if !bytes.Contains(match[1], []byte(`code="200"`)) || bytes.Contains(match[1], []byte(`method="GET"`)) {
			continue
		}
		n, err := strconv.ParseFloat(string(match[2]), 64)
		if err != nil {
			return 0, fmt.Errorf("read metrics: %w", err)
		}
		// A request to /id/ is counted there and, once more, under the path that it
		// leads to; the suite writes to /config/ only.
		if bytes.Contains(match[1], []byte(`path="/config/"`)) {
			total += int(n)
		}
	}
	return total, nil
}

// Set replaces the route as somebody else does.
func (s *Server) Set(ctx context.Context, route map[string]any) error {
	_, err := s.Ask(ctx, http.MethodPatch, "/config/apps/http/servers/edge/routes/0", route)
	return err
}

// Address is where the pipe listens, as host:port.
func (s *Server) Address() string { return s.address }

// System is the configuration of a connection at an address. The local admin API asks
// for no credential.
func (s *Server) System(address string, _ drivertest.Credential) driver.System {
	return System(map[string]any{"url": "http://" + address, "history_folder": s.History})
}

// System is a configuration.
func System(settings map[string]any) driver.System {
	return driver.System{Name: "edge", Type: "caddy", Decode: drivertest.Settings(settings)}
}
