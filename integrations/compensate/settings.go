package compensate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Settings are the configuration of the services that compensate.
type Settings struct {
	// Hosts are all that is ever called, by the name that targets begin with.
	Hosts map[string]Host `yaml:"hosts" json:"hosts"`
}

// Host is one service. Secrets are in files and are read again for each request,
// so that they can be rotated.
type Host struct {
	// URL is where the contract is served, such as
	// "https://payments.example.org/backout". It is https, and holds no user, no
	// query and no fragment.
	URL string `yaml:"url" json:"url"`
	// TokenFile holds a bearer token that says who asks. It goes with every
	// request. Optional.
	TokenFile string `yaml:"token_file" json:"token_file"`
	// SecretFiles hold signing secrets, "whsec_" and base64. Each signs, so that a
	// service can be moved from one to the next. At least one.
	SecretFiles []string `yaml:"secret_files" json:"secret_files"`
	// CAFile holds the certificate authorities of this host in PEM form; those of
	// the system when empty.
	CAFile string `yaml:"ca_file" json:"ca_file"`
	// Networks are the private networks, such as "10.1.0.0/16", that the host may
	// be in.
	Networks []string `yaml:"networks" json:"networks"`
}

// hostName is what a host may be called.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// minToken is the shortest token, in bytes, that can be told from other text.
const minToken = 8

// hosts checks the settings and makes the hosts.
func (s Settings) hosts() (map[string]*host, error) {
	if len(s.Hosts) == 0 {
		return nil, errors.New("read settings: hosts is empty")
	}
	out := make(map[string]*host, len(s.Hosts))
	for _, name := range slices.Sorted(maps.Keys(s.Hosts)) {
		if !hostName.MatchString(name) {
			return nil, fmt.Errorf("read settings: host %q: the name is not made of lower-case letters, digits and hyphens", name)
		}
		h, err := s.Hosts[name].open(name)
		if err != nil {
			return nil, fmt.Errorf("read settings: host %q: %w", name, err)
		}
		out[name] = h
	}
	return out, nil
}

// open checks one host. It resolves nothing and sends nothing.
func (h Host) open(name string) (*host, error) {
	// The error of Parse would repeat what was configured.
	base, err := url.Parse(h.URL)
	switch {
	case err != nil || base.Host == "" || base.Opaque != "":
		return nil, errors.New("url is malformed, want https://host/path")
	case base.Scheme != "https":
		return nil, errors.New("url is not https")
	case base.User != nil:
		return nil, errors.New("url holds a credential, which belongs into a file")
	case base.RawQuery != "" || base.Fragment != "" || base.ForceQuery:
		return nil, errors.New("url has a query or a fragment")
	case len(h.SecretFiles) == 0:
		return nil, errors.New("secret_files is empty")
	}
	base.Path = strings.TrimRight(base.Path, "/")
	networks, err := parseNetworks(h.Networks)
	if err != nil {
		return nil, err
	}
	// A request is short: it goes out in one piece.
	config := &tls.Config{MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	if h.CAFile != "" {
		pem, err := os.ReadFile(h.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %q holds no certificate", h.CAFile)
		}
	}
	opened := &host{name: name, base: base, tokenFile: h.TokenFile, secretFiles: h.SecretFiles}
	opened.client = newClient(guard{networks: networks}, config, nil)
	if _, err := opened.credentials(); err != nil {
		return nil, err
	}
	return opened, nil
}

// parseNetworks reads networks such as "10.1.0.0/16".
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil || network != network.Masked() || network.Addr().Is4In6() {
			return nil, fmt.Errorf("network %q is malformed, want such as 10.1.0.0/16", text)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// oneLine reads a file that holds one line.
func oneLine(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(content), "\r\n")
	if len(line) < minToken || strings.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%q does not hold one word of %d bytes or more", path, minToken)
	}
	return line, nil
}
