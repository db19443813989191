package nats

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/nats/natstest"
	"github.com/backout/backout/workflows/incident"
)

func newMessage(subject, value string) *nats.Msg {
	msg := nats.NewMsg(subject)
	msg.Data = []byte(value)
	return msg
}

func TestSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty, filled := filepath.Join(dir, "empty"), filepath.Join(dir, "filled")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, os.WriteFile(filled, []byte("hunter2hunter2\n"), 0o600))
	for _, test := range []struct {
		name     string
		settings map[string]any
		want     string
	}{
		{"unknown key", map[string]any{"url": "nats://127.0.0.1", "pasword": "x"}, "unknown field"},
		{"no url", map[string]any{}, "url is empty"},
		{"malformed url", map[string]any{"url": "nats://hunter2hunter2@[::1"}, "url is malformed"},
		{"credential in the url", map[string]any{"url": "nats://127.0.0.1,nats://hunter2hunter2@127.0.0.1"}, "url holds a credential"},
		{"user without password", map[string]any{"url": "nats://127.0.0.1", "user": "backout"}, "belong together"},
		{"password without user", map[string]any{"url": "nats://127.0.0.1", "password_file": filled}, "belong together"},
		{"password file is missing", map[string]any{"url": "nats://127.0.0.1", "user": "backout", "password_file": filepath.Join(dir, "none")}, "no such file"},
		{"token file is empty", map[string]any{"url": "nats://127.0.0.1", "token_file": empty}, "is empty"},
		{"nkey file holds something else", map[string]any{"url": "nats://127.0.0.1", "nkey_file": filled}, "holds no seed"},
		{"two ways to authenticate", map[string]any{"url": "nats://127.0.0.1", "token_file": filled, "credentials_file": filled}, "more than one way"},
		{"certificate without key", map[string]any{"url": "nats://127.0.0.1", "tls": map[string]string{"cert_file": filled}}, "belong together"},
		{"authority is missing", map[string]any{"url": "nats://127.0.0.1", "tls": map[string]string{"ca_file": filepath.Join(dir, "none")}}, "no such file"},
		{"domain of two tokens", map[string]any{"url": "nats://127.0.0.1", "domain": "a.b"}, "not one token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := driver.Open(t.Context(), []driver.System{{Name: "config", Type: "nats", Decode: drivertest.Settings(test.settings)}})
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func system(settings map[string]any) driver.System {
	return driver.System{Name: "config", Type: "nats", Decode: drivertest.Settings(settings)}
}

// TestServerIsDown shows that Backout starts beside a server that is down, and
// that nothing is final.
func TestServerIsDown(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, inverse := connect(t, system(map[string]any{"url": "nats://" + address}))
	began := time.Now()
	_, err = inverse.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "config", Path: "config/key"}, Revision: "1"})
	require.ErrorIs(t, err, nats.ErrDisconnected)
	require.False(t, driver.Final(err))
	require.Less(t, time.Since(began), requestTimeout)
}

func TestRefusedCredential(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, jetstream.KeyValueConfig{Bucket: "config", History: 5})
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("canary-wrong-password"), 0o600))
	_, inverse := connect(t, system(map[string]any{"url": "nats://" + s.Address(), "user": "owner", "password_file": file, "inbox_prefix": natstest.InboxPrefix}))
	target := incident.Target{System: "config", Path: "config/key"}
	var planned driver.Planned
	var err error
	require.Eventually(t, func() bool {
		// Until the first attempt to connect has ended, there is no connection yet.
		planned, err = inverse.Plan(t.Context(), driver.PlanRequest{Target: target, Revision: "1"})
		return !errors.Is(err, nats.ErrDisconnected)
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, err)
	require.True(t, planned.Blocked())
	require.Equal(t, "permission", planned.Preflight[0].Name)
	_, err = inverse.Observe(t.Context(), incident.Action{Target: target})
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NotContains(t, err.Error(), "canary")

	// The password is put right: the next attempt to connect reads it again.
	require.NoError(t, os.WriteFile(file, []byte(s.Passwords[0]), 0o600))
	require.Eventually(t, func() bool {
		_, err := inverse.Observe(t.Context(), incident.Action{Target: target})
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
}

// TestRefusedInbox shows that a refused subscription for answers is told at
// once, and not waited for.
func TestRefusedInbox(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, jetstream.KeyValueConfig{Bucket: "config", History: 5})
	full := s.System(s.Address(), drivertest.Owner)
	_, inverse := connect(t, driver.System{Name: "config", Type: "nats", Decode: func(into any) error {
		err := full.Decode(into)
		into.(*Settings).InboxPrefix = ""
		return err
	}})
	for range 2 { // The first is interrupted, the second not sent.
		began := time.Now()
		_, err := inverse.Observe(t.Context(), incident.Action{Target: incident.Target{System: "config", Path: "config/key"}})
		require.ErrorIs(t, err, driver.ErrDenied)
		require.Less(t, time.Since(began), requestTimeout)
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		code  jetstream.ErrorCode
		want  error
		final bool
	}{
		{"no such stream", 10059, driver.ErrNotFound, true},
		{"no such message", 10037, driver.ErrNotFound, true},
		{"wrong last sequence", 10071, errMoved, false},
		{"wrong last sequence of a replicated stream", 10164, errMoved, false},
		{"too many requests", 10167, nil, false},
		{"insufficient resources", 10023, nil, false},
		{"not enabled", 10076, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := classify(&jetstream.APIError{Code: 400, ErrorCode: test.code, Description: "as the server says"})
			require.Equal(t, test.final, driver.Final(err))
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
		})
	}
}

func TestAnswersThatAreNotUnderstood(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "secret-value", `{"seq":"secret-value"}`} {
		var into struct {
			Seq uint64 `json:"seq"`
		}
		err := decode(newMessage("x", body), &into)
		require.ErrorContains(t, err, "decode answer")
		require.NotContains(t, err.Error(), "secret-value")
	}
}

// TestDomain uses a JetStream domain: every subject has its prefix.
func TestDomain(t *testing.T) {
	t.Parallel()
	c := &connection{domain: "hub"}
	require.Equal(t, "$JS.hub.API.", c.apiPrefix())
	require.Equal(t, "$JS.hub.API.$KV.config.key", c.writeSubject(location{"config", "key"}))
	c = &connection{}
	require.Equal(t, "$JS.API.", c.apiPrefix())
	require.Equal(t, "$KV.config.key", c.writeSubject(location{"config", "key"}))
}

// TestWritesAreNotQueued shows that a write that was given up while the
// connection was down does not arrive when it is up again.
func TestWritesAreNotQueued(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, jetstream.KeyValueConfig{Bucket: "config", History: 5})
	proxy := drivertest.NewProxy(t, s.Address())
	_, opened := connect(t, s.System(proxy.Address(), drivertest.Owner))
	conn := opened.(inverse).conn
	require.Eventually(t, conn.client.IsConnected, 10*time.Second, time.Millisecond)
	proxy.Down()
	require.Eventually(t, func() bool { return !conn.client.IsConnected() }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, conn.client.Publish("$KV.config.key", []byte("late")), nats.ErrReconnectBufExceeded)
	_, err := conn.put(t.Context(), location{"config", "key"}, entry{value: []byte("late")}, 0)
	require.ErrorIs(t, err, nats.ErrDisconnected)
	proxy.Up()
	require.Eventually(t, conn.client.IsConnected, 10*time.Second, time.Millisecond)
	require.NoError(t, conn.client.Flush())
	writes, err := s.Writes(t.Context())
	require.NoError(t, err)
	require.Zero(t, writes)
}
