package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// requestTimeout bounds one call between services.
const requestTimeout = 2 * time.Second

// Service is one running HTTP service of the shop. Its version can change
// while it runs, like that of a set of pods behind one address.
type Service struct {
	Name string
	// URL is where it listens.
	URL string

	version  atomic.Pointer[string]
	server   *http.Server
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	info     *prometheus.GaugeVec
}

// behaviour is what a release of a service does with one order.
type behaviour func(ctx context.Context, o Order) (Receipt, error)

// Order is what a customer wants.
type Order struct {
	ID    int64 `json:"id"`
	Items int   `json:"items"`
	// Cents is the price of one item.
	Cents int `json:"cents"`
}

// Receipt is what a customer gets.
type Receipt struct {
	OrderID int64  `json:"order_id"`
	Cents   int    `json:"cents"`
	Version string `json:"version"`
}

// start runs a service on a free loopback port. releases are its versions.
func start(ctx context.Context, name string, releases map[string]behaviour) (*Service, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for service %q: %w", name, err)
	}
	labels := prometheus.Labels{"service": name}
	s := &Service{
		Name: name, URL: "http://" + listener.Addr().String(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shop_requests_total", Help: "Requests answered, by version and status code.", ConstLabels: labels,
		}, []string{"version", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "shop_request_seconds", Help: "Time to answer, by version.", ConstLabels: labels,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"version"}),
		info: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shop_release_info", Help: "The version that runs now is 1.", ConstLabels: labels,
		}, []string{"version"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.requests, s.latency, s.info)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s.Version()) })
	mux.HandleFunc("POST /order", func(w http.ResponseWriter, r *http.Request) { s.order(w, r, releases) })
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// Version is the version that runs now; empty before the first release.
func (s *Service) Version() string {
	if v := s.version.Load(); v != nil {
		return *v
	}
	return ""
}

// Release makes the service run a version from the next request on.
func (s *Service) Release(version string) {
	old := s.Version()
	s.version.Store(&version)
	if old != "" {
		s.info.WithLabelValues(old).Set(0)
	}
	s.info.WithLabelValues(version).Set(1)
}

// Close stops the service.
func (s *Service) Close() error { return s.server.Close() }

func (s *Service) order(w http.ResponseWriter, r *http.Request, releases map[string]behaviour) {
	began := time.Now()
	version := s.Version()
	code := http.StatusOK
	defer func() {
		s.requests.WithLabelValues(version, strconv.Itoa(code)).Inc()
		s.latency.WithLabelValues(version).Observe(time.Since(began).Seconds())
	}()
	var o Order
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&o); err != nil {
		code = http.StatusBadRequest
		http.Error(w, "malformed order", code)
		return
	}
	run, known := releases[version]
	if !known {
		code = http.StatusServiceUnavailable
		http.Error(w, fmt.Sprintf("%s has no release %q", s.Name, version), code)
		return
	}
	receipt, err := run(r.Context(), o)
	if err != nil {
		code = http.StatusInternalServerError
		http.Error(w, err.Error(), code)
		return
	}
	receipt.Version = version
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(receipt)
}

// work stands for the time that computing takes: a few milliseconds, now and
// then more.
func work(ctx context.Context, typical time.Duration) error {
	d := time.Duration(float64(typical) * (0.5 + rand.ExpFloat64()/2)) //nolint:gosec // Not a secret.
	select {
	case <-time.After(min(d, 10*typical)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call sends an order on to the next service.
func call(ctx context.Context, client *http.Client, url string, o Order) (Receipt, error) {
	var receipt Receipt
	body, err := json.Marshal(o)
	if err != nil {
		return receipt, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/order", newReader(body))
	if err != nil {
		return receipt, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return receipt, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, resp.Body)
		return receipt, errors.New(resp.Status)
	}
	err = json.NewDecoder(resp.Body).Decode(&receipt)
	return receipt, err
}
