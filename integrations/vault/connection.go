package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "vault"

const (
	// requestTimeout bounds one request, with its answer.
	requestTimeout = 10 * time.Second
	// maxAnswer bounds an answer, in bytes. Vault's storage takes entries of up to
	// 1 MiB.
	// Source: https://developer.hashicorp.com/vault/docs/internals/limits
	maxAnswer = 4 << 20
	// maxRedirects is how often a standby may send a request on to the active node.
	maxRedirects = 2
	// minKey is the shortest key for digests, in bytes.
	minKey = 32
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// Settings are the configuration of one Vault. Secrets are in files, never in the
// settings, and are read again for each request, so that they can be rotated, such as
// by Vault Agent.
type Settings struct {
	// URL is such as "https://vault.example.org:8200".
	URL string `yaml:"url" json:"url"`
	// TokenFile holds a token.
	TokenFile string `yaml:"token_file" json:"token_file"`
	// Namespace is sent with each request; empty is the root's.
	Namespace string `yaml:"namespace" json:"namespace"`
	// CAFile holds certificates in PEM form, for a private authority.
	CAFile string `yaml:"ca_file" json:"ca_file"`
	// DigestKeyFile holds the key that states of secrets are digested with, at least
	// 32 characters. It is needed for "vault.kv" alone, is the same for every process
	// of Backout, and stays: plans that were made with another are drift.
	DigestKeyFile string `yaml:"digest_key_file" json:"digest_key_file"`
}

// connection is one Vault.
type connection struct {
	settings Settings
	base     *url.URL
	client   *http.Client
}

// open makes the client. It asks nobody for anything.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	// The error of Parse would repeat what was configured.
	base, err := url.Parse(settings.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || strings.Trim(base.Path, "/") != "" {
		return nil, errors.New("read settings: url is malformed, want https://host:port")
	}
	if base.User != nil {
		return nil, errors.New("read settings: url holds a credential, which belongs into a file")
	}
	if settings.TokenFile == "" {
		return nil, errors.New("read settings: token_file is empty")
	}
	if _, err := secret(settings.TokenFile); err != nil {
		return nil, err
	}
	c := &connection{settings: settings, base: base}
	if settings.DigestKeyFile != "" {
		if _, err := c.digestKey(); err != nil {
			return nil, err
		}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if settings.CAFile != "" {
		content, err := os.ReadFile(settings.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("read settings: %q holds no certificate", settings.CAFile)
		}
	}
	c.client = &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return errors.New("it is sent on too often")
			case to.URL.Scheme != base.Scheme:
				return errors.New("it is sent on to another scheme")
			}
			return nil
		},
	}
	return c, nil
}

// Close ends idle connections.
func (c *connection) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// Reach asks what the token is.
func (c *connection) Reach(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "auth/token/lookup-self", nil, nil, nil)
}

// errNoKey means that the settings name no key for digests.
var errNoKey = fmt.Errorf("%w: the settings name no digest_key_file", driver.ErrInvalid)

func (c *connection) digestKey() ([]byte, error) {
	if c.settings.DigestKeyFile == "" {
		return nil, errNoKey
	}
	key, err := secret(c.settings.DigestKeyFile)
	if err == nil && len(key) < minKey {
		err = fmt.Errorf("read settings: %q holds less than %d characters", c.settings.DigestKeyFile, minKey)
	}
	return []byte(key), err
}

// secret reads a file that holds one line.
func secret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read settings: %w", err)
	}
	line := strings.TrimRight(string(content), "\r\n")
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("read settings: %q does not hold one line", path)
	}
	return line, nil
}

// What a request can find, beside the driver's final errors.
var (
	// errMoved means that a check-and-set did not match.
	errMoved = errors.New("the secret has another version")
	// errNoLease means that there is no such lease.
	errNoLease = errors.New("the lease does not live")
)

// maxSaid is the longest text of Vault that is taken into an error, in characters.
const maxSaid = 200

