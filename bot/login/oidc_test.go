package login_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/login"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	b := s.browser(t)
	who, next, err := b.get(s.URL + "/begin?next=" + url.QueryEscape("/incidents/pagerduty/Q1/approve/o2?plan=x"))
	require.NoError(t, err)
	require.Equal(t, "/incidents/pagerduty/Q1/approve/o2?plan=x", next)
	require.Equal(t, "ada@example.com", who.Login)
	require.Equal(t, "Ada Lovelace", who.Name)
	require.Equal(t, s.Provider.URL, who.Issuer)
	again, _, err := b.get(s.URL + "/who")
	require.NoError(t, err)
	require.Equal(t, who.ID, again.ID)
	require.Len(t, b.cookies(), 1, "the cookie of the attempt is gone")
}

func TestCookies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, url, prefix string
		secure            bool
	}{
		{"https", "https://backout.example.com", "__Host-backout-login-", true},
		{"this machine", "http://localhost:8420", "backout-login-", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(o *login.Options) { o.URL = tt.url })
			b := s.browser(t)
			b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/begin", nil)
			require.NoError(t, err)
			response, err := b.Do(r)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Len(t, response.Cookies(), 1)
			c := response.Cookies()[0]
			require.True(t, strings.HasPrefix(c.Name, tt.prefix), c.Name)
			require.Equal(t, tt.secure, c.Secure)
			require.True(t, c.HttpOnly)
			require.Equal(t, http.SameSiteLaxMode, c.SameSite)
			require.Equal(t, "/", c.Path)
			require.Empty(t, c.Domain)
			to, err := response.Location()
			require.NoError(t, err)
			require.Equal(t, "S256", to.Query().Get("code_challenge_method"))
			require.Len(t, to.Query().Get("state"), 43, "256 bits")
			require.Len(t, to.Query().Get("nonce"), 43, "256 bits")
			require.Equal(t, tt.url+login.CallbackPath, to.Query().Get("redirect_uri"))
			require.NotContains(t, c.Value, to.Query().Get("state"), "what the browser carries is sealed")
		})
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	t.Parallel()
	with := func(address string, set map[string]string) string {
		u, _ := url.Parse(address)
		q := u.Query()
		for k, v := range set {
			q.Set(k, v)
		}
		u.RawQuery = q.Encode()
		return u.String()
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, s *site, b browser) error
		want error
	}{
		{"another browser", func(t *testing.T, s *site, b browser) error {
			_, _, err := s.browser(t).get(b.answered())
			return err
		}, login.ErrState},
		{"another state", func(_ *testing.T, _ *site, b browser) error {
			_, _, err := b.get(with(b.answered(), map[string]string{"state": "made up"}))
			return err
		}, login.ErrState},
		{"the state of another attempt", func(_ *testing.T, _ *site, b browser) error {
			one, two := b.answered(), b.answered()
			u, _ := url.Parse(two)
			// The code of one with the state of the other: PKCE refuses it.
			_, _, err := b.get(with(one, map[string]string{"state": u.Query().Get("state")}))
			return err
		}, login.ErrRefused},
		{"too late", func(_ *testing.T, s *site, b browser) error {
			address := b.answered()
			s.Clock.pass(11 * time.Minute)
			_, _, err := b.get(address)
			return err
		}, login.ErrState},
		{"twice", func(_ *testing.T, _ *site, b browser) error {
			address := b.answered()
			_, _, err := b.get(address)
			if err != nil {
				return err
			}
			_, _, err = b.get(address)
			return err
		}, login.ErrState},
		{"twice, by a copy of the cookie", func(t *testing.T, s *site, b browser) error {
			address := b.answered()
			u, err := url.Parse(s.URL)
			require.NoError(t, err)
			thief := s.browser(t)
			thief.Jar.SetCookies(u, b.cookies())
			if _, _, err := b.get(address); err != nil {
				return err
			}
			_, _, err = thief.get(address)
			return err
		}, login.ErrState},
		{"the answer of another provider", func(_ *testing.T, _ *site, b browser) error {
			_, _, err := b.get(with(b.answered(), map[string]string{"iss": "https://evil.example"}))
			return err
		}, login.ErrState},
		{"no code", func(_ *testing.T, _ *site, b browser) error {
			_, _, err := b.get(with(b.answered(), map[string]string{"code": ""}))
			return err
		}, login.ErrState},
		{"a made up code", func(_ *testing.T, _ *site, b browser) error {
			_, _, err := b.get(with(b.answered(), map[string]string{"code": "x"}))
			return err
		}, login.ErrRefused},
		{"the provider refuses", func(_ *testing.T, _ *site, b browser) error {
			_, _, err := b.get(with(b.answered(), map[string]string{"error": "access_denied"}))
			return err
		}, login.ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			b := s.browser(t)
			require.ErrorIs(t, tt.do(t, s, b), tt.want)
		})
	}
}

func TestPeopleWhoAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*login.Provider)
		lie    func(map[string]any)
		want   error
	}{
		{"verified", nil, nil, nil},
		{"verified as text", nil, func(c map[string]any) { c["email_verified"] = "true" }, nil},
		{"not verified", nil, func(c map[string]any) { c["email_verified"] = false }, login.ErrRefused},
		{"verification not told", nil, func(c map[string]any) { delete(c, "email_verified") }, login.ErrRefused},
		{"not verified, and taken", func(p *login.Provider) { p.AllowUnverifiedEmail = true }, func(c map[string]any) { delete(c, "email_verified") }, nil},
		{"no address", nil, func(c map[string]any) { delete(c, "email") }, login.ErrProvider},
		{"an address that is none", nil, func(c map[string]any) { c["email"] = "" }, login.ErrRefused},
		{"an address with a line break", nil, func(c map[string]any) { c["email"] = "ada@example.com\nbob" }, login.ErrRefused},
		{"a long address", nil, func(c map[string]any) { c["email"] = strings.Repeat("a", 300) }, login.ErrRefused},
		{"the domain", func(p *login.Provider) { p.Domains = []string{"Example.com"} }, nil, nil},
		{"another domain", func(p *login.Provider) { p.Domains = []string{"example.org"} }, nil, login.ErrRefused},
		{"a domain below", func(p *login.Provider) { p.Domains = []string{"com"} }, nil, login.ErrRefused},
		{"a domain before the last @", func(p *login.Provider) { p.Domains = []string{"example.com"} }, func(c map[string]any) { c["email"] = "a@example.com@evil.example" }, login.ErrRefused},
		{"the organization", func(p *login.Provider) { p.HostedDomains = []string{"example.com"} }, func(c map[string]any) { c["hd"] = "example.com" }, nil},
		{"no organization", func(p *login.Provider) { p.HostedDomains = []string{"example.com"} }, nil, login.ErrRefused},
		{"another claim", func(p *login.Provider) { p.Claim = "preferred_username" }, func(c map[string]any) { c["preferred_username"] = "ada"; delete(c, "email_verified") }, nil},
		{"a claim that is no text", func(p *login.Provider) { p.Claim = "groups" }, func(c map[string]any) { c["groups"] = []string{"ada"} }, login.ErrRefused},
		{"another audience", nil, func(c map[string]any) { c["aud"] = "another" }, login.ErrRefused},
		{"two audiences", nil, func(c map[string]any) { c["aud"] = []string{"backout", "another"} }, login.ErrRefused},
		{"another issuer", nil, func(c map[string]any) { c["iss"] = "https://evil.example" }, login.ErrRefused},
		{"another nonce", nil, func(c map[string]any) { c["nonce"] = "x" }, login.ErrRefused},
		{"no nonce", nil, func(c map[string]any) { delete(c, "nonce") }, login.ErrRefused},
		{"expired", nil, func(c map[string]any) { c["exp"] = 1 }, login.ErrRefused},
		{"the client's secret", func(p *login.Provider) { p.ClientSecret = "wrong" }, nil, login.ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, func(o *login.Options) {
				if tt.change != nil {
					tt.change(&o.Provider)
				}
			})
			s.Provider.Lie = tt.lie
			b := s.browser(t)
			_, _, err := b.get(s.URL + "/begin")
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.Empty(t, b.cookies(), "no session was begun")
		})
	}
}

