package compensatetest

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

// basePath is where the contract is served.
const basePath = "/backout"

// maxBody bounds a request, in bytes.
const maxBody = 64 << 10

// Service is a payment service that can be asked to book a batch as it was
// before. Everything it does is in its ledger.
type Service struct {
	// Secret is the signing secret that it verifies, and Tokens are those of the
	// owner and of the reader.
	Secret string
	Tokens map[drivertest.Credential]string

	server *httptest.Server
	dir    string

	mu        sync.Mutex
	resources map[string]*Resource
	ledger    []Effect
	// seen are the requests that were taken, by id and timestamp, and keys the
	// bodies that came with each idempotency key.
	seen map[string]bool
	keys map[string]string
	// throttled makes the next request be refused.
	throttled bool
	requests  []*http.Request
}

// Resource is something that the service can compensate for.
type Resource struct {
	// Reversible says that the service knows a way back.
	Reversible bool
	// ByETag makes it name its states by ETags and not by digests.
	ByETag bool
	// Busy says why it can not be changed right now.
	Busy string
	// Closed is when the window for compensation closed; zero is never.
	Closed time.Time

	history []booking
}

// booking is one revision of a resource.
type booking struct {
	content string
	at      time.Time
	by      string
}

// Effect is one entry of the ledger.
type Effect struct {
	Resource, By, Key string
	Revision          int
}

// Start starts a service on the loopback interface, over TLS, that ends with the
// test.
func Start(tb testing.TB) *Service {
	tb.Helper()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // It never fails: see crypto/rand.
	s := &Service{
		Secret: "whsec_" + base64.StdEncoding.EncodeToString(secret),
		Tokens: map[drivertest.Credential]string{drivertest.Owner: "canary-" + rand.Text(), drivertest.Reader: "canary-" + rand.Text()},
		dir:    tb.TempDir(), resources: map[string]*Resource{}, seen: map[string]bool{}, keys: map[string]string{},
	}
	s.server = httptest.NewUnstartedServer(s)
	// Connections that tests cut are nobody's business.
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	// With TLS 1.2 and no tickets whatever a client sends is answered before it
	// sends more: a law that cuts after the nth thing sent cuts at the same place
	// each time. The other tests of the kind speak TLS 1.3.
	s.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
	s.server.StartTLS()
	tb.Cleanup(s.server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
	for name, content := range map[string]string{
		"ca.pem": string(authority), "secret": s.Secret + "\n",
		"token-1": s.Tokens[drivertest.Owner], "token-2": s.Tokens[drivertest.Reader],
	} {
		require.NoError(tb, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600))
	}
	return s
}

// Address is where the service listens, as host:port.
func (s *Service) Address() string { return s.server.Listener.Addr().String() }

// Host are the settings of a host that leads to the service at an address.
func (s *Service) Host(address string, as drivertest.Credential) map[string]any {
	return map[string]any{
		"url": "https://" + address + basePath, "ca_file": filepath.Join(s.dir, "ca.pem"),
		"token_file":   filepath.Join(s.dir, fmt.Sprintf("token-%d", as)),
		"secret_files": []string{filepath.Join(s.dir, "secret")},
		"networks":     []string{"127.0.0.0/8"},
	}
}

// System is the configuration of a connection to the service at an address.
func (s *Service) System(address string, as drivertest.Credential) driver.System {
	return driver.System{Name: "compensations", Type: "http", Decode: drivertest.Settings(map[string]any{
		"hosts": map[string]any{"payments": s.Host(address, as)},
	})}
}

// Add adds a resource, with the contents that it had, oldest first.
func (s *Service) Add(name string, r *Resource, contents ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources[name] = r
	for _, content := range contents {
		s.book(name, content, "ada", "")
	}
}

// Change books another content, as a third party does.
func (s *Service) Change(name, content, by string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book(name, content, by, "")
}

// Edit changes how a resource behaves.
func (s *Service) Edit(name string, edit func(r *Resource)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(s.resources[name])
}

