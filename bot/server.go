package bot

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/workflows/incident"
)

// maxBody is the largest request that is read, in bytes. PagerDuty sends up to
// 256 KB.
// Source: https://developer.pagerduty.com/docs/webhooks-behavior#size-limit
const maxBody = 1 << 20

// maxCall is the largest body of a call of the API or of a form of the console,
// in bytes. What it holds ends in an incident's history.
const maxCall = 64 << 10

// maxPageAge is how old a page of a webhook may be. PagerDuty tries for 48
// hours; older ones are replays, which could begin an incident anew once
// Temporal has forgotten it.
// Source: https://developer.pagerduty.com/docs/webhooks-behavior#temporary-errors-and-retries
const maxPageAge = 7 * 24 * time.Hour

// waits are the times that callers leave, and what is made of them.
type waits struct {
	// body is how long a request may take to send its body, write how long
	// the caller may take to read the whole answer.
	body, write time.Duration
	// webhook is how long Temporal may take to accept a page. PagerDuty gives
	// 5 seconds, and comes again after a 503.
	// Source: https://developer.pagerduty.com/docs/webhooks-behavior#timeouts
	webhook time.Duration
	// ready is how long Temporal may take to be called ready.
	ready time.Duration
	// call is how long the API and the console wait for a result.
	call time.Duration
	// accept is how long Temporal may take to accept what was done in Slack.
	// Slack gives 3 seconds for the whole request.
	// Source: https://docs.slack.dev/interactivity/handling-user-interaction
	accept time.Duration
	// answer is until when, from its start, a request of Slack waits for the
	// result to answer with it at once.
	answer time.Duration
}

func usualWaits() waits {
	return waits{
		body: 10 * time.Second, write: time.Minute, webhook: 4 * time.Second, ready: 2 * time.Second, call: 20 * time.Second,
		accept: 2200 * time.Millisecond, answer: 2500 * time.Millisecond,
	}
}

var (
	errUnreadable = errors.New("body can not be read")
	errType       = errors.New("content type is not the one of the interface")
	errNoPage     = errors.New("page is not usable")
	errOldPage    = errors.New("page is older than any retry")
)

// Webhook is a source of pages.
type Webhook struct {
	// Verify checks that the raw body comes from the source. It is called
	// before anything is read out of the body.
	Verify func(header http.Header, body []byte) error
	// Parse reads a verified body. Relevant is false for what is no page, such
	// as a ping, which is acknowledged and otherwise ignored.
	Parse func(body []byte) (page incident.Page, relevant bool, err error)
}

// Options assemble a Server.
type Options struct {
	// Gateway sends to the incidents. Required.
	Gateway *Gateway
	// Webhooks are the sources of pages by name: "pagerduty" is served at
	// /webhooks/pagerduty.
	Webhooks map[string]Webhook
	// Slack is nil when there is no Slack.
	Slack *SlackOptions
	// Access says who may use the API and the console; nil refuses everybody.
	Access *Access
	// Login is how people log in to the console, where it is configured: then the
	// console takes no tokens. Nil leaves the console to Access, and no plan that
	// needs a second proof can be approved.
	Login *login.Login
	// Metrics serves /metrics; nil serves none.
	Metrics http.Handler
	// Services are the catalogue's names. An API declaration of another service
	// is refused; nil allows any.
	Services func() []string
	// Log receives one line a request. Nil is silent.
	Log *slog.Logger
	// Now is the clock. Nil is the wall clock.
	Now func() time.Time
}

// Server is the HTTP side of Backout. It is safe for concurrent use.
type Server struct {
	opts    Options
	waits   waits
	desk    *desk
	replays *replays
	handler http.Handler
}

// NewServer assembles the handlers. It calls nobody.
func NewServer(o Options) (*Server, error) { return newServer(o, usualWaits()) }