// Some providers leave claims out of the ID token, and tell them elsewhere.
func TestClaimsThatAreToldElsewhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		elsewhere map[string]any
		lie       func(map[string]any)
		want      error
	}{
		{"both", map[string]any{"sub": "subject-of-ada", "email": "ada@example.com", "email_verified": true}, nil, nil},
		{"not verified", map[string]any{"sub": "subject-of-ada", "email": "ada@example.com"}, nil, login.ErrRefused},
		{"of somebody else", map[string]any{"sub": "subject-of-bob", "email": "bob@example.com", "email_verified": true}, nil, login.ErrRefused},
		{"of nobody", map[string]any{"email": "ada@example.com", "email_verified": true}, nil, login.ErrRefused},
		{"the ID token says that it is not verified", map[string]any{"sub": "subject-of-ada", "email": "ada@example.com", "email_verified": true}, func(c map[string]any) { c["email_verified"] = false }, login.ErrRefused},
		{"refused", nil, nil, login.ErrProvider},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			s.Provider.Elsewhere = tt.elsewhere
			s.Provider.Lie = func(c map[string]any) {
				delete(c, "email")
				delete(c, "email_verified")
				if tt.lie != nil {
					tt.lie(c)
				}
			}
			b := s.browser(t)
			who, _, err := b.get(s.URL + "/begin")
			if tt.want == nil {
				require.NoError(t, err)
				require.Equal(t, "ada@example.com", who.Login)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.Empty(t, b.cookies(), "no session was begun")
		})
	}
}

func TestAProviderThatIsAway(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(o *login.Options) { o.Provider.Issuer = "http://127.0.0.1:1" })
	_, _, err := s.browser(t).get(s.URL + "/begin")
	require.ErrorIs(t, err, login.ErrProvider)
	require.ErrorIs(t, login.Reach(t.Context(), "http://127.0.0.1:1"), login.ErrProvider)
	require.NoError(t, login.Reach(t.Context(), s.Provider.URL))
}

func TestSessions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(s *site, b browser)
		ends bool
	}{
		{"used now and then", func(s *site, b browser) {
			for range 7 {
				s.Clock.pass(50 * time.Minute)
				_, _, err := b.get(s.URL + "/who")
				require.NoError(b.t, err)
			}
		}, false},
		{"not used", func(s *site, _ browser) { s.Clock.pass(time.Hour) }, true},
		{"a day's work", func(s *site, b browser) {
			for range 10 {
				s.Clock.pass(50 * time.Minute)
				_, _, _ = b.get(s.URL + "/who") // It ends on the way.
			}
		}, true},
		{"ended", func(s *site, b browser) {
			_, _, err := b.get(s.URL + "/end")
			require.NoError(b.t, err)
		}, true},
		{"tampered", func(_ *site, b browser) { b.spoil(func(v string) string { return v[:40] + flip(v[40:41]) + v[41:] }) }, true},
		{"cut", func(_ *site, b browser) { b.spoil(func(v string) string { return v[:20] }) }, true},
		{"emptied", func(_ *site, b browser) { b.spoil(func(string) string { return "e30" }) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			b := s.browser(t)
			b.login()
			tt.do(s, b)
			_, _, err := b.get(s.URL + "/who")
			if tt.ends {
				require.ErrorIs(t, err, login.ErrNoSession)
				return
			}
			require.NoError(t, err)
		})
	}
}

func flip(c string) string {
	if c == "A" {
		return "B"
	}
	return "A"
}

// spoil changes the value of the session's cookie.
func (b browser) spoil(change func(string) string) {
	u, err := url.Parse(b.s.URL)
	require.NoError(b.t, err)
	cookies := b.cookies()
	require.Len(b.t, cookies, 1)
	cookies[0].Value = change(cookies[0].Value)
	b.Jar.SetCookies(u, cookies)
}

