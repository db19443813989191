package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxBody bounds a request body, in bytes; it is far above what any vendor
// here accepts and keeps a runaway client from filling memory.
const maxBody = 4 << 20

// Request is a checked request as a handler sees it.
type Request struct {
	*http.Request
	// Op is the operation that matched.
	Op *Operation
	// Vars are the values of the path template's variables, unescaped.
	Vars map[string]string
	// Query holds the query parameters.
	Query url.Values
	// Body is the decoded JSON object, nil when there was none.
	Body map[string]any
	// Raw is the body as received.
	Raw []byte
	// Actor is what the vendor's Authorize returned.
	Actor string
}

// Reply is what a handler answers. A nil Body sends none.
type Reply struct {
	Status int
	Header http.Header
	Body   any
}

// Call records one request that reached the stand-in. It never holds the
// Authorization header.
type Call struct {
	Method string
	// Path is the request's path without a query.
	Path  string
	Query url.Values
	Body  []byte
	// Operation names the facts' operation, empty when none matched.
	Operation string
	// Status is what was answered; 0 when the connection was dropped.
	Status int
	// Problems are the reasons for a refusal by the facts.
	Problems []Problem
}

// Vendor is what a stand-in supplies.
type Vendor struct {
	Facts *Facts
	// Root rewrites a request path to the path in the facts, for example to
	// strip a version prefix. Nil keeps it.
	Root func(path string) string
	// Authorize names the caller, or returns the refusal.
	Authorize func(r *http.Request, op *Operation) (actor string, refusal *Reply)
	// Refuse puts problems into the vendor's error envelope.
	Refuse func(op *Operation, problems []Problem) Reply
	// Failure is the vendor's envelope for a bare status: unknown path,
	// wrong method, malformed JSON, injected fault.
	Failure func(status int) Reply
	// Tolerate says that the vendor accepts a problem all the same; nil
	// tolerates none.
	Tolerate func(op *Operation, p Problem) bool
	// Excuse says that the vendor's own answers break its document here; nil
	// excuses nothing.
	Excuse func(r *Request, p Problem) bool
	// Decorate adds headers, such as rate limits, to every answer.
	Decorate func(h http.Header)
	// Handlers serve operations by their name, for example
	// "GET /incidents/{id}".
	Handlers map[string]func(*Request) Reply
	// Page, when set, serves "/" and "/page/" to a browser.
	Page http.Handler
}

// Server is a stand-in that listens on loopback.
type Server struct {
	vendor   Vendor
	faults   faults
	listener net.Listener
	http     *http.Server
	done     chan struct{}

	mu         sync.Mutex
	calls      []Call
	violations []string
}

// Listen starts a stand-in on addr, which must be a loopback address; an
// empty addr means any free port on 127.0.0.1. It refuses a vendor whose
// handlers and facts do not name the same operations.
func Listen(addr string, vendor Vendor) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("parse address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("listen on %q: not a loopback address", addr)
	}
	if err := vendor.complete(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	s := &Server{vendor: vendor, listener: listener, done: make(chan struct{})}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }()
	return s, nil
}

// complete says whether every operation has a handler and the reverse.
func (v Vendor) complete() error {
	named := make(map[string]bool)
	for _, op := range v.Facts.Operations {
		named[op.Name()] = true
		if v.Handlers[op.Name()] == nil {
			return fmt.Errorf("build stand-in: operation %q has no handler", op.Name())
		}
	}
	for name := range v.Handlers {
		if !named[name] {
			return fmt.Errorf("build stand-in: handler %q has no facts", name)
		}
	}
	return nil
}

// URL is the root of the stand-in, without a trailing slash.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close stops the stand-in and ends what is still waiting in it.
func (s *Server) Close() {
	select {
	case <-s.done:
		return
	default:
		close(s.done)
	}
	_ = s.http.Close()
}

// Inject switches a fault on and returns what switches it off again.
func (s *Server) Inject(f Fault) (remove func()) { return s.faults.add(f) }

// Calls returns the calls to an operation in order; an empty name returns
// all.
func (s *Server) Calls(operation string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.calls), func(c Call) bool {
		return operation != "" && c.Operation != operation
	})
}

// Violations returns the ways in which the stand-in's own answers broke the
// facts. A test of a stand-in asserts that there are none.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// ServeHTTP answers one request: match, fault, authorize, check, handle.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.vendor.Page != nil && (r.URL.Path == "/" || r.URL.Path == "/favicon.ico" || strings.HasPrefix(r.URL.Path, "/page/")) {
		s.vendor.Page.ServeHTTP(w, r)
		return
	}
	call := Call{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query()}
	reply, answered := s.serve(r, &call)
	if answered {
		call.Status = reply.Status
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	s.mu.Unlock()
	if !answered {
		// The connection is cut as a crashed proxy would cut it.
		panic(http.ErrAbortHandler)
	}
	s.write(w, reply)
}

