package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/backout/backout/integrations/driver"
)

// The registered names.
const (
	// SystemType is the type of a configured Prometheus.
	SystemType = "prometheus"
	// KindQuery is the probe.
	KindQuery = "prometheus.query"
	// KindRange is the evidence collector.
	KindRange = "prometheus.range"
)

// Bounds of one query.
const (
	// maxPoints is Prometheus's limit of samples for each series of a range.
	// Source: https://github.com/prometheus/prometheus/blob/main/web/api/v1/api.go
	maxPoints = 11_000
	// maxBody is the largest answer that is read, in bytes: Backout's own
	// bound, 20 series of maxPoints and more.
	maxBody = 16 << 20
	// maxToken bounds the token file, in bytes.
	maxToken = 16 << 10
	// defaultTimeout bounds one query when the settings do not.
	defaultTimeout = 10 * time.Second
	// defaultLookback is how old a sample may be to stand for a moment when
	// the settings do not say. Prometheus's own 5 minutes would let a series
	// that stopped without a marker look alive for that long.
	defaultLookback = 90 * time.Second
)

// Settings are the settings of one system.
type Settings struct {
	// URL is the base address, such as "https://prometheus.example/prom". It
	// holds no credentials and no query.
	URL string `yaml:"url" json:"url"`
	// BearerTokenFile is read again for each query, so that tokens can rotate.
	// It is sent over TLS, or to this machine, only.
	BearerTokenFile string `yaml:"bearer_token_file,omitempty" json:"bearer_token_file,omitempty"`
	// Headers are added to each query, such as "X-Scope-OrgID". Credentials
	// do not belong here.
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	// Timeout bounds one query; zero means 10 s.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// Lookback is how old a sample may be to stand for a moment, which should
	// be two to three scrape intervals; zero means 90 s.
	Lookback time.Duration `yaml:"lookback,omitempty" json:"lookback,omitempty"`
}

func init() {
	driver.RegisterSystem(SystemType, open)
}

// Conn is a configured Prometheus. It is safe for concurrent use.
type Conn struct {
	api      v1.API
	client   *http.Client
	timeout  time.Duration
	lookback time.Duration
}

func open(_ context.Context, s driver.System) (*Conn, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return New(settings)
}

// New makes a connection. It sends nothing.
func New(s Settings) (*Conn, error) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		// The error of url.Parse repeats the URL.
		return nil, errors.New("url is malformed")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("url must be an http or https address")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("url must hold no credentials, query or fragment: use bearer_token_file")
	case s.Timeout < 0 || s.Lookback < 0:
		return nil, errors.New("timeout and lookback must not be negative")
	}
	if s.BearerTokenFile != "" && u.Scheme != "https" && !loopback(u.Hostname()) {
		return nil, errors.New("url must be https, or on loopback, for a token to be sent to it")
	}
	for name := range s.Headers {
		if slices.ContainsFunc(credentialHeaders, func(c string) bool { return strings.EqualFold(name, c) }) {
			return nil, fmt.Errorf("header %q is a credential: use bearer_token_file", name)
		}
	}
	if s.Timeout == 0 {
		s.Timeout = defaultTimeout
	}
	if s.Lookback == 0 {
		s.Lookback = defaultLookback
	}
	if s.BearerTokenFile != "" {
		if _, err := readToken(s.BearerTokenFile); err != nil {
			return nil, err
		}
	}
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the default transport is replaced")
	}
	client := &http.Client{
		Transport: &transport{next: base.Clone(), tokenFile: s.BearerTokenFile, headers: s.Headers},
		// A redirect could take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
	c, err := api.NewClient(api.Config{Address: s.URL, Client: client})
	if err != nil {
		return nil, errors.New("url is malformed")
	}
	return &Conn{api: v1.NewAPI(c), client: client, timeout: s.Timeout, lookback: s.Lookback}, nil
}

// Reach evaluates a constant.
func (c *Conn) Reach(ctx context.Context) error {
	now := time.Now()
	_, err := c.QueryRange(ctx, "vector(1)", now.Add(-time.Second), now, time.Second)
	return err
}

// credentialHeaders are not for the settings, which are no place for a secret.
var credentialHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key"}

// loopback says that what is sent to a host does not leave the machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Close ends idle connections.
func (c *Conn) Close() error {
	if t, ok := c.client.Transport.(*transport); ok {
		t.next.CloseIdleConnections()
	}
	return nil
}

// transport adds credentials and headers and bounds the answer.
type transport struct {
	next      *http.Transport
	tokenFile string
	headers   map[string]string
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	for k, v := range t.headers {
		req.Header.Set(k, v)
	}
	if t.tokenFile != "" {
		token, err := readToken(t.tokenFile)
		if err != nil {
			return nil, err
		}
		if sent, ok := req.Context().Value(exchangeKey{}).(*exchange); ok {
			sent.token = token
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if seen, ok := req.Context().Value(exchangeKey{}).(*exchange); ok {
		seen.status = resp.StatusCode
	}
	body, err := readBounded(resp.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		// IsPartial is how VictoriaMetrics marks half an answer.
		// Source: https://docs.victoriametrics.com/victoriametrics/cluster-victoriametrics/
		IsPartial bool `json:"isPartial"`
	}
	// What is no JSON is refused by the API client.
	if err := json.Unmarshal(body, &answer); err == nil && answer.IsPartial {
		return nil, errPartial
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// readBounded reads and closes a body. It fails, rather than ends, when the
// body is too long.
func readBounded(body io.ReadCloser) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if len(b) > maxBody {
		return nil, errTooLarge
	}
	return b, nil
}

// exchange is what one request and its answer leave behind.
type exchange struct {
	// status is that of the answer, 0 for none.
	status int
	// token is what was sent, to be taken out of what an answer may echo.
	token string
}

// exchangeKey is where a context carries the place for the exchange.
type exchangeKey struct{}

func withExchange(ctx context.Context) (context.Context, *exchange) {
	x := &exchange{}
	return context.WithValue(ctx, exchangeKey{}, x), x
}

// readToken reads the bearer token. Its error names the file and never the
// content.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errToken, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("%w: %w", errToken, err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(b) > maxToken || strings.ContainsAny(token, "\r\n\x00") {
		return "", fmt.Errorf("%w: %q does not hold exactly one token", errToken, path)
	}
	return token, nil
}
