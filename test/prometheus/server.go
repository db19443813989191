package realprom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
)

// Defaults and bounds. Lookback and maxSamples are Prometheus's own defaults.
// Source: https://prometheus.io/docs/prometheus/latest/command-line/prometheus/
const (
	defaultInterval = time.Second
	defaultLookback = 5 * time.Minute
	queryTimeout    = 30 * time.Second
	maxSamples      = 50_000_000
	// retention is how long samples are kept.
	retention = 24 * time.Hour
	// discoveryInterval is how soon a new target is scraped.
	discoveryInterval = 50 * time.Millisecond
	closeTimeout      = 5 * time.Second
)

// Target is one address that is scraped on /metrics.
type Target struct {
	// Job becomes the label "job".
	Job string
	// Address is host and port; it becomes the label "instance".
	Address string
	// Labels are added to every series of the target.
	Labels map[string]string
}

// Options say how to start. Dir is required.
type Options struct {
	// Dir is the folder of the database; it is created when missing.
	Dir string
	// ScrapeInterval may be below a second; zero means one second.
	ScrapeInterval time.Duration
	// Targets are scraped from the start.
	Targets []Target
	// Listen is a loopback address; empty means a free port of 127.0.0.1.
	Listen string
	// Logger receives warnings of Prometheus; nil means none.
	Logger *slog.Logger
}

// Server is a running Prometheus.
type Server struct {
	url     string
	db      *tsdb.DB
	engine  *promql.Engine
	scraper *scrape.Manager
	http    *http.Server
	groups  chan map[string][]*targetgroup.Group
	running sync.WaitGroup

	// mu guards what follows.
	mu       sync.Mutex
	interval time.Duration
	targets  []Target
	// jobs are all that ever had a target. A job that ends takes its series'
	// end markers with it, so it stays when its last target goes.
	jobs   map[string]bool
	closed bool
}

// Start starts a Prometheus, which answers when Start returns. It runs until
// Close, whatever becomes of ctx.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.ScrapeInterval == 0 {
		o.ScrapeInterval = defaultInterval
	}
	if o.ScrapeInterval < time.Millisecond {
		return nil, fmt.Errorf("start Prometheus: scrape interval %s is below a millisecond", o.ScrapeInterval)
	}
	if o.Logger == nil {
		o.Logger = promslog.NewNopLogger()
	}
	if err := onLoopback(o.Listen); err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w", err)
	}
	s := &Server{url: "http://" + listener.Addr().String(), interval: o.ScrapeInterval, groups: make(chan map[string][]*targetgroup.Group), jobs: map[string]bool{}}
	if err := s.open(o); err != nil {
		return nil, errors.Join(fmt.Errorf("start Prometheus: %w", err), listener.Close())
	}
	s.running.Go(func() { _ = s.scraper.Run(s.groups) })
	s.running.Go(func() { _ = s.http.Serve(listener) })
	for _, t := range o.Targets {
		if err := s.AddTarget(t); err != nil {
			return nil, errors.Join(fmt.Errorf("start Prometheus: %w", err), s.Close())
		}
	}
	return s, nil
}

// open builds the parts; on an error nothing is left open.
func (s *Server) open(o Options) error {
	registry := prometheus.NewRegistry()
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = retention.Milliseconds()
	db, err := tsdb.Open(o.Dir, o.Logger, registry, opts, nil)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	language := parser.NewParser(parser.Options{})
	s.db = db
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger: o.Logger, Reg: registry, MaxSamples: maxSamples, Timeout: queryTimeout, LookbackDelta: defaultLookback,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: language,
		NoStepSubqueryIntervalFn: func(int64) int64 { return o.ScrapeInterval.Milliseconds() },
	})
	s.scraper, err = scrape.NewManager(&scrape.Options{
		DiscoveryReloadInterval: model.Duration(discoveryInterval), DiscoveryReloadOnStartup: true,
	}, o.Logger, nil, nil, db, registry)
	if err != nil {
		return errors.Join(fmt.Errorf("make scraper: %w", err), s.engine.Close(), db.Close())
	}
	mux := http.NewServeMux()
	router := route.New()
	s.api(o.Logger, registry, language).Register(router.WithPrefix("/api/v1"))
	mux.Handle("/api/v1/", router)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	for _, path := range []string{"GET /-/healthy", "GET /-/ready"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	}
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: closeTimeout}
	return nil
}

// URL is where the server answers, such as "http://127.0.0.1:9090".
func (s *Server) URL() string { return s.url }

// AddTarget begins to scrape a target. An address that is there already gets
// the new job and labels.
func (s *Server) AddTarget(t Target) error {
	if t.Job == "" {
		return fmt.Errorf("add target %q: job is empty", t.Address)
	}
	if _, _, err := net.SplitHostPort(t.Address); err != nil {
		return fmt.Errorf("add target %q: %w", t.Address, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = append(slices.DeleteFunc(s.targets, func(old Target) bool { return old.Address == t.Address }), t)
	return s.apply()
}

// RemoveTarget ends the scraping of an address; its series go stale.
func (s *Server) RemoveTarget(address string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = slices.DeleteFunc(s.targets, func(old Target) bool { return old.Address == address })
	return s.apply()
}

// apply hands jobs and targets to the scraper. The caller holds mu.
func (s *Server) apply() error {
	if s.closed {
		return errors.New("apply targets: the server is closed")
	}
	groups := map[string][]*targetgroup.Group{}
	for job := range s.jobs {
		groups[job] = nil
	}
	for _, t := range s.targets {
		s.jobs[t.Job] = true
		set := model.LabelSet{}
		for k, v := range t.Labels {
			set[model.LabelName(k)] = model.LabelValue(v)
		}
		groups[t.Job] = append(groups[t.Job], &targetgroup.Group{
			Source: t.Address, Labels: set,
			Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(t.Address)}},
		})
	}
	cfg, err := scrapeConfig(slices.Sorted(maps.Keys(groups)), s.interval)
	if err != nil {
		return fmt.Errorf("apply targets: %w", err)
	}
	if err := s.scraper.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("apply targets: %w", err)
	}
	s.groups <- groups
	return nil
}

// Close stops everything and waits until it has ended.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.scraper.Stop()
	s.running.Wait()
	if err := errors.Join(err, s.engine.Close(), s.db.Close()); err != nil {
		return fmt.Errorf("close Prometheus: %w", err)
	}
	return nil
}

// onLoopback refuses an address that others could reach.
func onLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", listen, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("listen on %q: only a loopback IP address is allowed", listen)
	}
	return nil
}

// scrapeConfig is the configuration as Prometheus reads it from its file; JSON
// is YAML.
func scrapeConfig(jobs []string, interval time.Duration) (*config.Config, error) {
	type job struct {
		Name string `json:"job_name"`
	}
	type global struct {
		Interval string `json:"scrape_interval"`
		Timeout  string `json:"scrape_timeout"`
	}
	var file struct {
		Global global `json:"global"`
		Jobs   []job  `json:"scrape_configs,omitempty"`
	}
	file.Global = global{Interval: model.Duration(interval).String(), Timeout: model.Duration(interval).String()}
	for _, name := range jobs {
		file.Jobs = append(file.Jobs, job{Name: name})
	}
	text, err := json.Marshal(file)
	if err != nil {
		return nil, err
	}
	return config.Load(string(text), promslog.NewNopLogger())
}