// serve returns false when the connection is to be cut without an answer.
func (s *Server) serve(r *http.Request, call *Call) (Reply, bool) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return s.vendor.Failure(http.StatusBadRequest), true
	}
	if len(raw) > maxBody {
		return s.vendor.Failure(http.StatusRequestEntityTooLarge), true
	}
	call.Body = raw
	path := r.URL.Path
	if s.vendor.Root != nil {
		path = s.vendor.Root(path)
	}
	op, vars, known := s.vendor.Facts.Match(r.Method, path)
	if op == nil {
		if known {
			return s.vendor.Failure(http.StatusMethodNotAllowed), true
		}
		return s.vendor.Failure(http.StatusNotFound), true
	}
	call.Operation = op.Name()
	fault, struck := s.faults.take(op.Method, op.Path)
	if struck {
		s.wait(r.Context(), fault.Delay)
		if fault.Drop {
			return Reply{}, false
		}
		if fault.Status != 0 {
			return s.failure(fault), true
		}
	}
	reply := s.handle(r, op, vars, raw, call)
	return reply, !fault.DropReply
}

func (s *Server) handle(r *http.Request, op *Operation, vars map[string]string, raw []byte, call *Call) Reply {
	actor, refusal := s.vendor.Authorize(r, op)
	if refusal != nil {
		return *refusal
	}
	var body any
	if len(bytes.TrimSpace(raw)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(raw))
		if err := dec.Decode(&body); err != nil {
			return s.vendor.Failure(http.StatusBadRequest)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return s.vendor.Failure(http.StatusBadRequest)
		}
	}
	problems := slices.Concat(
		op.CheckHeaders(r.Header),
		op.CheckQuery(r.URL.Query()),
		op.CheckBody(body, len(bytes.TrimSpace(raw)) == 0),
	)
	if s.vendor.Tolerate != nil {
		problems = slices.DeleteFunc(problems, func(p Problem) bool { return s.vendor.Tolerate(op, p) })
	}
	if len(problems) > 0 {
		call.Problems = problems
		return s.vendor.Refuse(op, problems)
	}
	object, _ := body.(map[string]any)
	req := &Request{Request: r, Op: op, Vars: vars, Query: r.URL.Query(), Body: object, Raw: raw, Actor: actor}
	return s.held(req, s.vendor.Handlers[op.Name()](req))
}

// held replaces an answer that breaks the facts by a 500, so that no test
// passes on one.
func (s *Server) held(r *Request, reply Reply) Reply {
	op := r.Op
	var decoded any
	if reply.Body != nil {
		data, err := json.Marshal(reply.Body)
		if err == nil {
			err = json.Unmarshal(data, &decoded)
		}
		if err != nil {
			s.violate(fmt.Sprintf("%s: body is not JSON", op.Name()))
			return s.vendor.Failure(http.StatusInternalServerError)
		}
	}
	problems := op.CheckReply(reply.Status, decoded)
	if s.vendor.Excuse != nil {
		problems = slices.DeleteFunc(problems, func(p Problem) bool { return s.vendor.Excuse(r, p) })
	}
	if len(problems) == 0 {
		return reply
	}
	for _, p := range problems {
		s.violate(fmt.Sprintf("%s %d %s %s", op.Name(), reply.Status, p.Field, p.Code))
	}
	return s.vendor.Failure(http.StatusInternalServerError)
}

func (s *Server) violate(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, what)
}

func (s *Server) failure(f Fault) Reply {
	reply := s.vendor.Failure(f.Status)
	if f.Body != nil {
		reply.Body = f.Body
	}
	header := f.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	for name, values := range reply.Header {
		if _, ok := header[name]; !ok {
			header[name] = values
		}
	}
	if f.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
	}
	reply.Header = header
	return reply
}

// wait sleeps for d unless the client or the stand-in goes away first.
func (s *Server) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.done:
	}
}

func (s *Server) write(w http.ResponseWriter, reply Reply) {
	if s.vendor.Decorate != nil {
		s.vendor.Decorate(w.Header())
	}
	maps.Copy(w.Header(), reply.Header)
	if reply.Body == nil {
		w.WriteHeader(reply.Status)
		return
	}
	data, err := json.Marshal(reply.Body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(reply.Status)
	_, _ = w.Write(data)
}
