package fakelaunchdarkly

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/backout/backout/test/fakes/launchdarkly/contract"
	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

const (
	// requests is how many requests the account may make in a window. LaunchDarkly
	// does not publish its own number.
	requests = 1000
	// window is the period of the limits.
	// Source: https://launchdarkly.com/docs/api#rate-limiting
	window = 10 * time.Second
)

// Token is what an access token may do.
type Token struct {
	// Name is what the audit log calls it.
	Name string
	// Actions are those of its role on every flag, such as "updateOn"; "*" is all.
	// Every token may read.
	Actions []string
}

// Config says how a stand-in starts.
type Config struct {
	// Addr is a loopback address; empty means any free port on 127.0.0.1.
	Addr string
	// Tokens maps an access token to what it may do.
	Tokens map[string]Token
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Requests overrides how many requests the account may make in ten seconds.
	Requests int
}

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	*rest.Server
	cfg Config

	mu           sync.Mutex
	flags        map[string]*flag
	environments map[string]*environment
	entries      []*entry // Oldest first.
	sequence     int
	began        time.Time
	used         int
}

// environment is one environment of a project.
type environment struct {
	project, key string
	approval     bool
	// keys are the secrets of its clients.
	keys [2]string
}

// New starts a stand-in with no flags.
func New(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Requests = cmp.Or(cfg.Requests, requests)
	s := &Server{cfg: cfg, flags: map[string]*flag{}, environments: map[string]*environment{}}
	const flags, envs = "/api/v2/flags/{projectKey}/{featureFlagKey}", "/environments/{environmentKey}"
	server, err := rest.Listen(cfg.Addr, rest.Vendor{
		Facts:     contract.Facts(),
		Authorize: s.authorize,
		Refuse: func(_ *rest.Operation, problems []rest.Problem) rest.Reply {
			return refusal(http.StatusBadRequest, "invalid_request", problems[0].String())
		},
		Failure:  s.failure,
		Decorate: s.decorate,
		Handlers: map[string]func(*rest.Request) rest.Reply{
			"GET /api/v2/caller-identity":              s.identity,
			"GET " + flags:                             s.locked(s.getFlag),
			"PATCH " + flags:                           s.locked(s.patchFlag),
			"GET /api/v2/projects/{projectKey}" + envs: s.locked(s.getEnvironment),
			"GET /api/v2/projects/{projectKey}/flags/{featureFlagKey}" + envs + "/scheduled-changes": s.locked(s.listScheduled),
			"GET /api/v2/auditlog":      s.locked(s.listEntries),
			"GET /api/v2/auditlog/{id}": s.locked(s.getEntry),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("start LaunchDarkly stand-in: %w", err)
	}
	s.Server = server
	return s, nil
}

func (s *Server) locked(serve func(*rest.Request) rest.Reply) func(*rest.Request) rest.Reply {
	return func(r *rest.Request) rest.Reply {
		s.mu.Lock()
		defer s.mu.Unlock()
		return serve(r)
	}
}

// authorize accepts the bare token, without a scheme.
// Source: https://launchdarkly.com/docs/api#authentication
func (s *Server) authorize(r *http.Request, _ *rest.Operation) (string, *rest.Reply) {
	token := r.Header.Get("Authorization")
	if _, ok := s.cfg.Tokens[token]; !ok {
		reply := refusal(http.StatusUnauthorized, "unauthorized", "Invalid key")
		return "", &reply
	}
	if limited := s.limit(); limited != nil {
		return "", limited
	}
	return token, nil
}

// limit counts the request.
func (s *Server) limit() *rest.Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if now.Sub(s.began) >= window {
		s.began, s.used = now, 0
	}
	if s.used++; s.used <= s.cfg.Requests {
		return nil
	}
	reply := s.failure(http.StatusTooManyRequests)
	return &reply
}

// decorate adds the headers of the global limit.
func (s *Server) decorate(h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Set("X-Ratelimit-Global-Remaining", strconv.Itoa(max(0, s.cfg.Requests-s.used)))
	if h.Get("X-Ratelimit-Reset") == "" {
		h.Set("X-Ratelimit-Reset", strconv.FormatInt(s.began.Add(window).UnixMilli(), 10))
	}
}

// Throttle makes the next request be answered with 429, whose window is over after a
// moment.
func (s *Server) Throttle(moment time.Duration) {
	s.Inject(rest.Fault{Status: http.StatusTooManyRequests, Times: 1, Header: http.Header{
		"X-Ratelimit-Reset": {strconv.FormatInt(s.cfg.Now().Add(moment).UnixMilli(), 10)},
	}})
}

func refusal(status int, code, message string) rest.Reply {
	return rest.Reply{Status: status, Body: object{"code": code, "message": message}}
}

func (s *Server) failure(status int) rest.Reply {
	codes := map[int]string{
		http.StatusBadRequest: "invalid_request", http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden",
		http.StatusNotFound: "not_found", http.StatusMethodNotAllowed: "method_not_allowed", http.StatusTooManyRequests: "rate_limited",
	}
	return refusal(status, cmp.Or(codes[status], "internal_service_error"), http.StatusText(status))
}

// object is a JSON object.
type object = map[string]any

func ok(body any) rest.Reply { return rest.Reply{Status: http.StatusOK, Body: body} }

func link(path string) object { return object{"href": path, "type": "application/json"} }

func links(path string) object { return object{"self": link(path)} }

// newID is a document ID, as LaunchDarkly writes them.
func (s *Server) newID() string {
	s.sequence++
	return fmt.Sprintf("%024x", 0x5e38bf67+s.sequence)
}

func (s *Server) identity(r *rest.Request) rest.Reply {
	return ok(object{"accountId": account, "authKind": "token", "tokenKind": "auth", "tokenName": s.cfg.Tokens[r.Actor].Name, "serviceToken": true})
}

// account is the ID of the only account.
const account = "569f514156e003339cfd3917"

// may reports whether a token's role has an action.
func (s *Server) may(token, action string) bool {
	actions := s.cfg.Tokens[token].Actions
	return slices.Contains(actions, "*") || slices.Contains(actions, action)
}

// RequireApproval makes changes in an environment need approval.
func (s *Server) RequireApproval(project, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.environment(project, key).approval = true
}

// ClientKeys are the secrets of the clients of an environment.
func (s *Server) ClientKeys(project, key string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.environment(project, key).keys[:])
}

