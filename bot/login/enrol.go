package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

const (
	// CodeLife is how long an enrolment code is valid: long enough to hand it
	// over, too short to be found in a mailbox later.
	CodeLife = time.Hour
	// maxPasskeys is how many passkeys one login has at most.
	maxPasskeys = 10
	// maxName is the longest name of a passkey, in runes.
	maxName = 60
	// maxAnswer is the longest answer of an authenticator that is read, in bytes.
	maxAnswer = 32 << 10
)

// Ceremony is what a browser needs to ask an authenticator.
type Ceremony struct {
	// Options is the JSON for navigator.credentials. It holds no secret.
	Options string
	// State comes back with the authenticator's answer. It is sealed.
	State string
	// Expires is until when the answer is taken.
	Expires time.Time
}

// account is a person as the WebAuthn library wants them.
type account struct {
	session  Session
	passkeys []Passkey
}

// WebAuthnID is the account at the provider, as 32 bytes that name nobody.
func (a account) WebAuthnID() []byte {
	sum := sha256.Sum256([]byte(a.session.account()))
	return sum[:]
}

// WebAuthnName is the login.
func (a account) WebAuthnName() string { return a.session.Login }

// WebAuthnDisplayName is the person's name.
func (a account) WebAuthnDisplayName() string {
	if a.session.Name != "" {
		return a.session.Name
	}
	return a.session.Login
}

// WebAuthnCredentials are the passkeys that may be used.
func (a account) WebAuthnCredentials() []webauthn.Credential {
	var out []webauthn.Credential
	for _, p := range a.passkeys {
		out = append(out, p.credential)
	}
	return out
}

// NewCode makes a code with which one login enrols one passkey, until CodeLife is
// over. Codes made before for the same login are void. Only its hash is kept.
func (s *Store) NewCode(ctx context.Context, login string, now time.Time) (string, error) {
	if login == "" || len(login) > maxLogin {
		return "", errors.New("make enrolment code: the login is missing or too long")
	}
	code := rand.Text()
	if _, err := change(ctx, s.db, `DELETE FROM login_codes WHERE login = $1 OR expires_at <= $2`, login, now.Unix()); err != nil {
		return "", fmt.Errorf("make enrolment code: %w", err)
	}
	if _, err := change(ctx, s.db, `INSERT INTO login_codes (code, login, expires_at) VALUES ($1, $2, $3)`, codeSum(code), login, now.Add(CodeLife).Unix()); err != nil {
		return "", fmt.Errorf("make enrolment code: %w", err)
	}
	var b strings.Builder
	for i, r := range code {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return b.String(), nil
}

// codeSum is what is kept of a code, however it was typed.
func codeSum(code string) string {
	code = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	sum := sha256.Sum256([]byte("backout enrolment code v1\x00" + code))
	return hex.EncodeToString(sum[:])
}

func (s *Store) validCode(ctx context.Context, code, login string, now time.Time) (bool, error) {
	var n int
	err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM login_codes WHERE code = $1 AND login = $2 AND expires_at > $3`, code, login, now.Unix()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look up enrolment code: %w", err)
	}
	return n == 1, nil
}

// enrolment is what comes back with a new passkey.
type enrolment struct {
	Session string               `json:"session"`
	Code    string               `json:"code"`
	Name    string               `json:"name"`
	Expires time.Time            `json:"expires"`
	Data    webauthn.SessionData `json:"data"`
}

// Passkeys are those of the person of a session, the locked ones too.
func (l *Login) Passkeys(ctx context.Context, s Session) ([]Passkey, error) {
	all, err := l.opts.Store.Passkeys(ctx, s.Login)
	if err != nil {
		return nil, err
	}
	var own []Passkey
	for _, p := range all {
		// The login may have been given to somebody else at the provider.
		if p.account == s.account() {
			own = append(own, p)
		}
	}
	return own, nil
}

// usable are the passkeys of a session that prove something.
func (l *Login) usable(ctx context.Context, s Session) ([]Passkey, error) {
	own, err := l.Passkeys(ctx, s)
	if err != nil {
		return nil, err
	}
	var out []Passkey
	for _, p := range own {
		if !p.Locked {
			out = append(out, p)
		}
	}
	return out, nil
}

// BeginEnrolment begins to enrol a passkey of the person of a session. The error
// wraps ErrNotFresh or ErrCode.
func (l *Login) BeginEnrolment(ctx context.Context, s Session, code, name string) (Ceremony, error) {
	now := l.opts.Now()
	if !now.Before(s.At.Add(freshness)) {
		return Ceremony{}, ErrNotFresh
	}
	sum := codeSum(code)
	valid, err := l.opts.Store.validCode(ctx, sum, s.Login, now)
	switch {
	case err != nil:
		return Ceremony{}, err
	case !valid:
		return Ceremony{}, ErrCode
	}
	own, err := l.Passkeys(ctx, s)
	if err != nil {
		return Ceremony{}, err
	}
	if len(own) >= maxPasskeys {
		return Ceremony{}, fmt.Errorf("%w: there are %d passkeys already", ErrCode, len(own))
	}
	user := account{session: s, passkeys: own}
	var exclude []protocol.CredentialDescriptor
	for _, c := range user.WebAuthnCredentials() {
		exclude = append(exclude, c.Descriptor())
	}
	options, data, err := l.party.BeginRegistration(user, webauthn.WithExclusions(exclude))
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin enrolment: %w", err)
	}
	if name = strings.Join(strings.Fields(name), " "); name == "" {
		name = "Passkey"
	}
	if r := []rune(name); len(r) > maxName {
		name = string(r[:maxName])
	}
	e := enrolment{Session: s.ID, Code: sum, Name: name, Expires: now.Add(proofLife), Data: *data}
	return l.ceremony(forEnrolment, options.Response, e, e.Expires)
}

func (l *Login) ceremony(purpose string, options, state any, expires time.Time) (Ceremony, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin %s: %w", purpose, err)
	}
	sealed, err := l.opts.Keys.seal(purpose, state)
	if err != nil {
		return Ceremony{}, err
	}
	return Ceremony{Options: string(text), State: sealed, Expires: expires}, nil
}

// FinishEnrolment stores the new passkey and uses up the code. The error wraps
// ErrState, ErrExpired, ErrOther, ErrPasskey or ErrCode.
func (l *Login) FinishEnrolment(ctx context.Context, s Session, state, answer string) error {
	var e enrolment
	if err := l.opts.Keys.open(forEnrolment, state, &e); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	now := l.opts.Now()
	switch {
	case !now.Before(e.Expires):
		return ErrExpired
	case e.Session != s.ID:
		return ErrOther
	case len(answer) > maxAnswer:
		return fmt.Errorf("%w: the answer is too long", ErrPasskey)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPasskey, err)
	}
	credential, err := l.party.CreateCredential(account{session: s}, e.Data, parsed)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPasskey, err)
	}
	return l.opts.Store.add(ctx, Passkey{
		ID: base64.RawURLEncoding.EncodeToString(credential.ID), Login: s.Login, Name: e.Name, account: s.account(), credential: *credential,
	}, e.Code, now)
}
