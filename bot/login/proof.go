package login

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// MethodPasskey is the name of the only second proof there is.
const MethodPasskey = "webauthn"

// Subject is what a proof is for: exactly what is on the person's screen.
type Subject struct {
	Incident   string `json:"incident"`
	Option     string `json:"option"`
	PlanDigest string `json:"plan_digest"`
}

// Proof is what a passkey proved.
type Proof struct {
	// ID is new with each proof. A decision that is named by it is made once,
	// however often it is sent.
	ID      string
	Subject Subject
	At      time.Time
}

// question is what a passkey was asked, and what comes back with its answer.
type question struct {
	Subject Subject              `json:"subject"`
	Login   string               `json:"login"`
	Session string               `json:"session"`
	Nonce   string               `json:"nonce"`
	Expires time.Time            `json:"expires"`
	Data    webauthn.SessionData `json:"data"`
}

// challenge is what the passkey signs: a hash of all that the proof is bound to,
// each part with its length before it, so that no two questions are the same.
func (q question) challenge() protocol.URLEncodedBase64 {
	h := sha256.New()
	expires := binary.BigEndian.AppendUint64(nil, uint64(q.Expires.Unix())) //nolint:gosec // It is after 1970.
	for _, part := range [][]byte{
		[]byte("backout proof v1"), []byte(q.Subject.Incident), []byte(q.Subject.Option), []byte(q.Subject.PlanDigest),
		[]byte(q.Login), []byte(q.Session), []byte(q.Nonce), expires,
	} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write(part)
	}
	return h.Sum(nil)
}

// BeginProof asks for a proof that the person of a session saw the subject. The
// error wraps ErrNoPasskey.
func (l *Login) BeginProof(ctx context.Context, s Session, subject Subject) (Ceremony, error) {
	passkeys, err := l.usable(ctx, s)
	switch {
	case err != nil:
		return Ceremony{}, err
	case len(passkeys) == 0:
		return Ceremony{}, ErrNoPasskey
	}
	q := question{Subject: subject, Login: s.Login, Session: s.ID, Nonce: randomID(), Expires: l.opts.Now().Add(proofLife).Truncate(time.Second).UTC()}
	options, data, err := l.party.BeginLogin(account{session: s, passkeys: passkeys}, webauthn.WithChallenge(q.challenge()))
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin proof: %w", err)
	}
	q.Data = *data
	return l.ceremony(forProof, options.Response, q, q.Expires)
}

// FinishProof checks the passkey's answer to the question that was asked about
// the subject, and uses the answer up. The error wraps ErrState, ErrExpired,
// ErrOther, ErrNoPasskey, ErrPasskey, ErrLocked or ErrSpent.
func (l *Login) FinishProof(ctx context.Context, s Session, subject Subject, state, answer string) (Proof, error) {
	var q question
	if err := l.opts.Keys.open(forProof, state, &q); err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrState, err)
	}
	now := l.opts.Now()
	switch {
	case !now.Before(q.Expires):
		return Proof{}, ErrExpired
	case q.Session != s.ID || q.Login != s.Login:
		return Proof{}, fmt.Errorf("%w: it is of another session", ErrOther)
	case q.Subject != subject:
		return Proof{}, fmt.Errorf("%w: it is of another plan", ErrOther)
	case subtle.ConstantTimeCompare([]byte(q.Data.Challenge), []byte(q.challenge().String())) != 1:
		return Proof{}, fmt.Errorf("%w: the challenge is of another question", ErrOther)
	case q.Data.UserVerification != protocol.VerificationRequired:
		return Proof{}, fmt.Errorf("%w: the person was not to be verified", ErrOther)
	case len(answer) > maxAnswer:
		return Proof{}, fmt.Errorf("%w: the answer is too long", ErrPasskey)
	}
	passkey, before, err := l.signed(ctx, s, q, answer)
	if err != nil {
		return Proof{}, err
	}
	if err := l.opts.Store.proved(ctx, passkey, before, "proof:"+q.Nonce, q.Expires, now); err != nil {
		return Proof{}, err
	}
	return Proof{ID: q.Nonce, Subject: q.Subject, At: now.UTC()}, nil
}

// signed is the passkey that signed the question, and its counter before. One
// whose counter did not rise is locked: there may be two of it.
func (l *Login) signed(ctx context.Context, s Session, q question, answer string) (Passkey, uint32, error) {
	// Those that are usable now: one may have been revoked since the question.
	passkeys, err := l.usable(ctx, s)
	switch {
	case err != nil:
		return Passkey{}, 0, err
	case len(passkeys) == 0:
		return Passkey{}, 0, ErrNoPasskey
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return Passkey{}, 0, fmt.Errorf("%w: %w", ErrPasskey, err)
	}
	i := slices.IndexFunc(passkeys, func(p Passkey) bool { return bytes.Equal(p.credential.ID, parsed.RawID) })
	if i < 0 {
		return Passkey{}, 0, fmt.Errorf("%w: it is not enrolled, or not any more", ErrPasskey)
	}
	passkey := passkeys[i]
	before := passkey.credential.Authenticator.SignCount
	q.Data.AllowedCredentialIDs = [][]byte{passkey.credential.ID}
	credential, err := l.party.ValidateLogin(account{session: s, passkeys: passkeys}, q.Data, parsed)
	if err != nil {
		return Passkey{}, 0, fmt.Errorf("%w: %w", ErrPasskey, err)
	}
	if !credential.Flags.UserVerified || !parsed.Response.AuthenticatorData.Flags.UserVerified() {
		return Passkey{}, 0, fmt.Errorf("%w: the person was not verified", ErrPasskey)
	}
	if credential.Authenticator.CloneWarning {
		used, err := l.opts.Store.spent(ctx, "proof:"+q.Nonce)
		if err == nil && used {
			// The same answer again shows nothing about the authenticator.
			return Passkey{}, 0, ErrSpent
		}
		return Passkey{}, 0, errors.Join(fmt.Errorf("%w: its counter did not rise", ErrLocked), err, l.opts.Store.lock(ctx, passkey))
	}
	passkey.credential = *credential
	return passkey, before, nil
}