// environment returns an environment and makes it when there is none.
func (s *Server) environment(project, key string) *environment {
	name := project + "/" + key
	if s.environments[name] == nil {
		s.environments[name] = &environment{project: project, key: key, keys: [2]string{"sdk-" + s.newID(), "mob-" + s.newID()}}
	}
	return s.environments[name]
}

func (s *Server) getEnvironment(r *rest.Request) rest.Reply {
	e := s.environments[r.Vars["projectKey"]+"/"+r.Vars["environmentKey"]]
	if e == nil {
		return s.failure(http.StatusNotFound)
	}
	path := "/api/v2/projects/" + e.project + "/environments/" + e.key
	return ok(object{
		"_links": links(path), "_id": "57be1db38b75bf0772d11384", "key": e.key, "name": strings.ToUpper(e.key[:1]) + e.key[1:],
		"apiKey": e.keys[0], "mobileKey": e.keys[1], "color": "417505", "defaultTtl": 0, "secureMode": false,
		"defaultTrackEvents": false, "requireComments": false, "confirmChanges": false, "tags": []any{}, "critical": true,
		"approvalSettings": object{
			"required": e.approval, "bypassApprovalsForPendingChanges": false, "minNumApprovals": 1, "canReviewOwnRequest": false,
			"canApplyDeclinedChanges": false, "serviceKind": "launchdarkly", "serviceConfig": object{}, "requiredApprovalTags": []any{},
		},
	})
}
