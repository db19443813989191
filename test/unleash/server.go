package unleash

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/postgres"
)

const (
	// FolderVariable names the environment variable that holds the folder in which
	// "npm ci" was run on this package's package-lock.json.
	FolderVariable = "BACKOUT_TEST_UNLEASH"

	// Command provides what Require asks for, from the root of the repository. It
	// needs Node.js 20 or later and npm.
	Command = `mkdir -p /tmp/backout-unleash && cp test/unleash/package*.json /tmp/backout-unleash && npm ci --ignore-scripts --prefix /tmp/backout-unleash && export ` + FolderVariable + `=/tmp/backout-unleash`

	// Project is the project that every server has.
	Project = "default"
	// Environment is the environment that tests take back. Every server has it.
	Environment = "production"
	// Other is an environment that has to stay as it is. Every server has it too.
	Other = "development"

	// startTimeout bounds the time from start to ready, with all migrations of the
	// database, on a busy machine. It takes 4 seconds on a quiet one.
	startTimeout = 3 * time.Minute
	// poll is the time between two questions to a server that starts.
	poll = 50 * time.Millisecond
	// attempts is how many ports are tried.
	attempts = 5
)

// Server is a running server.
type Server struct {
	// Host and Port are where it listens.
	Host string
	Port int

	token string
	http  *http.Client
	// mu guards db, which does one thing at a time.
	mu sync.Mutex
	db *pgx.Conn
	// stdin is kept because a pipe that is collected is closed, and the server ends
	// with it.
	stdin io.Closer
}

// supervise runs the server until the standard input ends, which is when the test
// process does. A shell gives background commands an empty standard input, so that
// it is kept under another number.
const supervise = `exec 3<&0
node "$1" 3<&- & server=$!
(cat <&3 >/dev/null; kill -KILL $server) &
exec 3<&-
wait $server`

// shared is the one server of this process, and ends with it.
var (
	sharedOnce sync.Once
	shared     *Server
	errShared  error
)

// Require returns the server of this test process and starts it at the first call.
// Where Unleash is not installed the test is skipped with Command, or fails where
// CI is set.
func Require(tb testing.TB) *Server {
	tb.Helper()
	folder := os.Getenv(FolderVariable)
	if folder == "" {
		const missing = "needs an Unleash server; this gives one: " + Command
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	database := postgres.Require(tb)
	sharedOnce.Do(func() { shared, errShared = start(folder, database) })
	require.NoError(tb, errShared)
	return shared
}

// start makes a database and starts a server on it.
func start(folder string, database *postgres.Server) (*Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	name := postgres.Name("unleash")
	first, err := pgx.Connect(ctx, database.URL(postgres.Admin, database.AdminPassword(), "postgres"))
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	_, err = first.Exec(ctx, "CREATE DATABASE "+name)
	if err := errors.Join(err, first.Close(ctx)); err != nil {
		return nil, fmt.Errorf("make database: %w", err)
	}
	address := database.URL(postgres.Admin, database.AdminPassword(), name)
	s := &Server{Host: "127.0.0.1", token: "*:*." + rand.Text(), http: &http.Client{}}
	if s.db, err = pgx.Connect(ctx, address); err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	var tried []error
	for range attempts {
		if err := s.serve(ctx, folder, address); err != nil {
			tried = append(tried, err)
			continue
		}
		return s, nil
	}
	return nil, errors.Join(tried...)
}

// serve starts the server on a free port and waits until it answers.
func (s *Server) serve(ctx context.Context, folder, database string) error {
	listener, err := net.Listen("tcp", s.Host+":0")
	if err != nil {
		return fmt.Errorf("find port: %w", err)
	}
	s.Port = listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return fmt.Errorf("find port: %w", err)
	}
	program := filepath.Join(folder, "node_modules", "unleash-server", "dist", "server.js")
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("find server: %w; this gives one: %s", err, Command)
	}
	server := exec.Command("/bin/sh", "-c", supervise, "sh", program) // It outlives every test.
	server.Dir = folder
	server.Env = []string{
		"PATH=" + os.Getenv("PATH"), "NODE_ENV=production", "LOG_LEVEL=fatal",
		"HTTP_HOST=" + s.Host, "HTTP_PORT=" + strconv.Itoa(s.Port),
		"DATABASE_URL=" + strings.TrimSuffix(database, "?sslmode=disable"), "DATABASE_SSL=false",
		"INIT_ADMIN_API_TOKENS=" + s.token, "CHECK_VERSION=false", "SEND_TELEMETRY=false",
	}
	stdin, err := server.StdinPipe()
	if err != nil {
		return fmt.Errorf("open standard input of the server: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := s.Call(ctx, http.MethodGet, "/api/admin/user", nil, nil)
		if err == nil {
			s.stdin = stdin
			return nil
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

// Address is where the server listens, as host:port.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Call makes a request with all rights. A body that is not nil is sent as JSON, and
// the answer is decoded into what is not nil.
func (s *Server) Call(ctx context.Context, method, path string, body, into any) error {
	return s.CallAs(ctx, s.token, method, path, body, into)
}

// CallAs is Call with the rights of a token.
func (s *Server) CallAs(ctx context.Context, token, method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		content, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		sent = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.Address()+path, sent)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := s.http.Do(request)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	content, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: answered %d: %s", method, path, answer.StatusCode, content)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s %s: decode answer: %w", method, path, err)
	}
	return nil
}

