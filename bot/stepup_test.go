package bot_test

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/bot/login/logintest"
	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// visitor is a person at a browser of their own, with a passkey.
type visitor struct {
	t    *testing.T
	g    *gatehouse
	http *http.Client
	key  *logintest.Authenticator
	// provider can be made to say that the person is somebody else.
	provider *logintest.Provider
}

// invented is a console whose provider is logintest's.
func invented(t *testing.T) (*gatehouse, *logintest.Provider) {
	t.Helper()
	p := logintest.NewProvider(t)
	g := newGatehouse(t, func(string) login.Provider {
		return login.Provider{Issuer: p.URL, ClientID: logintest.ClientID, ClientSecret: logintest.ClientSecret}
	})
	p.Now = g.Clock.Now
	return g, p
}

func (g *gatehouse) visitor(t *testing.T, p *logintest.Provider) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &visitor{t: t, g: g, http: &http.Client{Jar: jar, Timeout: patience}, provider: p}
}

// shown is where an answer was shown, and with which headers.
type shown struct {
	At     *url.URL
	Header http.Header
}

func (v *visitor) do(r *http.Request) (int, string, shown) {
	v.t.Helper()
	response, err := v.http.Do(r)
	require.NoError(v.t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(v.t, err)
	require.NoError(v.t, response.Body.Close())
	return response.StatusCode, string(body), shown{response.Request.URL, response.Header}
}

func (v *visitor) get(path string) (int, string, shown) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(within(v.t), http.MethodGet, v.g.URL+path, nil)
	require.NoError(v.t, err)
	return v.do(r)
}

func (v *visitor) post(path string, form url.Values, header ...string) (int, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(within(v.t), http.MethodPost, v.g.URL+path, strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	status, body, _ := v.do(r)
	return status, body
}

func (v *visitor) login() {
	v.t.Helper()
	status, body, response := v.get("/login/start?next=/incidents")
	require.Equal(v.t, http.StatusOK, status, body)
	require.Equal(v.t, "/incidents", response.At.Path)
}

var (
	optionsIn = regexp.MustCompile(`data-options="([^"]*)"`)
	stateIn   = regexp.MustCompile(`name="state" value="([^"]*)"`)
)

func (v *visitor) asked(body string) (options, state string) {
	v.t.Helper()
	o, s := optionsIn.FindStringSubmatch(body), stateIn.FindStringSubmatch(body)
	require.NotNil(v.t, o, body)
	require.NotNil(v.t, s)
	return html.UnescapeString(o[1]), html.UnescapeString(s[1])
}

func (v *visitor) enrol(login string) {
	v.t.Helper()
	code, err := v.g.Store.NewCode(v.t.Context(), login, v.g.Clock.Now())
	require.NoError(v.t, err)
	status, body := v.post("/login/passkeys/begin", url.Values{"code": {code}, "name": {"Phone"}})
	require.Equal(v.t, http.StatusOK, status)
	options, state := v.asked(body)
	v.key, err = logintest.NewAuthenticator(v.g.URL)
	require.NoError(v.t, err)
	answer, err := v.key.Create(options)
	require.NoError(v.t, err)
	status, body = v.post("/login/passkeys/finish", url.Values{"state": {state}, "credential": {answer}})
	require.Equal(v.t, http.StatusOK, status)
	require.Contains(v.t, body, "The passkey is enrolled")
}

// read opens the page of the plan and lets the passkey answer: what is left is to
// send the form.
func (v *visitor) read(path string) url.Values {
	v.t.Helper()
	status, body, _ := v.get(path)
	require.Equal(v.t, http.StatusOK, status)
	options, state := v.asked(body)
	answer, err := v.key.Get(options)
	require.NoError(v.t, err)
	return url.Values{"state": {state}, "credential": {answer}, "plan_digest": {planDigest("o2")}, "revision": {"1"}}
}

func approvePath(key string) string { return "/incidents/" + key + "/approve/o2" }

func TestStepUp(t *testing.T) {
	t.Parallel()
	g, p := invented(t)
	v := g.visitor(t, p)
	key := guarded(t)
	path := approvePath(key)

	status, body, response := v.get(path + "?plan=" + planDigest("o2"))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "/login", response.At.Path, "the page asks to log in")
	require.Equal(t, path+"?plan="+planDigest("o2"), response.At.Query().Get("next"))
	require.NotContains(t, body, planDigest("o2")+"</code>")

	v.login()
	status, body, _ = v.get(path)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "You have no passkey here")
	v.enrol("ada@example.com")

	status, body, response = v.get(path + "?plan=sha256:old")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, response.Header.Get("Content-Security-Policy"), "script-src 'self'")
	require.NotContains(t, response.Header.Get("Content-Security-Policy"), "script-src 'self' ")
	for _, part := range []string{
		planDigest("o2"), "public.orders", "snapshot of 02:00", "orders:v42", "orders:v41", "payments that were captured", "a restore has no inverse",
		"invoices reads it too", "can not be undone", "not the one of your card", "Ada Lovelace",
	} {
		require.Contains(t, body, part)
	}
	form := v.read(path)
	form.Set("reason", "the table is corrupt")
	status, body = v.post(path, form)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "starts the rollback")

	decisions := viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Decisions
	require.Len(t, decisions, 1)
	d := decisions[0]
	require.Equal(t, incident.Actor{Via: incident.ViaConsole, Login: "ada@example.com"}, d.Actor)
	require.Equal(t, "the table is corrupt", d.Reason)
	require.NotNil(t, d.StepUp)
	require.Equal(t, login.MethodPasskey, d.StepUp.Method)
	require.Equal(t, planDigest("o2"), d.StepUp.PlanDigest)
	require.WithinDuration(t, g.Clock.Now(), d.StepUp.At, patience)

	// The same again is no second decision.
	status, body = v.post(path, form)
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, body, "sent before")
	require.Len(t, viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Decisions, 1)

	for _, secret := range []string{logintest.ClientSecret, form.Get("state"), form.Get("credential")} {
		require.NotContains(t, g.Log.String(), secret)
	}
}

func TestStepUpsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		do     func(v *visitor, key string) (int, string)
		status int
		says   string
	}{
		{"another plan", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			form.Set("plan_digest", planDigest("o1"))
			return v.post(approvePath(key), form)
		}, http.StatusForbidden, "another plan"},
		{"another option", func(v *visitor, key string) (int, string) {
			return v.post("/incidents/"+key+"/approve/o1", v.read(approvePath(key)))
		}, http.StatusForbidden, "another plan"},
		{"another incident", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(guarded(v.t)))
			return v.post(approvePath(key), form)
		}, http.StatusForbidden, "another plan"},
		{"too late", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			v.g.Clock.pass(5 * time.Minute)
			return v.post(approvePath(key), form)
		}, http.StatusBadRequest, "more than five minutes"},
		{"another login of the same person", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			other := v.g.visitor(v.t, v.provider)
			other.login()
			return other.post(approvePath(key), form)
		}, http.StatusForbidden, "another login"},
		{"another person", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			v.provider.Lie = func(c map[string]any) { c["sub"], c["email"] = "subject-of-bob", "bob@example.com" }
			other := v.g.visitor(v.t, v.provider)
			other.login()
			return other.post(approvePath(key), form)
		}, http.StatusForbidden, "another login"},
		{"nobody", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			return v.g.visitor(v.t, v.provider).post(approvePath(key), form)
		}, http.StatusUnauthorized, "not logged in"},
		{"after the logout", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			u, err := url.Parse(v.g.URL)
			require.NoError(v.t, err)
			copied := v.http.Jar.Cookies(u)
			status, _ := v.post("/logout", nil)
			require.Equal(v.t, http.StatusOK, status)
			v.http.Jar.SetCookies(u, copied)
			return v.post(approvePath(key), form)
		}, http.StatusUnauthorized, "not logged in"},
		{"a tampered cookie", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			u, err := url.Parse(v.g.URL)
			require.NoError(v.t, err)
			copied := v.http.Jar.Cookies(u)
			require.Len(v.t, copied, 1)
			copied[0].Value = "AAAA" + copied[0].Value[4:]
			v.http.Jar.SetCookies(u, copied)
			return v.post(approvePath(key), form)
		}, http.StatusUnauthorized, "not logged in"},
		{"a page of another origin", func(v *visitor, key string) (int, string) {
			return v.post(approvePath(key), v.read(approvePath(key)), "Origin", "https://evil.example")
		}, http.StatusForbidden, "Forbidden"},
		{"a page of another site", func(v *visitor, key string) (int, string) {
			return v.post(approvePath(key), v.read(approvePath(key)), "Sec-Fetch-Site", "cross-site")
		}, http.StatusForbidden, "Forbidden"},
		{"a passkey that was asked by another page", func(v *visitor, key string) (int, string) {
			v.key.Origin = "https://evil.example"
			return v.post(approvePath(key), v.read(approvePath(key)))
		}, http.StatusForbidden, "proves nothing"},
		{"a person who was not verified", func(v *visitor, key string) (int, string) {
			v.key.Unverified = true
			return v.post(approvePath(key), v.read(approvePath(key)))
		}, http.StatusForbidden, "proves nothing"},
		{"a passkey that was revoked", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			_, err := v.g.Store.Revoke(v.t.Context(), "ada@example.com", "")
			require.NoError(v.t, err)
			return v.post(approvePath(key), form)
		}, http.StatusForbidden, "no passkey here"},
		{"no answer", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			form.Del("credential")
			return v.post(approvePath(key), form)
		}, http.StatusForbidden, "proves nothing"},
		{"no revision", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			form.Del("revision")
			return v.post(approvePath(key), form)
		}, http.StatusBadRequest, "Nothing was done"},
		{"break-glass without a reason", func(v *visitor, key string) (int, string) {
			form := v.read(approvePath(key))
			form.Set("break_glass", "yes")
			return v.post(approvePath(key), form)
		}, http.StatusBadRequest, "Break-glass needs a reason"},
		{"an option that is not there", func(v *visitor, key string) (int, string) {
			status, body, _ := v.get("/incidents/" + key + "/approve/o9")
			return status, body
		}, http.StatusNotFound, "has changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g, p := invented(t)
			v := g.visitor(t, p)
			v.login()
			v.enrol("ada@example.com")
			key := guarded(t)
			status, body := tt.do(v, key)
			require.Equal(t, tt.status, status, body)
			require.Contains(t, body, tt.says)
			now := viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key)
			require.Empty(t, now.Decisions, "nothing was decided")
			attempts := slices.DeleteFunc(now.Timeline, func(e incident.Event) bool { return e.Kind != incident.EventAttempt })
			if !slices.Contains([]string{"another plan", "more than five minutes", "another login", "proves nothing", "no passkey here"}, tt.says) {
				require.Empty(t, attempts, "it was no proof")
				return
			}
			require.Len(t, attempts, 1)
			require.Contains(t, attempts[0].Text, "refused the second proof")
			require.Contains(t, attempts[0].Actor, "console:")
		})
	}
}

