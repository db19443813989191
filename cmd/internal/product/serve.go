package product

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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/evidence"
	_ "github.com/backout/backout/integrations/install" // The kinds of inverse.
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/worker"
	"github.com/backout/backout/workflows/worker/codec"
)

// maxHeader bounds what one request may send before its body, in bytes.
const maxHeader = 64 << 10

// Role says which part of Backout a process is.
type Role string

// The roles. The bot faces people and webhooks, the worker holds production
// credentials; RoleAll is both.
const (
	RoleBot    Role = "bot"
	RoleWorker Role = "worker"
	RoleAll    Role = "all"
)

// shutdownTimeout bounds the graceful stop: requests and activities in flight
// may end, what does not is picked up by the next process.
const shutdownTimeout = 15 * time.Second

// Temporal is a started Temporal server.
type Temporal struct {
	Address string
	// UI is the address of its Web UI; empty if it has none.
	UI   string
	Stop func() error
}

// StartTemporal starts a Temporal server of one's own. cmd/backout and
// cmd/sandbox bring the embedded one, cmd/backoutd brings none.
type StartTemporal func(ctx context.Context, c Config, codec *codec.Codec, log *slog.Logger) (Temporal, error)

// Options are what a program brings along.
type Options struct {
	Config Config
	Role   Role
	Log    *slog.Logger
	// Start is used when the configuration names no Temporal address; nil
	// makes the address required.
	Start StartTemporal
}

// Server is a running Backout.
type Server struct {
	// Address is where it listens, URL what people's browsers use.
	Address, URL string
	// TemporalUI is the address of Temporal's Web UI, if there is one.
	TemporalUI string
	// Gateway reaches the incidents.
	Gateway *bot.Gateway
	Client  client.Client

	failed  chan error
	closers []func(context.Context) error
}

// Start brings everything up, in the order in which it is needed. The context
// bounds the start and, when it ends, nothing else: call Stop.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	switch o.Role {
	case RoleBot, RoleWorker, RoleAll:
	default:
		return nil, fmt.Errorf("start: %w: unknown role %q, want bot, worker or all", errUsage, o.Role)
	}
	s := &Server{failed: make(chan error, 4), URL: o.Config.URL}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if err := os.MkdirAll(o.Config.Data, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	rules, err := LoadRules(o.Config)
	if err != nil {
		return nil, err
	}
	if o.Role != RoleWorker {
		if err := checkStepUp(o.Config, rules.Policy); err != nil {
			return nil, err
		}
	}
	o.Log.Info("Rules loaded.", "services", len(rules.Catalogue.Services()), "runbooks", len(rules.Runbooks), "policy_digest", rules.Policy.Digest())

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.connect(ctx, o, registry); err != nil {
		return nil, err
	}
	vendors, err := openVendors(o.Config, rules.Catalogue, o.Log)
	if err != nil {
		return nil, err
	}
	signer, trusted, err := decisionKeys(o.Config.Decisions, o.Role)
	if err != nil {
		return nil, err
	}
	if s.Gateway = bot.NewGateway(s.Client, nil); signer != nil {
		s.Gateway = bot.NewGateway(s.Client, signer)
	}
	if o.Role != RoleBot {
		if err := s.startWorker(ctx, o, rules, vendors, trusted, registry); err != nil {
			return nil, err
		}
	}
	if err := s.listen(ctx, o, rules, vendors, registry); err != nil {
		return nil, err
	}
	return s, nil
}

// connect finds or starts Temporal.
func (s *Server) connect(ctx context.Context, o Options, registry *prometheus.Registry) error {
	c := o.Config
	database := filepath.Join(c.Data, TemporalFolder)
	_, statErr := os.Stat(database)
	keys, err := codec.LoadOrCreateKeyFile(c.Temporal.CodecKeyFile, c.Temporal.Address == "" && statErr == nil)
	if err != nil {
		return err
	}
	cdc, err := codec.New(codec.Options{Keys: keys})
	if err != nil {
		return err
	}
	address := c.Temporal.Address
	if address == "" {
		if o.Start == nil {
			return errors.New("start Temporal: this binary brings no server; set temporal.address")
		}
		t, err := o.Start(ctx, c, cdc, o.Log)
		if err != nil {
			return fmt.Errorf("start embedded Temporal: %w", err)
		}
		address, s.TemporalUI = t.Address, t.UI
		s.closers = append(s.closers, func(context.Context) error { return t.Stop() })
	}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithNamespace("temporal"))
	if err != nil {
		return fmt.Errorf("export metrics: %w", err)
	}
	dial := worker.DialOptions{
		Address: address, Namespace: c.Temporal.Namespace, Codec: cdc, Logger: o.Log, Identity: identity(o.Role),
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)).Meter("backout"),
	}
	if c.Temporal.Address != "" {
		if dial.TLS, err = c.Temporal.TLS.load(); err != nil {
			return err
		}
		if c.Temporal.APIKeyFile != "" {
			if dial.APIKey, err = secret("Temporal API key", c.Temporal.APIKeyFile); err != nil {
				return err
			}
		}
	}
	if s.Client, err = worker.Dial(ctx, dial); err != nil {
		return err
	}
	s.closers = append(s.closers, func(context.Context) error { s.Client.Close(); return nil })
	return nil
}

