package nats

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// reconnectWait is the time between two attempts to connect to one server.
const reconnectWait = 250 * time.Millisecond

// Settings are the configuration of one NATS system. At most one way to
// authenticate is set beside a client certificate; secrets are in files, never
// in the settings, and are read again at every connect, so that they can be
// rotated.
type Settings struct {
	// URL is one server or several, separated by commas, such as
	// "tls://nats.example.org:4222". It holds no user and no password.
	URL string `yaml:"url" json:"url"`
	// CredentialsFile is a credentials file of decentralized authentication, as
	// "nsc" writes it.
	CredentialsFile string `yaml:"credentials_file" json:"credentials_file"`
	// NKeyFile holds the seed of an NKey.
	NKeyFile string `yaml:"nkey_file" json:"nkey_file"`
	// User and PasswordFile name a user and the file that holds the password.
	User         string `yaml:"user" json:"user"`
	PasswordFile string `yaml:"password_file" json:"password_file"`
	// TokenFile holds a token.
	TokenFile string `yaml:"token_file" json:"token_file"`
	// TLS is needed for a private certificate authority or a client certificate.
	TLS TLS `yaml:"tls" json:"tls"`
	// Domain is the JetStream domain; the one of the account when empty.
	Domain string `yaml:"domain" json:"domain"`
	// InboxPrefix is the subject under which answers are received, "_INBOX" when
	// empty. A prefix of its own keeps Backout from seeing the answers to others.
	InboxPrefix string `yaml:"inbox_prefix" json:"inbox_prefix"`
	// ConsumerLog is the stream that guards changes of consumers, as the package
	// describes it. It is needed for "nats.consumer" alone.
	ConsumerLog string `yaml:"consumer_log" json:"consumer_log"`
}

// TLS names files in PEM form.
type TLS struct {
	CAFile   string `yaml:"ca_file" json:"ca_file"`
	CertFile string `yaml:"cert_file" json:"cert_file"`
	KeyFile  string `yaml:"key_file" json:"key_file"`
}

// options are the settings as the client wants them.
func (s Settings) options() ([]nats.Option, error) {
	if s.URL == "" {
		return nil, errors.New("read settings: url is empty")
	}
	for server := range strings.SplitSeq(s.URL, ",") {
		// The error of Parse would repeat what was configured.
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil {
			return nil, errors.New("read settings: url is malformed, want nats://host:port or tls://host:port")
		}
		if u.User != nil {
			return nil, errors.New("read settings: url holds a credential, which belongs into a file")
		}
	}
	if strings.ContainsAny(s.Domain, ".*> \t") {
		return nil, fmt.Errorf("read settings: domain %q is not one token of a subject", s.Domain)
	}
	options := []nats.Option{
		nats.Name("backout"),
		// A system that is down must not keep Backout from starting.
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait),
		nats.Timeout(requestTimeout),
		// Nothing is kept for later: a write that was given up must not arrive.
		nats.ReconnectBufSize(-1),
	}
	if s.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(s.InboxPrefix))
	}
	if s.TLS.CAFile != "" {
		options = append(options, nats.RootCAs(s.TLS.CAFile))
	}
	if (s.TLS.CertFile == "") != (s.TLS.KeyFile == "") {
		return nil, errors.New("read settings: tls.cert_file and tls.key_file belong together")
	}
	if s.TLS.CertFile != "" {
		options = append(options, nats.ClientCert(s.TLS.CertFile, s.TLS.KeyFile))
	}
	login, err := s.login()
	if err != nil {
		return nil, err
	}
	return append(options, login...), nil
}

// login is the one way to authenticate, if any.
func (s Settings) login() ([]nats.Option, error) {
	if (s.User == "") != (s.PasswordFile == "") {
		return nil, errors.New("read settings: user and password_file belong together")
	}
	var ways []nats.Option
	if s.CredentialsFile != "" {
		ways = append(ways, nats.UserCredentials(s.CredentialsFile))
	}
	if s.NKeyFile != "" {
		way, err := nats.NkeyOptionFromSeed(s.NKeyFile)
		if err != nil {
			// The error of the client may quote the seed.
			return nil, fmt.Errorf("read settings: nkey_file %q holds no seed", s.NKeyFile)
		}
		ways = append(ways, way)
	}
	if s.User != "" {
		if _, err := secret(s.PasswordFile); err != nil {
			return nil, err
		}
		ways = append(ways, nats.UserInfoHandler(func() (user, password string) {
			password, _ = secret(s.PasswordFile) // Without it the server refuses, and says so.
			return s.User, password
		}))
	}
	if s.TokenFile != "" {
		if _, err := secret(s.TokenFile); err != nil {
			return nil, err
		}
		ways = append(ways, nats.TokenHandler(func() string {
			token, _ := secret(s.TokenFile) // Without it the server refuses, and says so.
			return token
		}))
	}
	if len(ways) > 1 {
		return nil, errors.New("read settings: more than one way to authenticate is set")
	}
	return ways, nil
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
