package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/backout/backout/workflows/incident"
)

// DeclareCall is the body of POST /api/v1/declare.
type DeclareCall struct {
	// ID makes a repetition the same declaration; empty makes each call one of
	// its own.
	ID       string            `json:"id,omitempty"`
	Service  string            `json:"service"`
	Title    string            `json:"title"`
	Severity incident.Severity `json:"severity"`
}

// DeclareAnswer is the answer of POST /api/v1/declare.
type DeclareAnswer struct {
	Key    string          `json:"key"`
	Result incident.Result `json:"result"`
}

// DecideCall is the body of POST /api/v1/decide.
type DecideCall struct {
	Key        string          `json:"key"`
	DecisionID string          `json:"decision_id,omitempty"`
	OptionID   string          `json:"option_id"`
	PlanDigest string          `json:"plan_digest"`
	Revision   int             `json:"revision"`
	Answer     incident.Answer `json:"answer"`
	Reason     string          `json:"reason,omitempty"`
	BreakGlass bool            `json:"break_glass,omitempty"`
	// StepUp is the second proof that this server checked itself. It is in no
	// body: nobody can claim it.
	StepUp *incident.StepUp `json:"-"`
}

// CommandCall is the body of POST /api/v1/command.
type CommandCall struct {
	Key       string        `json:"key"`
	CommandID string        `json:"command_id,omitempty"`
	Verb      incident.Verb `json:"verb"`
	Reason    string        `json:"reason,omitempty"`
	// To is the login of the person that a handover names; empty for any other
	// verb.
	To string `json:"to,omitempty"`
}

// ViewCall is the body of POST /api/v1/view.
type ViewCall struct {
	Key string `json:"key"`
}

// ListAnswer is the answer of POST /api/v1/list.
type ListAnswer struct {
	Incidents []Summary `json:"incidents"`
}

// Problem is the body of every answer of the API that is no success.
type Problem struct {
	Error string `json:"error"`
}

// routeAPI serves what the command line needs. The answers are 200 whenever the
// incident answered, be it with a refusal; 404 for no such incident; 503 when
// it is not known whether the message was recorded, and then the same ID may be
// sent again.
func (s *Server) routeAPI(mux *http.ServeMux) {
	handle := func(name string, f func(ctx context.Context, who incident.Actor, body []byte) (any, error)) {
		mux.HandleFunc("POST /api/v1/"+name, s.authenticated(incident.ViaCLI, func(w http.ResponseWriter, r *http.Request, who incident.Actor) {
			if !isType(r, typeJSON) {
				writeJSON(w, http.StatusUnsupportedMediaType, Problem{"the body must be application/json"})
				return
			}
			body, ok := s.body(w, r, maxCall)
			if !ok {
				return
			}
			ctx, cancel := context.WithTimeout(r.Context(), s.waits.call)
			defer cancel()
			result, err := f(ctx, who, body)
			if err != nil {
				status := statusOf(err)
				s.opts.Log.WarnContext(ctx, "refuse call", "call", name, "actor", who.String(), "status", status, "error", err)
				writeJSON(w, status, Problem{problem(status, err)})
				return
			}
			writeJSON(w, http.StatusOK, result)
		}))
	}
	handle("declare", s.apiDeclare)
	handle("decide", s.apiDecide)
	handle("command", s.apiCommand)
	handle("view", s.apiView)
	handle("list", s.apiList)
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrNoIncident):
		return http.StatusNotFound
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	default:
		return http.StatusServiceUnavailable
	}
}

// problem is what the caller may know of an error.
func problem(status int, err error) string {
	switch status {
	case http.StatusNotFound:
		return "no open incident has that key"
	case http.StatusBadRequest:
		return err.Error()
	default:
		return "it is not known whether this was recorded; send it again with the same ID"
	}
}

func (s *Server) apiDeclare(ctx context.Context, who incident.Actor, body []byte) (any, error) {
	var c DeclareCall
	if err := strict(body, &c); err != nil {
		return nil, err
	}
	return s.declare(ctx, who, c)
}

