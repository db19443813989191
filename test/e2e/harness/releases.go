package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is the key-value bucket of release pointers.
const Bucket = "releases"

// The releases of every service.
const (
	OldRelease  = "v40"
	GoodRelease = "v41"
	BadRelease  = "v42"
)

// natsReady is how long the embedded server may take to start.
const natsReady = 20 * time.Second

// Releases is an embedded nats-server whose bucket says which release each
// service runs.
type Releases struct {
	server  *server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	kv      jetstream.KeyValue
	watcher jetstream.KeyWatcher

	mu  sync.Mutex
	now map[string]string
}

func openReleases(ctx context.Context, dir string) (*Releases, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "shop", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, fmt.Errorf("start nats-server: %w", err)
	}
	go srv.Start()
	r := &Releases{server: srv, now: map[string]string{}}
	if !srv.ReadyForConnections(natsReady) {
		return nil, errors.Join(fmt.Errorf("start nats-server: not ready after %s", natsReady), r.Close())
	}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Releases) open(ctx context.Context) error {
	var err error
	if r.conn, err = nats.Connect(r.server.ClientURL()); err != nil {
		return fmt.Errorf("connect to nats-server: %w", err)
	}
	if r.js, err = jetstream.New(r.conn); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if r.kv, err = r.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: Bucket, History: 16}); err != nil {
		return fmt.Errorf("create bucket %q: %w", Bucket, err)
	}
	if r.watcher, err = r.kv.WatchAll(ctx); err != nil {
		return fmt.Errorf("watch bucket %q: %w", Bucket, err)
	}
	go func() {
		for e := range r.watcher.Updates() {
			if e == nil {
				continue
			}
			r.mu.Lock()
			r.now[e.Key()] = string(e.Value())
			r.mu.Unlock()
		}
	}()
	return nil
}

// Address is the host and port of the server.
func (r *Releases) Address() string { return r.server.Addr().String() }

// Ship points a service at a release, as author.
func (r *Releases) Ship(ctx context.Context, service, version, author string) error {
	msg := nats.NewMsg("$KV." + Bucket + "." + service)
	msg.Data = []byte(version)
	msg.Header.Set("Author", author)
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		return fmt.Errorf("ship %s %s: %w", service, version, err)
	}
	return nil
}

// Running is the release that a service follows at this moment.
func (r *Releases) Running(service string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now[service]
}

// History is every value that a service was ever pointed at, oldest first.
func (r *Releases) History(ctx context.Context, service string) ([]string, error) {
	entries, err := r.kv.History(ctx, service)
	if err != nil {
		return nil, fmt.Errorf("read history of %s: %w", service, err)
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = string(e.Value())
	}
	return out, nil
}

// Close ends the connection and the server.
func (r *Releases) Close() error {
	var err error
	if r.watcher != nil {
		err = r.watcher.Stop()
	}
	if r.conn != nil {
		r.conn.Close()
	}
	r.server.Shutdown()
	r.server.WaitForShutdown()
	return err
}
