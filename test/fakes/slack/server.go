package fakeslack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is one running workspace. Its methods may be called from many goroutines.
type Server struct {
	opts     Options
	listener net.Listener
	http     *http.Server
	client   *http.Client

	// lifetime ends with Close; background deliveries hang on it.
	lifetime context.Context //nolint:containedctx // The server owns its background work.
	stop     context.CancelFunc
	work     sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{}
	world    world
	urls     RequestURLs
	faults   map[string][]*Fault
	calls    []Call
	limiter  limiter
	revoked  map[string]bool
	triggers map[string]*trigger
	replies  map[string]*responseURL
	views    views
	uploads  map[string]*upload
	sockets  sockets
	failures []Failure
}

// Start opens the workspace and serves it until Close.
func Start(ctx context.Context, opts Options) (*Server, error) {
	opts = opts.withDefaults()
	if err := opts.check(); err != nil {
		return nil, err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", opts.Addr, err)
	}
	lifetime, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{
		opts:     opts,
		listener: listener,
		client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, CheckRedirect: noRedirect},
		lifetime: lifetime,
		stop:     stop,
		changed:  make(chan struct{}),
		world:    newWorld(opts),
		faults:   map[string][]*Fault{},
		limiter:  newLimiter(opts.Limits),
		revoked:  map[string]bool{},
		triggers: map[string]*trigger{},
		replies:  map[string]*responseURL{},
		views:    newViews(),
		uploads:  map[string]*upload{},
		sockets:  newSockets(),
	}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	s.work.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			opts.Logger.Error("serve workspace", "error", err)
		}
	})
	return s, nil
}

// noRedirect keeps a signed request from being carried elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/{method}", s.serveAPI)
	mux.HandleFunc("POST /response/{id}", s.serveResponseURL)
	mux.HandleFunc("POST /upload/{id}", s.serveUpload)
	mux.HandleFunc("GET /files/{id}/{name}", s.serveFile)
	mux.HandleFunc("GET /files/{user}/{id}/{name}", s.serveFile)
	mux.HandleFunc("GET "+privateFiles+"{id}/download/{name}", s.servePrivateFile)
	mux.HandleFunc("GET "+signIn, s.serveSignIn)
	mux.HandleFunc("GET /link/", s.serveSocket)
	s.routePage(mux)
	return mux
}

// Close ends all connections and background deliveries, and waits for them.
func (s *Server) Close() error {
	s.stop()
	s.closeSockets()
	err := s.http.Close()
	s.work.Wait()
	s.client.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("close workspace: %w", err)
	}
	return nil
}

// URL is the address of the page, without a trailing slash.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// APIURL is what slack.OptionAPIURL takes, with its trailing slash.
func (s *Server) APIURL() string { return s.URL() + "/api/" }

// BotToken is what the app calls the Web API with.
func (s *Server) BotToken() string { return s.opts.BotToken }

// AppToken is the app-level token for Socket Mode.
func (s *Server) AppToken() string { return s.opts.AppToken }

// SigningSecret is what deliveries are signed with.
func (s *Server) SigningSecret() string { return s.opts.SigningSecret }

// BotUserID is the user ID that mentions of the app carry.
func (s *Server) BotUserID() string { return s.opts.BotUserID }

// notify wakes everybody who waits for a change. The caller holds the lock.
func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of the workspace.
func (s *Server) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// WaitFor returns nil as soon as condition holds. It looks again after each change
// and gives up with the context's error. The condition may call the server.
func (s *Server) WaitFor(ctx context.Context, condition func() bool) error {
	for {
		changed := s.Changed()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the workspace: %w", ctx.Err())
		}
	}
}
