package haproxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
)

// Settings are the configuration of one HAProxy process. A fleet of HAProxy is one
// system for each process.
type Settings struct {
	// Address is the runtime socket: "unix:/run/haproxy/backout.sock",
	// "tcp://host:port" where the network is trusted, or "tls://host:port" of a section
	// "listen" in mode tcp that asks for a client certificate and leads to the socket:
	// the socket itself speaks no TLS.
	Address string `yaml:"address" json:"address"`
	// TokenFile holds the token of the extension. Without it Backout writes by
	// commands of HAProxy, which needs a socket of level "admin".
	TokenFile string `yaml:"token_file" json:"token_file"`
	// TLS is for "tls://" addresses.
	TLS TLS `yaml:"tls" json:"tls"`
	// States gives names to states that runbooks go back to. The name "config" is
	// taken.
	States []NamedState `yaml:"states" json:"states"`
}

// TLS names files in PEM form.
type TLS struct {
	CAFile   string `yaml:"ca_file" json:"ca_file"`
	CertFile string `yaml:"cert_file" json:"cert_file"`
	KeyFile  string `yaml:"key_file" json:"key_file"`
	// ServerName is the name in the server's certificate, if it is not the host's.
	ServerName string `yaml:"server_name" json:"server_name"`
}

// NamedState is a state of a target under a name.
type NamedState struct {
	Name string `yaml:"name" json:"name"`
	// Target is "<backend>" or "<backend>/<server>".
	Target string `yaml:"target" json:"target"`
	// State is spelled like a revision, such as "blue=100,green=0/maint".
	State string `yaml:"state" json:"state"`
}

// tokenPattern is what a token may look like: one word of a command.
var tokenPattern = regexp.MustCompile(`^[A-Za-z0-9+/=_.-]{16,256}$`)

// endpoint is where a socket is and how it is reached.
type endpoint struct {
	network, address string
	tls              *tls.Config
}

// endpoint reads the address and the files of TLS.
func (s Settings) endpoint() (endpoint, error) {
	if path, ok := strings.CutPrefix(s.Address, "unix:"); ok {
		if path == "" || s.TLS != (TLS{}) {
			return endpoint{}, errors.New("read settings: a unix address is a path, without tls")
		}
		return endpoint{network: "unix", address: path}, nil
	}
	scheme, address, _ := strings.Cut(s.Address, "://")
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || strings.ContainsAny(address, "/@") {
		return endpoint{}, errors.New("read settings: address is malformed, want unix:<path>, tls://<host>:<port> or tcp://<host>:<port>")
	}
	switch scheme {
	case "tcp":
		if s.TLS != (TLS{}) {
			return endpoint{}, errors.New("read settings: tls is set for an address without it")
		}
		return endpoint{network: "tcp", address: address}, nil
	case "tls":
		config, err := s.TLS.config(host)
		return endpoint{network: "tcp", address: address, tls: config}, err
	}
	return endpoint{}, errors.New("read settings: address is malformed, want unix:<path>, tls://<host>:<port> or tcp://<host>:<port>")
}

func (t TLS) config(host string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if config.ServerName == "" {
		config.ServerName = host
	}
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
		// Read at every connection, so that it can be rotated.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, errors.New("read the client certificate: the files hold no pair of certificate and key")
			}
			return &pair, nil
		}
		if _, err := config.GetClientCertificate(nil); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// token reads the token again, so that it can be rotated.
func (s Settings) token() (string, error) {
	content, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read settings: %w", err)
	}
	line := strings.TrimRight(string(content), "\r\n")
	if !tokenPattern.MatchString(line) {
		return "", fmt.Errorf("read settings: %q holds no token: want one line of 16 to 256 letters, digits or +/=_.-", s.TokenFile)
	}
	return line, nil
}

// check reports what is wrong with the named states.
func (s Settings) check() error {
	seen := map[[2]string]bool{}
	for _, named := range s.States {
		where, err := parsePath(named.Target)
		if err != nil {
			return fmt.Errorf("read settings: state %q: target %q: want %s", named.Name, named.Target, targetForm)
		}
		parsed, err := parseRoutes(named.State)
		if err != nil {
			return fmt.Errorf("read settings: state %q of %q: %w", named.Name, named.Target, err)
		}
		id := [2]string{named.Name, named.Target}
		switch {
		case named.Name == "" || named.Name == configRevision || strings.ContainsAny(named.Name, "=,"):
			return fmt.Errorf("read settings: state of %q: the name %q is empty, taken or spelled like a state", named.Target, named.Name)
		case seen[id]:
			return fmt.Errorf("read settings: state %q of %q is there twice", named.Name, named.Target)
		case where.server != "" && (len(parsed) != 1 || parsed[0].name != where.server):
			return fmt.Errorf("read settings: state %q of %q names other servers", named.Name, named.Target)
		}
		seen[id] = true
	}
	return nil
}
