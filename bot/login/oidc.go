package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// CallbackPath is where the provider sends people back to. It is registered there
// as the redirect URI, behind the URL of the console.
const CallbackPath = "/login/callback"

// claimEmail is the claim that a login is by default.
const claimEmail = "email"

// Provider is an OpenID Connect provider and who of it is let in.
type Provider struct {
	// Issuer is its https address, as it spells it itself.
	Issuer       string
	ClientID     string
	ClientSecret string
	// Claim is the claim of the ID token that is the login; empty is "email".
	Claim string
	// AllowUnverifiedEmail takes an e-mail address that the provider did not
	// verify. Only for a provider that lets nobody choose it.
	AllowUnverifiedEmail bool
	// Domains are the domains of the e-mail addresses that are let in; empty
	// lets in all.
	Domains []string
	// HostedDomains are the organizations, by the claim "hd", that are let in;
	// empty lets in all.
	// Source: https://developers.google.com/identity/openid-connect/openid-connect#hd-param
	HostedDomains []string
	// Scopes are asked for beside openid; nil is email and profile.
	Scopes []string
}

func (p Provider) check() error {
	if err := CheckIssuer(p.Issuer); err != nil {
		return err
	}
	if p.ClientID == "" || p.ClientSecret == "" {
		return errors.New("the client ID or its secret is missing")
	}
	return nil
}

// CheckIssuer reports why an address could not be that of a provider: it is https,
// but for one on this machine.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("issuer %q is not an address", issuer)
	case u.Scheme != "https" && (u.Scheme != "http" || !local(u.Hostname())):
		return fmt.Errorf("issuer %q is not https", issuer)
	}
	return nil
}

// Reach asks a provider about itself, and changes nothing.
func Reach(ctx context.Context, issuer string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := oidc.NewProvider(oidc.ClientContext(ctx, &http.Client{Timeout: providerTimeout}), issuer); err != nil {
		return fmt.Errorf("%w: %w", ErrProvider, err)
	}
	return nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// discovered is what a provider says about itself.
type discovered struct {
	provider *oidc.Provider
	config   oauth2.Config
	verifier *oidc.IDTokenVerifier
}

// provider asks the provider about itself, until it has answered once. Nobody waits
// for somebody else's question: a provider that hangs would make a queue.
func (l *Login) provider(ctx context.Context) (*discovered, error) {
	l.mu.Lock()
	known := l.known
	l.mu.Unlock()
	if known != nil {
		return known, nil
	}
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, l.opts.Client), l.opts.Provider.Issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProvider, err)
	}
	scopes := l.opts.Provider.Scopes
	if scopes == nil {
		scopes = []string{"email", "profile"}
	}
	known = &discovered{
		provider: p,
		config: oauth2.Config{
			ClientID: l.opts.Provider.ClientID, ClientSecret: l.opts.Provider.ClientSecret, Endpoint: p.Endpoint(),
			RedirectURL: strings.TrimSuffix(l.opts.URL, "/") + CallbackPath, Scopes: append([]string{oidc.ScopeOpenID}, scopes...),
		},
		verifier: p.Verifier(&oidc.Config{ClientID: l.opts.Provider.ClientID, Now: l.opts.Now}),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = known
	return known, nil
}

// attempt is one login that was begun. It is in a cookie of the browser that
// began it.
type attempt struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Next     string    `json:"next"`
	Expires  time.Time `json:"expires"`
}

// attemptCookie names the cookie of an attempt, so that two tabs can log in beside
// each other.
func attemptCookie(state string) string {
	sum := sha256.Sum256([]byte(state))
	return "login-" + base64.RawURLEncoding.EncodeToString(sum[:9])
}