func newServer(o Options, w waits) (*Server, error) {
	if o.Gateway == nil {
		return nil, errors.New("assemble server: the gateway is missing")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{opts: o, waits: w, replays: newReplays(maxSeen)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	for name, hook := range o.Webhooks {
		if hook.Verify == nil || hook.Parse == nil {
			return nil, errors.New("assemble server: webhook " + name + " can not be verified or parsed")
		}
		mux.HandleFunc("POST /webhooks/"+name, s.webhook(hook))
	}
	if o.Slack != nil {
		if o.Slack.API == nil || !strings.HasPrefix(o.Slack.Command, "/") {
			return nil, errors.New("assemble server: Slack needs an API client and the name of a command")
		}
		s.desk = newDesk(*o.Slack, o, w)
		mux.HandleFunc("POST /slack/commands", s.slackRequest(typeForm, s.readCommand))
		mux.HandleFunc("POST /slack/interactions", s.slackRequest(typeForm, s.readInteraction))
		mux.HandleFunc("POST /slack/events", s.slackRequest(typeJSON, s.readEvent))
	}
	s.routeAPI(mux)
	s.routeConsole(mux)
	s.routeLogin(mux)
	s.handler = s.watched(mux)
	return s, nil
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close waits for the answers that follow acknowledgements, until the context
// ends, and drops the rest. It does not listen, so it closes no listener.
func (s *Server) Close(ctx context.Context) error {
	if s.desk == nil {
		return nil
	}
	return s.desk.finish(ctx)
}

// ready reports whether a page could be taken now.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.waits.ready)
	defer cancel()
	if err := s.opts.Gateway.Check(ctx); err != nil {
		writeText(w, http.StatusServiceUnavailable, "Temporal can not be reached")
		return
	}
	writeText(w, http.StatusOK, "ready")
}

// webhook takes one page: verified on the raw body before anything else, and
// acknowledged only when Temporal has it. A repetition is deduped by its event
// ID, since sources send at least once.
func (s *Server) webhook(hook Webhook) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, ok := s.body(w, r, maxBody)
		if !ok {
			return
		}
		if err := hook.Verify(r.Header, body); err != nil {
			s.refuse(w, r, http.StatusUnauthorized, err)
			return
		}
		if !isType(r, typeJSON) {
			s.refuse(w, r, http.StatusBadRequest, errType)
			return
		}
		page, relevant, err := hook.Parse(body)
		if err != nil {
			s.refuse(w, r, http.StatusBadRequest, err)
			return
		}
		if !relevant {
			writeText(w, http.StatusAccepted, "ignored")
			return
		}
		if s.opts.Now().Sub(page.OccurredAt) > maxPageAge {
			s.refuse(w, r, http.StatusBadRequest, errOldPage)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.waits.webhook)
		defer cancel()
		result, err := s.opts.Gateway.Page(ctx, page)
		switch {
		case errors.Is(err, ErrInvalid):
			s.refuse(w, r, http.StatusBadRequest, errors.Join(errNoPage, err))
		case err != nil:
			// Not 4xx: the source comes again, and nothing is lost.
			s.opts.Log.WarnContext(r.Context(), "send page", "incident_id", incident.Key(page.Source, page.IncidentID), "event_id", page.EventID, "error", err)
			writeText(w, http.StatusServiceUnavailable, "not recorded, send it again")
		default:
			s.opts.Log.InfoContext(r.Context(), "took page", "incident_id", incident.Key(page.Source, page.IncidentID), "event_id", page.EventID, "outcome", string(result.Outcome))
			writeText(w, http.StatusAccepted, string(result.Outcome))
		}
	}
}

// Content types of what is read.
const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

func isType(r *http.Request, want string) bool {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && got == want
}

// body reads the raw body whole, or answers and reports false.
func (s *Server) body(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.refuse(w, r, http.StatusRequestEntityTooLarge, large)
		return nil, false
	case err != nil:
		s.refuse(w, r, http.StatusBadRequest, errUnreadable)
		return nil, false
	}
	// With the body there, the connection has no deadline any more, or a long
	// answer would look like a caller that went away.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, true
}

// refuse answers with a status and no reason: who sent it knows, and who
// forged it shall not. The reason is in the log.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, why error) {
	s.opts.Log.WarnContext(r.Context(), "refuse request", "path", r.URL.Path, "status", status, "reason", why.Error())
	writeText(w, status, http.StatusText(status))
}

// watched logs each request, gives it an ID, and turns a panic into a 500.
func (s *Server) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := rand.Text()
		began := s.opts.Now()
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("X-Request-Id", id)
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		rec.Header().Set("Cache-Control", "no-store")
		// Nothing that is answered may load, run or frame anything, or be
		// framed; the console's pages ask for a little more.
		rec.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		rec.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		rec.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		rec.Header().Set("Referrer-Policy", "no-referrer")
		rec.Header().Set("X-Frame-Options", "DENY")
		// Whoever sends or reads a byte at a time is cut off.
		connection := http.NewResponseController(w)
		_ = connection.SetWriteDeadline(time.Now().Add(s.waits.write))
		if r.ContentLength != 0 {
			_ = connection.SetReadDeadline(time.Now().Add(s.waits.body))
		}
		defer s.answered(r.Context(), rec, r, id, began)
		next.ServeHTTP(rec, r)
	})
}

// answered is deferred: it logs a request that was answered, and turns a panic
// into an answer.
func (s *Server) answered(ctx context.Context, rec *recorder, r *http.Request, id string, began time.Time) {
	cause := recover()
	if cause == http.ErrAbortHandler { //nolint:errorlint // It is compared as net/http does.
		panic(cause)
	}
	if cause != nil {
		s.opts.Log.ErrorContext(ctx, "recover from panic", "request_id", id, "path", r.URL.Path, "stack", string(debug.Stack()))
		if rec.status == 0 {
			writeText(rec, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError))
		}
	}
	s.opts.Log.InfoContext(ctx, "answer request", "request_id", id, "method", r.Method, "path", r.URL.Path,
		"status", rec.status, "took", s.opts.Now().Sub(began))
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter

	status int
}

// WriteHeader remembers the first status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write answers 200 where nothing else was said.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeText(w, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
