package endpoint

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// probeKind is the name of the collector.
const probeKind = "http.probe"

// Bounds of what is kept of an answer, in bytes. They are Backout's own.
const (
	maxBody    = 64 << 10
	maxHeaders = 64 << 10
	maxHeader  = 512
)

// The parameters of the collector.
const (
	paramMethod  = "method"
	paramHeaders = "headers"
	paramTimeout = "timeout"
)

// plain are the headers that are kept without being asked for: those that say what was
// answered, by whom, and whether it came from a cache.
var plain = []string{
	"Age", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Etag", "Last-Modified", "Location", "Retry-After",
	"Server", "Server-Timing", "Vary", "Via", "X-Cache", "X-Request-Id",
}

// secretive are the headers that are never kept.
var secretive = []string{"Authorization", "Cookie", "Proxy-Authenticate", "Proxy-Authorization", "Set-Cookie", "Www-Authenticate"}

// pathPattern is what a path may look like. No segment is ".", ".." or empty, but for
// the last.
var pathPattern = regexp.MustCompile(`^(?:[A-Za-z0-9_@:=+~-][A-Za-z0-9._@:=+~-]*/)*(?:[A-Za-z0-9_@:=+~-][A-Za-z0-9._@:=+~-]*)?$`)

// headerName is a name of a header.
var headerName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// maxPath bounds a path, in bytes.
const maxPath = 512

func init() {
	driver.RegisterCollector(probeKind, systemType, func(p *site) driver.Collector { return collector{p} })
	driver.RegisterParams(probeKind, func(target incident.Target, params map[string]string) error {
		_, err := read(driver.CollectRequest{Target: target, Params: params})
		return err
	})
}

// collector looks at one path.
type collector struct{ site *site }

// request is what to ask.
type request struct {
	method, path string
	headers      []string
	timeout      time.Duration
}

// answer is what was seen, as evidence. Times are in milliseconds since the beginning
// of the request; a part that was not reached is not there.
type answer struct {
	Method   string              `json:"method"`
	URL      string              `json:"url"`
	Error    string              `json:"error,omitempty"`
	Status   int                 `json:"status,omitempty"`
	Protocol string              `json:"protocol,omitempty"`
	Headers  map[string][]string `json:"headers,omitempty"`
	TLS      *handshake          `json:"tls,omitempty"`
	Times    map[string]float64  `json:"milliseconds,omitempty"`
	// BodyBytes is how much of the body came, at most one byte more than is kept.
	BodyBytes int64  `json:"body_bytes"`
	Body      string `json:"body,omitempty"`
	// BodyDigest is of what came of a body that is no text.
	BodyDigest string `json:"body_digest,omitempty"`
	Note       string `json:"note,omitempty"`
}

// handshake is what there is to know of the encryption.
type handshake struct {
	Version string    `json:"version"`
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Until   time.Time `json:"valid_until"`
}

// Collect asks for the path of the target, below the address of the settings. Its
// parameters are "method", which is GET or HEAD and GET without it; "headers", the names
// of more headers to keep, with commas between them; and "timeout", such as "3s", which
// is 6 s at most and without it.
func (c collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	r, err := read(req)
	if err != nil {
		return nil, err
	}
	seen, err := c.site.ask(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	content, err := json.MarshalIndent(seen, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode answer of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: probeKind + " " + req.Target.String(), MediaType: "application/json", Content: content}}, nil
}

// read checks what a runbook asks for.
func read(req driver.CollectRequest) (request, error) {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("collect from %q: %w: %s", req.Target.System, driver.ErrInvalid, fmt.Sprintf(format, args...))
	}
	r := request{method: http.MethodGet, path: req.Target.Path, timeout: maxTimeout, headers: slices.Clone(plain)}
	if len(r.path) > maxPath || !pathPattern.MatchString(r.path) {
		return request{}, invalid("the path of the target is one below the configured url, such as %q, without a query", "healthz/ready")
	}
	if err := driver.KnownParams(req.Params, probeKind, paramMethod, paramHeaders, paramTimeout); err != nil {
		return request{}, err
	}
	wrong := func(name, format string, args ...any) error {
		return &driver.ParamError{Param: name, Reason: fmt.Sprintf(format, args...)}
	}
	for name, value := range req.Params {
		switch name {
		case paramMethod:
			if value != http.MethodGet && value != http.MethodHead {
				return request{}, wrong(name, "it is neither GET nor HEAD")
			}
			r.method = value
		case paramTimeout:
			var err error
			if r.timeout, err = time.ParseDuration(value); err != nil || r.timeout <= 0 || r.timeout > maxTimeout {
				return request{}, wrong(name, "it is not a time of %s at most, such as 3s", maxTimeout)
			}
		case paramHeaders:
			for h := range strings.SplitSeq(value, ",") {
				h = http.CanonicalHeaderKey(strings.TrimSpace(h))
				if !headerName.MatchString(h) || slices.Contains(secretive, h) {
					return request{}, wrong(name, "it names a header that is malformed or never kept")
				}
				r.headers = append(r.headers, h)
			}
		}
	}
	return r, nil
}

