package unleash

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// Settings are the configuration of one Unleash server.
type Settings struct {
	// URL is the root of the server, such as "https://unleash.example.org". It is
	// https, or http on loopback, and holds no user and no password.
	URL string `yaml:"url" json:"url"`
	// TokenFile holds a personal access token or the token of a service account. It
	// is read again for each request, so that tokens rotate. The token has to be
	// Backout's own: that is how Backout tells its own changes from those of others.
	TokenFile string `yaml:"token_file" json:"token_file"`
}

// parseURL accepts https anywhere and http on loopback, without credentials, and
// returns it without a slash at its end.
func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(address, "/"))
	// The error of Parse would repeat what was configured.
	if err != nil || u.Host == "" {
		return nil, errors.New("read settings: url is malformed")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("read settings: url holds a credential or query, which belong elsewhere")
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, errors.New("read settings: url must be https, or http on loopback")
	}
	return u, nil
}

// readToken reads a file that holds one line.
func readToken(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token file: %w", err)
	}
	line := strings.TrimRight(string(content), "\r\n")
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("read token file %q: it must hold one line", path)
	}
	return line, nil
}
