package fakepagerduty

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/contract"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// requestsPerMinute is PagerDuty's REST limit for an account.
// Source: https://developer.pagerduty.com/docs/rest-api-rate-limits
const requestsPerMinute = 960

// PagerDuty's error codes.
// Source: https://developer.pagerduty.com/docs/errors
const (
	codeInternal       = 2000
	codeInvalidInput   = 2001
	codeAuthentication = 2006
	codeAccessDenied   = 2010
	codeRateLimit      = 2020
	codeNotFound       = 2100
)

// Config says how a stand-in starts. The zero value works.
type Config struct {
	// Addr is a loopback address; empty means any free port on 127.0.0.1.
	Addr string
	// Token is the REST token that it accepts; empty means "pd-token".
	Token string
	// RoutingKeys maps an Events API integration key to a service ID.
	RoutingKeys map[string]string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// RequestsPerMinute overrides PagerDuty's limit of 960; a request above
	// it is answered 429.
	RequestsPerMinute int
	// WebhookTimeout is how long a delivery waits for 2xx; 0 means
	// PagerDuty's 5 s.
	WebhookTimeout time.Duration
	// WebhookRetry is the pause before a delivery is tried again; 0 means 1 s.
	WebhookRetry time.Duration
	// WebhookAttempts is how many tries stand for PagerDuty's 48 hours of
	// retries; 0 means 5.
	WebhookAttempts int
}

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	*rest.Server
	cfg Config

	mu        sync.Mutex
	users     []User
	services  []Service
	policies  []EscalationPolicy
	schedules []Schedule
	teams     []Team
	prios     []Priority
	incidents []*incident
	changes   []ChangeEvent
	subs      []*Subscription
	sequence  int
	window    time.Time
	used      int
}

// New starts a stand-in with no people, services or incidents in it.
func New(cfg Config) (*Server, error) {
	if cfg.Token == "" {
		cfg.Token = "pd-token"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.RequestsPerMinute == 0 {
		cfg.RequestsPerMinute = requestsPerMinute
	}
	if cfg.WebhookTimeout == 0 {
		cfg.WebhookTimeout = webhookTimeout
	}
	if cfg.WebhookRetry == 0 {
		cfg.WebhookRetry = time.Second
	}
	if cfg.WebhookAttempts == 0 {
		cfg.WebhookAttempts = 5
	}
	s := &Server{cfg: cfg}
	server, err := rest.Listen(cfg.Addr, rest.Vendor{
		Facts:     contract.Facts(),
		Authorize: s.authorize,
		Refuse:    refuse,
		Failure:   failure,
		Tolerate:  tolerate,
		Excuse:    excuse,
		Decorate:  s.decorate,
		Handlers:  s.handlers(),
		Page:      http.HandlerFunc(s.page),
	})
	if err != nil {
		return nil, fmt.Errorf("start PagerDuty stand-in: %w", err)
	}
	s.Server = server
	return s, nil
}

// Close stops the server and every webhook delivery.
func (s *Server) Close() {
	s.mu.Lock()
	subs := s.subs
	s.mu.Unlock()
	for _, sub := range subs {
		sub.close()
	}
	s.Server.Close()
}

func (s *Server) handlers() map[string]func(*rest.Request) rest.Reply {
	return map[string]func(*rest.Request) rest.Reply{
		"GET /incidents":                          s.listIncidents,
		"POST /incidents":                         s.createIncident,
		"PUT /incidents":                          s.manageIncidents,
		"GET /incidents/{id}":                     s.getIncident,
		"PUT /incidents/{id}":                     s.updateIncident,
		"GET /incidents/{id}/notes":               s.listNotes,
		"POST /incidents/{id}/notes":              s.createNote,
		"POST /incidents/{id}/responder_requests": s.requestResponder,
		"POST /incidents/{id}/status_updates":     s.createStatusUpdate,
		"GET /incidents/{id}/alerts":              s.listAlerts,
		"GET /oncalls":                            s.listOnCalls,
		"GET /users":                              s.listUsers,
		"GET /users/{id}":                         s.getUser,
		"GET /teams/{id}/members":                 s.listTeamMembers,
		"GET /services":                           s.listServices,
		"GET /services/{id}":                      s.getService,
		"GET /escalation_policies/{id}":           s.getPolicy,
		"GET /schedules/{id}/users":               s.listScheduleUsers,
		"GET /change_events":                      s.listChanges,
		"GET /services/{id}/change_events":        s.listServiceChanges,
		"POST /v2/enqueue":                        s.enqueue,
		"POST /v2/change/enqueue":                 s.enqueueChange,
	}
}

// authorize accepts "Token token=<token>" and "Bearer <token>" for REST. The
// Events API carries its key in the body.
func (s *Server) authorize(r *http.Request, op *rest.Operation) (string, *rest.Reply) {
	if limited := s.limit(); limited != nil {
		return "", limited
	}
	if strings.HasPrefix(op.Path, "/v2/") {
		return "", nil
	}
	header := r.Header.Get("Authorization")
	token, ok := strings.CutPrefix(header, "Token token=")
	if !ok {
		token, ok = strings.CutPrefix(header, "Bearer ")
	}
	if !ok || token != s.cfg.Token {
		reply := failure(http.StatusUnauthorized)
		return "", &reply
	}
	from := r.Header.Get("From")
	if from == "" || r.Method == http.MethodGet {
		return "", nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if strings.EqualFold(u.Email, from) {
			return u.ID, nil
		}
	}
	reply := envelope(http.StatusBadRequest, codeInvalidInput, "Invalid Input Provided", "Requester User Not Found")
	return "", &reply
}

// limit counts requests in windows of one minute.
func (s *Server) limit() *rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if now.Sub(s.window) >= time.Minute || s.window.IsZero() {
		s.window, s.used = now, 0
	}
	s.used++
	if s.used <= s.cfg.RequestsPerMinute {
		return nil
	}
	// There is no Retry-After: the headers of every answer say when.
	reply := failure(http.StatusTooManyRequests)
	return &reply
}