// Content is what is booked.
func (s *Service) Content(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resources[name].last().content
}

// Ledger are all effects that there ever were.
func (s *Service) Ledger() []Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ledger)
}

// Throttle makes the next request be refused.
func (s *Service) Throttle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttled = true
}

// Requests are the requests that came with a method, without their bodies.
func (s *Service) Requests(method string) []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*http.Request
	for _, r := range s.requests {
		if r.Method == method {
			out = append(out, r)
		}
	}
	return out
}

// book writes the ledger and the history. The caller holds the lock.
func (s *Service) book(name, content, by, key string) {
	r := s.resources[name]
	r.history = append(r.history, booking{content: content, at: time.Now().UTC(), by: by})
	s.ledger = append(s.ledger, Effect{Resource: name, By: by, Key: key, Revision: len(r.history)})
}

func (r *Resource) last() booking { return r.history[len(r.history)-1] }

// state is how a revision, counted from 1, is named.
func (r *Resource) state(revision int) map[string]string {
	digest := incident.DigestOf([]byte(r.history[revision-1].content))
	out := map[string]string{"revision": fmt.Sprint(revision), "label": fmt.Sprintf("booking %d", revision)}
	if r.ByETag {
		out["etag"] = `"` + digest[7:23] + `"`
	} else {
		out["digest"] = digest
	}
	return out
}

func (r *Resource) present() map[string]string { return r.state(len(r.history)) }

func (r *Resource) etag() string {
	return `"` + incident.DigestOf([]byte(r.last().content))[7:23] + `"`
}

func (r *Resource) detail() string {
	last := r.last()
	return fmt.Sprintf("booking %d was made at %s by %s", len(r.history), last.at.Format(time.RFC3339), last.by)
}