// Nobody can say that they gave a second proof: not in a form, not in a body, not
// with a token.
func TestASecondProofCanNotBeClaimed(t *testing.T) {
	t.Parallel()
	g, p := invented(t)
	v := g.visitor(t, p)
	v.login()
	key := guarded(t)
	status, body := v.post("/incidents/"+key+"/decide", url.Values{
		"option_id": {"o2"}, "plan_digest": {planDigest("o2")}, "revision": {"1"}, "answer": {"approve"},
		"step_up": {`{"method":"webauthn"}`}, "StepUp": {"webauthn"},
	})
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "You can not decide this")
	call := `{"key":"` + key + `","option_id":"o2","plan_digest":"` + planDigest("o2") + `","answer":"approve"`
	for _, claim := range []string{"step_up", "StepUp", "stepup"} {
		status, _ := send(t, http.MethodPost, g.URL+"/api/v1/decide", asAda(), call+`,"`+claim+`":{"method":"webauthn","plan_digest":"`+planDigest("o2")+`"}}`)
		require.Equal(t, http.StatusBadRequest, status, claim)
	}
	status, body = send(t, http.MethodPost, g.URL+"/api/v1/decide", asAda(), call+"}")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "denied")
	decisions := viewOf(t, bot.NewGateway(temporalClient, bot.Unsigned{}), key).Decisions
	require.Len(t, decisions, 2)
	for _, d := range decisions {
		require.Nil(t, d.StepUp)
		require.Equal(t, incident.OutcomeDenied, d.Outcome)
	}
}