func (s *Server) resetIn(now time.Time) int {
	return max(1, int((time.Minute - now.Sub(s.window)).Seconds()))
}

func (s *Server) decorate(h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Set("Ratelimit-Limit", strconv.Itoa(s.cfg.RequestsPerMinute))
	h.Set("Ratelimit-Remaining", strconv.Itoa(max(0, s.cfg.RequestsPerMinute-s.used)))
	h.Set("Ratelimit-Reset", strconv.Itoa(s.resetIn(s.cfg.Now())))
}

// tolerate lists where PagerDuty accepts what its document does not name,
// because its own Go client sends it.
func tolerate(op *rest.Operation, p rest.Problem) bool {
	switch op.Name() {
	case "POST /incidents/{id}/notes":
		return p.Field == "note.user" && p.Code == rest.Unknown
	case "POST /incidents":
		// The document says object and its own example sends text.
		return p.Field == "incident.body.details" && p.Code == rest.WrongType
	case "POST /incidents/{id}/responder_requests":
		return strings.HasSuffix(p.Field, ".responder_request_target") && p.Code == rest.Unknown
	default:
		return false
	}
}

// excuse lists where PagerDuty's answers go beyond its document.
func excuse(r *rest.Request, p rest.Problem) bool {
	switch r.Op.Name() {
	case "GET /oncalls":
		// The document offers include[]=users and then describes references.
		return r.Query.Has("include[]") && strings.Contains(p.Field, ".user.")
	case "POST /incidents/{id}/responder_requests":
		// The document's own example wraps each target.
		return strings.HasSuffix(p.Field, ".responder_request_target") && p.Code == rest.Unknown
	case "GET /services/{id}/change_events":
		// The document takes limit and offset and describes no page.
		return slices.Contains([]string{"limit", "offset", "more", "total"}, p.Field) && p.Code == rest.Unknown
	default:
		return false
	}
}

