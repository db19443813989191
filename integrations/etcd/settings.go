package etcd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// Settings are the configuration of one etcd cluster. Secrets are in files, never in
// the settings, and are read again whenever they are needed, so that they can be
// rotated.
type Settings struct {
	// Endpoints are the client URLs, all http or all https, such as
	// "https://etcd-0.example.org:2379".
	Endpoints []string `yaml:"endpoints" json:"endpoints"`
	// User and PasswordFile name a user and the file that holds the password.
	User         string `yaml:"user" json:"user"`
	PasswordFile string `yaml:"password_file" json:"password_file"`
	// TLS is needed for a private certificate authority or a client certificate.
	TLS TLS `yaml:"tls" json:"tls"`
	// ClockKey is the key that holds the time, as the package describes it; empty
	// when there is none.
	ClockKey string `yaml:"clock_key" json:"clock_key"`
}

// TLS names files in PEM form.
type TLS struct {
	CAFile   string `yaml:"ca_file" json:"ca_file"`
	CertFile string `yaml:"cert_file" json:"cert_file"`
	KeyFile  string `yaml:"key_file" json:"key_file"`
}

// The time between two attempts to connect grows from the first to the last.
const (
	firstReconnect = 50 * time.Millisecond
	lastReconnect  = time.Second
)

// window is how many bytes may be on the way to the client unacknowledged: a value of
// the usual limit. It does not grow, which spares the pings that measure.
const window = 2 << 20

// scheme is how the endpoints are named to the client.
const scheme = "backout-etcd"

// dial makes a client that connects when it is first used.
func (s Settings) dial() (*grpc.ClientConn, error) {
	addresses, secure, err := s.addresses()
	if err != nil {
		return nil, err
	}
	transport := insecure.NewCredentials()
	switch {
	case secure:
		config, err := s.TLS.config()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	case s.TLS != TLS{}:
		return nil, errors.New("read settings: tls is set and the endpoints are http")
	}
	if (s.User == "") != (s.PasswordFile == "") {
		return nil, errors.New("read settings: user and password_file belong together")
	}
	if s.PasswordFile != "" {
		if _, err := secret(s.PasswordFile); err != nil {
			return nil, err
		}
	}
	members := manual.NewBuilderWithScheme(scheme)
	members.InitialState(resolver.State{Addresses: addresses})
	conn, err := grpc.NewClient(scheme+":///",
		grpc.WithResolvers(members),
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent("backout"),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(window),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstReconnect, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastReconnect},
			MinConnectTimeout: requestTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxAnswer)),
	)
	if err != nil {
		return nil, errors.New("make client: the endpoints are malformed")
	}
	return conn, nil
}

// addresses are the endpoints as host and port.
func (s Settings) addresses() (found []resolver.Address, secure bool, err error) {
	if len(s.Endpoints) == 0 {
		return nil, false, errors.New("read settings: endpoints are empty")
	}
	for n, endpoint := range s.Endpoints {
		// The error of Parse would repeat what was configured.
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return nil, false, errors.New("read settings: an endpoint is malformed, want http://host:port or https://host:port")
		}
		if u.User != nil {
			return nil, false, errors.New("read settings: an endpoint holds a credential, which belongs into a file")
		}
		if n > 0 && secure != (u.Scheme == "https") {
			return nil, false, errors.New("read settings: the endpoints are http and https")
		}
		secure = u.Scheme == "https"
		found = append(found, resolver.Address{Addr: u.Host, ServerName: u.Hostname()})
	}
	return found, secure, nil
}

// config is the TLS configuration. A client certificate is read at every connect.
func (t TLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		content, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("read settings: %q holds no certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("read settings: tls.cert_file and tls.key_file belong together")
	}
	if t.CertFile != "" {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, errors.New("read the client certificate: it is malformed, or does not fit its key")
			}
			return &pair, nil
		}
	}
	return config, nil
}

// secret reads a file that holds one line.
func secret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read settings: %w", err)
	}
	line := strings.TrimRight(string(content), "\r\n")
	if line == "" {
		return "", fmt.Errorf("read settings: %q is empty", path)
	}
	return line, nil
}