// ServeHTTP is the contract.
func (s *Service) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxBody))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, request)
	if s.throttled {
		s.throttled = false
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
	owner := token == s.Tokens[drivertest.Owner]
	if !owner && token != s.Tokens[drivertest.Reader] {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if request.URL.Path == basePath {
		w.WriteHeader(http.StatusOK)
		return
	}
	name := strings.TrimPrefix(request.URL.Path, basePath+"/")
	r, ok := s.resources[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch {
	case request.Method == http.MethodPost && !owner:
		w.WriteHeader(http.StatusForbidden)
	case request.Method == http.MethodPost:
		s.compensate(w, request, name, body)
	case request.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case request.URL.Query().Get("view") == "plan":
		reply(w, http.StatusOK, r.plan(request, owner))
	case request.URL.Query().Get("view") == "changes":
		reply(w, http.StatusOK, r.changes())
	default:
		w.Header().Set("ETag", r.etag())
		reply(w, http.StatusOK, map[string]any{"state": r.present(), "settled": r.Busy == "", "detail": r.detail()})
	}
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // Whoever asked has gone.
}

// order is the body of a POST.
type order struct {
	Type string `json:"type"`
	Data struct {
		Host     string         `json:"host"`
		Resource string         `json:"resource"`
		Key      string         `json:"key"`
		From     incident.State `json:"from"`
		To       incident.State `json:"to"`
	} `json:"data"`
}

// compensate books the wanted content again, if all is as it has to be.
func (s *Service) compensate(w http.ResponseWriter, request *http.Request, name string, body []byte) {
	if err := verify(s.Secret, request.Header, body, time.Now()); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var o order
	if err := json.Unmarshal(body, &o); err != nil || o.Type != "backout.compensate" || o.Data.Resource != name {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	key := request.Header.Get("Idempotency-Key")
	if key != fmt.Sprintf("%q", o.Data.Key) || o.Data.Key == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	attempt := request.Header.Get("Webhook-Id") + " " + request.Header.Get("Webhook-Timestamp")
	if s.seen[attempt] {
		w.WriteHeader(http.StatusConflict) // It is a replay, or comes again within the second.
		return
	}
	s.seen[attempt] = true
	first, used := s.keys[key]
	if used && first != string(body) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	r := s.resources[name]
	drifted := func(detail string) {
		reply(w, http.StatusPreconditionFailed, map[string]any{"result": "drift", "state": r.present(), "detail": detail})
	}
	match := request.Header.Get("If-Match")
	switch present := r.digest(len(r.history)); {
	case present == o.Data.To.Digest:
		reply(w, http.StatusOK, map[string]any{"result": "already", "state": r.present(), "detail": "it was booked like that already"})
		return
	case present != o.Data.From.Digest || match != "" && match != r.etag():
		drifted(r.detail())
		return
	case used:
		drifted("somebody changed it back after this very request: " + r.detail())
		return
	}
	revision := slices.IndexFunc(r.history, func(b booking) bool { return r.digestOf(b) == o.Data.To.Digest }) + 1
	if revision == 0 {
		w.WriteHeader(http.StatusGone)
		return
	}
	s.keys[key] = string(body)
	s.book(name, r.history[revision-1].content, "backout", o.Data.Key)
	reply(w, http.StatusOK, map[string]any{"result": "applied", "state": r.present(), "detail": fmt.Sprintf("booked again as it was in booking %d", revision)})
}

func (r *Resource) digest(revision int) string { return r.digestOf(r.history[revision-1]) }

// digestOf is the digest of a state as Backout names it.
func (r *Resource) digestOf(b booking) string {
	digest := incident.DigestOf([]byte(b.content))
	if r.ByETag {
		return incident.DigestOf([]byte("etag\x00\"" + digest[7:23] + `"`))
	}
	return digest
}

// plan works out where to go and what stands in the way.
func (r *Resource) plan(request *http.Request, owner bool) map[string]any {
	var checks []map[string]string
	add := func(result, name, format string, args ...any) {
		checks = append(checks, map[string]string{"name": name, "result": result, "reason": fmt.Sprintf(format, args...)})
	}
	wanted := r.wanted(request)
	switch {
	case r.Busy != "":
		add("blocked", "nothing in flight", "A batch is being booked: %s.", r.Busy)
	case !r.Closed.IsZero():
		add("blocked", "window is open", "The window for compensation closed at %s.", r.Closed.UTC().Format(time.RFC3339))
	case !owner:
		add("blocked", "permission", "The token may not book.")
	case wanted == 0:
		add("blocked", "revision exists", "There is no such booking.")
	case r.digest(wanted) == r.digest(len(r.history)):
		add("blocked", "not there already", "It is booked like that already.")
	default:
		add("ok", "revision exists", "Booking %d can be made again.", wanted)
		return map[string]any{
			"from": r.present(), "to": r.state(wanted), "reversible": r.Reversible, "expected_seconds": 0.5,
			"wont_revert": []string{"what customers were told"}, "checks": checks,
		}
	}
	return map[string]any{"checks": checks}
}

// wanted is the revision that a plan is asked for; 0 is none.
func (r *Resource) wanted(request *http.Request) int {
	query := request.URL.Query()
	if revision := query.Get("revision"); revision != "" {
		for n := range r.history {
			if fmt.Sprint(n+1) == revision {
				return n + 1
			}
		}
		return 0
	}
	before, err := time.Parse(time.RFC3339Nano, query.Get("before"))
	if err != nil {
		return 0
	}
	wanted := 0
	for n, b := range r.history {
		if b.at.Before(before) {
			wanted = n + 1
		}
	}
	return wanted
}

func (r *Resource) changes() map[string]any {
	changes := []map[string]any{}
	for n, b := range r.history {
		change := map[string]any{"id": fmt.Sprint(n + 1), "at": b.at, "author": b.by, "to": fmt.Sprintf("booking %d", n+1), "summary": fmt.Sprintf("booking %d made", n+1)}
		if n > 0 {
			change["from"] = fmt.Sprintf("booking %d", n)
		}
		changes = append(changes, change)
	}
	return map[string]any{"changes": changes}
}
