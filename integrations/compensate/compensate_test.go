package compensate

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/compensate/compensatetest"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

// resource is the one that the tests are about.
const resource = "batches/1"

func target() incident.Target {
	return incident.Target{System: "compensations", Path: "payments/" + resource}
}

func opened(t *testing.T, s driver.System) *services {
	t.Helper()
	conn, err := open(t.Context(), s)
	require.NoError(t, err)
	return conn
}

func system(hosts map[string]any) driver.System {
	return driver.System{Name: "compensations", Type: systemType, Decode: drivertest.Settings(map[string]any{"hosts": hosts})}
}

// batch starts a service with one resource of three bookings and plans to go
// back to the second.
func batch(t *testing.T, r *compensatetest.Resource) (*compensatetest.Service, inverse, incident.Action) {
	t.Helper()
	s := compensatetest.Start(t)
	s.Add(resource, r, "first", "good", "bad")
	inv := inverse{opened(t, s.System(s.Address(), drivertest.Owner))}
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target(), Revision: "2"})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	return s, inv, incident.Action{
		Kind: kind, Target: target(), From: planned.From, To: planned.To,
		MaxTime: 20 * time.Second, OnFailure: incident.OnFailureStop, Reversible: planned.Reversible,
	}
}

func TestOneWayOrReversible(t *testing.T) {
	t.Parallel()
	for _, reversible := range []bool{true, false} {
		_, inv, action := batch(t, &compensatetest.Resource{Reversible: reversible})
		require.Equal(t, reversible, action.Reversible, "it is the service's to say")
		planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target(), Revision: "1"})
		require.NoError(t, err)
		require.Equal(t, []string{"what customers were told", wontRevert[0]}, planned.WontRevert)
		require.Equal(t, 500*time.Millisecond, planned.ExpectedTime)
	}
}

// TestRequest holds what is sent against the standards it follows.
func TestRequest(t *testing.T) {
	t.Parallel()
	s, inv, action := batch(t, &compensatetest.Resource{Reversible: true})
	receipt, err := inv.Apply(t.Context(), action, "rollback/1-0")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	require.Equal(t, "good", s.Content(resource))
	posts := s.Requests(http.MethodPost)
	require.Len(t, posts, 1)
	header := posts[0].Header
	require.Regexp(t, `^msg_[0-9a-f]{32}$`, header.Get("webhook-id"))
	require.Equal(t, messageID("payments", resource, "rollback/1-0"), header.Get("webhook-id"))
	require.NotEqual(t, messageID("payments", resource, "rollback/1-1"), header.Get("webhook-id"))
	require.Regexp(t, `^[0-9]{10}$`, header.Get("webhook-timestamp"))
	require.Regexp(t, `^v1,[A-Za-z0-9+/]{43}=$`, header.Get("webhook-signature"))
	require.Equal(t, `"rollback/1-0"`, header.Get("Idempotency-Key"))
	require.Regexp(t, `^"[0-9a-f]{16}"$`, header.Get("If-Match"))
	for _, get := range s.Requests(http.MethodGet) {
		require.Empty(t, get.Header.Get("webhook-signature"), "what changes nothing is not signed")
		require.Equal(t, "Bearer "+s.Tokens[drivertest.Owner], get.Header.Get("Authorization"))
	}
}

// TestPublishedVector is the example of the reference libraries.
// Source: https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries
func TestPublishedVector(t *testing.T) {
	t.Parallel()
	secret, err := parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	at, body := time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	require.Equal(t, want, sign([][]byte{secret}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body))
	two := strings.Fields(sign([][]byte{make([]byte, 24), secret}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body))
	require.Len(t, two, 2)
	require.Equal(t, want, two[1])
	require.NotEqual(t, want, two[0])
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	encode := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, test := range []struct {
		name, text string
		ok         bool
	}{
		{"shortest", encode(24), true},
		{"longest", encode(64), true},
		{"too short", encode(23), false},
		{"too long", encode(65), false},
		{"no prefix", strings.TrimPrefix(encode(24), "whsec_"), false},
		{"private key", "whsk_" + strings.TrimPrefix(encode(32), "whsec_"), false},
		{"not base64", "whsec_canary!canary!canary!canary!canary!", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseSecret(test.text)
			require.Equal(t, test.ok, err == nil)
			if !test.ok {
				require.NotContains(t, err.Error(), "canary")
				require.NotContains(t, err.Error(), "AAAA")
			}
		})
	}
}

// post sends a request to the service past the driver.
func post(t *testing.T, inv inverse, secret []byte, id, key string, at time.Time, action incident.Action, change func(body []byte) []byte) int {
	t.Helper()
	body, err := json.Marshal(wanted{Type: wantedType, Data: wantedData{Host: "payments", Resource: resource, Key: key, From: action.From, To: action.To}})
	require.NoError(t, err)
	signature := sign([][]byte{secret}, id, at, body)
	if change != nil {
		body = change(body)
	}
	h := inv.services.hosts["payments"]
	held, err := h.credentials()
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.base.String()+"/"+resource, strings.NewReader(string(body)))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+held.token)
	request.Header.Set("Idempotency-Key", fmt.Sprintf("%q", key))
	request.Header.Set(headerID, id)
	request.Header.Set(headerTimestamp, fmt.Sprint(at.Unix()))
	request.Header.Set(headerSignature, signature)
	response, err := h.client.Do(request)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode
}

