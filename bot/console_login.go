package bot

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// enrolWithin is how long after a login the page offers to enrol a passkey. The
// login refuses later ones itself; the form is not shown in the last minute, in
// which nobody would be done.
const enrolWithin = 9 * time.Minute

// routeLogin serves what people log in with, where a login is configured.
func (s *Server) routeLogin(mux *http.ServeMux) {
	if s.opts.Login == nil {
		return
	}
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		s.loginPage(w, r, http.StatusOK, r.URL.Query().Get("next"), "")
	})
	mux.HandleFunc("GET /login/start", s.loginStart)
	mux.HandleFunc("GET "+login.CallbackPath, s.loginCallback)
	mux.HandleFunc("POST /logout", s.sameOrigin(s.logout))
	mux.HandleFunc("GET /login/passkeys", s.loggedIn(s.passkeyPage))
	mux.HandleFunc("POST /login/passkeys/begin", s.loggedIn(s.passkeyBegin))
	mux.HandleFunc("POST /login/passkeys/finish", s.loggedIn(s.passkeyFinish))
}

// sameOrigin refuses what a page of another origin made a browser send.
func (s *Server) sameOrigin(next http.HandlerFunc) http.HandlerFunc {
	crossOrigin := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		if err := crossOrigin.Check(r); err != nil {
			s.refuse(w, r, http.StatusForbidden, err)
			return
		}
		next(w, r)
	}
}

// loggedIn answers only those who have a session.
func (s *Server) loggedIn(next func(w http.ResponseWriter, r *http.Request, seen login.Session)) http.HandlerFunc {
	return s.sameOrigin(func(w http.ResponseWriter, r *http.Request) { s.withSession(w, r, next) })
}

// withSession goes on with the session of a request, or asks to log in. What was
// sent without one is lost, and the person is told so.
func (s *Server) withSession(w http.ResponseWriter, r *http.Request, next func(w http.ResponseWriter, r *http.Request, seen login.Session)) {
	seen, err := s.opts.Login.Session(w, r)
	switch {
	case err == nil:
		next(w, r, seen)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(login.Next(r.URL.RequestURI())), http.StatusSeeOther)
	default:
		s.opts.Log.WarnContext(r.Context(), "refuse request", "path", r.URL.Path, "status", http.StatusUnauthorized, "reason", err.Error())
		wanted := login.Home
		if r.PathValue("source") != "" {
			wanted += "/" + keyIn(r)
		}
		s.loginPage(w, r, http.StatusUnauthorized, wanted, views.LoggedOut)
	}
}

func actorOf(seen login.Session) incident.Actor {
	return incident.Actor{Via: incident.ViaConsole, Login: seen.Login}
}

func visitorOf(seen login.Session) views.Visitor {
	return views.Visitor{Login: seen.Login, Name: seen.Name}
}

// visitor is who looks, where people log in.
func (s *Server) visitor(who incident.Actor) views.Visitor {
	if s.opts.Login == nil {
		return views.Visitor{}
	}
	return views.Visitor{Login: who.Login}
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request, status int, next, said string) {
	s.page(w, r, status, func(out io.Writer) error {
		return views.ConsoleLogin(out, s.opts.Login.Issuer(), login.Next(next), said)
	})
}

func (s *Server) loginStart(w http.ResponseWriter, r *http.Request) {
	next := r.URL.Query().Get("next")
	if err := s.opts.Login.Begin(w, r, next); err != nil {
		s.loginTrouble(w, r, next, err)
	}
}

