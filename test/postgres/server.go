package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

const (
	// FolderVariable names the environment variable that holds the folder with
	// PostgreSQL's programs, where it is not one of Debian's.
	FolderVariable = "BACKOUT_TEST_POSTGRES"

	// Command provides what Require asks for on Debian.
	Command = "apt-get install -y --no-install-recommends postgresql"

	// Admin is the superuser.
	Admin = "admin"

	// startTimeout bounds the time from start to ready, on a busy machine.
	startTimeout = 2 * time.Minute
	// poll is the time between two attempts to connect to a server that starts.
	poll = 20 * time.Millisecond
	// room is what a cluster needs with all the databases of a test run, in bytes.
	room = 4 << 30
	// attempts is how many ports are tried.
	attempts = 5
)

// Server is a running server.
type Server struct {
	// Host and Port are where it listens.
	Host string
	Port int
	// Programs is the folder with psql, pg_dump and pg_restore.
	Programs string

	password string
	// stdin is kept because a pipe that is collected is closed, and the server
	// ends with it.
	stdin io.Closer
}

// supervise runs the server until the standard input ends, which is when the test
// process does, and takes the folder away. A shell gives background commands an
// empty standard input, so that it is kept under another number.
const supervise = `exec 3<&0
"$1/postgres" -D "$2/data" -c port="$3" 2>"$2/log" 3<&- & server=$!
(cat <&3 >/dev/null; : >"$2/stop"; kill -INT $server) &
exec 3<&-
wait $server
if [ -e "$2/stop" ]; then rm -rf "$2"; fi`

// settings are those of a server whose data need not outlive it.
const settings = `listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
max_wal_senders = 0
wal_level = minimal
track_commit_timestamp = on
password_encryption = 'scram-sha-256'
log_min_messages = fatal
`

// shared is the one server of this process, and ends with it.
var shared = sync.OnceValues(start)

// Require returns the server of this test process and starts it at the first call.
// Where PostgreSQL is not installed the test is skipped with Command, or fails where
// CI is set.
func Require(tb testing.TB) *Server {
	tb.Helper()
	if programs() == "" {
		const missing = "needs the programs of PostgreSQL; this gives them: " + Command
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	server, err := shared()
	require.NoError(tb, err)
	return server
}

// programs is the folder with the newest programs; empty when there is none.
func programs() string {
	if folder := os.Getenv(FolderVariable); folder != "" {
		return folder
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // The pattern is good.
	if len(found) == 0 {
		return ""
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // Other names come first.
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1])
}

// start makes a cluster and starts its server.
func start() (*Server, error) {
	credential, owner, err := nobody()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(memory(), "backout-postgres-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	s := &Server{Host: "127.0.0.1", Programs: programs(), password: rand.Text()}
	passwordFile := filepath.Join(dir, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write password: %w", err)
	}
	if credential != nil {
		for _, path := range []string{dir, passwordFile} {
			if err := os.Chown(path, int(owner.uid), int(owner.gid)); err != nil {
				return nil, fmt.Errorf("give folder away: %w", err)
			}
		}
	}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(name, args...)
		c.Dir, c.Env = dir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		return c
	}
	data := filepath.Join(dir, "data")
	initdb := command(filepath.Join(s.Programs, "initdb"), "-D", data, "-U", Admin, "--pwfile", passwordFile, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	if said, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make cluster: %w: %s", err, bytes.TrimSpace(said))
	}
	if err := appendTo(filepath.Join(data, "postgresql.conf"), settings); err != nil {
		return nil, err
	}
	var tried []error
	for range attempts {
		if err := s.serve(command, dir); err != nil {
			tried = append(tried, err)
			continue
		}
		return s, nil
	}
	return nil, errors.Join(tried...)
}

// memory is a folder that is kept in memory and has room for a cluster, in which
// databases are made five times as fast; empty where there is none.
func memory() string {
	const folder = "/dev/shm"
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil || uint64(fs.Bavail)*uint64(fs.Bsize) < room {
		return ""
	}
	return folder
}

// serve starts the server on a free port and waits until it answers.
func (s *Server) serve(command func(name string, args ...string) *exec.Cmd, dir string) error {
	listener, err := net.Listen("tcp", s.Host+":0")
	if err != nil {
		return fmt.Errorf("find port: %w", err)
	}
	s.Port = listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return fmt.Errorf("find port: %w", err)
	}
	server := command("/bin/sh", "-c", supervise, "sh", s.Programs, dir, strconv.Itoa(s.Port))
	stdin, err := server.StdinPipe()
	if err != nil {
		return fmt.Errorf("open standard input of the server: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL(Admin, s.password, "postgres"))
		if err == nil {
			s.stdin = stdin
			return conn.Close(ctx)
		}
		select {
		case err := <-ended:
			return fmt.Errorf("start server on port %d: it ended: %w", s.Port, err)
		case <-ctx.Done():
			_ = stdin.Close() // The server ends with it.
			return fmt.Errorf("start server on port %d: %w", s.Port, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// identity is who runs the server.
type identity struct{ uid, gid uint32 }

// nobody is the credential of a user other than root, where this process is root;
// nil where it is not.
func nobody() (*syscall.Credential, identity, error) {
	if os.Geteuid() != 0 {
		return nil, identity{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, identity{}, fmt.Errorf("look up user %q: %w", name, err)
		}
		who := identity{uid: uint32(uid), gid: uint32(gid)}
		return &syscall.Credential{Uid: who.uid, Gid: who.gid}, who, nil
	}
	return nil, identity{}, errors.New("find a user other than root: there is neither postgres nor nobody")
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return nil
}

// Address is where the server listens, as host:port.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// URL is the address of a database for a user.
func (s *Server) URL(name, password, database string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", name, password, s.Address(), database)
}

// Connect returns a connection of the superuser, which ends with the test.
func (s *Server) Connect(tb testing.TB, database string) *pgx.Conn {
	tb.Helper()
	return s.ConnectAs(tb, Admin, s.password, database)
}

// ConnectAs returns a connection of a user, which ends with the test.
func (s *Server) ConnectAs(tb testing.TB, name, password, database string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), s.URL(name, password, database))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close(context.Background()) }) // It ends with the test either way.
	return conn
}

// AdminPassword is the password of the superuser.
func (s *Server) AdminPassword() string { return s.password }

// Name makes a name that nothing on the server has yet.
func Name(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()[:12]) }
