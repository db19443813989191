package bot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// routeStepUp serves the page on which one plan is read and approved with a
// passkey, and the script that asks it. Without a login the page says why nobody
// can.
func (s *Server) routeStepUp(mux *http.ServeMux) {
	const page = " /incidents/{source}/{id}/approve/{option}"
	mux.HandleFunc("GET /console.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write(views.ConsoleScript)
	})
	if s.opts.Login == nil {
		mux.HandleFunc("GET"+page, s.authenticated(incident.ViaConsole, func(w http.ResponseWriter, r *http.Request, _ incident.Actor) {
			s.stepUpPage(w, r, nil)
		}))
		return
	}
	mux.HandleFunc("GET"+page, s.loggedIn(func(w http.ResponseWriter, r *http.Request, seen login.Session) { s.stepUpPage(w, r, &seen) }))
	mux.HandleFunc("POST"+page, s.loggedIn(s.stepUpApprove))
}

// stepUpPage shows the plan as it is now, with a question that is bound to it.
func (s *Server) stepUpPage(w http.ResponseWriter, r *http.Request, seen *login.Session) {
	ctx, cancel := context.WithTimeout(r.Context(), s.waits.call)
	defer cancel()
	v, err := s.opts.Gateway.View(ctx, keyIn(r))
	if err != nil {
		s.consoleTrouble(w, r, err)
		return
	}
	o, ok := v.Option(r.PathValue("option"))
	if !ok {
		s.stepUpSaid(w, r, http.StatusNotFound, views.Replanned)
		return
	}
	page := views.StepUp{Configured: s.opts.Login != nil, Changed: r.URL.Query().Has("plan") && r.URL.Query().Get("plan") != o.Digest}
	if seen != nil {
		page.Visitor = visitorOf(*seen)
		c, err := s.opts.Login.BeginProof(ctx, *seen, subject(v.Key, o.ID, o.Digest))
		if err != nil && !errors.Is(err, login.ErrNoPasskey) {
			s.opts.Log.ErrorContext(ctx, "ask for proof", "incident_id", v.Key, "error", err)
			s.stepUpSaid(w, r, http.StatusServiceUnavailable, views.NotTaken)
			return
		}
		page.Ask = asked(c)
	}
	s.pageWith(w, r, http.StatusOK, scriptedPolicy, func(out io.Writer) error { return views.ConsoleStepUp(out, v, o, page) })
}

func subject(key, option, digest string) login.Subject {
	return login.Subject{Incident: key, Option: option, PlanDigest: digest}
}

// stepUpApprove approves the plan that was on the screen, if the passkey signed
// exactly that. The proof names the decision, so that it decides once.
func (s *Server) stepUpApprove(w http.ResponseWriter, r *http.Request, seen login.Session) {
	if !s.form(w, r) {
		return
	}
	option, digest := r.PathValue("option"), r.PostForm.Get("plan_digest")
	revision, err := strconv.Atoi(r.PostForm.Get("revision"))
	if err != nil {
		s.consoleTrouble(w, r, fmt.Errorf("read revision: %w", ErrInvalid))
		return
	}
	glass := r.PostForm.Get("break_glass") != ""
	if glass && r.PostForm.Get("reason") == "" {
		s.stepUpSaid(w, r, http.StatusBadRequest, views.BreakGlassReason)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.waits.call)
	defer cancel()
	proof, err := s.opts.Login.FinishProof(ctx, seen, subject(keyIn(r), option, digest), r.PostForm.Get("state"), r.PostForm.Get("credential"))
	if err != nil {
		status, words := proofTrouble(err)
		s.opts.Log.WarnContext(ctx, "refuse proof", "incident_id", keyIn(r), "option", option, "plan_digest", digest,
			"actor", actorOf(seen).String(), "status", status, "reason", err.Error())
		if err := s.opts.Gateway.Attempt(ctx, keyIn(r), incident.Attempt{
			Actor: actorOf(seen), Text: fmt.Sprintf("refused the second proof for %q of plan %q: %s", option, incident.ShortDigest(digest), err),
		}); err != nil {
			s.opts.Log.WarnContext(ctx, "report refused proof", "incident_id", keyIn(r), "error", err)
		}
		s.stepUpSaid(w, r, status, words)
		return
	}
	result, err := s.decide(ctx, actorOf(seen), DecideCall{
		Key: keyIn(r), DecisionID: proof.ID, OptionID: option, PlanDigest: digest, Revision: revision, Answer: incident.AnswerApprove,
		Reason: r.PostForm.Get("reason"), BreakGlass: glass,
		StepUp: &incident.StepUp{Method: login.MethodPasskey, PlanDigest: proof.Subject.PlanDigest, At: proof.At},
	})
	s.consoleTold(w, r, result, err)
}

func (s *Server) stepUpSaid(w http.ResponseWriter, r *http.Request, status int, words string) {
	s.page(w, r, status, func(out io.Writer) error { return views.ConsoleSaid(out, words, "/incidents/"+keyIn(r)) })
}
