package fakevault

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxBody is the greatest request that is read, in bytes.
// Source: https://developer.hashicorp.com/vault/docs/internals/limits
const maxBody = 32 << 20

// Policy is the paths that a token may use, with what it may do there. A path may end
// with "*", which stands for anything.
type Policy map[string][]string

// Server is a running stand-in. Its methods are safe for concurrent use.
type Server struct {
	http *httptest.Server
	now  func() time.Time

	mu      sync.Mutex
	tokens  map[string]Policy
	secrets map[string]*secret
	leases  map[string]*Lease
	// revocations counts, by lease, how often it was revoked.
	revocations map[string]int
	changes     int
	// revoking says that the newest change of leases was a revocation.
	revoking  bool
	throttled int
	sealed    bool
}

// New starts a stand-in that knows some tokens; nil as a policy allows all. A nil
// clock is time.Now.
func New(now func() time.Time, tokens map[string]Policy) *Server {
	if now == nil {
		now = time.Now
	}
	s := &Server{now: now, tokens: tokens, secrets: map[string]*secret{}, leases: map[string]*Lease{}, revocations: map[string]int{}}
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	return s
}

// URL is where it listens.
func (s *Server) URL() string { return s.http.URL }

// Address is the host and port of URL.
func (s *Server) Address() string { return s.http.Listener.Addr().(*net.TCPAddr).String() }

// Close ends it.
func (s *Server) Close() { s.http.Close() }

// Throttle refuses the next requests, as a rate limit quota does.
func (s *Server) Throttle(requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttled = requests
}

// Seal makes it refuse everything, or not any more.
func (s *Server) Seal(sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = sealed
}

// request is one request that was let in; the lock is held.
type request struct {
	http.ResponseWriter
	path, operation string
	query           func(name string) string
	body            []byte
}

// The operations that capabilities speak of.
const (
	read   = "read"
	list   = "list"
	create = "create"
	update = "update"
	remove = "delete"
)

// serve lets a request in, or refuses it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // Whoever asked has left.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	switch {
	case !ok:
		refuse(w, http.StatusNotFound)
		return
	case s.sealed:
		refuse(w, http.StatusServiceUnavailable, "Vault is sealed")
		return
	case s.throttled > 0:
		s.throttled--
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "request path \""+path+"\": rate limit quota exceeded")
		return
	}
	operation := map[string]string{http.MethodGet: read, "LIST": list, http.MethodPost: update, http.MethodPut: update, http.MethodDelete: remove}[r.Method]
	if r.Method == http.MethodGet && r.URL.Query().Get("list") == "true" {
		operation = list
	}
	if operation == "" {
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	policy, known := s.tokens[r.Header.Get("X-Vault-Token")]
	if !known {
		refuse(w, http.StatusForbidden, "permission denied")
		return
	}
	in := request{ResponseWriter: w, path: path, operation: operation, query: r.URL.Query().Get, body: body}
	if operation == update && s.creates(path) {
		in.operation = create
	}
	if !policy.allows(in) {
		refuse(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		return
	}
	s.route(in, policy)
}

func (s *Server) route(in request, policy Policy) {
	_, lookups := strings.CutPrefix(in.path, "sys/leases/lookup/")
	mount, rest, _ := strings.Cut(in.path, "/")
	section, name, _ := strings.Cut(rest, "/")
	switch {
	case in.path == "sys/capabilities-self":
		capabilities(in, policy)
	case in.path == "auth/token/lookup-self" && in.operation == read:
		respond(in, http.StatusOK, map[string]any{"policies": []string{"default"}})
	case strings.HasPrefix(in.path, "sys/internal/ui/mounts/") && in.operation == read:
		s.mount(in)
	case in.path == "sys/leases/lookup" && in.operation == update:
		s.lookup(in)
	case lookups && in.operation == list:
		s.leasesBelow(in)
	case in.path == "sys/leases/revoke" && in.operation == update:
		s.revoke(in)
	case mount == Mount && section == "data" && name != "":
		s.data(in, name)
	case mount == Mount && section == "metadata" && name != "" && in.operation == read:
		s.metadata(in, name)
	default:
		refuse(in, http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", in.path))
	}
}

// open are the paths of the default policy that every token has.
// Source: https://developer.hashicorp.com/vault/docs/concepts/policies#default-policy
var open = []string{"sys/capabilities-self", "auth/token/lookup-self"}

// allows reports whether a policy covers a request.
func (p Policy) allows(in request) bool {
	if p == nil || slices.Contains(open, in.path) || strings.HasPrefix(in.path, "sys/internal/ui/mounts/") {
		return true
	}
	granted := p.at(in.path)
	if strings.HasPrefix(in.path, "sys/leases/lookup/") && !slices.Contains(granted, "sudo") {
		return false // The listing of leases is one of the paths that need it.
	}
	return slices.Contains(granted, in.operation)
}

// at is what may be done on a path: the longest pattern wins.
func (p Policy) at(path string) []string {
	best := -1
	var granted []string
	for pattern, capabilities := range p {
		prefix, open := strings.CutSuffix(pattern, "*")
		if (pattern == path || open && strings.HasPrefix(path, prefix)) && len(prefix) > best {
			best, granted = len(prefix), capabilities
		}
	}
	return granted
}

// capabilities answers with what the token may do.
func capabilities(in request, policy Policy) {
	var asked struct{ Paths []string }
	if json.Unmarshal(in.body, &asked) != nil || len(asked.Paths) == 0 {
		refuse(in, http.StatusBadRequest, "paths must be supplied")
		return
	}
	answer := map[string]any{}
	for _, path := range asked.Paths {
		switch granted := policy.at(path); {
		case policy == nil:
			answer[path] = []string{"root"}
		case len(granted) == 0:
			answer[path] = []string{"deny"}
		default:
			answer[path] = granted
		}
	}
	respond(in, http.StatusOK, answer)
}

// refuse answers with errors as Vault spells them.
func refuse(w http.ResponseWriter, status int, texts ...string) {
	write(w, status, map[string]any{"errors": append([]string{}, texts...)})
}

// respond answers with data as Vault wraps it.
func respond(w http.ResponseWriter, status int, data any) {
	write(w, status, map[string]any{
		"request_id": rand.Text(), "lease_id": "", "renewable": false, "lease_duration": 0,
		"data": data, "wrap_info": nil, "warnings": nil, "auth": nil,
	})
}

func write(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // Whoever asked may have left.
}
