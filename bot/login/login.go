package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Errors that callers branch on. Every one means that nobody was let in and that
// nothing was proved.
var (
	// ErrNoSession means that there is no session, or none any more.
	ErrNoSession = errors.New("there is no session")
	// ErrProvider means that the provider could not be asked.
	ErrProvider = errors.New("the login provider can not be reached")
	// ErrRefused means that the provider let nobody in, or somebody who is not
	// let in here.
	ErrRefused = errors.New("the login was refused")
	// ErrState means that an answer fits to nothing that this browser began, or
	// was given before.
	ErrState = errors.New("the answer fits to nothing that was begun here")
	// ErrNotFresh means that the login is too long ago to enrol a passkey.
	ErrNotFresh = errors.New("the login is not fresh")
	// ErrCode means that the enrolment code is none of this person's, was used,
	// or is too old.
	ErrCode = errors.New("the enrolment code is not valid")
	// ErrNoPasskey means that the person has no passkey that may be used.
	ErrNoPasskey = errors.New("there is no passkey")
	// ErrPasskey means that the authenticator's answer proves nothing.
	ErrPasskey = errors.New("the passkey proved nothing")
	// ErrLocked means that the passkey may have been copied and is not taken
	// any more.
	ErrLocked = errors.New("the passkey is locked")
	// ErrSpent means that a proof was used before.
	ErrSpent = errors.New("the proof was used before")
	// ErrExpired means that a proof came too late.
	ErrExpired = errors.New("the proof is too old")
	// ErrOther means that a proof is of another person, session or plan.
	ErrOther = errors.New("the proof is for something else")
)

const (
	// DefaultSession is how long a session lasts at most: a shift.
	DefaultSession = 8 * time.Hour
	// DefaultIdle is how long a session lasts that nobody uses.
	DefaultIdle = time.Hour
	// stateLife is how long a person may take at the provider.
	stateLife = 10 * time.Minute
	// freshness is how long after the login a passkey may be enrolled.
	freshness = 10 * time.Minute
	// proofLife is how long a person may look at a plan before they prove that
	// they did. The bound is five minutes.
	proofLife = 5 * time.Minute
	// providerTimeout bounds each call of the provider.
	providerTimeout = 10 * time.Second
	// maxLogin is the longest login, in bytes. An incident takes no longer name.
	maxLogin = 255
)

// Options assemble a Login.
type Options struct {
	// URL is how browsers reach the console: scheme, host and port. Its host is
	// what passkeys are bound to, so it is a name, and not an address.
	URL string
	// Provider is the OpenID Connect provider.
	Provider Provider
	// Keys seal what a browser carries; all bots have the same.
	Keys *Keys
	// Store keeps what must be durable; all bots have the same.
	Store *Store
	// Session is how long a session lasts at most, Idle how long one lasts that
	// is not used. Zero is the default.
	Session, Idle time.Duration
	// Client asks the provider. Nil is a client with a time limit.
	Client *http.Client
	// Now is the clock. Nil is the wall clock.
	Now func() time.Time
}

// Login proves who sits at a browser. It is safe for concurrent use.
type Login struct {
	opts   Options
	secure bool
	party  *webauthn.WebAuthn

	mu    sync.Mutex
	known *discovered
}

// New assembles a Login. It calls nobody: the provider is asked when the first
// person logs in, and may be away until then.
func New(o Options) (*Login, error) {
	if o.Keys == nil || o.Store == nil {
		return nil, errors.New("assemble login: keys or store are missing")
	}
	if err := CheckURL(o.URL); err != nil {
		return nil, fmt.Errorf("assemble login: %w", err)
	}
	if err := o.Provider.check(); err != nil {
		return nil, fmt.Errorf("assemble login: %w", err)
	}
	if o.Session <= 0 {
		o.Session = DefaultSession
	}
	if o.Idle <= 0 {
		o.Idle = DefaultIdle
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: providerTimeout}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("assemble login: %w", err)
	}
	party, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "Backout", RPOrigins: []string{u.Scheme + "://" + u.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("assemble login: %w", err)
	}
	return &Login{opts: o, secure: u.Scheme == "https", party: party}, nil
}

// CheckURL reports why a passkey could not be bound to an address: browsers want
// a host name, and https everywhere but on this machine.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("url %q is not scheme, host and port", address)
	case net.ParseIP(u.Hostname()) != nil:
		return fmt.Errorf("url %q has an address for a host; a passkey is bound to a name: use https://<name>, or http://localhost:<port> on this machine", address)
	case u.Scheme == "https", u.Scheme == "http" && (u.Hostname() == "localhost" || strings.HasSuffix(u.Hostname(), ".localhost")):
		return nil
	default:
		return fmt.Errorf("url %q is not https; browsers keep passkeys and sessions for https only", address)
	}
}

// Issuer is the provider's name for people: its host.
func (l *Login) Issuer() string {
	if u, err := url.Parse(l.opts.Provider.Issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return l.opts.Provider.Issuer
}

// bounded bounds a call of the provider.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, providerTimeout)
}