// call makes one request and decodes the data of the answer, also of one that was not
// found: Vault tells of a version that is deleted that way.
func (c *connection) call(ctx context.Context, method, path string, query url.Values, request, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	token, err := secret(c.settings.TokenFile)
	if err != nil {
		return err
	}
	var body io.Reader = http.NoBody
	if request != nil {
		content, err := json.Marshal(request)
		if err != nil {
			return errors.New("encode request: it has another form than expected") // The encoder's error may quote it.
		}
		body = bytes.NewReader(content)
	}
	at := *c.base
	at.Path = "/v1/" + path
	at.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return fmt.Errorf("make request: %w: the path is malformed", driver.ErrInvalid)
	}
	r.Header.Set("X-Vault-Token", token)
	r.Header.Set("X-Vault-Request", "true")
	if c.settings.Namespace != "" {
		r.Header.Set("X-Vault-Namespace", c.settings.Namespace)
	}
	answer, err := c.client.Do(r)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("request: %w", cause)
		}
		if failure, ok := errors.AsType[*url.Error](err); ok {
			err = failure.Err // Without the address, which is in the settings.
		}
		return fmt.Errorf("request: %s", printable(err.Error()))
	}
	defer func() { _ = answer.Body.Close() }() // It was read to its end, or is given up.
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return errors.New("read answer: the connection broke")
	case len(content) > maxAnswer:
		return fmt.Errorf("read answer: %w: it is longer than %d bytes", driver.ErrInvalid, maxAnswer)
	}
	return decode(answer.StatusCode, content, into)
}

// decode reads an answer of Vault, or decides once what its error means. What is not
// one of the driver's final errors can be tried again: rate limits, a Vault that is
// sealed or a standby, faults.
// Source: https://developer.hashicorp.com/vault/api-docs#http-status-codes
func decode(status int, content []byte, into any) error {
	var answer struct {
		Data   json.RawMessage `json:"data"`
		Errors []string        `json:"errors"`
	}
	if len(bytes.TrimSpace(content)) > 0 && json.Unmarshal(content, &answer) != nil {
		return fmt.Errorf("decode answer with status %d: it is not JSON", status) // The decoder's error quotes it.
	}
	said := printable(strings.Join(answer.Errors, "; "))
	if (status < 300 || status == http.StatusNotFound) && into != nil && len(answer.Data) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(answer.Data))
		decoder.UseNumber()
		if decoder.Decode(into) != nil {
			return errors.New("decode answer: it has another form than expected")
		}
	}
	switch {
	case status < 300:
		return nil
	case status == http.StatusNotFound:
		return driver.ErrNotFound
	case status == http.StatusForbidden:
		return driver.ErrDenied
	case status == http.StatusBadRequest && strings.Contains(said, "check-and-set parameter did not match"):
		return errMoved
	case status == http.StatusBadRequest && strings.Contains(said, "invalid lease"):
		return errNoLease
	}
	return fmt.Errorf("answer with status %d: %s", status, said)
}

// may reports whether the token may do something on a path.
func (c *connection) may(ctx context.Context, path, capability string) (bool, error) {
	var answer map[string]json.RawMessage
	if err := c.call(ctx, http.MethodPost, "sys/capabilities-self", nil, map[string][]string{"paths": {path}}, &answer); err != nil {
		return false, err
	}
	var granted []string
	if json.Unmarshal(answer[path], &granted) != nil {
		return false, errors.New("decode answer: it has another form than expected")
	}
	for _, g := range granted {
		if g == capability || g == "root" {
			return true, nil
		}
	}
	return false, nil
}

// maxPath is the longest path, in bytes.
const maxPath = 512

// proper reports whether a path names one thing: it is printable, has the given number
// of parts or more, and none of them is empty or leads elsewhere.
func proper(path string, parts int) bool {
	if len(path) > maxPath || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(`?#%\*+`, r) }) {
		return false
	}
	found := strings.Split(path, "/")
	for _, part := range found {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return len(found) >= parts
}

// printable makes one short line of text from outside.
func printable(text string) string {
	line := []rune(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text))
	return string(line[:min(len(line), maxSaid)])
}