// A copy of a cookie is worth nothing once the session was ended or replaced.
func TestEndedSessionsStayEnded(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	b, thief := s.browser(t), s.browser(t)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	before := b.login()
	thief.Jar.SetCookies(u, b.cookies())
	_, _, err = thief.get(s.URL + "/who")
	require.NoError(t, err)
	after := b.login()
	require.NotEqual(t, before.ID, after.ID, "each login is a session of its own")
	_, _, err = thief.get(s.URL + "/who")
	require.ErrorIs(t, err, login.ErrNoSession, "the session from before the login is over")

	thief.Jar.SetCookies(u, b.cookies())
	_, _, err = b.get(s.URL + "/end")
	require.NoError(t, err)
	_, _, err = thief.get(s.URL + "/who")
	require.ErrorIs(t, err, login.ErrNoSession)
}

// The cookie of an attempt is no session, and the other way round.
func TestCookiesAreForOnePurpose(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	b := s.browser(t)
	b.answered()
	cookies := b.cookies()
	require.Len(t, cookies, 1)
	cookies[0].Name = "backout-session"
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	other := s.browser(t)
	other.Jar.SetCookies(u, cookies)
	_, _, err = other.get(s.URL + "/who")
	require.ErrorIs(t, err, login.ErrNoSession)
}

func TestNextStaysHere(t *testing.T) {
	t.Parallel()
	for wanted, want := range map[string]string{
		"/incidents":                              "/incidents",
		"/incidents/pagerduty/Q1":                 "/incidents/pagerduty/Q1",
		"/incidents/a/b/approve/o1?plan=x":        "/incidents/a/b/approve/o1?plan=x",
		"/login/passkeys":                         "/login/passkeys",
		"":                                        "/incidents",
		"https://evil.example/incidents":          "/incidents",
		"//evil.example/incidents":                "/incidents",
		"/\\evil.example":                         "/incidents",
		"/incidents/\\evil.example":               "/incidents",
		"/incidents//evil.example":                "/incidents",
		"/incidents/../logout":                    "/incidents",
		"/incidentsx":                             "/incidents",
		"/incidents\r\nSet-Cookie: a=b":           "/incidents",
		"javascript:alert(1)":                     "/incidents",
		"/incidents/%2e%2e/x":                     "/incidents",
		"/login/callback?code=x":                  "/incidents",
		"/incidents/" + strings.Repeat("x", 2000): "/incidents",
	} {
		require.Equal(t, want, login.Next(wanted), wanted)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*login.Options)
		want   string
	}{
		{"an address for a host", func(o *login.Options) { o.URL = "https://192.0.2.7" }, "a passkey is bound to a name"},
		{"no https", func(o *login.Options) { o.URL = "http://backout.example.com" }, "is not https"},
		{"a path", func(o *login.Options) { o.URL = "https://example.com/backout" }, "is not scheme, host and port"},
		{"an issuer without https", func(o *login.Options) { o.Provider.Issuer = "http://id.example.com" }, "is not https"},
		{"an issuer that is none", func(o *login.Options) { o.Provider.Issuer = "id" }, "is not an address"},
		{"no client", func(o *login.Options) { o.Provider.ClientID = "" }, "client ID"},
		{"no keys", func(o *login.Options) { o.Keys = nil }, "keys or store"},
		{"no store", func(o *login.Options) { o.Store = nil }, "keys or store"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys, err := login.NewKeys(make([]byte, 32))
			require.NoError(t, err)
			o := login.Options{
				URL: "https://backout.example.com", Keys: keys, Store: &login.Store{},
				Provider: login.Provider{Issuer: "https://id.example.com", ClientID: "a", ClientSecret: "b"},
			}
			_, err = login.New(o)
			require.NoError(t, err)
			tt.change(&o)
			_, err = login.New(o)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
