package bot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// routeConsole serves the pages with which people see and decide when Slack is
// down. They hold no scripts but one, which asks a passkey.
func (s *Server) routeConsole(mux *http.ServeMux) {
	mux.HandleFunc("GET /incidents", s.authenticated(incident.ViaConsole, s.consoleList))
	mux.HandleFunc("GET /incidents/{source}/{id}", s.authenticated(incident.ViaConsole, s.consolePage))
	mux.HandleFunc("POST /incidents/{source}/{id}/decide", s.authenticated(incident.ViaConsole, s.consoleDecide))
	mux.HandleFunc("POST /incidents/{source}/{id}/command", s.authenticated(incident.ViaConsole, s.consoleCommand))
	s.routeStepUp(mux)
}

func keyIn(r *http.Request) string { return r.PathValue("source") + "/" + r.PathValue("id") }

func (s *Server) consoleList(w http.ResponseWriter, r *http.Request, who incident.Actor) {
	ctx, cancel := context.WithTimeout(r.Context(), s.waits.call)
	defer cancel()
	list, err := s.opts.Gateway.List(ctx)
	if err != nil {
		s.consoleTrouble(w, r, err)
		return
	}
	open, _ := readAll(ctx, s.opts.Gateway, list)
	s.page(w, r, http.StatusOK, func(out io.Writer) error { return views.ConsoleList(out, open, s.visitor(who)) })
}

func (s *Server) consolePage(w http.ResponseWriter, r *http.Request, who incident.Actor) {
	ctx, cancel := context.WithTimeout(r.Context(), s.waits.call)
	defer cancel()
	v, err := s.opts.Gateway.View(ctx, keyIn(r))
	if err != nil {
		s.consoleTrouble(w, r, err)
		return
	}
	s.page(w, r, http.StatusOK, func(out io.Writer) error { return views.Console(out, v, s.visitor(who)) })
}

func (s *Server) consoleDecide(w http.ResponseWriter, r *http.Request, who incident.Actor) {
	if !s.form(w, r) {
		return
	}
	revision, err := strconv.Atoi(r.PostForm.Get("revision"))
	if err != nil {
		s.consoleTrouble(w, r, ErrInvalid)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.waits.call)
	defer cancel()
	result, err := s.decide(ctx, who, DecideCall{
		Key: keyIn(r), OptionID: r.PostForm.Get("option_id"), PlanDigest: r.PostForm.Get("plan_digest"), Revision: revision,
		Answer: incident.Answer(r.PostForm.Get("answer")), Reason: r.PostForm.Get("reason"),
	})
	s.consoleTold(w, r, result, err)
}

func (s *Server) consoleCommand(w http.ResponseWriter, r *http.Request, who incident.Actor) {
	if !s.form(w, r) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.waits.call)
	defer cancel()
	result, err := s.command(ctx, who, CommandCall{Key: keyIn(r), Verb: incident.Verb(r.PostForm.Get("verb"))})
	s.consoleTold(w, r, result, err)
}

// form reads a sent form, or answers and reports false.
func (s *Server) form(w http.ResponseWriter, r *http.Request) bool {
	body, ok := s.body(w, r, maxCall)
	if !ok {
		return false
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !isType(r, typeForm) {
		s.refuse(w, r, http.StatusBadRequest, errUnreadable)
		return false
	}
	r.PostForm = form
	return true
}

func (s *Server) consoleTold(w http.ResponseWriter, r *http.Request, result incident.Result, err error) {
	if err != nil {
		s.consoleTrouble(w, r, err)
		return
	}
	s.page(w, r, http.StatusOK, func(out io.Writer) error {
		return views.ConsoleSaid(out, views.Told(result), "/incidents/"+keyIn(r))
	})
}

func (s *Server) consoleTrouble(w http.ResponseWriter, r *http.Request, err error) {
	words := views.NotTaken
	switch {
	case errors.Is(err, ErrNoIncident):
		words = views.Gone
	case errors.Is(err, ErrInvalid):
		words = views.Unreadable
	}
	s.opts.Log.WarnContext(r.Context(), "refuse page", "path", r.URL.Path, "error", err)
	s.page(w, r, statusOf(err), func(out io.Writer) error { return views.ConsoleSaid(out, words, "/incidents") })
}

// What the pages may do. They load nothing and are framed nowhere; one kind runs
// the console's script.
const (
	pagePolicy     = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	scriptedPolicy = pagePolicy + "; script-src 'self'"
)

// page writes HTML that may load nothing, run nothing and be framed nowhere.
func (s *Server) page(w http.ResponseWriter, r *http.Request, status int, render func(io.Writer) error) {
	s.pageWith(w, r, status, pagePolicy, render)
}

func (s *Server) pageWith(w http.ResponseWriter, r *http.Request, status int, policy string, render func(io.Writer) error) {
	var b bytes.Buffer
	if err := render(&b); err != nil {
		s.opts.Log.ErrorContext(r.Context(), "render page", "path", r.URL.Path, "error", err)
		writeText(w, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// ConsoleURL is the address of an incident's page behind the console's address.
func ConsoleURL(base, key string) string { return base + "/incidents/" + key }