func (s *Server) declare(ctx context.Context, who incident.Actor, c DeclareCall) (DeclareAnswer, error) {
	switch {
	case c.Service == "" || c.Title == "":
		return DeclareAnswer{}, fmt.Errorf("service and title are required: %w", ErrInvalid)
	case s.opts.Services != nil && !slices.Contains(s.opts.Services(), c.Service):
		return DeclareAnswer{}, fmt.Errorf("service %q is not in the catalogue: %w", c.Service, ErrInvalid)
	case len([]rune(c.Title)) > incident.MaxTitle:
		return DeclareAnswer{}, fmt.Errorf("title is longer than %d characters: %w", incident.MaxTitle, ErrInvalid)
	}
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	now := s.opts.Now().UTC()
	p := incident.Page{
		EventID: "cli-" + c.ID, Source: incident.SourceCLI, Kind: incident.PageTriggered, IncidentID: declaredID(requestID("cli", who.Login, c.ID)),
		Title: c.Title, Severity: c.Severity, Service: c.Service, OccurredAt: now, OpenedAt: now, Reporter: who,
	}
	result, err := s.opts.Gateway.Page(ctx, p)
	return DeclareAnswer{Key: incident.Key(p.Source, p.IncidentID), Result: result}, err
}

func (s *Server) apiDecide(ctx context.Context, who incident.Actor, body []byte) (any, error) {
	var c DecideCall
	if err := strict(body, &c); err != nil {
		return nil, err
	}
	return s.decide(ctx, who, c)
}

func (s *Server) decide(ctx context.Context, who incident.Actor, c DecideCall) (incident.Result, error) {
	return s.opts.Gateway.Decide(ctx, c.Key, incident.DecideRequest{
		DecisionID: ownID(who, c.DecisionID), OptionID: c.OptionID, PlanDigest: c.PlanDigest, Revision: c.Revision, Actor: who,
		Answer: c.Answer, Reason: c.Reason, BreakGlass: c.BreakGlass, At: s.opts.Now().UTC(), StepUp: c.StepUp,
	})
}

func (s *Server) apiCommand(ctx context.Context, who incident.Actor, body []byte) (any, error) {
	var c CommandCall
	if err := strict(body, &c); err != nil {
		return nil, err
	}
	return s.command(ctx, who, c)
}

func (s *Server) command(ctx context.Context, who incident.Actor, c CommandCall) (incident.Result, error) {
	q := incident.CommandRequest{CommandID: ownID(who, c.CommandID), Verb: c.Verb, Actor: who, Reason: c.Reason, At: s.opts.Now().UTC()}
	if c.To != "" {
		q.To = &incident.Actor{Via: incident.ViaCLI, Login: c.To}
	}
	return s.opts.Gateway.Command(ctx, c.Key, q)
}

func (s *Server) apiView(ctx context.Context, _ incident.Actor, body []byte) (any, error) {
	var c ViewCall
	if err := strict(body, &c); err != nil {
		return nil, err
	}
	return s.opts.Gateway.View(ctx, c.Key)
}

func (s *Server) apiList(ctx context.Context, _ incident.Actor, body []byte) (any, error) {
	if err := strict(body, &struct{}{}); err != nil {
		return nil, err
	}
	list, err := s.opts.Gateway.List(ctx)
	return ListAnswer{Incidents: list}, err
}

// ownID is an ID that nobody else can repeat: one person's decision must not
// be answered with the result of another's.
func ownID(who incident.Actor, id string) string {
	if id == "" {
		id = uuid.NewString()
	}
	return requestID(string(who.Via), who.Login, id)
}

// strict reads one JSON object and refuses unknown members. An empty body is
// an empty object.
func strict(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read body: %w: %w", err, ErrInvalid)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read body: more than one value: %w", ErrInvalid)
	}
	return nil
}