func identity(r Role) string {
	host, _ := os.Hostname()
	return fmt.Sprintf("backout-%s@%s:%d", r, host, os.Getpid())
}

// startWorker opens what holds production credentials, and begins to work.
func (s *Server) startWorker(ctx context.Context, o Options, rules Rules, v vendors, trusted activities.Attestations, registry prometheus.Registerer) error {
	var systems []driver.System
	for _, sc := range o.Config.Systems {
		systems = append(systems, driver.System{Name: sc.Name, Type: sc.Type, Decode: sc.Settings.Decode})
	}
	set, err := driver.Open(ctx, systems)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func(context.Context) error { return set.Close() })
	led, err := s.openLedger(ctx, o, registry)
	if err != nil {
		return err
	}
	store, err := openEvidence(ctx, o.Config)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func(context.Context) error { return store.Close() })

	meter, err := newMeters(registry)
	if err != nil {
		return err
	}
	recorded, err := runbooks.Targets(rules.Runbooks, rules.Catalogue, driver.Recorded())
	if err != nil {
		return err
	}
	w := worker.New(s.Client, &activities.Activities{
		Ledger: audit{led}, Evidence: store, Channel: v.channel, Directory: v.directory, Systems: set,
		Catalogue: rules.Catalogue, Runbooks: rules.Runbooks, Policy: rules.Policy,
		Postmortem: views.Postmortem, Review: views.Review, Now: time.Now, Pager: v.pager, Security: o.Config.PagerDuty.SecurityService, Tracker: v.tracker, Intake: s.Gateway,
		Console: consoleOf(o.Config), Recorded: recorded, Recorders: set, Owners: v.owners, Lately: activities.NewLately(time.Now), Attempts: activities.NewAttempts(time.Now), Attestations: trusted,
		Meter: meter, Chart: drawChart,
		FollowUp: o.Config.Postmortem.followUp(), Records: func(key string) string { return bot.ConsoleURL(o.Config.URL, key) },
	})
	if err := w.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	s.closers = append(s.closers, func(context.Context) error { w.Stop(); return nil })
	if len(recorded) > 0 {
		o.Log.Info("States are recorded.", "targets", len(recorded))
		if err := worker.EnsureRecording(ctx, s.Client); err != nil {
			return err
		}
	}
	if v.pager != nil {
		return worker.EnsureReconcile(ctx, s.Client, incident.SourcePagerDuty, o.Config.PagerDuty.ReconcileEvery)
	}
	return nil
}

// consoleOf is where people decide about an incident beside Slack; nil where there is
// no login to do so.
func consoleOf(c Config) func(key string) string {
	if !c.Login.configured() {
		return nil
	}
	return func(key string) string { return bot.ConsoleURL(c.URL, key) }
}

// Names in the data folder.
const (
	LedgerFile     = "ledger.db"
	TemporalFolder = "temporal"
)

func openEvidence(ctx context.Context, c Config) (*evidence.Store, error) {
	url := c.Evidence.URL
	if url == "" {
		dir := filepath.Join(c.Data, "evidence")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("create evidence folder: %w", err)
		}
		url = "file://" + filepath.ToSlash(dir)
	}
	return evidence.Open(ctx, url)
}

// serve listens until Stop; a listener that dies is reported by Wait.
func (s *Server) serve(ctx context.Context, address string, h http.Handler) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", address, err)
	}
	s.Address = l.Addr().String()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve on %q: %w", address, err)
		}
	}()
	s.closers = append(s.closers, srv.Shutdown)
	return nil
}

// Wait returns when the context ends, or when something died that Backout can
// not go on without.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

// Stop ends everything in the reverse order of its start: no new requests,
// then the worker, then the systems, then Temporal.
func (s *Server) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	var errs []error
	for _, v := range slices.Backward(s.closers) {
		errs = append(errs, v(ctx))
	}
	s.closers = nil
	return errors.Join(errs...)
}
