package github

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

const (
	// defaultURL is GitHub's REST API; GitHub Enterprise Server has it at
	// https://<host>/api/v3/.
	defaultURL = "https://api.github.com/"
	// requestTimeout bounds one request, with reading its answer.
	requestTimeout = 15 * time.Second
	// pageSize is GitHub's greatest page, in objects.
	// Source: https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
	pageSize = 100
	// maxAnswer bounds one answer, in bytes: Backout's own bound, for a page of the
	// longest issues.
	maxAnswer = 32 << 20
)

// Options say how to reach GitHub.
type Options struct {
	// URL is the root of the REST API; empty means https://api.github.com/.
	URL string
	// Token is a personal access token or an installation token. Exactly one
	// of Token and TokenFile is set; a file is read again for each request, so
	// that tokens rotate.
	Token     string
	TokenFile string
	// Transport replaces http.DefaultTransport when it is not nil.
	Transport http.RoundTripper
}

// connection is one connected GitHub.
type connection struct {
	api  *gh.Client
	http *http.Client
	auth *authorizer
}

// connect makes a client and sends nothing: a GitHub that is out of reach must
// not keep Backout from starting.
func connect(o Options) (*connection, error) {
	if o.URL == "" {
		o.URL = defaultURL
	}
	base, err := parseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("connect to GitHub: %w", err)
	}
	if (o.Token == "") == (o.TokenFile == "") {
		return nil, errors.New("connect to GitHub: exactly one of token and token file must be set")
	}
	token := func() (string, error) { return o.Token, nil }
	if o.TokenFile != "" {
		token = func() (string, error) { return readSecret(o.TokenFile) }
	}
	if _, err := token(); err != nil {
		return nil, fmt.Errorf("connect to GitHub: %w", err)
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	auth := &authorizer{next: o.Transport, base: base, token: token}
	client := &http.Client{Transport: auth, Timeout: requestTimeout, CheckRedirect: sameMethod}
	api := gh.NewClient(client)
	api.BaseURL, api.UserAgent = base, "backout"
	return &connection{api: api, http: client, auth: auth}, nil
}

// maxRedirects is how often one request is sent elsewhere at most.
const maxRedirects = 5

// errWritingMoved means that what was to be written is somewhere else: the next attempt finds
// it there.
var errWritingMoved = errors.New("what was to be written was moved")

// sameMethod follows no redirect that would make a reading out of a writing, as a 301
// does: the answer would look as if something had been written.
func sameMethod(next *http.Request, via []*http.Request) error {
	if next.Method != via[0].Method {
		return errWritingMoved
	}
	if len(via) >= maxRedirects {
		return errors.New("redirected too often")
	}
	return nil
}

// Reach reads whose token it is.
func (c *connection) Reach(ctx context.Context) error {
	_, resp, err := c.api.Users.Get(ctx, "")
	return c.classify(ctx, "read own account", resp, err)
}

// Close gives up idle connections.
func (c *connection) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// authorizer adds the token of the moment to requests to one host. A renamed
// repository answers with a redirect, which is followed, but never to another
// host.
type authorizer struct {
	next  http.RoundTripper
	base  *url.URL
	token func() (string, error)
}

// errElsewhere means that GitHub pointed to another host.
var errElsewhere = errors.New("redirect to another host refused")

// RoundTrip sends one request.
func (a *authorizer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != a.base.Host || r.URL.Scheme != a.base.Scheme {
		return nil, errElsewhere
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := a.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	// Reading past the bound is an error, never a shorter answer.
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// redact takes the token out of text that an answer may have echoed.
func (a *authorizer) redact(text string) string {
	token, err := a.token()
	if err != nil || token == "" {
		return text
	}
	return strings.ReplaceAll(text, token, "[token]")
}

// CloseIdleConnections lets the client close what its transport holds.
func (a *authorizer) CloseIdleConnections() {
	if c, ok := a.next.(interface{ CloseIdleConnections() }); ok && a.next != http.DefaultTransport {
		c.CloseIdleConnections()
	}
}

// parseURL accepts https anywhere and http on loopback, without credentials,
// and returns it with the slash that the library needs at its end.
func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(address, "/") + "/")
	// The error of Parse would repeat what was configured.
	if err != nil || u.Host == "" {
		return nil, errors.New("url is malformed")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("url holds a credential or query, which belong elsewhere")
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, errors.New("url must be https, or http on loopback")
	}
	return u, nil
}

// readSecret reads a file that holds one line.
func readSecret(path string) (string, error) {
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

// parseRepo splits "owner/name".
func parseRepo(full string) (owner, name string, err error) {
	owner, name, ok := strings.Cut(full, "/")
	if !ok || !plainName(owner) || !plainName(name) {
		return "", "", fmt.Errorf("parse repository %q: want <owner>/<name>", full)
	}
	return owner, name, nil
}

// plainName accepts the characters that owners and repositories may have; the
// library puts them into a path as they are.
func plainName(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(s, ".") != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}
