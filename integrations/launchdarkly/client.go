package launchdarkly

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
	"time"
	"unicode"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "launchdarkly"

const (
	// apiVersion pins the form of requests and answers.
	// Source: https://launchdarkly.com/docs/api#versioning
	apiVersion = "20240415"
	// requestTimeout bounds one request, with reading its answer.
	requestTimeout = 15 * time.Second
	// maxAnswer bounds one answer, in bytes: Backout's own bound, for an entry with a
	// flag that targets many thousands twice.
	maxAnswer = 32 << 20
	// maxReason is the longest text of LaunchDarkly's that an error keeps, in runes.
	maxReason = 200
	// limitWindow is the period of LaunchDarkly's limits, and what is waited for when
	// no header says how long.
	// Source: https://launchdarkly.com/docs/api#rate-limiting
	limitWindow = 10 * time.Second
	// maxPause bounds what a header may ask for.
	maxPause = time.Minute
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// connection is one connected LaunchDarkly account.
type connection struct {
	base      *url.URL
	tokenFile string
	http      *http.Client
	now       func() time.Time
}

// open makes a client and sends nothing: LaunchDarkly that is out of reach must not
// keep Backout from starting.
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
	return &connection{base: base, tokenFile: settings.TokenFile, now: time.Now, http: &http.Client{
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
	return c.call(ctx, http.MethodGet, "read own identity", "/api/v2/caller-identity", nil, nil, nil)
}

// APIError is a refusal or failure of LaunchDarkly's. It is final when it wraps
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

// Error says what was asked and how LaunchDarkly answered. It holds no token, and no
// part of a flag.
func (e *APIError) Error() string {
	return fmt.Sprintf("%s: LaunchDarkly answered %d: %s", e.what, e.Status, e.reason)
}

// Unwrap is the class of the error.
func (e *APIError) Unwrap() error { return e.cause }

// RetryAfter is how long to wait before trying again; 0 means as usual.
func (e *APIError) RetryAfter() time.Duration { return e.after }

// errApproval means that a change needs the approval of people in LaunchDarkly.
var errApproval = errors.New("approval is required in LaunchDarkly")

// call makes one request. A body that is not nil is sent as JSON, and the answer is
// decoded into what is not nil.
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
	address := c.base.String() + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return fmt.Errorf("%s: %w: the path is malformed", what, driver.ErrInvalid)
	}
	request.Header.Set("Authorization", token)
	request.Header.Set("LD-API-Version", apiVersion)
	request.Header.Set("User-Agent", "backout")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%s: no answer from LaunchDarkly: %w", what, transportError(ctx, err))
	}
	defer func() { _ = answer.Body.Close() }() // What matters was read by then.
	content, err := io.ReadAll(http.MaxBytesReader(nil, answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: read answer: %w", what, transportError(ctx, err))
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return c.classify(what, answer, content)
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

// classify decides once whether a refusal is final. Only the code of an error is
// told: its message may quote the flag.
// Source: https://launchdarkly.com/docs/api#errors
func (c *connection) classify(what string, answer *http.Response, content []byte) error {
	var said struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(content, &said) // A proxy may answer with anything; then nothing is said.
	e := &APIError{what: what, Status: answer.StatusCode, reason: oneLine(said.Code, maxReason), after: c.pause(answer)}
	if e.reason == "" {
		e.reason = "no reason given"
	}
	switch status := answer.StatusCode; {
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusConflict, status >= http.StatusInternalServerError:
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.cause = driver.ErrDenied
	case status == http.StatusMethodNotAllowed:
		e.cause = fmt.Errorf("%w: %w", driver.ErrDenied, errApproval)
	case status == http.StatusNotFound:
		e.cause = driver.ErrNotFound
	default:
		e.cause = driver.ErrInvalid
	}
	return e
}

// pause is how long a refused request has to wait: until a window of the limits is
// over, or as long as an address is told to.
func (c *connection) pause(answer *http.Response) time.Duration {
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, maxPause)
	}
	if answer.StatusCode != http.StatusTooManyRequests {
		return 0
	}
	if reset, err := strconv.ParseInt(answer.Header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
		return min(max(time.UnixMilli(reset).Sub(c.now()), 0), maxPause)
	}
	return limitWindow
}

// refusedPatch reports whether an error may mean that the test of a patch failed:
// LaunchDarkly's document names no one status for that.
func refusedPatch(err error) bool {
	var refusal *APIError
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed, http.StatusUnprocessableEntity:
		return true
	default:
		return false
	}
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