func (s *Server) loginCallback(w http.ResponseWriter, r *http.Request) {
	seen, next, err := s.opts.Login.Finish(w, r)
	if err != nil {
		s.loginTrouble(w, r, "", err)
		return
	}
	s.opts.Log.InfoContext(r.Context(), "logged in", "actor", actorOf(seen).String())
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (s *Server) loginTrouble(w http.ResponseWriter, r *http.Request, next string, err error) {
	status, words := http.StatusForbidden, views.LoginRefused
	switch {
	case errors.Is(err, login.ErrState):
		status, words = http.StatusBadRequest, views.LoginLost
	case errors.Is(err, login.ErrRefused):
	default:
		status, words = http.StatusServiceUnavailable, views.LoginAway
	}
	s.opts.Log.WarnContext(r.Context(), "refuse login", "status", status, "reason", err.Error())
	s.loginPage(w, r, status, next, words)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.opts.Login.End(w, r); err != nil {
		s.opts.Log.WarnContext(r.Context(), "end session", "error", err)
		s.page(w, r, http.StatusServiceUnavailable, func(out io.Writer) error { return views.ConsoleSaid(out, views.NotTaken, login.Home) })
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func (s *Server) passkeyPage(w http.ResponseWriter, r *http.Request, seen login.Session) {
	s.passkeys(w, r, seen, http.StatusOK, views.Ask{}, "")
}

// passkeys shows a person's passkeys, with what they are asked or told.
func (s *Server) passkeys(w http.ResponseWriter, r *http.Request, seen login.Session, status int, ask views.Ask, said string) {
	own, err := s.opts.Login.Passkeys(r.Context(), seen)
	if err != nil {
		s.opts.Log.ErrorContext(r.Context(), "read passkeys", "error", err)
		s.page(w, r, http.StatusServiceUnavailable, func(out io.Writer) error { return views.ConsoleSaid(out, views.NotTaken, login.Home) })
		return
	}
	lines := make([]views.PasskeyLine, len(own))
	for i, p := range own {
		lines[i] = views.PasskeyLine{Name: p.Name, Locked: p.Locked, CreatedAt: p.CreatedAt, UsedAt: p.UsedAt}
	}
	fresh := s.opts.Now().Sub(seen.At) < enrolWithin
	s.pageWith(w, r, status, scriptedPolicy, func(out io.Writer) error {
		return views.ConsolePasskeys(out, visitorOf(seen), lines, fresh, ask, said)
	})
}

func (s *Server) passkeyBegin(w http.ResponseWriter, r *http.Request, seen login.Session) {
	if !s.form(w, r) {
		return
	}
	c, err := s.opts.Login.BeginEnrolment(r.Context(), seen, r.PostForm.Get("code"), r.PostForm.Get("name"))
	if err != nil {
		s.passkeyTrouble(w, r, seen, err)
		return
	}
	s.passkeys(w, r, seen, http.StatusOK, asked(c), "")
}

func (s *Server) passkeyFinish(w http.ResponseWriter, r *http.Request, seen login.Session) {
	if !s.form(w, r) {
		return
	}
	if err := s.opts.Login.FinishEnrolment(r.Context(), seen, r.PostForm.Get("state"), r.PostForm.Get("credential")); err != nil {
		s.passkeyTrouble(w, r, seen, err)
		return
	}
	s.opts.Log.InfoContext(r.Context(), "enrolled passkey", "actor", actorOf(seen).String())
	s.passkeys(w, r, seen, http.StatusOK, views.Ask{}, views.Enrolled)
}

func (s *Server) passkeyTrouble(w http.ResponseWriter, r *http.Request, seen login.Session, err error) {
	status, words := proofTrouble(err)
	s.opts.Log.WarnContext(r.Context(), "refuse passkey", "actor", actorOf(seen).String(), "status", status, "reason", err.Error())
	s.passkeys(w, r, seen, status, views.Ask{}, words)
}

func asked(c login.Ceremony) views.Ask {
	return views.Ask{Options: c.Options, State: c.State, Expires: c.Expires}
}

// proofTrouble is what a person is told about an error of a passkey.
func proofTrouble(err error) (status int, words string) {
	for _, t := range []struct {
		err    error
		status int
		words  string
	}{
		{login.ErrLocked, http.StatusForbidden, views.ProofLocked},
		{login.ErrSpent, http.StatusConflict, views.ProofSpent},
		{login.ErrExpired, http.StatusBadRequest, views.ProofLate},
		{login.ErrOther, http.StatusForbidden, views.ProofOther},
		{login.ErrState, http.StatusBadRequest, views.ProofOther},
		{login.ErrNoPasskey, http.StatusForbidden, views.ProofNone},
		{login.ErrPasskey, http.StatusForbidden, views.ProofBad},
		{login.ErrCode, http.StatusForbidden, views.CodeBad},
		{login.ErrNotFresh, http.StatusForbidden, views.NotFresh},
	} {
		if errors.Is(err, t.err) {
			return t.status, t.words
		}
	}
	return http.StatusServiceUnavailable, views.NotTaken
}
