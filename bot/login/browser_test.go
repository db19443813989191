package login_test

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/bot/login/logintest"
)

// clock is moved by tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// site is a web site with nothing but a login.
type site struct {
	*login.Login

	URL      string
	Clock    *clock
	Store    *login.Store
	Keys     *login.Keys
	Provider *logintest.Provider

	mu   sync.Mutex
	last error
	seen login.Session
	next string
}

// newSite serves a login; change spoils its options.
func newSite(t *testing.T, change func(*login.Options)) *site {
	t.Helper()
	s := &site{Clock: &clock{now: time.Now()}, Provider: logintest.NewProvider(t)}
	s.Provider.Now = s.Clock.Now
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.URL = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	var err error
	s.Store, err = login.OpenStore(t.Context(), filepath.Join(t.TempDir(), "login.db"))
	require.NoError(t, err)
	own := s.Store
	t.Cleanup(func() { require.NoError(t, own.Close()) })
	s.Keys, err = login.ParseKeys(login.NewKeyFile())
	require.NoError(t, err)
	o := login.Options{
		URL: s.URL, Keys: s.Keys, Store: s.Store, Now: s.Clock.Now,
		Provider: login.Provider{Issuer: s.Provider.URL, ClientID: logintest.ClientID, ClientSecret: logintest.ClientSecret},
	}
	if change != nil {
		change(&o)
	}
	s.Login, err = login.New(o)
	require.NoError(t, err)
	keep := func(seen login.Session, next string, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen, s.next, s.last = seen, next, err
	}
	mux.HandleFunc("GET /begin", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Begin(w, r, r.URL.Query().Get("next")); err != nil {
			keep(login.Session{}, "", err)
		}
	})
	mux.HandleFunc("GET "+login.CallbackPath, func(w http.ResponseWriter, r *http.Request) { keep(s.Finish(w, r)) })
	mux.HandleFunc("GET /who", func(w http.ResponseWriter, r *http.Request) {
		seen, err := s.Session(w, r)
		keep(seen, "", err)
	})
	mux.HandleFunc("GET /end", func(w http.ResponseWriter, r *http.Request) { keep(login.Session{}, "", s.End(w, r)) })
	return s
}

// browser is a browser with cookies of its own.
type browser struct {
	*http.Client

	t *testing.T
	s *site
}

func (s *site) browser(t *testing.T) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return browser{&http.Client{Jar: jar, Timeout: time.Minute}, t, s}
}

// get follows redirects and returns what the site saw last.
func (b browser) get(address string) (login.Session, string, error) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	require.NoError(b.t, err)
	response, err := b.Do(r)
	require.NoError(b.t, err)
	require.NoError(b.t, response.Body.Close())
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.s.seen, b.s.next, b.s.last
}

func (b browser) login() login.Session {
	b.t.Helper()
	seen, _, err := b.get(b.s.URL + "/begin")
	require.NoError(b.t, err)
	return seen
}

// answered begins a login and returns the address with the provider's answer,
// without going there.
func (b browser) answered() string {
	b.t.Helper()
	address := ""
	client := *b.Client
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == login.CallbackPath {
			address = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	_, _, _ = browser{&client, b.t, b.s}.get(b.s.URL + "/begin") // It goes no further than the answer.
	require.NotEmpty(b.t, address)
	return address
}

func (b browser) cookies() []*http.Cookie {
	u, err := url.Parse(b.s.URL)
	require.NoError(b.t, err)
	return b.Jar.Cookies(u)
}

// enrol gives the person of a session a passkey.
func (s *site) enrol(t *testing.T, who login.Session) *logintest.Authenticator {
	t.Helper()
	code, err := s.Store.NewCode(t.Context(), who.Login, s.Clock.Now())
	require.NoError(t, err)
	c, err := s.BeginEnrolment(t.Context(), who, code, "a key")
	require.NoError(t, err)
	a, err := logintest.NewAuthenticator(s.URL)
	require.NoError(t, err)
	answer, err := a.Create(c.Options)
	require.NoError(t, err)
	require.NoError(t, s.FinishEnrolment(t.Context(), who, c.State, answer))
	return a
}

// prove asks for a proof and lets the passkey answer.
func (s *site) prove(ctx context.Context, t *testing.T, who login.Session, a *logintest.Authenticator, about login.Subject) (state, answer string) {
	t.Helper()
	c, err := s.BeginProof(ctx, who, about)
	require.NoError(t, err)
	answer, err = a.Get(c.Options)
	require.NoError(t, err)
	return c.State, answer
}