// AdminToken is the token that Call uses.
func (s *Server) AdminToken() string { return s.token }

// The root roles that every installation has.
const (
	administrator = 1
	viewer        = 3
)

// Administrator makes a user with all rights and returns a personal access token of
// it: some requests are not open to the token that Call uses.
func (s *Server) Administrator(tb testing.TB) (token string) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, token = s.user(tb, administrator)
	return token
}

// User makes a user that may read everything and has the given permissions in
// Project and Environment, and returns a personal access token of it. Roles of one's
// own can be made in the paid edition only, which is why this is done in the
// database; both editions honour them.
func (s *Server) User(tb testing.TB, permissions ...string) (token string) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	user, token := s.user(tb, viewer)
	role := s.insert(tb, `INSERT INTO roles (name, description, type) VALUES ($1, '', 'custom') RETURNING id`, "role-"+rand.Text())
	for _, permission := range permissions {
		s.insert(tb, `INSERT INTO role_permission (role_id, permission, environment) VALUES ($1, $2, $3) RETURNING id`, role, permission, Environment)
	}
	s.insert(tb, `INSERT INTO role_user (role_id, user_id, project) VALUES ($1, $2, $3) RETURNING role_id`, role, user, Project)
	return token
}

// user makes a user with a root role. The lock is held.
func (s *Server) user(tb testing.TB, rootRole int) (id int, token string) {
	tb.Helper()
	name := "user-" + strings.ToLower(rand.Text()[:12])
	token = "user:canary-" + rand.Text()
	id = s.insert(tb, `INSERT INTO users (name, username, password_hash) VALUES ($1, $1, 'none') RETURNING id`, name)
	s.insert(tb, `INSERT INTO role_user (role_id, user_id, project) VALUES ($1, $2, 'default') RETURNING role_id`, rootRole, id)
	s.insert(tb, `INSERT INTO personal_access_tokens (secret, description, user_id, expires_at) VALUES ($1, 'test', $2, now() + interval '1 day') RETURNING id`, token, id)
	return id, token
}

// insert makes a row and returns its number. The lock is held.
func (s *Server) insert(tb testing.TB, statement string, values ...any) (id int) {
	tb.Helper()
	require.NoError(tb, s.db.QueryRow(tb.Context(), statement, values...).Scan(&id))
	return id
}

// Events runs a statement on the table of events, such as one that forgets old ones
// as a retention job does.
func (s *Server) Events(tb testing.TB, statement string, args ...any) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.db.Exec(tb.Context(), statement, args...)
	require.NoError(tb, err)
}