// Begin sends the browser to the provider. next is the page it comes back to, see
// Next. The error wraps ErrProvider, and then nothing was answered.
func (l *Login) Begin(w http.ResponseWriter, r *http.Request, next string) error {
	ctx, cancel := bounded(r.Context())
	defer cancel()
	p, err := l.provider(ctx)
	if err != nil {
		return err
	}
	a := attempt{State: randomID(), Nonce: randomID(), Verifier: oauth2.GenerateVerifier(), Next: Next(next), Expires: l.opts.Now().Add(stateLife)}
	sealed, err := l.opts.Keys.seal(forState, a)
	if err != nil {
		return err
	}
	http.SetCookie(w, l.cookie(attemptCookie(a.State), sealed, stateLife))
	http.Redirect(w, r, p.config.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), http.StatusSeeOther)
	return nil
}

// Finish takes the provider's answer, begins a session and returns it with the
// page that the person wanted. It answers nothing but with cookies. The error
// wraps ErrState, ErrRefused or ErrProvider.
func (l *Login) Finish(w http.ResponseWriter, r *http.Request) (Session, string, error) {
	ctx, cancel := bounded(r.Context())
	defer cancel()
	query := r.URL.Query()
	a, err := l.attempted(w, r, query.Get("state"))
	if err != nil {
		return Session{}, "", err
	}
	first, err := l.opts.Store.spend(ctx, "state:"+a.State, a.Expires, l.opts.Now())
	switch {
	case err != nil:
		return Session{}, "", fmt.Errorf("%w: %w", ErrState, err)
	case !first:
		return Session{}, "", fmt.Errorf("%w: it was answered before", ErrState)
	case query.Has("iss") && query.Get("iss") != l.opts.Provider.Issuer:
		// RFC 9207: the answer of another provider.
		return Session{}, "", fmt.Errorf("%w: it comes from another provider", ErrState)
	case query.Has("error"):
		return Session{}, "", fmt.Errorf("%w: the provider says %.40q", ErrRefused, query.Get("error"))
	case query.Get("code") == "":
		return Session{}, "", fmt.Errorf("%w: it has no code", ErrState)
	}
	s, err := l.exchange(ctx, query.Get("code"), a)
	if err != nil {
		return Session{}, "", err
	}
	if err := l.replace(ctx, r); err != nil {
		return Session{}, "", err
	}
	if err := l.put(w, s); err != nil {
		return Session{}, "", err
	}
	return s, a.Next, nil
}

// replace ends the session that the browser had before, whoever's it was.
func (l *Login) replace(ctx context.Context, r *http.Request) error {
	old, err := l.session(r)
	if err != nil {
		return nil //nolint:nilerr // There was none.
	}
	if err := l.end(ctx, old); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// attempted is the attempt that an answer belongs to, which this browser began.
func (l *Login) attempted(w http.ResponseWriter, r *http.Request, state string) (attempt, error) {
	var a attempt
	name := attemptCookie(state)
	cookie, err := r.Cookie(l.cookieName(name))
	if state == "" || err != nil {
		return a, fmt.Errorf("%w: this browser did not begin it", ErrState)
	}
	http.SetCookie(w, l.cookie(name, "", 0))
	if err := l.opts.Keys.open(forState, cookie.Value, &a); err != nil {
		return a, fmt.Errorf("%w: %w", ErrState, err)
	}
	if subtle.ConstantTimeCompare([]byte(a.State), []byte(state)) != 1 {
		return a, fmt.Errorf("%w: it is the answer to something else", ErrState)
	}
	if !l.opts.Now().Before(a.Expires) {
		return a, fmt.Errorf("%w: it took too long", ErrState)
	}
	return a, nil
}

// exchange turns a code into a person.
func (l *Login) exchange(ctx context.Context, code string, a attempt) (Session, error) {
	p, err := l.provider(ctx)
	if err != nil {
		return Session{}, err
	}
	ctx = oidc.ClientContext(ctx, l.opts.Client)
	token, err := p.config.Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		if answered, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
			// Its text is the provider's answer, which may quote the code.
			return Session{}, fmt.Errorf("%w: the provider did not take the code: %.40q", ErrRefused, answered.ErrorCode)
		}
		return Session{}, fmt.Errorf("%w: exchange code: %w", ErrProvider, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Session{}, fmt.Errorf("%w: the provider sent no ID token", ErrRefused)
	}
	id, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(a.Nonce)) != 1 {
		return Session{}, fmt.Errorf("%w: the ID token is for another login", ErrRefused)
	}
	claims := claims{}
	if err := id.Claims(&claims); err != nil {
		return Session{}, fmt.Errorf("%w: read claims: %w", ErrRefused, err)
	}
	if err := l.complete(ctx, p, token, id.Subject, claims); err != nil {
		return Session{}, err
	}
	if len(id.Audience) != 1 && claims.text("azp") != l.opts.Provider.ClientID {
		return Session{}, fmt.Errorf("%w: the ID token is for another client", ErrRefused)
	}
	login, err := l.opts.Provider.login(claims)
	if err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	now := l.opts.Now().UTC()
	return Session{ID: randomID(), Login: login, Name: claims.text("name"), Issuer: id.Issuer, Subject: id.Subject, At: now, Seen: now}, nil
}

