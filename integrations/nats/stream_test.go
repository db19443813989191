package nats

import (
	"encoding/json"
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
	"github.com/backout/backout/workflows/incident"
)

// queue is a server with a stream, a user who may do anything, and one with exactly the
// rights that the collector asks for.
type queue struct {
	js        jetstream.JetStream
	collector driver.Collector
}

func newQueue(t *testing.T) *queue {
	t.Helper()
	dir := t.TempDir()
	const password = "canary-of-the-queue"
	rights := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.STREAM.INFO.ORDERS", "$JS.API.CONSUMER.LIST.ORDERS", "$JS.API.STREAM.INFO.GONE"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_BACKOUT.>"}},
	}
	running, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir,
		Users: []*server.User{{Username: "admin", Password: "admin"}, {Username: "backout", Password: password, Permissions: rights}},
	})
	require.NoError(t, err)
	running.Start()
	t.Cleanup(func() {
		running.Shutdown()
		running.WaitForShutdown()
	})
	require.True(t, running.ReadyForConnections(time.Minute))
	client, err := nats.Connect(running.ClientURL(), nats.UserInfo("admin", "admin"))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	q := &queue{}
	q.js, err = jetstream.New(client)
	require.NoError(t, err)
	_, err = q.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Storage: jetstream.MemoryStorage, MaxMsgs: 1000})
	require.NoError(t, err)
	file := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(file, []byte(password), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "broker", Type: systemType, Decode: drivertest.Settings(Settings{
		URL: "nats://" + running.Addr().String(), User: "backout", PasswordFile: file, InboxPrefix: "_BACKOUT",
	})}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	q.collector, err = set.Collector(streamKind, "broker")
	require.NoError(t, err)
	return q
}

func (q *queue) collect(t *testing.T, path string, params map[string]string) (capturedStream, string, error) {
	t.Helper()
	docs, err := q.collector.Collect(t.Context(), driver.CollectRequest{Target: incident.Target{System: "broker", Path: path}, Params: params})
	if err != nil {
		return capturedStream{}, "", err
	}
	require.Len(t, docs, 1)
	require.Equal(t, "nats.stream ORDERS", docs[0].Name)
	var got capturedStream
	require.NoError(t, json.Unmarshal(docs[0].Content, &got))
	return got, string(docs[0].Content), nil
}

// TestStream has one consumer that is ahead and one that is behind, and sees which is
// which, with no more rights than the collector asks for.
func TestStream(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for n := range 10 {
		_, err := q.js.Publish(t.Context(), "orders.new", fmt.Appendf(nil, "secret-order-%d", n))
		require.NoError(t, err)
	}
	for _, name := range []string{"ahead", "behind"} {
		_, err := q.js.CreateConsumer(t.Context(), "ORDERS", jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy})
		require.NoError(t, err)
	}
	ahead, err := q.js.Consumer(t.Context(), "ORDERS", "ahead")
	require.NoError(t, err)
	batch, err := ahead.Fetch(8)
	require.NoError(t, err)
	n := 0
	for msg := range batch.Messages() {
		if n++; n <= 5 {
			require.NoError(t, msg.DoubleAck(t.Context()))
		}
	}
	got, raw, err := q.collect(t, "ORDERS", nil)
	require.NoError(t, err)
	require.Equal(t, uint64(10), got.State.Messages)
	require.Equal(t, uint64(10), got.State.LastSeq)
	require.Equal(t, 2, got.State.Consumers)
	require.Equal(t, int64(1000), got.Limits.MaxMsgs)
	require.Len(t, got.Consumers, 2)
	require.Equal(t, "behind", got.Consumers[0].Name, "the fullest comes first")
	require.Equal(t, uint64(10), got.Consumers[0].Pending)
	require.Equal(t, uint64(2), got.Consumers[1].Pending)
	require.Equal(t, 3, got.Consumers[1].Unacked)
	require.Equal(t, uint64(5), got.Consumers[1].Acknowledged)
	require.NotContains(t, raw, "secret-order", "no message is captured")
	require.Empty(t, got.Note)
}

// TestStreamWithManyConsumers shows that all pages are read, and that what is left out
// is said.
func TestStreamWithManyConsumers(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for n := range 300 {
		_, err := q.js.CreateConsumer(t.Context(), "ORDERS", jetstream.ConsumerConfig{Durable: fmt.Sprintf("c%03d", n), FilterSubject: fmt.Sprintf("orders.%d", n), MemoryStorage: true})
		require.NoError(t, err)
	}
	_, err := q.js.Publish(t.Context(), "orders.299", nil)
	require.NoError(t, err)
	got, _, err := q.collect(t, "ORDERS", nil)
	require.NoError(t, err)
	require.Len(t, got.Consumers, keptConsumers)
	require.Equal(t, "c299", got.Consumers[0].Name, "the fullest is on the second page")
	require.Equal(t, "only the 100 consumers with the most pending messages are kept, of 300", got.Note)
}

func TestStreamRefusals(t *testing.T) {
	t.Parallel()
	q := newQueue(t)
	for _, test := range []struct {
		name, path string
		params     map[string]string
		want       error
		says       string
	}{
		{"no name", "", nil, driver.ErrInvalid, "want <stream>"},
		{"a subject", "ORDERS.>", nil, driver.ErrInvalid, "want <stream>"},
		{"a parameter", "ORDERS", map[string]string{"consumer": "a"}, driver.ErrInvalid, "knows no parameter"},
		{"no such stream", "GONE", nil, driver.ErrNotFound, "no such stream"},
		{"no right", "OTHER", nil, driver.ErrDenied, "request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := q.collect(t, test.path, test.params)
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.says)
		})
	}
}
