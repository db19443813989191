package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
)

const (
	// DefaultNamespace is the namespace of a server whose options name none.
	DefaultNamespace = "backout"

	// DefaultRetention is how long closed workflows are kept when the options
	// say nothing. Temporal's own default is 24 hours, shorter than most
	// postmortems take.
	DefaultRetention = 30 * 24 * time.Hour

	// MinRetention is the shortest retention that is accepted: as long as a page
	// may be late, so that none begins an incident that was over.
	MinRetention = 7 * 24 * time.Hour

	// UIOff as a UIPort starts no Web UI.
	UIOff = -1

	loopback = "127.0.0.1"
)

// Options say where the server keeps its state and where it listens. Only Dir
// is required.
type Options struct {
	// Dir is the folder of the database files and of the lock. It is created
	// with mode 0700 when it is absent.
	Dir string
	// Namespace is created when it is absent. Empty means DefaultNamespace.
	Namespace string
	// FrontendPort is the loopback port for gRPC. 0 picks a free one.
	FrontendPort int
	// UIPort is the loopback port of the Web UI. 0 picks a free one, UIOff
	// starts none.
	UIPort int
	// UICodec returns the handler that decodes payloads for the Web UI, given
	// the UI's own origin, for example "http://127.0.0.1:8233". The server
	// listens for it on a free loopback port. Nil leaves payloads encoded.
	UICodec func(origin string) (http.Handler, error)
	// Retention is how long closed workflows are kept, at least MinRetention.
	// 0 means DefaultRetention. It is applied to an existing namespace too.
	Retention time.Duration
	// Synchronous is what a commit survives. The zero value is SyncFull.
	Synchronous Synchronous
	// Logger receives the server's warnings and errors; what it says below
	// warning level is dropped. Nil means slog.Default().
	Logger *slog.Logger
	// SearchAttributes are the custom search attributes by name. Missing ones
	// are added; one that exists with another type is an error.
	SearchAttributes map[string]enumspb.IndexedValueType
}

// Server is a running embedded Temporal server.
type Server struct {
	address   string
	uiAddress string
	closers   []func() error

	stopOnce sync.Once
	stopErr  error
}

// Start starts the server and returns when it answers, the namespace exists
// with its retention, and the search attributes can be used. The context
// bounds the start alone; the server runs until Stop.
//
// The error is an *InUseError when another process holds the folder and a
// *DatabaseError when the file in it cannot be used.
func Start(ctx context.Context, opts Options) (_ *Server, err error) {
	opts, err = opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create temporal folder %q: %w", opts.Dir, err)
	}

	s := &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()

	lock, err := acquireLock(filepath.Join(opts.Dir, lockFile))
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, lock.release)

	ports, err := pickPorts(ctx, opts.FrontendPort)
	if err != nil {
		return nil, err
	}
	s.address = ports.address(ports.frontend)
	if err := lock.describe(s.address); err != nil {
		return nil, err
	}

	files := newFiles(opts.Dir, opts.Synchronous)
	if err := files.prepare(ctx); err != nil {
		return nil, err
	}
	if err := files.executions.createNamespace(opts); err != nil {
		return nil, err
	}
	logger := newLogger(opts.Logger)
	if err := s.startTemporal(ctx, files, ports, logger); err != nil {
		return nil, err
	}

	c, err := client.DialContext(ctx, client.Options{
		HostPort:  s.address,
		Namespace: opts.Namespace,
		Logger:    log.NewSdkLogger(logger),
	})
	if err != nil {
		return nil, fmt.Errorf("dial embedded temporal at %q: %w", s.address, err)
	}
	defer c.Close()
	if err := alignNamespace(ctx, c, opts); err != nil {
		return nil, err
	}
	if opts.UIPort != UIOff {
		if err := s.startUI(ctx, opts); err != nil {
			return nil, err
		}
	}
	logger.unsettled.Store(false)
	return s, nil
}

// Address is the gRPC address of the frontend, for example "127.0.0.1:7233".
func (s *Server) Address() string { return s.address }

// UIAddress is the host and port of the Web UI, or empty when it is off.
func (s *Server) UIAddress() string { return s.uiAddress }

// Stop stops the Web UI and the server and releases the folder. Workflows stay
// in the file and go on after the next Start. It may be called several times;
// every call returns the result of the first.
func (s *Server) Stop() error {
	s.stopOnce.Do(func() {
		for _, closer := range slices.Backward(s.closers) {
			s.stopErr = errors.Join(s.stopErr, closer())
		}
	})
	return s.stopErr
}

func (s *Server) startTemporal(ctx context.Context, files files, ports ports, adapter *logger) error {
	server, err := temporal.NewServer(
		temporal.WithConfig(serverConfig(files, ports)),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(ports.staticHosts()),
		temporal.WithLogger(adapter),
		temporal.WithNamespaceLogger(adapter),
		temporal.WithDynamicConfigClient(dynamicConfig(ports)),
		temporal.WithAuthorizer(browserGuard{}),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
			return authorization.NewNoopClaimMapper()
		}),
	)
	if err != nil {
		return fmt.Errorf("compose embedded temporal: %w", err)
	}
	// The checkpoints run after the server is down and before the lock goes.
	s.closers = append(s.closers, files.executions.checkpoint, files.visibility.checkpoint)

	started := make(chan error, 1)
	go func() { started <- server.Start() }()
	stop := func() error {
		adapter.unsettled.Store(true)
		if err := server.Stop(); err != nil {
			return fmt.Errorf("stop embedded temporal: %w", err)
		}
		return nil
	}
	select {
	case err := <-started:
		if err != nil {
			return fmt.Errorf("start embedded temporal: %w", errors.Join(err, stop()))
		}
	case <-ctx.Done():
		// The server cannot be stopped halfway: wait for it, then stop it.
		err := <-started
		return fmt.Errorf("start embedded temporal: %w", errors.Join(ctx.Err(), err, stop()))
	}
	s.closers = append(s.closers, stop)
	return nil
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("start embedded temporal: no data folder given")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, fmt.Errorf("resolve temporal folder %q: %w", o.Dir, err)
	}
	o.Dir = dir
	if o.Namespace == "" {
		o.Namespace = DefaultNamespace
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.Retention < MinRetention {
		return o, fmt.Errorf("start embedded temporal: retention %s is shorter than %s", o.Retention, MinRetention)
	}
	if o.Synchronous == 0 {
		o.Synchronous = SyncFull
	}
	if !o.Synchronous.valid() {
		return o, fmt.Errorf("start embedded temporal: unknown synchronous setting %d", o.Synchronous)
	}
	if o.FrontendPort < 0 || o.FrontendPort > maxPort {
		return o, fmt.Errorf("start embedded temporal: frontend port %d is not a port", o.FrontendPort)
	}
	if o.UIPort < UIOff || o.UIPort > maxPort {
		return o, fmt.Errorf("start embedded temporal: web ui port %d is not a port", o.UIPort)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// listenLoopback listens on a loopback port; 0 lets the kernel choose.
func listenLoopback(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", net.JoinHostPort(loopback, fmt.Sprint(port)))
	if err != nil {
		return nil, fmt.Errorf("listen on loopback port %d: %w", port, err)
	}
	return l, nil
}
