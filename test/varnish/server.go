package varnish

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// Variable names the environment variable with the path of varnishd, where it is
	// not found by its name.
	Variable = "BACKOUT_TEST_VARNISH"
	// Command provides what Require asks for on Debian.
	Command = "apt-get install -y --no-install-recommends varnish gcc libc6-dev"

	// startTimeout bounds the time from start to ready, on a busy machine.
	startTimeout = time.Minute
	// poll is the time between two looks at whether a process is ready.
	poll = 20 * time.Millisecond
	// askTimeout bounds one batch of commands.
	askTimeout = 30 * time.Second
	// attempts is how many ports are tried.
	attempts = 5
	// headerLength is that of "<status> <length>\n", padded to a fixed width.
	headerLength = 13
	// StatusOK is the status of a command that did its work.
	StatusOK = 200
)

// Server is a running Varnish.
type Server struct {
	// Address is the management port, as host:port.
	Address string
	// Secret is what the management port knows, and SecretFile its file.
	Secret, SecretFile string
	// Folder is that of the process; files of tests may be put there.
	Folder string

	// stdin ends with the test process, and the server with it.
	stdin io.Closer
}

// supervise runs the server until the standard input ends, which is when the test
// process does, and takes the folder away.
const supervise = `exec 3<&0
"$1" -n "$2/work" -j none -F -T "$3" -S "$2/secret" -a "$2/http.sock" -f "$2/boot.vcl" -s malloc,2M -p vsl_space=1M -p vcc_allow_inline_c=off >"$2/log" 2>&1 3<&- & server=$!
(cat <&3 >/dev/null; : >"$2/stop"; kill "$server") &
exec 3<&-
wait "$server"
if [ -e "$2/stop" ]; then rm -rf "$2"; fi`

// boot is what Varnish starts with.
const boot = "vcl 4.1;\nbackend default none;\nsub vcl_recv { return (synth(200, \"boot\")); }\n"

// Program is the path of varnishd. Where it is not installed the test is skipped with
// Command, or fails where CI is set.
func Program(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv(Variable); path != "" {
		return path
	}
	for _, name := range []string{"varnishd", "/usr/sbin/varnishd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "needs Varnish; this gives it: " + Command
	if os.Getenv("CI") != "" {
		tb.Fatal(missing)
	}
	tb.Skip(missing)
	return ""
}

var (
	once   sync.Once
	server *Server
	failed error
)

// Require returns the server of this test process and starts it at the first call.
// What tests put in use has to be their own: labels, or the active VCL in one test.
func Require(tb testing.TB) *Server {
	tb.Helper()
	program := Program(tb)
	once.Do(func() {
		for range attempts {
			if server, failed = start(program); failed == nil {
				return
			}
		}
	})
	require.NoError(tb, failed)
	return server
}

func start(program string) (*Server, error) {
	folder, err := os.MkdirTemp("", "backout-varnish-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	s := &Server{Folder: folder, Secret: "canary-" + rand.Text(), SecretFile: filepath.Join(folder, "secret")}
	if err := errors.Join(os.WriteFile(s.SecretFile, []byte(s.Secret+"\n"), 0o600), os.WriteFile(filepath.Join(folder, "boot.vcl"), []byte(boot), 0o600)); err != nil {
		return nil, fmt.Errorf("write files: %w", err)
	}
	// Varnish can not say which port it was given, so that one that was free is taken.
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	s.Address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, fmt.Errorf("find a port: %w", err)
	}
	process := exec.CommandContext(context.Background(), "/bin/sh", "-c", supervise, "sh", program, folder, s.Address)
	stdin, err := process.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start Varnish: %w", err)
	}
	s.stdin = stdin
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("start Varnish: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = process.Wait() // How it ended is told by its log.
	}()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		answers, err := s.Ask(ctx, "status")
		if err == nil && strings.Contains(answers[0], "running") {
			return s, nil
		}
		select {
		case <-ended:
			said, _ := os.ReadFile(filepath.Join(folder, "log")) // It may have said nothing.
			return nil, fmt.Errorf("varnish ended at its start: %s", said)
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err, stdin.Close())
		case <-time.After(poll):
		}
	}
}

// Ask gives Varnish commands in a session of their own and returns the texts of the
// answers. A command that did not do its work is an error.
func (s *Server) Ask(ctx context.Context, commands ...string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to Varnish: %w", err)
	}
	defer func() { _ = conn.Close() }() // All that was wanted of it has been read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reader := bufio.NewReader(conn)
	_, greeting, _, err := ReadAnswer(reader)
	if err != nil || len(greeting) < 32 {
		return nil, errors.Join(errors.New("varnish sends no challenge"), err)
	}
	sum := sha256.Sum256([]byte(greeting[:32] + "\n" + s.Secret + "\n" + greeting[:32] + "\n"))
	var texts []string
	for n, command := range append([]string{"auth " + hex.EncodeToString(sum[:])}, commands...) {
		if _, err := io.WriteString(conn, command+"\n"); err != nil {
			return nil, fmt.Errorf("ask Varnish: %w", err)
		}
		status, text, _, err := ReadAnswer(reader)
		if err != nil {
			return nil, fmt.Errorf("ask Varnish: %w", err)
		}
		if status != StatusOK {
			return nil, fmt.Errorf("varnish answers %d to command %d: %s", status, n, text)
		}
		if n > 0 {
			texts = append(texts, text)
		}
	}
	return texts, nil
}

// ReadAnswer reads one answer of the management port, and returns it also as it came.
func ReadAnswer(reader io.Reader) (status int, text string, raw []byte, err error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(reader, header); err != nil {
		return 0, "", nil, err
	}
	fields := strings.Fields(string(header))
	if len(fields) != 2 {
		return 0, "", nil, errors.New("malformed answer")
	}
	status, statusErr := strconv.Atoi(fields[0])
	length, lengthErr := strconv.Atoi(fields[1])
	if err := errors.Join(statusErr, lengthErr); err != nil {
		return 0, "", nil, err
	}
	body := make([]byte, length+1)
	if _, err := io.ReadFull(reader, body); err != nil {
		return 0, "", nil, err
	}
	return status, string(body[:length]), append(header, body...), nil
}

// Load loads a VCL under a name.
func (s *Server) Load(ctx context.Context, name, source string) error {
	_, err := s.Ask(ctx, "vcl.inline "+name+" << BACKOUT_END\n"+source+"\nBACKOUT_END")
	return err
}
