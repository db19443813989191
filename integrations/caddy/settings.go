package caddy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Settings are the configuration of one Caddy.
type Settings struct {
	// URL is the admin API: "http://127.0.0.1:2019", "https://host:2021" for remote
	// administration, or "unix:/run/caddy/admin.sock".
	URL string `yaml:"url" json:"url"`
	// TLS is for "https://" addresses.
	TLS TLS `yaml:"tls" json:"tls"`
	// HistoryFolder is the folder of captured states, an absolute path. It is made
	// when it is not there, and shared by all processes of Backout.
	HistoryFolder string `yaml:"history_folder" json:"history_folder"`
	// States gives names to states that runbooks go back to.
	States []NamedState `yaml:"states" json:"states"`
}

// TLS names files in PEM form.
type TLS struct {
	CAFile string `yaml:"ca_file" json:"ca_file"`
	// CertFile and KeyFile are the identity that Caddy's access_control lists.
	CertFile string `yaml:"cert_file" json:"cert_file"`
	KeyFile  string `yaml:"key_file" json:"key_file"`
	// ServerName is the name in Caddy's certificate, if it is not the host's.
	ServerName string `yaml:"server_name" json:"server_name"`
}

// NamedState is a state of a target, kept in a file.
type NamedState struct {
	Name string `yaml:"name" json:"name"`
	// Target is spelled like the path of a target.
	Target string `yaml:"target" json:"target"`
	// File holds the JSON of the state.
	File string `yaml:"file" json:"file"`
}

// endpoint is where the admin API is.
type endpoint struct {
	// base is the scheme and the host.
	base url.URL
	// socket is the path of a unix socket; empty for TCP.
	socket string
	tls    *tls.Config
}

func (s Settings) endpoint() (endpoint, error) {
	if path, ok := strings.CutPrefix(s.URL, "unix:"); ok {
		if path == "" || s.TLS != (TLS{}) {
			return endpoint{}, errors.New("read settings: a unix address is a path, without tls")
		}
		// Caddy checks no host behind a socket, and an empty one is not allowed.
		return endpoint{base: url.URL{Scheme: "http", Host: "caddy"}, socket: path}, nil
	}
	// The error of Parse would repeat what was configured.
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return endpoint{}, errors.New("read settings: url is malformed, want http://<host>:<port>, https://<host>:<port> or unix:<path>")
	}
	if u.User != nil {
		return endpoint{}, errors.New("read settings: url holds a credential; remote administration takes a client certificate")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, errors.New("read settings: url has more than a host and a port")
	}
	where := endpoint{base: url.URL{Scheme: u.Scheme, Host: u.Host}}
	if u.Scheme == "http" {
		if s.TLS != (TLS{}) {
			return endpoint{}, errors.New("read settings: tls is set for an address without it")
		}
		return where, nil
	}
	where.tls, err = s.TLS.config()
	return where, err
}

func (t TLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
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

// check reports what is wrong with the folder and the named states.
func (s Settings) check() error {
	if !filepath.IsAbs(s.HistoryFolder) {
		return errors.New("read settings: history_folder is not an absolute path: Caddy keeps no history, so that one has to be kept")
	}
	for n, named := range s.States {
		switch _, err := parsePath(named.Target); {
		case err != nil:
			return fmt.Errorf("read settings: state %q: target %q: want %s", named.Name, named.Target, targetForm)
		case named.Name == "" || revisionPattern.MatchString(named.Name):
			return fmt.Errorf("read settings: state of %q: the name %q is empty or spelled like a revision", named.Target, named.Name)
		case !filepath.IsAbs(named.File):
			return fmt.Errorf("read settings: state %q of %q: file is not an absolute path", named.Name, named.Target)
		case slices.ContainsFunc(s.States[:n], func(other NamedState) bool {
			return other.Name == named.Name && other.Target == named.Target
		}):
			return fmt.Errorf("read settings: state %q of %q is there twice", named.Name, named.Target)
		}
	}
	return nil
}
