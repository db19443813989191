package compensate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "http"

const (
	// requestTimeout bounds one request, with reading its answer.
	requestTimeout = 15 * time.Second
	// dialTimeout bounds the connection, and then the TLS handshake.
	dialTimeout = 5 * time.Second
	// maxAnswer and maxHeader bound an answer, in bytes: Backout's own bounds.
	maxAnswer = 256 << 10
	maxHeader = 32 << 10
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// services are the hosts of one system.
type services struct {
	hosts map[string]*host
	now   func() time.Time
}

// host is one service.
type host struct {
	name        string
	base        *url.URL
	tokenFile   string
	secretFiles []string
	client      *http.Client
}

// open reads the settings and sends nothing.
func open(_ context.Context, s driver.System) (*services, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	hosts, err := settings.hosts()
	if err != nil {
		return nil, err
	}
	return &services{hosts: hosts, now: time.Now}, nil
}

// Reach asks every host whether it is there.
func (s *services) Reach(ctx context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.hosts)) {
		if _, err := s.hosts[name].do(ctx, exchange{method: http.MethodGet}); err != nil {
			errs = append(errs, fmt.Errorf("host %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// newClient makes a client that goes where it is told to and nowhere else. A nil
// resolver is that of the system.
func newClient(g guard, config *tls.Config, resolver *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, ControlContext: g.control, Resolver: resolver}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:     dialer.DialContext,
			TLSClientConfig: config,
			// No proxy: it would resolve the name itself. No connection is kept from one
			// call to the next: each checks its address.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: maxHeader,
		},
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// session is the host with one connection for several requests in a row, which
// the function closes.
func (h *host) session() (*host, func()) {
	own, client := *h, *h.client
	own.client = &client
	transport, ok := h.client.Transport.(*http.Transport)
	if !ok {
		return &own, func() {}
	}
	transport = transport.Clone()
	transport.DisableKeepAlives = false
	client.Transport = transport
	return &own, transport.CloseIdleConnections
}

// credentials are the secrets of a host, read now.
type credentials struct {
	token   string
	signing [][]byte
	// texts are all of them as they are spelled.
	texts []string
}

func (h *host) credentials() (credentials, error) {
	var c credentials
	if h.tokenFile != "" {
		token, err := oneLine(h.tokenFile)
		if err != nil {
			return credentials{}, fmt.Errorf("read token: %w", err)
		}
		c.token, c.texts = token, append(c.texts, token)
	}
	for _, file := range h.secretFiles {
		text, err := oneLine(file)
		if err != nil {
			return credentials{}, fmt.Errorf("read signing secret: %w", err)
		}
		secret, err := parseSecret(text)
		if err != nil {
			return credentials{}, fmt.Errorf("read signing secret: %w", err)
		}
		c.signing = append(c.signing, secret)
		c.texts = append(c.texts, text, text[len(secretPrefix):])
	}
	return c, nil
}

// exchange is one request and what came back.
type exchange struct {
	method   string
	resource string
	query    url.Values
	// body is signed and sent, for POST.
	body []byte
	// key and message are its idempotency key and its id; ifMatch the ETag that it
	// is conditional on, or empty.
	key, message, ifMatch string
	at                    time.Time

	status int
	etag   string
	answer []byte
}

// do sends a request. What the status means is decided here: an error that is not
// one of the driver's final ones may pass. Only 412 comes back without an error
// beside 200 and 202.
func (h *host) do(ctx context.Context, x exchange) (exchange, error) {
	secrets, err := h.credentials()
	if err != nil {
		return x, err
	}
	target := *h.base
	if x.resource != "" {
		target.Path += "/" + x.resource
	}
	target.RawQuery = x.query.Encode()
	request, err := http.NewRequestWithContext(ctx, x.method, target.String(), bytes.NewReader(x.body))
	if err != nil {
		return x, errors.New("make request: the url is malformed")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "backout")
	if secrets.token != "" {
		request.Header.Set("Authorization", "Bearer "+secrets.token)
	}
	if x.method == http.MethodPost {
		request.GetBody = nil // The transport must not send it again by itself.
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set(headerID, x.message)
		request.Header.Set(headerTimestamp, strconv.FormatInt(x.at.Unix(), 10))
		request.Header.Set(headerSignature, sign(secrets.signing, x.message, x.at, x.body))
		// A string of structured fields.
		// Source: https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
		request.Header.Set("Idempotency-Key", strconv.Quote(x.key))
		if x.ifMatch != "" {
			request.Header.Set("If-Match", x.ifMatch)
		}
	}
	response, err := h.client.Do(request)
	if err != nil {
		return x, fmt.Errorf("ask the service: %w", bare(err))
	}
	defer func() { _ = response.Body.Close() }() // It was read, or is not wanted.
	x.status, x.etag = response.StatusCode, response.Header.Get("ETag")
	x.answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return x, fmt.Errorf("read the answer: %w", bare(err))
	}
	if err := meaning(response.StatusCode); err != nil {
		return x, err
	}
	switch {
	case len(x.answer) > maxAnswer:
		return x, violation(fmt.Sprintf("the answer has more than %d bytes", maxAnswer))
	case x.resource != "" && !isJSON(response.Header.Get("Content-Type")):
		return x, violation("the answer is not application/json")
	case leaks(x.answer, x.etag, secrets.texts):
		return x, violation("the answer holds a secret of Backout's")
	}
	return x, nil
}

// bare is an error of the client without the URL.
func bare(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

func isJSON(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "application/json"
}

// meaning is what a status says; nil for one that has an answer with it.
func meaning(status int) error {
	switch {
	case status == http.StatusOK || status == http.StatusAccepted || status == http.StatusPreconditionFailed:
		return nil
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%w: the service answered %d", driver.ErrDenied, status)
	case status == http.StatusNotFound || status == http.StatusGone:
		return fmt.Errorf("%w: the service answered %d", driver.ErrNotFound, status)
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: the service answered %d, and a redirection is not followed", driver.ErrInvalid, status)
	case status == http.StatusConflict:
		return errors.New("the service is busy with the resource (409)")
	case status == http.StatusTooManyRequests:
		return errors.New("the service asks for fewer requests (429)")
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status >= 500:
		return fmt.Errorf("the service answered %d", status)
	default:
		return fmt.Errorf("%w: the service answered %d", driver.ErrInvalid, status)
	}
}