// Where people log in, tokens are for programs only.
func TestTheConsoleTakesNoTokensBesideALogin(t *testing.T) {
	t.Parallel()
	g, p := invented(t)
	v := g.visitor(t, p)
	v.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{"/incidents", "/incidents/pagerduty/Q1", "/incidents/pagerduty/Q1/approve/o2", "/login/passkeys"} {
		r, err := http.NewRequestWithContext(within(t), http.MethodGet, g.URL+path, nil)
		require.NoError(t, err)
		r.SetBasicAuth("ada", adaToken)
		status, _, response := v.do(r)
		require.Equal(t, http.StatusSeeOther, status)
		require.Equal(t, "/login?next="+url.QueryEscape(path), response.Header.Get("Location"))
	}
	status, _ := send(t, http.MethodPost, g.URL+"/api/v1/list", asAda(), "")
	require.Equal(t, http.StatusOK, status)
}

// Without a login the page of a guarded plan says that nobody can approve it.
func TestWithoutALoginNobodyStepsUp(t *testing.T) {
	t.Parallel()
	_, h, _ := serve(t, bot.Options{Access: access(t)})
	key := guarded(t)
	r, err := http.NewRequestWithContext(within(t), http.MethodGet, h.URL, nil)
	require.NoError(t, err)
	r.SetBasicAuth("ada", adaToken)
	status, body := send(t, http.MethodGet, h.URL+approvePath(key), r.Header, "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "no login is configured")
	require.NotContains(t, body, "<form")
	status, _ = send(t, http.MethodPost, h.URL+approvePath(key), r.Header, "")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	status, _ = send(t, http.MethodGet, h.URL+"/login", nil, "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestLoginsThatFailSayWhy(t *testing.T) {
	t.Parallel()
	g, p := invented(t)
	for _, tt := range []struct {
		name, path string
		lie        func(map[string]any)
		status     int
		says       string
	}{
		{"an answer to nothing", login.CallbackPath + "?state=x&code=y", nil, http.StatusBadRequest, "not begun in this browser"},
		{"somebody who is not let in", "/login/start", func(c map[string]any) { c["email_verified"] = false }, http.StatusForbidden, "not let in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.Lie = tt.lie
			status, body, _ := g.visitor(t, p).get(tt.path)
			require.Equal(t, tt.status, status)
			require.Contains(t, body, tt.says)
			require.Contains(t, body, `id="login"`, "the person can try again")
		})
	}
	status, body, response := g.visitor(t, p).get("/login?next=https://evil.example/")
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, body, "evil.example")
	require.NotContains(t, response.Header.Get("Content-Security-Policy"), "script-src")
	status, script, response := g.visitor(t, p).get("/console.js")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "text/javascript; charset=utf-8", response.Header.Get("Content-Type"))
	require.Contains(t, script, "navigator.credentials")
}

// Slack alone reaches no plan that needs a second proof: there is no button for it,
// and what an old card or a typed command sends is denied.
func TestSlackReachesNoGuardedPlan(t *testing.T) {
	t.Parallel()
	o := open(t, bot.Options{}, false)
	key := guardedIn(t, o.channel)
	ts := o.card(key)
	old, err := json.Marshal([]slack.Block{slack.NewActionBlock("decide", slack.NewButtonBlockElement("approve:1",
		views.Ref{Key: key, Option: "o2", Digest: planDigest("o2"), Revision: 1}.Encode(), slack.NewTextBlockObject(slack.PlainTextType, "Approve", false, false)))})
	require.NoError(t, err)
	o.click("U0ADA", ts, "approve:1", old)
	o.told("U0ADA", "You can not decide this")
	o.slash("U0BOB", "approve "+key+" o2 "+incident.ShortDigest(planDigest("o2")))
	o.told("U0BOB", "You can not decide this")
	o.slash("U0BOB", "approve "+key+" o2")
	o.told("U0BOB", "https://backout.example.com"+approvePath(key)+"?plan=")
	for _, d := range viewOf(t, o.gateway, key).Decisions {
		require.Equal(t, incident.OutcomeDenied, d.Outcome)
		require.Nil(t, d.StepUp)
	}
}