func refuse(_ *rest.Operation, problems []rest.Problem) rest.Reply {
	details := make([]string, 0, len(problems))
	for _, p := range problems {
		details = append(details, p.String())
	}
	return envelope(http.StatusBadRequest, codeInvalidInput, "Invalid Input Provided", details...)
}

func failure(status int) rest.Reply {
	switch status {
	case http.StatusUnauthorized:
		return envelope(status, codeAuthentication, "Authentication failed")
	case http.StatusForbidden:
		return envelope(status, codeAccessDenied, "Access Denied")
	case http.StatusNotFound:
		return envelope(status, codeNotFound, "Not Found")
	case http.StatusTooManyRequests:
		return envelope(status, codeRateLimit, "Rate Limit Exceeded")
	case http.StatusBadRequest:
		return envelope(status, codeInvalidInput, "Invalid Input Provided")
	default:
		return envelope(status, codeInternal, http.StatusText(status))
	}
}

func envelope(status, code int, message string, details ...string) rest.Reply {
	body := object{"message": message, "code": code}
	if len(details) > 0 {
		body["errors"] = details
	}
	return rest.Reply{Status: status, Body: object{"error": body}}
}

// object is a JSON object.
type object = map[string]any

func ok(body object) rest.Reply { return rest.Reply{Status: http.StatusOK, Body: body} }

// newID makes an ID in PagerDuty's style: a letter and 13 characters.
func (s *Server) newID(prefix string) string {
	s.sequence++
	return fmt.Sprintf("%s%011d", prefix, s.sequence)
}

// stamp is PagerDuty's timestamp format, in UTC.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// reference is how PagerDuty points at an object.
func (s *Server) reference(kind, id, summary string) object {
	plural := map[string]string{
		"user": "users", "service": "services", "incident": "incidents", "priority": "priorities",
		"escalation_policy": "escalation_policies", "schedule": "schedules", "alert": "alerts", "team": "teams",
	}[kind]
	return object{
		"id": id, "type": kind + "_reference", "summary": summary,
		"self": s.URL() + "/" + plural + "/" + id, "html_url": s.URL() + "/page/" + plural + "/" + id,
	}
}

// pageLimits are PagerDuty's default and greatest page size.
// Source: https://developer.pagerduty.com/docs/pagination
const (
	defaultLimit = 25
	maxLimit     = 100
	maxOffset    = 10000
)

// paginate cuts a list as PagerDuty does and fills the envelope.
func paginate[T any](r *rest.Request, name string, all []T, render func(T) object) rest.Reply {
	limit, offset := defaultLimit, 0
	if v := r.Query.Get("limit"); v != "" {
		limit, _ = strconv.Atoi(v)
	}
	if v := r.Query.Get("offset"); v != "" {
		offset, _ = strconv.Atoi(v)
	}
	if limit < 1 || offset < 0 || offset+limit > maxOffset {
		return envelope(http.StatusBadRequest, codeInvalidInput, "Invalid Input Provided", "Limit and offset are out of range.")
	}
	limit = min(limit, maxLimit)
	page := make([]object, 0, limit)
	for i := offset; i < len(all) && i < offset+limit; i++ {
		page = append(page, render(all[i]))
	}
	body := object{name: page, "limit": limit, "offset": offset, "more": offset+limit < len(all)}
	if r.Query.Get("total") == "true" {
		body["total"] = len(all)
	}
	return ok(body)
}

// period reads since and until, either of which may be absent.
func period(r *rest.Request, since, until time.Time) (time.Time, time.Time, *rest.Reply) {
	for name, at := range map[string]*time.Time{"since": &since, "until": &until} {
		v := r.Query.Get(name)
		if v == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			reply := envelope(http.StatusBadRequest, codeInvalidInput, "Invalid Input Provided", "Invalid date format for "+name+".")
			return since, until, &reply
		}
		*at = t
	}
	return since, until, nil
}
