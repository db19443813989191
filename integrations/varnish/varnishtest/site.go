package varnishtest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	realvarnish "github.com/backout/backout/test/varnish"
)

// Layout is how the VCLs of sites are named.
const Layout = "site_20060102_150405"

// versions are the VCLs that all sites share, loaded once for each test process. The
// canary stands in the source of each.
type versions struct {
	canary string
	// names are in the order in which they were loaded.
	names []string
	// bad is when the second was loaded, by its name.
	bad time.Time
}

var (
	once   sync.Once
	loaded versions
	failed error
)

// load loads a first, a good, a bad and a newer VCL.
func load(tb testing.TB, s *realvarnish.Server) versions {
	tb.Helper()
	once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		loaded.canary = "canary-" + rand.Text()
		now := time.Now().UTC().Truncate(time.Second)
		for n, age := range []time.Duration{30 * time.Minute, 20 * time.Minute, 10 * time.Minute} {
			name := now.Add(-age).Format(Layout) + fmt.Sprintf("_%d", n)
			loaded.names = append(loaded.names, name)
			if failed = s.Load(ctx, name, Source(loaded.canary, name)); failed != nil {
				return
			}
		}
		loaded.bad = now.Add(-10 * time.Minute)
		// A name without a time: what somebody loads by hand.
		loaded.names = append(loaded.names, "byhand")
		failed = s.Load(ctx, "byhand", Source(loaded.canary, "byhand"))
	})
	require.NoError(tb, failed)
	return loaded
}

// Source is a VCL that answers with a text and holds a secret.
func Source(secret, text string) string {
	return "vcl 4.1;\n# " + secret + "\nbackend default none;\nsub vcl_recv { return (synth(200, \"" + text + "\")); }"
}

// Site is a label of its own on the Varnish of the test process, behind a gate. The
// gate stands before the management port, lets one batch of commands through at a
// time, and looks before and after it what the label points to: Varnish counts no
// changes itself.
type Site struct {
	*realvarnish.Server
	// Label is the name of the label.
	Label string
	// First, Good, Bad and Newer are names of loaded VCLs; the label points to Bad.
	First, Good, Bad, Newer string
	// Loaded is when Bad was loaded, by its name.
	Loaded time.Time
	// Canary is in the source of all.
	Canary string

	address string
	mu      sync.Mutex
	changes int
}

// Start makes a site, which ends with the test.
func Start(tb testing.TB) *Site {
	tb.Helper()
	server := realvarnish.Require(tb)
	v := load(tb, server)
	s := &Site{
		Server: server, Label: "site" + strings.ToLower(rand.Text()), Canary: v.canary, Loaded: v.bad,
		First: v.names[0], Good: v.names[1], Bad: v.names[2], Newer: v.names[3],
	}
	require.NoError(tb, s.Do(tb.Context(), "vcl.label "+s.Label+" "+s.Good, "vcl.label "+s.Label+" "+s.Bad))
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
			serving.Go(func() { s.serve(ctx, conn) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close() // It ends with the test either way.
		serving.Wait()
		ctx := context.WithoutCancel(tb.Context())
		_, _ = server.Ask(ctx, "vcl.discard "+s.Label) // A test may have done so.
	})
	return s
}

// serve passes batches of commands and their answers.
func (s *Site) serve(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }() // The client is told by the end alone.
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }() // It is told the same way.
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })
	defer stop()
	reader := bufio.NewReader(server)
	_, _, greeting, err := realvarnish.ReadAnswer(reader)
	if err != nil {
		return
	}
	if _, err := client.Write(greeting); err != nil {
		return
	}
	chunk := make([]byte, 64<<10)
	for {
		n, err := client.Read(chunk)
		if err != nil || n == 0 || chunk[n-1] != '\n' {
			return
		}
		answers, err := s.pass(ctx, server, reader, chunk[:n])
		if err != nil {
			return
		}
		if _, err := client.Write(answers); err != nil {
			return
		}
	}
}

// pass gives Varnish one batch, counts a change that it makes, and returns all
// answers.
func (s *Site) pass(ctx context.Context, server io.Writer, reader io.Reader, batch []byte) (answers []byte, err error) {
	err = s.counted(ctx, func() error {
		if _, err := server.Write(batch); err != nil {
			return err
		}
		for range strings.Count(string(batch), "\n") {
			_, _, raw, err := realvarnish.ReadAnswer(reader)
			if err != nil {
				return err
			}
			answers = append(answers, raw...)
		}
		return nil
	})
	return answers, err
}

// counted counts a change that a function makes.
func (s *Site) counted(ctx context.Context, do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.pointed(ctx)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after, err := s.pointed(ctx)
	if err == nil && before != after {
		s.changes++
	}
	return err
}

// Do gives Varnish commands past the gate's clients and counts each change.
func (s *Site) Do(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if err := s.counted(ctx, func() error {
			_, err := s.Ask(ctx, command)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// pointed is the VCL that the label points to.
func (s *Site) pointed(ctx context.Context) (string, error) {
	answers, err := s.Ask(ctx, "vcl.list -j")
	if err != nil {
		return "", err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(answers[0]), &parts); err != nil {
		return "", fmt.Errorf("read the list of VCLs: %w", err)
	}
	for _, part := range parts[3:] {
		var p struct {
			Name  string `json:"name"`
			Label struct {
				Name string `json:"name"`
			} `json:"label"`
		}
		if err := json.Unmarshal(part, &p); err != nil {
			return "", fmt.Errorf("read the list of VCLs: %w", err)
		}
		if p.Name == s.Label {
			return p.Label.Name, nil
		}
	}
	return "none", nil
}

// State is the VCL that the label points to, read past the driver.
func (s *Site) State(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pointed(ctx)
}

// Changes counts the changes of the label that were ever made.
func (s *Site) Changes(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes, nil
}

// Gate is where the gate listens, as host:port.
func (s *Site) Gate() string { return s.address }

// System is the configuration of a connection at an address. Varnish knows no lesser
// credential.
func (s *Site) System(address string, _ drivertest.Credential) driver.System {
	return System(map[string]any{
		"address": address, "secret_file": s.SecretFile,
		"names": []map[string]string{{"target": "label/" + s.Label, "layout": Layout}},
		"bans":  []map[string]string{{"name": "site", "expression": "obj.http.x-site == " + s.Label}},
	})
}

// System is a configuration.
func System(settings map[string]any) driver.System {
	return driver.System{Name: "cache", Type: "varnish", Decode: drivertest.Settings(settings)}
}
