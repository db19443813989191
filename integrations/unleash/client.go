package unleash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "unleash"

const (
	// requestTimeout bounds one request, with reading its answer.
	requestTimeout = 15 * time.Second
	// maxAnswer bounds one answer, in bytes: Backout's own bound, for a page of the
	// longest events.
	maxAnswer = 32 << 20
	// maxReason is the longest text of the server's that an error keeps, in runes.
	maxReason = 200
	// maxPause bounds what a header may ask for.
	maxPause = time.Minute
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// errMoved means that a test of a JSON Patch failed: another writer was faster.
var errMoved = errors.New("the strategy is not what was observed")

// connection is one connected Unleash server.
type connection struct {
	name      string
	base      *url.URL
	tokenFile string
	http      *http.Client

	mu sync.Mutex
	// self is who the token belongs to; 0 when that was not asked yet, and below 0 for
	// one that belongs to nobody.
	self int
}

// open makes a client and sends nothing: a server that is down must not keep
// Backout from starting.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	base, err := parseURL(settings.URL)
	if err != nil {
		return nil, err
	}
	if settings.TokenFile == "" {
		return nil, errors.New("read settings: token_file is empty")
	}
	if _, err := readToken(settings.TokenFile); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &connection{name: s.Name, base: base, tokenFile: settings.TokenFile, http: &http.Client{
		Transport: transport, Timeout: requestTimeout,
		// The token must not follow a redirect to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close gives up the idle connections.
func (c *connection) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Reach asks whose token it is.
func (c *connection) Reach(ctx context.Context) error {
	_, err := c.user(ctx)
	return err
}

// APIError is a refusal or failure of the server's. It is final when it wraps
// driver.ErrDenied, driver.ErrNotFound or driver.ErrInvalid; anything else may be
// tried again, not before RetryAfter.
type APIError struct {
	what   string
	reason string
	// Status is the HTTP status.
	Status int
	after  time.Duration
	cause  error
}

// Error says what was asked and how the server answered. It holds no token, and no
// part of a flag.
func (e *APIError) Error() string {
	return fmt.Sprintf("%s: Unleash answered %d: %s", e.what, e.Status, e.reason)
}

// Unwrap is the class of the error.
func (e *APIError) Unwrap() error { return e.cause }

// RetryAfter is how long to wait before trying again; 0 means as usual.
func (e *APIError) RetryAfter() time.Duration { return e.after }

// call makes one request of the admin API. A body that is not nil is sent as JSON,
// and the answer is decoded into what is not nil.
func (c *connection) call(ctx context.Context, method, what, path string, query url.Values, body, into any) error {
	token, err := readToken(c.tokenFile)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var sent io.Reader
	if body != nil {
		content, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: encode request: %w", what, err)
		}
		sent = bytes.NewReader(content)
	}
	address := c.base.String() + "/api/admin" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return fmt.Errorf("%s: %w: the path is malformed", what, driver.ErrInvalid)
	}
	request.Header.Set("Authorization", token)
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%s: no answer from Unleash: %w", what, transportError(ctx, err))
	}
	defer func() { _ = answer.Body.Close() }() // What matters was read by then.
	content, err := io.ReadAll(http.MaxBytesReader(nil, answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: read answer: %w", what, transportError(ctx, err))
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return classify(what, answer, content, token)
	}
	if into == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		// The decoder's error may quote the answer.
		return fmt.Errorf("%s: decode answer: it has another form than expected", what)
	}
	return nil
}

// transportError is why there was no answer, without the address.
func transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if transport, ok := errors.AsType[*url.Error](err); ok {
		return transport.Err
	}
	return err
}

// classify decides once whether a refusal is final.
func classify(what string, answer *http.Response, content []byte, token string) error {
	var said struct {
		Name    string `json:"name"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(content, &said) // A proxy may answer with anything; then nothing is said.
	if strings.Contains(said.Message, "TEST_OPERATION_FAILED") {
		// fast-json-patch names its errors so, and Unleash passes them on as its own.
		return fmt.Errorf("%s: %w", what, errMoved)
	}
	e := &APIError{what: what, Status: answer.StatusCode, reason: oneLine(said.Name, maxReason)}
	if e.reason == "" {
		e.reason = "no reason given"
	}
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.after = min(time.Duration(seconds)*time.Second, maxPause)
	}
	switch status := answer.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusConflict, status >= http.StatusInternalServerError:
	case status == http.StatusForbidden && said.Name == "InvalidOperationError":
		e.cause = driver.ErrInvalid // It is not a matter of rights.
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.cause = driver.ErrDenied
		// What is missing; of other errors the message may quote the flag.
		e.reason = oneLine(strings.ReplaceAll(said.Name+": "+said.Message, token, "[token]"), maxReason)
	case status == http.StatusNotFound, status == http.StatusGone:
		e.cause = driver.ErrNotFound
	default:
		e.cause = driver.ErrInvalid
	}
	return e
}

// grant is one permission of the token's owner. Empty means everywhere.
type grant struct {
	Permission  string `json:"permission"`
	Project     string `json:"project"`
	Environment string `json:"environment"`
}

// admin is the permission that includes all others.
const admin = "ADMIN"

// covers reports whether a grant gives a permission on a flag's environment, as the
// server decides it.
func (g grant) covers(permission string, at location) bool {
	return (g.Permission == permission || g.Permission == admin) &&
		(g.Project == "" || g.Project == "*" || g.Project == at.project) &&
		(g.Environment == "" || g.Environment == "*" || g.Environment == at.environment)
}

// user is who the token belongs to and what it may do.
func (c *connection) user(ctx context.Context) ([]grant, error) {
	var answer struct {
		User struct {
			ID int `json:"id"`
			// Internal is the ID of an admin token in the event log.
			Internal int `json:"internalAdminTokenUserId"`
		} `json:"user"`
		Permissions []grant `json:"permissions"`
	}
	if err := c.call(ctx, http.MethodGet, "read own account", "/user", nil, nil, &answer); err != nil {
		return nil, err
	}
	self := answer.User.ID
	if self == 0 {
		self = answer.User.Internal
	}
	if self == 0 {
		return nil, errors.New("read own account: Unleash does not say whose token it is")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = self
	return answer.Permissions, nil
}

// me is the ID under which the event log has Backout's own changes.
func (c *connection) me(ctx context.Context) (int, error) {
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	if self != 0 {
		return self, nil
	}
	if _, err := c.user(ctx); err != nil {
		return 0, err
	}
	return c.me(ctx)
}

// oneLine is text from outside as one line of at most limit runes, without control
// characters.
func oneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-1]) + "…"
	}
	return strings.TrimSpace(text)
}
