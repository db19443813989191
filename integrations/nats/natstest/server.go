package natstest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
)

// startTimeout bounds the start of a server, which takes milliseconds.
const startTimeout = 20 * time.Second

// InboxPrefix is the prefix that the users of a Server may receive answers under.
const InboxPrefix = "_INBOX_backout"

// Server is a NATS server with one bucket and three users: one that may do
// everything, one with exactly the permissions that "nats.kv" asks for, and one
// that lacks the right to write.
type Server struct {
	// Bucket is the name of the bucket.
	Bucket string
	// KV is the bucket as the user that may do everything sees it.
	KV jetstream.KeyValue
	// JetStream is the same user's.
	JetStream jetstream.JetStream
	// Passwords are those of all users.
	Passwords []string

	server *server.Server
	files  map[drivertest.Credential]string
}

// The names of the users of a Server.
const (
	admin  = "admin"
	owner  = "owner"
	reader = "reader"
)

// Start starts a server on the loopback interface that ends with the test.
func Start(tb testing.TB, bucket jetstream.KeyValueConfig) *Server {
	tb.Helper()
	dir := tb.TempDir()
	s := &Server{Bucket: bucket.Bucket, files: make(map[drivertest.Credential]string)}
	read := []string{
		"$JS.API.STREAM.INFO.KV_" + bucket.Bucket,
		"$JS.API.STREAM.MSG.GET.KV_" + bucket.Bucket,
		"$SYS.REQ.USER.INFO",
	}
	write := append([]string{"$KV." + bucket.Bucket + ".>"}, read...)
	answers := &server.SubjectPermission{Allow: []string{InboxPrefix + ".>"}}
	password := func(as drivertest.Credential) string {
		secret := "canary-" + rand.Text()
		s.Passwords = append(s.Passwords, secret)
		file := filepath.Join(dir, fmt.Sprintf("password-%d", as))
		require.NoError(tb, os.WriteFile(file, []byte(secret+"\n"), 0o600))
		s.files[as] = file
		return secret
	}
	adminPassword := rand.Text()
	running, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir,
		Users: []*server.User{
			{Username: admin, Password: adminPassword},
			{Username: owner, Password: password(drivertest.Owner), Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: write}, Subscribe: answers}},
			{Username: reader, Password: password(drivertest.Reader), Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: read}, Subscribe: answers}},
		},
	})
	require.NoError(tb, err)
	running.Start()
	tb.Cleanup(func() {
		running.Shutdown()
		running.WaitForShutdown()
	})
	require.True(tb, running.ReadyForConnections(startTimeout), "the server did not start")
	s.server = running

	client, err := nats.Connect(running.ClientURL(), nats.UserInfo(admin, adminPassword))
	require.NoError(tb, err)
	tb.Cleanup(client.Close)
	s.JetStream, err = jetstream.New(client)
	require.NoError(tb, err)
	bucket.Storage = jetstream.MemoryStorage
	s.KV, err = s.JetStream.CreateKeyValue(tb.Context(), bucket)
	require.NoError(tb, err)
	return s
}

// Address is where the server listens, as host:port.
func (s *Server) Address() string { return s.server.Addr().String() }

// System is the configuration of a connection to the server at an address.
func (s *Server) System(address string, as drivertest.Credential) driver.System {
	user := map[drivertest.Credential]string{drivertest.Owner: owner, drivertest.Reader: reader}[as]
	return driver.System{Name: "config", Type: "nats", Decode: drivertest.Settings(map[string]string{
		"url": "nats://" + address, "user": user, "password_file": s.files[as], "inbox_prefix": InboxPrefix,
	})}
}

// Put writes a value and returns its revision.
func (s *Server) Put(tb testing.TB, key, value string) uint64 {
	tb.Helper()
	revision, err := s.KV.PutString(tb.Context(), key, value)
	require.NoError(tb, err)
	return revision
}

// Writes counts all writes that the bucket ever took.
func (s *Server) Writes(ctx context.Context) (int, error) {
	stream, err := s.JetStream.Stream(ctx, "KV_"+s.Bucket)
	if err != nil {
		return 0, fmt.Errorf("read stream: %w", err)
	}
	return int(stream.CachedInfo().State.LastSeq), nil
}
