package attest_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals/attest"
	"github.com/backout/backout/workflows/incident"
)

const key = "pagerduty/Q1"

func newKey(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func signer(t *testing.T, k ed25519.PrivateKey) *attest.Signer {
	t.Helper()
	s, err := attest.NewSigner(k)
	require.NoError(t, err)
	return s
}

func verifier(t *testing.T, keys ...ed25519.PublicKey) *attest.Verifier {
	t.Helper()
	v, err := attest.NewVerifier(keys...)
	require.NoError(t, err)
	return v
}

func answer() incident.DecideRequest {
	at := time.Date(2026, 3, 1, 3, 0, 0, 123456789, time.FixedZone("CET", 3600))
	return incident.DecideRequest{
		DecisionID: "d1", OptionID: "o1", PlanDigest: incident.DigestOf([]byte("plan")), Revision: 7,
		Actor:  incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U1", Login: "ada", Channel: "C1"},
		Answer: incident.AnswerApprove, Reason: "it burns \xff <b>", BreakGlass: true, At: at,
		StepUp: &incident.StepUp{Method: "webauthn", PlanDigest: incident.DigestOf([]byte("plan")), At: at},
	}
}

// TestASignatureSurvivesTheWay sends what was signed as JSON, as Temporal does.
func TestASignatureSurvivesTheWay(t *testing.T) {
	t.Parallel()
	q, err := signer(t, newKey(1)).Decision(key, answer())
	require.NoError(t, err)
	text, err := json.Marshal(q)
	require.NoError(t, err)
	var got incident.DecideRequest
	require.NoError(t, json.Unmarshal(text, &got))
	v := verifier(t, public(newKey(2)), public(newKey(1)))
	require.NoError(t, v.Decision(key, got))

	c, err := signer(t, newKey(1)).Command(key, incident.CommandRequest{CommandID: "c1", Verb: incident.VerbCancel, At: answer().At})
	require.NoError(t, err)
	require.NoError(t, v.Command(key, c))
}

// TestEveryFieldIsSigned changes one field after the other, of what was signed and of
// what it is made of.
func TestEveryFieldIsSigned(t *testing.T) {
	t.Parallel()
	v := verifier(t, public(newKey(1)))
	decision, err := signer(t, newKey(1)).Decision(key, answer())
	require.NoError(t, err)
	require.NoError(t, v.Decision(key, decision))
	for name, change := range changes(reflect.TypeFor[incident.DecideRequest]()) {
		q := decision
		q.StepUp = new(*decision.StepUp)
		change(reflect.ValueOf(&q).Elem())
		require.ErrorIs(t, v.Decision(key, q), attest.ErrUnattested, name)
	}
	command, err := signer(t, newKey(1)).Command(key, incident.CommandRequest{CommandID: "c1", Verb: incident.VerbCancel, Reason: "r", Actor: answer().Actor, To: new(answer().Actor), At: answer().At})
	require.NoError(t, err)
	require.NoError(t, v.Command(key, command))
	for name, change := range changes(reflect.TypeFor[incident.CommandRequest]()) {
		q := command
		q.To = new(*command.To)
		change(reflect.ValueOf(&q).Elem())
		require.ErrorIs(t, v.Command(key, q), attest.ErrUnattested, name)
	}
}

// changes has one change for each field of a request but its signature.
func changes(request reflect.Type) map[string]func(reflect.Value) {
	out := map[string]func(reflect.Value){}
	for _, f := range reflect.VisibleFields(request) {
		if f.Name == "Attestation" {
			continue
		}
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() || f.Type.Kind() == reflect.Pointer {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
				out[f.Name+" is left out"] = func(v reflect.Value) { v.FieldByIndex(f.Index).SetZero() }
			}
			for name, change := range changes(inner) {
				out[f.Name+"."+name] = func(v reflect.Value) { change(reflect.Indirect(v.FieldByIndex(f.Index))) }
			}
			continue
		}
		out[f.Name] = func(v reflect.Value) { alter(v.FieldByIndex(f.Index)) }
	}
	return out
}

// alter sets a value to another one of its type.
func alter(v reflect.Value) {
	switch at, isTime := reflect.TypeAssert[time.Time](v); {
	case isTime:
		v.Set(reflect.ValueOf(at.Add(time.Nanosecond)))
	case v.Kind() == reflect.String:
		v.SetString(v.String() + "x")
	case v.Kind() == reflect.Int:
		v.SetInt(v.Int() + 1)
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	default:
		panic(fmt.Sprintf("a field of type %s is not tried", v.Type()))
	}
}

func TestUntrusted(t *testing.T) {
	t.Parallel()
	q, err := signer(t, newKey(1)).Decision(key, answer())
	require.NoError(t, err)
	for name, v := range map[string]*attest.Verifier{"nobody": nil, "none": {}, "another": verifier(t, public(newKey(2)))} {
		require.ErrorIs(t, v.Decision(key, q), attest.ErrUnattested, name)
	}
	v := verifier(t, public(newKey(1)))
	require.ErrorIs(t, v.Decision("pagerduty/Q2", q), attest.ErrUnattested)
	require.ErrorIs(t, v.Decision(key, answer()), attest.ErrUnattested, "no signature")
	require.ErrorIs(t, v.Command(key, incident.CommandRequest{Attestation: q.Attestation}), attest.ErrUnattested)
}

func TestKeysAreThoseOfOpenSSL(t *testing.T) {
	t.Parallel()
	private, err := attest.FormatPrivate(newKey(1), newKey(2))
	require.NoError(t, err)
	keys, err := attest.ParsePrivate(private)
	require.NoError(t, err)
	require.Equal(t, []ed25519.PrivateKey{newKey(1), newKey(2)}, keys)
	open, err := attest.FormatPublic(public(newKey(1)))
	require.NoError(t, err)
	trusted, err := attest.ParsePublic(open)
	require.NoError(t, err)
	require.Equal(t, []ed25519.PublicKey{public(newKey(1))}, trusted)

	// openssl genpkey -algorithm ed25519, openssl pkey -pubout.
	const fromOpenSSL = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`
	trusted, err = attest.ParsePublic([]byte(fromOpenSSL))
	require.NoError(t, err)
	require.Len(t, trusted, 1)

	secret := strings.Split(string(private), "\n")[1]
	for name, text := range map[string][]byte{
		"empty": nil, "no PEM": []byte("hello"), "of the other type": open,
		"something after": append(private, "x"...), "cut": private[:len(private)-40],
		"no key": []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
	} {
		_, err := attest.ParsePrivate(text)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), secret, name)
	}
	_, err = attest.ParsePublic(private)
	require.Error(t, err)
	_, err = attest.NewSigner(newKey(1)[:10])
	require.Error(t, err)
	_, err = attest.NewVerifier(nil)
	require.Error(t, err)
}
