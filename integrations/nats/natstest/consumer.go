package natstest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
)

// What a ConsumerServer starts with.
const (
	// Stream and Durable name the consumer of a ConsumerServer.
	Stream  = "ORDERS"
	Durable = "billing"
	// ConsumerLog is its log.
	ConsumerLog = "BACKOUT_CONSUMERS"
	// InFlight is how many messages the consumer may have in flight at first.
	InFlight = 1000
)

// ConsumerServer is a NATS server with a stream, a durable consumer and a consumer
// log, and three users: one that may do everything, one with exactly the permissions
// that "nats.consumer" asks for, and one that lacks the right to change.
type ConsumerServer struct {
	// JetStream is that of the user who may do everything.
	JetStream jetstream.JetStream
	// Passwords are those of all users.
	Passwords []string
	// Config is the configuration of the consumer when it was made.
	Config jetstream.ConsumerConfig

	server *server.Server
	files  map[drivertest.Credential]string
	log    jetstream.Stream
}

// ConsumerLogConfig is the stream that "nats.consumer" needs.
func ConsumerLogConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:      ConsumerLog,
		Subjects:  []string{"$JS.EVENT.ADVISORY.API", "backout.consumer.PAUSE.*.*", "backout.consumer.CREATE.*.*"},
		RePublish: &jetstream.RePublish{Source: "backout.consumer.*.*.*", Destination: "$JS.API.CONSUMER.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"},
		Storage:   jetstream.MemoryStorage,
		MaxAge:    24 * time.Hour,
	}
}

// StartConsumer starts a server on the loopback interface that ends with the test.
func StartConsumer(tb testing.TB, config jetstream.ConsumerConfig) *ConsumerServer {
	tb.Helper()
	dir := tb.TempDir()
	config.Durable, config.AckPolicy, config.MaxAckPending = Durable, jetstream.AckExplicitPolicy, InFlight
	s := &ConsumerServer{Config: config, files: make(map[drivertest.Credential]string)}
	name := Stream + "." + Durable
	read := []string{
		"$JS.API.CONSUMER.INFO." + name,
		"$JS.API.STREAM.INFO." + ConsumerLog,
		"$JS.API.STREAM.MSG.GET." + ConsumerLog,
		"$SYS.REQ.USER.INFO",
	}
	write := append([]string{"backout.consumer.PAUSE." + name, "backout.consumer.CREATE." + name}, read...)
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
	s.log, err = s.JetStream.CreateStream(tb.Context(), ConsumerLogConfig())
	require.NoError(tb, err)
	_, err = s.JetStream.CreateStream(tb.Context(), jetstream.StreamConfig{Name: Stream, Subjects: []string{"orders.>"}, Storage: jetstream.MemoryStorage})
	require.NoError(tb, err)
	_, err = s.JetStream.CreateConsumer(tb.Context(), Stream, config)
	require.NoError(tb, err)
	require.NoError(tb, s.recorded(tb.Context(), 0))
	return s
}

// Address is where the server listens, as host:port.
func (s *ConsumerServer) Address() string { return s.server.Addr().String() }

// System is the configuration of a connection to the server at an address.
func (s *ConsumerServer) System(address string, as drivertest.Credential) driver.System {
	user := map[drivertest.Credential]string{drivertest.Owner: owner, drivertest.Reader: reader}[as]
	return driver.System{Name: "broker", Type: "nats", Decode: drivertest.Settings(map[string]string{
		"url": "nats://" + address, "user": user, "password_file": s.files[as], "inbox_prefix": InboxPrefix, "consumer_log": ConsumerLog,
	})}
}

// Throttle changes the consumer as a third party, and waits until the log tells of
// it: the server writes it a moment after its answer.
func (s *ConsumerServer) Throttle(ctx context.Context, inFlight int) error {
	before, err := s.Changes(ctx)
	if err != nil {
		return err
	}
	config := s.Config
	config.MaxAckPending = inFlight
	if _, err := s.JetStream.UpdateConsumer(ctx, Stream, config); err != nil {
		return fmt.Errorf("throttle consumer: %w", err)
	}
	return s.recorded(ctx, before)
}

// Pause pauses or, with a moment that is over, resumes the consumer as a third party.
func (s *ConsumerServer) Pause(ctx context.Context, until time.Time) error {
	before, err := s.Changes(ctx)
	if err != nil {
		return err
	}
	if _, err := s.JetStream.PauseConsumer(ctx, Stream, Durable, until); err != nil {
		return fmt.Errorf("pause consumer: %w", err)
	}
	return s.recorded(ctx, before)
}

func (s *ConsumerServer) recorded(ctx context.Context, before int) error {
	for {
		now, err := s.Changes(ctx)
		if err != nil || now > before {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// Changes counts the calls that changed the consumer.
func (s *ConsumerServer) Changes(ctx context.Context) (int, error) {
	info, err := s.log.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	changes := 0
	for n := max(info.State.FirstSeq, 1); n <= info.State.LastSeq; n++ {
		m, err := s.log.GetMsg(ctx, n)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read log: %w", err)
		}
		var audit struct{ Subject, Response string }
		if json.Unmarshal(m.Data, &audit) != nil || strings.Contains(audit.Response, `"error"`) {
			continue
		}
		for _, call := range []string{"CREATE", "DURABLE.CREATE", "PAUSE", "DELETE"} {
			if audit.Subject == "$JS.API.CONSUMER."+call+"."+Stream+"."+Durable {
				changes++
			}
		}
	}
	return changes, nil
}
