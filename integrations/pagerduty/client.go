package pagerduty

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

	"github.com/PagerDuty/go-pagerduty"
)

const (
	// defaultURL is PagerDuty's REST API for accounts in the US region.
	defaultURL = "https://api.pagerduty.com"
	// requestTimeout bounds one request, with reading its answer.
	requestTimeout = 10 * time.Second
	// pageSize is PagerDuty's greatest page, in objects, and maxOffset the
	// greatest offset plus limit.
	// Source: https://developer.pagerduty.com/docs/pagination
	pageSize  = 100
	maxOffset = 10000
	// maxAnswer bounds one answer, in bytes: Backout's own bound, for a page of
	// incidents many times over.
	maxAnswer = 8 << 20
)

// Options say how to reach PagerDuty.
type Options struct {
	// URL is the root of the REST API; empty means https://api.pagerduty.com.
	// Accounts in the EU region use https://api.eu.pagerduty.com.
	URL string
	// Token is a REST API token. Exactly one of Token and TokenFile is set;
	// a file is read again for each request, so that tokens rotate.
	Token     string
	TokenFile string
	// From is the e-mail address of the user that notes and escalations are
	// made as. It must be a user of the account.
	From string
	// OnCallLevels is how many levels of an escalation policy, from the first, are
	// on call; 0 means 1, which is who is paged first.
	OnCallLevels int
	// Severities maps priorities of listed incidents.
	Severities Severities
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Transport replaces http.DefaultTransport when it is not nil.
	Transport http.RoundTripper
}

// Client speaks to one PagerDuty account. It implements the pager port of
// workflows/activities and is safe for concurrent use.
type Client struct {
	api  *pagerduty.Client
	http *doer
	opts Options
}

// New makes a client and sends nothing.
func New(o Options) (*Client, error) {
	if o.URL == "" {
		o.URL = defaultURL
	}
	o.URL = strings.TrimRight(o.URL, "/")
	if err := checkURL(o.URL); err != nil {
		return nil, fmt.Errorf("connect to PagerDuty: %w", err)
	}
	if (o.Token == "") == (o.TokenFile == "") {
		return nil, errors.New("connect to PagerDuty: exactly one of token and token file must be set")
	}
	if err := o.Severities.Validate(); err != nil {
		return nil, fmt.Errorf("connect to PagerDuty: %w", err)
	}
	if o.OnCallLevels < 0 || o.OnCallLevels > MaxLevels {
		return nil, fmt.Errorf("connect to PagerDuty: on-call levels are %d, want 1 to %d", o.OnCallLevels, MaxLevels)
	}
	o.OnCallLevels = max(o.OnCallLevels, 1)
	if o.Now == nil {
		o.Now = time.Now
	}
	token := func() (string, error) { return o.Token, nil }
	if o.TokenFile != "" {
		token = func() (string, error) { return readSecret(o.TokenFile) }
	}
	if _, err := token(); err != nil {
		return nil, fmt.Errorf("connect to PagerDuty: %w", err)
	}
	d := &doer{token: token, client: &http.Client{
		Transport: o.Transport, Timeout: requestTimeout,
		// A redirect would carry what was sent to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	// The doer sets the header itself; the library never holds the token.
	api := pagerduty.NewClient("", pagerduty.WithAPIEndpoint(o.URL))
	api.HTTPClient = d
	return &Client{api: api, http: d, opts: o}, nil
}

// Close gives up idle connections.
func (c *Client) Close() error {
	c.http.client.CloseIdleConnections()
	return nil
}

// checkURL accepts https anywhere and http on loopback, without credentials.
func checkURL(address string) error {
	u, err := url.Parse(address)
	// The error of Parse would repeat what was configured.
	if err != nil || u.Host == "" {
		return errors.New("url is malformed")
	}
	if u.User != nil || u.RawQuery != "" {
		return errors.New("url holds a credential or query, which belong elsewhere")
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return errors.New("url must be https, or http on loopback")
	}
	return nil
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

// exchange is what one request brought; the library's errors do not keep it.
type exchange struct {
	status     int
	retryAfter time.Duration
	err        error
	// token is kept to be taken out of what an answer may echo.
	token string
}

type exchangeKey struct{}

// doer sends requests for the library with the token of the moment.
type doer struct {
	client *http.Client
	token  func() (string, error)
}

// Do sends one request.
func (d *doer) Do(r *http.Request) (*http.Response, error) {
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		x = &exchange{}
	}
	token, err := d.token()
	if err != nil {
		x.err = err
		return nil, err
	}
	x.token = token
	r.Header.Set("Authorization", "Token token="+token)
	resp, err := d.client.Do(r)
	if err != nil {
		x.err = err
		return nil, err
	}
	// Reading past the bound is an error, never a shorter answer.
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	x.status, x.retryAfter = resp.StatusCode, retryAfter(resp.StatusCode, resp.Header)
	return resp, nil
}

// call runs one call of the library and turns its error into one of ours.
func call[T any](ctx context.Context, what string, f func(ctx context.Context) (T, error)) (T, error) {
	x := &exchange{}
	out, err := f(context.WithValue(ctx, exchangeKey{}, x))
	if err == nil {
		return out, nil
	}
	var none T
	return none, classify(ctx, what, x, err)
}