// TestServiceRefuses shows that the counterpart is one: what the driver does not
// do right is refused there, and a key has one effect.
func TestServiceRefuses(t *testing.T) {
	t.Parallel()
	s, inv, action := batch(t, &compensatetest.Resource{Reversible: true})
	secret, err := parseSecret(s.Secret)
	require.NoError(t, err)
	now := time.Now()
	count := len(s.Ledger())
	other := action
	other.To = incident.State{Revision: "1", Digest: incident.DigestOf([]byte("first"))}
	for _, test := range []struct {
		name string
		code int
	}{
		{"wrong secret", post(t, inv, make([]byte, 32), "msg_1", "key", now, action, nil)},
		{"body was changed", post(t, inv, secret, "msg_1", "key", now, action, func(b []byte) []byte { return append(b, ' ') })},
		{"old", post(t, inv, secret, "msg_1", "key", now.Add(-6*time.Minute), action, nil)},
		{"from the future", post(t, inv, secret, "msg_1", "key", now.Add(6*time.Minute), action, nil)},
	} {
		require.Equal(t, http.StatusUnauthorized, test.code, test.name)
	}
	require.Len(t, s.Ledger(), count)
	require.Equal(t, http.StatusOK, post(t, inv, secret, "msg_1", "key", now, action, nil))
	require.Len(t, s.Ledger(), count+1)
	require.Equal(t, http.StatusConflict, post(t, inv, secret, "msg_1", "key", now, action, nil), "a replay")
	require.Equal(t, http.StatusUnprocessableEntity, post(t, inv, secret, "msg_2", "key", now, other, nil), "another body with the same key")
	require.Equal(t, http.StatusOK, post(t, inv, secret, "msg_1", "key", now.Add(time.Second), action, nil), "the same again")
	require.Len(t, s.Ledger(), count+1, "a key has had two effects")

	// Somebody books the bad state again: the same key does not act on it.
	s.Change(resource, "bad", "grace")
	require.Equal(t, http.StatusPreconditionFailed, post(t, inv, secret, "msg_1", "key", now.Add(2*time.Second), action, nil))
	require.Len(t, s.Ledger(), count+2)
}

// TestChangedBack shows that an action is not applied twice because somebody
// changed it back.
func TestChangedBack(t *testing.T) {
	t.Parallel()
	s, inv, action := batch(t, &compensatetest.Resource{Reversible: true})
	at := time.Now()
	inv.services.now = func() time.Time { return at }
	_, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	s.Change(resource, "bad", "grace")

	// Within the second it is the same request again, which is no refusal for ever.
	_, err = inv.Apply(t.Context(), action, "key")
	require.ErrorContains(t, err, "busy")
	require.False(t, driver.Final(err))

	at = at.Add(time.Second)
	_, err = inv.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "changed it back after this very request")
	require.Equal(t, "bad", s.Content(resource))
}

// TestRotation reads the secrets again for each request, and signs with each of
// them, so that a service takes either.
func TestRotation(t *testing.T) {
	t.Parallel()
	s, _, action := batch(t, &compensatetest.Resource{Reversible: true})
	file := filepath.Join(t.TempDir(), "old")
	require.NoError(t, os.WriteFile(file, []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600))
	host := s.Host(s.Address(), drivertest.Owner)
	host["secret_files"] = []string{file}
	inv := inverse{opened(t, system(map[string]any{"payments": host}))}
	_, err := inv.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NoError(t, os.WriteFile(file, []byte(s.Secret), 0o600))
	receipt, err := inv.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)

	next := filepath.Join(t.TempDir(), "next")
	require.NoError(t, os.WriteFile(next, []byte("whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600))
	host["secret_files"] = []string{next, file}
	inv = inverse{opened(t, system(map[string]any{"payments": host}))}
	receipt, err = inv.Apply(t.Context(), action.Swapped(), "other key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
}

func TestReach(t *testing.T) {
	t.Parallel()
	s := compensatetest.Start(t)
	require.NoError(t, opened(t, s.System(s.Address(), drivertest.Owner)).Reach(t.Context()))
	host := s.Host(s.Address(), drivertest.Owner)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("canary-of-nobody"), 0o600))
	host["token_file"] = file
	err := opened(t, system(map[string]any{"payments": host})).Reach(t.Context())
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NotContains(t, err.Error(), "canary")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	err = opened(t, s.System(listener.Addr().String(), drivertest.Owner)).Reach(t.Context())
	require.ErrorContains(t, err, `host "payments"`)
	require.False(t, driver.Final(err))
}

func TestChangesOfAService(t *testing.T) {
	t.Parallel()
	s, inv, _ := batch(t, &compensatetest.Resource{Reversible: true})
	query := driver.ChangeQuery{Service: "shop", Target: target(), Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}
	changes, err := source(inv).Changes(t.Context(), query)
	require.NoError(t, err)
	require.Len(t, changes, 3)
	require.Equal(t, incident.ChangeConfig, changes[2].Kind)
	require.Equal(t, "ada", changes[2].Author)
	planned, err := inv.Plan(t.Context(), driver.PlanRequest{Target: target(), Before: changes[2].At})
	require.NoError(t, err)
	require.Equal(t, "2", planned.To.Revision, "nobody has to type a revision")
	query.Until = query.Since.Add(time.Minute)
	changes, err = source(inv).Changes(t.Context(), query)
	require.NoError(t, err)
	require.Empty(t, changes, "what is outside the window is left out")
	require.Len(t, s.Ledger(), 3)

	for _, body := range []string{`{}`, `{"changes":[{"id":""}]}`, `{"changes":[{"id":"1"}]}`} {
		inv := hostile(t, func(w http.ResponseWriter, _ *http.Request) { answered(w, http.StatusOK, body) })
		_, err := source(inv).Changes(t.Context(), query)
		require.ErrorIs(t, err, errContract)
	}
}
