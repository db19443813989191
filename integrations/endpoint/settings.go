package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "endpoint"

// maxTimeout bounds one request, with its answer. It is Backout's own, and below what a
// collector has.
const maxTimeout = 6 * time.Second

// minToken is the shortest token, in bytes, that can be told from other text.
const minToken = 8

func init() {
	driver.RegisterSystem(systemType, open)
}

// Settings are the configuration of one endpoint.
type Settings struct {
	// URL is what all paths are below, such as "https://checkout.example.org". It is
	// http or https, and holds no user, no query and no fragment.
	URL string `yaml:"url" json:"url"`
	// TokenFile holds a bearer token that goes with every request. It is read again
	// for each, so that it can be rotated, and needs https. Optional.
	TokenFile string `yaml:"token_file" json:"token_file"`
	// CAFile holds the certificate authorities of the endpoint in PEM form; those of the
	// system when empty.
	CAFile string `yaml:"ca_file" json:"ca_file"`
	// Networks are the private networks, such as "10.1.0.0/16", that the endpoint may
	// be in.
	Networks []string `yaml:"networks" json:"networks"`
}

// site is one configured endpoint.
type site struct {
	base      *url.URL
	tokenFile string
	client    *http.Client
}

// open reads the settings. It resolves nothing and sends nothing.
func open(_ context.Context, s driver.System) (*site, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	// The error of Parse would repeat what was configured.
	base, err := url.Parse(settings.URL)
	switch {
	case err != nil || base.Host == "" || base.Opaque != "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New("read settings: url is malformed, want https://host or http://host")
	case base.User != nil:
		return nil, errors.New("read settings: url holds a credential, which belongs into token_file")
	case base.RawQuery != "" || base.Fragment != "" || base.ForceQuery:
		return nil, errors.New("read settings: url holds a query or a fragment")
	case settings.TokenFile != "" && base.Scheme != "https":
		return nil, errors.New("read settings: token_file needs a url that is https")
	}
	var listed []netip.Prefix
	for _, text := range settings.Networks {
		n, err := netip.ParsePrefix(text)
		if err != nil || n.Masked() != n {
			return nil, fmt.Errorf("read settings: network %q is malformed, want one such as 10.1.0.0/16", text)
		}
		listed = append(listed, n)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if settings.CAFile != "" {
		content, err := os.ReadFile(settings.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("read settings: ca_file %q holds no certificate", settings.CAFile)
		}
	}
	p := &site{base: base, tokenFile: settings.TokenFile, client: &http.Client{
		// What answers somewhere else is another endpoint.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: maxTimeout, Control: guard(listed)}).DialContext,
			TLSClientConfig: cfg,
			// A connection that is kept would hide how long it takes to connect.
			DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: maxHeaders,
		},
	}}
	if _, err := p.token(); err != nil {
		return nil, err
	}
	return p, nil
}

// token is the token that says who asks; empty without one.
func (p *site) token() (string, error) {
	if p.tokenFile == "" {
		return "", nil
	}
	content, err := os.ReadFile(p.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if len(token) < minToken || strings.ContainsAny(token, " \r\n\t") {
		return "", fmt.Errorf("read token: %q does not hold one token", p.tokenFile)
	}
	return token, nil
}

// Reach shows that something answers, whatever it says.
func (p *site) Reach(ctx context.Context) error {
	seen, err := p.ask(ctx, request{method: http.MethodHead, timeout: maxTimeout})
	switch {
	case err != nil:
		return err
	case seen.Error != "":
		return errors.New(seen.Error)
	case seen.Status == http.StatusUnauthorized || seen.Status == http.StatusForbidden:
		return fmt.Errorf("%w: the endpoint answers with status %d", driver.ErrDenied, seen.Status)
	}
	return nil
}
