package login

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"
)

// renewAfter is how old the mark of last use may get before the cookie is
// written anew.
const renewAfter = time.Minute

// Session is one person at one browser.
type Session struct {
	// ID is 256 random bits, new with each login.
	ID string `json:"id"`
	// Login is the name by which the incident knows the person, from the claim
	// of the configuration.
	Login string `json:"login"`
	// Name is what the provider calls the person, for the page only.
	Name string `json:"name,omitempty"`
	// Issuer and Subject are the account at the provider, which is never given
	// to somebody else.
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// At is when the person logged in, Seen when the session was last used.
	At   time.Time `json:"at"`
	Seen time.Time `json:"seen"`
}

// account names the account at the provider; passkeys belong to it.
func (s Session) account() string {
	sum := sha256.Sum256([]byte("backout account v1\x00" + s.Issuer + "\x00" + s.Subject))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// cookieName is the name of a cookie. Over https a browser takes it from this
// very host only.
// Source: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
func (l *Login) cookieName(name string) string {
	if l.secure {
		return "__Host-backout-" + name
	}
	return "backout-" + name
}

// cookie is a cookie that scripts do not see and other sites do not send, except
// by a link that is followed: that is how the provider sends a person back.
func (l *Login) cookie(name, value string, life time.Duration) *http.Cookie {
	age := int(life.Seconds())
	if value == "" || age <= 0 {
		value, age = "", -1
	}
	//nolint:gosec // G124: without https, which is on this machine only, browsers would drop a Secure cookie.
	return &http.Cookie{Name: l.cookieName(name), Value: value, Path: "/", MaxAge: age, Secure: l.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

const sessionCookie = "session"

// put writes the session's cookie.
func (l *Login) put(w http.ResponseWriter, s Session) error {
	sealed, err := l.opts.Keys.seal(forSession, s)
	if err != nil {
		return err
	}
	http.SetCookie(w, l.cookie(sessionCookie, sealed, s.At.Add(l.opts.Session).Sub(l.opts.Now())))
	return nil
}

// Session is the session of a request, and marks it as used. The error wraps
// ErrNoSession; it may be that the store could not be asked whether it was ended.
func (l *Login) Session(w http.ResponseWriter, r *http.Request) (Session, error) {
	s, err := l.session(r)
	if err != nil {
		return Session{}, err
	}
	ended, err := l.opts.Store.spent(r.Context(), endedSession(s))
	if err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	if ended {
		return Session{}, fmt.Errorf("%w: it was ended", ErrNoSession)
	}
	if now := l.opts.Now(); now.Sub(s.Seen) > renewAfter {
		s.Seen = now
		if err := l.put(w, s); err != nil {
			return Session{}, fmt.Errorf("%w: %w", ErrNoSession, err)
		}
	}
	return s, nil
}

func (l *Login) session(r *http.Request) (Session, error) {
	found := r.CookiesNamed(l.cookieName(sessionCookie))
	if len(found) != 1 {
		return Session{}, fmt.Errorf("%w: the request has %d", ErrNoSession, len(found))
	}
	var s Session
	if err := l.opts.Keys.open(forSession, found[0].Value, &s); err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	now := l.opts.Now()
	switch {
	case s.ID == "" || s.Login == "" || s.Subject == "" || s.Issuer != l.opts.Provider.Issuer:
		return Session{}, fmt.Errorf("%w: it is of another provider", ErrNoSession)
	case s.At.After(now.Add(renewAfter)) || !now.Before(s.At.Add(l.opts.Session)):
		return Session{}, fmt.Errorf("%w: it is too old", ErrNoSession)
	case !now.Before(s.Seen.Add(l.opts.Idle)):
		return Session{}, fmt.Errorf("%w: it was not used for too long", ErrNoSession)
	}
	return s, nil
}

// End ends the session of a request for good: a copy of its cookie is worth
// nothing from now on.
func (l *Login) End(w http.ResponseWriter, r *http.Request) error {
	s, err := l.session(r)
	http.SetCookie(w, l.cookie(sessionCookie, "", 0))
	if err != nil {
		return nil //nolint:nilerr // There is nothing to end.
	}
	return l.end(r.Context(), s)
}

func (l *Login) end(ctx context.Context, s Session) error {
	_, err := l.opts.Store.spend(ctx, endedSession(s), s.At.Add(l.opts.Session), l.opts.Now())
	return err
}

func endedSession(s Session) string { return "session:" + s.ID }