// complete asks the provider for the claims that the ID token leaves out: some
// providers tell them at the UserInfo endpoint only. What the ID token says stays.
// Source: https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims
func (l *Login) complete(ctx context.Context, p *discovered, token *oauth2.Token, subject string, c claims) error {
	name := l.opts.Provider.claim()
	if _, told := c[name]; told || p.provider.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := p.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("%w: ask for claims: %w", ErrProvider, err)
	}
	if subtle.ConstantTimeCompare([]byte(info.Subject), []byte(subject)) != 1 {
		return fmt.Errorf("%w: the claims are about somebody else", ErrRefused)
	}
	more := claims{}
	if err := info.Claims(&more); err != nil {
		return fmt.Errorf("%w: read claims: %w", ErrRefused, err)
	}
	for k, v := range more {
		if _, told := c[k]; !told {
			c[k] = v
		}
	}
	return nil
}

// claim is the claim that is the login.
func (p Provider) claim() string {
	if p.Claim == "" {
		return claimEmail
	}
	return p.Claim
}

// claims are those of an ID token.
type claims map[string]json.RawMessage

// text is a claim that is text; empty if it is none.
func (c claims) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// yes is a claim that is true; some providers spell it as text.
func (c claims) yes(name string) bool {
	var b bool
	if json.Unmarshal(c[name], &b) == nil {
		return b
	}
	return c.text(name) == "true"
}

// login is the login of a person who is let in.
func (p Provider) login(c claims) (string, error) {
	name := p.claim()
	login := c.text(name)
	if login == "" || len(login) > maxLogin || strings.ContainsFunc(login, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }) {
		return "", fmt.Errorf("the claim %q is missing, or is no login", name)
	}
	email := c.text(claimEmail)
	if (name == claimEmail || len(p.Domains) > 0) && !p.AllowUnverifiedEmail && !c.yes("email_verified") {
		return "", errors.New("the provider did not verify the e-mail address")
	}
	if len(p.Domains) > 0 {
		_, domain, _ := cutLast(email, "@")
		if !slices.ContainsFunc(p.Domains, func(d string) bool { return d != "" && strings.EqualFold(d, domain) }) {
			return "", errors.New("the e-mail address is of a domain that is not let in")
		}
	}
	if hd := c.text("hd"); len(p.HostedDomains) > 0 && !slices.ContainsFunc(p.HostedDomains, func(d string) bool { return d != "" && strings.EqualFold(d, hd) }) {
		return "", errors.New("the account is of an organization that is not let in")
	}
	return login, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Home is where a person goes who wanted nothing in particular.
const Home = "/incidents"

// maxNext is the longest page that is returned to, in bytes.
const maxNext = 1024

// Next is the page of the console that a person wanted, or Home for anything that
// is none: a login leads nowhere else.
func Next(wanted string) string {
	u, err := url.Parse(wanted)
	switch {
	case err != nil || len(wanted) > maxNext || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "":
		return Home
	case strings.ContainsFunc(wanted, func(r rune) bool { return r == '\\' || r <= ' ' || r == 0x7f }):
		return Home
	case u.Path != Home && !strings.HasPrefix(u.Path, Home+"/") && u.Path != "/login/passkeys":
		return Home
	case strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/.."):
		return Home
	}
	return u.RequestURI()
}
