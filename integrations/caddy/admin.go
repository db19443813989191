package caddy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// systemType is the name of the system type in the configuration.
const systemType = "caddy"

// requestTimeout bounds one request, with its answer. Caddy itself gives up reading
// one after 10 s, and takes on a configuration before it answers.
const requestTimeout = 15 * time.Second

// maxContent is the largest part of a configuration that is taken, in bytes.
const maxContent = 4 << 20

// targetForm shows how a target's path is spelled.
const targetForm = "id/<@id> or config/<path>, such as config/apps/http/servers/edge/routes/0"

// maxPath is the longest path of a target, in bytes.
const maxPath = 512

// segmentPattern is what one segment of a path may look like.
var segmentPattern = regexp.MustCompile(`^[A-Za-z0-9_@:.-]+$`)

// errMoved means that a compare-and-set lost: the part has another ETag.
var errMoved = errors.New("the configuration has another ETag")

func init() {
	driver.RegisterSystem(systemType, open)
}

// connection is one Caddy.
type connection struct {
	name     string
	settings Settings
	endpoint endpoint
	client   *http.Client
	history  history
	now      func() time.Time
}

// open makes the client. It asks Caddy nothing.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	where, err := settings.endpoint()
	if err != nil {
		return nil, err
	}
	if err := settings.check(); err != nil {
		return nil, err
	}
	var dialer net.Dialer
	transport := &http.Transport{
		TLSClientConfig: where.tls,
		// Caddy replaces its admin server with every configuration that it takes on, and
		// closes what is idle.
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if where.socket != "" {
				network, address = "unix", where.socket
			}
			return dialer.DialContext(ctx, network, address)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	return &connection{
		name: s.Name, settings: settings, endpoint: where, history: history{folder: settings.HistoryFolder, system: s.Name}, now: time.Now,
		client: &http.Client{Transport: transport, Timeout: requestTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Close ends idle connections.
func (c *connection) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// Reach asks for a part of the configuration that need not be there.
func (c *connection) Reach(ctx context.Context) error {
	answer, err := c.get(ctx, "/config/apps/http/servers")
	switch {
	case err != nil:
		return err
	case answer.status >= http.StatusInternalServerError:
		return answer.problem()
	case errors.Is(answer.problem(), driver.ErrDenied):
		return answer.problem()
	}
	return nil
}

// location names one part of the configuration absolutely.
type location struct{ path string }

func parseTarget(target incident.Target) (location, error) {
	at, err := parsePath(target.Path)
	if err != nil {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return at, nil
}

func parsePath(path string) (location, error) {
	segments := strings.Split(path, "/")
	if len(path) > maxPath || len(segments) < 2 || segments[0] != "id" && segments[0] != "config" {
		return location{}, errors.New("malformed path")
	}
	for _, segment := range segments[1:] {
		if !segmentPattern.MatchString(segment) || strings.Trim(segment, ".") == "" {
			return location{}, errors.New("malformed path")
		}
	}
	return location{path: path}, nil
}

// reply is an answer of the admin API.
type reply struct {
	status int
	etag   string
	body   []byte
}

// problem is an answer as an error; nil when it is a good one. Caddy's own words are
// left out: they quote the configuration.
func (r reply) problem() error {
	switch r.status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: caddy answers %d", driver.ErrDenied, r.status)
	case http.StatusNotFound:
		return fmt.Errorf("%w: caddy answers %d", driver.ErrNotFound, r.status)
	case http.StatusPreconditionFailed:
		return errMoved
	}
	return fmt.Errorf("caddy answers %d, and its log says why", r.status)
}

// ask sends one request. Whether one whose answer was lost had an effect is not
// known. No error holds a body.
func (c *connection) ask(ctx context.Context, method, path string, body []byte, ifMatch string) (reply, error) {
	u := c.endpoint.base
	u.Path = path
	request, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("ask for %s: %w", path, err)
	}
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	if ifMatch != "" {
		request.Header.Set("If-Match", ifMatch)
	}
	response, err := c.client.Do(request)
	if err != nil {
		if refusesCertificate(err) {
			return reply{}, fmt.Errorf("ask for %s: %w: caddy refused the client certificate", path, driver.ErrDenied)
		}
		return reply{}, fmt.Errorf("ask for %s: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }() // All that was wanted of it has been read.
	content, err := io.ReadAll(io.LimitReader(response.Body, maxContent+1))
	if err != nil {
		return reply{}, fmt.Errorf("ask for %s: %w", path, err)
	}
	if len(content) > maxContent {
		return reply{}, fmt.Errorf("ask for %s: %w: the answer is longer than %d bytes", path, driver.ErrInvalid, maxContent)
	}
	return reply{status: response.StatusCode, etag: response.Header.Get("Etag"), body: content}, nil
}

// The alerts of TLS that speak of the client's certificate. Others can pass.
// Source: https://www.rfc-editor.org/rfc/rfc8446#section-6
const (
	firstCertificateAlert    = 42
	lastCertificateAlert     = 49
	certificateRequiredAlert = 116
)

// refusesCertificate reports whether an error is an alert of the other side about the
// client's certificate.
func refusesCertificate(err error) bool {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return false
	}
	// The package crypto/tls keeps the type to itself; it is a number.
	alert := reflect.ValueOf(remote.Err)
	if alert.Kind() != reflect.Uint8 {
		return false
	}
	number := alert.Uint()
	return number >= firstCertificateAlert && number <= lastCertificateAlert || number == certificateRequiredAlert
}

// part is a part of the configuration as it was read.
type part struct {
	content content
	// path is where Caddy found it, which for an "@id" may be another the next time.
	path string
	etag string
}

// read reads a part of the configuration. It returns driver.ErrNotFound when there is
// none.
func (c *connection) read(ctx context.Context, at location) (part, error) {
	answer, err := c.get(ctx, "/"+at.path)
	if err != nil {
		return part{}, err
	}
	switch {
	case answer.status == http.StatusBadRequest:
		// So Caddy answers when the path leads nowhere.
		return part{}, fmt.Errorf("%w: caddy answers %d", driver.ErrNotFound, answer.status)
	case answer.status != http.StatusOK:
		return part{}, answer.problem()
	}
	parsed, err := parseContent(answer.body)
	if err != nil {
		return part{}, fmt.Errorf("read %s: %w", at.path, err)
	}
	if string(parsed) == "null" {
		return part{}, fmt.Errorf("%w: nothing is configured there", driver.ErrNotFound)
	}
	path, _, ok := strings.Cut(strings.Trim(answer.etag, `"`), " ")
	if !ok || !strings.HasPrefix(path, "/config/") {
		return part{}, fmt.Errorf("read %s: %w: the answer has no ETag of Caddy", at.path, driver.ErrInvalid)
	}
	return part{content: parsed, path: path, etag: answer.etag}, nil
}

// How often a read is tried, and how long apart. While Caddy takes on a configuration
// it replaces its admin server, and the old one may drop a connection that it has just
// accepted.
const (
	readAttempts = 3
	readWait     = 50 * time.Millisecond
)

// get reads, and tries again when the connection was dropped.
func (c *connection) get(ctx context.Context, path string) (answer reply, err error) {
	for attempt := 1; ; attempt++ {
		answer, err = c.ask(ctx, http.MethodGet, path, nil, "")
		if attempt == readAttempts || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return reply{}, fmt.Errorf("ask for %s: %w", path, ctx.Err())
		case <-time.After(readWait):
		}
	}
}

// write replaces a part of the configuration if it is the one that was read.
func (c *connection) write(ctx context.Context, was part, wanted content) error {
	answer, err := c.ask(ctx, http.MethodPatch, was.path, wanted, was.etag)
	if err != nil {
		return err
	}
	if answer.status == http.StatusBadRequest {
		// The path leads elsewhere since, or Caddy does not take the content.
		return fmt.Errorf("write %s: caddy answers %d, and its log says why", was.path, answer.status)
	}
	return answer.problem()
}

// may reports whether the credential may replace a part. It asks for it with an ETag
// that can not match and the content that is there, so that nothing can change.
func (c *connection) may(ctx context.Context, was part) (bool, error) {
	answer, err := c.ask(ctx, http.MethodPatch, was.path, was.content, `"`+was.path+` preflight"`)
	if err != nil {
		if errors.Is(err, driver.ErrDenied) {
			return false, nil
		}
		return false, err
	}
	switch problem := answer.problem(); {
	case errors.Is(problem, errMoved):
		return true, nil
	case errors.Is(problem, driver.ErrDenied):
		return false, nil
	default:
		return false, fmt.Errorf("ask whether %s may be written: caddy answers %d", was.path, answer.status)
	}
}
