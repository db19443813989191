package shop

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The bucket that holds the release pointers, and how many revisions of each
// it keeps.
const (
	Bucket        = "releases"
	bucketHistory = 16
)

// natsReady is how long the embedded server may take to start.
const natsReady = 10 * time.Second

// Releases is an embedded nats-server whose bucket says which release each
// service runs.
type Releases struct {
	server  *server.Server
	conn    *nats.Conn
	js      jetstream.JetStream
	watcher jetstream.KeyWatcher
}

// OpenReleases starts the server with its files in a folder.
func OpenReleases(ctx context.Context, dir string) (*Releases, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName: "shop", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, fmt.Errorf("start nats-server: %w", err)
	}
	go srv.Start()
	r := &Releases{server: srv}
	if !srv.ReadyForConnections(natsReady) {
		return nil, errors.Join(fmt.Errorf("start nats-server: not ready after %s", natsReady), r.Close())
	}
	if r.conn, err = nats.Connect(srv.ClientURL(), nats.Name("shop")); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to nats-server: %w", err), r.Close())
	}
	if r.js, err = jetstream.New(r.conn); err != nil {
		return nil, errors.Join(fmt.Errorf("open JetStream: %w", err), r.Close())
	}
	_, err = r.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: Bucket, History: bucketHistory, Description: "Which release each service runs.",
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create bucket %q: %w", Bucket, err), r.Close())
	}
	return r, nil
}

// URL is where the server listens.
func (r *Releases) URL() string { return r.server.ClientURL() }

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

// Pointed is the release that a service is pointed at.
func (r *Releases) Pointed(ctx context.Context, service string) (string, error) {
	kv, err := r.js.KeyValue(ctx, Bucket)
	if err != nil {
		return "", fmt.Errorf("read release of %s: %w", service, err)
	}
	e, err := kv.Get(ctx, service)
	if err != nil {
		return "", fmt.Errorf("read release of %s: %w", service, err)
	}
	return string(e.Value()), nil
}

// Follow makes the services run what the bucket says, until it is closed.
func (r *Releases) Follow(ctx context.Context, s *Shop) error {
	kv, err := r.js.KeyValue(ctx, Bucket)
	if err != nil {
		return fmt.Errorf("watch releases: %w", err)
	}
	if r.watcher, err = kv.WatchAll(ctx); err != nil {
		return fmt.Errorf("watch releases: %w", err)
	}
	go func() {
		for e := range r.watcher.Updates() {
			if e == nil {
				continue
			}
			if svc := s.Service(e.Key()); svc != nil {
				svc.Release(string(e.Value()))
			}
		}
	}()
	return nil
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