// ask sends one request. That nobody answers is in the answer; an error means that
// nothing could be asked.
func (p *site) ask(ctx context.Context, r request) (answer, error) {
	token, err := p.token()
	if err != nil {
		return answer{}, err
	}
	at := *p.base
	at.Path = strings.TrimSuffix(at.Path, "/") + "/" + r.path
	seen := answer{Method: r.method, URL: at.String()}
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	times := &stopwatch{started: time.Now(), at: map[string]float64{}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, times.trace()), r.method, at.String(), http.NoBody)
	if err != nil {
		return answer{}, errors.New("make the request: the url is malformed")
	}
	req.Header.Set("User-Agent", "backout")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		seen.Error, seen.Times = reason(err), times.read()
		if errors.Is(err, errForbidden) {
			return answer{}, fmt.Errorf("%w: %w", driver.ErrDenied, errForbidden)
		}
		return seen, nil
	}
	defer func() { _ = resp.Body.Close() }() // It was only read.
	seen.Status, seen.Protocol, seen.TLS = resp.StatusCode, resp.Proto, encryption(resp.TLS)
	seen.keepHeaders(resp.Header, r.headers)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	times.mark("body")
	seen.Times = times.read()
	if err != nil {
		seen.Error = "the body broke off: " + reason(err)
	}
	seen.keepBody(body, resp.Header.Get("Content-Type"))
	return seen, nil
}

// keepHeaders keeps the headers that are listed, each cut where it is too long.
func (a *answer) keepHeaders(sent http.Header, listed []string) {
	a.Headers = map[string][]string{}
	for _, name := range listed {
		for _, value := range sent[name] {
			if len(value) > maxHeader {
				value = strings.ToValidUTF8(value[:maxHeader], "") + "…"
			}
			a.Headers[name] = append(a.Headers[name], value)
		}
	}
}

// keepBody keeps the beginning of a text, and the digest of anything else.
func (a *answer) keepBody(body []byte, mediaType string) {
	a.BodyBytes = int64(len(body))
	if len(body) > maxBody {
		body = body[:maxBody]
		a.Note = fmt.Sprintf("the body goes on: its first %d bytes are here", maxBody)
	}
	if len(body) == 0 {
		return
	}
	text := body
	for len(text) > 0 && len(body) == maxBody && !utf8.Valid(text[max(0, len(text)-utf8.UTFMax):]) && len(body)-len(text) < utf8.UTFMax {
		text = text[:len(text)-1]
	}
	name, _, err := mime.ParseMediaType(mediaType)
	if known := err != nil || strings.HasPrefix(name, "text/") || strings.Contains(name, "json") || strings.Contains(name, "xml"); known && utf8.Valid(text) {
		a.Body = string(text)
		return
	}
	a.BodyDigest = incident.DigestOf(body)
}

// encryption is what a connection was encrypted with; nil where it was not.
func encryption(state *tls.ConnectionState) *handshake {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	return &handshake{Version: tls.VersionName(state.Version), Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), Until: leaf.NotAfter.UTC()}
}

// reason is an error of the client in words, without the address, which is beside it.
func reason(err error) string {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke"
	case errors.As(err, &dns):
		return "the name was not resolved"
	}
	return err.Error()
}

// stopwatch takes the times of one request. The client reports from several goroutines.
type stopwatch struct {
	started time.Time
	mu      sync.Mutex
	at      map[string]float64
}

// mark notes that a part is over.
func (s *stopwatch) mark(part string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[part] = float64(time.Since(s.started).Microseconds()) / 1000
}

// read is what was noted so far.
func (s *stopwatch) read() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.at)
}

func (s *stopwatch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSDone:              func(httptrace.DNSDoneInfo) { s.mark("name") },
		ConnectDone:          func(string, string, error) { s.mark("connect") },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { s.mark("tls") },
		GotFirstResponseByte: func() { s.mark("first_byte") },
	}
}
